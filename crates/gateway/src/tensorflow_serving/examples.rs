//! The body of `:classify` and `:regress`: examples of named features, read into the model's tensors.
//!
//! A feature is an input of the model by its name, or, of a model that takes rows, a column by its name. Features that the
//! model does not have mean nothing, as for the server; those of `context` hold for all examples that do not give them.

use std::collections::HashMap;

use platform::{DataType, Signature, Tensor, TensorSpec};

use super::request::{check_signature_name, document, format_error, syntax, type_name};
use super::shown;
use crate::json::tensor::{Floats, Misfit, empty, push};
use crate::json::{Kind, Reader};
use crate::refusal::Refusal;

/// The model that is asked.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Model<'a> {
    /// What it takes and gives.
    pub(crate) signature: &'a Signature,
    /// Names of a row's columns, if it takes rows and they have names.
    pub(crate) columns: &'a [String],
    /// The most examples of a request.
    pub(crate) max_rows: usize,
}

/// Reads a body as the tensors of the signature.
///
/// # Errors
/// 400 in the server's words.
pub(crate) fn parse(body: &[u8], model: Model<'_>) -> Result<Vec<(String, Tensor)>, Refusal> {
    let mut reader = document(body)?;
    let whole = reader.clone();
    whole.clone().skip().map_err(syntax)?;
    let (mut name, mut context, mut examples) = (None, None, None);
    let mut object = reader.object().map_err(syntax)?;
    while let Some(key) = reader.next_key(&mut object).map_err(syntax)? {
        let member = match &*key {
            "signature_name" => &mut name,
            "context" => &mut context,
            "examples" => &mut examples,
            _ => &mut None,
        };
        if member.replace(reader.clone()).is_some() {
            return Err(Refusal::invalid(format!("'{key}' key is given twice")));
        }
        reader.skip().map_err(syntax)?;
    }
    if let Some(name) = name {
        check_signature_name(name, &whole)?;
    }
    let Some(mut examples) = examples else {
        let what = "When method is classify, key 'examples' is expected and was not found";
        return Err(format_error(&whole, what));
    };
    if examples.ahead().map_err(syntax)? != Kind::List {
        return Err(format_error(&whole, "Expecting 'examples' value to be an list/array"));
    }
    let fields = Fields::of(model)?;
    let context = match context {
        Some(mut context) => fields.example(&mut context)?,
        None => Example::new(),
    };
    let mut list = examples.list().map_err(syntax)?;
    let mut rows = Vec::new();
    while examples.next_item(&mut list).map_err(syntax)? {
        if rows.len() == model.max_rows {
            let message = format!("more than {} examples; send them in several requests", model.max_rows);
            return Err(Refusal::invalid(message));
        }
        rows.push(fields.example(&mut examples)?);
    }
    if rows.is_empty() {
        return Err(format_error(&whole, "'examples' value is an empty array"));
    }
    fields.tensors(&rows, &context)
}

/// Where the values of each known feature begin: so they are read once it is known which one counts.
type Example<'a> = HashMap<usize, Reader<'a>>;

/// What a feature's values become.
struct Field<'a> {
    name: &'a str,
    dtype: DataType,
    /// How many there are.
    elements: usize,
}

struct Fields<'a> {
    signature: &'a Signature,
    /// One an input, or one a column.
    all: Vec<Field<'a>>,
    places: HashMap<&'a str, usize>,
}

impl<'a> Fields<'a> {
    fn of(model: Model<'a>) -> Result<Self, Refusal> {
        let Model { signature, columns, .. } = model;
        let all: Vec<Field<'_>> = match signature.inputs.as_slice() {
            [only] if !columns.is_empty() && only.row_elements() == Some(columns.len()) => {
                let column = |name: &'a String| Field { name, dtype: only.dtype, elements: 1 };
                columns.iter().map(column).collect()
            }
            inputs => inputs.iter().map(Field::of).collect::<Result<_, _>>()?,
        };
        let places = all.iter().enumerate().map(|(at, field)| (field.name, at)).collect();
        Ok(Self { signature, all, places })
    }

    fn example<'b>(&self, reader: &mut Reader<'b>) -> Result<Example<'b>, Refusal> {
        let kind = reader.ahead().map_err(syntax)?;
        if kind != Kind::Object {
            let name = shown::type_name(kind);
            return Err(Refusal::invalid(format!("Example must be JSON object but got JSON {name}")));
        }
        let mut example = Example::new();
        let mut object = reader.object().map_err(syntax)?;
        while let Some(name) = reader.next_key(&mut object).map_err(syntax)? {
            if let Some(at) = self.places.get(&*name)
                && example.insert(*at, reader.clone()).is_some()
            {
                return Err(Refusal::invalid(format!("Feature: {name} is given twice")));
            }
            reader.skip().map_err(syntax)?;
        }
        Ok(example)
    }

    fn tensors(&self, rows: &[Example<'_>], context: &Example<'_>) -> Result<Vec<(String, Tensor)>, Refusal> {
        let by_column = self.all.len() != self.signature.inputs.len();
        let inputs = self.signature.inputs.iter().enumerate();
        let tensor = |(at, spec): (usize, &TensorSpec)| {
            let mut data = empty(spec.dtype);
            let fields = if by_column { 0..self.all.len() } else { at..at + 1 };
            for row in rows {
                for at in fields.clone() {
                    let field = &self.all[at];
                    let values = row.get(&at).or_else(|| context.get(&at)).ok_or_else(|| field.missing())?;
                    let before = data.len();
                    field.read(&mut values.clone(), &mut data)?;
                    field.check_count(data.len() - before)?;
                }
            }
            let inner = spec.shape.iter().skip(1).map(|size| size.unwrap_or_default());
            let shape = std::iter::once(rows.len()).chain(inner).collect();
            let tensor = Tensor::new(shape, data).map_err(|error| Refusal::invalid(error.to_string()))?;
            Ok((spec.name.clone(), tensor))
        };
        inputs.map(tensor).collect()
    }
}

impl<'a> Field<'a> {
    fn of(spec: &'a TensorSpec) -> Result<Self, Refusal> {
        let elements = spec.row_elements().ok_or_else(|| {
            let message =
                format!("input \"{}\" has rows of any size, so it is no feature; use :predict", spec.name);
            Refusal::invalid(message)
        })?;
        Ok(Self { name: &spec.name, dtype: spec.dtype, elements })
    }

    fn read(&self, reader: &mut Reader<'_>, data: &mut platform::TensorData) -> Result<(), Refusal> {
        if reader.ahead().map_err(syntax)? != Kind::List {
            return self.element(reader, data);
        }
        let mut list = reader.list().map_err(syntax)?;
        while reader.next_item(&mut list).map_err(syntax)? {
            self.element(reader, data)?;
        }
        Ok(())
    }

    fn element(&self, reader: &mut Reader<'_>, data: &mut platform::TensorData) -> Result<(), Refusal> {
        let mut value = reader.clone();
        let kind = reader.ahead().map_err(syntax)?;
        let wrong = match push(reader, data, Floats::Exact) {
            Ok(()) => return Ok(()),
            Err(Misfit::Syntax(fault)) => return Err(syntax(fault)),
            Err(wrong) => wrong,
        };
        let expected = type_name(self.dtype);
        Err(Refusal::invalid(match (kind, wrong) {
            (Kind::Number, Misfit::Range { .. }) => format!(
                "Cannot convert JSON value: {} to {expected} without loss of precision.",
                shown::value(&mut value)
            ),
            (Kind::Null | Kind::Object | Kind::List, _) => {
                let name = shown::type_name(kind);
                format!("Feature: {} has element with unexpected JSON type: {name}", self.name)
            }
            _ => format!("Unexpected element type in feature: {} expecting type: {expected}", self.name),
        }))
    }

    fn check_count(&self, got: usize) -> Result<(), Refusal> {
        if got == self.elements {
            return Ok(());
        }
        Err(Refusal::invalid(format!(
            "Key: {}. Number of {} values != expected. values size: {got} but output shape: [{}]",
            self.name,
            type_name(self.dtype),
            self.elements
        )))
    }

    fn missing(&self) -> Refusal {
        Refusal::invalid(format!(
            "Feature: {} (data type: {}) is required but could not be found.",
            self.name,
            type_name(self.dtype)
        ))
    }
}

#[cfg(test)]
mod tests {
    use platform::TensorData;
    use proptest::prelude::*;

    use super::*;

    fn spec(name: &str, dtype: DataType, shape: &[Option<usize>]) -> TensorSpec {
        TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
    }

    fn of(inputs: Vec<TensorSpec>, columns: &[&str], body: &str) -> Result<Vec<(String, Tensor)>, String> {
        let signature = Signature { inputs, outputs: Vec::new() };
        let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
        let model = Model { signature: &signature, columns: &columns, max_rows: 2 };
        parse(body.as_bytes(), model).map_err(|refusal| refusal.message)
    }

    fn rows(body: &str) -> Result<Vec<(String, Tensor)>, String> {
        of(vec![spec("features", DataType::Float32, &[None, Some(2)])], &["ROC5", "STD5"], body)
    }

    fn several(body: &str) -> Result<Vec<(String, Tensor)>, String> {
        let inputs =
            vec![spec("x", DataType::Float32, &[None, Some(2)]), spec("n", DataType::Int64, &[None])];
        of(inputs, &[], body)
    }

    #[test]
    fn columns_are_features_by_their_names() {
        let tensors = rows(
            r#"{"context": {"STD5": 9}, "examples": [{"STD5": [2.5], "ROC5": 1, "other": "x"}, {"ROC5": NaN}], "z": 1}"#,
        )
        .unwrap();
        let values = tensors[0].1.as_float32().unwrap();
        assert_eq!((values[0], values[1], values[3]), (1.0, 2.5, 9.0));
        assert!(values[2].is_nan());
        let tensors = several(r#"{"examples": [{"n": 7, "x": [1, 2]}]}"#).unwrap();
        assert_eq!(tensors[0].1.as_float32().unwrap(), [1.0, 2.0]);
        assert_eq!(tensors[1].1.data(), &TensorData::Int64(vec![7]));
    }

    #[test]
    fn errors_are_those_of_the_server() {
        for (body, said) in [
            (
                r#"{"examples": [{"ROC5": 1}]}"#,
                "Feature: STD5 (data type: float) is required but could not be found.",
            ),
            (
                r#"{"examples": [{"ROC5": 1, "STD5": [1, 2]}]}"#,
                "Key: STD5. Number of float values != expected. values size: 2 but output shape: [1]",
            ),
            (
                r#"{"examples": [{"ROC5": "a", "STD5": 1}]}"#,
                "Unexpected element type in feature: ROC5 expecting type: float",
            ),
            (
                r#"{"examples": [{"ROC5": null, "STD5": 1}]}"#,
                "Feature: ROC5 has element with unexpected JSON type: Null",
            ),
            (
                r#"{"examples": [{"ROC5": 1e39, "STD5": 1}]}"#,
                "Cannot convert JSON value: 1e+39 to float without loss of precision.",
            ),
            (r#"{"examples": [{"ROC5": 1, "ROC5": 1}]}"#, "Feature: ROC5 is given twice"),
            (r#"{"examples": [7]}"#, "Example must be JSON object but got JSON Number"),
            (r#"{"examples": [{}, {}, {}]}"#, "more than 2 examples; send them in several requests"),
            (
                r#"{"examples": {}}"#,
                "JSON Value: {\n    \"examples\": {}\n} Expecting 'examples' value to be an list/array",
            ),
            (
                r#"{"examples": []}"#,
                "JSON Value: {\n    \"examples\": []\n} 'examples' value is an empty array",
            ),
            ("{}", "JSON Value: {} When method is classify, key 'examples' is expected and was not found"),
            (
                r#"{"examples": [{"ROC5": 1"#,
                "JSON Parse error: Missing a comma or } after an object member. at offset: 24",
            ),
            (
                r#"{"signature_name": "x", "examples": []}"#,
                "Serving signature name: \"x\" not found in signature def",
            ),
        ] {
            assert_eq!(rows(body).unwrap_err(), said, "{body}");
        }
        let open = of(vec![spec("x", DataType::Float32, &[None, None])], &[], r#"{"examples": [{}]}"#);
        assert!(open.unwrap_err().contains("has rows of any size"));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(body in r#"\{"(context|examples)": [\[\]{}:, "xnab0-9.]{0,40}\}"#) {
            let _ = rows(&body);
            let _ = several(&body);
        }
    }
}
