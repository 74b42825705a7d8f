//! A node of the ONNX graph, as the functions of `ops` ask it.

use protos::onnx::{GraphProto, NodeProto};

use super::value::Value;
use crate::format::onnx::nodes::attribute;

/// A node with its inputs.
pub(super) struct Node<'a> {
    pub(super) proto: &'a NodeProto,
    /// What is left out is none.
    pub(super) inputs: Vec<Option<Value>>,
    /// The version of ONNX's operators that the model uses.
    pub(super) opset: i64,
}

impl Node<'_> {
    /// An input that must be there.
    pub(super) fn input(&self, at: usize) -> Result<Value, String> {
        self.optional(at).ok_or_else(|| format!("it has no input {at}"))
    }

    /// An input that may be left out.
    pub(super) fn optional(&self, at: usize) -> Option<Value> {
        self.inputs.get(at).cloned().flatten()
    }

    /// All inputs, none of which may be left out.
    pub(super) fn all(&self) -> Result<Vec<Value>, String> {
        (0..self.inputs.len()).map(|at| self.input(at)).collect()
    }

    /// Whether somebody may read a result.
    pub(super) fn gives(&self, at: usize) -> bool {
        self.proto.output.get(at).is_some_and(|name| !name.is_empty())
    }

    pub(super) fn int(&self, name: &str, default: i64) -> i64 {
        attribute(self.proto, name).and_then(|attribute| attribute.i).unwrap_or(default)
    }

    pub(super) fn float(&self, name: &str, default: f32) -> f32 {
        attribute(self.proto, name).and_then(|attribute| attribute.f).unwrap_or(default)
    }

    pub(super) fn text(&self, name: &str, default: &str) -> String {
        let text = attribute(self.proto, name).and_then(|attribute| attribute.s.as_deref());
        text.map_or(default.to_owned(), |text| String::from_utf8_lossy(text).into_owned())
    }

    pub(super) fn ints(&self, name: &str) -> Option<Vec<i64>> {
        attribute(self.proto, name).map(|attribute| attribute.ints.clone())
    }

    pub(super) fn graph(&self, name: &str) -> Result<&GraphProto, String> {
        let graph = attribute(self.proto, name).and_then(|attribute| attribute.g.as_ref());
        graph.ok_or_else(|| format!("it has no graph \"{name}\""))
    }

    /// A list that older versions keep in an attribute and newer ones take as an input, which must be constant.
    pub(super) fn listed(&self, name: &str, at: usize) -> Result<Option<Vec<i64>>, String> {
        match (self.ints(name), self.optional(at)) {
            (Some(values), _) => Ok(Some(values)),
            (None, None) => Ok(None),
            (None, Some(value)) => match value.integers() {
                Some(values) => Ok(Some(values)),
                None => Err(format!("its {name} are computed when the model runs")),
            },
        }
    }
}
