//! Convolutions: ONNX has the channels second, TensorFlow's kernels for CPUs have them last.

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Value, open};

pub(super) const TABLE: &[Entry] = &[("Conv", convolution), ("ConvTranspose", transposed_convolution)];

/// More groups than this, other than one for each channel, would be as many operators.
const GROUPS_MAX: i64 = 64;

/// How windows go along the axes of space.
pub(super) struct Window {
    pub(super) sizes: Vec<i64>,
    pub(super) strides: Vec<i64>,
    pub(super) dilations: Vec<i64>,
    /// Before and after each axis.
    pub(super) pads: Vec<[i64; 2]>,
}

impl Window {
    /// What a node says of its windows of these sizes over `x`.
    pub(super) fn of(n: &Node<'_>, x: &Value, sizes: Vec<i64>) -> Result<Self, String> {
        let axes = sizes.len();
        let list = |name: &str| {
            let values = n.ints(name).unwrap_or(vec![1; axes]);
            if values.len() == axes { Ok(values) } else { Err(format!("its {name} are not for {axes} axes")) }
        };
        let (strides, dilations) = (list("strides")?, list("dilations")?);
        let usual = 1..=i64::from(i32::MAX);
        if strides.iter().chain(&dilations).chain(&sizes).any(|size| !usual.contains(size)) {
            return Err("a size of its windows is not positive".to_owned());
        }
        let stated = n.ints("pads").unwrap_or(vec![0; 2 * axes]);
        if stated.len() != 2 * axes || stated.iter().any(|pad| !(0..=i64::from(i32::MAX)).contains(pad)) {
            return Err("its pads are not one before and one after each axis".to_owned());
        }
        let mut pads: Vec<[i64; 2]> = (0..axes).map(|at| [stated[at], stated[at + axes]]).collect();
        let same = n.text("auto_pad", "NOTSET");
        if matches!(same.as_str(), "SAME_UPPER" | "SAME_LOWER") {
            for at in 0..axes {
                let span = (sizes[at] - 1) * dilations[at] + 1;
                let all = match x.size(at + 2) {
                    Some(size) => ((size + strides[at] - 1) / strides[at] - 1) * strides[at] + span - size,
                    None if strides[at] == 1 => span - 1,
                    None => return Err("its padding depends on an axis of open size".to_owned()),
                };
                let all = all.max(0);
                let less = all / 2;
                pads[at] = if same == "SAME_UPPER" { [less, all - less] } else { [all - less, less] };
            }
        }
        Ok(Self { sizes, strides, dilations, pads })
    }

    pub(super) fn axes(&self) -> usize {
        self.sizes.len()
    }

    /// With an axis of height before a single axis, as TensorFlow's operators have none for one.
    fn flat(mut self) -> Self {
        if self.axes() == 1 {
            self.sizes.insert(0, 1);
            // Along one row any step is the same, and some kernels want equal ones.
            self.strides.insert(0, self.strides[0]);
            self.dilations.insert(0, 1);
            self.pads.insert(0, [0, 0]);
        }
        self
    }
}

impl Lowering {
    /// `[batch, channels, ..]` as `[batch, .., channels]`, with a height of 1 where there is one axis of space.
    pub(super) fn channels_last(&mut self, x: &Value, axes: usize) -> Value {
        let mut order = vec![0];
        order.extend(2..2 + axes as i64);
        order.push(1);
        let last = self.transposed(x, &order);
        if axes == 1 { self.inserted(&last, 1) } else { last }
    }

    /// The way back.
    pub(super) fn channels_second(&mut self, x: &Value, axes: usize) -> Result<Value, String> {
        let x = if axes == 1 { self.removed(x, &[1])? } else { x.clone() };
        let mut order = vec![0, axes as i64 + 1];
        order.extend(1..=axes as i64);
        Ok(self.transposed(&x, &order))
    }
}

fn kernel_sizes(n: &Node<'_>, kernel: &Value) -> Result<Vec<i64>, String> {
    let shape = kernel.shape.as_ref().ok_or("the shape of its kernel is not known")?;
    let sizes = shape.get(2..).unwrap_or_default().iter().copied().collect::<Option<Vec<_>>>();
    let sizes = sizes.or_else(|| n.ints("kernel_shape")).ok_or("the shape of its kernel is not known")?;
    match sizes.len() {
        1..=3 => Ok(sizes),
        axes => Err(format!("TensorFlow does not convolve along {axes} axes")),
    }
}

fn groups(n: &Node<'_>) -> Result<i64, String> {
    let groups = n.int("group", 1);
    if groups < 1 { Err(format!("it has {groups} groups")) } else { Ok(groups) }
}

/// What TensorFlow takes for each axis of an image.
fn per_axis(values: &[i64]) -> Vec<i64> {
    [&[1], values, &[1]].concat()
}

fn convolution(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, kernel) = (n.input(0)?, n.input(1)?);
    let window = Window::of(n, &x, kernel_sizes(n, &kernel)?)?;
    let (axes, groups) = (window.axes(), groups(n)?);
    let window = window.flat();
    let image = l.channels_last(&x, axes);
    let pads = [&[[0, 0]], window.pads.as_slice(), &[[0, 0]]].concat();
    let image = l.surrounded(&image, &pads, 0.0);
    // [out, in, ..] becomes [.., in, out].
    let mut order: Vec<i64> = (2..2 + axes as i64).collect();
    order.extend([1, 0]);
    let mut filter = l.transposed(&kernel, &order);
    if axes == 1 {
        filter = l.inserted(&filter, 0);
    }
    let (each, out) = (kernel.size(1), kernel.size(0));
    let is_undilated = window.dilations.iter().all(|step| *step == 1);
    let result = if groups == 1 {
        convolved(l, &image, &filter, &window)
    } else if each == Some(1) && axes < 3 && is_undilated && window.strides[0] == window.strides[1] {
        by_channel(l, &image, &filter, [groups, out.unwrap_or(groups) / groups.max(1)], &window)
    } else if groups <= GROUPS_MAX {
        let images = l.parted(&image, groups, -1);
        let filters = l.parted(&filter, groups, -1);
        let pairs = images.iter().zip(&filters);
        let parts: Vec<Value> = pairs.map(|(image, filter)| convolved(l, image, filter, &window)).collect();
        l.concatenated(&parts.iter().collect::<Vec<_>>(), -1)
    } else {
        return Err(format!("it has {groups} groups; more than {GROUPS_MAX} are not written apart"));
    };
    let result = match n.optional(2) {
        Some(bias) => l.binary("AddV2", &result, &bias),
        None => result,
    };
    one(l.channels_second(&result, axes)?)
}

/// Of images that are padded already.
fn convolved(l: &mut Lowering, image: &Value, filter: &Value, window: &Window) -> Value {
    let rank = window.axes() + 2;
    let operator = if window.axes() == 3 { "Conv3D" } else { "Conv2D" };
    let call = Call::typed(operator, "output", &[image, filter])
        .ints("strides", &per_axis(&window.strides))
        .ints("dilations", &per_axis(&window.dilations))
        .text("padding", "VALID");
    let mut shape = vec![None; rank];
    shape[rank - 1] = filter.size(rank - 1);
    if window.sizes[0] == 1 && image.size(1) == Some(1) {
        shape[1] = Some(1);
    }
    l.emit(call, image.dtype, Some(shape))
}

/// Each channel with kernels of its own: `[.., 1, channels * times]` as `[.., channels, times]`.
fn by_channel(
    l: &mut Lowering,
    image: &Value,
    filter: &Value,
    [channels, times]: [i64; 2],
    window: &Window,
) -> Value {
    let filter = l.shaped(filter, &[&window.sizes[..], &[channels, times]].concat());
    let call = Call::typed("DepthwiseConv2dNative", "output", &[image, &filter])
        .ints("strides", &per_axis(&window.strides))
        .text("padding", "VALID");
    let shape = vec![None, image.size(1).filter(|size| *size == 1), None, Some(channels * times)];
    l.emit(call, image.dtype, Some(shape))
}

/// The gradient of a convolution by its input, which TensorFlow has as an operator.
fn transposed_convolution(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, kernel) = (n.input(0)?, n.input(1)?);
    let window = Window::of(n, &x, kernel_sizes(n, &kernel)?)?;
    let axes = window.axes();
    if axes > 2 || window.dilations.iter().any(|step| *step != 1) {
        return Err("TensorFlow has no such transposed convolution on CPUs".to_owned());
    }
    if n.ints("output_shape").is_some() || n.text("auto_pad", "NOTSET") != "NOTSET" {
        return Err("its padding follows from the shape of its output; export it with pads".to_owned());
    }
    let mut beyond = n.ints("output_padding").unwrap_or(vec![0; axes]);
    let groups = groups(n)?;
    if groups > GROUPS_MAX || beyond.iter().any(|size| !(0..=i64::from(i32::MAX)).contains(size)) {
        return Err(format!("it has {groups} groups; more than {GROUPS_MAX} are not written apart"));
    }
    beyond.resize(axes, 0);
    if axes == 1 {
        beyond.insert(0, 0);
    }
    let window = window.flat();
    let image = l.channels_last(&x, axes);
    // [in, out, ..] becomes [.., out, in].
    let mut order: Vec<i64> = (2..2 + axes as i64).collect();
    order.extend([1, 0]);
    let mut filter = l.transposed(&kernel, &order);
    if axes == 1 {
        filter = l.inserted(&filter, 0);
    }
    let out = kernel.size(1).ok_or("the shape of its kernel is not known")?;
    let is_same = same(&window, &beyond);
    let target = transposed_sizes(l, &image, &window, (&beyond, is_same), out);
    let one_group = |l: &mut Lowering, image: &Value, filter: &Value| {
        let call = Call::new("Conv2DBackpropInput", "output", &[&target, filter, image])
            .dtype("T", image.dtype)
            .ints("strides", &per_axis(&window.strides))
            .text("padding", if is_same { "SAME" } else { "VALID" });
        l.emit(call, image.dtype, open(4))
    };
    let mut result = if groups == 1 {
        one_group(l, &image, &filter)
    } else {
        let (images, filters) = (l.parted(&image, groups, -1), l.parted(&filter, groups, -1));
        let parts: Vec<Value> = images.iter().zip(&filters).map(|(x, k)| one_group(l, x, k)).collect();
        l.concatenated(&parts.iter().collect::<Vec<_>>(), -1)
    };
    if !is_same {
        let [top, left] = [0, 1].map(|at| window.pads[at][0]);
        let [bottom, right] = [0, 1].map(|at| window.pads[at][1]);
        result = l.cut(&result, &[0, top, left], &[0, bottom, right]);
    }
    if let Some(bias) = n.optional(2) {
        result = l.binary("AddV2", &result, &bias);
    }
    let height = if axes == 1 { Some(1) } else { None };
    result.shape = Some(vec![None, height, None, Some(out * groups)]);
    one(l.channels_second(&result, axes)?)
}

/// Whether the pads of a transposed convolution, less what is added `beyond`, are those that TensorFlow calls the same. The result
/// could be cut instead, but TensorFlow's kernels sum in another order then.
fn same(window: &Window, beyond: &[i64]) -> bool {
    let is_same = |at: usize| {
        let (size, stride, [before, behind]) = (window.sizes[at], window.strides[at], window.pads[at]);
        let cut = before + behind - beyond[at];
        // So many windows, and no other number, fit the result.
        (size - stride..size).contains(&cut) && before == cut.max(0) / 2
    };
    window.pads.iter().flatten().any(|pad| *pad > 0) && (0..2).all(is_same)
}

/// The shape of what a transposed convolution gives in a group, before anything is cut off.
fn transposed_sizes(
    l: &mut Lowering,
    image: &Value,
    window: &Window,
    (beyond, is_same): (&[i64], bool),
    channels: i64,
) -> Value {
    // All that windows reach, and what is added behind it.
    let grown = |at: usize| {
        let [before, behind] = if is_same { window.pads[at] } else { [0, 0] };
        window.sizes[at] - window.strides[at] + beyond[at] - before - behind
    };
    let grown = [0, 1].map(grown);
    let sizes = l.sizes(image);
    let (batch, space) = (l.window(&sizes, &[0], &[1]), l.window(&sizes, &[1], &[3]));
    let (strides, grown) = (l.vector(&window.strides), l.vector(&grown));
    let scaled = l.binary("Mul", &space, &strides);
    let space = l.binary("AddV2", &scaled, &grown);
    let channels = l.vector(&[channels]);
    let target = l.concatenated(&[&batch, &space, &channels], 0);
    l.cast(&target, protos::tensorflow::DataType::DtInt32)
}
