//! Lion as Keras computes it (Chen et al. 2023, "Symbolic Discovery of Optimization Algorithms"): with the
//! gradient g,
//!
//! ```text
//! w = w - learning_rate sign(beta_1 m + (1 - beta_1) g)
//! m = beta_2 m + (1 - beta_2) g
//! ```

use serde::{Deserialize, Serialize};

use super::below_one;
use super::limits::{Limits, Prepare};
use super::state::Moment;
use super::update::{Update, apply};
use crate::Error;
use crate::config::config;

/// Lion's parameters; the defaults are Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LionConfig {
    /// How far a step goes, in every weight.
    pub learning_rate: f64,
    /// How much the mean of gradients counts beside the newest one.
    pub beta_1: f64,
    /// How long the mean of gradients remembers.
    pub beta_2: f64,
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

impl Default for LionConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.99,
            weight_decay: None,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

pub(super) const SLOTS: [&str; 1] = ["momentum"];

impl LionConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        // At 0 it would be the sign of the newest gradient alone, and is refused as in Keras.
        if !(self.beta_1 > 0.0 && self.beta_1 <= 1.0) {
            return Err(config("fit.optimizer.beta_1", &self.beta_1, "it must be above 0 and at most 1"));
        }
        below_one("beta_2", self.beta_2)
    }

    pub(super) fn limits(&self) -> Limits {
        let Self { weight_decay, clipnorm, clipvalue, global_clipnorm, .. } = *self;
        Limits { weight_decay, clipnorm, clipvalue, global_clipnorm }
    }
}

pub(super) fn step(
    config: &LionConfig,
    moment: Moment,
    prepare: Prepare,
    (weights, gradient, slots): (&mut [f32], &[f32], &mut [Vec<f32>]),
) {
    let lion = Lion {
        learning_rate: moment.learning_rate as f32,
        beta_1: config.beta_1 as f32,
        gain_1: (1.0 - config.beta_1) as f32,
        beta_2: config.beta_2 as f32,
        gain_2: (1.0 - config.beta_2) as f32,
        prepare,
    };
    apply(lion, weights, gradient, slots);
}

#[derive(Clone, Copy)]
struct Lion {
    learning_rate: f32,
    beta_1: f32,
    gain_1: f32,
    beta_2: f32,
    gain_2: f32,
    prepare: Prepare,
}

impl Update<1> for Lion {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [momenta]: [&mut [f32]; 1]) {
        for ((w, &g), m) in weights.iter_mut().zip(gradient).zip(momenta) {
            let g = self.prepare.gradient(g);
            let direction = *m * self.beta_1 + g * self.gain_1;
            *m = *m * self.beta_2 + g * self.gain_2;
            *w = self.prepare.weight(*w) - self.learning_rate * sign(direction);
        }
    }
}

/// 0 of 0 and NaN of NaN.
#[inline(always)]
fn sign(x: f32) -> f32 {
    let positive = if x > 0.0 { 1.0 } else { x };
    if x < 0.0 { -1.0 } else { positive }
}
