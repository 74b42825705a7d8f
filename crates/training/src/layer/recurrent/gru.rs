//! `gru`: gated recurrent units (Cho et al. 2014, "Learning Phrase Representations using RNN Encoder-Decoder",
//! section 2.3). Keras's gates stand side by side in the order update `z`, reset `r`, candidate `h`:
//!
//! ```text
//! z = sigmoid(x_z + s_z)    r = sigmoid(x_r + s_r)    g = tanh(x_h + r s_h)    h_t = z h_{t-1} + (1 - z) g
//! ```
//!
//! with `x = x_t @ kernel + bias[0]` and `s = h_{t-1} @ recurrent_kernel + bias[1]`. That is `reset_after`, as cuDNN and
//! PyTorch have it; without it (the paper's form) `r` multiplies the state before its product, and there is one bias.

mod graph;

use burn::tensor::Tensor;
use burn::tensor::module::linear;
use serde::{Deserialize, Serialize};

use super::fused::{self, GruCell};
use super::{Recurrent, gates, seen, sigmoid, steps, tanh, yes};
use crate::Error;
use crate::activation::Activation;
use crate::layer::dropout::without_channels;
use crate::layer::{Export, Initializer, Layer, ParameterSpec, Pass, Shape, Value, only};

const GATES: usize = 3;

/// Gated recurrent units.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GruConfig {
    /// How many outputs it has.
    pub units: usize,
    /// Of the candidate; `tanh` by default.
    #[serde(default = "tanh")]
    pub activation: Activation,
    /// Of the gates; `sigmoid` by default.
    #[serde(default = "sigmoid")]
    pub recurrent_activation: Activation,
    /// Whether numbers are added to the sums.
    #[serde(default = "yes")]
    pub use_bias: bool,
    /// Whether the reset gate multiplies what the state's kernel gives, and not the state.
    #[serde(default = "yes")]
    pub reset_after: bool,
    /// Whether the result is the state after every step, and not only after the last one.
    #[serde(default)]
    pub return_sequences: bool,
    /// Whether the last step is taken first; the result is in the order the steps are taken.
    #[serde(default)]
    pub go_backwards: bool,
    /// The share of the input that is left out while fitting, the same in all steps of a row.
    #[serde(default)]
    pub dropout: f64,
    /// The share of the state that is left out of each gate's product while fitting, the same in all steps of a row. Such
    /// a layer is fitted step by step, which takes several times as long.
    #[serde(default)]
    pub recurrent_dropout: f64,
}

/// The parameters by gate.
struct Gates {
    kernels: Vec<Tensor<2>>,
    biases: Option<Vec<Tensor<1>>>,
    state_kernels: Vec<Tensor<2>>,
    /// With `reset_after`.
    state_biases: Option<Vec<Tensor<1>>>,
    /// What the state is multiplied by in each product, if some of it is left out.
    state_factors: Option<Vec<Tensor<2>>>,
}

impl Gates {
    /// What the input adds to a gate.
    fn of_input(&self, x: &Tensor<2>, gate: usize) -> Tensor<2> {
        let bias = self.biases.as_ref().map(|biases| biases[gate].clone());
        linear(x.clone(), self.kernels[gate].clone(), bias)
    }

    /// What the state adds to a gate; none if nothing.
    fn of_state(&self, state: Option<&Tensor<2>>, gate: usize) -> Option<Tensor<2>> {
        let bias = self.state_biases.as_ref().map(|biases| biases[gate].clone());
        match state {
            Some(state) => {
                let state = seen(state, self.state_factors.as_deref(), gate);
                Some(linear(state, self.state_kernels[gate].clone(), bias))
            }
            None => bias.map(Tensor::unsqueeze),
        }
    }

    /// Both.
    fn of_both(&self, x: &Tensor<2>, state: Option<&Tensor<2>>, gate: usize) -> Tensor<2> {
        sum(self.of_input(x, gate), self.of_state(state, gate))
    }
}

fn sum(a: Tensor<2>, b: Option<Tensor<2>>) -> Tensor<2> {
    match b {
        Some(b) => a + b,
        None => a,
    }
}

impl GruConfig {
    /// With Keras's defaults.
    pub fn new(units: usize) -> Self {
        Self {
            units,
            activation: Activation::Tanh,
            recurrent_activation: Activation::Sigmoid,
            use_bias: true,
            reset_after: true,
            return_sequences: false,
            go_backwards: false,
            dropout: 0.0,
            recurrent_dropout: 0.0,
        }
    }

    fn recurrent(&self) -> Recurrent {
        Recurrent {
            units: self.units,
            gates: GATES,
            activations: [self.activation, self.recurrent_activation],
            dropout: self.dropout,
            recurrent_dropout: self.recurrent_dropout,
            return_sequences: self.return_sequences,
            go_backwards: self.go_backwards,
        }
    }

    /// The layer as operations of the tensor library.
    pub(super) fn by_steps(
        &self,
        x: Tensor<3>,
        state_factors: Option<Vec<Tensor<2>>>,
        pass: &Pass<'_>,
    ) -> Value {
        let x = steps(x);
        let columns = GATES * self.units;
        let (bias, state_bias) = match (self.use_bias, self.reset_after) {
            (false, _) => (None, None),
            (true, false) => (Some(pass.one(2)), None),
            (true, true) => {
                let both = pass.two(2);
                let one = |at: usize| both.clone().narrow(0, at, 1).reshape([columns]);
                (Some(one(0)), Some(one(1)))
            }
        };
        let gates = Gates {
            kernels: gates(&pass.two(0), GATES),
            biases: bias.map(|bias| gates(&bias, GATES)),
            state_kernels: gates(&pass.two(1), GATES),
            state_biases: state_bias.map(|bias| gates(&bias, GATES)),
            state_factors,
        };
        let recurrent = self.recurrent();
        let mut hidden: Vec<Tensor<2>> = Vec::with_capacity(x.len());
        for at in recurrent.order(x.len()) {
            hidden.push(self.advance(&x[at], hidden.last(), &gates));
        }
        recurrent.result(hidden)
    }

    /// The state after a step, of its input and the state before it.
    fn advance(&self, x: &Tensor<2>, before: Option<&Tensor<2>>, gates: &Gates) -> Tensor<2> {
        let update = self.recurrent_activation.of(gates.of_both(x, before, 0));
        let reset = self.recurrent_activation.of(gates.of_both(x, before, 1));
        let of_state = if self.reset_after {
            gates.of_state(before, 2).map(|product| reset * product)
        } else {
            before.and_then(|before| gates.of_state(Some(&(reset * before.clone())), 2))
        };
        let candidate = self.activation.of(sum(gates.of_input(x, 2), of_state));
        match before {
            // z h + (1 - z) g = g + z (h - g)
            Some(before) => candidate.clone() + update * (before.clone() - candidate),
            None => candidate.clone() - update * candidate,
        }
    }
}

impl Layer for GruConfig {
    fn check(&self) -> Result<(), String> {
        self.recurrent().check()
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        self.recurrent().output(inputs)
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let mut parameters = self.recurrent().kernels(inputs).to_vec();
        if self.use_bias {
            let columns = GATES * self.units;
            let shape = if self.reset_after { vec![2, columns] } else { vec![columns] };
            parameters.push(ParameterSpec::new("bias", shape, Initializer::Constant(0.0)));
        }
        parameters
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = without_channels(only(inputs).sequence(), self.dropout, pass);
        let recurrent = self.recurrent();
        let state_factors = recurrent.state_factors(x.dims()[0], pass);
        if recurrent.is_plain() && self.reset_after && state_factors.is_none() {
            let bias = self.use_bias.then(|| pass.two(2).reshape([2 * GATES * self.units]));
            let (kernel, state_kernel) = (pass.two(0), pass.two(1));
            let inputs = fused::Inputs { x: x.clone(), kernel, state_kernel, bias };
            if let Some(result) = fused::forward::<GruCell>(&recurrent, inputs) {
                return result;
            }
        }
        self.by_steps(x, state_factors, pass)
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        graph::export(self, inputs[0], export)
    }

    fn scratch(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        let recurrent = self.recurrent();
        if recurrent.is_plain() && self.reset_after && self.recurrent_dropout == 0.0 {
            fused::scratch::<GruCell>(&recurrent, inputs)
        } else {
            recurrent.scratch(inputs)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::layer::testing::{ROWS, check, layer, product, row, sigmoid, state_factors};

    const STEPS: usize = 4;
    const CHANNELS: usize = 3;
    const UNITS: usize = 2;

    fn reference(weights: &[Vec<f64>], inputs: &[Vec<f64>], keys: &Json, fitting: bool) -> Vec<f64> {
        let rate = keys["recurrent_dropout"].as_f64().filter(|_| fitting).unwrap_or(0.0);
        let factors = state_factors(rate, 3, UNITS);
        let backwards = keys["go_backwards"] == true;
        let after = keys["reset_after"] != false;
        let bias = |which: usize, at: usize| match weights.get(2) {
            Some(bias) if which * 3 * UNITS + at < bias.len() => bias[which * 3 * UNITS + at],
            _ => 0.0,
        };
        let mut result = Vec::new();
        for at in 0..ROWS {
            let mut h = vec![0.0; UNITS];
            let mut states = Vec::new();
            for step in 0..STEPS {
                let step = if backwards { STEPS - 1 - step } else { step };
                let of_input =
                    product(row(&inputs[0], at * STEPS + step, CHANNELS), &weights[0], CHANNELS, 3 * UNITS);
                let seen = |h: &[f64], gate: usize| -> Vec<f64> {
                    (0..UNITS).map(|j| h[j] * factors[gate][at * UNITS + j]).collect()
                };
                let of_gate = |gate: usize| {
                    let products = product(&seen(&h, gate), &weights[1], UNITS, 3 * UNITS);
                    products[gate * UNITS..(gate + 1) * UNITS].to_vec()
                };
                let of_state: Vec<f64> = (0..3).flat_map(of_gate).collect();
                let x = |at: usize| of_input[at] + bias(0, at);
                let s = |at: usize| of_state[at] + bias(1, at);
                let reset: Vec<f64> = (0..UNITS).map(|j| sigmoid(x(UNITS + j) + s(UNITS + j))).collect();
                let kept: Vec<f64> = reset.iter().zip(&h).map(|(r, h)| r * h).collect();
                let before = product(&seen(&kept, 2), &weights[1], UNITS, 3 * UNITS);
                let next = (0..UNITS).map(|j| {
                    let update = sigmoid(x(j) + s(j));
                    let candidate = 2 * UNITS + j;
                    let more = if after { reset[j] * s(candidate) } else { before[candidate] };
                    update * h[j] + (1.0 - update) * (x(candidate) + more).tanh()
                });
                h = next.collect();
                states.extend(h.clone());
            }
            result.extend(if keys["return_sequences"] == true { states } else { h });
        }
        result
    }

    #[test]
    fn it_is_the_equations() {
        for more in [
            json!({}),
            json!({"return_sequences": true}),
            json!({"return_sequences": true, "go_backwards": true}),
            json!({"use_bias": false}),
            json!({"reset_after": false}),
            json!({"reset_after": false, "use_bias": false, "return_sequences": true}),
            json!({"recurrent_dropout": 0.4, "return_sequences": true}),
            json!({"recurrent_dropout": 0.4, "reset_after": false}),
        ] {
            let mut keys = more.clone();
            keys["units"] = json!(UNITS);
            let by_loops = |weights: &[Vec<f64>], inputs: &[Vec<f64>], fitting: bool| {
                reference(weights, inputs, &keys, fitting)
            };
            check(layer("gru", keys.clone()), &[&[STEPS, CHANNELS]], &by_loops);
        }
    }

    #[test]
    fn parameters_are_those_of_keras() {
        let shapes = |config: GruConfig| -> Vec<Vec<usize>> {
            config.parameters(&[&vec![STEPS, CHANNELS]]).into_iter().map(|spec| spec.shape).collect()
        };
        assert_eq!(shapes(GruConfig::new(2)), [vec![3, 6], vec![2, 6], vec![2, 6]]);
        let before = GruConfig { reset_after: false, ..GruConfig::new(2) };
        assert_eq!(shapes(before), [vec![3, 6], vec![2, 6], vec![6]]);
    }
}
