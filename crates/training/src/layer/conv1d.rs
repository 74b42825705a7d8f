//! `conv1d`: a kernel that slides over the steps of a sequence,
//! `out[t, o] = bias[o] + sum over k, c of in[t strides + k dilation_rate - padding, c] kernel[k, c, o]`.

use burn::tensor::Tensor;
use burn::tensor::module::linear;
use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{
    Export, Initializer, Layer, Padding, ParameterSpec, Pass, Regularizer, Shape, UNITS_MAX, Value, count,
    only, sequence,
};
use crate::Error;
use crate::activation::Activation;

/// A kernel that slides over steps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Conv1dConfig {
    /// How many outputs a step has.
    pub filters: usize,
    /// How many steps it sees.
    pub kernel_size: usize,
    /// Steps from one result to the next.
    #[serde(default = "one")]
    pub strides: usize,
    /// `valid` by default.
    #[serde(default)]
    pub padding: Padding,
    /// Steps from one it sees to the next; not together with `strides`.
    #[serde(default = "one")]
    pub dilation_rate: usize,
    /// What it does to its sums; nothing by default.
    #[serde(default)]
    pub activation: Activation,
    /// Whether a number is added to each sum.
    #[serde(default = "yes")]
    pub use_bias: bool,
    /// What its kernel adds to the loss.
    #[serde(default)]
    pub kernel_regularizer: Regularizer,
}

fn one() -> usize {
    1
}

fn yes() -> bool {
    true
}

impl Conv1dConfig {
    /// Of every step, without padding and activation.
    pub fn new(filters: usize, kernel_size: usize) -> Self {
        Self {
            filters,
            kernel_size,
            strides: 1,
            padding: Padding::Valid,
            dilation_rate: 1,
            activation: Activation::Linear,
            use_bias: true,
            kernel_regularizer: Regularizer::default(),
        }
    }

    fn window(&self) -> Window {
        Window {
            size: self.kernel_size,
            dilation: self.dilation_rate,
            strides: self.strides,
            padding: self.padding,
        }
    }
}

impl Layer for Conv1dConfig {
    fn check(&self) -> Result<(), String> {
        count("filters", self.filters, UNITS_MAX)?;
        count("kernel_size", self.kernel_size, UNITS_MAX)?;
        count("strides", self.strides, UNITS_MAX)?;
        count("dilation_rate", self.dilation_rate, UNITS_MAX)?;
        if self.strides > 1 && self.dilation_rate > 1 {
            let (strides, dilation) = (self.strides, self.dilation_rate);
            return Err(format!(
                "dilation_rate is {dilation}; it must be 1 where strides ({strides}) are not"
            ));
        }
        self.activation.check()?;
        self.kernel_regularizer.check()
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let [steps, _] = sequence(inputs)?;
        Ok(vec![self.window().positions(steps)?, self.filters])
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let channels = inputs[0].last().copied().unwrap_or_default();
        let size = self.kernel_size;
        let glorot = Initializer::GlorotUniform { fan_in: channels * size, fan_out: self.filters * size };
        let mut kernel = ParameterSpec::new("kernel", vec![size, channels, self.filters], glorot);
        kernel.regularizer = self.kernel_regularizer;
        let bias = ParameterSpec::new("bias", vec![self.filters], Initializer::Constant(0.0));
        if self.use_bias { vec![kernel, bias] } else { vec![kernel] }
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let places = self.window().places(only(inputs).sequence(), 0.0);
        let kernel = pass.three(0);
        let [size, channels, filters] = kernel.dims();
        let seen = Tensor::cat(places, 2);
        let bias = self.use_bias.then(|| pass.one(1));
        let sums = linear(seen, kernel.reshape([size * channels, filters]), bias);
        self.activation.forward(Value::Sequence(sums))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let kernel = export.variable(0)?;
        let form = artifact::graph::Conv1d {
            stride: self.strides,
            dilation: self.dilation_rate,
            padding: self.padding.of_graph(),
        };
        let name = export.name("Conv1D");
        let mut sums = export.graph.conv1d(&name, inputs[0], kernel, form)?;
        if self.use_bias {
            let bias = export.variable(1)?;
            let name = export.name("BiasAdd");
            sums = export.graph.add(&name, sums, bias)?;
        }
        self.activation.export(sums, export)
    }

    fn without_activation(&self) -> Option<(Activation, Box<dyn Layer>)> {
        Some((self.activation, Box::new(Self { activation: Activation::Linear, ..self.clone() })))
    }

    fn scratch(&self, inputs: &[&Shape], output: &Shape) -> usize {
        // What the kernel sees at each position, and the sums before and after the activation.
        let positions = output.first().copied().unwrap_or_default();
        let channels = inputs[0].last().copied().unwrap_or_default();
        2 * positions * self.kernel_size * channels + 2 * output.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ROWS, check, layer, refusal};
    use super::*;

    const STEPS: usize = 7;
    const CHANNELS: usize = 2;
    const FILTERS: usize = 3;

    /// Of positions `first + strides * position + dilation * place`, those inside the sequence.
    fn reference(
        weights: &[Vec<f64>],
        x: &[f64],
        config: &Conv1dConfig,
        first: i64,
        positions: usize,
    ) -> Vec<f64> {
        let mut result = Vec::new();
        for at in 0..ROWS {
            for position in 0..positions {
                for filter in 0..FILTERS {
                    let mut sum = weights.get(1).map_or(0.0, |bias| bias[filter]);
                    for place in 0..config.kernel_size {
                        let step = first + (config.strides * position + config.dilation_rate * place) as i64;
                        if (0..STEPS as i64).contains(&step) {
                            for c in 0..CHANNELS {
                                sum += x[(at * STEPS + step as usize) * CHANNELS + c]
                                    * weights[0][(place * CHANNELS + c) * FILTERS + filter];
                            }
                        }
                    }
                    result.push(if config.activation == Activation::Tanh { sum.tanh() } else { sum });
                }
            }
        }
        result
    }

    #[test]
    fn it_is_the_sum_over_its_window() {
        // What is padded before the first step, and how many results there are, by TensorFlow's documentation.
        for (keys, before, positions) in [
            (json!({"kernel_size": 3}), 0, 5),
            (json!({"kernel_size": 1, "activation": "tanh"}), 0, 7),
            (json!({"kernel_size": 3, "strides": 2}), 0, 3),
            (json!({"kernel_size": 3, "padding": "same"}), 1, 7),
            (json!({"kernel_size": 4, "padding": "same", "use_bias": false}), 1, 7),
            (json!({"kernel_size": 2, "padding": "same", "strides": 3}), 0, 3),
            (json!({"kernel_size": 3, "padding": "causal"}), 2, 7),
            (json!({"kernel_size": 3, "padding": "causal", "dilation_rate": 2, "activation": "tanh"}), 4, 7),
            (json!({"kernel_size": 2, "padding": "causal", "strides": 2}), 1, 4),
            (json!({"kernel_size": 2, "dilation_rate": 3}), 0, 4),
        ] {
            let mut keys = keys.clone();
            keys["filters"] = json!(FILTERS);
            let config: Conv1dConfig = serde_json::from_value(keys.clone()).unwrap();
            let by_loops = |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
                reference(weights, &inputs[0], &config, -before, positions)
            };
            check(layer("conv1d", keys), &[&[STEPS, CHANNELS]], &by_loops);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys, shape: &[usize]| refusal("conv1d", keys, &[shape]);
        assert_eq!(
            refused(json!({"filters": 2, "kernel_size": 3, "strides": 2, "dilation_rate": 2}), &[7, 2]),
            "dilation_rate is 2; it must be 1 where strides (2) are not"
        );
        assert_eq!(
            refused(json!({"filters": 2, "kernel_size": 3, "dilation_rate": 4}), &[7, 2]),
            "its window spans 9 steps, its input has 7; make it smaller or set padding = \"same\""
        );
        assert!(
            refused(json!({"filters": 2, "kernel_size": 3, "padding": "full"}), &[7, 2]).contains("causal")
        );
        assert!(refused(json!({"filters": 2, "kernel_size": 0}), &[7, 2]).starts_with("kernel_size is 0"));
    }
}
