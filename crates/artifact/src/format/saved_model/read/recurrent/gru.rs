//! The cell of a GRU whose reset gate is applied behind the recurrent product, which is Keras's default. The other
//! form stays a loop, because rten 0.27 does not compute it.

use std::rc::Rc;

use predictor::{DataType, Tensor};

use super::cell::{self, Sum, either, operand, operands};
use super::{Results, Stepped};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::target::{Call, Step, Target};
use crate::format::saved_model::read::value::{Traced, Value};

/// What the operator takes.
pub(super) struct Cell {
    input: Traced,
    kernel: Rc<Tensor>,
    recurrent: Rc<Tensor>,
    biases: [Vec<Rc<Tensor>>; 2],
    /// The places of update, reset and candidate, in the order of ONNX, in the product with the input and with the state.
    orders: [[usize; 3]; 2],
    units: usize,
}

/// Matches `h' = z h + (1 - z) tanh(xₕ + r hₕ)`, `z = σ(x_z + h_z)`, `r = σ(x_r + h_r)`, with the gates cut from `x K + b` and
/// `h R + b`.
pub(super) fn recognise(c: &mut Converter, stepped: &Stepped, x: &[Value]) -> Step<Option<Cell>> {
    let Some((factor, mut cell)) = matched(&c.target, stepped) else { return Ok(None) };
    let input = cell::item_of(c, &factor, stepped, x)?;
    Ok(input.map(|input| {
        cell.input = input;
        cell
    }))
}

fn matched(target: &Target, stepped: &Stepped) -> Option<(String, Cell)> {
    let [hidden] = stepped.states.as_slice() else { return None };
    if hidden.before.rank() != 2 || hidden.before.dtype != DataType::Float32 {
        return None;
    }
    if stepped.writes.iter().any(|write| !super::same(&write.item, &hidden.after)) {
        return None;
    }
    let units = hidden.before.shape[1].size()?;
    let (after, before) = (cell::name(&hidden.after)?, cell::name(&hidden.before)?);
    let (update, candidate) = mixed(target, after, before)?;
    // The candidate: what the input gives, plus the reset gate times what the state gives.
    let (of_input, reset, of_state) = either(target, operand(target, candidate, "Tanh")?, "Add")
        .into_iter()
        .flatten()
        .find_map(|[plain, product]| {
            let pairs = either(target, product, "Mul").into_iter().flatten();
            let mut pairs =
                pairs.filter_map(|[gate, state]| Some((operand(target, gate, "Sigmoid")?, state)));
            pairs.next().map(|(reset, state)| (plain, reset, state))
        })?;
    let (candidate_x, kernel_matrix) = cell::gate(target, of_input, 3, units)?;
    let (candidate_h, recurrent_matrix) = cell::gate(target, of_state, 3, units)?;
    let pair = |sum: &str| {
        either(target, sum, "Add").into_iter().flatten().find_map(|[left, right]| {
            let (x, h) = (cell::gate(target, left, 3, units)?, cell::gate(target, right, 3, units)?);
            (x.1 == kernel_matrix && h.1 == recurrent_matrix).then_some([x.0, h.0])
        })
    };
    let (update, reset) = (pair(operand(target, update, "Sigmoid")?)?, pair(reset)?);
    let (by_input, by_state) = (Sum::read(target, kernel_matrix)?, Sum::read(target, recurrent_matrix)?);
    let recurrent = Rc::clone(by_state.weight_of(before)?);
    let factor = by_input.products.first().map(|(factor, _)| *factor)?;
    let kernel = Rc::clone(by_input.weight_of(factor)?);
    let fits = by_input.products.len() == 1
        && by_state.products.len() == 1
        && cell::is_matrix(&recurrent, Some(units), 3 * units)
        && cell::is_matrix(&kernel, None, 3 * units)
        && [&by_input, &by_state].iter().all(|sum| cell::are_vectors(&sum.biases, 3 * units));
    let cell = Cell {
        input: hidden.before.clone(),
        kernel,
        recurrent,
        biases: [by_input.biases, by_state.biases],
        orders: [[update[0], reset[0], candidate_x], [update[1], reset[1], candidate_h]],
        units,
    };
    fits.then(|| (factor.to_owned(), cell))
}

/// The update gate and the candidate of `z h + (1 - z) candidate`.
fn mixed<'t>(target: &'t Target, after: &str, before: &str) -> Option<(&'t str, &'t str)> {
    either(target, after, "Add").into_iter().flatten().find_map(|[kept, fresh]| {
        let update = either(target, kept, "Mul")
            .into_iter()
            .flatten()
            .find_map(|[gate, state]| (state == before).then_some(gate))?;
        either(target, fresh, "Mul").into_iter().flatten().find_map(|[rest, candidate]| {
            let [one, gate] = operands(target, rest, "Sub")?;
            (gate == update && cell::scalar(target, one) == Some(1.0)).then_some((update, candidate))
        })
    })
}

pub(super) fn emit(c: &mut Converter, cell: &Cell, stepped: &Stepped) -> Step<Results> {
    let units = cell.units as i64;
    let kernel = cell::weight(c, &cell.kernel, &cell.orders[0])?;
    let recurrent = cell::weight(c, &cell.recurrent, &cell.orders[1])?;
    let bias = cell::bias(c, &cell.biases[0], &cell.orders[0], units)?;
    let recurrent_bias = cell::bias(c, &cell.biases[1], &cell.orders[1], units)?;
    let bias = c.target.concat(&[&bias, &recurrent_bias], 0)?;
    let bias = c.target.unsqueeze(&bias, &[0])?;
    let hidden = c.target.unsqueeze(&stepped.states[0].initial, &[0])?;
    let batch = cell.input.shape[1].clone();
    let last = vec![Dim::fixed(1), batch.clone(), Dim::fixed(units)];
    let all = vec![stepped.steps.clone(), Dim::fixed(1), batch, Dim::fixed(units)];
    let call = Call::new("GRU", &[&cell.input, &kernel, &recurrent, &bias])
        .without()
        .input(&hidden)
        .int("hidden_size", units)
        .int("linear_before_reset", 1);
    let float = DataType::Float32;
    let results = c.target.emit_all(&call, vec![Some((float, all)), Some((float, last))])?;
    let [Some(all), Some(hidden)] = results.as_slice() else { return Err("it has two results".into()) };
    let all = c.target.squeeze(all, &[1])?;
    let hidden = c.target.squeeze(hidden, &[0])?;
    let lists = stepped.writes.iter().map(|write| write.place.is_none().then(|| all.clone())).collect();
    Ok(Results { last: vec![hidden], lists })
}
