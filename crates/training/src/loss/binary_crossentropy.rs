//! Cross-entropy of each output for itself, as Keras computes it, the mean over the outputs of a row:
//!
//! ```text
//! logits x:         max(x, 0) - x y + ln(1 + exp(-|x|))
//! probabilities p:  -y ln p - (1 - y) ln(1 - p)              p kept 1e-7 from 0 and 1
//! ```
//!
//! with the target y smoothed to `y (1 - label_smoothing) + label_smoothing / 2`.

use serde::{Deserialize, Serialize};

use super::LossValue;
use super::categorical_crossentropy::EPSILON;
use super::difference::of_outputs;
use crate::batch::Batch;

/// How targets are smoothed; not at all by default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BinaryCrossentropyConfig {
    /// How far targets are moved towards one half: not at all at 0, all the way at 1.
    pub label_smoothing: f64,
}

pub(super) fn evaluate(
    config: &BinaryCrossentropyConfig,
    batch: &Batch<'_>,
    gradient: Option<&mut [f32]>,
) -> LossValue {
    let smoothing = config.label_smoothing;
    let smooth = |target: f64| target * (1.0 - smoothing) + 0.5 * smoothing;
    if batch.logits {
        return of_outputs(batch, gradient, |logit, target| {
            let target = smooth(target);
            let small = (-logit.abs()).exp();
            let positive = if logit > 0.0 { logit } else { logit * 0.0 };
            let probability = if logit >= 0.0 { 1.0 / (1.0 + small) } else { small / (1.0 + small) };
            (positive - logit * target + small.ln_1p(), probability - target)
        });
    }
    of_outputs(batch, gradient, |probability, target| {
        let target = smooth(target);
        let p = probability.clamp(EPSILON, 1.0 - EPSILON);
        let loss = -(target * p.ln() + (1.0 - target) * (1.0 - p).ln());
        // What was moved by the bounds has no slope, NaN its own.
        let slope = if p == probability || p.is_nan() { (p - target) / (p * (1.0 - p)) } else { 0.0 };
        (loss, slope)
    })
}
