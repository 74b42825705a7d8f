//! The pairwise logistic rank loss (Burges et al. 2005, "Learning to Rank using Gradient Descent"): for every two
//! rows of a date with targets y_i > y_j and outputs s, `ln(1 + exp((s_j - s_i) / temperature))`, the mean over the
//! pairs of a date and then over dates.
//!
//! A pair counts the product of its rows' weights within its date, a date the mean weight of its rows. The work
//! grows with the square of a date's rows; dates are computed by all threads.

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::LossValue;
use super::exponential::{exp, ln_1p};
use crate::Error;
use crate::batch::Batch;
use crate::config::config;
use crate::vectorised::{Vectorised, vectorised};

/// The rank loss's parameter.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PairwiseRankConfig {
    /// Differences of outputs are divided by it; 1 by default.
    pub temperature: f64,
}

impl Default for PairwiseRankConfig {
    fn default() -> Self {
        Self { temperature: 1.0 }
    }
}

impl PairwiseRankConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        if self.temperature.is_finite() && self.temperature > 0.0 {
            return Ok(());
        }
        Err(config("fit.loss.temperature", &self.temperature, "it must be a positive finite number"))
    }
}

pub(super) fn evaluate(
    config: &PairwiseRankConfig,
    batch: &Batch<'_>,
    gradient: Option<&mut [f32]>,
) -> LossValue {
    let dates: Vec<Option<Date>> =
        batch.rows_by_group().into_par_iter().map(|rows| Date::new(config, batch, rows)).collect();
    let dates: Vec<Date> = dates.into_iter().flatten().collect();
    let count = dates.len() as f64;
    if let Some(gradient) = gradient {
        gradient.fill(0.0);
        for date in &dates {
            for (&row, slope) in date.rows.iter().zip(&date.slopes) {
                gradient[row] = (slope / count) as f32;
            }
        }
    }
    LossValue { sum: dates.iter().map(|date| date.loss).sum(), count }
}

/// A date with its loss, weighted, and the derivative by each of its outputs.
struct Date {
    /// By falling target.
    rows: Vec<usize>,
    slopes: Vec<f64>,
    loss: f64,
}

impl Date {
    /// `None` if all targets are equal.
    fn new(config: &PairwiseRankConfig, batch: &Batch<'_>, mut rows: Vec<usize>) -> Option<Self> {
        // They have no order, and must show.
        if rows.iter().any(|&row| batch.realised(row).is_nan()) {
            let slopes = vec![f64::NAN; rows.len()];
            return Some(Self { rows, slopes, loss: f64::NAN });
        }
        rows.sort_by(|&a, &b| batch.realised(b).total_cmp(&batch.realised(a)));
        let weights: Vec<f32> = rows.iter().map(|&row| batch.weight(row) as f32).collect();
        let scale = 1.0 / config.temperature;
        let scores: Vec<f32> =
            rows.iter().map(|&row| (f64::from(batch.outputs[row]) * scale) as f32).collect();
        let mut slopes = vec![0.0; rows.len()];
        let (mut loss, mut pairs) = (0.0, 0.0);
        let mut lower_weights: f64 = weights.iter().map(|&w| f64::from(w)).sum();
        let mut first = 0;
        for tied in rows.chunk_by(|&a, &b| batch.realised(a) == batch.realised(b)) {
            let lower = first + tied.len();
            let of_tied: f64 = weights[first..lower].iter().map(|&w| f64::from(w)).sum();
            lower_weights -= of_tied;
            if lower < rows.len() {
                pairs += of_tied * lower_weights;
            }
            for upper in first..lower {
                let weight = f64::from(weights[upper]);
                let (scores_of, weights_of) = (&scores[lower..], &weights[lower..]);
                let slopes_of = &mut slopes[lower..];
                let score = scores[upper];
                let sums = vectorised(Pairs {
                    score,
                    weight,
                    scores: scores_of,
                    weights: weights_of,
                    slopes: slopes_of,
                });
                loss += weight * sums[0];
                slopes[upper] -= weight * sums[1];
            }
            first = lower;
        }
        if pairs == 0.0 {
            return None;
        }
        let weight = weights.iter().map(|&w| f64::from(w)).sum::<f64>() / rows.len() as f64;
        let factor = weight / pairs;
        slopes.iter_mut().for_each(|slope| *slope *= factor * scale);
        Some(Self { rows, slopes, loss: loss * factor })
    }
}

/// One row against all rows of lower targets.
struct Pairs<'a> {
    score: f32,
    weight: f64,
    scores: &'a [f32],
    weights: &'a [f32],
    slopes: &'a mut [f64],
}

/// Pairs computed at once.
const LANES: usize = 16;

impl Vectorised for Pairs<'_> {
    type Output = [f64; 2];

    /// The weighted sums of losses and of slopes; the slope of each lower row is added to its own.
    #[inline(always)]
    fn run(self) -> [f64; 2] {
        let mut sums = Sums { losses: [0.0; LANES], pulls: [0.0; LANES] };
        let (scores, last_scores) = self.scores.as_chunks::<LANES>();
        let (weights, last_weights) = self.weights.as_chunks::<LANES>();
        let (slopes, last_slopes) = self.slopes.as_chunks_mut::<LANES>();
        for ((scores, weights), slopes) in scores.iter().zip(weights).zip(slopes) {
            sums.add(self.score, self.weight, (scores, weights, slopes));
        }
        let (mut scores, mut weights, mut slopes) = ([self.score; LANES], [0.0; LANES], [0.0; LANES]);
        let rest = last_scores.len();
        scores[..rest].copy_from_slice(last_scores);
        weights[..rest].copy_from_slice(last_weights);
        sums.add(self.score, self.weight, (&scores, &weights, &mut slopes));
        last_slopes.iter_mut().zip(slopes).for_each(|(slope, added)| *slope += added);
        [sums.losses.iter().sum(), sums.pulls.iter().sum()]
    }
}

struct Sums {
    losses: [f64; LANES],
    pulls: [f64; LANES],
}

impl Sums {
    #[inline(always)]
    fn add(
        &mut self,
        score: f32,
        weight: f64,
        (scores, weights, slopes): (&[f32; LANES], &[f32; LANES], &mut [f64; LANES]),
    ) {
        let (mut losses, mut pulls) = ([0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            let difference = scores[lane] - score;
            let small = exp(-difference.abs());
            let positive = if difference > 0.0 { difference } else { difference * 0.0 };
            let top = if difference > 0.0 { 1.0 } else { small };
            losses[lane] = positive + ln_1p(small);
            pulls[lane] = top / (1.0 + small);
        }
        for lane in 0..LANES {
            let of_pair = f64::from(weights[lane]);
            let pull = of_pair * f64::from(pulls[lane]);
            self.losses[lane] += of_pair * f64::from(losses[lane]);
            self.pulls[lane] += pull;
            slopes[lane] += weight * pull;
        }
    }
}
