//! The little that exporters append to an ensemble: a copy, a factor, an exponential. Computed here, element by element,
//! so that a plain model needs no second engine.

use predictor::{Tensor, TensorData};
use protos::onnx::tensor_proto::DataType;
use protos::onnx::{NodeProto, TensorProto};

use super::ensemble::{Floats, Scored};
use crate::format::onnx::nodes::{attribute, data_type, is_standard};

/// A step that keeps the shape.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Step {
    Copy,
    Add(f32),
    Subtract(f32),
    Multiply(f32),
    Divide(f32),
    Negate,
    Exponential,
}

impl Step {
    /// The step that `node` makes of its input `value`, a float32 tensor with two axes; `constant` finds constants by
    /// name. None if it is anything else.
    pub(super) fn of<'a>(
        node: &NodeProto,
        value: &str,
        constant: impl Fn(&str) -> Option<&'a TensorProto>,
    ) -> Option<Self> {
        if !is_standard(node) || node.output.len() != 1 {
            return None;
        }
        let is_first = node.input.first().is_some_and(|input| input == value);
        let other = || scalar(constant(node.input.get(usize::from(is_first))?)?);
        match (node.op_type(), node.input.len()) {
            ("Identity", 1) => Some(Self::Copy),
            ("Cast", 1) if casts_to(node, DataType::Float) => Some(Self::Copy),
            ("Flatten", 1) if attribute(node, "axis").is_none_or(|axis| axis.i == Some(1)) => {
                Some(Self::Copy)
            }
            ("Neg", 1) => Some(Self::Negate),
            ("Exp", 1) => Some(Self::Exponential),
            ("Add", 2) => other().map(Self::Add),
            ("Mul", 2) => other().map(Self::Multiply),
            ("Sub", 2) if is_first => other().map(Self::Subtract),
            ("Div", 2) if is_first => other().map(Self::Divide),
            _ => None,
        }
    }

    fn apply(self, values: &mut [f32]) {
        let each = |f: fn(f32, f32) -> f32, by: f32, values: &mut [f32]| {
            values.iter_mut().for_each(|value| *value = f(*value, by));
        };
        match self {
            Self::Copy => {}
            Self::Add(by) => each(|x, by| x + by, by, values),
            Self::Subtract(by) => each(|x, by| x - by, by, values),
            Self::Multiply(by) => each(|x, by| x * by, by, values),
            Self::Divide(by) => each(|x, by| x / by, by, values),
            Self::Negate => each(|x, _| -x, 0.0, values),
            Self::Exponential => each(|x, _| x.exp(), 0.0, values),
        }
    }
}

/// Whether `node` copies labels: what exporters put between a classifier and its output.
pub(super) fn copies_labels(node: &NodeProto) -> bool {
    let copies = match node.op_type() {
        "Identity" => true,
        "Cast" => casts_to(node, DataType::Int64),
        _ => false,
    };
    copies && is_standard(node) && node.input.len() == 1
}

fn casts_to(node: &NodeProto, dtype: DataType) -> bool {
    attribute(node, "to").and_then(|to| to.i) == Some(i64::from(i32::from(dtype)))
}

/// The one element of a float32 tensor of at most two axes.
fn scalar(tensor: &TensorProto) -> Option<f32> {
    if data_type(tensor) != DataType::Float
        || tensor.dims.len() > 2
        || tensor.dims.iter().any(|dim| *dim != 1)
    {
        return None;
    }
    match tensor.raw_data().as_array::<4>() {
        Some(bytes) => Some(f32::from_le_bytes(*bytes)),
        None => tensor.float_data.first().copied(),
    }
}

/// The scores, `[rows, targets]`, after the steps.
pub(super) fn scores(scored: &Scored, steps: &[Step]) -> Tensor {
    let (count, data) = match &scored.scores {
        Floats::Double(scores) => (scores.len(), TensorData::Float64(scores.clone())),
        Floats::Single(scores) => {
            let mut scores = scores.clone();
            steps.iter().for_each(|step| step.apply(&mut scores));
            (scores.len(), TensorData::Float32(scores))
        }
    };
    Tensor::new(vec![count / scored.targets, scored.targets], data).expect("the shape is that of the scores")
}
