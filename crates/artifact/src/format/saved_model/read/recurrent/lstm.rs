//! The cell of an LSTM, as Keras computes it: one product for all gates, cut into input, forget, candidate and output.

use std::rc::Rc;

use predictor::{DataType, Tensor};

use super::cell::{self, Sum, either, operand};
use super::{Results, Stepped};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::target::{Step, Target};
use crate::format::saved_model::read::value::{Traced, Value};

/// What the operator takes.
pub(super) struct Cell {
    input: Traced,
    kernel: Rc<Tensor>,
    recurrent: Rc<Tensor>,
    biases: Vec<Rc<Tensor>>,
    /// The places of the gates in the order of ONNX: input, output, forget, candidate.
    order: [usize; 4],
    /// The places of both states among those of the loop.
    states: [usize; 2],
    units: usize,
}

/// Matches `c' = σ(f) c + σ(i) tanh(g)`, `h' = σ(o) tanh(c')`, with the gates cut from `x K + h R + b`.
pub(super) fn recognise(c: &mut Converter, stepped: &Stepped, x: &[Value]) -> Step<Option<Cell>> {
    for states in [[0, 1], [1, 0]] {
        if stepped.states.len() != 2 {
            return Ok(None);
        }
        let Some((factor, mut cell)) = matched(&c.target, stepped, states) else { continue };
        if let Some(input) = cell::item_of(c, &factor, stepped, x)? {
            cell.input = input;
            return Ok(Some(cell));
        }
    }
    Ok(None)
}

/// All but the input, of which what the step calls it is given.
fn matched(target: &Target, stepped: &Stepped, states: [usize; 2]) -> Option<(String, Cell)> {
    let [hidden, carry] = states.map(|at| &stepped.states[at]);
    if hidden.before.rank() != 2 || hidden.before.dtype != DataType::Float32 {
        return None;
    }
    if stepped.writes.iter().any(|write| !super::same(&write.item, &hidden.after)) {
        return None;
    }
    let units = hidden.before.shape[1].size()?;
    let (after, carried, before) =
        (cell::name(&hidden.after)?, cell::name(&carry.after)?, cell::name(&carry.before)?);
    let output = either(target, after, "Mul").into_iter().flatten().find_map(|[gate, tanh]| {
        (operand(target, tanh, "Tanh")? == carried).then(|| operand(target, gate, "Sigmoid"))?
    })?;
    let (forget, input, candidate) =
        either(target, carried, "Add").into_iter().flatten().find_map(|[kept, fresh]| {
            let forget = either(target, kept, "Mul")
                .into_iter()
                .flatten()
                .find_map(|[gate, state]| (state == before).then(|| operand(target, gate, "Sigmoid"))?)?;
            either(target, fresh, "Mul").into_iter().flatten().find_map(|[gate, candidate]| {
                Some((forget, operand(target, gate, "Sigmoid")?, operand(target, candidate, "Tanh")?))
            })
        })?;
    let gates = [input, output, forget, candidate].map(|gate| cell::gate(target, gate, 4, units));
    let [Some(i), Some(o), Some(f), Some(g)] = gates else { return None };
    if [o, f, g].iter().any(|(_, matrix)| *matrix != i.1) {
        return None;
    }
    let sum = Sum::read(target, i.1)?;
    let previous = cell::name(&hidden.before)?;
    let recurrent = Rc::clone(sum.weight_of(previous)?);
    let factor = sum.products.iter().map(|(factor, _)| *factor).find(|factor| *factor != previous)?;
    let kernel = Rc::clone(sum.weight_of(factor)?);
    let fits = sum.products.len() == 2
        && cell::is_matrix(&recurrent, Some(units), 4 * units)
        && cell::is_matrix(&kernel, None, 4 * units)
        && cell::are_vectors(&sum.biases, 4 * units);
    let cell = Cell {
        input: hidden.before.clone(),
        kernel,
        recurrent,
        biases: sum.biases,
        order: [i.0, o.0, f.0, g.0],
        states,
        units,
    };
    fits.then(|| (factor.to_owned(), cell))
}

pub(super) fn emit(c: &mut Converter, cell: &Cell, stepped: &Stepped) -> Step<Results> {
    let kernel = cell::weight(c, &cell.kernel, &cell.order)?;
    let recurrent = cell::weight(c, &cell.recurrent, &cell.order)?;
    let bias = cell::bias(c, &cell.biases, &cell.order, cell.units)?;
    let bias = c.target.gate_bias([Some(&bias), None], 4 * cell.units)?;
    let states = cell.states.map(|at| &stepped.states[at].initial);
    let [all, hidden, carry] = c.target.lstm(&cell.input, [&kernel, &recurrent, &bias], states)?;
    let last = if cell.states == [0, 1] { vec![hidden, carry] } else { vec![carry, hidden] };
    let lists = stepped.writes.iter().map(|write| write.place.is_none().then(|| all.clone())).collect();
    Ok(Results { last, lists })
}
