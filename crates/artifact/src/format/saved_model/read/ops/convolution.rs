//! Convolutions.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dilated::Meaning;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value};
use crate::format::traced::windows::{Padding, Windows, kernel_sizes};

pub(super) const TABLE: &[Entry] = &[
    ("Conv2D", |c, node, x| convolve(c, node, x)),
    ("Conv3D", |c, node, x| convolve(c, node, x)),
    ("DepthwiseConv2dNative", |c, node, x| depthwise(c, node, x)),
    ("Conv2DBackpropInput", |c, node, x| transposed(c, node, x)),
    ("Conv3DBackpropInputV2", |c, node, x| transposed(c, node, x)),
];

/// Reads strides and dilations of a node on a tensor of this rank.
pub(super) fn windows(node: Node, rank: usize, size: Vec<i64>) -> Step<Windows> {
    if rank < 3 {
        return Err("its windows do not fit its input".into());
    }
    let channels_first = node.text("data_format", "NHWC").starts_with("NC");
    let spatial = if channels_first { 2..rank } else { 1..rank - 1 };
    let ones = vec![1; rank];
    let along = |key: &str| -> Step<Vec<i64>> {
        let all = node.ints(key, &ones);
        let outer = |axis: usize| !spatial.contains(&axis);
        if all.len() != rank || (0..rank).any(|axis| outer(axis) && all[axis] != 1) {
            return Err(format!("its {key} {all:?} are not taken").into());
        }
        Ok(all[spatial.clone()].to_vec())
    };
    let (strides, dilations) = (along("strides")?, along("dilations")?);
    Windows { channels_first, size, strides, dilations }.checked(rank)
}

/// What a node says of pads.
pub(super) fn padding(node: Node, windows: &Windows) -> Step<Padding> {
    match node.text("padding", "VALID") {
        "VALID" => Ok(Padding::Valid),
        "SAME" => Ok(Padding::Same),
        "EXPLICIT" => {
            let all = node.ints("explicit_paddings", &[]);
            let first = if windows.channels_first { 2 } else { 1 };
            let pads = all.as_chunks::<2>().0.get(first..first + windows.size.len());
            Ok(Padding::Explicit(pads.ok_or("its pads do not fit")?.to_vec()))
        }
        other => Err(format!("the padding \"{other}\" is unknown").into()),
    }
}

fn convolve(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let (x, kernel) = (x.tensor(0)?, x.tensor(1)?);
    let (size, _, _) = kernel_sizes(kernel, x.rank())?;
    let windows = windows(node, x.rank(), size)?;
    let (kernel, groups) = c.target.kernel(x, kernel, &windows)?;
    one(run(c, node, x, (&kernel, groups), &windows)?)
}

/// Channel by channel: a kernel `[windows..., in, times]` is one of `in` groups.
fn depthwise(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let (x, kernel) = (x.tensor(0)?, x.tensor(1)?);
    let (size, _, _) = kernel_sizes(kernel, x.rank())?;
    let windows = windows(node, x.rank(), size)?;
    let (kernel, groups) = c.target.depthwise_kernel(kernel, x.rank())?;
    one(run(c, node, x, (&kernel, groups), &windows)?)
}

/// Moves the kernel, in ONNX's order, over the input; also over what the input stands for, if its space is spread.
fn run(c: &mut Converter, node: Node, x: &Traced, kernel: (&Traced, i64), windows: &Windows) -> Step {
    let padding = padding(node, windows)?;
    let y = c.target.convolve(x, kernel, windows, &padding)?;
    let plain = windows.dilations.iter().chain(&windows.strides).all(|step| *step == 1);
    let spread = |meaning: &&Meaning| {
        !meaning.convolved && meaning.blocks.len() == windows.size.len() && !windows.channels_first
    };
    let meaning = c.dilated.meaning(x).filter(spread).cloned();
    if let Some(meaning) = meaning.filter(|_| plain && padding == Padding::Valid) {
        let windows = Windows { dilations: meaning.blocks.clone(), ..windows.clone() };
        let whole = c.target.convolve(&meaning.whole, kernel, &windows, &padding)?;
        c.dilated.remember(&y, Meaning { whole, blocks: meaning.blocks, convolved: true });
    }
    Ok(y)
}

/// The gradient of a convolution by its input, which Keras calls a transposed convolution. The size of the result is given.
fn transposed(c: &mut Converter, node: Node, inputs: &[Value]) -> Step<Vec<Value>> {
    let (kernel, x) = (inputs.tensor(1)?, inputs.tensor(2)?);
    let target = inputs.sizes(0)?;
    let rank = x.rank();
    let (size, _, _) = kernel_sizes(kernel, rank)?;
    let windows = windows(node, rank, size)?;
    let padding = padding(node, &windows)?;
    let first = if windows.channels_first { 2 } else { 1 };
    let wanted = target.get(first..first + rank - 2).ok_or("the size of its result does not fit")?;
    one(c.target.convolve_transposed(x, kernel, &windows, (&padding, wanted))?)
}
