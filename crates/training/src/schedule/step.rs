//! Rates that stay for a while and then change at once.

use serde::{Deserialize, Serialize};

use super::key;
use crate::Error;
use crate::config::config;

/// `base factor^floor(step / every)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    /// After so many steps the rate changes.
    pub every: u64,
    /// It is multiplied by this; 0.1 by default.
    #[serde(default = "tenth")]
    pub factor: f64,
    /// Steps over which the rate rises linearly first.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Where it rises from, as a share of where it rises to.
    #[serde(default)]
    pub warmup_from: f64,
}

fn tenth() -> f64 {
    0.1
}

impl StepConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.every == 0 {
            return Err(config(key("every"), &self.every, "it must be at least 1"));
        }
        positive("factor", self.factor)
    }

    pub(super) fn learning_rate(&self, base: f64, step: u64) -> f64 {
        base * self.factor.powf((step / self.every) as f64)
    }
}

/// `values[i]` up to and with step `boundaries[i]`, the last value after that: Keras's `PiecewiseConstantDecay`. The
/// values are learning rates and stand for the optimizer's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PiecewiseConstantConfig {
    /// Steps, rising.
    pub boundaries: Vec<u64>,
    /// Rates, one more.
    pub values: Vec<f64>,
    /// Steps over which the rate rises linearly first.
    #[serde(default)]
    pub warmup_steps: u64,
    /// Where it rises from, as a share of where it rises to.
    #[serde(default)]
    pub warmup_from: f64,
}

impl PiecewiseConstantConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        let (boundaries, values) = (self.boundaries.len(), self.values.len());
        if values != boundaries + 1 {
            let way_out = format!("it must be one more than the {boundaries} boundaries");
            return Err(config("the number of fit.schedule.values", &values, way_out));
        }
        if let Some(at) = self.boundaries.windows(2).position(|pair| pair[0] >= pair[1]) {
            let key = key(&format!("boundaries[{}]", at + 1));
            return Err(config(key, &self.boundaries[at + 1], "it must be above the one before it"));
        }
        let mut values = self.values.iter().enumerate();
        values.try_for_each(|(at, &value)| positive(&format!("values[{at}]"), value))
    }

    pub(super) fn learning_rate(&self, step: u64) -> f64 {
        let passed = self.boundaries.iter().filter(|&&boundary| step > boundary).count();
        self.values[passed]
    }
}

pub(super) fn positive(name: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() && value > 0.0 {
        return Ok(());
    }
    Err(config(key(name), &value, "it must be a positive finite number"))
}
