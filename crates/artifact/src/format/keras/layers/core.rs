//! Layers with one product, layers that do nothing at inference, and networks as layers.

use predictor::DataType;

use super::{Entry, activation};
use crate::format::keras::convert::{Converter, Inputs, Layer, last_axis, one};
use crate::format::keras::network;
use crate::format::traced::target::Step;
use crate::format::traced::tensor::{Traced, scalar};

pub(super) const TABLE: &[Entry] = &[
    ("Dense", dense, &[]),
    ("EinsumDense", einsum_dense, &[]),
    ("Embedding", embedding, &[]),
    ("Functional", network::inner, &[]),
    ("Sequential", network::inner, &[]),
    ("Model", network::inner, &[]),
    ("Dropout", same, &[]),
    ("SpatialDropout1D", same, &[]),
    ("SpatialDropout2D", same, &[]),
    ("SpatialDropout3D", same, &[]),
    ("GaussianDropout", same, &[]),
    ("GaussianNoise", same, &[]),
    ("AlphaDropout", same, &[]),
    ("ActivityRegularization", same, &[]),
    ("Identity", same, &[]),
    ("Masking", masking, &[]),
];

/// What only training needs.
fn same(_: &mut Converter<'_>, _: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    one(inputs.one()?.clone())
}

fn dense(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let (width, units) = (last_axis(&x)?, settings.count("units")?);
    let kernel = c.weight(layer, "vars/0", &[Some(width), Some(units)])?;
    let bias = c.weight_if(settings.flag("use_bias", true), layer, "vars/1", &[Some(units)])?;
    let product = c.target.matmul(&x, &kernel)?;
    let sum = c.biased(product, bias.as_ref())?;
    one(activation::apply(c, settings.get("activation"), &sum)?)
}

fn einsum_dense(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let equation = spelled_out(settings.text("equation", ""), x.rank())?;
    let axes = equation.split(',').nth(1).and_then(|rest| rest.split("->").next()).map_or(0, str::len);
    let kernel = c.weight(layer, "vars/0", &vec![None; axes])?;
    let y = c.target.einsum(&equation, &[&x, &kernel])?;
    let bias_axes = settings.text("bias_axes", "");
    let y = if bias_axes.is_empty() {
        y
    } else {
        let output = equation.split("->").nth(1).unwrap_or_default();
        let first = output.find(|letter| bias_axes.contains(letter)).ok_or("its bias has no axes")?;
        let bias = c.weight(layer, "vars/1", &vec![None; output.len() - first])?;
        c.biased(y, Some(&bias))?
    };
    one(activation::apply(c, settings.get("activation"), &y)?)
}

/// The equation with a letter for each axis that `...` stands for.
fn spelled_out(equation: &str, rank: usize) -> Step<String> {
    let equation: String = equation.chars().filter(|letter| !letter.is_whitespace()).collect();
    if !equation.is_ascii() {
        return Err("its equation is not taken".into());
    }
    let named = equation.split(',').next().unwrap_or_default().replace("...", "");
    let unnamed = rank.checked_sub(named.len()).ok_or("its equation has more axes than its input")?;
    let free = ('A'..='Z').filter(|letter| !equation.contains(*letter)).take(unnamed);
    Ok(equation.replace("...", &free.collect::<String>()))
}

fn embedding(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let shape = [Some(settings.count("input_dim")?), Some(settings.count("output_dim")?)];
    let table = c.weight(layer, "vars/0", &shape)?;
    let x = inputs.one()?;
    let places = if x.is_integer() { x.clone() } else { c.target.cast(x, DataType::Int32)? };
    let y = c.target.gather(&table, &places, 0)?;
    if settings.flag("mask_zero", false) {
        let zero = scalar(places.dtype, 0.0);
        let is_zero = c.target.binary("Equal", &places, &zero)?;
        let mask = c.target.unary("Not", &is_zero)?;
        c.set_mask(&y, mask);
    }
    one(y)
}

/// Steps that are nothing but the value are zero, and do not count behind it.
fn masking(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let value = layer.settings().number("mask_value", 0.0);
    let x = c.float(inputs.one()?)?;
    let is_value = c.target.with_number("Equal", &x, value)?;
    let counts = c.target.unary("Not", &is_value)?;
    let counts = c.target.cast(&counts, DataType::Int32)?;
    let counts = c.target.reduce("ReduceMax", &counts, &[x.rank() - 1], false)?;
    let mask = c.target.cast(&counts, DataType::Bool)?;
    let factor = c.target.cast(&counts, x.dtype)?;
    let factor = c.target.unsqueeze(&factor, &[x.rank() - 1])?;
    let y = c.target.binary("Mul", &x, &factor)?;
    c.set_mask(&y, mask);
    one(y)
}
