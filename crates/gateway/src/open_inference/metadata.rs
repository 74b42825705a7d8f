//! What the server and its models say of themselves: metadata and Triton's model configuration.

use platform::{DataType, ModelName, Platform, ServedVersion, Target, TensorSpec};
use serde_json::{Value, json};

use super::datatype;

/// The parts of the protocol that are optional and offered.
const EXTENSIONS: [&str; 6] = [
    "classification",
    "model_repository",
    "model_configuration",
    "binary_tensor_data",
    "parameters",
    "statistics",
];

/// `GET /v2`
pub(crate) fn server() -> Value {
    json!({"name": "bellwether", "version": env!("CARGO_PKG_VERSION"), "extensions": EXTENSIONS})
}

/// `GET /v2/models/M`
pub(crate) fn model(platform: &Platform, name: &str, target: &Target) -> Value {
    let signature = target.signature();
    json!({
        "name": name,
        "versions": versions(platform, name),
        "platform": "onnx_onnxv1",
        "inputs": signature.inputs.iter().map(tensor).collect::<Vec<_>>(),
        "outputs": signature.outputs.iter().map(tensor).collect::<Vec<_>>(),
    })
}

fn versions(platform: &Platform, name: &str) -> Vec<String> {
    let name = ModelName::parse(name);
    let models = platform.served_models();
    let versions = models.iter().filter(|model| model.name == name).flat_map(|model| &model.versions);
    versions
        .filter(|version| ServedVersion::is_ready(version))
        .map(|version| version.number.to_string())
        .collect()
}

fn tensor(spec: &TensorSpec) -> Value {
    json!({"name": spec.name, "datatype": datatype::name(spec.dtype), "shape": dims(&spec.shape)})
}

/// `GET /v2/models/M/config`. The first axis is the batch, so it is in `max_batch_size` and not among `dims`.
pub(crate) fn config(name: &str, target: &Target) -> Value {
    let signature = target.signature();
    let (_, version) = target.version();
    json!({
        "name": name,
        "platform": "onnxruntime_onnx",
        "backend": "bellwether",
        "runtime": target.engine(),
        "version_policy": {"specific": {"versions": [version]}},
        "max_batch_size": i32::try_from(target.max_rows()).unwrap_or(i32::MAX),
        "input": signature.inputs.iter().map(batched).collect::<Vec<_>>(),
        "output": signature.outputs.iter().map(batched).collect::<Vec<_>>(),
        "dynamic_batching": {"max_queue_delay_microseconds": 0},
        "instance_group": [{"name": name, "kind": "KIND_CPU", "count": 1}],
        "default_model_filename": "model.onnx",
    })
}

fn batched(spec: &TensorSpec) -> Value {
    let dims = dims(spec.shape.get(1..).unwrap_or_default());
    // A row that is a single number has no axis of its own; a configuration must have one.
    let (dims, reshape) = if dims.is_empty() { (vec![1], json!({"shape": []})) } else { (dims, Value::Null) };
    let mut tensor = json!({"name": spec.name, "data_type": type_name(spec.dtype), "dims": dims});
    if !reshape.is_null() {
        tensor["reshape"] = reshape;
    }
    tensor
}

fn dims(shape: &[Option<usize>]) -> Vec<i64> {
    shape.iter().map(|axis| axis.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX))).collect()
}

fn type_name(dtype: DataType) -> String {
    format!("TYPE_{}", datatype::name(dtype))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_of_any_size_are_minus_one() {
        let spec = |shape: &[Option<usize>]| TensorSpec {
            name: "x".to_owned(),
            dtype: DataType::Float32,
            shape: shape.to_vec(),
        };
        assert_eq!(
            tensor(&spec(&[None, Some(4)])),
            json!({"name": "x", "datatype": "FP32", "shape": [-1, 4]})
        );
        assert_eq!(
            batched(&spec(&[None, None, Some(4)])),
            json!({"name": "x", "data_type": "TYPE_FP32", "dims": [-1, 4]})
        );
        assert_eq!(
            batched(&spec(&[None])),
            json!({"name": "x", "data_type": "TYPE_FP32", "dims": [1], "reshape": {"shape": []}})
        );
    }
}
