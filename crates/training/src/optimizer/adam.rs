//! Adam as Keras computes it (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", the variant
//! before section 2.1 in which epsilon is added to the uncorrected root): with the gradient g at step t,
//!
//! ```text
//! m = m + (1 - beta_1) (g - m)
//! v = v + (1 - beta_2) (g^2 - v)
//! w = w - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)
//! ```
//!
//! The tensor library's own Adam adds epsilon to the corrected root, so its steps differ where gradients are
//! small.

use burn::optim::{AdaptiveMomentumState, LearningRate, Optimizer};
use burn::tensor::{Device, Tensor};
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::config::config;

/// Adam's parameters; the defaults are Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamConfig {
    /// How far a step goes.
    pub learning_rate: f64,
    /// How long the mean of gradients remembers.
    pub beta_1: f64,
    /// How long the mean of squared gradients remembers.
    pub beta_2: f64,
    /// Keeps the divisor from 0.
    pub epsilon: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-3, beta_1: 0.9, beta_2: 0.999, epsilon: 1e-7 }
    }
}

impl AdamConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        for (key, value) in [("learning_rate", self.learning_rate), ("epsilon", self.epsilon)] {
            if !(value.is_finite() && value > 0.0) {
                let key = format!("fit.optimizer.{key}");
                return Err(config(key, &value, "it must be a positive finite number"));
            }
        }
        for (key, value) in [("beta_1", self.beta_1), ("beta_2", self.beta_2)] {
            if !(0.0..1.0).contains(&value) {
                let key = format!("fit.optimizer.{key}");
                return Err(config(key, &value, "it must be at least 0 and below 1"));
            }
        }
        Ok(())
    }

    pub(super) fn build(self) -> Adam {
        Adam { beta_1: self.beta_1, beta_2: self.beta_2, epsilon: self.epsilon }
    }
}

/// The rule; its learning rate comes with every step.
#[derive(Clone)]
pub(super) struct Adam {
    beta_1: f64,
    beta_2: f64,
    epsilon: f64,
}

impl Optimizer for Adam {
    /// The library's, whose record format comes with it; the means in it are not corrected.
    type State<const D: usize> = AdaptiveMomentumState<D>;

    fn step<const D: usize>(
        &self,
        learning_rate: LearningRate,
        weights: Tensor<D>,
        gradient: Tensor<D>,
        state: Option<AdaptiveMomentumState<D>>,
    ) -> (Tensor<D>, Option<AdaptiveMomentumState<D>>) {
        let (gain_1, gain_2) = (1.0 - self.beta_1, 1.0 - self.beta_2);
        let fresh = gradient.clone().square() * gain_2;
        let (time, mean, square) = match state {
            None => (1, gradient * gain_1, fresh),
            Some(state) => (
                state.time + 1,
                state.moment_1 * self.beta_1 + gradient * gain_1,
                state.moment_2 * self.beta_2 + fresh,
            ),
        };
        let power = i32::try_from(time).unwrap_or(i32::MAX);
        let correction = (1.0 - self.beta_2.powi(power)).sqrt() / (1.0 - self.beta_1.powi(power));
        let update = mean.clone() * (learning_rate * correction) / (square.clone().sqrt() + self.epsilon);
        (weights - update, Some(AdaptiveMomentumState::new(time, mean, square)))
    }

    fn to_device<const D: usize>(
        state: AdaptiveMomentumState<D>,
        device: &Device,
    ) -> AdaptiveMomentumState<D> {
        state.to_device(device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The formula of the Keras documentation for one weight, in double precision.
    struct Reference {
        w: f64,
        m: f64,
        v: f64,
    }

    impl Reference {
        fn step(&mut self, config: &AdamConfig, t: i32, g: f64) {
            self.m += (g - self.m) * (1.0 - config.beta_1);
            self.v += (g * g - self.v) * (1.0 - config.beta_2);
            let alpha =
                config.learning_rate * (1.0 - config.beta_2.powi(t)).sqrt() / (1.0 - config.beta_1.powi(t));
            self.w -= self.m * alpha / (self.v.sqrt() + config.epsilon);
        }
    }

    /// Gradients of every size, among them those about as small as epsilon, where its place shows.
    #[test]
    fn steps_are_those_of_the_formula() {
        let config = AdamConfig { learning_rate: 0.01, ..AdamConfig::default() };
        let scales = [1.0f64, 1e-3, 1e-6, 3e-7, 1e-8, 0.0];
        let start = [0.5f64, -0.25, 0.125, 0.0, 1.0, 2.0];
        let device = Device::flex();
        let mut weights = Tensor::<1>::from_floats(start.map(|x| x as f32), &device);
        let mut state = None;
        let mut expected = start.map(|w| Reference { w, m: 0.0, v: 0.0 });
        for t in 1..=50 {
            let gradient = scales.map(|scale| (scale * (f64::from(t) * 0.7).sin()) as f32);
            let tensor = Tensor::<1>::from_floats(gradient, &device);
            (weights, state) = config.build().step(config.learning_rate, weights, tensor, state);
            for (reference, g) in expected.iter_mut().zip(gradient) {
                reference.step(&config, t, f64::from(g));
            }
            let got: Vec<f32> = weights.to_data().try_to_vec().unwrap();
            for (got, reference) in got.iter().zip(&expected) {
                assert!(
                    (f64::from(*got) - reference.w).abs() < 3e-6,
                    "step {t}: {got} is not {}",
                    reference.w
                );
            }
        }
        assert_eq!(expected[5].w, 2.0);
        assert!((expected[3].w - start[3]).abs() > 1e-3, "the small gradients must move their weight");
    }

    /// Steps of Keras itself; the script beside the file made it.
    #[test]
    fn steps_are_those_of_keras() {
        #[derive(Deserialize)]
        struct Golden {
            learning_rate: f64,
            start: Vec<f32>,
            gradients: Vec<Vec<f32>>,
            weights: Vec<Vec<f32>>,
        }
        let golden: Golden =
            serde_json::from_str(include_str!("../../tests/golden/adam_keras.json")).unwrap();
        let device = Device::flex();
        let mut weights = Tensor::<1>::from_floats(golden.start.as_slice(), &device);
        let mut state = None;
        for (step, (gradient, expected)) in golden.gradients.iter().zip(&golden.weights).enumerate() {
            let gradient = Tensor::from_floats(gradient.as_slice(), &device);
            (weights, state) =
                AdamConfig::default().build().step(golden.learning_rate, weights, gradient, state);
            let got = weights.to_data().try_to_vec::<f32>().unwrap();
            for (got, expected) in got.iter().zip(expected) {
                assert!((got - expected).abs() < 2e-6, "step {step}: {got} is not {expected}");
            }
        }
    }

    /// From w = 1 the first gradient 1e-7 moves it by lr sqrt(0.001) / 0.1 * 1e-8 / (sqrt(0.001) 1e-7 + 1e-7),
    /// far from the 0.05 of an epsilon beside the corrected root.
    #[test]
    fn epsilon_stands_beside_the_uncorrected_root() {
        let config = AdamConfig { learning_rate: 0.1, ..AdamConfig::default() };
        let device = Device::flex();
        let weights = Tensor::<1>::from_floats([1.0], &device);
        let gradient = Tensor::<1>::from_floats([1e-7], &device);
        let (weights, _) = config.build().step(config.learning_rate, weights, gradient, None);
        let moved = 1.0 - weights.to_data().try_to_vec::<f32>().unwrap()[0];
        let root = 0.001f64.sqrt();
        let expected = 0.1 * root / 0.1 * 1e-8 / (root * 1e-7 + 1e-7);
        assert!((f64::from(moved) - expected).abs() < 1e-6, "{moved} is not {expected}");
    }
}
