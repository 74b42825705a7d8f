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

use super::{Recurrent, dropped, sigmoid, step, tanh, yes};
use crate::Error;
use crate::activation::Activation;
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
    /// Only 0 is supported.
    #[serde(default)]
    pub recurrent_dropout: f64,
}

/// The parameters of the state, cut where a step needs them apart.
struct State<T> {
    /// `[units, 3 units]`, or the two parts of it if the reset gate comes before the product.
    kernels: Vec<T>,
    /// `[1, 3 units]` with `reset_after`.
    bias: Option<T>,
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

    /// The state after a step, of the step's products with the input `[batch, 3 units]` and the state before it.
    fn advance(&self, x: Tensor<2>, before: Option<&Tensor<2>>, state: &State<Tensor<2>>) -> Tensor<2> {
        let units = self.units;
        let both = x.clone().narrow(1, 0, 2 * units);
        let candidate = x.narrow(1, 2 * units, units);
        // What the state adds to the gates, and to the candidate once the reset gate is known.
        let (of_gates, of_candidate) = match (before, self.reset_after) {
            (None, _) => (
                state.bias.clone().map(|bias| bias.narrow(1, 0, 2 * units)),
                state.bias.clone().map(|bias| bias.narrow(1, 2 * units, units)),
            ),
            (Some(before), true) => {
                let mut product = before.clone().matmul(state.kernels[0].clone());
                if let Some(bias) = &state.bias {
                    product = product + bias.clone();
                }
                (Some(product.clone().narrow(1, 0, 2 * units)), Some(product.narrow(1, 2 * units, units)))
            }
            (Some(before), false) => (Some(before.clone().matmul(state.kernels[0].clone())), None),
        };
        let gates = self.recurrent_activation.of(match of_gates {
            Some(more) => both + more,
            None => both,
        });
        let update = gates.clone().narrow(1, 0, units);
        let reset = gates.narrow(1, units, units);
        let more = match (of_candidate, before) {
            (Some(product), _) => Some(reset * product),
            (None, Some(before)) => Some((reset * before.clone()).matmul(state.kernels[1].clone())),
            (None, None) => None,
        };
        let candidate = self.activation.of(match more {
            Some(more) => candidate + more,
            None => candidate,
        });
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
        let x = dropped(only(inputs).sequence(), self.dropout, pass);
        let [_, steps, _] = x.dims();
        let columns = GATES * self.units;
        let (bias, state_bias) = match (self.use_bias, self.reset_after) {
            (false, _) => (None, None),
            (true, false) => (Some(pass.one(2)), None),
            (true, true) => {
                let both = pass.two(2);
                (Some(both.clone().narrow(0, 0, 1).reshape([columns])), Some(both.narrow(0, 1, 1)))
            }
        };
        let products = linear(x.swap_dims(0, 1), pass.two(0), bias);
        let kernel = pass.two(1);
        let gates = 2 * self.units;
        let kernels = if self.reset_after {
            vec![kernel]
        } else {
            vec![kernel.clone().narrow(1, 0, gates), kernel.narrow(1, gates, self.units)]
        };
        let state = State { kernels, bias: state_bias };
        let recurrent = self.recurrent();
        let mut hidden: Vec<Tensor<2>> = Vec::with_capacity(steps);
        for at in recurrent.order(steps) {
            hidden.push(self.advance(step(&products, at), hidden.last(), &state));
        }
        recurrent.result(hidden)
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        graph::export(self, inputs[0], export)
    }

    fn scratch(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        self.recurrent().scratch(inputs)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::layer::testing::{ROWS, check, layer, product, row, sigmoid};

    const STEPS: usize = 4;
    const CHANNELS: usize = 3;
    const UNITS: usize = 2;

    fn reference(weights: &[Vec<f64>], inputs: &[Vec<f64>], keys: &Json) -> Vec<f64> {
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
                let of_state = product(&h, &weights[1], UNITS, 3 * UNITS);
                let x = |at: usize| of_input[at] + bias(0, at);
                let s = |at: usize| of_state[at] + bias(1, at);
                let reset: Vec<f64> = (0..UNITS).map(|j| sigmoid(x(UNITS + j) + s(UNITS + j))).collect();
                let kept: Vec<f64> = reset.iter().zip(&h).map(|(r, h)| r * h).collect();
                let before = product(&kept, &weights[1], UNITS, 3 * UNITS);
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
        ] {
            let mut keys = more.clone();
            keys["units"] = json!(UNITS);
            let by_loops =
                |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| reference(weights, inputs, &keys);
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
