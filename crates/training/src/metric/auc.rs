//! The area under the curve of true against false positives, exactly: the share of pairs of a row of the class and one
//! of the rest in which the former has the higher score, ties counting one half (Mann and Whitney 1947).

use serde::{Deserialize, Serialize};

use super::prediction;
use crate::batch::Batch;

/// All rows so far: their scores are sorted when the figure is asked for.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Areas {
    /// Scores a row: one for two classes, else one a class.
    width: usize,
    /// `[rows, width]`; in the order of probabilities.
    scores: Vec<f32>,
    classes: Vec<u32>,
    weights: Vec<f32>,
}

impl Areas {
    pub(super) fn update(&mut self, batch: &Batch<'_>) {
        self.width = if batch.units <= 2 { 1 } else { batch.units };
        for row in 0..batch.rows() {
            self.add_scores(batch.logits, prediction::outputs(batch, row));
            self.classes.push(prediction::actual(batch, row) as u32);
            self.weights.push(batch.weight(row) as f32);
        }
    }

    /// Logits become log-odds: as probabilities, those next to 1 would be equal.
    fn add_scores(&mut self, logits: bool, outputs: &[f32]) {
        match outputs {
            [only] => self.scores.push(*only),
            [_, second] if !logits => self.scores.push(*second),
            [first, second] => self.scores.push((f64::from(*second) - f64::from(*first)) as f32),
            outputs if !logits => self.scores.extend_from_slice(outputs),
            outputs => {
                let peak = f64::from(outputs.iter().copied().fold(f32::NEG_INFINITY, f32::max));
                for (class, &own) in outputs.iter().enumerate() {
                    let rest = outputs.iter().enumerate().filter(|(other, _)| *other != class);
                    let rest: f64 = rest.map(|(_, &x)| (f64::from(x) - peak).exp()).sum();
                    self.scores.push((f64::from(own) - peak - rest.ln()) as f32);
                }
            }
        }
    }

    pub(super) fn result(&self) -> f64 {
        if self.scores.iter().any(|score| score.is_nan()) {
            return f64::NAN;
        }
        if self.width <= 1 {
            return self.area(0, 1);
        }
        let areas = (0..self.width).map(|class| self.area(class, class as u32));
        let areas: Vec<f64> = areas.filter(|area| !area.is_nan()).collect();
        areas.iter().sum::<f64>() / areas.len() as f64
    }

    /// Of a class against the rest; NaN if either has no weight.
    fn area(&self, column: usize, class: u32) -> f64 {
        let score = |row: usize| self.scores[row * self.width + column];
        let mut rows: Vec<usize> = (0..self.classes.len()).collect();
        rows.sort_unstable_by(|&a, &b| score(a).total_cmp(&score(b)).then(a.cmp(&b)));
        let (mut inside, mut outside, mut pairs) = (0.0, 0.0, 0.0);
        for tied in rows.chunk_by(|&a, &b| score(a) == score(b)) {
            let (mut tied_inside, mut tied_outside) = (0.0, 0.0);
            for &row in tied {
                let side = if self.classes[row] == class { &mut tied_inside } else { &mut tied_outside };
                *side += f64::from(self.weights[row]);
            }
            pairs += tied_inside * (outside + 0.5 * tied_outside);
            inside += tied_inside;
            outside += tied_outside;
        }
        pairs / (inside * outside)
    }
}
