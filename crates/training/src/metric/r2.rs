//! The share of the targets' variance that is explained: `1 - sum (output - target)^2 / sum (target - mean)^2`, the mean
//! over outputs. NaN where targets do not vary.

use serde::{Deserialize, Serialize};

use super::prediction;
use crate::batch::Batch;

/// Sums of each output.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Explained {
    outputs: Vec<Sums>,
}

/// Weighted sums of one output, centred as they grow (West 1979), so that nothing cancels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
struct Sums {
    weight: f64,
    mean: f64,
    squares: f64,
    residual: f64,
}

impl Explained {
    pub(super) fn update(&mut self, batch: &Batch<'_>) {
        self.outputs.resize(batch.units, Sums::default());
        for row in 0..batch.rows() {
            let weight = batch.weight(row);
            if weight == 0.0 {
                continue;
            }
            for (unit, (&output, sums)) in
                prediction::outputs(batch, row).iter().zip(&mut self.outputs).enumerate()
            {
                let target = batch.target(row, unit);
                let off_before = target - sums.mean;
                sums.weight += weight;
                sums.mean += off_before * weight / sums.weight;
                sums.squares += weight * off_before * (target - sums.mean);
                sums.residual += weight * (f64::from(output) - target).powi(2);
            }
        }
    }

    pub(super) fn result(&self) -> f64 {
        let of = |sums: &Sums| if sums.squares > 0.0 { 1.0 - sums.residual / sums.squares } else { f64::NAN };
        self.outputs.iter().map(of).sum::<f64>() / self.outputs.len() as f64
    }
}
