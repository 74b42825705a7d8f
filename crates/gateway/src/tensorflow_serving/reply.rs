//! Bodies of replies as RapidJSON's pretty writer lays them out: four spaces, lists of numbers on one line.

use platform::{Tensor, TensorData};

use super::decimal;
use crate::refusal::Refusal;

/// `{"predictions": [...]}`: a row each, or an object of named rows where the model has several outputs.
///
/// # Errors
/// 400 in the server's words, if outputs have no rows or not equally many.
pub(crate) fn rows(outputs: &[(String, Tensor)]) -> Result<Vec<u8>, Refusal> {
    let count = row_count(outputs)?;
    let mut out = b"{\n    \"predictions\": [".to_vec();
    for row in 0..count {
        if let [(_, only)] = outputs {
            if row > 0 {
                out.extend_from_slice(b", ");
            }
            part(&mut out, only, 1, row);
            continue;
        }
        out.extend_from_slice(if row > 0 { b",\n        {" } else { b"\n        {" });
        for (at, (name, tensor)) in outputs.iter().enumerate() {
            out.extend_from_slice(if at > 0 { b",\n            " } else { b"\n            " });
            text(&mut out, name);
            out.extend_from_slice(b": ");
            part(&mut out, tensor, 1, row);
        }
        out.extend_from_slice(b"\n        }");
    }
    out.extend_from_slice(if count > 0 { b"\n    ]\n}" } else { b"]\n}" });
    Ok(out)
}

fn row_count(outputs: &[(String, Tensor)]) -> Result<usize, Refusal> {
    let mut count = None;
    for (name, tensor) in outputs {
        let Some(rows) = tensor.shape().first() else {
            return Err(Refusal::invalid(format!("Tensor name: {name} has no shape information ")));
        };
        let expected = *count.get_or_insert(*rows);
        if *rows != expected {
            return Err(Refusal::invalid(format!(
                "Tensor name: {name} has inconsistent batch size: {rows} expecting: {expected}"
            )));
        }
    }
    Ok(count.unwrap_or_default())
}

/// `{"outputs": ...}`: the only output, or an object of all.
pub(crate) fn columns(outputs: &[(String, Tensor)]) -> Vec<u8> {
    let mut out = b"{\n    \"outputs\": ".to_vec();
    if let [(_, only)] = outputs {
        part(&mut out, only, 0, 0);
    } else {
        out.push(b'{');
        for (at, (name, tensor)) in outputs.iter().enumerate() {
            out.extend_from_slice(if at > 0 { b",\n        " } else { b"\n        " });
            text(&mut out, name);
            out.extend_from_slice(b": ");
            part(&mut out, tensor, 0, 0);
        }
        out.extend_from_slice(b"\n    }");
    }
    out.extend_from_slice(b"\n}");
    out
}

/// `{"results": [[["LABEL", SCORE], ...], ...]}`; labels are the places of the scores.
pub(crate) fn classes(scores: &[f32], width: usize) -> Vec<u8> {
    let mut out = b"{\n    \"results\": [".to_vec();
    for (index, row) in scores.chunks_exact(width.max(1)).enumerate() {
        out.extend_from_slice(if index > 0 { b", [" } else { b"[" });
        for (place, score) in row.iter().enumerate() {
            if place > 0 {
                out.extend_from_slice(b", ");
            }
            out.extend_from_slice(format!("[\"{place}\", ").as_bytes());
            decimal::single(&mut out, *score);
            out.push(b']');
        }
        out.push(b']');
    }
    out.extend_from_slice(b"\n    ]\n}");
    out
}

/// `{"results": [VALUE, ...]}`
pub(crate) fn values(values: &[f32]) -> Vec<u8> {
    let mut out = b"{\n    \"results\": [".to_vec();
    for (index, value) in values.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        decimal::single(&mut out, *value);
    }
    out.extend_from_slice(b"]\n}");
    out
}

/// The elements of a tensor below its first `axis` axes, of which the last has the index `at`.
fn part(out: &mut Vec<u8>, tensor: &Tensor, axis: usize, at: usize) {
    let Some(&count) = tensor.shape().get(axis) else {
        return element(out, tensor.data(), at);
    };
    out.push(b'[');
    for inner in 0..count {
        if inner > 0 {
            out.extend_from_slice(b", ");
        }
        part(out, tensor, axis + 1, at * count + inner);
    }
    out.push(b']');
}

fn element(out: &mut Vec<u8>, data: &TensorData, at: usize) {
    match data {
        TensorData::Float32(values) => decimal::single(out, values[at]),
        TensorData::Float64(values) => decimal::double(out, values[at]),
        TensorData::Int32(values) => out.extend_from_slice(values[at].to_string().as_bytes()),
        TensorData::Int64(values) => out.extend_from_slice(values[at].to_string().as_bytes()),
        TensorData::Bool(values) => out.extend_from_slice(values[at].to_string().as_bytes()),
    }
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, shape: &[usize], data: TensorData) -> (String, Tensor) {
        (name.to_owned(), Tensor::new(shape.to_vec(), data).unwrap())
    }

    fn rows_of(outputs: &[(String, Tensor)]) -> String {
        rows(outputs).map_or_else(|refusal| refusal.message, |out| String::from_utf8(out).unwrap())
    }

    fn columns_of(outputs: &[(String, Tensor)]) -> String {
        String::from_utf8(columns(outputs)).unwrap()
    }

    #[test]
    fn one_output_is_bare_and_several_are_named() {
        let score = named("score", &[2], TensorData::Float32(vec![2.5, 3.0]));
        assert_eq!(rows_of(std::slice::from_ref(&score)), "{\n    \"predictions\": [2.5, 3.0\n    ]\n}");
        let p = named("p", &[2, 1, 2], TensorData::Float64(vec![0.1, f64::NAN, f64::INFINITY, 9e6]));
        assert_eq!(
            rows_of(std::slice::from_ref(&p)),
            "{\n    \"predictions\": [[[0.1, NaN]], [[Infinity, 9e+06]]\n    ]\n}"
        );
        assert_eq!(
            columns_of(std::slice::from_ref(&p)),
            "{\n    \"outputs\": [[[0.1, NaN]], [[Infinity, 9e+06]]]\n}"
        );
        let class = named("class", &[2], TensorData::Int64(vec![7, -8]));
        let both = [class, named("up", &[2, 1], TensorData::Bool(vec![true, false]))];
        assert_eq!(
            rows_of(&both),
            "{\n    \"predictions\": [\n        {\n            \"class\": 7,\n            \"up\": [true]\n        },\n        {\n            \"class\": -8,\n            \"up\": [false]\n        }\n    ]\n}"
        );
        assert_eq!(
            columns_of(&both),
            "{\n    \"outputs\": {\n        \"class\": [7, -8],\n        \"up\": [[true], [false]]\n    }\n}"
        );
    }

    #[test]
    fn outputs_without_rows_are_no_rows() {
        let scalar = named("s", &[], TensorData::Int32(vec![1]));
        assert_eq!(rows_of(std::slice::from_ref(&scalar)), "Tensor name: s has no shape information ");
        assert_eq!(columns_of(&[scalar]), "{\n    \"outputs\": 1\n}");
        let uneven =
            [named("a", &[2], TensorData::Int32(vec![1, 2])), named("b", &[1], TensorData::Int32(vec![1]))];
        assert_eq!(rows_of(&uneven), "Tensor name: b has inconsistent batch size: 1 expecting: 2");
    }

    #[test]
    fn results_of_examples() {
        let text = |out| String::from_utf8(out).unwrap();
        assert_eq!(
            text(classes(&[0.25, 0.75, 1.0, 0.0], 2)),
            "{\n    \"results\": [[[\"0\", 0.25], [\"1\", 0.75]], [[\"0\", 1.0], [\"1\", 0.0]]\n    ]\n}"
        );
        assert_eq!(text(values(&[0.5, -3.0])), "{\n    \"results\": [0.5, -3.0]\n}");
    }
}
