//! `lstm`: long short-term memory (Hochreiter and Schmidhuber 1997; with the forget gate of Gers, Schmidhuber and
//! Cummins 2000). Keras's gates stand side by side in the order input `i`, forget `f`, candidate `c`, output `o`:
//!
//! ```text
//! [i f g o] = x_t @ kernel + h_{t-1} @ recurrent_kernel + bias
//! c_t = sigmoid(f) c_{t-1} + sigmoid(i) tanh(g)        h_t = sigmoid(o) tanh(c_t)
//! ```

use burn::tensor::Tensor;
use burn::tensor::module::linear;
use serde::{Deserialize, Serialize};

use super::fused::{self, LstmCell};
use super::{Recurrent, gates, seen, sigmoid, steps, tanh, yes};
use crate::Error;
use crate::activation::Activation;
use crate::layer::dropout::without_channels;
use crate::layer::{Export, Initializer, Layer, ParameterSpec, Pass, Shape, Value, only};

const GATES: usize = 4;

/// Long short-term memory.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LstmConfig {
    /// How many outputs it has.
    pub units: usize,
    /// Of the candidate and of the carried state; `tanh` by default.
    #[serde(default = "tanh")]
    pub activation: Activation,
    /// Of the gates; `sigmoid` by default.
    #[serde(default = "sigmoid")]
    pub recurrent_activation: Activation,
    /// Whether a number is added to each sum.
    #[serde(default = "yes")]
    pub use_bias: bool,
    /// Whether the forget gate starts open: its bias at 1 (Jozefowicz, Zaremba and Sutskever 2015).
    #[serde(default = "yes")]
    pub unit_forget_bias: bool,
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

impl LstmConfig {
    /// With Keras's defaults.
    pub fn new(units: usize) -> Self {
        Self {
            units,
            activation: Activation::Tanh,
            recurrent_activation: Activation::Sigmoid,
            use_bias: true,
            unit_forget_bias: true,
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

    /// Hidden and carried state after a step, of the states before it and the sums of each gate, which it asks for.
    fn advance(&self, carried: Option<Tensor<2>>, sums: impl Fn(usize) -> Tensor<2>) -> [Tensor<2>; 2] {
        let input = self.recurrent_activation.of(sums(0));
        let candidate = self.activation.of(sums(2));
        let output = self.recurrent_activation.of(sums(3));
        let mut next = input * candidate;
        if let Some(carried) = carried {
            next = self.recurrent_activation.of(sums(1)) * carried + next;
        }
        [output * self.activation.of(next.clone()), next]
    }

    /// The layer as operations of the tensor library.
    pub(super) fn by_steps(
        &self,
        x: Tensor<3>,
        state_factors: Option<&[Tensor<2>]>,
        pass: &Pass<'_>,
    ) -> Value {
        let x = steps(x);
        let (kernels, state_kernels) = (gates(&pass.two(0), GATES), gates(&pass.two(1), GATES));
        let biases = self.use_bias.then(|| gates(&pass.one(2), GATES));
        let recurrent = self.recurrent();
        let mut hidden: Vec<Tensor<2>> = Vec::with_capacity(x.len());
        let mut carried = None;
        for at in recurrent.order(x.len()) {
            let before = hidden.last();
            let sums = |gate: usize| {
                let bias = biases.as_ref().map(|biases| biases[gate].clone());
                let of_input = linear(x[at].clone(), kernels[gate].clone(), bias);
                match before {
                    Some(before) => {
                        of_input + seen(before, state_factors, gate).matmul(state_kernels[gate].clone())
                    }
                    None => of_input,
                }
            };
            let [shown, next] = self.advance(carried, sums);
            hidden.push(shown);
            carried = Some(next);
        }
        recurrent.result(hidden)
    }

    /// [`LstmConfig::advance`] as nodes that begin with `part`.
    fn export_advance(
        &self,
        sums: artifact::graph::Value,
        carried: Option<artifact::graph::Value>,
        part: &str,
        export: &mut Export<'_>,
    ) -> Result<[artifact::graph::Value; 2], Error> {
        let units = self.units;
        let gate = |at: usize, name: &str, activation: Activation, export: &mut Export<'_>| {
            let slice = export.name(&format!("{part}/{name}/Slice"));
            let sums = export.graph.slice(&slice, sums, 1, at * units..(at + 1) * units)?;
            activation.export_as(sums, &format!("{part}/{name}"), export)
        };
        let input = gate(0, "input", self.recurrent_activation, export)?;
        let candidate = gate(2, "candidate", self.activation, export)?;
        let output = gate(3, "output", self.recurrent_activation, export)?;
        let name = export.name(&format!("{part}/new"));
        let mut next = export.graph.mul(&name, input, candidate)?;
        if let Some(carried) = carried {
            let forget = gate(1, "forget", self.recurrent_activation, export)?;
            let name = export.name(&format!("{part}/kept"));
            let kept = export.graph.mul(&name, forget, carried)?;
            let name = export.name(&format!("{part}/carried"));
            next = export.graph.add(&name, kept, next)?;
        }
        let shown = self.activation.export_as(next, &format!("{part}/activation"), export)?;
        let name = export.name(&format!("{part}/hidden"));
        Ok([export.graph.mul(&name, output, shown)?, next])
    }
}

impl Layer for LstmConfig {
    fn check(&self) -> Result<(), String> {
        self.recurrent().check()
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        self.recurrent().output(inputs)
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let mut parameters = self.recurrent().kernels(inputs).to_vec();
        if self.use_bias {
            let (units, forget) = (self.units, if self.unit_forget_bias { 1.0 } else { 0.0 });
            let value = |at: usize| if (units..2 * units).contains(&at) { forget } else { 0.0 };
            let values = Initializer::Values((0..GATES * units).map(value).collect());
            parameters.push(ParameterSpec::new("bias", vec![GATES * units], values));
        }
        parameters
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = without_channels(only(inputs).sequence(), self.dropout, pass);
        let recurrent = self.recurrent();
        let state_factors = recurrent.state_factors(x.dims()[0], pass);
        if recurrent.is_plain() && state_factors.is_none() {
            let bias = self.use_bias.then(|| pass.one(2));
            let (kernel, state_kernel) = (pass.two(0), pass.two(1));
            let inputs = fused::Inputs { x: x.clone(), kernel, state_kernel, bias };
            if let Some(result) = fused::forward::<LstmCell>(&recurrent, inputs) {
                return result;
            }
        }
        self.by_steps(x, state_factors.as_deref(), pass)
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let recurrent = self.recurrent();
        let (kernel, recurrent_kernel) = (export.variable(0)?, export.variable(1)?);
        let name = export.name("MatMul");
        let mut products = export.graph.matmul(&name, inputs[0], kernel)?;
        if self.use_bias {
            let bias = export.variable(2)?;
            let name = export.name("BiasAdd");
            products = export.graph.add(&name, products, bias)?;
        }
        let [steps, _] = export.sequence(inputs[0]);
        let mut hidden = Vec::with_capacity(steps);
        let mut carried = None;
        for at in recurrent.order(steps) {
            let part = format!("step_{at}");
            let mut sums = export.step(products, at, &part)?;
            if let Some(before) = hidden.last() {
                let name = export.name(&format!("{part}/MatMul"));
                let product = export.graph.matmul(&name, *before, recurrent_kernel)?;
                let name = export.name(&format!("{part}/Add"));
                sums = export.graph.add(&name, sums, product)?;
            }
            let [shown, next] = self.export_advance(sums, carried, &part, export)?;
            hidden.push(shown);
            carried = Some(next);
        }
        recurrent.export_result(&hidden, export)
    }

    fn scratch(&self, inputs: &[&Shape], _output: &Shape) -> usize {
        let recurrent = self.recurrent();
        if recurrent.is_plain() && self.recurrent_dropout == 0.0 {
            fused::scratch::<LstmCell>(&recurrent, inputs)
        } else {
            recurrent.scratch(inputs)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value as Json, json};

    use super::*;
    use crate::layer::testing::{ROWS, check, layer, product, refusal, row, sigmoid, state_factors};

    const STEPS: usize = 4;
    const CHANNELS: usize = 3;
    const UNITS: usize = 2;

    fn reference(weights: &[Vec<f64>], inputs: &[Vec<f64>], keys: &Json, fitting: bool) -> Vec<f64> {
        let rate = keys["recurrent_dropout"].as_f64().filter(|_| fitting).unwrap_or(0.0);
        let factors = state_factors(rate, 4, UNITS);
        let backwards = keys["go_backwards"] == true;
        let relu = keys["activation"] == "relu";
        let of = |x: f64| if relu { x.max(0.0) } else { x.tanh() };
        let mut result = Vec::new();
        for at in 0..ROWS {
            let (mut h, mut c) = (vec![0.0; UNITS], vec![0.0; UNITS]);
            let mut states = Vec::new();
            for step in 0..STEPS {
                let step = if backwards { STEPS - 1 - step } else { step };
                let x = row(&inputs[0], at * STEPS + step, CHANNELS);
                let mut sums = product(x, &weights[0], CHANNELS, 4 * UNITS);
                let of_gate = |gate: usize| {
                    let seen: Vec<f64> = (0..UNITS).map(|j| h[j] * factors[gate][at * UNITS + j]).collect();
                    product(&seen, &weights[1], UNITS, 4 * UNITS)[gate * UNITS..(gate + 1) * UNITS].to_vec()
                };
                let of_state: Vec<f64> = (0..4).flat_map(of_gate).collect();
                for (j, sum) in sums.iter_mut().enumerate() {
                    *sum += of_state[j] + weights.get(2).map_or(0.0, |bias| bias[j]);
                }
                for j in 0..UNITS {
                    let gate = |at: usize| sums[at * UNITS + j];
                    c[j] = sigmoid(gate(1)) * c[j] + sigmoid(gate(0)) * of(gate(2));
                    h[j] = sigmoid(gate(3)) * of(c[j]);
                }
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
            json!({"go_backwards": true, "use_bias": false}),
            json!({"activation": "relu", "return_sequences": true}),
            json!({"recurrent_dropout": 0.4, "return_sequences": true}),
            json!({"recurrent_dropout": 0.4, "activation": "relu"}),
        ] {
            let mut keys = more.clone();
            keys["units"] = json!(UNITS);
            let by_loops = |weights: &[Vec<f64>], inputs: &[Vec<f64>], fitting: bool| {
                reference(weights, inputs, &keys, fitting)
            };
            check(layer("lstm", keys.clone()), &[&[STEPS, CHANNELS]], &by_loops);
        }
    }

    #[test]
    fn parameters_are_those_of_keras() {
        let parameters = LstmConfig::new(2).parameters(&[&vec![STEPS, CHANNELS]]);
        let shown: Vec<(&str, &[usize])> =
            parameters.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice())).collect();
        assert_eq!(shown, [("kernel", &[3, 8][..]), ("recurrent_kernel", &[2, 8]), ("bias", &[8])]);
        let forget = Initializer::Values(vec![0.0, 0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(parameters[2].initializer, forget);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys, shape: &[usize]| refusal("lstm", keys, &[shape]);
        assert_eq!(refused(json!({"units": 0}), &[4, 3]), "units is 0; it must be between 1 and 65536");
        assert_eq!(
            refused(json!({"units": 2, "recurrent_dropout": 1.0}), &[4, 3]),
            "recurrent_dropout is 1; it must be at least 0 and below 1"
        );
        assert!(
            refused(json!({"units": 2}), &[12])
                .starts_with("it takes a sequence [steps, channels], got [12]")
        );
    }
}
