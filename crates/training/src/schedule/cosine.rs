//! Keras's `CosineDecay` (Loshchilov and Hutter 2017, "SGDR", without restarts): over `decay_steps`,
//! `base ((1 - alpha) (1 + cos(pi step / decay_steps)) / 2 + alpha)`, and `alpha base` from then on.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::key;
use crate::Error;
use crate::config::config;

/// How far down the rate goes, and when it is there.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CosineConfig {
    /// Steps until the lowest rate, without those of the warm-up; all that are left of the fit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decay_steps: Option<u64>,
    /// The lowest rate as a share of the highest.
    pub alpha: f64,
    /// Steps over which the rate rises linearly first.
    pub warmup_steps: u64,
    /// Where it rises from, as a share of where it rises to.
    pub warmup_from: f64,
}

impl CosineConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.decay_steps == Some(0) {
            return Err(config(key("decay_steps"), &0, "it must be at least 1"));
        }
        if !(0.0..=1.0).contains(&self.alpha) {
            return Err(config(key("alpha"), &self.alpha, "it must be between 0 and 1"));
        }
        Ok(())
    }

    pub(super) fn learning_rate(&self, base: f64, step: u64, steps: u64) -> f64 {
        let decay_steps = self.decay_steps.unwrap_or(steps).max(1);
        let done = step.min(decay_steps) as f64 / decay_steps as f64;
        let cosine = 0.5 * (1.0 + (PI * done).cos());
        base * ((1.0 - self.alpha) * cosine + self.alpha)
    }
}
