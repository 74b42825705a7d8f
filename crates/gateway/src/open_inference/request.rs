//! The body of `infer`: JSON, with tensors in it or as raw bytes behind it, read straight into the model's tensors.

use platform::{Signature, Tensor, TensorData, TensorSpec};

use super::datatype;
use crate::json::tensor::{Floats, Misfit, empty, nested};
use crate::json::{Fault, Kind, Reader};
use crate::refusal::{Refusal, shown};

/// More axes no model has.
const RANK_MAX: usize = 32;

/// The model that is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model<'a> {
    /// As the request calls it.
    pub(crate) name: &'a str,
    /// What it takes and gives.
    pub(crate) signature: &'a Signature,
    /// The most rows of a request.
    pub(crate) max_rows: usize,
}

/// What is asked.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct InferRequest {
    /// Echoed in the reply.
    pub(crate) id: Option<String>,
    /// The tensors that were given.
    pub(crate) inputs: Vec<(String, Tensor)>,
    /// The outputs wanted; none: all of them.
    pub(crate) outputs: Vec<WantedOutput>,
    /// Whether outputs that say nothing else come as raw bytes.
    pub(crate) binary: bool,
    /// How long an answer is wanted, in microseconds.
    pub(crate) timeout_us: Option<u64>,
}

/// An output that is wanted.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct WantedOutput {
    /// Its name.
    pub(crate) name: String,
    /// Whether it comes as raw bytes.
    pub(crate) binary: Option<bool>,
    /// Instead of the numbers: that many of the largest of each row, with their places. 0: the numbers.
    pub(crate) classes: usize,
}

impl InferRequest {
    /// Reads a body: `json`, and the raw tensors that come after it, in the order of the inputs.
    ///
    /// # Errors
    /// Saying what is wrong, in Triton's words where it has some.
    pub(crate) fn parse(json: &[u8], raw: &[u8], model: Model<'_>) -> Result<Self, Refusal> {
        let mut reader = Reader::with_bare_numbers(json);
        let mut parsing = Parsing { model, raw };
        match parsing.body(&mut reader) {
            Ok(request) => Ok(request),
            // What is cut off or no JSON at all is said to be so, whatever else is wrong before that.
            Err(refusal) => match whole(json) {
                Err(fault) => Err(fault.into()),
                Ok(()) => Err(refusal),
            },
        }
    }

    /// A body that is nothing but the bytes of one row of the model's only input.
    ///
    /// # Errors
    /// If the model has several inputs, or the bytes are no row of it.
    pub(crate) fn raw(bytes: &[u8], model: Model<'_>) -> Result<Self, Refusal> {
        let [spec] = model.signature.inputs.as_slice() else {
            let message = format!(
                "raw request must only have 1 input (found {}) to be deduced but got {} inputs in '{}' model configuration",
                model.signature.inputs.len(),
                model.signature.inputs.len(),
                model.name
            );
            return Err(Refusal::invalid(message));
        };
        let shape = row_shape(spec, bytes.len())
            .ok_or_else(|| size_misfit(&spec.name, bytes.len(), &format!("one row of {}", shape_of(spec))))?;
        let data = datatype::from_bytes(spec.dtype, bytes).ok_or_else(|| not_of_type(spec))?;
        let inputs = vec![(spec.name.clone(), tensor(&spec.name, shape, data)?)];
        Ok(Self { inputs, binary: true, ..Self::default() })
    }
}

/// The shape of one row of so many bytes; at most one of its axes may be open.
fn row_shape(spec: &TensorSpec, bytes: usize) -> Option<Vec<usize>> {
    let inner = spec.shape.get(1..).unwrap_or_default();
    let fixed: usize = inner.iter().flatten().product::<usize>() * spec.dtype.size_bytes();
    let open = inner.iter().filter(|axis| axis.is_none()).count();
    let size = match (open, fixed) {
        (0, _) if fixed == bytes => 1,
        (1, 1..) if bytes.is_multiple_of(fixed) => bytes / fixed,
        _ => return None,
    };
    let inner = inner.iter().map(|axis| axis.unwrap_or(size));
    Some(std::iter::once(1).chain(inner).collect())
}

fn whole(json: &[u8]) -> Result<(), Fault> {
    let mut reader = Reader::with_bare_numbers(json);
    reader.skip()?;
    reader.end()
}

struct Parsing<'a> {
    model: Model<'a>,
    /// What is not taken yet of the raw tensors.
    raw: &'a [u8],
}

impl<'a> Parsing<'a> {
    fn body(&mut self, reader: &mut Reader<'a>) -> Result<InferRequest, Refusal> {
        if reader.ahead()? != Kind::Object {
            return Err(Refusal::invalid("the request body must be a JSON object {\"inputs\": [...]}"));
        }
        let mut request = InferRequest::default();
        let mut seen = Seen::default();
        let mut object = reader.object()?;
        while let Some(key) = reader.next_key(&mut object)? {
            seen.once(&key)?;
            match &*key {
                "id" => request.id = Some(text(reader, "id")?),
                "inputs" => request.inputs = self.inputs(reader)?,
                "outputs" => request.outputs = self.outputs(reader)?,
                "parameters" => {
                    let parameters = parameters(reader)?;
                    request.binary = parameters.binary_data_output.unwrap_or_default();
                    request.timeout_us =
                        parameters.timeout.filter(|timeout| *timeout > 0).map(|us| us as u64);
                }
                _ => reader.skip()?,
            }
        }
        reader.end()?;
        if !seen.has("inputs") {
            return Err(Refusal::invalid("Unable to parse 'inputs': JSON does not have an \"inputs\" list"));
        }
        if !self.raw.is_empty() {
            let message = format!(
                "unexpected additional input data for model '{}': {} bytes that no binary_data_size asks for",
                self.model.name,
                self.raw.len()
            );
            return Err(Refusal::invalid(message));
        }
        Ok(request)
    }

    fn inputs(&mut self, reader: &mut Reader<'a>) -> Result<Vec<(String, Tensor)>, Refusal> {
        expect(reader, Kind::List, "inputs", "a list of {\"name\", \"shape\", \"datatype\", \"data\"}")?;
        let mut inputs: Vec<(String, Tensor)> = Vec::new();
        let mut list = reader.list()?;
        while reader.next_item(&mut list)? {
            let (name, tensor) = self.input(reader)?;
            if inputs.iter().any(|(before, _)| *before == name) {
                return Err(Refusal::invalid(format!("input '{name}' is given twice")));
            }
            inputs.push((name, tensor));
        }
        Ok(inputs)
    }

    fn input(&mut self, reader: &mut Reader<'a>) -> Result<(String, Tensor), Refusal> {
        expect(reader, Kind::Object, "inputs", "a list of objects")?;
        let (mut name, mut shape, mut dtype) = (None, None, None);
        let (mut data, mut raw_bytes) = (None, None);
        let mut seen = Seen::default();
        let mut object = reader.object()?;
        while let Some(key) = reader.next_key(&mut object)? {
            seen.once(&key)?;
            match &*key {
                "name" => name = Some(text(reader, "name")?),
                "shape" => shape = Some(dims(reader)?),
                "datatype" => dtype = Some(text(reader, "datatype")?),
                "parameters" => raw_bytes = parameters(reader)?.binary_data_size,
                "data" => {
                    // Its type may be said only after it.
                    data = Some(reader.clone());
                    reader.skip()?;
                }
                _ => reader.skip()?,
            }
        }
        let missing = |what: &str| Refusal::invalid(format!("an input has no \"{what}\""));
        let name = name.ok_or_else(|| missing("name"))?;
        let spec = self.spec(&name)?;
        let shape = shape.ok_or_else(|| missing("shape"))?;
        self.check_type(spec, &dtype.ok_or_else(|| missing("datatype"))?)?;
        let elements = self.elements(spec, &shape)?;
        let data = match (data, raw_bytes) {
            (Some(mut data), None) => listed(&mut data, spec, &shape, elements)?,
            (None, Some(bytes)) => self.raw_data(spec, elements, bytes)?,
            (Some(_), Some(_)) => {
                let message = format!("input '{name}' has both \"data\" and \"binary_data_size\"; give one");
                return Err(Refusal::invalid(message));
            }
            (None, None) => {
                let message = format!("input '{name}' has no \"data\" and no parameter \"binary_data_size\"");
                return Err(Refusal::invalid(message));
            }
        };
        let tensor = tensor(&name, shape, data)?;
        Ok((name, tensor))
    }

    fn spec(&self, name: &str) -> Result<&'a TensorSpec, Refusal> {
        let inputs = &self.model.signature.inputs;
        inputs.iter().find(|spec| spec.name == name).ok_or_else(|| {
            let known: Vec<&str> = inputs.iter().map(|spec| spec.name.as_str()).collect();
            Refusal::invalid(format!(
                "unexpected inference input '{}' for model '{}'; it takes {}",
                shown(name),
                self.model.name,
                known.join(", ")
            ))
        })
    }

    fn check_type(&self, spec: &TensorSpec, dtype: &str) -> Result<(), Refusal> {
        let expected = datatype::name(spec.dtype);
        if dtype == expected {
            return Ok(());
        }
        if !datatype::ALL.contains(&dtype) {
            let (name, dtype) = (&spec.name, shown(dtype));
            return Err(Refusal::invalid(format!("input '{name}' has the unknown datatype '{dtype}'")));
        }
        Err(Refusal::invalid(format!(
            "inference input '{}' data-type is '{dtype}', but model '{}' expects '{expected}'",
            spec.name, self.model.name
        )))
    }

    /// How many elements a shape holds, within what a request may ask for.
    fn elements(&self, spec: &TensorSpec, shape: &[usize]) -> Result<usize, Refusal> {
        if shape.first().is_some_and(|rows| *rows > self.model.max_rows) {
            let message = format!(
                "input '{}' has {} rows; at most {} are taken at a time",
                spec.name, shape[0], self.model.max_rows
            );
            return Err(Refusal::invalid(message));
        }
        let fits = shape.len() == spec.shape.len()
            && spec.shape.iter().zip(shape).all(|(want, got)| want.is_none_or(|want| want == *got));
        if !fits {
            return Err(Refusal::invalid(format!(
                "unexpected shape for input '{}' for model '{}'. Expected {}, got {shape:?}",
                spec.name,
                self.model.name,
                shape_of(spec)
            )));
        }
        let elements = shape.iter().try_fold(1usize, |product, size| product.checked_mul(*size));
        let bytes = elements.and_then(|elements| elements.checked_mul(spec.dtype.size_bytes()));
        bytes.filter(|bytes| *bytes <= isize::MAX as usize).and(elements).ok_or_else(|| {
            Refusal::invalid(format!("input '{}' has shape {shape:?}, which is too large", spec.name))
        })
    }

    fn raw_data(&mut self, spec: &TensorSpec, elements: usize, bytes: usize) -> Result<TensorData, Refusal> {
        let expected = elements * spec.dtype.size_bytes();
        if bytes != expected {
            return Err(size_misfit(&spec.name, bytes, &expected.to_string()));
        }
        let Some((taken, rest)) = self.raw.split_at_checked(bytes) else {
            let message = format!(
                "input '{}' has a binary_data_size of {bytes}, but only {} bytes are left of the body",
                spec.name,
                self.raw.len()
            );
            return Err(Refusal::invalid(message));
        };
        self.raw = rest;
        datatype::from_bytes(spec.dtype, taken).ok_or_else(|| not_of_type(spec))
    }

    fn outputs(&self, reader: &mut Reader<'a>) -> Result<Vec<WantedOutput>, Refusal> {
        expect(reader, Kind::List, "outputs", "a list of {\"name\"}")?;
        let mut outputs: Vec<WantedOutput> = Vec::new();
        let mut list = reader.list()?;
        while reader.next_item(&mut list)? {
            let output = self.output(reader)?;
            if outputs.iter().any(|before| before.name == output.name) {
                return Err(Refusal::invalid(format!("output '{}' is requested twice", output.name)));
            }
            outputs.push(output);
        }
        Ok(outputs)
    }

    fn output(&self, reader: &mut Reader<'a>) -> Result<WantedOutput, Refusal> {
        expect(reader, Kind::Object, "outputs", "a list of objects")?;
        let mut output = WantedOutput::default();
        let mut seen = Seen::default();
        let mut object = reader.object()?;
        while let Some(key) = reader.next_key(&mut object)? {
            seen.once(&key)?;
            match &*key {
                "name" => output.name = text(reader, "name")?,
                "parameters" => {
                    let parameters = parameters(reader)?;
                    output.binary = parameters.binary_data;
                    output.classes = parameters.classification.unwrap_or_default();
                }
                _ => reader.skip()?,
            }
        }
        if !seen.has("name") {
            return Err(Refusal::invalid("a requested output has no \"name\""));
        }
        let known = &self.model.signature.outputs;
        if known.iter().all(|spec| spec.name != output.name) {
            let known: Vec<&str> = known.iter().map(|spec| spec.name.as_str()).collect();
            return Err(Refusal::invalid(format!(
                "unexpected inference output '{}' for model '{}'; it gives {}",
                shown(&output.name),
                self.model.name,
                known.join(", ")
            )));
        }
        Ok(output)
    }
}

/// The elements of `data`, one after the other or nested as the shape says.
fn listed(
    reader: &mut Reader<'_>,
    spec: &TensorSpec,
    shape: &[usize],
    elements: usize,
) -> Result<TensorData, Refusal> {
    let name = &spec.name;
    let mut data = empty(spec.dtype);
    if reader.ahead()? != Kind::List {
        return Err(Refusal::invalid(format!("\"data\" of input '{name}' must be a list")));
    }
    let got = nested(reader, &mut data, Floats::MayBeMissing).map_err(|misfit| said(spec, misfit, reader))?;
    let flat = got.len() == 1;
    if data.len() != elements {
        return Err(Refusal::invalid(format!(
            "\"data\" of input '{name}' has {} elements, where shape {shape:?} has {elements}",
            data.len()
        )));
    }
    if !flat && got != shape {
        return Err(Refusal::invalid(format!(
            "\"data\" of input '{name}' is nested as {got:?}, where the shape is {shape:?}"
        )));
    }
    Ok(data)
}

fn said(spec: &TensorSpec, misfit: Misfit, reader: &Reader<'_>) -> Refusal {
    let (name, dtype) = (&spec.name, datatype::name(spec.dtype));
    let value = |offset| shown(&String::from_utf8_lossy(reader.since(offset)));
    Refusal::invalid(match misfit {
        Misfit::Syntax(fault) => return fault.into(),
        Misfit::Type { offset } => {
            format!("\"data\" of input '{name}' has {} at byte {offset}, which is not {dtype}", value(offset))
        }
        Misfit::Range { offset } => format!(
            "\"data\" of input '{name}' has {} at byte {offset}, which does not fit {dtype}",
            value(offset)
        ),
        Misfit::Shallow { offset, .. } => {
            format!("\"data\" of input '{name}' has an element at byte {offset} where a list is expected")
        }
        Misfit::Deep { level, .. } => {
            format!("\"data\" of input '{name}' has a list at level {level} where an element is expected")
        }
        Misfit::Size { got, level, expected } => format!(
            "\"data\" of input '{name}' is ragged: a list of {got} at level {level} where others have {expected}"
        ),
    })
}

fn tensor(name: &str, shape: Vec<usize>, data: TensorData) -> Result<Tensor, Refusal> {
    Tensor::new(shape, data).map_err(|error| Refusal::invalid(format!("input '{name}': {error}")))
}

fn shape_of(spec: &TensorSpec) -> String {
    let axes: Vec<String> =
        spec.shape.iter().map(|axis| axis.map_or("-1".to_owned(), |size| size.to_string())).collect();
    format!("[{}]", axes.join(","))
}

fn size_misfit(name: &str, got: usize, expected: &str) -> Refusal {
    Refusal::invalid(format!("unexpected total byte size {got} for input '{name}', expecting {expected}"))
}

fn not_of_type(spec: &TensorSpec) -> Refusal {
    let dtype = datatype::name(spec.dtype);
    Refusal::invalid(format!("the raw bytes of input '{}' are no elements of {dtype}", spec.name))
}

/// The sizes of a shape.
fn dims(reader: &mut Reader<'_>) -> Result<Vec<usize>, Refusal> {
    expect(reader, Kind::List, "shape", "a list of integers")?;
    let mut dims = Vec::new();
    let mut list = reader.list()?;
    while reader.next_item(&mut list)? {
        if dims.len() == RANK_MAX {
            return Err(Refusal::invalid(format!("a shape has more than {RANK_MAX} axes")));
        }
        dims.push(count(reader, "shape")?);
    }
    Ok(dims)
}

/// What this server knows of `parameters`; the others are accepted and mean nothing here.
#[derive(Default)]
struct Parameters {
    binary_data_size: Option<usize>,
    binary_data: Option<bool>,
    binary_data_output: Option<bool>,
    classification: Option<usize>,
    /// In microseconds; 0: none.
    timeout: Option<usize>,
}

fn parameters(reader: &mut Reader<'_>) -> Result<Parameters, Refusal> {
    expect(reader, Kind::Object, "parameters", "an object")?;
    let mut parameters = Parameters::default();
    let mut seen = Seen::default();
    let mut object = reader.object()?;
    while let Some(key) = reader.next_key(&mut object)? {
        seen.once(&key)?;
        match &*key {
            "binary_data_size" => parameters.binary_data_size = Some(count(reader, &key)?),
            "binary_data" => parameters.binary_data = Some(flag(reader, &key)?),
            "binary_data_output" => parameters.binary_data_output = Some(flag(reader, &key)?),
            "classification" => parameters.classification = Some(count(reader, &key)?),
            "timeout" => parameters.timeout = Some(count(reader, &key)?),
            _ => reader.skip()?,
        }
    }
    Ok(parameters)
}

fn expect(reader: &mut Reader<'_>, kind: Kind, name: &str, what: &str) -> Result<(), Refusal> {
    if reader.ahead()? == kind { Ok(()) } else { Err(Refusal::invalid(format!("\"{name}\" must be {what}"))) }
}

fn text(reader: &mut Reader<'_>, name: &str) -> Result<String, Refusal> {
    expect(reader, Kind::Text, name, "a text")?;
    Ok(reader.text()?.into_owned())
}

fn count(reader: &mut Reader<'_>, name: &str) -> Result<usize, Refusal> {
    expect(reader, Kind::Number, name, "a whole number that is not negative")?;
    let number = reader.number()?.as_i64();
    number
        .and_then(|number| usize::try_from(number).ok())
        .ok_or_else(|| Refusal::invalid(format!("\"{name}\" must be a whole number that is not negative")))
}

fn flag(reader: &mut Reader<'_>, name: &str) -> Result<bool, Refusal> {
    if !matches!(reader.ahead()?, Kind::True | Kind::False) {
        return Err(Refusal::invalid(format!("\"{name}\" must be true or false")));
    }
    Ok(reader.boolean()?)
}

/// Keys of one object.
#[derive(Default)]
struct Seen(Vec<String>);

impl Seen {
    /// More keys than this no honest object has.
    const KEYS_MAX: usize = 256;

    fn once(&mut self, key: &str) -> Result<(), Refusal> {
        if self.has(key) {
            return Err(Refusal::invalid(format!("\"{}\" is given twice", shown(key))));
        }
        if self.0.len() == Self::KEYS_MAX {
            return Err(Refusal::invalid(format!("an object has more than {} keys", Self::KEYS_MAX)));
        }
        self.0.push(key.to_owned());
        Ok(())
    }

    fn has(&self, key: &str) -> bool {
        self.0.iter().any(|seen| seen == key)
    }
}

#[cfg(test)]
mod tests;
