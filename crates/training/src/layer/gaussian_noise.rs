//! `gaussian_noise`: while a network is fitted, a draw of the normal distribution with mean 0 and standard deviation
//! `stddev` is added to every element, as Keras's `GaussianNoise`. A network that is asked leaves everything as it is.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Export, Layer, Pass, Shape, Value, only, single, value::map};
use crate::Error;

/// Noise added at random while fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GaussianNoiseConfig {
    /// The standard deviation of the noise.
    pub stddev: f64,
}

/// A normal draw of this mean and standard deviation for each element of `x`; none if the network is only asked.
///
/// They are drawn one after the other by the seed, the step and the layer, whatever the number of threads.
pub(super) fn normal<const D: usize>(
    x: &Tensor<D>,
    [mean, stddev]: [f64; 2],
    pass: &Pass<'_>,
) -> Option<Tensor<D>> {
    let mut generator = pass.generator()?;
    let shape = x.dims();
    let count = shape.iter().product();
    let draws: Vec<f32> = (0..count).map(|_| (mean + stddev * generator.normal()) as f32).collect();
    Some(Tensor::from_data(TensorData::new(draws, shape), pass.device()))
}

impl GaussianNoiseConfig {
    fn noisy<const D: usize>(&self, x: Tensor<D>, pass: &Pass<'_>) -> Tensor<D> {
        if self.stddev == 0.0 {
            return x;
        }
        match normal(&x, [0.0, self.stddev], pass) {
            Some(noise) => x + noise,
            None => x,
        }
    }
}

impl Layer for GaussianNoiseConfig {
    fn check(&self) -> Result<(), String> {
        if self.stddev.is_finite() && self.stddev >= 0.0 {
            return Ok(());
        }
        Err(format!("stddev is {}; it must be a finite number of at least 0", self.stddev))
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

    use super::*;
    use crate::layer::testing::{check, fitted, layer, moments, passed_on, refusal};

    #[test]
    fn noise_has_the_deviation_that_is_asked_for_and_another_one_every_time() {
        let noisy = layer("gaussian_noise", json!({"stddev": 0.25}));
        let x = vec![3.0f32; 200 * 500];
        let drawn = fitted(noisy.as_ref(), &x, &[500], [1, 0, 0]);
        let [mean, deviation, skewness, kurtosis] = moments(&drawn);
        // Five standard errors of 100,000 draws.
        assert!((mean - 3.0).abs() < 0.25 * 0.016, "{mean}");
        assert!((deviation - 0.25).abs() < 0.25 * 0.012, "{deviation}");
        assert!(skewness.abs() < 0.04 && (kurtosis - 3.0).abs() < 0.08, "{skewness} {kurtosis}");
        assert_eq!(drawn, fitted(noisy.as_ref(), &x, &[500], [1, 0, 0]), "the seed decides");
        for other in [[2, 0, 0], [1, 1, 0], [1, 0, 1]] {
            let other = fitted(noisy.as_ref(), &x, &[500], other);
            let same = drawn.iter().zip(&other).filter(|(a, b)| a == b).count();
            assert!(same < 50, "{same} of 100000 draws are the same");
        }
        // Steps have noise of their own.
        let steps = fitted(noisy.as_ref(), &x, &[50, 10], [1, 0, 0]);
        assert_eq!(steps, drawn, "a sequence is its elements in order");
    }

    #[test]
    fn a_network_that_is_asked_passes_everything_on() {
        for shape in [&[7][..], &[4, 3]] {
            passed_on(layer("gaussian_noise", json!({"stddev": 0.5})), shape);
            check(layer("gaussian_noise", json!({"stddev": 0})), &[shape], &|_, inputs, _| inputs[0].clone());
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = refusal("gaussian_noise", json!({"stddev": -0.1}), &[&[4]]);
        assert_eq!(refused, "stddev is -0.1; it must be a finite number of at least 0");
        assert!(GaussianNoiseConfig { stddev: f64::INFINITY }.check().is_err());
        assert!(GaussianNoiseConfig { stddev: f64::NAN }.check().is_err());
        assert!(refusal("gaussian_noise", json!({}), &[&[4]]).contains("missing field `stddev`"));
        assert!(refusal("gaussian_noise", json!({"stddev": 1}), &[&[4], &[4]]).contains("one input, got 2"));
    }
}
