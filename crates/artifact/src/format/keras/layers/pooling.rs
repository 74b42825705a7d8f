//! Windows that are reduced, and reductions of all of space.

use super::Entry;
use super::convolution::{padding, windows};
use crate::format::keras::convert::{Converter, Inputs, Layer, one};
use crate::format::traced::target::Step;
use crate::format::traced::tensor::Traced;

pub(super) const TABLE: &[Entry] = &[
    ("MaxPooling1D", |c, layer, inputs| pool(c, layer, inputs, ("MaxPool", 1)), &[]),
    ("MaxPooling2D", |c, layer, inputs| pool(c, layer, inputs, ("MaxPool", 2)), &[]),
    ("MaxPooling3D", |c, layer, inputs| pool(c, layer, inputs, ("MaxPool", 3)), &[]),
    ("AveragePooling1D", |c, layer, inputs| pool(c, layer, inputs, ("AveragePool", 1)), &[]),
    ("AveragePooling2D", |c, layer, inputs| pool(c, layer, inputs, ("AveragePool", 2)), &[]),
    ("AveragePooling3D", |c, layer, inputs| pool(c, layer, inputs, ("AveragePool", 3)), &[]),
    ("GlobalMaxPooling1D", |c, layer, inputs| global(c, layer, inputs, "ReduceMax"), &[]),
    ("GlobalMaxPooling2D", |c, layer, inputs| global(c, layer, inputs, "ReduceMax"), &[]),
    ("GlobalMaxPooling3D", |c, layer, inputs| global(c, layer, inputs, "ReduceMax"), &[]),
    ("GlobalAveragePooling1D", |c, layer, inputs| global(c, layer, inputs, "ReduceMean"), &["mask"]),
    ("GlobalAveragePooling2D", |c, layer, inputs| global(c, layer, inputs, "ReduceMean"), &[]),
    ("GlobalAveragePooling3D", |c, layer, inputs| global(c, layer, inputs, "ReduceMean"), &[]),
];

fn pool(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    inputs: &Inputs,
    (operator, space): (&'static str, usize),
) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let size = settings.each("pool_size", space, 2)?;
    let mut windows = windows(settings, &x, size, space)?;
    if settings.get("strides").is_none() {
        windows.strides.clone_from(&windows.size);
    }
    let padding = padding(settings, &windows)?;
    one(c.target.pool(operator, &x, &windows, &padding)?)
}

fn global(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    inputs: &Inputs,
    operator: &'static str,
) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    if x.rank() < 3 {
        return Err(format!("it takes a tensor of {} axes", x.rank()).into());
    }
    let first = settings.text("data_format", "channels_last") == "channels_first";
    let axes: Vec<usize> = if first { (2..x.rank()).collect() } else { (1..x.rank() - 1).collect() };
    let keep = settings.flag("keepdims", false);
    if let Some(mask) = c.mask(inputs)? {
        // Steps that do not count are no part of the mean.
        let steps = c.target.cast(&mask, x.dtype)?;
        let channel = if first { 1 } else { x.rank() - 1 };
        let steps = c.target.unsqueeze(&steps, &[channel])?;
        let counted = c.target.binary("Mul", &x, &steps)?;
        let sum = c.target.reduce("ReduceSum", &counted, &axes, keep)?;
        let count = c.target.reduce("ReduceSum", &steps, &axes, keep)?;
        return one(c.target.binary("Div", &sum, &count)?);
    }
    one(c.target.reduce(operator, &x, &axes, keep)?)
}
