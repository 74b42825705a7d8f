//! The body of `:predict`: rows (`instances`) or columns (`inputs`), read straight into the model's tensors.
//!
//! Every tensor's shape is that of its first value, so a model of any signature can be asked; whether it fits is the engine's
//! to say. Errors have the server's words.

use std::collections::BTreeMap;

use platform::{DataType, Signature, Tensor, TensorData, TensorSpec};

use super::shown;
use crate::json::tensor::{Floats, Misfit, empty, nested};
use crate::json::{Fault, Kind, Reader};
use crate::refusal::Refusal;

/// The only signature our models have.
pub(crate) const SIGNATURE: &str = "serving_default";

/// What is asked, and how the answer is laid out.
#[derive(Debug, PartialEq)]
pub(crate) struct PredictRequest {
    /// The tensors, in the order of the signature.
    pub(crate) inputs: Vec<(String, Tensor)>,
    /// Whether rows were asked, and are answered.
    pub(crate) by_row: bool,
}

/// Tensors by name.
pub(crate) type Inputs = Vec<(String, Tensor)>;

/// What a model takes of a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Takes<'a> {
    /// Its tensors.
    pub(crate) signature: &'a Signature,
    /// The most rows of a request.
    pub(crate) max_rows: usize,
    /// How floats are written.
    pub(crate) floats: Floats,
}

/// A value that was met, and what is wrong with it; told only once the whole document is known to be JSON.
type Met<'a> = (Reader<'a>, Result<Inputs, Refusal>);

/// The document's members that mean something.
struct Members<'a> {
    document: Reader<'a>,
    signature_name: Option<Reader<'a>>,
    instances: Option<Met<'a>>,
    inputs: Option<Met<'a>>,
}

impl PredictRequest {
    /// Reads a body of at most `max_rows` rows. What follows the first JSON document is ignored.
    ///
    /// # Errors
    /// 400 in the server's words.
    pub(crate) fn parse(body: &[u8], signature: &Signature, max_rows: usize) -> Result<Self, Refusal> {
        let members = Members::read(body, Takes { signature, max_rows, floats: Floats::Exact })?;
        if let Some(name) = members.signature_name.clone() {
            check_signature_name(name, &members.document)?;
        }
        match (members.instances, members.inputs) {
            (Some(_), Some(_)) => Err(format_error(
                &members.document,
                "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist ",
            )),
            (None, None) => Err(Refusal::invalid("Missing 'inputs' or 'instances' key")),
            (Some((mut value, rows)), None) => {
                if value.ahead().map_err(syntax)? != Kind::List {
                    let what = "Expecting 'instances' to be an list/array";
                    return Err(format_error(&members.document, what));
                }
                let inputs = rows?;
                if inputs.is_empty() {
                    return Err(format_error(&members.document, "No values in 'instances' array"));
                }
                Ok(Self { inputs, by_row: true })
            }
            (None, Some((_, columns))) => Ok(Self { inputs: columns?, by_row: false }),
        }
    }
}

impl<'a> Members<'a> {
    fn read(body: &'a [u8], takes: Takes<'_>) -> Result<Self, Refusal> {
        let mut reader = document(body)?;
        let mut members =
            Self { document: reader.clone(), signature_name: None, instances: None, inputs: None };
        let mut object = reader.object().map_err(syntax)?;
        while let Some(key) = reader.next_key(&mut object).map_err(syntax)? {
            let begin = reader.clone();
            let twice = || Refusal::invalid(format!("'{key}' key is given twice"));
            match &*key {
                "signature_name" if members.signature_name.is_some() => return Err(twice()),
                "signature_name" => members.signature_name = Some(begin.clone()),
                "instances" if members.instances.is_some() => return Err(twice()),
                "instances" => {
                    let rows = takes.rows(&mut reader);
                    let failed = rows.is_err();
                    members.instances = Some((begin.clone(), rows));
                    if !failed {
                        continue;
                    }
                }
                "inputs" if members.inputs.is_some() => return Err(twice()),
                "inputs" => {
                    let columns = takes.columns(&mut reader);
                    let failed = columns.is_err();
                    members.inputs = Some((begin.clone(), columns));
                    if !failed {
                        continue;
                    }
                }
                _ => {}
            }
            reader = begin;
            reader.skip().map_err(syntax)?;
        }
        Ok(members)
    }
}

/// A reader at the object that a body is.
///
/// # Errors
/// If it is none.
pub(crate) fn document(body: &[u8]) -> Result<Reader<'_>, Refusal> {
    if body.is_empty() {
        return Err(Refusal::invalid("JSON Parse error: The document is empty"));
    }
    let mut reader = Reader::with_bare_numbers(body);
    if reader.ahead().map_err(syntax)? != Kind::Object {
        reader.clone().skip().map_err(syntax)?;
        return Err(format_error(&reader, "Is not object"));
    }
    Ok(reader)
}

/// Refuses a signature our models do not have.
///
/// # Errors
/// If it is none of theirs, or no text.
pub(crate) fn check_signature_name(mut name: Reader<'_>, document: &Reader<'_>) -> Result<(), Refusal> {
    if name.ahead().map_err(syntax)? != Kind::Text {
        let what = "not formatted correctly. 'signature_name' key must be a string value.";
        return Err(format_error(document, what));
    }
    match &*name.text().map_err(syntax)? {
        "" | SIGNATURE => Ok(()),
        other => {
            let other = crate::refusal::shown(other);
            Err(Refusal::invalid(format!("Serving signature name: \"{other}\" not found in signature def")))
        }
    }
}

/// A fault in the server's words.
pub(crate) fn syntax(fault: Fault) -> Refusal {
    Refusal::invalid(format!("JSON Parse error: {} at offset: {}", fault.text, fault.offset))
}

/// A value, and what is wrong with it.
pub(crate) fn format_error(value: &Reader<'_>, what: &str) -> Refusal {
    Refusal::invalid(format!("JSON Value: {} {what}", shown::value(&mut value.clone())))
}

impl Takes<'_> {
    /// `instances`: a row of every input each; no inputs, if there are no rows.
    ///
    /// # Errors
    /// 400 in the server's words.
    pub(crate) fn rows(self, reader: &mut Reader<'_>) -> Result<Inputs, Refusal> {
        let mut list = reader.list().map_err(syntax)?;
        let mut columns: Vec<Column<'_>> =
            self.signature.inputs.iter().map(|spec| Column::new(spec, self.floats)).collect();
        let mut are_objects = None;
        let mut count = 0;
        while reader.next_item(&mut list).map_err(syntax)? {
            if count == self.max_rows {
                let message = format!("more than {} instances; send them in several requests", self.max_rows);
                return Err(Refusal::invalid(message));
            }
            let object = is_named(reader)?;
            match (*are_objects.get_or_insert(object), object) {
                (true, true) => Self::named(reader, &mut columns, count)?,
                (false, false) => Self::plain(reader, &mut columns, count)?,
                (true, false) => {
                    return Err(Refusal::invalid(format!(
                        "Expecting object but got list at item {count} of input list"
                    )));
                }
                (false, true) => {
                    return Err(Refusal::invalid(format!(
                        "Expecting value/list but got object at item {count} of input list"
                    )));
                }
            }
            count += 1;
        }
        if count == 0 {
            return Ok(Vec::new());
        }
        columns.into_iter().map(|column| column.tensor(Some(count))).collect()
    }

    /// `inputs`: the only input's tensor, or an object of all of them.
    ///
    /// # Errors
    /// 400 in the server's words.
    pub(crate) fn columns(self, reader: &mut Reader<'_>) -> Result<Inputs, Refusal> {
        let Self { signature, max_rows, floats } = self;
        let read = |spec: &TensorSpec, reader: &mut Reader<'_>| {
            let mut column = Column::new(spec, floats);
            column.push(reader).map_err(Refusal::invalid)?;
            if column.shape.first().is_some_and(|rows| *rows > max_rows) {
                let message = format!("more than {max_rows} rows; send them in several requests");
                return Err(Refusal::invalid(message));
            }
            column.tensor(None)
        };
        if !is_named(reader)? {
            let [only] = signature.inputs.as_slice() else {
                let message = "inputs is a plain value/list, but expecting an object as multiple input tensors required as per tensorinfo_map";
                return Err(Refusal::invalid(message));
            };
            return Ok(vec![read(only, reader)?]);
        }
        let mut found: BTreeMap<String, Reader<'_>> = BTreeMap::new();
        let mut object = reader.object().map_err(syntax)?;
        while let Some(name) = reader.next_key(&mut object).map_err(syntax)? {
            // Only known names are kept; the server looks for no others.
            if signature.inputs.iter().any(|spec| spec.name == name)
                && found.insert(name.clone().into_owned(), reader.clone()).is_some()
            {
                return Err(Refusal::invalid(format!(
                    "named input: {name} is given twice in 'inputs' object."
                )));
            }
            reader.skip().map_err(syntax)?;
        }
        let tensor = |spec: &TensorSpec| match found.get(&spec.name) {
            Some(value) => read(spec, &mut value.clone()),
            None => Err(Refusal::invalid(format!("Missing named input: {} in 'inputs' object.", spec.name))),
        };
        signature.inputs.iter().map(tensor).collect()
    }

    fn plain(reader: &mut Reader<'_>, columns: &mut [Column<'_>], index: usize) -> Result<(), Refusal> {
        let [only] = columns else {
            let message = "instances is a plain list, but expecting list of objects as multiple input tensors required as per tensorinfo_map";
            return Err(Refusal::invalid(message));
        };
        only.push(reader).map_err(|wrong| {
            Refusal::invalid(format!(
                "Failed to process element: {index} of 'instances' list. Error: INVALID_ARGUMENT: {wrong}"
            ))
        })
    }

    fn named(reader: &mut Reader<'_>, columns: &mut [Column<'_>], index: usize) -> Result<(), Refusal> {
        let element = reader.clone();
        let mut given = vec![false; columns.len()];
        let mut object = reader.object().map_err(syntax)?;
        while let Some(name) = reader.next_key(&mut object).map_err(syntax)? {
            let at = columns.iter().position(|column| column.spec.name == name);
            let pushed = match at {
                None => {
                    Err(format!("JSON object: does not have named input: {}", crate::refusal::shown(&name)))
                }
                Some(at) if given[at] => Err(format!("'{name}' is given twice")),
                Some(at) => {
                    given[at] = true;
                    columns[at].push(reader)
                }
            };
            pushed.map_err(|wrong| {
                let name = crate::refusal::shown(&name);
                Refusal::invalid(format!(
                    "Failed to process element: {index} key: {name} of 'instances' list. Error: INVALID_ARGUMENT: {wrong}"
                ))
            })?;
        }
        if given.contains(&false) {
            let mut names: Vec<&str> = columns.iter().map(|column| column.spec.name.as_str()).collect();
            names.sort_unstable();
            return Err(Refusal::invalid(format!(
                "Failed to process element: {index} of 'instances' list. JSON object: {} keys must be equal to: {}",
                shown::value(&mut element.clone()),
                names.join(",")
            )));
        }
        Ok(())
    }
}

/// Whether the value ahead is an object of named values, and not bytes, which are written `{"b64": "..."}`.
fn is_named(reader: &mut Reader<'_>) -> Result<bool, Refusal> {
    if reader.ahead().map_err(syntax)? != Kind::Object {
        return Ok(false);
    }
    Ok(!is_bytes(reader.clone()).map_err(syntax)?)
}

fn is_bytes(mut reader: Reader<'_>) -> Result<bool, Fault> {
    let mut object = reader.object()?;
    if reader.next_key(&mut object)?.as_deref() != Some("b64") || reader.ahead()? != Kind::Text {
        return Ok(false);
    }
    reader.skip()?;
    Ok(reader.next_key(&mut object)?.is_none())
}

/// The values of one input.
struct Column<'a> {
    spec: &'a TensorSpec,
    data: TensorData,
    /// The shape of one value, once there is one.
    shape: Vec<usize>,
    values: usize,
    floats: Floats,
}

impl<'a> Column<'a> {
    fn new(spec: &'a TensorSpec, floats: Floats) -> Self {
        Self { spec, data: empty(spec.dtype), shape: Vec::new(), values: 0, floats }
    }

    fn push(&mut self, reader: &mut Reader<'_>) -> Result<(), String> {
        let before = self.data.len();
        let begin = reader.clone();
        let shape = nested(reader, &mut self.data, self.floats)
            .map_err(|misfit| said(misfit, self.spec.dtype, &begin))?;
        if self.values == 0 {
            self.shape = shape;
        } else if self.shape != shape {
            let expected: usize = self.shape.iter().product();
            let got = self.data.len() - before;
            if expected != got {
                return Err(format!("Expecting tensor size: {expected} but got: {got}"));
            }
            return Err(format!("Expecting shape {} but got: {}", listed(&self.shape), listed(&shape)));
        }
        self.values += 1;
        Ok(())
    }

    /// With an axis for the rows, if there are some.
    fn tensor(self, rows: Option<usize>) -> Result<(String, Tensor), Refusal> {
        let shape = rows.into_iter().chain(self.shape).collect();
        let tensor = Tensor::new(shape, self.data).map_err(|error| Refusal::invalid(error.to_string()))?;
        Ok((self.spec.name.clone(), tensor))
    }
}

fn listed(shape: &[usize]) -> String {
    let sizes: Vec<String> = shape.iter().map(usize::to_string).collect();
    format!("[{}]", sizes.join(","))
}

/// A misfit in the server's words; `value` is where the value begins that it is in.
fn said(misfit: Misfit, dtype: DataType, value: &Reader<'_>) -> String {
    let at = |offset| value.at(offset);
    let wrong_type = |offset| {
        let mut value = at(offset);
        let kind = value.ahead().map_or("Null", shown::type_name);
        let expected = type_name(dtype);
        format!("JSON Value: {} Type: {kind} is not of expected type: {expected}", shown::value(&mut value))
    };
    match misfit {
        Misfit::Syntax(fault) => syntax(fault).message,
        Misfit::Type { offset } => wrong_type(offset),
        Misfit::Range { offset } if matches!(dtype, DataType::Float32 | DataType::Float64) => format!(
            "Cannot convert JSON value: {} to {} without loss of precision.",
            shown::value(&mut at(offset)),
            type_name(dtype)
        ),
        Misfit::Range { offset } => wrong_type(offset),
        Misfit::Shallow { offset, level, rank } => format!(
            "JSON Value: {} found at incorrect level: {} in the JSON DOM. Expected at level: {rank}",
            shown::value(&mut at(offset)),
            level + 1
        ),
        Misfit::Deep { level, rank } => {
            format!("Encountered list at unexpected level: {level} expected < {rank}")
        }
        Misfit::Size { got, level, expected } => {
            format!("Encountered list at unexpected size: {got} at level: {level} expected size: {expected}")
        }
    }
}

/// TensorFlow's name of a type.
pub(crate) fn type_name(dtype: DataType) -> &'static str {
    match dtype {
        DataType::Float32 => "float",
        DataType::Float64 => "double",
        DataType::Int32 => "int32",
        DataType::Int64 => "int64",
        DataType::Bool => "bool",
    }
}

#[cfg(test)]
mod tests;
