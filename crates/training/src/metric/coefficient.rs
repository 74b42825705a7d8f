//! Information coefficients: the correlation of scores and targets within a date, of their values or their ranks. What
//! is counted and what is left out is [`market::ic`]'s to say.

use market::ic::{IcSummary, ic_by_date, rank_ic_by_date, summarise};
use serde::{Deserialize, Serialize};

use super::{Metric, prediction};
use crate::batch::{Batch, Targets};

/// All rows so far: those of a date may come in several batches.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub(super) struct Coefficients {
    dates: Vec<usize>,
    scores: Vec<f64>,
    realised: Vec<f64>,
}

impl Coefficients {
    /// Rows of weight 0 are left out, others count alike.
    pub(super) fn update(&mut self, batch: &Batch<'_>) {
        let mut room = Vec::with_capacity(batch.units);
        for row in (0..batch.rows()).filter(|&row| batch.weight(row) != 0.0) {
            self.dates.push(batch.groups.map_or(0, |groups| groups[row] as usize));
            self.scores.push(score(batch, row, &mut room));
            self.realised.push(batch.realised(row));
        }
    }

    pub(super) fn summary(&self, metric: &Metric) -> IcSummary {
        let by_date = match metric {
            Metric::Ic | Metric::Icir => ic_by_date,
            _ => rank_ic_by_date,
        };
        let daily: Vec<f64> = by_date(&self.dates, &self.scores, &self.realised)
            .into_iter()
            .map(|(_, coefficient)| coefficient)
            .collect();
        summarise(&daily, 0)
    }
}

/// The expected class of a model of classes, else the first output.
fn score(batch: &Batch<'_>, row: usize, room: &mut Vec<f64>) -> f64 {
    prediction::probabilities(batch, row, room);
    match (batch.targets, room.as_slice()) {
        (Targets::Classes(_), probabilities @ [_, _, ..]) => {
            probabilities.iter().enumerate().map(|(class, p)| class as f64 * p).sum()
        }
        (_, outputs) => outputs[0],
    }
}
