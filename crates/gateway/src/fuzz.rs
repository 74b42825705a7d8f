//! Entry points of the targets in `fuzz/`: any bytes as a body of each protocol. Nobody else calls them.
//!
//! Each says whether the bytes were taken; that nothing panics is for the target to see.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use platform::{DataType, Signature, TensorSpec};

use crate::json::{DEPTH_MAX, Reader};
use crate::mlflow::table::Model as Table;
use crate::vertex::fields::Fields;
use crate::vertex::instances::{PredictBody, tensors};
use crate::{access, mlflow, open_inference, storage, tensorflow_serving, vertex};

const MAX_ROWS: usize = 64;

/// A model that takes rows of three features, and one that takes several tensors.
fn signatures() -> [Signature; 2] {
    let spec = |name: &str, dtype, shape: &[Option<usize>]| TensorSpec {
        name: name.to_owned(),
        dtype,
        shape: shape.to_vec(),
    };
    let outputs = vec![spec("p", DataType::Float32, &[None, Some(3)])];
    let rows = vec![spec("x", DataType::Float32, &[None, Some(3)])];
    let several = vec![
        spec("x", DataType::Float32, &[None, Some(1), Some(2)]),
        spec("n", DataType::Int64, &[None]),
        spec("d", DataType::Float64, &[None, Some(1)]),
        spec("b", DataType::Bool, &[None]),
    ];
    [Signature { inputs: rows, outputs: outputs.clone() }, Signature { inputs: several, outputs }]
}

/// A body of the Open Inference Protocol: JSON up to a byte 0, raw tensors after it.
pub fn open_inference(bytes: &[u8]) -> bool {
    let (json, raw) = match bytes.iter().position(|byte| *byte == 0) {
        Some(at) => (&bytes[..at], &bytes[at + 1..]),
        None => (bytes, &[][..]),
    };
    let taken = signatures().iter().any(|signature| {
        let model = open_inference::request::Model { name: "m", signature, max_rows: MAX_ROWS };
        let _ = open_inference::request::InferRequest::raw(raw, model);
        open_inference::request::InferRequest::parse(json, raw, model).is_ok()
    });
    assert!(!taken || is_json(json), "what is no JSON was taken");
    taken
}

/// A body of TensorFlow Serving's `:predict` or `:classify`.
pub fn tensorflow_serving(bytes: &[u8]) -> bool {
    let columns = ["A", "B", "C"].map(str::to_owned);
    signatures().iter().any(|signature| {
        let columns = if signature.inputs.len() == 1 { columns.as_slice() } else { &[] };
        let model = tensorflow_serving::examples::Model { signature, columns, max_rows: MAX_ROWS };
        let examples = tensorflow_serving::examples::parse(bytes, model).is_ok();
        let predict = tensorflow_serving::request::PredictRequest::parse(bytes, signature, MAX_ROWS);
        examples || predict.is_ok()
    })
}

/// A body of MLflow's `/invocations` as JSON or CSV.
pub fn mlflow(bytes: &[u8]) -> bool {
    let features = ["A", "B", "C"].map(str::to_owned);
    let [rows, several] = signatures();
    let rows = Table { signature: &rows, row_width: Some(3), features: &features, max_rows: MAX_ROWS };
    let several = Table { signature: &several, row_width: None, features: &[], max_rows: MAX_ROWS };
    let json = mlflow::json::parse(bytes, rows).is_ok() | mlflow::json::parse(bytes, several).is_ok();
    let csv = mlflow::csv::parse(bytes, rows).is_ok() | mlflow::csv::parse(bytes, several).is_ok();
    assert!(!json || is_json(bytes), "what is no JSON was taken");
    json | csv
}

/// A body of MLflow's `/invocations` as a stream of Arrow's.
pub fn arrow(bytes: &[u8]) -> bool {
    let features = ["A", "B", "C"].map(str::to_owned);
    let [rows, several] = signatures();
    let rows = Table { signature: &rows, row_width: Some(3), features: &features, max_rows: MAX_ROWS };
    let several = Table { signature: &several, row_width: None, features: &[], max_rows: MAX_ROWS };
    mlflow::arrow::parse(bytes.to_vec(), rows).is_ok() | mlflow::arrow::parse(bytes.to_vec(), several).is_ok()
}

/// A body of Vertex AI's `:predict`, to a model of rows or of tensors, or of any of its changes.
pub fn vertex(bytes: &[u8]) -> bool {
    let rows = PredictBody::parse(bytes, MAX_ROWS).is_ok();
    let tensors = signatures().iter().any(|signature| tensors::parse(bytes, signature, MAX_ROWS).is_ok());
    let fields = Fields::parse(bytes).is_ok();
    let taken = rows || tensors || fields;
    assert!(
        !taken || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok(),
        "what is no JSON was taken"
    );
    taken
}

/// The headers and the body of an upload to the staging area: a line for `content-type` or `content-range`, then the body.
pub fn storage(bytes: &[u8]) -> bool {
    let at = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (line, body) = (&bytes[..at], bytes.get(at + 1..).unwrap_or_default());
    let range = std::str::from_utf8(line).is_ok_and(storage::fuzz::range);
    let Ok(kind) = HeaderValue::from_bytes(line) else { return range };
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind)]);
    range | storage::fuzz::multipart(&headers, body)
}

/// A line of a request, `METHOD PATH`: taken if it is a call of some protocol.
pub fn paths(bytes: &[u8]) -> bool {
    let Some((method, path)) = std::str::from_utf8(bytes).ok().and_then(|line| line.split_once(' ')) else {
        return false;
    };
    let Ok(method) = method.parse::<Method>() else { return false };
    let _ = access::need(&method, path);
    let calls = [
        vertex::path::Address::parse(&method, path).is_ok(),
        path.starts_with("/v2/") && open_inference::path::Call::parse(&method, path).is_ok(),
        tensorflow_serving::path::Call::parse(&method, path).is_ok(),
        storage::fuzz::path(path),
    ];
    calls.contains(&true)
}

/// By our own reader, which takes bare numbers; where those are missing, another reader is asked too.
fn is_json(bytes: &[u8]) -> bool {
    let mut reader = Reader::with_bare_numbers(bytes);
    let ours = reader.skip().and_then(|()| reader.end()).is_ok();
    let plain = !bytes.iter().any(|byte| matches!(byte, b'N' | b'I'));
    let deep = bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() > DEPTH_MAX;
    ours && (!plain || deep || serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok())
}
