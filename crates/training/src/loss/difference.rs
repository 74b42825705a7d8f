//! Losses of the difference between each output and its target: squared, absolute, and Huber's, the mean over the
//! outputs of a row.

use serde::{Deserialize, Serialize};

use super::LossValue;
use crate::Error;
use crate::batch::Batch;
use crate::config::config;

/// Huber's parameter; the default is Keras's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HuberConfig {
    /// Up to this error the loss is `error^2 / 2`, beyond it is `delta |error| - delta^2 / 2`.
    pub delta: f64,
}

impl Default for HuberConfig {
    fn default() -> Self {
        Self { delta: 1.0 }
    }
}

impl HuberConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.delta.is_finite() && self.delta > 0.0 {
            return Ok(());
        }
        Err(config("fit.loss.delta", &self.delta, "it must be a positive finite number"))
    }
}

pub(super) fn squared(batch: &Batch<'_>, gradient: Option<&mut [f32]>) -> LossValue {
    of_outputs(batch, gradient, |output, target| {
        let error = output - target;
        (error * error, 2.0 * error)
    })
}

pub(super) fn absolute(batch: &Batch<'_>, gradient: Option<&mut [f32]>) -> LossValue {
    of_outputs(batch, gradient, |output, target| {
        let error = output - target;
        (error.abs(), sign(error))
    })
}

pub(super) fn huber(
    HuberConfig { delta }: &HuberConfig,
    batch: &Batch<'_>,
    gradient: Option<&mut [f32]>,
) -> LossValue {
    of_outputs(batch, gradient, |output, target| {
        let error = output - target;
        if error.abs() <= *delta {
            (0.5 * error * error, error)
        } else {
            (delta * error.abs() - 0.5 * delta * delta, delta * sign(error))
        }
    })
}

/// 0 of 0 and NaN of NaN.
fn sign(x: f64) -> f64 {
    if x == 0.0 { 0.0 } else { x.signum() }
}

/// A loss of each output for itself, the mean over those of a row: `of` gives it and its derivative from output and
/// target.
pub(super) fn of_outputs(
    batch: &Batch<'_>,
    mut gradient: Option<&mut [f32]>,
    of: impl Fn(f64, f64) -> (f64, f64),
) -> LossValue {
    let (rows, units) = (batch.rows(), batch.units);
    let mut sum = 0.0;
    for (row, outputs) in batch.outputs.chunks_exact(units).enumerate() {
        let weight = batch.weight(row) / units as f64;
        let mut of_row = 0.0;
        for (unit, &output) in outputs.iter().enumerate() {
            let (loss, slope) = of(f64::from(output), batch.target(row, unit));
            of_row += loss;
            if let Some(gradient) = gradient.as_deref_mut() {
                gradient[row * units + unit] = (slope * weight / rows as f64) as f32;
            }
        }
        sum += weight * of_row;
    }
    LossValue { sum, count: rows as f64 }
}
