//! Windows that are reduced.

use super::convolution::{Windows, onnx_pads};
use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::{Call, Step};
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("MaxPool", |c, node, x| pool(c, node, x, "MaxPool")),
    ("MaxPoolV2", |_, _, _| Err("windows that are computed while the model runs are not taken".into())),
    ("AvgPool", |c, node, x| pool(c, node, x, "AveragePool")),
    ("MaxPool3D", |c, node, x| pool(c, node, x, "MaxPool")),
    ("AvgPool3D", |c, node, x| pool(c, node, x, "AveragePool")),
];

/// Averages count real elements only, as ONNX's do unless told otherwise.
fn pool(c: &mut Converter, node: Node, x: &[Value], operator: &'static str) -> Step<Vec<Value>> {
    let x = x.tensor(0)?;
    let rank = x.rank();
    let sizes = node.ints("ksize", &[]);
    let channels_first = node.text("data_format", "NHWC").starts_with("NC");
    let spatial = if channels_first { 2..rank } else { 1..rank.max(1) - 1 };
    if sizes.len() != rank || rank < 3 || (0..rank).any(|axis| !spatial.contains(&axis) && sizes[axis] != 1) {
        return Err(format!("its windows {sizes:?} are not taken").into());
    }
    let windows = Windows::read(node, rank, sizes[spatial.clone()].to_vec())?;
    let pads = windows.pads(node, &x.shape[spatial.clone()])?;
    let counts = windows.counts(&x.shape[spatial], &pads);
    let first = windows.channels_first(c, x)?;
    let call = Call::new(operator, &[&first])
        .ints("kernel_shape", &windows.size)
        .ints("strides", &windows.strides)
        .ints("pads", &onnx_pads(&pads));
    let channels: Dim = first.shape[1].clone();
    let shape: Vec<Option<Dim>> =
        [Some(x.shape[0].clone()), Some(channels)].into_iter().chain(counts).collect();
    let y = c.target.emit_open(&call, x.dtype, &shape)?;
    one(windows.back_to_layout(c, &y)?)
}
