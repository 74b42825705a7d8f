//! What a row's outputs say: probabilities, a class, a score.

use crate::batch::{Batch, Targets};

/// Above this probability a single output says class 1, as in Keras.
const THRESHOLD: f32 = 0.5;

/// Classes that outputs tell apart: two by a single one.
pub(super) fn classes(batch: &Batch<'_>) -> usize {
    batch.units.max(2)
}

pub(super) fn outputs<'a>(batch: &Batch<'a>, row: usize) -> &'a [f32] {
    &batch.outputs[row * batch.units..(row + 1) * batch.units]
}

/// The probability of each class, or of class 1 by a single output; outputs that are no logits are such already.
pub(super) fn probabilities(batch: &Batch<'_>, row: usize, into: &mut Vec<f64>) {
    into.clear();
    into.extend(outputs(batch, row).iter().map(|&output| f64::from(output)));
    match into.as_mut_slice() {
        _ if !batch.logits => {}
        [logit] => *logit = sigmoid(*logit),
        logits => softmax(logits),
    }
}

fn sigmoid(logit: f64) -> f64 {
    let small = (-logit.abs()).exp();
    if logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) }
}

fn softmax(logits: &mut [f64]) {
    let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    logits.iter_mut().for_each(|x| *x = (*x - peak).exp());
    let total: f64 = logits.iter().sum();
    logits.iter_mut().for_each(|x| *x /= total);
}

/// The class of the largest output, the first of equal ones; `None` where an output is not a number.
pub(super) fn predicted(batch: &Batch<'_>, row: usize) -> Option<usize> {
    match outputs(batch, row) {
        [output] if output.is_nan() => None,
        [output] => Some(usize::from(*output > if batch.logits { 0.0 } else { THRESHOLD })),
        outputs => largest(outputs),
    }
}

/// The class a row should be of.
pub(super) fn actual(batch: &Batch<'_>, row: usize) -> usize {
    match batch.targets {
        Targets::Classes(classes) => classes[row] as usize,
        Targets::Values { values, width: 1 } => usize::from(values[row] > THRESHOLD),
        Targets::Values { values, width } => largest(&values[row * width..(row + 1) * width]).unwrap_or(0),
    }
}

fn largest(values: &[f32]) -> Option<usize> {
    let mut best = 0;
    for (at, value) in values.iter().enumerate() {
        if value.is_nan() {
            return None;
        }
        if *value > values[best] {
            best = at;
        }
    }
    Some(best)
}
