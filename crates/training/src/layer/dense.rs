//! `dense`: every output sees every input, `activation(x @ kernel + bias)` along the last axis.

use serde::{Deserialize, Serialize};

use super::value::map;
use super::{Export, Initializer, Layer, ParameterSpec, Pass, Regularizer, Shape, UNITS_MAX, Value, count, only, single};
use crate::Error;
use crate::activation::Activation;

/// A layer in which every output sees every input.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseConfig {
    /// How many outputs it has.
    pub units: usize,
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

fn yes() -> bool {
    true
}

impl DenseConfig {
    /// With a bias and no regularizer.
    pub fn new(units: usize, activation: Activation) -> Self {
        Self { units, activation, use_bias: true, kernel_regularizer: Regularizer::default() }
    }
}

impl Layer for DenseConfig {
    fn check(&self) -> Result<(), String> {
        count("units", self.units, UNITS_MAX)?;
        self.activation.check()?;
        self.kernel_regularizer.check()
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let mut shape = (*single(inputs)?).clone();
        if let Some(last) = shape.last_mut() {
            *last = self.units;
        }
        Ok(shape)
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let fan_in = inputs[0].last().copied().unwrap_or_default();
        let glorot = Initializer::GlorotUniform { fan_in, fan_out: self.units };
        let mut kernel = ParameterSpec::new("kernel", vec![fan_in, self.units], glorot);
        kernel.regularizer = self.kernel_regularizer;
        let bias = ParameterSpec::new("bias", vec![self.units], Initializer::Constant(0.0));
        if self.use_bias { vec![kernel, bias] } else { vec![kernel] }
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let kernel = pass.two(0);
        let bias = self.use_bias.then(|| pass.one(1));
        let sums = map!(only(inputs), x => burn::tensor::module::linear(x, kernel, bias));
        self.activation.forward(sums)
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let kernel = export.variable(0)?;
        let name = export.name("MatMul");
        let mut sums = export.graph.matmul(&name, inputs[0], kernel)?;
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

    fn scratch(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        // The sums before the activation are kept beside its result.
        2 * output.iter().product::<usize>()
    }
}
