//! The cross-entropy of a softmax from its logits, the loss most networks are fitted by: blocks of rows in vectors,
//! nothing allocated where there is a gradient to write into.
//!
//! Each row's largest logit is taken from it first, so that no exponential is above 1; exponentials are of single
//! precision, their sum and the loss of double.

use super::LossValue;
use super::exponential::exp;
use crate::batch::{Batch, Targets};
use crate::vectorised::{Vectorised, vectorised};

/// Rows computed at once.
const ROWS: usize = 64;

/// What a target becomes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Smoothing {
    /// It is multiplied by this,
    keep: f64,
    /// and this is added.
    share: f64,
}

impl Smoothing {
    pub(super) fn new(label_smoothing: f64, classes: usize) -> Self {
        Self { keep: 1.0 - label_smoothing, share: label_smoothing / classes as f64 }
    }

    pub(super) fn of(self, target: f64) -> f64 {
        target * self.keep + self.share
    }
}

/// The loss of a batch of logits; `gradient` as of [`super::Loss::evaluate`].
pub(super) fn crossentropy(
    smoothing: Smoothing,
    batch: &Batch<'_>,
    gradient: Option<&mut [f32]>,
) -> LossValue {
    let block_len = ROWS * batch.units;
    let mut sum = 0.0;
    match gradient {
        Some(gradient) => {
            for (first, block) in gradient.chunks_mut(block_len).enumerate() {
                sum += vectorised(Block { smoothing, batch, first_row: first * ROWS, block });
            }
        }
        None => {
            let mut room = vec![0.0; block_len.min(batch.outputs.len())];
            for (first, outputs) in batch.outputs.chunks(block_len).enumerate() {
                let block = &mut room[..outputs.len()];
                sum += vectorised(Block { smoothing, batch, first_row: first * ROWS, block });
            }
        }
    }
    LossValue { sum, count: batch.rows() as f64 }
}

/// The rows of a batch from `first_row` on, their gradient written to `block`.
struct Block<'a> {
    smoothing: Smoothing,
    batch: &'a Batch<'a>,
    first_row: usize,
    block: &'a mut [f32],
}

impl Vectorised for Block<'_> {
    type Output = f64;

    /// The sum of the rows' losses.
    #[inline(always)]
    fn run(self) -> f64 {
        let Self { smoothing, batch, first_row, block } = self;
        let units = batch.units;
        let logits = &batch.outputs[first_row * units..][..block.len()];
        let mut peaks = [0.0; ROWS];
        for ((shifted, row), peak) in
            block.chunks_exact_mut(units).zip(logits.chunks_exact(units)).zip(&mut peaks)
        {
            *peak = row.iter().fold(f32::NEG_INFINITY, |peak, &x| if x > peak { x } else { peak });
            for (shifted, &x) in shifted.iter_mut().zip(row) {
                *shifted = x - *peak;
            }
        }
        for x in block.iter_mut() {
            *x = exp(*x);
        }
        let mut sum = 0.0;
        let count = 1.0 / batch.rows() as f64;
        for (at, (row, exponentials)) in
            logits.chunks_exact(units).zip(block.chunks_exact_mut(units)).enumerate()
        {
            let row_at = first_row + at;
            let weight = batch.weight(row_at);
            let total: f64 = exponentials.iter().map(|&x| f64::from(x)).sum();
            let scores = Scores { row, peak: peaks[at], ln_total: total.ln() };
            let factor = weight * count;
            sum += weight
                * match batch.targets {
                    Targets::Classes(classes) => {
                        let class = classes[row_at] as usize;
                        let (scale, share) = ((factor / total) as f32, (factor * smoothing.share) as f32);
                        for x in exponentials.iter_mut() {
                            *x = *x * scale - share;
                        }
                        exponentials[class] -= (factor * smoothing.keep) as f32;
                        scores.loss_of_class(class, smoothing)
                    }
                    Targets::Values { values, width } => {
                        let targets = &values[row_at * width..][..width];
                        let mass: f64 = targets.iter().map(|&y| smoothing.of(f64::from(y))).sum();
                        let scale = (mass * factor / total) as f32;
                        for (x, &y) in exponentials.iter_mut().zip(targets) {
                            *x = *x * scale - (factor * smoothing.of(f64::from(y))) as f32;
                        }
                        scores.loss_of_targets(targets, smoothing)
                    }
                };
        }
        sum
    }
}

/// Logits of a row and their log-sum-exp, which is `peak + ln_total`.
struct Scores<'a> {
    row: &'a [f32],
    peak: f32,
    ln_total: f64,
}

impl Scores<'_> {
    /// `-ln p`.
    #[inline(always)]
    fn surprise(&self, logit: f32) -> f64 {
        self.ln_total - (f64::from(logit) - f64::from(self.peak))
    }

    #[inline(always)]
    fn loss_of_class(&self, class: usize, smoothing: Smoothing) -> f64 {
        let own = smoothing.keep * self.surprise(self.row[class]);
        if smoothing.share == 0.0 {
            return own;
        }
        own + smoothing.share * self.row.iter().map(|&logit| self.surprise(logit)).sum::<f64>()
    }

    #[inline(always)]
    fn loss_of_targets(&self, targets: &[f32], smoothing: Smoothing) -> f64 {
        let pairs = self.row.iter().zip(targets);
        pairs.map(|(&logit, &y)| smoothing.of(f64::from(y)) * self.surprise(logit)).sum()
    }
}
