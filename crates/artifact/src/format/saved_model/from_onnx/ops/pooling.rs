//! One value for each window.

use super::windows::Window;
use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Value, open};

pub(super) const TABLE: &[Entry] = &[
    ("MaxPool", |l, n| pooled(l, n, true)),
    ("AveragePool", |l, n| pooled(l, n, false)),
    ("GlobalMaxPool", |l, n| all(l, n, "Max")),
    ("GlobalAveragePool", |l, n| all(l, n, "Mean")),
];

fn all(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    let x = n.input(0)?;
    let axes: Vec<i64> = (2..x.rank()? as i64).collect();
    let axes = l.vector(&axes);
    one(l.reduced(operator, &x, &axes, true))
}

fn pooled(l: &mut Lowering, n: &Node<'_>, largest: bool) -> Written {
    if n.gives(1) {
        return Err("its places are used".to_owned());
    }
    let x = n.input(0)?;
    let mut window = Window::of(n, &x, n.ints("kernel_shape").ok_or("its kernel_shape is missing")?)?;
    if !(1..=3).contains(&window.axes()) || window.dilations.iter().any(|step| *step != 1) {
        return Err("TensorFlow has no such pooling".to_owned());
    }
    let counts_pads = n.int("count_include_pad", 0) != 0;
    if n.int("ceil_mode", 0) != 0 {
        round_up(&mut window, counts_pads && !largest)?;
    }
    let axes = window.axes();
    let image = l.channels_last(&x, axes);
    if largest {
        let with = if x.is_float() { f64::NEG_INFINITY } else { f64::from(i32::MIN) };
        let result = windows(l, &image, &window, ("MaxPool", "MaxPool3D"), with);
        return one(l.channels_second(&result, axes)?);
    }
    let mean = windows(l, &image, &window, ("AvgPool", "AvgPool3D"), 0.0);
    let is_padded = window.pads.iter().any(|pads| *pads != [0, 0]);
    if counts_pads || !is_padded {
        return one(l.channels_second(&mean, axes)?);
    }
    // The mean over a window with zeros around, over the share of it that is inside.
    let ones = l.emit(Call::typed("OnesLike", "y", &[&image]), image.dtype, image.shape.clone());
    let share = windows(l, &ones, &window, ("AvgPool", "AvgPool3D"), 0.0);
    let result = l.binary("RealDiv", &mean, &share);
    one(l.channels_second(&result, axes)?)
}

/// A last window that reaches beyond the end counts: more padding behind makes room for it.
fn round_up(window: &mut Window, counts_pads: bool) -> Result<(), String> {
    for at in 0..window.axes() {
        let step = window.strides[at];
        if step == 1 {
            continue;
        }
        if counts_pads || step > window.sizes[at] || window.pads[at][1] > 0 {
            return Err("its last window lies in the padding (ceil_mode)".to_owned());
        }
        window.pads[at][1] += step - 1;
    }
    Ok(())
}

fn windows(
    l: &mut Lowering,
    image: &Value,
    window: &Window,
    (flat, deep): (&'static str, &'static str),
    with: f64,
) -> Value {
    let (mut sizes, mut strides, mut pads) =
        (window.sizes.clone(), window.strides.clone(), window.pads.clone());
    if window.axes() == 1 {
        sizes.insert(0, 1);
        strides.insert(0, 1);
        pads.insert(0, [0, 0]);
    }
    let all = [&[[0, 0]], pads.as_slice(), &[[0, 0]]].concat();
    let image = l.surrounded(image, &all, with);
    let per_axis = |values: &[i64]| [&[1], values, &[1]].concat();
    let operator = if window.axes() == 3 { deep } else { flat };
    let call = Call::typed(operator, "output", &[&image])
        .ints("ksize", &per_axis(&sizes))
        .ints("strides", &per_axis(&strides))
        .text("padding", "VALID");
    let mut shape = open(sizes.len() + 2);
    if let Some(shape) = &mut shape {
        let last = shape.len() - 1;
        shape[last] = image.size(last);
        if window.axes() == 1 {
            shape[1] = Some(1);
        }
    }
    l.emit(call, image.dtype, shape)
}
