//! Scikit-learn's preparation of features: scaled, filled, cut in two, normalised.

use super::Lowering;
use crate::format::onnx::proto::int;
use crate::format::onnx::read::edit::{cast, node};
use protos::onnx::tensor_proto::DataType;

impl Lowering<'_> {
    /// `(x - offset) * scale`
    pub(super) fn scaler(&mut self) -> Result<bool, String> {
        let (offset, scale) = (self.floats("offset"), self.floats("scale"));
        if offset.is_empty() || scale.is_empty() {
            return Err(self.wrong("it has no offset or no scale"));
        }
        let output = self.node.output[0].clone();
        let (input, moved) = (self.input_as_float(), self.between("moved"));
        let offset = self.constant("offset", &[offset.len()], &offset);
        let scale = self.constant("scale", &[scale.len()], &scale);
        self.steps.push(node("Sub", &[&input, &offset], &moved, vec![]));
        self.steps.push(node("Mul", &[&moved, &scale], &output, vec![]));
        Ok(true)
    }

    /// Rows of length one, by their sum of magnitudes or their Euclidean length; by the largest is left as it is.
    pub(super) fn normalizer(&mut self) -> Result<bool, String> {
        let p = match self.text("norm").as_deref() {
            Some("L1") => 1,
            Some("L2") => 2,
            _ => return Ok(false),
        };
        let output = self.node.output[0].clone();
        let input = self.input_as_float();
        self.steps.push(node("LpNormalization", &[&input], &output, vec![int("axis", -1), int("p", p)]));
        Ok(true)
    }

    /// What is missing (or equal to a value) becomes a value of its column.
    pub(super) fn imputer(&mut self) -> Result<bool, String> {
        let values = self.floats("imputed_value_floats");
        if values.is_empty() {
            return Ok(false);
        }
        let replaced =
            super::attribute(self.node, "replaced_value_float").and_then(|value| value.f).unwrap_or(0.0);
        let output = self.node.output[0].clone();
        let (input, hit) = (self.input_as_float(), self.between("replaced"));
        let values = self.constant("values", &[values.len()], &values);
        if replaced.is_nan() {
            self.steps.push(node("IsNaN", &[&input], &hit, vec![]));
        } else {
            let replaced = self.constant("value", &[], &[replaced]);
            self.steps.push(node("Equal", &[&input, &replaced], &hit, vec![]));
        }
        self.steps.push(node("Where", &[&hit, &values, &input], &output, vec![]));
        Ok(true)
    }

    /// One above a threshold, zero up to it.
    pub(super) fn binarizer(&mut self) -> Result<bool, String> {
        let threshold = super::attribute(self.node, "threshold").and_then(|value| value.f).unwrap_or(0.0);
        let output = self.node.output[0].clone();
        let (input, above) = (self.input_as_float(), self.between("above"));
        let threshold = self.constant("threshold", &[], &[threshold]);
        self.steps.push(node("Greater", &[&input, &threshold], &above, vec![]));
        self.steps.push(cast(&above, &output, DataType::Float));
        Ok(true)
    }
}
