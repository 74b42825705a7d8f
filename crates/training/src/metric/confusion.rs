//! Rows by the class they are of and the one they are said to be of, and what follows from it: precision, recall,
//! F1.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::prediction;
use crate::batch::Batch;

/// Weights of rows by class.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Confusion {
    classes: usize,
    /// Whether a single output tells the two classes apart.
    single: bool,
    /// `[actual, predicted]`, row-major.
    weights: Vec<f64>,
    /// Whether an output was not a number.
    undefined: bool,
}

/// Of one class.
struct Counts {
    /// Rows of it that are said to be.
    hits: f64,
    /// Rows of it.
    actual: f64,
    /// Rows said to be.
    predicted: f64,
}

impl Confusion {
    pub(super) fn update(&mut self, batch: &Batch<'_>) {
        if self.classes == 0 {
            self.classes = prediction::classes(batch);
            self.single = batch.units == 1;
            self.weights = vec![0.0; self.classes * self.classes];
        }
        for row in 0..batch.rows() {
            match prediction::predicted(batch, row) {
                Some(predicted) => {
                    let actual = prediction::actual(batch, row);
                    self.weights[actual * self.classes + predicted] += batch.weight(row);
                }
                None => self.undefined = true,
            }
        }
    }

    pub(super) fn precision(&self) -> f64 {
        self.figure(|counts| share(counts.hits, counts.predicted))
    }

    pub(super) fn recall(&self) -> f64 {
        self.figure(|counts| share(counts.hits, counts.actual))
    }

    pub(super) fn f1_score(&self) -> f64 {
        self.figure(|counts| share(2.0 * counts.hits, counts.actual + counts.predicted))
    }

    /// `counts[actual][predicted]`, of rows or of their weights.
    pub(super) fn table(&self) -> Value {
        let counts: Vec<&[f64]> = self.weights.chunks(self.classes.max(1)).collect();
        json!({ "classes": self.classes, "counts": counts })
    }

    /// Of class 1 by a single output, else the mean over classes.
    fn figure(&self, of: impl Fn(Counts) -> f64) -> f64 {
        if self.undefined || self.weights.iter().sum::<f64>() == 0.0 {
            return f64::NAN;
        }
        if self.single {
            return of(self.counts(1));
        }
        (0..self.classes).map(|class| of(self.counts(class))).sum::<f64>() / self.classes as f64
    }

    fn counts(&self, class: usize) -> Counts {
        let at = |actual: usize, predicted: usize| self.weights[actual * self.classes + predicted];
        Counts {
            hits: at(class, class),
            actual: (0..self.classes).map(|predicted| at(class, predicted)).sum(),
            predicted: (0..self.classes).map(|actual| at(actual, class)).sum(),
        }
    }
}

/// 0 of nothing, as in Keras.
fn share(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}
