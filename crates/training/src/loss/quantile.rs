//! The quantile or pinball loss (Koenker and Bassett 1978): with the error e = target - output of the output for
//! quantile q, `max(q e, (q - 1) e)`, the mean over the quantiles.

use serde::{Deserialize, Serialize};

use super::LossValue;
use crate::Error;
use crate::batch::Batch;
use crate::config::config;

/// Quantiles for a last layer of one unit to give.
const QUANTILES_MAX: usize = 1024;

/// Which quantiles of the target the outputs are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct QuantileConfig {
    /// Between 0 and 1, one for each unit of the last layer; the median by default.
    pub quantiles: Vec<f64>,
}

impl Default for QuantileConfig {
    fn default() -> Self {
        Self { quantiles: vec![0.5] }
    }
}

impl QuantileConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        let count = self.quantiles.len();
        if !(1..=QUANTILES_MAX).contains(&count) {
            let way_out = format!("it must be between 1 and {QUANTILES_MAX}");
            return Err(config("the number of fit.loss.quantiles", &count, way_out));
        }
        match self.quantiles.iter().position(|&q| !(q > 0.0 && q < 1.0)) {
            Some(at) => {
                let key = format!("fit.loss.quantiles[{at}]");
                Err(config(key, &self.quantiles[at], "it must be above 0 and below 1"))
            }
            None => Ok(()),
        }
    }
}

pub(super) fn evaluate(
    config: &QuantileConfig,
    batch: &Batch<'_>,
    mut gradient: Option<&mut [f32]>,
) -> LossValue {
    let (rows, units) = (batch.rows(), batch.units);
    let mut sum = 0.0;
    for (row, outputs) in batch.outputs.chunks_exact(units).enumerate() {
        let weight = batch.weight(row) / units as f64;
        let target = batch.realised(row);
        let mut of_row = 0.0;
        for (unit, (&output, &q)) in outputs.iter().zip(&config.quantiles).enumerate() {
            let error = target - f64::from(output);
            // Not a number stays so; an output that is right has no slope.
            let slope = if error == 0.0 || error.is_nan() {
                error
            } else if error > 0.0 {
                q
            } else {
                q - 1.0
            };
            of_row += slope * error;
            if let Some(gradient) = gradient.as_deref_mut() {
                gradient[row * units + unit] = (-slope * weight / rows as f64) as f32;
            }
        }
        sum += weight * of_row;
    }
    LossValue { sum, count: rows as f64 }
}
