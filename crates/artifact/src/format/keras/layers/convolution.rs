//! Convolutions.

use serde_json::Value;

use super::{Entry, activation};
use crate::format::keras::config::Settings;
use crate::format::keras::convert::{Converter, Inputs, Layer, one};
use crate::format::traced::dim::Dim;
use crate::format::traced::target::Step;
use crate::format::traced::tensor::Traced;
use crate::format::traced::windows::{Padding, Windows};

pub(super) const TABLE: &[Entry] = &[
    ("Conv1D", |c, layer, inputs| convolve(c, layer, inputs, 1), &[]),
    ("Conv2D", |c, layer, inputs| convolve(c, layer, inputs, 2), &[]),
    ("Conv3D", |c, layer, inputs| convolve(c, layer, inputs, 3), &[]),
    ("DepthwiseConv1D", |c, layer, inputs| depthwise(c, layer, inputs, 1), &[]),
    ("DepthwiseConv2D", |c, layer, inputs| depthwise(c, layer, inputs, 2), &[]),
    ("SeparableConv1D", |c, layer, inputs| separable(c, layer, inputs, 1), &[]),
    ("SeparableConv2D", |c, layer, inputs| separable(c, layer, inputs, 2), &[]),
    ("Conv1DTranspose", |c, layer, inputs| transposed(c, layer, inputs, 1), &[]),
    ("Conv2DTranspose", |c, layer, inputs| transposed(c, layer, inputs, 2), &[]),
];

/// How the windows of a layer move along its axes of space.
pub(super) fn windows(settings: Settings<'_>, x: &Traced, size: Vec<i64>, space: usize) -> Step<Windows> {
    let windows = Windows {
        channels_first: settings.text("data_format", "channels_last") == "channels_first",
        strides: settings.each("strides", space, 1)?,
        dilations: settings.each("dilation_rate", space, 1)?,
        size,
    };
    if x.rank() != space + 2 {
        return Err(format!("it moves along {space} axes of a tensor of {}", x.rank()).into());
    }
    windows.checked(x.rank())
}

/// What a layer says of pads. Causal ones stand before the first step.
pub(super) fn padding(settings: Settings<'_>, windows: &Windows) -> Step<Padding> {
    match settings.text("padding", "valid") {
        "valid" => Ok(Padding::Valid),
        "same" => Ok(Padding::Same),
        "causal" => {
            let pads = windows.size.iter().zip(&windows.dilations);
            Ok(Padding::Explicit(pads.map(|(size, dilation)| [(size - 1) * dilation, 0]).collect()))
        }
        other => Err(format!("the padding \"{other}\" is unknown").into()),
    }
}

/// The channels of an input.
fn channels(x: &Traced, windows: &Windows) -> Step<usize> {
    let size = x.shape[windows.channel_axis(x.rank())].size();
    Ok(size.filter(|size| *size > 0).ok_or("its channels are of open number")?)
}

/// The shape of a kernel.
fn kernel_shape(windows: &Windows, last: [usize; 2]) -> Vec<Option<usize>> {
    windows.size.iter().map(|size| usize::try_from(*size).ok()).chain(last.map(Some)).collect()
}

/// Adds the bias along the channels, and applies the activation.
fn finished(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    y: Traced,
    (name, count): (&str, usize),
    windows: &Windows,
) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let bias = c.weight_if(settings.flag("use_bias", true), layer, name, &[Some(count)])?;
    let bias = match bias {
        Some(bias) if windows.channels_first => {
            let axes: Vec<usize> = (1..=windows.size.len()).collect();
            Some(c.target.unsqueeze(&bias, &axes)?)
        }
        bias => bias,
    };
    let sum = c.biased(y, bias.as_ref())?;
    one(activation::apply(c, settings.get("activation"), &sum)?)
}

fn convolve(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, space: usize) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let windows = windows(settings, &x, settings.each("kernel_size", space, 1)?, space)?;
    let groups = settings.get("groups").and_then(Value::as_u64).unwrap_or(1) as usize;
    let (channels, filters) = (channels(&x, &windows)?, settings.count("filters")?);
    if groups == 0 || channels % groups != 0 {
        return Err(format!("it cuts {channels} channels into {groups} groups").into());
    }
    let kernel = c.weight(layer, "vars/0", &kernel_shape(&windows, [channels / groups, filters]))?;
    let (kernel, groups) = c.target.kernel(&x, &kernel, &windows)?;
    let padding = padding(settings, &windows)?;
    let y = c.target.convolve(&x, (&kernel, groups), &windows, &padding)?;
    finished(c, layer, y, ("vars/1", filters), &windows)
}

fn depthwise(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, space: usize) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let windows = windows(settings, &x, settings.each("kernel_size", space, 1)?, space)?;
    let (channels, times) = (channels(&x, &windows)?, settings.count("depth_multiplier")?);
    let kernel = c.weight(layer, "vars/0", &kernel_shape(&windows, [channels, times]))?;
    let (kernel, groups) = c.target.depthwise_kernel(&kernel, x.rank())?;
    let padding = padding(settings, &windows)?;
    let y = c.target.convolve(&x, (&kernel, groups), &windows, &padding)?;
    finished(c, layer, y, ("vars/1", channels * times), &windows)
}

/// Channel by channel, then across channels.
fn separable(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, space: usize) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let windows = windows(settings, &x, settings.each("kernel_size", space, 1)?, space)?;
    let (channels, times) = (channels(&x, &windows)?, settings.count("depth_multiplier")?);
    let filters = settings.count("filters")?;
    let kernel = c.weight(layer, "vars/0", &kernel_shape(&windows, [channels, times]))?;
    let (kernel, groups) = c.target.depthwise_kernel(&kernel, x.rank())?;
    let padding = padding(settings, &windows)?;
    let between = c.target.convolve(&x, (&kernel, groups), &windows, &padding)?;
    let ones = vec![1; space];
    let points = Windows {
        channels_first: windows.channels_first,
        size: ones.clone(),
        strides: ones.clone(),
        dilations: ones,
    };
    let kernel = c.weight(layer, "vars/1", &kernel_shape(&points, [channels * times, filters]))?;
    let (kernel, groups) = c.target.kernel(&between, &kernel, &points)?;
    let y = c.target.convolve(&between, (&kernel, groups), &points, &Padding::Valid)?;
    finished(c, layer, y, ("vars/2", filters), &windows)
}

fn transposed(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, space: usize) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let windows = windows(settings, &x, settings.each("kernel_size", space, 1)?, space)?;
    if settings.get("output_padding").is_some() {
        return Err("output_padding is not taken".into());
    }
    let (channels, filters) = (channels(&x, &windows)?, settings.count("filters")?);
    let kernel = c.weight(layer, "vars/0", &kernel_shape(&windows, [filters, channels]))?;
    let padding = padding(settings, &windows)?;
    let wanted = |(axis, size): (usize, &Dim)| {
        let (stride, window) = (windows.strides[axis], windows.size[axis]);
        match padding {
            Padding::Same => size.times(&Dim::fixed(stride)),
            _ => {
                size.plus(&Dim::fixed(-1))?.times(&Dim::fixed(stride))?.plus(&Dim::fixed(window.max(stride)))
            }
        }
    };
    let sizes = windows.sizes_of(&x).iter().enumerate().map(wanted).collect::<Option<Vec<Dim>>>();
    let sizes = sizes.ok_or("an axis is too large")?;
    let y = c.target.convolve_transposed(&x, &kernel, &windows, (&padding, &sizes))?;
    finished(c, layer, y, ("vars/1", filters), &windows)
}
