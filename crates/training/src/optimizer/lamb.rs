//! LAMB as Keras computes it (You et al. 2020, "Large Batch Optimization for Deep Learning"): with the gradient g
//! at step t,
//!
//! ```text
//! m = m + (1 - beta_1) (g - m)
//! v = v + (1 - beta_2) (g^2 - v)
//! u = m / (1 - beta_1^t) / (sqrt(v / (1 - beta_2^t)) + epsilon)
//! w = w - learning_rate |w| / |u| u               |w| / |u| is 1 where either norm is 0
//! ```
//!
//! The norms are of the whole tensor, so that it takes a second pass.

use serde::{Deserialize, Serialize};

use super::limits::{Limits, Prepare, sum_of_squares};
use super::state::Moment;
use super::update::{Update, apply};
use super::{below_one, positive};
use crate::Error;

/// LAMB's parameters; the defaults are Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LambConfig {
    /// How far a step goes.
    pub learning_rate: f64,
    /// How long the mean of gradients remembers.
    pub beta_1: f64,
    /// How long the mean of squared gradients remembers.
    pub beta_2: f64,
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

impl Default for LambConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            weight_decay: None,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

pub(super) const SLOTS: [&str; 2] = ["momentum", "velocity"];

impl LambConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        below_one("beta_1", self.beta_1)?;
        below_one("beta_2", self.beta_2)?;
        positive("epsilon", self.epsilon)
    }

    pub(super) fn limits(&self) -> Limits {
        let Self { weight_decay, clipnorm, clipvalue, global_clipnorm, .. } = *self;
        Limits { weight_decay, clipnorm, clipvalue, global_clipnorm }
    }
}

/// `scratch` is room for the tensor's update.
pub(super) fn step(
    config: &LambConfig,
    moment: Moment,
    prepare: Prepare,
    (weights, gradient, slots): (&mut [f32], &[f32], &mut [Vec<f32>]),
    scratch: &mut Vec<f32>,
) {
    scratch.clear();
    scratch.extend_from_slice(gradient);
    let direction = Direction {
        correction_1: moment.correction(config.beta_1) as f32,
        correction_2: moment.correction(config.beta_2) as f32,
        gain_1: (1.0 - config.beta_1) as f32,
        gain_2: (1.0 - config.beta_2) as f32,
        epsilon: config.epsilon as f32,
        prepare,
    };
    apply(direction, scratch, gradient, slots);
    if prepare.decay != 0.0 {
        apply(Decay(prepare), weights, gradient, &mut []);
    }
    let (of_weights, of_update) = (sum_of_squares(weights).sqrt(), sum_of_squares(scratch).sqrt());
    let ratio = if of_weights > 0.0 && of_update > 0.0 { of_weights / of_update } else { 1.0 };
    apply(Move((ratio * moment.learning_rate) as f32), weights, scratch, &mut []);
}

/// Writes the update where weights are expected.
#[derive(Clone, Copy)]
struct Direction {
    correction_1: f32,
    correction_2: f32,
    gain_1: f32,
    gain_2: f32,
    epsilon: f32,
    prepare: Prepare,
}

impl Update<2> for Direction {
    #[inline(always)]
    fn update(self, updates: &mut [f32], gradient: &[f32], [means, squares]: [&mut [f32]; 2]) {
        for (((u, &g), m), v) in updates.iter_mut().zip(gradient).zip(means).zip(squares) {
            let g = self.prepare.gradient(g);
            *m += (g - *m) * self.gain_1;
            *v += (g * g - *v) * self.gain_2;
            *u = *m / self.correction_1 / ((*v / self.correction_2).sqrt() + self.epsilon);
        }
    }
}

#[derive(Clone, Copy)]
struct Decay(Prepare);

impl Update<0> for Decay {
    #[inline(always)]
    fn update(self, weights: &mut [f32], _: &[f32], []: [&mut [f32]; 0]) {
        for w in weights {
            *w = self.0.weight(*w);
        }
    }
}

#[derive(Clone, Copy)]
struct Move(f32);

impl Update<0> for Move {
    #[inline(always)]
    fn update(self, weights: &mut [f32], updates: &[f32], []: [&mut [f32]; 0]) {
        for (w, u) in weights.iter_mut().zip(updates) {
            *w -= self.0 * u;
        }
    }
}
