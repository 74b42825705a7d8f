//! Keras's `ExponentialDecay`: `base decay_rate^(step / decay_steps)`, the exponent rounded down with `staircase`.

use serde::{Deserialize, Serialize};

use super::key;
use super::step::positive;
use crate::Error;
use crate::config::config;

/// How fast the rate goes down.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExponentialConfig {
    /// Over so many steps,
    pub decay_steps: u64,
    /// the rate is multiplied by this.
    pub decay_rate: f64,
    /// Whether at once rather than gradually.
    #[serde(default)]
    pub staircase: bool,
    /// Steps over which the rate rises linearly first.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Where it rises from, as a share of where it rises to.
    #[serde(default)]
    pub warmup_from: f64,
}

impl ExponentialConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.decay_steps == 0 {
            return Err(config(key("decay_steps"), &self.decay_steps, "it must be at least 1"));
        }
        positive("decay_rate", self.decay_rate)
    }

    pub(super) fn learning_rate(&self, base: f64, step: u64) -> f64 {
        let exponent = step as f64 / self.decay_steps as f64;
        base * self.decay_rate.powf(if self.staircase { exponent.floor() } else { exponent })
    }
}
