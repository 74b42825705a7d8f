//! The cell of a GRU whose reset gate is applied behind the recurrent product, which is Keras's default. The other
//! form stays a loop, because rten 0.27 does not compute it.

use std::rc::Rc;

use predictor::{DataType, Tensor};

use super::cell::{self, Sum, either, operand, operands};
use super::{Results, Stepped};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::target::{Step, Target};
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
    let kernel = cell::weight(c, &cell.kernel, &cell.orders[0])?;
    let recurrent = cell::weight(c, &cell.recurrent, &cell.orders[1])?;
    let of_input = cell::bias(c, &cell.biases[0], &cell.orders[0], cell.units)?;
    let of_state = cell::bias(c, &cell.biases[1], &cell.orders[1], cell.units)?;
    let bias = c.target.gate_bias([Some(&of_input), Some(&of_state)], 3 * cell.units)?;
    let state = &stepped.states[0].initial;
    let [all, hidden] = c.target.gru(&cell.input, [&kernel, &recurrent, &bias], state)?;
    let lists = stepped.writes.iter().map(|write| write.place.is_none().then(|| all.clone())).collect();
    Ok(Results { last: vec![hidden], lists })
}
