//! The body of `:classify` and `:regress`: examples of named features, read into the model's tensors.
//!
//! Which features make which inputs is said in [`super::fields`]. Features that the model does not have mean nothing, as for
//! the server; those of `context` hold for all examples that do not give them.

use std::collections::HashMap;

use platform::{Signature, Tensor, TensorData};

use super::fields::{Field, Fields};
use super::request::{check_signature_name, document, format_error, syntax, type_name};
use super::shown;
use crate::json::tensor::{Floats, Misfit, push};
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
    let fields = Fields::of(model.signature, model.columns)?;
    let context = match context {
        Some(mut context) => example(&fields, &mut context)?,
        None => Example::new(),
    };
    let mut list = examples.list().map_err(syntax)?;
    let mut rows = Vec::new();
    while examples.next_item(&mut list).map_err(syntax)? {
        if rows.len() == model.max_rows {
            let message = format!("more than {} examples; send them in several requests", model.max_rows);
            return Err(Refusal::invalid(message));
        }
        rows.push(example(&fields, &mut examples)?);
    }
    if rows.is_empty() {
        return Err(format_error(&whole, "'examples' value is an empty array"));
    }
    fields.tensors(rows.len(), |row: usize, at, field: &Field<'_>, data| {
        let Some(given) = rows[row].get(&at).or_else(|| context.get(&at)) else { return Ok(false) };
        values(field, &mut given.clone(), data)?;
        Ok(true)
    })
}

/// Where the values of each known feature begin: so they are read once it is known which one counts.
type Example<'a> = HashMap<usize, Reader<'a>>;

fn example<'b>(fields: &Fields<'_>, reader: &mut Reader<'b>) -> Result<Example<'b>, Refusal> {
    let kind = reader.ahead().map_err(syntax)?;
    if kind != Kind::Object {
        let name = shown::type_name(kind);
        return Err(Refusal::invalid(format!("Example must be JSON object but got JSON {name}")));
    }
    let mut example = Example::new();
    let mut object = reader.object().map_err(syntax)?;
    while let Some(name) = reader.next_key(&mut object).map_err(syntax)? {
        if let Some(at) = fields.place(&name)
            && example.insert(at, reader.clone()).is_some()
        {
            return Err(Refusal::invalid(format!("Feature: {name} is given twice")));
        }
        reader.skip().map_err(syntax)?;
    }
    Ok(example)
}

/// The values of a feature: one, or a list of them.
fn values(field: &Field<'_>, reader: &mut Reader<'_>, data: &mut TensorData) -> Result<(), Refusal> {
    if reader.ahead().map_err(syntax)? != Kind::List {
        return element(field, reader, data);
    }
    let mut list = reader.list().map_err(syntax)?;
    while reader.next_item(&mut list).map_err(syntax)? {
        element(field, reader, data)?;
    }
    Ok(())
}

fn element(field: &Field<'_>, reader: &mut Reader<'_>, data: &mut TensorData) -> Result<(), Refusal> {
    let mut value = reader.clone();
    let kind = reader.ahead().map_err(syntax)?;
    let wrong = match push(reader, data, Floats::Exact) {
        Ok(()) => return Ok(()),
        Err(Misfit::Syntax(fault)) => return Err(syntax(fault)),
        Err(wrong) => wrong,
    };
    let expected = type_name(field.dtype);
    Err(Refusal::invalid(match (kind, wrong) {
        (Kind::Number, Misfit::Range { .. }) => format!(
            "Cannot convert JSON value: {} to {expected} without loss of precision.",
            shown::value(&mut value)
        ),
        (Kind::Null | Kind::Object | Kind::List, _) => {
            let name = shown::type_name(kind);
            format!("Feature: {} has element with unexpected JSON type: {name}", field.name)
        }
        _ => format!("Unexpected element type in feature: {} expecting type: {expected}", field.name),
    }))
}

#[cfg(test)]
mod tests {
    use platform::{DataType, TensorSpec};
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
        let tensors = rows(r#"{"examples": [{"features": [1, 2]}, {"ROC5": 3, "STD5": 4}]}"#).unwrap();
        assert_eq!(tensors[0].1.as_float32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
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
