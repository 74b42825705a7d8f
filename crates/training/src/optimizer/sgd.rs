//! Gradient descent as Keras computes it: with the gradient g,
//!
//! ```text
//! w = w - learning_rate g                       without momentum
//! m = momentum m - learning_rate g
//! w = w + m                                     with momentum
//! w = w + momentum m - learning_rate g          with Nesterov's (Sutskever et al. 2013)
//! ```

use serde::{Deserialize, Serialize};

use super::limits::{Limits, Prepare};
use super::state::Moment;
use super::update::{Update, apply};
use crate::Error;
use crate::config::config;

/// Gradient descent's parameters; the defaults are Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SgdConfig {
    /// How far a step goes.
    pub learning_rate: f64,
    /// How much of the last step is made again.
    pub momentum: f64,
    /// Whether the gradient counts as if it were of the place where the momentum leads.
    pub nesterov: bool,
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

impl Default for SgdConfig {
    fn default() -> Self {
        Self {
            learning_rate: 0.01,
            momentum: 0.0,
            nesterov: false,
            weight_decay: None,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

impl SgdConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.momentum) {
            return Err(config("fit.optimizer.momentum", &self.momentum, "it must be between 0 and 1"));
        }
        if self.nesterov && self.momentum == 0.0 {
            let way_out = "it needs a fit.optimizer.momentum above 0";
            return Err(config("fit.optimizer.nesterov", &self.nesterov, way_out));
        }
        Ok(())
    }

    pub(super) fn limits(&self) -> Limits {
        let Self { weight_decay, clipnorm, clipvalue, global_clipnorm, .. } = *self;
        Limits { weight_decay, clipnorm, clipvalue, global_clipnorm }
    }

    pub(super) fn slots(&self) -> Vec<&'static str> {
        if self.momentum > 0.0 { vec!["momentum"] } else { vec![] }
    }
}

pub(super) fn step(
    config: &SgdConfig,
    moment: Moment,
    prepare: Prepare,
    (weights, gradient, slots): (&mut [f32], &[f32], &mut [Vec<f32>]),
) {
    let (learning_rate, momentum) = (moment.learning_rate as f32, config.momentum as f32);
    if config.momentum == 0.0 {
        apply(Plain { learning_rate, prepare }, weights, gradient, slots);
    } else if config.nesterov {
        apply(Nesterov { learning_rate, momentum, prepare }, weights, gradient, slots);
    } else {
        apply(Heavy { learning_rate, momentum, prepare }, weights, gradient, slots);
    }
}

#[derive(Clone, Copy)]
struct Plain {
    learning_rate: f32,
    prepare: Prepare,
}

impl Update<0> for Plain {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], []: [&mut [f32]; 0]) {
        for (w, &g) in weights.iter_mut().zip(gradient) {
            *w = self.prepare.weight(*w) - self.prepare.gradient(g) * self.learning_rate;
        }
    }
}

#[derive(Clone, Copy)]
struct Heavy {
    learning_rate: f32,
    momentum: f32,
    prepare: Prepare,
}

impl Update<1> for Heavy {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [momenta]: [&mut [f32]; 1]) {
        for ((w, &g), m) in weights.iter_mut().zip(gradient).zip(momenta) {
            *m = *m * self.momentum - self.prepare.gradient(g) * self.learning_rate;
            *w = self.prepare.weight(*w) + *m;
        }
    }
}

#[derive(Clone, Copy)]
struct Nesterov {
    learning_rate: f32,
    momentum: f32,
    prepare: Prepare,
}

impl Update<1> for Nesterov {
    #[inline(always)]
    fn update(self, weights: &mut [f32], gradient: &[f32], [momenta]: [&mut [f32]; 1]) {
        for ((w, &g), m) in weights.iter_mut().zip(gradient).zip(momenta) {
            let move_by = self.prepare.gradient(g) * self.learning_rate;
            *m = *m * self.momentum - move_by;
            *w = self.prepare.weight(*w) + (*m * self.momentum - move_by);
        }
    }
}
