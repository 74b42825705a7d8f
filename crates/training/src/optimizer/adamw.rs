//! AdamW as Keras computes it (Loshchilov and Hutter 2019, "Decoupled Weight Decay Regularization"): Adam, and
//! before each step every weight loses the share `weight_decay` times the learning rate.

use serde::{Deserialize, Serialize};

use super::AdamConfig;
use super::limits::Limits;
use crate::Error;

/// AdamW's parameters; the defaults are Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AdamwConfig {
    /// How far a step goes.
    pub learning_rate: f64,
    /// What share of a weight, times the learning rate, is taken from it before each step.
    pub weight_decay: f64,
    /// How long the mean of gradients remembers.
    pub beta_1: f64,
    /// How long the mean of squared gradients remembers.
    pub beta_2: f64,
    /// Keeps the divisor from 0.
    pub epsilon: f64,
    /// Whether steps are divided by the root of the largest mean of squares so far.
    pub amsgrad: bool,
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

impl Default for AdamwConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-3,
            weight_decay: 0.004,
            beta_1: 0.9,
            beta_2: 0.999,
            epsilon: 1e-7,
            amsgrad: false,
            clipnorm: None,
            clipvalue: None,
            global_clipnorm: None,
        }
    }
}

impl AdamwConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        self.as_adam().check()
    }

    pub(super) fn limits(&self) -> Limits {
        self.as_adam().limits()
    }

    /// Adam with the same decay.
    pub(super) fn as_adam(&self) -> AdamConfig {
        AdamConfig {
            learning_rate: self.learning_rate,
            beta_1: self.beta_1,
            beta_2: self.beta_2,
            epsilon: self.epsilon,
            amsgrad: self.amsgrad,
            weight_decay: Some(self.weight_decay),
            clipnorm: self.clipnorm,
            clipvalue: self.clipvalue,
            global_clipnorm: self.global_clipnorm,
        }
    }
}
