//! `gaussian_dropout`: while a network is fitted, every element is multiplied by a draw of the normal distribution with
//! mean 1 and standard deviation `sqrt(rate / (1 - rate))`, which has the mean and variance of what `dropout` multiplies
//! by (Srivastava et al. 2014, section 10), as Keras's `GaussianDropout`. A network that is asked leaves everything as it is.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::dropout::check_rate;
use super::gaussian_noise::normal;
use super::{Export, Layer, Pass, Shape, Value, only, single, value::map};
use crate::Error;

/// Elements multiplied by noise while fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianDropoutConfig {
    /// The share that `dropout` would leave out for as much noise.
    pub rate: f64,
}

impl GaussianDropoutConfig {
    fn noisy<const D: usize>(&self, x: Tensor<D>, pass: &Pass<'_>) -> Tensor<D> {
        if self.rate == 0.0 {
            return x;
        }
        match normal(&x, [1.0, (self.rate / (1.0 - self.rate)).sqrt()], pass) {
            Some(factors) => x * factors,
            None => x,
        }
    }
}

impl Layer for GaussianDropoutConfig {
    fn check(&self) -> Result<(), String> {
        check_rate("rate", self.rate)
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok((*single(inputs)?).clone())
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        map!(only(inputs), x => self.noisy(x, pass))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        _export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        Ok(inputs[0])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::layer::testing::{check, fitted, layer, moments, passed_on, refusal};

    #[test]
    fn factors_have_the_mean_and_variance_of_dropout() {
        let (rate, x) = (0.2, vec![-2.0f32; 200 * 500]);
        let noisy = layer("gaussian_dropout", json!({"rate": rate}));
        let drawn = fitted(noisy.as_ref(), &x, &[50, 10], [1, 0, 0]);
        let [mean, deviation, skewness, kurtosis] = moments(&drawn);
        // Of the factors 0.5, of what they multiply 1; five standard errors of 100,000 draws.
        assert!((mean + 2.0).abs() < 0.016, "{mean}");
        assert!((deviation - 1.0).abs() < 0.012, "{deviation}");
        assert!(skewness.abs() < 0.04 && (kurtosis - 3.0).abs() < 0.08, "{skewness} {kurtosis}");
        let plain = fitted(layer("dropout", json!({"rate": rate})).as_ref(), &x, &[50, 10], [1, 0, 0]);
        let [other_mean, other_deviation, ..] = moments(&plain);
        assert!((mean - other_mean).abs() < 0.03 && (deviation - other_deviation).abs() < 0.03);
        assert_ne!(drawn, fitted(noisy.as_ref(), &x, &[50, 10], [1, 1, 0]));
    }

    #[test]
    fn a_network_that_is_asked_passes_everything_on() {
        for shape in [&[7][..], &[4, 3]] {
            passed_on(layer("gaussian_dropout", json!({"rate": 0.5})), shape);
            check(layer("gaussian_dropout", json!({"rate": 0})), &[shape], &|_, inputs, _| inputs[0].clone());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = refusal("gaussian_dropout", json!({"rate": 1.0}), &[&[4]]);
        assert_eq!(refused, "rate is 1; it must be at least 0 and below 1");
    }
}
