//! Operators that make one of several elements.

use predictor::DataType;

use super::{Entry, Inputs, axis_of, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("Sum", |c, node, x| reduce(c, node, x, "ReduceSum")),
    ("Mean", |c, node, x| reduce(c, node, x, "ReduceMean")),
    ("Max", |c, node, x| reduce(c, node, x, "ReduceMax")),
    ("Min", |c, node, x| reduce(c, node, x, "ReduceMin")),
    ("Prod", |c, node, x| reduce(c, node, x, "ReduceProd")),
    ("All", |c, node, x| reduce(c, node, x, "ReduceMin")),
    ("Any", |c, node, x| reduce(c, node, x, "ReduceMax")),
    ("EuclideanNorm", |c, node, x| euclidean_norm(c, node, x)),
    ("L2Loss", |c, _, x| half_square(c, x)),
    ("ArgMax", |c, node, x| arg(c, node, x, "ArgMax")),
    ("ArgMin", |c, node, x| arg(c, node, x, "ArgMin")),
    ("Cumsum", |c, node, x| running_sum(c, node, x)),
];

fn reduce(c: &mut Converter, node: Node, x: &[Value], operator: &'static str) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let axes = x.axes(1, tensor.rank())?;
    one(c.target.reduce(operator, tensor, &axes, node.bool("keep_dims", false))?)
}

fn euclidean_norm(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let squares = c.target.binary("Mul", tensor, tensor)?;
    let sum =
        c.target.reduce("ReduceSum", &squares, &x.axes(1, tensor.rank())?, node.bool("keep_dims", false))?;
    one(c.target.unary("Sqrt", &sum)?)
}

fn half_square(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let squares = c.target.binary("Mul", tensor, tensor)?;
    let axes: Vec<usize> = (0..tensor.rank()).collect();
    let sum = c.target.reduce("ReduceSum", &squares, &axes, false)?;
    one(c.target.with_number("Mul", &sum, 0.5)?)
}

fn arg(c: &mut Converter, node: Node, x: &[Value], operator: &'static str) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let axis = axis_of(x.integer(1)?, tensor.rank())?;
    one(c.target.arg(operator, tensor, axis, node.dtype("output_type", DataType::Int64)?)?)
}

fn running_sum(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let axis = axis_of(x.integer(1)?, tensor.rank())?;
    one(c.target.running_sum(tensor, axis, node.bool("exclusive", false), node.bool("reverse", false))?)
}
