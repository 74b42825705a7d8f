//! Windows that move over a tensor: convolutions and pools. Frameworks keep channels last and kernels as
//! `[windows..., in, out]`, ONNX channels first and kernels as `[out, in, windows...]`.

use super::dim::Dim;
use super::limits;
use super::target::{Call, Span, Step, Target};
use super::tensor::Traced;

/// The largest window, stride, dilation or pad.
const SIZE_MAX: i64 = 1 << 20;

/// How windows move, with an entry for each spatial axis.
#[derive(Debug, Clone)]
pub(in crate::format) struct Windows {
    pub channels_first: bool,
    pub size: Vec<i64>,
    pub strides: Vec<i64>,
    pub dilations: Vec<i64>,
}

/// What is added around a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::format) enum Padding {
    Valid,
    /// As many elements as keep ⌈size / stride⌉ windows, the odd one behind.
    Same,
    /// Elements before and after each spatial axis.
    Explicit(Vec<[i64; 2]>),
}

impl Windows {
    /// Windows that fit a tensor of this rank.
    pub(in crate::format) fn checked(self, rank: usize) -> Step<Self> {
        let fits =
            |all: &[i64]| all.len() + 2 == rank && all.iter().all(|size| (1..=SIZE_MAX).contains(size));
        match rank > 2 && [&self.size, &self.strides, &self.dilations].iter().all(|all| fits(all)) {
            true => Ok(self),
            false => Err("its windows, strides or dilations do not fit its input".into()),
        }
    }

    /// How far the elements of a window reach along an axis.
    fn reach(&self, axis: usize) -> i64 {
        (self.size[axis] - 1) * self.dilations[axis] + 1
    }

    /// Elements added before and after each axis. `sizes` are those of the input.
    fn pads(&self, padding: &Padding, sizes: &[Dim]) -> Step<Vec<[i64; 2]>> {
        match padding {
            Padding::Valid => Ok(vec![[0, 0]; sizes.len()]),
            Padding::Same => (0..sizes.len()).map(|axis| self.same_pads(axis, &sizes[axis])).collect(),
            Padding::Explicit(pads) => {
                let fits = pads.len() == sizes.len()
                    && pads.iter().flatten().all(|pad| (0..=SIZE_MAX * SIZE_MAX).contains(pad));
                if fits { Ok(pads.clone()) } else { Err("its pads do not fit".into()) }
            }
        }
    }

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
    fn counts(&self, sizes: &[Dim], pads: &[[i64; 2]]) -> Vec<Option<Dim>> {
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

    fn spatial(&self, rank: usize) -> std::ops::Range<usize> {
        if self.channels_first { 2..rank } else { 1..rank - 1 }
    }

    /// The sizes of the axes that windows move along.
    pub(in crate::format) fn sizes_of<'t>(&self, x: &'t Traced) -> &'t [Dim] {
        &x.shape[self.spatial(x.rank())]
    }

    /// The axis of the channels.
    pub(in crate::format) fn channel_axis(&self, rank: usize) -> usize {
        if self.channels_first { 1 } else { rank - 1 }
    }

    /// The tensor with its channels on the second axis.
    fn channels_first(&self, target: &mut Target, x: &Traced) -> Step {
        if self.channels_first {
            return Ok(x.clone());
        }
        let rank = x.rank();
        let order: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        target.transpose(x, &order)
    }

    /// The way back.
    fn back_to_layout(&self, target: &mut Target, x: &Traced) -> Step {
        if self.channels_first {
            return Ok(x.clone());
        }
        let rank = x.rank();
        let order: Vec<usize> = [0].into_iter().chain(2..rank).chain([1]).collect();
        target.transpose(x, &order)
    }
}

/// Pads as ONNX has them: all before, then all after.
fn onnx_pads(pads: &[[i64; 2]]) -> Vec<i64> {
    (0..2).flat_map(|side| pads.iter().map(move |pair| pair[side])).collect()
}

/// The sizes of a kernel `[windows..., in, out]` for a tensor of this rank: windows, in and out.
pub(in crate::format) fn kernel_sizes(kernel: &Traced, rank: usize) -> Step<(Vec<i64>, i64, i64)> {
    let sizes: Option<Vec<i64>> = kernel.shape.iter().map(Dim::known).collect();
    match sizes.as_deref() {
        Some([windows @ .., inner, outer]) if windows.len() + 2 == rank => {
            Ok((windows.to_vec(), *inner, *outer))
        }
        _ => Err("the shape of its kernel does not fit or is open".into()),
    }
}

impl Target {
    /// A kernel `[windows..., in, out]` in ONNX's order, and the number of groups that make its `in` the channels of `x`.
    pub(in crate::format) fn kernel(
        &mut self,
        x: &Traced,
        kernel: &Traced,
        windows: &Windows,
    ) -> Step<(Traced, i64)> {
        let rank = x.rank();
        let (_, inner, outer) = kernel_sizes(kernel, rank)?;
        let channels = x.shape[windows.channel_axis(rank)].known();
        let groups = channels
            .filter(|channels| inner > 0 && channels % inner == 0)
            .ok_or("its kernel does not fit its channels")?
            / inner;
        if groups == 0 || outer % groups != 0 {
            return Err("its kernel does not fit its channels".into());
        }
        let order: Vec<usize> = [rank - 1, rank - 2].into_iter().chain(0..rank - 2).collect();
        Ok((self.transpose(kernel, &order)?, groups))
    }

    /// The kernel of a convolution channel by channel, `[windows..., in, times]`, as one of `in` groups in ONNX's order.
    pub(in crate::format) fn depthwise_kernel(
        &mut self,
        kernel: &Traced,
        rank: usize,
    ) -> Step<(Traced, i64)> {
        let (size, inner, times) = kernel_sizes(kernel, rank)?;
        let order: Vec<usize> = [rank - 2, rank - 1].into_iter().chain(0..rank - 2).collect();
        let kernel = self.transpose(kernel, &order)?;
        let outer = inner.checked_mul(times).ok_or("it has too many channels")?;
        let shape: Vec<Dim> = [outer, 1].iter().chain(&size).map(|size| Dim::fixed(*size)).collect();
        Ok((self.reshape(&kernel, shape)?, inner))
    }

    /// Moves a kernel, in ONNX's order with its groups, over `x`.
    pub(in crate::format) fn convolve(
        &mut self,
        x: &Traced,
        (kernel, groups): (&Traced, i64),
        windows: &Windows,
        padding: &Padding,
    ) -> Step {
        let spatial = windows.sizes_of(x);
        let pads = windows.pads(padding, spatial)?;
        let counts = windows.counts(spatial, &pads);
        let first = windows.channels_first(self, x)?;
        // rten 0.27 needs the dilations even where they are 1.
        let call = Call::new("Conv", &[&first, kernel])
            .ints("kernel_shape", &windows.size)
            .ints("strides", &windows.strides)
            .ints("dilations", &windows.dilations)
            .ints("pads", &onnx_pads(&pads))
            .int("group", groups);
        let channels = Some(kernel.shape[0].clone());
        let shape: Vec<Option<Dim>> =
            [Some(x.shape[0].clone()), channels].into_iter().chain(counts).collect();
        let y = self.emit_open(&call, x.dtype, &shape)?;
        windows.back_to_layout(self, &y)
    }

    /// The gradient of a convolution by its input, whose kernel is `[windows..., out, in]`, in the size that is wanted of its
    /// spatial axes.
    pub(in crate::format) fn convolve_transposed(
        &mut self,
        x: &Traced,
        kernel: &Traced,
        windows: &Windows,
        (padding, wanted): (&Padding, &[Dim]),
    ) -> Step {
        let rank = x.rank();
        let (_, outer, inner) = kernel_sizes(kernel, rank)?;
        if windows.dilations.iter().any(|dilation| *dilation != 1) {
            return Err("a dilated transposed convolution is not taken".into());
        }
        if x.shape[windows.channel_axis(rank)].known() != Some(inner) {
            return Err("its kernel does not fit its channels".into());
        }
        let pads = windows.pads(padding, wanted)?;
        let order: Vec<usize> = [rank - 1, rank - 2].into_iter().chain(0..rank - 2).collect();
        let kernel = self.transpose(kernel, &order)?;
        let first = windows.channels_first(self, x)?;
        // All that the windows reach.
        let full: Vec<Option<Dim>> = windows
            .sizes_of(x)
            .iter()
            .enumerate()
            .map(|(axis, size)| {
                let last = size.plus(&Dim::fixed(-1))?.times(&Dim::fixed(windows.strides[axis]))?;
                last.plus(&Dim::fixed(windows.size[axis]))
            })
            .collect();
        let pads_of = |axis: usize| {
            let (full, wanted) = (full[axis].as_ref()?, &wanted[axis]);
            let behind = full.minus(wanted)?.known()?.checked_sub(pads[axis][0])?;
            let is_part = behind >= 0 && wanted.known().is_none_or(|size| size > 0);
            is_part.then_some([pads[axis][0], behind])
        };
        let within: Option<Vec<[i64; 2]>> = (0..wanted.len()).map(pads_of).collect();
        let spatial = match &within {
            Some(_) => wanted.iter().cloned().map(Some).collect(),
            None => full,
        };
        let shape: Vec<Option<Dim>> =
            [Some(x.shape[0].clone()), Some(Dim::fixed(outer))].into_iter().chain(spatial).collect();
        let none = vec![[0, 0]; wanted.len()];
        let call = Call::new("ConvTranspose", &[&first, &kernel])
            .ints("kernel_shape", &windows.size)
            .ints("strides", &windows.strides)
            .ints("dilations", &windows.dilations)
            .ints("pads", &onnx_pads(within.as_ref().unwrap_or(&none)));
        let mut y = self.emit_open(&call, x.dtype, &shape)?;
        if within.is_none() {
            // Engines differ in what they make of a result that is longer than the windows reach, or of open size.
            for (at, wanted) in wanted.iter().enumerate() {
                y = self.cut(&y, at + 2, pads[at][0], wanted)?;
            }
        }
        windows.back_to_layout(self, &y)
    }

    /// An axis from `start` on, as long as wanted; zeros behind where it ends before.
    fn cut(&mut self, x: &Traced, axis: usize, start: i64, wanted: &Dim) -> Step {
        let mut x = x.clone();
        if let (Some(size), Some(wanted)) = (x.shape[axis].known(), wanted.known()) {
            let missing = start
                .checked_add(wanted)
                .and_then(|end| end.checked_sub(size))
                .ok_or("an axis is too large")?;
            if missing > 0 {
                let mut pads = vec![[0, 0]; x.rank()];
                pads[axis] = [0, missing];
                x = self.pad(&x, &pads, "constant", None)?;
            }
        }
        if start == 0 && x.shape[axis] == *wanted {
            return Ok(x);
        }
        let end = wanted.plus(&Dim::fixed(start)).ok_or("an axis is too large")?;
        let span = Span { start: Some(Dim::fixed(start)), end: Some(end), step: 1 };
        let cut = self.slice(&x, &[(axis, span)])?;
        let mut shape = cut.shape.clone();
        shape[axis] = wanted.clone();
        Ok(Traced { shape, ..cut })
    }

    /// Windows that are reduced by `MaxPool` or `AveragePool`; averages count real elements only, as ONNX's do unless told
    /// otherwise.
    pub(in crate::format) fn pool(
        &mut self,
        operator: &'static str,
        x: &Traced,
        windows: &Windows,
        padding: &Padding,
    ) -> Step {
        let spatial = windows.sizes_of(x);
        let pads = windows.pads(padding, spatial)?;
        let counts = windows.counts(spatial, &pads);
        let first = windows.channels_first(self, x)?;
        let call = Call::new(operator, &[&first])
            .ints("kernel_shape", &windows.size)
            .ints("strides", &windows.strides)
            .ints("pads", &onnx_pads(&pads));
        let channels: Dim = first.shape[1].clone();
        let shape: Vec<Option<Dim>> =
            [Some(x.shape[0].clone()), Some(channels)].into_iter().chain(counts).collect();
        let y = self.emit_open(&call, x.dtype, &shape)?;
        windows.back_to_layout(self, &y)
    }
}
