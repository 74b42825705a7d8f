//! Minus the information coefficient: Pearson's correlation of outputs and targets of a date, the mean over dates.
//!
//! With rows' weights w, their sum W, outputs s and targets y, and means and sums weighted by w:
//!
//! ```text
//! ic      = S_sy / sqrt(S_ss S_yy)                  S_ab = sum w (a - mean a) (b - mean b)
//! d ic/ds = w ((y - mean y) - (s - mean s) S_sy / S_ss) / sqrt(S_ss S_yy)
//! ```
//!
//! A date counts W / rows, so that weights of whole dates are weights of their coefficients.

use super::LossValue;
use crate::batch::Batch;

/// Values whose deviation is at most this share of the largest do not vary but by rounding.
const ROUNDING: f64 = 1e-6;

pub(super) fn evaluate(batch: &Batch<'_>, gradient: Option<&mut [f32]>) -> LossValue {
    let dates: Vec<Date> =
        batch.rows_by_group().into_iter().filter_map(|rows| Date::new(batch, rows)).collect();
    let count = dates.len() as f64;
    if let Some(gradient) = gradient {
        gradient.fill(0.0);
        for date in &dates {
            date.write_gradient(gradient, count);
        }
    }
    LossValue { sum: dates.iter().map(|date| -date.weight * date.ic).sum(), count }
}

/// A date with a coefficient.
struct Date {
    rows: Vec<usize>,
    weights: Vec<f64>,
    /// Less their means.
    outputs: Vec<f64>,
    targets: Vec<f64>,
    ic: f64,
    /// `S_sy / S_ss`.
    slope: f64,
    /// `sqrt(S_ss S_yy)`.
    spread: f64,
    /// What the date counts.
    weight: f64,
}

impl Date {
    /// `None` below 2 rows and where a side does not vary.
    fn new(batch: &Batch<'_>, rows: Vec<usize>) -> Option<Self> {
        if rows.len() < 2 {
            return None;
        }
        let weights: Vec<f64> = rows.iter().map(|&row| batch.weight(row)).collect();
        let total: f64 = weights.iter().sum();
        let mut outputs: Vec<f64> = rows.iter().map(|&row| f64::from(batch.outputs[row])).collect();
        let mut targets: Vec<f64> = rows.iter().map(|&row| batch.realised(row)).collect();
        let of_outputs = centre(&mut outputs, &weights, total)?;
        let of_targets = centre(&mut targets, &weights, total)?;
        let products = outputs.iter().zip(&targets).zip(&weights);
        let product: f64 = products.map(|((s, y), w)| w * s * y).sum();
        let spread = of_outputs.sqrt() * of_targets.sqrt();
        let weight = total / rows.len() as f64;
        let (ic, slope) = (product / spread, product / of_outputs);
        Some(Self { rows, weights, outputs, targets, ic, slope, spread, weight })
    }

    fn write_gradient(&self, gradient: &mut [f32], dates: f64) {
        for (at, &row) in self.rows.iter().enumerate() {
            let of_ic = self.weights[at] * (self.targets[at] - self.outputs[at] * self.slope) / self.spread;
            gradient[row] = (-self.weight * of_ic / dates) as f32;
        }
    }
}

/// Takes the mean from values and gives their weighted sum of squares; `None` if they do not vary.
fn centre(values: &mut [f64], weights: &[f64], total: f64) -> Option<f64> {
    let mean = values.iter().zip(weights).map(|(x, w)| x * w).sum::<f64>() / total;
    let largest = values.iter().fold(0.0f64, |largest, x| largest.max(x.abs()));
    values.iter_mut().for_each(|x| *x -= mean);
    let squares: f64 = values.iter().zip(weights).map(|(x, w)| w * x * x).sum();
    let does_not_vary = squares <= total * (ROUNDING * largest).powi(2);
    (!does_not_vary).then_some(squares)
}
