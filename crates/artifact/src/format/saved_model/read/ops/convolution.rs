//! Convolutions. TensorFlow keeps channels last and kernels as `[windows..., in, out]`, ONNX channels first and kernels as
//! `[out, in, windows...]`.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dilated::Meaning;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::limits;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::{Call, Step};
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] = &[
    ("Conv2D", |c, node, x| convolve(c, node, x)),
    ("Conv3D", |c, node, x| convolve(c, node, x)),
    ("DepthwiseConv2dNative", |c, node, x| depthwise(c, node, x)),
    ("Conv2DBackpropInput", |c, node, x| transposed(c, node, x)),
    ("Conv3DBackpropInputV2", |c, node, x| transposed(c, node, x)),
];

/// How windows move, with an entry for each spatial axis.
#[derive(Debug, Clone)]
pub(super) struct Windows {
    pub channels_first: bool,
    pub size: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
}

impl Windows {
    /// Reads strides and dilations of a node on a tensor of this rank.
    pub(super) fn read(node: Node, rank: usize, size: Vec<i64>) -> Step<Self> {
        if rank < 3 || size.len() != rank - 2 || size.iter().any(|size| *size < 1 || *size > 1 << 20) {
            return Err("its windows do not fit its input".into());
        }
        let channels_first = node.text("data_format", "NHWC").starts_with("NC");
        let spatial = if channels_first { 2..rank } else { 1..rank - 1 };
        let ones = vec![1; rank];
        let along = |key: &str| -> Step<Vec<i64>> {
            let all = node.ints(key, &ones);
            let fits = all.len() == rank && all.iter().all(|step| (1..=1 << 20).contains(step));
            let outer = |axis: usize| !spatial.contains(&axis);
            if !fits || (0..rank).any(|axis| outer(axis) && all[axis] != 1) {
                return Err(format!("its {key} {all:?} are not taken").into());
            }
            Ok(all[spatial.clone()].to_vec())
        };
        let (strides, dilations) = (along("strides")?, along("dilations")?);
        Ok(Self { channels_first, size, strides, dilations })
    }

    /// How far the elements of a window reach along an axis.
    fn reach(&self, axis: usize) -> i64 {
        (self.size[axis] - 1) * self.dilations[axis] + 1
    }

    /// Elements added before and after each axis. `sizes` are those of the input.
    pub(super) fn pads(&self, node: Node, sizes: &[Dim]) -> Step<Vec<[i64; 2]>> {
        match node.text("padding", "VALID") {
            "VALID" => Ok(vec![[0, 0]; sizes.len()]),
            "SAME" => (0..sizes.len()).map(|axis| self.same_pads(axis, &sizes[axis])).collect(),
            "EXPLICIT" => {
                let all = node.ints("explicit_paddings", &[]);
                let first = if self.channels_first { 2 } else { 1 };
                let pads =
                    all.as_chunks::<2>().0.get(first..first + sizes.len()).ok_or("its pads do not fit")?;
                match pads.iter().flatten().all(|pad| (0..=1 << 20).contains(pad)) {
                    true => Ok(pads.to_vec()),
                    false => Err("its pads do not fit".into()),
                }
            }
            other => Err(format!("the padding \"{other}\" is unknown").into()),
        }
    }

    /// As many as keep ⌈size / stride⌉ windows, the odd one behind.
    fn same_pads(&self, axis: usize, size: &Dim) -> Step<[i64; 2]> {
        let (stride, reach) = (self.strides[axis], self.reach(axis));
        let total =
            match size.known() {
                Some(size) if size > limits::AXIS_ELEMENTS => return Err("an axis is too large".into()),
                Some(size) => (((size + stride - 1) / stride - 1) * stride + reach - size).max(0),
                None if stride == 1 => reach - 1,
                None => return Err(
                    "the padding \"same\" with a stride depends on an axis whose size is open; fix its size"
                        .into(),
                ),
            };
        Ok([total / 2, total - total / 2])
    }

    /// How many windows there are along each axis.
    pub(super) fn counts(&self, sizes: &[Dim], pads: &[[i64; 2]]) -> Vec<Option<Dim>> {
        let count = |(axis, size): (usize, &Dim)| {
            let spare = pads[axis][0] + pads[axis][1] - self.reach(axis);
            match size.known() {
                Some(size) => Some(Dim::fixed((size.checked_add(spare)? / self.strides[axis] + 1).max(0))),
                None if self.strides[axis] == 1 => size.plus(&Dim::fixed(spare + 1)),
                None => None,
            }
        };
        sizes.iter().enumerate().map(count).collect()
    }

    pub(super) fn spatial(&self, rank: usize) -> std::ops::Range<usize> {
        if self.channels_first { 2..rank } else { 1..rank - 1 }
    }

    /// The tensor with its channels on the second axis.
    pub(super) fn channels_first(&self, c: &mut Converter, x: &Traced) -> Step {
        if self.channels_first {
            return Ok(x.clone());
        }
        let rank = x.rank();
        let order: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        c.target.transpose(x, &order)
    }

    /// The way back.
    pub(super) fn back_to_layout(&self, c: &mut Converter, x: &Traced) -> Step {
        if self.channels_first {
            return Ok(x.clone());
        }
        let rank = x.rank();
        let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
        c.target.transpose(x, &order)
    }
}

/// Pads as ONNX has them: all before, then all after.
pub(super) fn onnx_pads(pads: &[[i64; 2]]) -> Vec<i64> {
    (0..2).flat_map(|side| pads.iter().map(move |pair| pair[side])).collect()
}

/// A kernel's sizes: windows, in and out.
fn kernel_sizes(kernel: &Traced, rank: usize) -> Step<(Vec<i64>, i64, i64)> {
    let sizes: Option<Vec<i64>> = kernel.shape.iter().map(Dim::known).collect();
    match sizes.as_deref() {
        Some([windows @ .., inner, outer]) if windows.len() + 2 == rank => {
            Ok((windows.to_vec(), *inner, *outer))
        }
        _ => Err("the shape of its kernel does not fit or is open".into()),
    }
}

fn convolve(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let (x, kernel) = (x.tensor(0)?, x.tensor(1)?);
    let rank = x.rank();
    let (size, inner, _) = kernel_sizes(kernel, rank)?;
    let windows = Windows::read(node, rank, size)?;
    let channels = x.shape[if windows.channels_first { 1 } else { rank - 1 }].known();
    let groups = channels
        .filter(|channels| inner > 0 && channels % inner == 0)
        .ok_or("its kernel does not fit its channels")?;
    let order: Vec<usize> = [rank - 1, rank - 2].into_iter().chain(0..rank - 2).collect();
    let kernel = c.target.transpose(kernel, &order)?;
    one(run(c, node, [x, &kernel], &windows, groups / inner)?)
}

/// Channel by channel: a kernel `[windows..., in, times]` is one of `in` groups.
fn depthwise(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let (x, kernel) = (x.tensor(0)?, x.tensor(1)?);
    let rank = x.rank();
    let (size, inner, times) = kernel_sizes(kernel, rank)?;
    let windows = Windows::read(node, rank, size.clone())?;
    let order: Vec<usize> = [rank - 2, rank - 1].into_iter().chain(0..rank - 2).collect();
    let kernel = c.target.transpose(kernel, &order)?;
    let outer = inner.checked_mul(times).ok_or("it has too many channels")?;
    let shape: Vec<Dim> = [outer, 1].iter().chain(&size).map(|size| Dim::fixed(*size)).collect();
    let kernel = c.target.reshape(&kernel, shape)?;
    one(run(c, node, [x, &kernel], &windows, inner)?)
}

/// Moves the kernel, in ONNX's order, over the input; also over what the input stands for, if its space is spread.
fn run(c: &mut Converter, node: Node, [x, kernel]: [&Traced; 2], windows: &Windows, groups: i64) -> Step {
    let y = moved(c, node, [x, kernel], windows, groups)?;
    let plain = windows.dilations.iter().chain(&windows.strides).all(|step| *step == 1);
    let spread = |meaning: &&Meaning| {
        !meaning.convolved && meaning.blocks.len() == windows.size.len() && !windows.channels_first
    };
    let meaning = c.dilated.meaning(x).filter(spread).cloned();
    if let Some(meaning) = meaning.filter(|_| plain && node.text("padding", "VALID") == "VALID") {
        let windows = Windows { dilations: meaning.blocks.clone(), ..windows.clone() };
        let whole = moved(c, node, [&meaning.whole, kernel], &windows, groups)?;
        c.dilated.remember(&y, Meaning { whole, blocks: meaning.blocks, convolved: true });
    }
    Ok(y)
}

fn moved(c: &mut Converter, node: Node, [x, kernel]: [&Traced; 2], windows: &Windows, groups: i64) -> Step {
    let spatial = &x.shape[windows.spatial(x.rank())];
    let pads = windows.pads(node, spatial)?;
    let counts = windows.counts(spatial, &pads);
    let first = windows.channels_first(c, x)?;
    // rten 0.27 needs the dilations even where they are 1.
    let call = Call::new("Conv", &[&first, kernel])
        .ints("kernel_shape", &windows.size)
        .ints("strides", &windows.strides)
        .ints("dilations", &windows.dilations)
        .ints("pads", &onnx_pads(&pads))
        .int("group", groups);
    let channels = Some(kernel.shape[0].clone());
    let shape: Vec<Option<Dim>> = [Some(x.shape[0].clone()), channels].into_iter().chain(counts).collect();
    let y = c.target.emit_open(&call, x.dtype, &shape)?;
    windows.back_to_layout(c, &y)
}

/// The gradient of a convolution by its input, which Keras calls a transposed convolution. Its kernel is
/// `[windows..., out, in]`, and the size of the result is given.
fn transposed(c: &mut Converter, node: Node, inputs: &[Value]) -> Step<Vec<Value>> {
    let (kernel, x) = (inputs.tensor(1)?, inputs.tensor(2)?);
    let target = inputs.sizes(0)?;
    let rank = x.rank();
    let (size, outer, _) = kernel_sizes(kernel, rank)?;
    let windows = Windows::read(node, rank, size)?;
    if windows.dilations.iter().any(|dilation| *dilation != 1) {
        return Err("a dilated transposed convolution is not taken".into());
    }
    let spatial = windows.spatial(rank);
    let wanted = target.get(spatial.clone()).ok_or("the size of its result does not fit")?.to_vec();
    let pads = windows.pads(node, &wanted)?;
    let order: Vec<usize> = [rank - 1, rank - 2].into_iter().chain(0..rank - 2).collect();
    let kernel = c.target.transpose(kernel, &order)?;
    let first = windows.channels_first(c, x)?;
    // All that the windows reach, of which the pads are cut off afterwards: engines differ in what they do otherwise.
    let full: Vec<Option<Dim>> = x.shape[spatial]
        .iter()
        .enumerate()
        .map(|(axis, size)| {
            let last = size.plus(&Dim::fixed(-1))?.times(&Dim::fixed(windows.strides[axis]))?;
            last.plus(&Dim::fixed(windows.size[axis]))
        })
        .collect();
    let shape: Vec<Option<Dim>> =
        [Some(x.shape[0].clone()), Some(Dim::fixed(outer))].into_iter().chain(full.iter().cloned()).collect();
    let call = Call::new("ConvTranspose", &[&first, &kernel])
        .ints("kernel_shape", &windows.size)
        .ints("strides", &windows.strides)
        .ints("dilations", &windows.dilations)
        .ints("pads", &vec![0; 2 * windows.size.len()]);
    let mut y = c.target.emit_open(&call, x.dtype, &shape)?;
    for (at, wanted) in wanted.iter().enumerate() {
        y = cut(c, &y, at + 2, pads[at][0], wanted)?;
    }
    one(windows.back_to_layout(c, &y)?)
}

/// An axis from `start` on, as long as wanted; zeros behind where it ends before.
fn cut(c: &mut Converter, x: &Traced, axis: usize, start: i64, wanted: &Dim) -> Step {
    use crate::format::saved_model::read::target::Span;
    let mut x = x.clone();
    if let (Some(size), Some(wanted)) = (x.shape[axis].known(), wanted.known()) {
        let missing =
            start.checked_add(wanted).and_then(|end| end.checked_sub(size)).ok_or("an axis is too large")?;
        if missing > 0 {
            let mut pads = vec![[0, 0]; x.rank()];
            pads[axis] = [0, missing];
            x = c.target.pad(&x, &pads, "constant", None)?;
        }
    }
    if start == 0 && x.shape[axis] == *wanted {
        return Ok(x);
    }
    let end = wanted.plus(&Dim::fixed(start)).ok_or("an axis is too large")?;
    let cut =
        c.target.slice(&x, &[(axis, Span { start: Some(Dim::fixed(start)), end: Some(end), step: 1 })])?;
    let mut shape = cut.shape.clone();
    shape[axis] = wanted.clone();
    Ok(Traced { shape, ..cut })
}
