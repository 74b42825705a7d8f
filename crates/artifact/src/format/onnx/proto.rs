//! Small makers of ONNX messages.

use predictor::{DataType, Tensor};
use protos::onnx::{
    AttributeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto, attribute_proto, tensor_proto,
    tensor_shape_proto, type_proto,
};

use crate::format::bytes::little_endian;
use crate::graph::Node;

/// An attribute that is an integer.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    let r#type = Some(attribute_proto::AttributeType::Int.into());
    AttributeProto { name: Some(name.to_owned()), r#type, i: Some(value), ..AttributeProto::default() }
}

/// An attribute that is a list of integers.
pub(super) fn ints(name: &str, values: Vec<i64>) -> AttributeProto {
    let r#type = Some(attribute_proto::AttributeType::Ints.into());
    AttributeProto { name: Some(name.to_owned()), r#type, ints: values, ..AttributeProto::default() }
}

/// An attribute that is a number.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    let r#type = Some(attribute_proto::AttributeType::Float.into());
    AttributeProto { name: Some(name.to_owned()), r#type, f: Some(value), ..AttributeProto::default() }
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

fn data_type(dtype: DataType) -> i32 {
    let onnx = match dtype {
        DataType::Float32 => tensor_proto::DataType::Float,
        DataType::Float64 => tensor_proto::DataType::Double,
        DataType::Int32 => tensor_proto::DataType::Int32,
        DataType::Int64 => tensor_proto::DataType::Int64,
        DataType::Bool => tensor_proto::DataType::Bool,
    };
    onnx.into()
}
