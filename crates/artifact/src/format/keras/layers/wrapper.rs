//! Layers that apply another one.

use super::Entry;
use crate::format::keras::convert::{Converter, Inputs, Layer};
use crate::format::traced::dim::Dim;
use crate::format::traced::target::Step;
use crate::format::traced::tensor::Traced;

pub(super) const TABLE: &[Entry] = &[
    ("TimeDistributed", each_step, &[]),
    ("SpectralNormalization", as_it_is, &[]),
    ("Wrapper", as_it_is, &[]),
];

/// Rows of all steps are one batch for the layer inside.
fn each_step(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?.clone();
    let [batch, steps, rest @ ..] = x.shape.as_slice() else {
        return Err(format!("it walks along a tensor of {} axes", x.rank()).into());
    };
    let rows = batch.times(steps).ok_or("an axis is too large")?;
    let rows: Vec<Dim> = std::iter::once(rows).chain(rest.iter().cloned()).collect();
    let rows = c.target.reshape(&x, rows)?;
    let results = inside(c, layer, &Inputs::of([rows]))?;
    let back = |y: &Traced| {
        let shape = [batch.clone(), steps.clone()].into_iter().chain(y.shape[1..].iter().cloned());
        c.target.reshape(y, shape.collect())
    };
    results.iter().map(back).collect()
}

/// What a wrapper does to weights, it did while it was trained.
fn as_it_is(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    inside(c, layer, inputs)
}

fn inside(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let object = layer.settings().object("layer")?.ok_or("it has no layer inside")?;
    let path = format!("{}/layer", layer.path);
    c.compute(&Layer { object, path: &path }, inputs)
}
