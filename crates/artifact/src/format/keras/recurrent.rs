//! Cells of recurrent layers, which walk along the second axis of their input. Keras's default LSTM and GRU become the
//! operator; other activations, a reset gate before the product, simple cells and masked steps are computed step by step.

mod steps;

use crate::format::traced::dim::Dim;
use crate::format::traced::target::{Span, Step};
use crate::format::traced::tensor::{Traced, scalar};

use super::convert::{Converter, Inputs, Layer, last_axis};
use super::layers::activation;

/// That masked steps give zeros: a setting of a layer, and what a layer that goes both ways asks of those inside.
pub(super) const ZERO_OUTPUT: &str = "zero_output_for_mask";

/// A kind of cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Lstm,
    Gru,
    Simple,
}

impl Kind {
    /// That of a layer's class.
    pub(super) fn of(class: &str) -> Option<Self> {
        match class {
            "LSTM" => Some(Self::Lstm),
            "GRU" => Some(Self::Gru),
            "SimpleRNN" => Some(Self::Simple),
            _ => None,
        }
    }

    fn gates(self) -> usize {
        match self {
            Self::Lstm => 4,
            Self::Gru => 3,
            Self::Simple => 1,
        }
    }

    /// How many tensors are carried from step to step.
    pub(super) fn states(self) -> usize {
        if self == Self::Lstm { 2 } else { 1 }
    }
}

/// What a recurrent layer gives: every output, `[batch, steps, units]` in the order of its walk, the last one, and its last states.
pub(super) struct Walked {
    pub all: Traced,
    pub last: Traced,
    pub states: Vec<Traced>,
}

struct Weights {
    kernel: Traced,
    recurrent: Traced,
    /// Of the product with the input, and of that with the state.
    biases: [Option<Traced>; 2],
    units: usize,
}

/// Walks along the steps of an input, from states that are given or zeros.
pub(super) fn walk(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    inputs: &Inputs,
    initial: &[Traced],
) -> Step<Walked> {
    let settings = layer.settings();
    let kind = Kind::of(layer.object.class).ok_or("it is no recurrent layer that is taken")?;
    if settings.flag("stateful", false) {
        return Err("it is stateful: a served model keeps no state between calls".into());
    }
    let mut mask = c.mask(inputs)?;
    let mut x = c.float(inputs.one()?)?;
    if x.rank() != 3 {
        return Err(format!("it walks along a tensor of {} axes", x.rank()).into());
    }
    if settings.flag("go_backwards", false) {
        x = c.target.reverse(&x, &[1])?;
        mask = mask.map(|mask| c.target.reverse(&mask, &[1])).transpose()?;
    }
    let weights = weights(c, layer, kind, last_axis(&x)?)?;
    let states = match initial.len() {
        0 => {
            let shape = vec![x.shape[0].clone(), Dim::fixed(weights.units as i64)];
            vec![c.target.fill(shape, &scalar(x.dtype, 0.0))?; kind.states()]
        }
        count if count == kind.states() => initial.to_vec(),
        count => return Err(format!("it is given {count} states in place of {}", kind.states()).into()),
    };
    let text = |key: &str| settings.get(key).and_then(serde_json::Value::as_str);
    let usual = text("activation") == Some("tanh") && text("recurrent_activation") == Some("sigmoid");
    match kind {
        Kind::Lstm if usual && mask.is_none() => lstm(c, &x, &weights, &states),
        Kind::Gru if usual && mask.is_none() && settings.flag("reset_after", true) => {
            gru(c, &x, &weights, &states)
        }
        _ => {
            let gives_zeros = settings.flag(ZERO_OUTPUT, false) || inputs.flag(ZERO_OUTPUT);
            steps::walk(c, &steps::Cell { layer, kind, weights, gives_zeros }, (&x, mask), states)
        }
    }
}

fn weights(c: &mut Converter<'_>, layer: &Layer<'_>, kind: Kind, width: usize) -> Step<Weights> {
    let settings = layer.settings();
    let units = settings.count("units")?;
    let all = Some(kind.gates() * units);
    let kernel = c.weight(layer, "cell/vars/0", &[Some(width), all])?;
    let recurrent = c.weight(layer, "cell/vars/1", &[Some(units), all])?;
    let (has_bias, name) = (settings.flag("use_bias", true), "cell/vars/2");
    let two = kind == Kind::Gru && settings.flag("reset_after", true);
    let biases = match (has_bias, two) {
        (false, _) => [None, None],
        (true, false) => [Some(c.weight(layer, name, &[all])?), None],
        (true, true) => {
            let both = c.weight(layer, name, &[Some(2), all])?;
            [Some(c.target.take(&both, 0, 0)?), Some(c.target.take(&both, 0, 1)?)]
        }
    };
    Ok(Weights { kernel, recurrent, biases, units })
}

/// Keras has the gates input, forget, candidate, output; ONNX input, output, forget, candidate.
fn lstm(c: &mut Converter<'_>, x: &Traced, weights: &Weights, states: &[Traced]) -> Step<Walked> {
    const ORDER: [usize; 4] = [0, 3, 1, 2];
    let kernel = c.target.gate_rows(&weights.kernel, &ORDER)?;
    let recurrent = c.target.gate_rows(&weights.recurrent, &ORDER)?;
    let bias = weights.biases[0].as_ref().map(|bias| c.target.gates(bias, 0, &ORDER)).transpose()?;
    let bias = c.target.gate_bias([bias.as_ref(), None], 4 * weights.units)?;
    let steps = c.target.transpose(x, &[1, 0, 2])?;
    let [all, hidden, carry] =
        c.target.lstm(&steps, [&kernel, &recurrent, &bias], [&states[0], &states[1]])?;
    let all = c.target.transpose(&all, &[1, 0, 2])?;
    Ok(Walked { all, last: hidden.clone(), states: vec![hidden, carry] })
}

/// The gates are in one order: update, reset, candidate.
fn gru(c: &mut Converter<'_>, x: &Traced, weights: &Weights, states: &[Traced]) -> Step<Walked> {
    const ORDER: [usize; 3] = [0, 1, 2];
    let kernel = c.target.gate_rows(&weights.kernel, &ORDER)?;
    let recurrent = c.target.gate_rows(&weights.recurrent, &ORDER)?;
    let [of_input, of_state] = &weights.biases;
    let bias = c.target.gate_bias([of_input.as_ref(), of_state.as_ref()], 3 * weights.units)?;
    let steps = c.target.transpose(x, &[1, 0, 2])?;
    let [all, hidden] = c.target.gru(&steps, [&kernel, &recurrent, &bias], &states[0])?;
    let all = c.target.transpose(&all, &[1, 0, 2])?;
    Ok(Walked { all, last: hidden.clone(), states: vec![hidden] })
}

fn activated(c: &mut Converter<'_>, layer: &Layer<'_>, key: &str, x: &Traced) -> Step {
    activation(c, layer.settings().get(key), x)
}

fn parts(c: &mut Converter<'_>, x: &Traced, count: usize, units: usize) -> Step<Vec<Traced>> {
    c.target.split(x, 1, &vec![units as i64; count])
}

fn lstm_step(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    weights: &Weights,
    (of_input, states): (&Traced, &[Traced]),
) -> Step<Vec<Traced>> {
    let of_state = c.target.matmul(&states[0], &weights.recurrent)?;
    let sum = c.target.binary("Add", of_input, &of_state)?;
    let gates = parts(c, &sum, 4, weights.units)?;
    let input = activated(c, layer, "recurrent_activation", &gates[0])?;
    let forget = activated(c, layer, "recurrent_activation", &gates[1])?;
    let candidate = activated(c, layer, "activation", &gates[2])?;
    let output = activated(c, layer, "recurrent_activation", &gates[3])?;
    let kept = c.target.binary("Mul", &forget, &states[1])?;
    let fresh = c.target.binary("Mul", &input, &candidate)?;
    let carry = c.target.binary("Add", &kept, &fresh)?;
    let shown = activated(c, layer, "activation", &carry)?;
    Ok(vec![c.target.binary("Mul", &output, &shown)?, carry])
}

fn gru_step(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    weights: &Weights,
    (of_input, state): (&Traced, &Traced),
) -> Step {
    let units = weights.units;
    let x = parts(c, of_input, 3, units)?;
    let after = layer.settings().flag("reset_after", true);
    let both = 2 * units as i64;
    let gates_kernel = c.target.slice(&weights.recurrent, &[(1, Span::from_to(0, both))])?;
    let candidate_kernel =
        c.target.slice(&weights.recurrent, &[(1, Span::from_to(both, both + units as i64))])?;
    let (h, of_state) = if after {
        let inner = c.target.matmul(state, &weights.recurrent)?;
        let inner = c.biased(inner, weights.biases[1].as_ref())?;
        let mut h = parts(c, &inner, 3, units)?;
        let candidate = h.pop();
        (h, candidate)
    } else {
        let inner = c.target.matmul(state, &gates_kernel)?;
        (parts(c, &inner, 2, units)?, None)
    };
    let update = c.target.binary("Add", &x[0], &h[0])?;
    let update = activated(c, layer, "recurrent_activation", &update)?;
    let reset = c.target.binary("Add", &x[1], &h[1])?;
    let reset = activated(c, layer, "recurrent_activation", &reset)?;
    let of_state = match of_state {
        Some(of_state) => c.target.binary("Mul", &reset, &of_state)?,
        None => {
            let kept = c.target.binary("Mul", &reset, state)?;
            c.target.matmul(&kept, &candidate_kernel)?
        }
    };
    let candidate = c.target.binary("Add", &x[2], &of_state)?;
    let candidate = activated(c, layer, "activation", &candidate)?;
    let kept = c.target.binary("Mul", &update, state)?;
    let rest = c.target.number_with("Sub", 1.0, &update)?;
    let fresh = c.target.binary("Mul", &rest, &candidate)?;
    c.target.binary("Add", &kept, &fresh)
}

fn simple_step(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    weights: &Weights,
    (of_input, state): (&Traced, &Traced),
) -> Step {
    let of_state = c.target.matmul(state, &weights.recurrent)?;
    let sum = c.target.binary("Add", of_input, &of_state)?;
    activated(c, layer, "activation", &sum)
}
