//! `attention_pooling`: the steps of a sequence as one row, weighted by a small network that looks at each of them:
//! `sum over t of a_t h_t` with `a = softmax over t of (tanh(h_t @ kernel + bias) @ context)` (Yang et al. 2016,
//! "Hierarchical Attention Networks for Document Classification", equations 5 to 7).

use burn::tensor::activation;
use burn::tensor::module::linear;
use serde::{Deserialize, Serialize};

use super::dropout::{check_rate, masked};
use super::{
    Export, Initializer, Layer, ParameterSpec, Pass, Shape, UNITS_MAX, Value, count, only, sequence,
};
use crate::Error;

/// Steps as one row, weighted by what they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AttentionPoolingConfig {
    /// How many numbers a step is looked at through.
    pub units: usize,
    /// The share of these numbers that is left out while fitting, before the `tanh`.
    #[serde(default)]
    pub dropout: f64,
}

impl Layer for AttentionPoolingConfig {
    fn check(&self) -> Result<(), String> {
        count("units", self.units, UNITS_MAX)?;
        check_rate("dropout", self.dropout)
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let [_, channels] = sequence(inputs)?;
        Ok(vec![channels])
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let channels = inputs[0].last().copied().unwrap_or_default();
        let glorot = |fan_in, fan_out| Initializer::GlorotUniform { fan_in, fan_out };
        vec![
            ParameterSpec::new("kernel", vec![channels, self.units], glorot(channels, self.units)),
            ParameterSpec::new("bias", vec![self.units], Initializer::Constant(0.0)),
            ParameterSpec::new("context", vec![self.units, 1], glorot(self.units, 1)),
        ]
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = only(inputs).sequence();
        let seen = masked(linear(x.clone(), pass.two(0), Some(pass.one(1))), self.dropout, pass);
        let scores = linear(activation::tanh(seen), pass.two(2), None).swap_dims(1, 2);
        let shares = activation::softmax(scores, 2);
        Value::Rows(shares.matmul(x).squeeze_dim(1))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let x = inputs[0];
        let [_, channels] = export.sequence(x);
        let (kernel, bias, context) = (export.variable(0)?, export.variable(1)?, export.variable(2)?);
        let name = export.name("MatMul");
        let seen = export.graph.matmul(&name, x, kernel)?;
        let name = export.name("BiasAdd");
        let seen = export.graph.add(&name, seen, bias)?;
        let name = export.name("Tanh");
        let seen = export.graph.tanh(&name, seen)?;
        let name = export.name("scores/MatMul");
        let scores = export.graph.matmul(&name, seen, context)?;
        let name = export.name("scores/Transpose");
        let scores = export.graph.transpose(&name, scores, &[0, 2, 1])?;
        let name = export.name("scores/Softmax");
        let shares = export.graph.softmax(&name, scores)?;
        let name = export.name("pooled/MatMul");
        let pooled = export.graph.matmul(&name, shares, x)?;
        let name = export.name("pooled/Reshape");
        Ok(export.graph.reshape(&name, pooled, &[channels])?)
    }

    fn scratch(&self, inputs: &[&Shape], output: &Shape) -> usize {
        let steps = inputs[0].first().copied().unwrap_or_default();
        steps * (3 * self.units + 3) + output.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ROWS, check, layer, product, refusal, row};

    #[test]
    fn it_is_the_weighted_sum_of_the_steps() {
        let reference = |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
            let mut result = Vec::new();
            for at in 0..ROWS {
                let x = row(&inputs[0], at, 4 * 3);
                let seen = product(x, &weights[0], 3, 2);
                let seen: Vec<f64> =
                    seen.iter().enumerate().map(|(i, s)| (s + weights[1][i % 2]).tanh()).collect();
                let shares: Vec<f64> = product(&seen, &weights[2], 2, 1).iter().map(|s| s.exp()).collect();
                let total: f64 = shares.iter().sum();
                result.extend((0..3).map(|c| (0..4).map(|t| shares[t] / total * x[t * 3 + c]).sum::<f64>()));
            }
            result
        };
        check(layer("attention_pooling", json!({"units": 2})), &[&[4, 3]], &reference);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys| refusal("attention_pooling", keys, &[&[4, 3]]);
        assert_eq!(refused(json!({"units": 0})), "units is 0; it must be between 1 and 65536");
        assert_eq!(
            refused(json!({"units": 2, "dropout": 1.0})),
            "dropout is 1; it must be at least 0 and below 1"
        );
    }
}
