//! Small makers of ONNX messages.

use predictor::{DataType, Tensor};
use protos::onnx::{AttributeProto, GraphProto, TensorProto, attribute_proto::AttributeType, tensor_proto};

use crate::format::bytes::little_endian;

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind.into()), ..AttributeProto::default() }
}

pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

pub(super) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { ints: values, ..attribute(name, AttributeType::Ints) }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

pub(super) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

pub(super) fn graph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(graph), ..attribute(name, AttributeType::Graph) }
}

pub(super) fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type(tensor.data_type())),
        dims: tensor.shape().iter().map(|&axis| axis as i64).collect(),
        raw_data: Some(little_endian(tensor)),
        ..TensorProto::default()
    }
}

/// ONNX's number of an element type.
pub(super) fn data_type(dtype: DataType) -> i32 {
    let onnx = match dtype {
        DataType::Float32 => tensor_proto::DataType::Float,
        DataType::Float64 => tensor_proto::DataType::Double,
        DataType::Int32 => tensor_proto::DataType::Int32,
        DataType::Int64 => tensor_proto::DataType::Int64,
        DataType::Bool => tensor_proto::DataType::Bool,
    };
    onnx.into()
}
