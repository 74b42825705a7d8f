//! An operator of TensorFlow that is about to be added.

use protos::tensorflow::{DataType, attr_value};

use super::value::{Shape, Value};
use crate::format::saved_model::proto::{integers_attribute, type_attribute};

/// An operator with its inputs and attributes.
pub(super) struct Call<'a> {
    pub(super) operator: &'static str,
    /// What its definition calls its first result.
    pub(super) output: &'static str,
    pub(super) inputs: Vec<&'a Value>,
    pub(super) attributes: Vec<(&'static str, attr_value::Value)>,
}

/// A result of a call.
pub(super) struct Given {
    /// Its name in the operator's definition, and its place there: `indices:0`, `output:2`.
    pub(super) output: String,
    pub(super) dtype: DataType,
    pub(super) shape: Shape,
}

impl<'a> Call<'a> {
    /// A call without attributes.
    pub(super) fn new(operator: &'static str, output: &'static str, inputs: &[&'a Value]) -> Self {
        Self { operator, output, inputs: inputs.to_vec(), attributes: Vec::new() }
    }

    /// One whose attribute `T` is the type of its first input.
    pub(super) fn typed(operator: &'static str, output: &'static str, inputs: &[&'a Value]) -> Self {
        let dtype = inputs.first().map_or(DataType::DtFloat, |input| input.dtype);
        Self::new(operator, output, inputs).dtype("T", dtype)
    }

    pub(super) fn with(mut self, name: &'static str, value: attr_value::Value) -> Self {
        self.attributes.push((name, value));
        self
    }

    pub(super) fn dtype(self, name: &'static str, dtype: DataType) -> Self {
        self.with(name, type_attribute(dtype))
    }

    pub(super) fn int(self, name: &'static str, value: i64) -> Self {
        self.with(name, attr_value::Value::I(value))
    }

    pub(super) fn ints(self, name: &'static str, values: &[i64]) -> Self {
        self.with(name, integers_attribute(values.to_vec()))
    }

    pub(super) fn float(self, name: &'static str, value: f32) -> Self {
        self.with(name, attr_value::Value::F(value))
    }

    pub(super) fn flag(self, name: &'static str, value: bool) -> Self {
        self.with(name, attr_value::Value::B(value))
    }

    pub(super) fn text(self, name: &'static str, value: &str) -> Self {
        self.with(name, attr_value::Value::S(value.as_bytes().to_vec()))
    }
}
