//! Windows that are reduced.

use super::convolution::{padding, windows};
use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("MaxPool", |c, node, x| pool(c, node, x, "MaxPool")),
    ("MaxPoolV2", |_, _, _| Err("windows that are computed while the model runs are not taken".into())),
    ("AvgPool", |c, node, x| pool(c, node, x, "AveragePool")),
    ("MaxPool3D", |c, node, x| pool(c, node, x, "MaxPool")),
    ("AvgPool3D", |c, node, x| pool(c, node, x, "AveragePool")),
];

fn pool(c: &mut Converter, node: Node, x: &[Value], operator: &'static str) -> Step<Vec<Value>> {
    let x = x.tensor(0)?;
    let rank = x.rank();
    let sizes = node.ints("ksize", &[]);
    let channels_first = node.text("data_format", "NHWC").starts_with("NC");
    let spatial = if channels_first { 2..rank } else { 1..rank.max(1) - 1 };
    if sizes.len() != rank || rank < 3 || (0..rank).any(|axis| !spatial.contains(&axis) && sizes[axis] != 1) {
        return Err(format!("its windows {sizes:?} are not taken").into());
    }
    let windows = windows(node, rank, sizes[spatial].to_vec())?;
    let padding = padding(node, &windows)?;
    one(c.target.pool(operator, x, &windows, &padding)?)
}
