//! The numbers inside an ONNX file, without the graph around them.

use predictor::Tensor;
use prost::Message;
use protos::onnx::{ModelProto, TensorProto, tensor_proto};

use crate::Error;

/// The float32 initializers by name.
///
/// # Errors
/// [`Error::Load`] for bytes that are no ONNX model, or a tensor whose bytes are not those of its shape.
pub fn tensors(model: &[u8]) -> Result<Vec<(String, Tensor)>, Error> {
    let model = ModelProto::decode(model)
        .map_err(|error| Error::Load { engine: "onnx", reason: error.to_string() })?;
    let initializers = model.graph.unwrap_or_default().initializer;
    let float = i32::from(tensor_proto::DataType::Float);
    initializers.iter().filter(|tensor| tensor.data_type == Some(float)).map(tensor_of).collect()
}

/// Name and elements of a float32 tensor whose bytes are in the file itself.
///
/// # Errors
/// As [`tensors`].
pub(crate) fn tensor_of(tensor: &TensorProto) -> Result<(String, Tensor), Error> {
    let name = tensor.name().to_owned();
    let refuse =
        |reason: String| Error::Load { engine: "onnx", reason: format!("tensor \"{name}\": {reason}") };
    let axis = |dim: &i64| usize::try_from(*dim).map_err(|error| refuse(error.to_string()));
    let shape = tensor.dims.iter().map(axis).collect::<Result<Vec<usize>, _>>()?;
    let bytes = tensor.raw_data();
    let values: Vec<f32> = if bytes.is_empty() {
        tensor.float_data.clone()
    } else {
        bytes.chunks_exact(4).map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect()
    };
    let tensor = Tensor::float32(shape, values).map_err(|error| refuse(error.to_string()))?;
    Ok((name, tensor))
}
