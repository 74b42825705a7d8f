//! Layers that move elements without changing them.

use super::Entry;
use crate::format::keras::config::integers;
use crate::format::keras::convert::{Converter, Inputs, Layer, one};
use crate::format::traced::dim::{self, Dim};
use crate::format::traced::target::{Span, Step};
use crate::format::traced::tensor::Traced;

pub(super) const TABLE: &[Entry] = &[
    ("Flatten", flatten, &[]),
    (
        "Reshape",
        |c, layer, inputs| {
            let shape = layer.settings().integers("target_shape")?;
            let x = inputs.one()?;
            let first = x.shape.first().cloned().ok_or("its input has no batch")?;
            one(reshaped(c, x, first, &shape)?)
        },
        &[],
    ),
    ("Permute", permute, &[]),
    ("RepeatVector", repeat, &[]),
    ("ZeroPadding1D", |c, layer, inputs| pad(c, layer, inputs, 1), &[]),
    ("ZeroPadding2D", |c, layer, inputs| pad(c, layer, inputs, 2), &[]),
    ("ZeroPadding3D", |c, layer, inputs| pad(c, layer, inputs, 3), &[]),
    ("Cropping1D", |c, layer, inputs| crop(c, layer, inputs, 1), &[]),
    ("Cropping2D", |c, layer, inputs| crop(c, layer, inputs, 2), &[]),
    ("Cropping3D", |c, layer, inputs| crop(c, layer, inputs, 3), &[]),
    // It is called as if in training, which changes nothing.
    ("Resizing", resize, &["training"]),
    ("UpSampling1D", |c, layer, inputs| up(c, layer, inputs, 1), &[]),
    ("UpSampling2D", |c, layer, inputs| up(c, layer, inputs, 2), &[]),
    ("UpSampling3D", |c, layer, inputs| up(c, layer, inputs, 3), &[]),
];

fn flatten(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let mut x = inputs.one()?.clone();
    if channels_first(layer) && x.rank() > 1 {
        let order: Vec<usize> = [0].into_iter().chain(2..x.rank()).chain([1]).collect();
        x = c.target.transpose(&x, &order)?;
    }
    let (first, rest) = x.shape.split_first().ok_or("its input has no batch")?;
    let width = dim::product(rest).ok_or("its input is too large")?;
    let shape = vec![first.clone(), width];
    one(c.target.reshape(&x, shape)?)
}

/// A shape behind the first axis, of which one size may be -1.
pub(in crate::format::keras) fn reshaped(
    c: &mut Converter<'_>,
    x: &Traced,
    first: Dim,
    sizes: &[i64],
) -> Step {
    let damaged = "its shape has a size below -1 or several of -1";
    let open = sizes.iter().filter(|size| **size == -1).count();
    if open > 1 || sizes.iter().any(|size| *size < -1) {
        return Err(damaged.into());
    }
    let fixed = sizes.iter().filter(|size| **size != -1).map(|size| Dim::fixed(*size));
    let fixed: Vec<Dim> = std::iter::once(first.clone()).chain(fixed).collect();
    let rest = match open {
        0 => Dim::fixed(1),
        _ => {
            let (whole, part) = (dim::product(&x.shape), dim::product(&fixed));
            whole
                .zip(part)
                .and_then(|(whole, part)| whole.divided(&part))
                .ok_or("its -1 is not told by its input")?
        }
    };
    let size = |size: &i64| if *size == -1 { rest.clone() } else { Dim::fixed(*size) };
    c.target.reshape(x, std::iter::once(first).chain(sizes.iter().map(size)).collect())
}

/// Axes are counted from 1, because the batch stays where it is.
fn permute(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let dims = layer.settings().integers("dims")?;
    let mut sorted = dims.clone();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(1..x.rank() as i64) {
        return Err(format!("it orders a tensor of {} axes as {dims:?}", x.rank()).into());
    }
    let order: Vec<usize> = [0].into_iter().chain(dims.iter().map(|axis| *axis as usize)).collect();
    one(c.target.transpose(x, &order)?)
}

fn repeat(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?.clone();
    let [batch, width] = x.shape.as_slice() else { return Err("it repeats something else than rows".into()) };
    let times = layer.settings().count("n")?;
    let shape = vec![batch.clone(), Dim::fixed(times as i64), width.clone()];
    let row = c.target.unsqueeze(&x, &[1])?;
    one(c.target.expand(&row, shape)?)
}

fn channels_first(layer: &Layer<'_>) -> bool {
    layer.settings().text("data_format", "channels_last") == "channels_first"
}

/// The first axis of space of a tensor with so many.
fn first_axis(layer: &Layer<'_>, x: &Traced, space: usize) -> Step<usize> {
    match x.rank() == space + 2 {
        true => Ok(if channels_first(layer) { 2 } else { 1 }),
        false => Err(format!("it takes a tensor of {} axes, and is given {}", space + 2, x.rank()).into()),
    }
}

/// Pairs of a setting, one for each axis of space; a single pair is the only one.
fn pairs(layer: &Layer<'_>, key: &str, space: usize) -> Step<Vec<[i64; 2]>> {
    const PAD_MAX: i64 = 1 << 20;
    let damaged = || format!("its {key} is not taken");
    let value = layer.settings().get(key).ok_or_else(damaged)?;
    let given = match value.as_array() {
        Some(all) if space > 1 => all.iter().map(integers).collect::<Option<Vec<_>>>(),
        _ => integers(value).map(|pair| vec![pair]),
    };
    let pair = |pair: Vec<i64>| {
        <[i64; 2]>::try_from(match pair.as_slice() {
            [both] => vec![*both, *both],
            _ => pair,
        })
    };
    let pairs =
        given.and_then(|given| given.into_iter().map(|given| pair(given).ok()).collect::<Option<Vec<_>>>());
    let fits = |pairs: &Vec<[i64; 2]>| {
        pairs.len() == space && pairs.iter().flatten().all(|pad| (0..=PAD_MAX).contains(pad))
    };
    Ok(pairs.filter(fits).ok_or_else(damaged)?)
}

fn pad(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, space: usize) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let first = first_axis(layer, x, space)?;
    let mut pads = vec![[0, 0]; x.rank()];
    pads[first..first + space].copy_from_slice(&pairs(layer, "padding", space)?);
    one(c.target.pad(x, &pads, "constant", None)?)
}

fn crop(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, space: usize) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let first = first_axis(layer, x, space)?;
    let cut = pairs(layer, "cropping", space)?;
    let span = |(at, [before, after]): (usize, &[i64; 2])| {
        let end = (*after > 0).then(|| Dim::fixed(-after));
        (first + at, Span { start: Some(Dim::fixed(*before)), end, step: 1 })
    };
    let spans: Vec<(usize, Span)> = cut.iter().enumerate().map(span).collect();
    one(c.target.slice(x, &spans)?)
}

/// Each element several times along the axes of space, or an image between its elements.
fn up(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, space: usize) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let mut x = inputs.one()?.clone();
    let first = first_axis(layer, &x, space)?;
    let times = settings.each("size", space, 2)?;
    if times.iter().any(|times| !(1..=1 << 20).contains(times)) {
        return Err(format!("it repeats elements {times:?} times").into());
    }
    match settings.text("interpolation", "nearest") {
        "nearest" => {}
        "bilinear" if space == 2 && !channels_first(layer) => {
            let size = |at: usize| x.shape[1 + at].known().and_then(|size| size.checked_mul(times[at]));
            let sizes = size(0).zip(size(1)).ok_or("an image of open size is resized")?;
            return one(c.target.resized(&x, [sizes.0, sizes.1], "linear", "half_pixel")?);
        }
        other => return Err(format!("its interpolation \"{other}\" is not taken").into()),
    }
    for (at, times) in times.into_iter().enumerate() {
        x = repeated(c, &x, first + at, times)?;
    }
    one(x)
}

/// An image in another size.
fn resize(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let plain = !["crop_to_aspect_ratio", "pad_to_aspect_ratio", "antialias"]
        .iter()
        .any(|key| settings.flag(key, false));
    let mode = match settings.text("interpolation", "bilinear") {
        "bilinear" if plain && !channels_first(layer) => "linear",
        "nearest" if plain && !channels_first(layer) => "nearest",
        other => {
            return Err(
                format!("its interpolation \"{other}\", or how it keeps the aspect, is not taken").into()
            );
        }
    };
    let (rows, columns) = (settings.count("height")? as i64, settings.count("width")? as i64);
    one(c.target.resized(&x, [rows, columns], mode, "half_pixel")?)
}

/// Each element of an axis several times in a row.
pub(in crate::format::keras) fn repeated(c: &mut Converter<'_>, x: &Traced, axis: usize, times: i64) -> Step {
    if times == 1 {
        return Ok(x.clone());
    }
    let mut spread = x.shape.clone();
    spread.insert(axis + 1, Dim::fixed(times));
    let mut shape = x.shape.clone();
    shape[axis] = shape[axis].times(&Dim::fixed(times)).ok_or("an axis is too large")?;
    let each = c.target.unsqueeze(x, &[axis + 1])?;
    let each = c.target.expand(&each, spread)?;
    c.target.reshape(&each, shape)
}
