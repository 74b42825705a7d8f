//! Constant tensors of an ONNX graph: which of them become variables, and all in TensorFlow's form.

use std::rc::Rc;

use predictor::{Tensor, TensorData};
use protos::onnx::{TensorProto, tensor_proto};
use protos::tensorflow::{self, DataType};

use crate::format::onnx::nodes::{data_type, type_name};
use crate::format::saved_model::proto;

/// A constant tensor.
pub(super) struct Weight {
    pub(super) name: String,
    pub(super) content: Content,
    /// Whether it is trained, as far as anybody can tell: several floating-point numbers.
    pub(super) is_variable: bool,
}

/// What it holds.
pub(super) enum Content {
    /// Elements of a type that callers can send.
    Plain(Rc<Tensor>),
    /// Others: halves and short integers.
    Other(Box<tensorflow::TensorProto>),
}

impl Weight {
    pub(super) fn constant(name: &str, tensor: Tensor) -> Self {
        Self { name: name.to_owned(), content: Content::Plain(Rc::new(tensor)), is_variable: false }
    }

    /// A tensor of the graph.
    pub(super) fn of(tensor: &TensorProto) -> Result<Self, String> {
        let content = content(tensor)?;
        let is_variable = match &content {
            Content::Plain(tensor) => match tensor.data() {
                TensorData::Float32(values) => values.len() > 1,
                TensorData::Float64(values) => values.len() > 1,
                _ => false,
            },
            Content::Other(_) => false,
        };
        Ok(Self { name: tensor.name().to_owned(), content, is_variable })
    }

    pub(super) fn dtype(&self) -> DataType {
        match &self.content {
            Content::Plain(tensor) => proto::data_type(tensor.data_type()),
            Content::Other(tensor) => tensor.dtype(),
        }
    }

    pub(super) fn shape(&self) -> Vec<Option<i64>> {
        match &self.content {
            Content::Plain(tensor) => tensor.shape().iter().map(|size| Some(*size as i64)).collect(),
            Content::Other(tensor) => {
                tensor.tensor_shape.iter().flat_map(|shape| &shape.dim).map(|dim| Some(dim.size)).collect()
            }
        }
    }

    pub(super) fn known(&self) -> Option<Rc<Tensor>> {
        match &self.content {
            Content::Plain(tensor) => Some(Rc::clone(tensor)),
            Content::Other(_) => None,
        }
    }

    pub(super) fn to_proto(&self) -> tensorflow::TensorProto {
        match &self.content {
            Content::Plain(tensor) => proto::tensor(tensor),
            Content::Other(tensor) => (**tensor).clone(),
        }
    }
}

/// TensorFlow's number of an element type of ONNX.
pub(super) fn element_type(dtype: tensor_proto::DataType) -> Result<DataType, String> {
    use tensor_proto::DataType as Onnx;
    Ok(match dtype {
        Onnx::Float => DataType::DtFloat,
        Onnx::Double => DataType::DtDouble,
        Onnx::Float16 => DataType::DtHalf,
        Onnx::Bfloat16 => DataType::DtBfloat16,
        Onnx::Int8 => DataType::DtInt8,
        Onnx::Int16 => DataType::DtInt16,
        Onnx::Int32 => DataType::DtInt32,
        Onnx::Int64 => DataType::DtInt64,
        Onnx::Uint8 => DataType::DtUint8,
        Onnx::Uint16 => DataType::DtUint16,
        Onnx::Uint32 => DataType::DtUint32,
        Onnx::Uint64 => DataType::DtUint64,
        Onnx::Bool => DataType::DtBool,
        other => return Err(format!("it uses {}, which is not written", type_name(other))),
    })
}

fn content(tensor: &TensorProto) -> Result<Content, String> {
    let named = |reason: String| format!("tensor \"{}\": {reason}", tensor.name());
    let size = |dim: &i64| usize::try_from(*dim).map_err(|error| named(error.to_string()));
    let shape = tensor.dims.iter().map(size).collect::<Result<Vec<_>, _>>()?;
    let dtype = element_type(data_type(tensor)).map_err(named)?;
    let raw = tensor.raw_data();
    let data = match dtype {
        DataType::DtFloat if raw.is_empty() => TensorData::Float32(tensor.float_data.clone()),
        DataType::DtFloat => TensorData::Float32(numbers(raw, f32::from_le_bytes)),
        DataType::DtDouble if raw.is_empty() => TensorData::Float64(tensor.double_data.clone()),
        DataType::DtDouble => TensorData::Float64(numbers(raw, f64::from_le_bytes)),
        DataType::DtInt32 if raw.is_empty() => TensorData::Int32(tensor.int32_data.clone()),
        DataType::DtInt32 => TensorData::Int32(numbers(raw, i32::from_le_bytes)),
        DataType::DtInt64 if raw.is_empty() => TensorData::Int64(tensor.int64_data.clone()),
        DataType::DtInt64 => TensorData::Int64(numbers(raw, i64::from_le_bytes)),
        DataType::DtBool if raw.is_empty() => {
            TensorData::Bool(tensor.int32_data.iter().map(|x| *x != 0).collect())
        }
        DataType::DtBool => TensorData::Bool(raw.iter().map(|byte| *byte != 0).collect()),
        other => return Ok(Content::Other(Box::new(narrow(tensor, other, &shape)))),
    };
    Tensor::new(shape, data).map(|tensor| Content::Plain(Rc::new(tensor))).map_err(|e| named(e.to_string()))
}

fn numbers<const N: usize, T>(raw: &[u8], number: fn([u8; N]) -> T) -> Vec<T> {
    raw.as_chunks::<N>().0.iter().map(|bytes| number(*bytes)).collect()
}

/// Halves and other integers: as bytes, or spread over 32 bits where ONNX spreads them so.
fn narrow(tensor: &TensorProto, dtype: DataType, shape: &[usize]) -> tensorflow::TensorProto {
    let width = match dtype {
        DataType::DtInt8 | DataType::DtUint8 => 1,
        DataType::DtHalf | DataType::DtBfloat16 | DataType::DtInt16 | DataType::DtUint16 => 2,
        DataType::DtUint32 => 4,
        _ => 8,
    };
    let content = match tensor.raw_data() {
        [] if width >= 4 => {
            tensor.uint64_data.iter().flat_map(|x| x.to_le_bytes().into_iter().take(width)).collect()
        }
        [] => tensor.int32_data.iter().flat_map(|x| x.to_le_bytes().into_iter().take(width)).collect(),
        raw => raw.to_vec(),
    };
    tensorflow::TensorProto {
        dtype: dtype.into(),
        tensor_shape: Some(proto::fixed_shape(shape)),
        tensor_content: content,
        ..tensorflow::TensorProto::default()
    }
}
