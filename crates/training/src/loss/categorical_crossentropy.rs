//! Cross-entropy of classes, as Keras computes it: `-sum_k y_k ln p_k` with the targets y smoothed to
//! `y (1 - label_smoothing) + label_smoothing / classes`.
//!
//! Logits go through a log-softmax (`softmax.rs`). Probabilities are kept [`EPSILON`] from 0 and 1, and divided by
//! their sum: before that for `categorical_crossentropy`, after it for the sparse one, as in Keras. Keras's sparse
//! one has no smoothing, ours has.

use serde::{Deserialize, Serialize};

use super::LossValue;
use super::softmax::{self, Smoothing};
use crate::batch::Batch;

/// How near probabilities come to 0 and 1: Keras's.
pub(super) const EPSILON: f64 = 1e-7;

/// How targets are smoothed; not at all by default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CategoricalCrossentropyConfig {
    /// How far targets are moved towards equal shares of all classes: not at all at 0, all the way at 1.
    pub label_smoothing: f64,
}

/// Of targets that are classes or one number for each.
pub(super) fn evaluate(
    config: &CategoricalCrossentropyConfig,
    batch: &Batch<'_>,
    gradient: Option<&mut [f32]>,
) -> LossValue {
    let smoothing = Smoothing::new(config.label_smoothing, batch.units);
    if batch.logits {
        return softmax::crossentropy(smoothing, batch, gradient);
    }
    of_rows(batch, gradient, |row, outputs, slopes| {
        let total: f64 = outputs.iter().map(|&output| f64::from(output)).sum();
        let (mut loss, mut pull) = (0.0, 0.0);
        for (unit, (&output, slope)) in outputs.iter().zip(&mut *slopes).enumerate() {
            let target = smoothing.of(batch.target(row, unit));
            let share = f64::from(output) / total;
            let p = share.clamp(EPSILON, 1.0 - EPSILON);
            loss -= target * p.ln();
            *slope = if p == share || p.is_nan() { -target / p } else { 0.0 };
            pull += *slope * share;
        }
        slopes.iter_mut().for_each(|slope| *slope = (*slope - pull) / total);
        loss
    })
}

/// Of targets that are classes.
pub(super) fn evaluate_sparse(
    config: &CategoricalCrossentropyConfig,
    batch: &Batch<'_>,
    gradient: Option<&mut [f32]>,
) -> LossValue {
    let smoothing = Smoothing::new(config.label_smoothing, batch.units);
    if batch.logits {
        return softmax::crossentropy(smoothing, batch, gradient);
    }
    of_rows(batch, gradient, |row, outputs, slopes| {
        let clipped = |output: f32| f64::from(output).clamp(EPSILON, 1.0 - EPSILON);
        let total: f64 = outputs.iter().map(|&output| clipped(output)).sum();
        let mut loss = total.ln();
        for (unit, (&output, slope)) in outputs.iter().zip(slopes).enumerate() {
            let target = smoothing.of(batch.target(row, unit));
            let p = clipped(output);
            loss -= target * p.ln();
            let moves = p == f64::from(output) || p.is_nan();
            *slope = if moves { 1.0 / total - target / p } else { 0.0 };
        }
        loss
    })
}

/// A loss of a row's outputs: `of` gives it and writes its slopes.
fn of_rows(
    batch: &Batch<'_>,
    mut gradient: Option<&mut [f32]>,
    of: impl Fn(usize, &[f32], &mut [f64]) -> f64,
) -> LossValue {
    let (rows, units) = (batch.rows(), batch.units);
    let mut slopes = vec![0.0; units];
    let mut sum = 0.0;
    for (row, outputs) in batch.outputs.chunks_exact(units).enumerate() {
        let weight = batch.weight(row);
        sum += weight * of(row, outputs, &mut slopes);
        if let Some(gradient) = gradient.as_deref_mut() {
            let of_row = &mut gradient[row * units..(row + 1) * units];
            for (result, slope) in of_row.iter_mut().zip(&slopes) {
                *result = (slope * weight / rows as f64) as f32;
            }
        }
    }
    LossValue { sum, count: rows as f64 }
}
