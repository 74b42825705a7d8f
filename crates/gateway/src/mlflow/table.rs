//! A table of a request, its columns found by name in any order, filled into the model's tensors row by row.
//!
//! A model that takes rows has a column a feature; any other model a column an input. Columns that the model does not have
//! mean nothing, as for MLflow; those it lacks are refused.

use std::borrow::Cow;
use std::collections::HashMap;

use platform::{Signature, Tensor, TensorData};

use crate::json::Reader;
use crate::json::tensor::{Floats, Misfit, empty, nested, push};
use crate::refusal::{Refusal, shown};

/// The most columns that a table may have beside those of the model.
const COLUMNS_BESIDE_MAX: usize = 1 << 17;
/// As many names as an error message lists.
const NAMES_SHOWN: usize = 5;

/// The model that is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model<'a> {
    /// Its tensors.
    pub(crate) signature: &'a Signature,
    /// Numbers of a row, if it takes rows.
    pub(crate) row_width: Option<usize>,
    /// Names of a row's columns; none, if they have none.
    pub(crate) features: &'a [String],
    /// The most rows of a request.
    pub(crate) max_rows: usize,
}

/// The rows so far.
pub(crate) struct Table<'a> {
    model: Model<'a>,
    sink: Sink,
    rows: usize,
    /// One element on its way.
    cell: TensorData,
}

enum Sink {
    /// All rows of a model that takes rows.
    Rows(Vec<f32>),
    /// The values of each input.
    Inputs(Vec<TensorData>),
}

/// Which field each column of the request is, if it is one.
pub(crate) type Places = Vec<Option<usize>>;

impl<'a> Table<'a> {
    /// Without rows.
    pub(crate) fn new(model: Model<'a>) -> Self {
        let sink = match model.row_width {
            Some(_) => Sink::Rows(Vec::new()),
            None => Sink::Inputs(model.signature.inputs.iter().map(|spec| empty(spec.dtype)).collect()),
        };
        Self { model, sink, rows: 0, cell: TensorData::Float32(Vec::with_capacity(1)) }
    }

    /// How many fields a row has.
    pub(crate) fn fields(&self) -> usize {
        self.model.row_width.unwrap_or(self.model.signature.inputs.len())
    }

    /// Whether a header may have one more column than so many, which a reader asks before it keeps its name.
    ///
    /// # Errors
    /// If there are enough: a name takes more memory than its bytes.
    pub(crate) fn check_more(&self, columns: usize) -> Result<(), Refusal> {
        let most = self.fields() + COLUMNS_BESIDE_MAX;
        if columns < most {
            return Ok(());
        }
        Err(Refusal::invalid(format!("more than {most} columns; leave out those the model does not have")))
    }

    fn names(&self) -> Vec<&'a str> {
        match self.model.row_width {
            Some(_) => self.model.features.iter().map(String::as_str).collect(),
            None => self.model.signature.inputs.iter().map(|spec| spec.name.as_str()).collect(),
        }
    }

    fn name(&self, field: usize) -> String {
        self.names().get(field).map_or_else(|| field.to_string(), |name| (*name).to_owned())
    }

    /// Finds the fields of a header; a header of numbers in their order, or of a model whose columns have no names, goes by
    /// place.
    ///
    /// # Errors
    /// If a field has no column or two.
    pub(crate) fn header(&self, columns: &[Cow<'_, str>]) -> Result<Places, Refusal> {
        let names = self.names();
        let numbered =
            !columns.is_empty() && columns.iter().enumerate().all(|(at, name)| *name == at.to_string());
        if names.is_empty() || (numbered && !names.contains(&"0")) {
            self.check_width(columns.len())?;
            return Ok((0..columns.len()).map(Some).collect());
        }
        let fields: HashMap<&str, usize> = names.iter().enumerate().map(|(at, name)| (*name, at)).collect();
        let mut found = vec![false; names.len()];
        let mut extra = Vec::new();
        let mut places = Vec::with_capacity(columns.len());
        for column in columns {
            let place = fields.get(&**column).copied();
            match place {
                Some(at) if std::mem::replace(&mut found[at], true) => {
                    return Err(Refusal::invalid(format!("column \"{}\" is given twice", shown(column))));
                }
                Some(_) => {}
                None => extra.push(&**column),
            }
            places.push(place);
        }
        let missing: Vec<&str> =
            names.iter().zip(&found).filter(|(_, found)| !**found).map(|(name, _)| *name).collect();
        if missing.is_empty() {
            return Ok(places);
        }
        let mut message = format!("Model is missing inputs {}.", listed(&missing));
        if !extra.is_empty() {
            message += &format!(" Note that there were extra inputs: {}.", listed(&extra));
        }
        Err(Refusal::invalid(message))
    }

    /// Whether so many columns without names are all of the fields.
    ///
    /// # Errors
    /// If they are not.
    pub(crate) fn check_width(&self, columns: usize) -> Result<(), Refusal> {
        let fields = self.fields();
        if columns == fields {
            return Ok(());
        }
        Err(Refusal::invalid(format!("a row has {columns} values where the model takes {fields}")))
    }

    /// Begins a row, all of whose fields are to be given.
    ///
    /// # Errors
    /// If there are enough rows.
    pub(crate) fn begin_row(&mut self) -> Result<(), Refusal> {
        if self.rows == self.model.max_rows {
            let message = format!("more than {} rows; send them in several requests", self.model.max_rows);
            return Err(Refusal::invalid(message));
        }
        if let (Sink::Rows(values), Some(width)) = (&mut self.sink, self.model.row_width) {
            values.extend(std::iter::repeat_n(f32::NAN, width));
        }
        self.rows += 1;
        Ok(())
    }

    /// Gives a field of the row that was begun the value ahead.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn json(&mut self, field: usize, reader: &mut Reader<'_>) -> Result<(), Refusal> {
        let (given, count) = match &mut self.sink {
            Sink::Rows(_) => {
                let value = self.single(reader).map_err(|misfit| self.misfit(field, misfit, reader))?;
                self.set(field, value);
                return Ok(());
            }
            Sink::Inputs(data) => {
                let before = data[field].len();
                let given = nested(reader, &mut data[field], Floats::MayBeMissing);
                (given, data[field].len() - before)
            }
        };
        given.map_err(|misfit| self.misfit(field, misfit, reader))?;
        self.check_count(field, count)
    }

    fn single(&mut self, reader: &mut Reader<'_>) -> Result<f32, Misfit> {
        push(reader, &mut self.cell, Floats::MayBeMissing)?;
        match &mut self.cell {
            TensorData::Float32(values) => Ok(values.pop().unwrap_or(f32::NAN)),
            _ => Ok(f32::NAN),
        }
    }

    /// Gives a field of the row that was begun what a text says.
    ///
    /// # Errors
    /// If it does not fit.
    pub(crate) fn text(&mut self, field: usize, text: &str) -> Result<(), Refusal> {
        let text = text.trim();
        let missing = matches!(text, "" | "NaN" | "nan" | "NA" | "N/A" | "null" | "None" | "-nan" | "#N/A");
        let number = if missing { Some(f64::NAN) } else { finite(text) };
        let taken = match &mut self.sink {
            Sink::Rows(_) => match number {
                Some(number) if missing || (number as f32).is_finite() => {
                    self.set(field, number as f32);
                    true
                }
                _ => false,
            },
            Sink::Inputs(data) => match &mut data[field] {
                TensorData::Float32(values) => number
                    .filter(|number| missing || (*number as f32).is_finite())
                    .map(|number| values.push(number as f32))
                    .is_some(),
                TensorData::Float64(values) => number.map(|number| values.push(number)).is_some(),
                TensorData::Int32(values) => text.parse().map(|number| values.push(number)).is_ok(),
                TensorData::Int64(values) => text.parse().map(|number| values.push(number)).is_ok(),
                TensorData::Bool(values) => {
                    let flag = match text {
                        "true" | "True" | "TRUE" => Some(true),
                        "false" | "False" | "FALSE" => Some(false),
                        _ => None,
                    };
                    flag.map(|flag| values.push(flag)).is_some()
                }
            },
        };
        if !taken {
            let (row, name) = (self.rows.saturating_sub(1), self.name(field));
            let message = format!("row {row} column \"{name}\" has \"{}\", which does not fit", shown(text));
            return Err(Refusal::invalid(message));
        }
        if self.model.row_width.is_none() { self.check_count(field, 1) } else { Ok(()) }
    }

    fn set(&mut self, field: usize, value: f32) {
        if let (Sink::Rows(values), Some(width)) = (&mut self.sink, self.model.row_width) {
            let begin = values.len() - width;
            values[begin + field] = value;
        }
    }

    fn check_count(&self, field: usize, got: usize) -> Result<(), Refusal> {
        let spec = &self.model.signature.inputs[field];
        match spec.row_elements() {
            Some(expected) if expected == got => Ok(()),
            Some(expected) => Err(Refusal::invalid(format!(
                "row {} column \"{}\" has {got} values where the model takes {expected}",
                self.rows.saturating_sub(1),
                spec.name
            ))),
            None => Err(Refusal::invalid(format!(
                "input \"{}\" has rows of any size, so it is no column of a table; give \"inputs\" or \"instances\"",
                spec.name
            ))),
        }
    }

    fn misfit(&self, field: usize, misfit: Misfit, reader: &Reader<'_>) -> Refusal {
        let offset = match misfit {
            Misfit::Syntax(fault) => return fault.into(),
            Misfit::Type { offset } | Misfit::Range { offset } | Misfit::Shallow { offset, .. } => {
                Some(offset)
            }
            Misfit::Deep { .. } | Misfit::Size { .. } => None,
        };
        let (row, name) = (self.rows.saturating_sub(1), self.name(field));
        Refusal::invalid(match offset {
            Some(offset) => {
                let value = shown(&String::from_utf8_lossy(reader.since(offset)));
                format!("row {row} column \"{name}\" has {value}, which does not fit")
            }
            None => format!("row {row} column \"{name}\" has a ragged list"),
        })
    }

    /// The tensors of all rows.
    ///
    /// # Errors
    /// If there are none.
    pub(crate) fn tensors(self) -> Result<Vec<(String, Tensor)>, Refusal> {
        if self.rows == 0 {
            return Err(Refusal::invalid("the request has no rows; give at least one"));
        }
        let (rows, inputs) = (self.rows, &self.model.signature.inputs);
        let data = match self.sink {
            Sink::Rows(values) => vec![TensorData::Float32(values)],
            Sink::Inputs(data) => data,
        };
        let tensor = |(spec, data): (&platform::TensorSpec, TensorData)| {
            let inner = spec.shape.iter().skip(1).map(|size| size.unwrap_or_default());
            let shape = std::iter::once(rows).chain(inner).collect();
            let tensor = Tensor::new(shape, data)
                .map_err(|error| platform::Error::internal("cannot lay out the rows", error))?;
            Ok((spec.name.clone(), tensor))
        };
        inputs.iter().zip(data).map(tensor).collect()
    }
}

/// A number as CSV writes it; not what Rust reads besides, such as `inf`.
fn finite(text: &str) -> Option<f64> {
    text.parse::<f64>().ok().filter(|number| number.is_finite())
}

fn listed(names: &[&str]) -> String {
    let mut shown_names: Vec<String> =
        names.iter().take(NAMES_SHOWN).map(|name| format!("'{}'", shown(name))).collect();
    if names.len() > NAMES_SHOWN {
        shown_names.push(format!("... ({} in all)", names.len()));
    }
    format!("[{}]", shown_names.join(", "))
}

#[cfg(test)]
pub(crate) mod tests {
    use platform::{DataType, TensorSpec};

    use super::*;

    fn spec(name: &str, dtype: DataType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    /// A model that takes rows of three features.
    pub(crate) fn rows() -> (Signature, Vec<String>) {
        let inputs = vec![spec("features", DataType::Float32, &[None, Some(3)])];
        let features = ["A", "B", "C"].map(str::to_owned).to_vec();
        (Signature { inputs, outputs: Vec::new() }, features)
    }

    /// A model that takes a pair of numbers and a code.
    pub(crate) fn named() -> Signature {
        let inputs =
            vec![spec("pair", DataType::Float32, &[None, Some(2)]), spec("code", DataType::Int64, &[None])];
        Signature { inputs, outputs: Vec::new() }
    }

    /// How many columns a table for [`rows`] may have.
    pub(crate) const ROWS_COLUMNS_MAX: usize = 3 + COLUMNS_BESIDE_MAX;

    pub(crate) fn model<'a>(signature: &'a Signature, features: &'a [String]) -> Model<'a> {
        let row_width = match signature.inputs.as_slice() {
            [only] => only.row_elements(),
            _ => None,
        };
        Model { signature, row_width, features, max_rows: 3 }
    }

    #[test]
    fn columns_are_found_by_name_or_by_place() {
        let (signature, features) = rows();
        let places = |features: &[String], columns: &[&str]| {
            let columns: Vec<Cow<'_, str>> = columns.iter().map(|name| Cow::Borrowed(*name)).collect();
            Table::new(model(&signature, features)).header(&columns).map_err(|refusal| refusal.message)
        };
        assert_eq!(places(&features, &["C", "x", "A", "B"]).unwrap(), [Some(2), None, Some(0), Some(1)]);
        assert_eq!(places(&features, &["0", "1", "2"]).unwrap(), [Some(0), Some(1), Some(2)]);
        assert_eq!(places(&[], &["any", "three", "names"]).unwrap(), [Some(0), Some(1), Some(2)]);
        for (columns, said) in [
            (
                ["A", "B", "D"].as_slice(),
                "Model is missing inputs ['C']. Note that there were extra inputs: ['D'].",
            ),
            (&["A"], "Model is missing inputs ['B', 'C']."),
            (&["A", "B", "C", "A"], "column \"A\" is given twice"),
            (&["0", "1"], "a row has 2 values where the model takes 3"),
        ] {
            assert_eq!(places(&features, columns).unwrap_err(), said);
        }
    }
}
