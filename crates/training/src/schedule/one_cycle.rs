//! One cycle (Smith and Topin 2018, "Super-Convergence"), as PyTorch's `OneCycleLR` has it: along a cosine from
//! `base / div_factor` up to `base` over the first `pct_start` of the fit, then down to
//! `base / div_factor / final_div_factor` at its last step.

use std::f64::consts::PI;

use serde::{Deserialize, Serialize};

use super::key;
use crate::Error;
use crate::config::config;

/// Where the cycle starts, turns and ends; the defaults are PyTorch's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OneCycleConfig {
    /// The share of steps in which the rate rises.
    pub pct_start: f64,
    /// The highest rate, the optimizer's, over the first one.
    pub div_factor: f64,
    /// The first rate over the last one.
    pub final_div_factor: f64,
}

impl Default for OneCycleConfig {
    fn default() -> Self {
        Self { pct_start: 0.3, div_factor: 25.0, final_div_factor: 1e4 }
    }
}

impl OneCycleConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if !(0.0..=1.0).contains(&self.pct_start) {
            return Err(config(key("pct_start"), &self.pct_start, "it must be between 0 and 1"));
        }
        for (name, value) in [("div_factor", self.div_factor), ("final_div_factor", self.final_div_factor)] {
            if !(value.is_finite() && value >= 1.0) {
                return Err(config(key(name), &value, "it must be a finite number of at least 1"));
            }
        }
        Ok(())
    }

    pub(super) fn learning_rate(&self, base: f64, step: u64, steps: u64) -> f64 {
        let first = base / self.div_factor;
        let last_step = steps.saturating_sub(1) as f64;
        let turn = self.pct_start * steps as f64 - 1.0;
        let step = (step as f64).min(last_step);
        if step <= turn && turn > 0.0 {
            return along_cosine(first, base, step / turn);
        }
        let turn = turn.max(0.0);
        let fall = last_step - turn;
        let done = if fall > 0.0 { (step - turn) / fall } else { 1.0 };
        along_cosine(base, first / self.final_div_factor, done)
    }
}

fn along_cosine(from: f64, to: f64, done: f64) -> f64 {
    to + (from - to) / 2.0 * (1.0 + (PI * done).cos())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rates(config: OneCycleConfig, steps: u64) -> Vec<f64> {
        (0..steps).map(|step| config.learning_rate(1.0, step, steps)).collect()
    }

    #[test]
    fn a_cycle_rises_for_its_share_and_falls_for_the_rest() {
        let rates = rates(OneCycleConfig::default(), 100);
        assert!((rates[0] - 0.04).abs() < 1e-15 && (rates[29] - 1.0).abs() < 1e-15);
        assert!((rates[99] - 4e-6).abs() < 1e-15, "{}", rates[99]);
        assert!(rates[..30].windows(2).all(|pair| pair[0] < pair[1]));
        assert!(rates[29..].windows(2).all(|pair| pair[0] > pair[1]));
        // Half-way down, at step 64 of 29 to 99.
        assert!((rates[64] - (1.0 + 4e-6) / 2.0).abs() < 1e-15, "{}", rates[64]);
    }

    #[test]
    fn a_cycle_without_a_rise_only_falls() {
        let rates = rates(OneCycleConfig { pct_start: 0.0, ..OneCycleConfig::default() }, 5);
        assert_eq!(rates[0], 1.0);
        assert!(rates.windows(2).all(|pair| pair[0] > pair[1]));
        assert!((rates[4] - 4e-6).abs() < 1e-15);
    }
}
