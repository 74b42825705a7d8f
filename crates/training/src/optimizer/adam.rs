//! Adam as Keras computes it (Kingma and Ba 2015, "Adam: A Method for Stochastic Optimization", the variant
//! before section 2.1 in which epsilon is added to the uncorrected root): with the gradient g at step t,
//!
//! ```text
//! m = m + (1 - beta_1) (g - m)
//! v = v + (1 - beta_2) (g^2 - v)
//! w = w - learning_rate sqrt(1 - beta_2^t) / (1 - beta_1^t) * m / (sqrt(v) + epsilon)
//! ```
//!
//! With `amsgrad` the largest v so far stands for v in the last line (Reddi et al. 2018).

use serde::{Deserialize, Serialize};

use super::limits::{Limits, Prepare};
use super::state::Moment;
use super::update::{Update, apply};
use super::{below_one, positive};
use crate::Error;

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
    /// Whether steps are divided by the root of the largest mean of squares so far.
    pub amsgrad: bool,
    /// What share of a weight, times the learning rate, is taken from it before each step.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight_decay: Option<f64>,
    /// The largest norm of a tensor's gradient.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipnorm: Option<f64>,
    /// The largest size of a gradient's element.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clipvalue: Option<f64>,
    /// The largest norm of all gradients together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub global_clipnorm: Option<f64>,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            amsgrad: false,
            weight_decay: None,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

impl AdamConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        below_one("beta_1", self.beta_1)?;
        below_one("beta_2", self.beta_2)?;
        positive("epsilon", self.epsilon)
    }

    pub(super) fn limits(&self) -> Limits {
        let Self { weight_decay, clipnorm, clipvalue, global_clipnorm, .. } = *self;
        Limits { weight_decay, clipnorm, clipvalue, global_clipnorm }
    }

    pub(super) fn slots(&self) -> Vec<&'static str> {
        if self.amsgrad { vec!["momentum", "velocity", "velocity_hat"] } else { vec!["momentum", "velocity"] }
    }
}

pub(super) fn step(
    config: &AdamConfig,
    moment: Moment,
    prepare: Prepare,
    (weights, gradient, slots): (&mut [f32], &[f32], &mut [Vec<f32>]),
) {
    let correction = moment.correction(config.beta_2).sqrt() / moment.correction(config.beta_1);
    let adam = Adam {
        rate: (moment.learning_rate * correction) as f32,
        gain_1: (1.0 - config.beta_1) as f32,
        gain_2: (1.0 - config.beta_2) as f32,
        epsilon: config.epsilon as f32,
        prepare,
    };
    if config.amsgrad {
        apply(Amsgrad(adam), weights, gradient, slots);
    } else {
        apply(adam, weights, gradient, slots);
    }
}

#[derive(Clone, Copy)]
struct Adam {
    rate: f32,
    gain_1: f32,
    gain_2: f32,
    epsilon: f32,
    prepare: Prepare,
}

impl Update<2> for Adam {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [means, squares]: [&mut [f32]; 2]) {
        for (((w, &g), m), v) in weights.iter_mut().zip(gradient).zip(means).zip(squares) {
            let g = self.prepare.gradient(g);
            *m += (g - *m) * self.gain_1;
            *v += (g * g - *v) * self.gain_2;
            *w = self.prepare.weight(*w) - *m * self.rate / (v.sqrt() + self.epsilon);
        }
    }
}

#[derive(Clone, Copy)]
struct Amsgrad(Adam);

impl Update<3> for Amsgrad {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [means, squares, peaks]: [&mut [f32]; 3]) {
        let Self(adam) = self;
        let rows = weights.iter_mut().zip(gradient).zip(means).zip(squares).zip(peaks);
        for ((((w, &g), m), v), peak) in rows {
            let g = adam.prepare.gradient(g);
            *m += (g - *m) * adam.gain_1;
            *v += (g * g - *v) * adam.gain_2;
            *peak = if *peak >= *v { *peak } else { *v };
            *w = adam.prepare.weight(*w) - *m * adam.rate / (peak.sqrt() + adam.epsilon);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::OptimizerConfig;

    /// From w = 1 the first gradient 1e-7 moves it by lr sqrt(0.001) / 0.1 * 1e-8 / (sqrt(0.001) 1e-7 + 1e-7),
    /// far from the 0.05 of an epsilon beside the corrected root.
    #[test]
    fn epsilon_stands_beside_the_uncorrected_root() {
        let config = OptimizerConfig::Adam(AdamConfig { learning_rate: 0.1, ..AdamConfig::default() });
        let mut weights = [1.0f32];
        config.build(&[1]).step(0.1, &mut [&mut weights], &[vec![1e-7]]);
        let root = 0.001f64.sqrt();
        let expected = 0.1 * root / 0.1 * 1e-8 / (root * 1e-7 + 1e-7);
        let moved = 1.0 - f64::from(weights[0]);
        assert!((moved - expected).abs() < 1e-6, "{moved} is not {expected}");
    }

    /// The formula in double precision, gradients of every size among them: 50 steps.
    #[test]
    fn steps_are_those_of_the_formula() {
        let config = AdamConfig { learning_rate: 0.01, ..AdamConfig::default() };
        let scales = [1.0f64, 1e-3, 1e-6, 3e-7, 1e-8, 0.0];
        let start = [0.5f64, -0.25, 0.125, 0.0, 1.0, 2.0];
        let mut weights = start.map(|x| x as f32);
        let mut optimizer = OptimizerConfig::Adam(config).build(&[6]);
        let mut expected = start.map(|w| (w, 0.0, 0.0));
        for t in 1..=50 {
            let gradient = scales.map(|scale| (scale * (f64::from(t) * 0.7).sin()) as f32);
            optimizer.step(config.learning_rate, &mut [&mut weights], &[gradient.to_vec()]);
            for ((w, m, v), g) in expected.iter_mut().zip(gradient) {
                let g = f64::from(g);
                *m += (g - *m) * (1.0 - config.beta_1);
                *v += (g * g - *v) * (1.0 - config.beta_2);
                let corrected = (1.0 - config.beta_2.powi(t)).sqrt() / (1.0 - config.beta_1.powi(t));
                *w -= *m * config.learning_rate * corrected / (v.sqrt() + config.epsilon);
            }
            for (got, (w, _, _)) in weights.iter().zip(&expected) {
                assert!((f64::from(*got) - w).abs() < 3e-6, "step {t}: {got} is not {w}");
            }
        }
        assert_eq!(expected[5].0, 2.0);
        assert!((expected[3].0 - start[3]).abs() > 1e-3, "the small gradients must move their weight");
    }
}
