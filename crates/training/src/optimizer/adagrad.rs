//! Adagrad as Keras computes it (Duchi, Hazan and Singer 2011): with the gradient g,
//!
//! ```text
//! a = a + g^2                                     from initial_accumulator_value
//! w = w - learning_rate g / sqrt(a + epsilon)
//! ```

use serde::{Deserialize, Serialize};

use super::limits::{Limits, Prepare};
use super::state::Moment;
use super::update::{Update, apply};
use super::{not_negative, positive};
use crate::Error;

/// Adagrad's parameters; the defaults are Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdagradConfig {
    /// How far a step goes.
    pub learning_rate: f64,
    /// What the sum of squared gradients starts from.
    pub initial_accumulator_value: f64,
    /// Keeps the divisor from 0.
    pub epsilon: f64,
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

impl Default for AdagradConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            initial_accumulator_value: 0.1,
            epsilon: 1e-7,
            weight_decay: None,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

pub(super) const SLOTS: [&str; 1] = ["accumulator"];

impl AdagradConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        not_negative("initial_accumulator_value", self.initial_accumulator_value)?;
        positive("epsilon", self.epsilon)
    }

    pub(super) fn limits(&self) -> Limits {
        let Self { weight_decay, clipnorm, clipvalue, global_clipnorm, .. } = *self;
        Limits { weight_decay, clipnorm, clipvalue, global_clipnorm }
    }
}

pub(super) fn step(
    config: &AdagradConfig,
    moment: Moment,
    prepare: Prepare,
    (weights, gradient, slots): (&mut [f32], &[f32], &mut [Vec<f32>]),
) {
    let (learning_rate, epsilon) = (moment.learning_rate as f32, config.epsilon as f32);
    apply(Adagrad { learning_rate, epsilon, prepare }, weights, gradient, slots);
}

#[derive(Clone, Copy)]
struct Adagrad {
    learning_rate: f32,
    epsilon: f32,
    prepare: Prepare,
}

impl Update<1> for Adagrad {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [sums]: [&mut [f32]; 1]) {
        for ((w, &g), sum) in weights.iter_mut().zip(gradient).zip(sums) {
            let g = self.prepare.gradient(g);
            *sum += g * g;
            *w = self.prepare.weight(*w) - self.learning_rate * g / (*sum + self.epsilon).sqrt();
        }
    }
}
