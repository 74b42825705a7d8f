//! Softmax, and normalisation with stored statistics.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("Softmax", |c, _, x| softmax(c, x, "Softmax")),
    ("LogSoftmax", |c, _, x| softmax(c, x, "LogSoftmax")),
    ("FusedBatchNorm", |c, node, x| batch_norm(c, node, x)),
    ("FusedBatchNormV2", |c, node, x| batch_norm(c, node, x)),
    ("FusedBatchNormV3", |c, node, x| batch_norm(c, node, x)),
];

fn softmax(c: &mut Converter, x: &[Value], operator: &'static str) -> Step<Vec<Value>> {
    let x = x.tensor(0)?;
    one(c.target.along(operator, x, -1)?)
}

/// Scale and offset are known, so they become one factor and one summand.
fn batch_norm(c: &mut Converter, node: Node, inputs: &[Value]) -> Step<Vec<Value>> {
    if node.bool("is_training", true) {
        return Err("it is in training mode; save the model for inference".into());
    }
    let x = inputs.tensor(0)?;
    let [scale, offset, mean, variance] = [1, 2, 3, 4].map(|at| inputs.tensor(at));
    let (scale, offset, mean) = (scale?, offset?, mean?);
    let shifted = c.target.with_number("Add", variance?, f64::from(node.float("epsilon", 0.0001)))?;
    let inverse = c.target.unaries(&["Sqrt", "Reciprocal"], &shifted)?;
    let mut factor = c.target.binary("Mul", scale, &inverse)?;
    let moved = c.target.binary("Mul", mean, &factor)?;
    let mut summand = c.target.binary("Sub", offset, &moved)?;
    if node.text("data_format", "NHWC").starts_with("NC") {
        let axes: Vec<usize> = (1..x.rank().max(2) - 1).collect();
        factor = c.target.unsqueeze(&factor, &axes)?;
        summand = c.target.unsqueeze(&summand, &axes)?;
    }
    let scaled = c.target.binary("Mul", x, &factor)?;
    let y = c.target.binary("Add", &scaled, &summand)?;
    Ok(vec![Value::Tensor(y), inputs[3].clone(), inputs[4].clone()])
}
