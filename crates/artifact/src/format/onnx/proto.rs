//! Small makers of ONNX messages.

use predictor::{DataType, Tensor};
use protos::onnx::{
    AttributeProto, GraphProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto,
    attribute_proto::AttributeType, tensor_proto, tensor_shape_proto, type_proto,
};

use crate::format::bytes::little_endian;
use crate::graph::Node;

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(kind.into()), ..AttributeProto::default() }
}

/// An attribute that is an integer.
pub(crate) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

/// An attribute that is a list of integers.
pub(crate) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    AttributeProto { ints: values, ..attribute(name, AttributeType::Ints) }
}

/// An attribute that is a number.
pub(crate) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

/// An attribute that is a text.
pub(crate) fn text(name: &str, value: &str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

/// An attribute that is a graph: the body of a loop.
pub(crate) fn graph(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto { g: Some(graph), ..attribute(name, AttributeType::Graph) }
}

pub(crate) fn tensor(name: &str, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(data_type(tensor.data_type())),
        dims: tensor.shape().iter().map(|&axis| axis as i64).collect(),
        raw_data: Some(little_endian(tensor)),
        ..TensorProto::default()
    }
}

pub(super) fn scalar(name: &str, value: f32) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(tensor_proto::DataType::Float.into()),
        raw_data: Some(value.to_le_bytes().to_vec()),
        ..TensorProto::default()
    }
}

/// A vector of integers, the type in which operators take sizes and places.
pub(super) fn vector(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(tensor_proto::DataType::Int64.into()),
        dims: vec![values.len() as i64],
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

pub(super) fn value_info(name: &str, node: &Node) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value as Axis;
    let axis = |size: &Option<usize>| tensor_shape_proto::Dimension {
        value: Some(match size {
            Some(size) => Axis::DimValue(*size as i64),
            None => Axis::DimParam("batch".to_owned()),
        }),
        ..tensor_shape_proto::Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(data_type(node.dtype)),
        shape: Some(TensorShapeProto { dim: node.shape.iter().map(axis).collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.to_owned()), r#type: Some(r#type), ..ValueInfoProto::default() }
}

/// ONNX's number of an element type.
pub(crate) fn data_type(dtype: DataType) -> i32 {
    let onnx = match dtype {
        DataType::Float32 => tensor_proto::DataType::Float,
        DataType::Float64 => tensor_proto::DataType::Double,
        DataType::Int32 => tensor_proto::DataType::Int32,
        DataType::Int64 => tensor_proto::DataType::Int64,
        DataType::Bool => tensor_proto::DataType::Bool,
    };
    onnx.into()
}
