//! Metrics that are a weighted mean over rows.

use serde::{Deserialize, Serialize};

use super::{Metric, TopKConfig, prediction};
use crate::batch::Batch;

/// How near a probability comes to 0: Keras's.
const EPSILON: f64 = 1e-7;

/// A weighted mean over rows, summed row by row, so that batches do not show in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Mean {
    sum: f64,
    weight: f64,
}

impl Mean {
    pub(super) fn update(&mut self, metric: &Metric, batch: &Batch<'_>) {
        match metric {
            Metric::Accuracy => self.add(batch, |row| {
                f64::from(u8::from(prediction::predicted(batch, row) == Some(prediction::actual(batch, row))))
            }),
            Metric::TopKCategoricalAccuracy(TopKConfig { k }) => {
                self.add(batch, |row| f64::from(u8::from(in_top_k(batch, row, *k))));
            }
            Metric::LogLoss => {
                let mut room = Vec::with_capacity(batch.units);
                self.add(batch, |row| log_loss(batch, row, &mut room));
            }
            Metric::Brier => {
                let mut room = Vec::with_capacity(batch.units);
                self.add(batch, |row| brier(batch, row, &mut room));
            }
            Metric::Mse => self.add(batch, |row| of_errors(batch, row, |error| error * error)),
            _ => self.add(batch, |row| of_errors(batch, row, f64::abs)),
        }
    }

    pub(super) fn result(&self) -> f64 {
        self.sum / self.weight
    }

    fn add(&mut self, batch: &Batch<'_>, mut of_row: impl FnMut(usize) -> f64) {
        for row in 0..batch.rows() {
            let weight = batch.weight(row);
            self.sum += weight * of_row(row);
            self.weight += weight;
        }
    }
}

fn of_errors(batch: &Batch<'_>, row: usize, of: impl Fn(f64) -> f64) -> f64 {
    let outputs = prediction::outputs(batch, row).iter().enumerate();
    outputs.map(|(unit, &output)| of(f64::from(output) - batch.target(row, unit))).sum::<f64>()
        / batch.units as f64
}

fn in_top_k(batch: &Batch<'_>, row: usize, k: usize) -> bool {
    let outputs = prediction::outputs(batch, row);
    let own = outputs[prediction::actual(batch, row)];
    own.is_finite() && outputs.iter().filter(|output| **output > own).count() < k
}

fn log_loss(batch: &Batch<'_>, row: usize, room: &mut Vec<f64>) -> f64 {
    if batch.logits {
        return log_loss_of_logits(batch, row);
    }
    prediction::probabilities(batch, row, room);
    let kept = |p: f64| p.clamp(EPSILON, 1.0 - EPSILON);
    if let [p] = room.as_slice() {
        let target = batch.target(row, 0);
        return -(target * kept(*p).ln() + (1.0 - target) * kept(1.0 - *p).ln());
    }
    let probabilities = room.iter().enumerate();
    -probabilities.map(|(unit, &p)| batch.target(row, unit) * kept(p).ln()).sum::<f64>()
}

/// Exact for probabilities next to 0.
fn log_loss_of_logits(batch: &Batch<'_>, row: usize) -> f64 {
    let logits = prediction::outputs(batch, row);
    if let [logit] = logits {
        let (logit, target) = (f64::from(*logit), batch.target(row, 0));
        return (-logit.abs()).exp().ln_1p() + logit.abs() * if logit > 0.0 { 1.0 } else { 0.0 }
            - logit * target;
    }
    let peak = f64::from(logits.iter().copied().fold(f32::NEG_INFINITY, f32::max));
    let total: f64 = logits.iter().map(|&logit| (f64::from(logit) - peak).exp()).sum();
    let surprise = |logit: f32| total.ln() + peak - f64::from(logit);
    logits.iter().enumerate().map(|(unit, &logit)| batch.target(row, unit) * surprise(logit)).sum()
}

fn brier(batch: &Batch<'_>, row: usize, room: &mut Vec<f64>) -> f64 {
    prediction::probabilities(batch, row, room);
    let probabilities = room.iter().enumerate();
    let squares = probabilities.map(|(unit, p)| (p - batch.target(row, unit)).powi(2)).sum::<f64>();
    if batch.units == 2 { 0.5 * squares } else { squares }
}
