//! `layer_normalization`: each row along its last axis with mean 0 and variance 1 (Ba, Kiros and Hinton 2016, "Layer
//! Normalization", equation 3), with Keras's biased variance.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::value::map;
use super::{Export, Initializer, Layer, ParameterSpec, Pass, Shape, Value, check_epsilon, only, single};
use crate::Error;

/// Each row normalized along its last axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LayerNormalizationConfig {
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether a learned `beta` is added.
    pub center: bool,
    /// Whether a learned `gamma` multiplies.
    pub scale: bool,
}

impl Default for LayerNormalizationConfig {
    fn default() -> Self {
        Self { epsilon: 1e-3, center: true, scale: true }
    }
}

impl LayerNormalizationConfig {
    /// Of PyTorch's epsilon, 1e-5.
    pub(crate) fn torch() -> Self {
        Self { epsilon: 1e-5, ..Self::default() }
    }

    fn gamma(&self) -> Option<usize> {
        self.scale.then_some(0)
    }

    fn beta(&self) -> Option<usize> {
        self.center.then_some(usize::from(self.scale))
    }
}

impl Layer for LayerNormalizationConfig {
    fn check(&self) -> Result<(), String> {
        check_epsilon(self.epsilon)
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok((*single(inputs)?).clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let shape = vec![inputs[0].last().copied().unwrap_or_default()];
        let gamma = ParameterSpec::new("gamma", shape.clone(), Initializer::Constant(1.0));
        let beta = ParameterSpec::new("beta", shape, Initializer::Constant(0.0));
        let chosen = [(self.scale, gamma), (self.center, beta)];
        chosen.into_iter().filter_map(|(has, parameter)| has.then_some(parameter)).collect()
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = only(inputs);
        let channels = match &x {
            Value::Rows(x) => x.dims()[1],
            Value::Sequence(x) => x.dims()[2],
        };
        let gamma = match self.gamma() {
            Some(at) => pass.one(at),
            None => Tensor::ones([channels], pass.device()),
        };
        let beta = self.beta().map(|at| pass.one(at));
        map!(x, x => burn::tensor::module::layer_norm(x, gamma, beta, self.epsilon))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        use artifact::graph::Axes;
        let x = inputs[0];
        let last = export.graph.shape(x).map_or(1, |shape| shape.len() - 1);
        let name = export.name("mean");
        let mean = export.graph.reduce_mean(&name, x, &[last], Axes::Kept)?;
        let name = export.name("centered");
        let centered = export.graph.sub(&name, x, mean)?;
        let name = export.name("Square");
        let square = export.graph.square(&name, centered)?;
        let name = export.name("variance");
        let variance = export.graph.reduce_mean(&name, square, &[last], Axes::Kept)?;
        let name = export.name("epsilon");
        let epsilon = export.graph.scalar(&name, self.epsilon as f32)?;
        let name = export.name("Add");
        let variance = export.graph.add(&name, variance, epsilon)?;
        let name = export.name("Sqrt");
        let deviation = export.graph.sqrt(&name, variance)?;
        let name = export.name("Div");
        let mut result = export.graph.div(&name, centered, deviation)?;
        if let Some(at) = self.gamma() {
            let gamma = export.variable(at)?;
            let name = export.name("scaled");
            result = export.graph.mul(&name, result, gamma)?;
        }
        if let Some(at) = self.beta() {
            let beta = export.variable(at)?;
            let name = export.name("shifted");
            result = export.graph.add(&name, result, beta)?;
        }
        Ok(result)
    }

    fn scratch(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        // The centered input, its square, the normalized one and what gamma makes of it.
        4 * output.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check, layer, refusal};

    #[test]
    fn it_is_the_formula() {
        for (shape, scale, center) in [
            (vec![5], true, true),
            (vec![3, 4], true, true),
            (vec![4], false, true),
            (vec![2, 3], true, false),
        ] {
            let channels = *shape.last().unwrap();
            let keys = json!({"scale": scale, "center": center, "epsilon": 0.01});
            let reference = |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
                let mut weights = weights.iter();
                let gamma = if scale { weights.next().unwrap().clone() } else { vec![1.0; channels] };
                let beta = if center { weights.next().unwrap().clone() } else { vec![0.0; channels] };
                let mut result = Vec::new();
                for row in inputs[0].chunks(channels) {
                    let mean = row.iter().sum::<f64>() / channels as f64;
                    let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / channels as f64;
                    let one =
                        |(c, x): (usize, &f64)| (x - mean) / (variance + 0.01).sqrt() * gamma[c] + beta[c];
                    result.extend(row.iter().enumerate().map(one));
                }
                result
            };
            check(layer("layer_normalization", keys), &[&shape], &reference);
        }
    }

    #[test]
    fn an_epsilon_of_nothing_is_refused() {
        let reason = refusal("layer_normalization", json!({"epsilon": -1.0}), &[&[3]]);
        assert_eq!(reason, "epsilon is -1; it must be a finite number above 0");
    }
}
