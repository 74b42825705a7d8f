//! What is counted beside the loss.

use serde::{Deserialize, Serialize};

use crate::name::{self, Kind};

/// What is counted beside the loss, under Keras's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Metric {
    /// The share of rows whose largest output is their class; the first of equal outputs counts.
    Accuracy,
}

const KNOWN: &[(&str, Metric)] = &[("accuracy", Metric::Accuracy)];

impl TryFrom<String> for Metric {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        name::find(Kind { one: "metric", all: "metrics" }, &text, KNOWN)
    }
}

impl From<Metric> for &'static str {
    fn from(metric: Metric) -> Self {
        match metric {
            Metric::Accuracy => "accuracy",
        }
    }
}

/// Sums over rows, whose means are what is reported.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    /// Sum of the rows' losses.
    pub(crate) loss: f64,
    /// Rows whose largest output is their class.
    pub(crate) correct: usize,
    /// Rows counted.
    pub(crate) rows: usize,
}

impl Tally {
    pub(crate) fn add(&mut self, other: Self) {
        self.loss += other.loss;
        self.correct += other.correct;
        self.rows += other.rows;
    }

    pub(crate) fn mean_loss(&self) -> f64 {
        self.loss / self.rows as f64
    }

    pub(crate) fn accuracy(&self) -> f64 {
        self.correct as f64 / self.rows as f64
    }
}
