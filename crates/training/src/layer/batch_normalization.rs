//! `batch_normalization`: each channel (last axis) with mean 0 and variance 1 over the batch and its steps (Ioffe and
//! Szegedy 2015, "Batch Normalization: Accelerating Deep Network Training by Reducing Internal Covariate Shift",
//! algorithm 1). A network that is asked normalizes by moving averages of what it saw while it was fitted. As in
//! Keras 3, the variance is the biased one (the sum of squares divided by their number) in both.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Export, Initializer, Layer, ParameterSpec, Pass, Shape, Value, check_epsilon, only, single};
use crate::Error;

/// Each channel normalized over the batch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BatchNormalizationConfig {
    /// What is left of a moving average after one more batch.
    pub momentum: f64,
    /// Added to the variance.
    pub epsilon: f64,
    /// Whether a learned `beta` is added.
    pub center: bool,
    /// Whether a learned `gamma` multiplies.
    pub scale: bool,
}

impl Default for BatchNormalizationConfig {
    fn default() -> Self {
        Self { momentum: 0.99, epsilon: 1e-3, center: true, scale: true }
    }
}

/// Where its parameters are: those that are learned come first.
struct Places {
    gamma: Option<usize>,
    beta: Option<usize>,
    mean: usize,
    variance: usize,
}

impl BatchNormalizationConfig {
    fn places(&self) -> Places {
        let (scale, center) = (usize::from(self.scale), usize::from(self.center));
        Places {
            gamma: self.scale.then_some(0),
            beta: self.center.then_some(scale),
            mean: scale + center,
            variance: scale + center + 1,
        }
    }

    /// Of `[places, channels]`.
    fn normalize(&self, x: Tensor<2>, pass: &mut Pass<'_>) -> Tensor<2> {
        let [_, channels] = x.dims();
        let Places { gamma, beta, mean, variance } = self.places();
        let device = pass.device().clone();
        let gamma = gamma.map_or_else(|| Tensor::ones([channels], &device), |at| pass.one(at));
        let beta = beta.map_or_else(|| Tensor::zeros([channels], &device), |at| pass.one(at));
        if !pass.is_fitting() {
            let factor = gamma / (pass.one(variance) + self.epsilon).sqrt();
            let shift = beta - pass.one(mean) * factor.clone();
            return x * factor.unsqueeze() + shift.unsqueeze();
        }
        let batch = burn::tensor::module::batch_norm_train(x, gamma, beta, self.epsilon);
        for (at, seen) in [(mean, batch.mean), (variance, batch.variance)] {
            let moved = pass.one(at) * self.momentum + seen * (1.0 - self.momentum);
            pass.update(at, moved);
        }
        batch.output
    }
}

impl Layer for BatchNormalizationConfig {
    fn check(&self) -> Result<(), String> {
        check_epsilon(self.epsilon)?;
        if (0.0..1.0).contains(&self.momentum) {
            return Ok(());
        }
        Err(format!("momentum is {}; it must be at least 0 and below 1", self.momentum))
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok((*single(inputs)?).clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let shape = vec![inputs[0].last().copied().unwrap_or_default()];
        let constant = Initializer::Constant;
        let mut parameters = Vec::with_capacity(4);
        if self.scale {
            parameters.push(ParameterSpec::new("gamma", shape.clone(), constant(1.0)));
        }
        if self.center {
            parameters.push(ParameterSpec::new("beta", shape.clone(), constant(0.0)));
        }
        parameters.push(ParameterSpec::fixed("moving_mean", shape.clone(), constant(0.0)));
        parameters.push(ParameterSpec::fixed("moving_variance", shape, constant(1.0)));
        parameters
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        match only(inputs) {
            Value::Rows(x) => Value::Rows(self.normalize(x, pass)),
            Value::Sequence(x) => {
                let shape @ [batch, steps, channels] = x.dims();
                Value::Sequence(self.normalize(x.reshape([batch * steps, channels]), pass).reshape(shape))
            }
        }
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let places = self.places();
        let (mean, variance) = (export.variable(places.mean)?, export.variable(places.variance)?);
        let name = export.name("epsilon");
        let epsilon = export.graph.scalar(&name, self.epsilon as f32)?;
        let name = export.name("variance");
        let variance = export.graph.add(&name, variance, epsilon)?;
        let name = export.name("Sqrt");
        let deviation = export.graph.sqrt(&name, variance)?;
        let gamma = match places.gamma {
            Some(at) => export.variable(at)?,
            None => {
                let name = export.name("one");
                export.graph.scalar(&name, 1.0)?
            }
        };
        let name = export.name("factor");
        let factor = export.graph.div(&name, gamma, deviation)?;
        let name = export.name("center");
        let mut shift = export.graph.mul(&name, mean, factor)?;
        shift = match places.beta {
            Some(at) => {
                let beta = export.variable(at)?;
                let name = export.name("shift");
                export.graph.sub(&name, beta, shift)?
            }
            None => {
                let name = export.name("shift");
                export.graph.neg(&name, shift)?
            }
        };
        let name = export.name("Mul");
        let scaled = export.graph.mul(&name, inputs[0], factor)?;
        let name = export.name("Add");
        Ok(export.graph.add(&name, scaled, shift)?)
    }

    fn scratch(&self, _inputs: &[&Shape], output: &Shape) -> usize {
        // The normalized input is computed anew on the way back, beside two gradients of its size.
        3 * output.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use serde_json::json;

    use super::super::testing::{ROWS, check, layer, refusal};
    use super::super::{Fitting, Leaf};
    use super::*;
    use crate::trained::elements;

    /// Mean and biased variance of a channel.
    fn moments(x: &[f64], channel: usize, channels: usize) -> (f64, f64) {
        let values: Vec<f64> = x.iter().copied().skip(channel).step_by(channels).collect();
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        (mean, values.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / values.len() as f64)
    }

    #[test]
    fn it_is_the_formula_of_the_batch_or_of_the_moving_averages() {
        for (shape, scale, center) in
            [(vec![4], true, true), (vec![5, 2], true, true), (vec![3], false, true), (vec![3], true, false)]
        {
            let channels = *shape.last().unwrap();
            let keys = json!({"scale": scale, "center": center, "epsilon": 0.01});
            let reference = |weights: &[Vec<f64>], inputs: &[Vec<f64>], fitting: bool| {
                let mut weights = weights.iter();
                let gamma = if scale { weights.next().unwrap().clone() } else { vec![1.0; channels] };
                let beta = if center { weights.next().unwrap().clone() } else { vec![0.0; channels] };
                let (mean, variance) = (weights.next().unwrap(), weights.next().unwrap());
                let one = |(at, x): (usize, &f64)| {
                    let c = at % channels;
                    let (mean, variance) =
                        if fitting { moments(&inputs[0], c, channels) } else { (mean[c], variance[c]) };
                    (x - mean) / (variance + 0.01).sqrt() * gamma[c] + beta[c]
                };
                inputs[0].iter().enumerate().map(one).collect()
            };
            check(layer("batch_normalization", keys), &[&shape], &reference);
        }
    }

    #[test]
    fn moving_averages_take_in_the_batch() {
        let config = BatchNormalizationConfig { momentum: 0.75, ..BatchNormalizationConfig::default() };
        let device = crate::device::open_for_tests().autodiff();
        let x = [1.0f32, -2.0, 4.0, 0.5, 2.5, 3.0];
        let leaf = |values: [f32; 2]| Leaf::new(&values, &[2], false, &device);
        let leaves = [leaf([1.0, 1.0]), leaf([0.0, 0.0]), leaf([0.5, -1.0]), leaf([2.0, 3.0])];
        let mut pass = Pass::new(&device, Some(Fitting { seed: 1, step: 0 }));
        pass.enter(4, 10, &leaves);
        let value = Value::Rows(Tensor::from_data(TensorData::new(x.to_vec(), [ROWS, 2]), &device));
        config.forward(vec![value], &mut pass);
        let doubles: Vec<f64> = x.iter().map(|x| f64::from(*x)).collect();
        let updates = pass.into_updates();
        let places: Vec<usize> = updates.iter().map(|(at, _)| *at).collect();
        assert_eq!(places, [12, 13]);
        let got: Vec<Vec<f32>> = updates.into_iter().map(|(_, values)| elements(values)).collect();
        for channel in 0..2 {
            let (mean, variance) = moments(&doubles, channel, 2);
            let expected =
                [0.75 * [0.5, -1.0][channel] + 0.25 * mean, 0.75 * [2.0, 3.0][channel] + 0.25 * variance];
            for (got, expected) in got.iter().zip(expected) {
                assert!((f64::from(got[channel]) - expected).abs() < 1e-6, "{got:?} {expected}");
            }
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys| refusal("batch_normalization", keys, &[&[3]]);
        assert_eq!(refused(json!({"epsilon": 0.0})), "epsilon is 0; it must be a finite number above 0");
        assert_eq!(refused(json!({"momentum": 1.0})), "momentum is 1; it must be at least 0 and below 1");
        assert!(refused(json!({"momentums": 0.9})).contains("unknown field `momentums`"));
        assert_eq!(refusal("batch_normalization", json!({}), &[&[3], &[3]]), "it takes one input, got 2");
    }
}
