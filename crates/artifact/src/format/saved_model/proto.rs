//! Small makers of TensorFlow messages.

use std::collections::BTreeMap;

use predictor::{DataType, Tensor, TensorSpec};
use protos::tensorflow::{
    self, AttrValue, NameAttrList, NodeDef, TensorProto, TensorShapeProto, attr_value, tensor_shape_proto,
};

use crate::format::bytes::little_endian;

/// A node without attributes.
pub(super) fn node(name: &str, op: &str, input: Vec<String>) -> NodeDef {
    NodeDef { name: name.to_owned(), op: op.to_owned(), input, ..NodeDef::default() }
}

/// Chained attributes of a node.
pub(super) trait WithAttribute {
    /// Sets an attribute.
    fn with(self, key: &str, value: attr_value::Value) -> Self;
}

impl WithAttribute for NodeDef {
    fn with(mut self, key: &str, value: attr_value::Value) -> Self {
        self.attr.insert(key.to_owned(), AttrValue { value: Some(value) });
        self
    }
}

pub(super) fn type_attribute(dtype: tensorflow::DataType) -> attr_value::Value {
    attr_value::Value::Type(dtype.into())
}

pub(super) fn types_attribute(types: Vec<tensorflow::DataType>) -> attr_value::Value {
    let r#type = types.into_iter().map(Into::into).collect();
    attr_value::Value::List(attr_value::ListValue { r#type, ..attr_value::ListValue::default() })
}

pub(super) fn shapes_attribute(shape: Vec<TensorShapeProto>) -> attr_value::Value {
    attr_value::Value::List(attr_value::ListValue { shape, ..attr_value::ListValue::default() })
}

pub(super) fn integers_attribute(i: Vec<i64>) -> attr_value::Value {
    attr_value::Value::List(attr_value::ListValue { i, ..attr_value::ListValue::default() })
}

pub(super) fn function_attribute(name: &str) -> attr_value::Value {
    attr_value::Value::Func(NameAttrList { name: name.to_owned(), attr: BTreeMap::new() })
}

pub(super) fn data_type(dtype: DataType) -> tensorflow::DataType {
    match dtype {
        DataType::Float32 => tensorflow::DataType::DtFloat,
        DataType::Float64 => tensorflow::DataType::DtDouble,
        DataType::Int32 => tensorflow::DataType::DtInt32,
        DataType::Int64 => tensorflow::DataType::DtInt64,
        DataType::Bool => tensorflow::DataType::DtBool,
    }
}

/// A shape; the open batch is -1.
pub(super) fn shape(axes: &[Option<usize>]) -> TensorShapeProto {
    let dim = |axis: &Option<usize>| tensor_shape_proto::Dim {
        size: axis.map_or(-1, |size| size as i64),
        name: String::new(),
    };
    TensorShapeProto { dim: axes.iter().map(dim).collect(), unknown_rank: false }
}

/// The shape of a tensor of a signature; no axes are said where nothing is known of them.
pub(super) fn spec_shape(spec: &TensorSpec) -> TensorShapeProto {
    TensorShapeProto { unknown_rank: spec.shape.is_empty(), ..shape(&spec.shape) }
}

pub(super) fn fixed_shape(axes: &[usize]) -> TensorShapeProto {
    shape(&axes.iter().map(|&axis| Some(axis)).collect::<Vec<_>>())
}

pub(super) fn tensor(tensor: &Tensor) -> TensorProto {
    TensorProto {
        dtype: data_type(tensor.data_type()).into(),
        tensor_shape: Some(fixed_shape(tensor.shape())),
        tensor_content: little_endian(tensor),
        ..TensorProto::default()
    }
}

/// A vector of strings.
pub(super) fn strings(values: Vec<String>) -> TensorProto {
    TensorProto {
        dtype: tensorflow::DataType::DtString.into(),
        tensor_shape: Some(fixed_shape(&[values.len()])),
        string_val: values.into_iter().map(String::into_bytes).collect(),
        ..TensorProto::default()
    }
}

/// A scalar.
pub(super) fn scalar(value: f32) -> TensorProto {
    TensorProto {
        dtype: tensorflow::DataType::DtFloat.into(),
        tensor_shape: Some(fixed_shape(&[])),
        float_val: vec![value],
        ..TensorProto::default()
    }
}

/// A tensor of integers.
pub(super) fn integers(shape: &[usize], values: &[i32]) -> TensorProto {
    TensorProto {
        dtype: tensorflow::DataType::DtInt32.into(),
        tensor_shape: Some(fixed_shape(shape)),
        tensor_content: values.iter().flat_map(|value| value.to_le_bytes()).collect(),
        ..TensorProto::default()
    }
}

/// A node that gives a fixed tensor.
pub(super) fn constant(name: &str, value: TensorProto) -> NodeDef {
    let dtype = attr_value::Value::Type(value.dtype);
    node(name, "Const", vec![]).with("dtype", dtype).with("value", attr_value::Value::Tensor(value))
}
