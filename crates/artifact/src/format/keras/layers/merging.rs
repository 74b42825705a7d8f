//! Layers that make one tensor of several.

use super::Entry;
use super::normalization::of_length_one;
use crate::format::keras::convert::{Converter, Inputs, Layer, axis_of, one};
use crate::format::traced::target::Step;
use crate::format::traced::tensor::Traced;
use predictor::DataType;

pub(super) const TABLE: &[Entry] = &[
    ("Add", |c, _, inputs| elementwise(c, inputs, "Add"), &[]),
    ("Subtract", |c, _, inputs| elementwise(c, inputs, "Sub"), &[]),
    ("Multiply", |c, _, inputs| elementwise(c, inputs, "Mul"), &[]),
    ("Maximum", |c, _, inputs| elementwise(c, inputs, "Max"), &[]),
    ("Minimum", |c, _, inputs| elementwise(c, inputs, "Min"), &[]),
    (
        "Average",
        |c, _, inputs| {
            let sum = elementwise(c, inputs, "Add")?;
            let count = inputs.tensors().len() as f64;
            one(c.target.with_number("Div", &sum[0], count)?)
        },
        &[],
    ),
    ("Concatenate", concatenate, &[]),
    ("Dot", dot, &[]),
];

/// All inputs in one type: floating-point numbers if any is.
pub(in crate::format::keras) fn alike(c: &mut Converter<'_>, tensors: &[&Traced]) -> Step<Vec<Traced>> {
    let first = tensors.first().ok_or("it is called with no tensor")?.dtype;
    let same = tensors.iter().all(|tensor| tensor.dtype == first);
    let dtype = if same {
        first
    } else if tensors.iter().any(|tensor| tensor.is_float()) {
        DataType::Float32
    } else {
        DataType::Int64
    };
    tensors.iter().map(|tensor| c.target.cast(tensor, dtype)).collect()
}

fn elementwise(c: &mut Converter<'_>, inputs: &Inputs, operator: &'static str) -> Step<Vec<Traced>> {
    let tensors = alike(c, &inputs.tensors())?;
    // Tensors with fewer axes get theirs behind the batch.
    let rank = tensors.iter().map(Traced::rank).max().unwrap_or_default();
    let mut result: Option<Traced> = None;
    for tensor in &tensors {
        if tensor.rank() == 0 {
            return Err("it merges a tensor without a batch".into());
        }
        let tensor = c.target.unsqueeze(tensor, &(1..=rank - tensor.rank()).collect::<Vec<usize>>())?;
        result = Some(match result {
            None => tensor,
            Some(result) => c.target.binary(operator, &result, &tensor)?,
        });
    }
    one(result.ok_or("it is called with no tensor")?)
}

fn concatenate(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let tensors = alike(c, &inputs.tensors())?;
    let axis = layer.settings().get("axis").and_then(serde_json::Value::as_i64).unwrap_or(-1);
    let axis = axis_of(axis, tensors[0].rank())?;
    one(c.target.concat(&tensors.iter().collect::<Vec<_>>(), axis)?)
}

/// Sums of products along one axis of each of two tensors, row by row.
fn dot(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let tensors = inputs.tensors();
    let [x, y] = tensors.as_slice() else { return Err("it takes two tensors".into()) };
    let (mut x, mut y) = (c.float(x)?, c.float(y)?);
    let axes = settings.each("axes", 2, -1)?;
    let axes = [axis_of(axes[0], x.rank())?, axis_of(axes[1], y.rank())?];
    if axes.contains(&0) {
        return Err("it sums along the batch".into());
    }
    if settings.flag("normalize", false) {
        x = of_length_one(c, &x, &[axes[0]], 1e-7)?;
        y = of_length_one(c, &y, &[axes[1]], 1e-7)?;
    }
    let mut letters = 'c'..='z';
    let mut named = |rank: usize, axis: usize| -> Vec<char> {
        let free = |at: usize| match at {
            0 => Some('a'),
            at if at == axis => Some('b'),
            _ => letters.next(),
        };
        (0..rank).filter_map(free).collect()
    };
    let (left, right) = (named(x.rank(), axes[0]), named(y.rank(), axes[1]));
    let kept =
        |names: &[char]| names.iter().filter(|name| **name != 'b' && **name != 'a').collect::<String>();
    let output = format!("a{}{}", kept(&left), kept(&right));
    let (left, right): (String, String) = (left.iter().collect(), right.iter().collect());
    let y = c.target.einsum(&format!("{left},{right}->{output}"), &[&x, &y])?;
    // One product for each row keeps an axis of its own.
    one(if y.rank() == 1 { c.target.unsqueeze(&y, &[1])? } else { y })
}
