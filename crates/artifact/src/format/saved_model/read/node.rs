//! A node of a TensorFlow graph with its attributes, whose defaults a SavedModel leaves out.

use predictor::DataType;
use protos::tensorflow::{AttrValue, NodeDef, TensorProto, attr_value};

use super::constant::ElementType;

/// A node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Node<'a> {
    pub def: &'a NodeDef,
}

impl<'a> Node<'a> {
    pub(super) fn op(&self) -> &'a str {
        &self.def.op
    }

    fn attribute(&self, key: &str) -> Option<&'a attr_value::Value> {
        self.def.attr.get(key).and_then(|AttrValue { value }| value.as_ref())
    }

    pub(super) fn int(&self, key: &str, default: i64) -> i64 {
        match self.attribute(key) {
            Some(attr_value::Value::I(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn float(&self, key: &str, default: f32) -> f32 {
        match self.attribute(key) {
            Some(attr_value::Value::F(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn bool(&self, key: &str, default: bool) -> bool {
        match self.attribute(key) {
            Some(attr_value::Value::B(value)) => *value,
            _ => default,
        }
    }

    pub(super) fn text(&self, key: &str, default: &'a str) -> &'a str {
        match self.attribute(key) {
            Some(attr_value::Value::S(value)) => std::str::from_utf8(value).unwrap_or(default),
            _ => default,
        }
    }

    pub(super) fn ints(&self, key: &str, default: &[i64]) -> Vec<i64> {
        match self.attribute(key) {
            Some(attr_value::Value::List(list)) => list.i.clone(),
            _ => default.to_vec(),
        }
    }

    pub(super) fn floats(&self, key: &str) -> &'a [f32] {
        match self.attribute(key) {
            Some(attr_value::Value::List(list)) => &list.f,
            _ => &[],
        }
    }

    /// An element type, as it is used here.
    pub(super) fn dtype(&self, key: &str, default: DataType) -> Result<DataType, String> {
        match self.attribute(key) {
            Some(attr_value::Value::Type(number)) => Ok(ElementType::of(*number)?.as_used()),
            Some(attr_value::Value::Placeholder(_)) => {
                Err("its type is a parameter of the function".to_owned())
            }
            _ => Ok(default),
        }
    }

    /// TensorFlow's number of an element type.
    pub(super) fn type_number(&self, key: &str) -> Option<i32> {
        match self.attribute(key) {
            Some(attr_value::Value::Type(number)) => Some(*number),
            _ => None,
        }
    }

    pub(super) fn tensor(&self, key: &str) -> Option<&'a TensorProto> {
        match self.attribute(key) {
            Some(attr_value::Value::Tensor(tensor)) => Some(tensor),
            _ => None,
        }
    }

    /// The name of a function.
    pub(super) fn function(&self, key: &str) -> Option<&'a str> {
        match self.attribute(key) {
            Some(attr_value::Value::Func(function)) => Some(&function.name),
            _ => None,
        }
    }

    /// The scope that its name lies in: the layer, in what Keras exports.
    pub(super) fn layer(&self) -> Option<String> {
        self.def.name.rsplit_once('/').map(|(scope, _)| scope.to_owned())
    }
}
