//! Recurrent layers step by step: written out where there are few steps, else as ONNX's `Loop`.
//!
//! A step that is masked leaves the states as they are, and gives the output of the step before it again (at first: zeros), or
//! zeros.

use predictor::DataType;
use protos::onnx::GraphProto;

use super::{Kind, Walked, Weights, gru_step, lstm_step, simple_step};
use crate::format::keras::convert::{Converter, Layer};
use crate::format::traced::dim::Dim;
use crate::format::traced::finish;
use crate::format::traced::target::{Call, Step};
use crate::format::traced::tensor::{Traced, scalar};

/// Steps that are written out.
const WRITTEN_OUT_MAX: usize = 100;

/// What computes a step.
pub(super) struct Cell<'c> {
    pub layer: &'c Layer<'c>,
    pub kind: Kind,
    pub weights: Weights,
    /// Whether a masked step gives zeros.
    pub gives_zeros: bool,
}

/// Walks along `[batch, steps, inputs]`; the mask, if there is one, is `[batch, steps]`.
pub(super) fn walk(
    c: &mut Converter<'_>,
    cell: &Cell<'_>,
    (x, mask): (&Traced, Option<Traced>),
    mut carried: Vec<Traced>,
) -> Step<Walked> {
    let product = c.target.matmul(x, &cell.weights.kernel)?;
    let product = c.biased(product, cell.weights.biases[0].as_ref())?;
    if mask.is_some() {
        // The output is carried beside the states.
        let shape = vec![x.shape[0].clone(), Dim::fixed(cell.weights.units as i64)];
        carried.push(c.target.fill(shape, &scalar(x.dtype, 0.0))?);
    }
    let few = x.shape[1].size().filter(|steps| (1..=WRITTEN_OUT_MAX).contains(steps));
    let (all, mut carried) = match few {
        Some(steps) => written_out(c, cell, (&product, mask.as_ref(), steps), carried)?,
        None => looped(c, cell, (&product, mask.as_ref()), &carried)?,
    };
    let last = match mask {
        Some(_) => carried.pop(),
        None => carried.first().cloned(),
    };
    Ok(Walked { all, last: last.ok_or("it has no state")?, states: carried })
}

fn written_out(
    c: &mut Converter<'_>,
    cell: &Cell<'_>,
    (product, mask, steps): (&Traced, Option<&Traced>, usize),
    mut carried: Vec<Traced>,
) -> Step<(Traced, Vec<Traced>)> {
    let mut outputs = Vec::new();
    for step in 0..steps {
        let of_input = c.target.take(product, 1, step as i64)?;
        let counts = match mask {
            Some(mask) => {
                let counts = c.target.take(mask, 1, step as i64)?;
                Some(c.target.unsqueeze(&counts, &[1])?)
            }
            None => None,
        };
        carried = after(c, cell, (&of_input, counts.as_ref()), &carried)?;
        outputs.push(c.target.unsqueeze(output(&carried, mask.is_some()), &[1])?);
    }
    let outputs: Vec<&Traced> = outputs.iter().collect();
    Ok((c.target.concat(&outputs, 1)?, carried))
}

/// The body takes the number of the step, whether to go on, and what is carried; it gives whether to go on, what is carried, and
/// the output.
fn looped(
    c: &mut Converter<'_>,
    cell: &Cell<'_>,
    (product, mask): (&Traced, Option<&Traced>),
    carried: &[Traced],
) -> Step<(Traced, Vec<Traced>)> {
    let steps = product.shape[1].clone();
    let rows = c.target.transpose(product, &[1, 0, 2])?;
    let masks = match mask {
        Some(mask) => {
            let steps = c.target.transpose(mask, &[1, 0])?;
            Some(c.target.unsqueeze(&steps, &[2])?)
        }
        None => None,
    };
    let number = c.target.placeholder("step", DataType::Int64, vec![]);
    let goes_on = c.target.placeholder("goes_on", DataType::Bool, vec![]);
    let before: Vec<Traced> =
        carried.iter().map(|value| c.target.placeholder("state", value.dtype, value.shape.clone())).collect();
    let mark = c.target.mark();
    let of_input = c.target.gather(&rows, &number, 0)?;
    let counts = masks.map(|masks| c.target.gather(&masks, &number, 0)).transpose()?;
    let next = after(c, cell, (&of_input, counts.as_ref()), &before)?;
    let mut results = vec![c.target.emit(&Call::new("Identity", &[&goes_on]), DataType::Bool, vec![])?];
    for value in next.iter().chain([output(&next, mask.is_some())]) {
        let copy = Call::new("Identity", &[value]);
        results.push(c.target.emit(&copy, value.dtype, carried[0].shape.clone())?);
    }
    let nodes = c.target.take_back(mark);
    let inputs = [&number, &goes_on].into_iter().chain(&before);
    let body = GraphProto {
        name: Some("step".to_owned()),
        node: nodes,
        input: inputs.map(finish::inner_value).collect(),
        output: results.iter().map(finish::inner_value).collect(),
        ..GraphProto::default()
    };
    let count = Traced::sizes(DataType::Int64, vec![steps.clone()], 0);
    let truth = scalar(DataType::Bool, 1.0);
    let mut call = Call::new("Loop", &[&count, &truth]);
    for value in carried {
        call = call.input(value);
    }
    let shapes = carried.iter().map(|value| Some((value.dtype, value.shape.clone())));
    let listed = std::iter::once(steps).chain(carried[0].shape.iter().cloned()).collect();
    let shapes = shapes.chain([Some((DataType::Float32, listed))]).collect();
    let all = c.target.emit_all(&call.graph("body", body), shapes)?;
    let mut all: Vec<Traced> = all.into_iter().flatten().collect();
    let outputs = all.pop().ok_or("a loop gives what it lists")?;
    Ok((c.target.transpose(&outputs, &[1, 0, 2])?, all))
}

/// What is carried behind a step.
fn after(
    c: &mut Converter<'_>,
    cell: &Cell<'_>,
    (of_input, counts): (&Traced, Option<&Traced>),
    carried: &[Traced],
) -> Step<Vec<Traced>> {
    let Cell { layer, kind, weights, gives_zeros } = cell;
    let mut fresh = match kind {
        Kind::Lstm => lstm_step(c, layer, weights, (of_input, carried))?,
        Kind::Gru => vec![gru_step(c, layer, weights, (of_input, &carried[0]))?],
        Kind::Simple => vec![simple_step(c, layer, weights, (of_input, &carried[0]))?],
    };
    let Some(counts) = counts else { return Ok(fresh) };
    fresh.push(fresh[0].clone());
    let mut old = carried.to_vec();
    if let Some(last) = old.last_mut().filter(|_| *gives_zeros) {
        *last = scalar(last.dtype, 0.0);
    }
    fresh.iter().zip(&old).map(|(fresh, old)| c.target.select(counts, fresh, old)).collect()
}

/// The output of a step, which without a mask is the first state.
fn output(carried: &[Traced], masked: bool) -> &Traced {
    if masked { &carried[carried.len() - 1] } else { &carried[0] }
}
