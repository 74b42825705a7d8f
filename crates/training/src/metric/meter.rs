//! A metric being counted.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Metric;
use super::auc::Areas;
use super::coefficient::Coefficients;
use super::confusion::Confusion;
use super::mean::Mean;
use super::r2::Explained;
use crate::batch::Batch;

/// A metric being counted; it can be stored in the middle of an epoch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Meter {
    metric: Metric,
    seen: Seen,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Seen {
    Mean(Mean),
    Confusion(Confusion),
    Areas(Areas),
    Explained(Explained),
    Coefficients(Coefficients),
}

impl Meter {
    pub(super) fn new(metric: &Metric) -> Self {
        let seen = match metric {
            Metric::Accuracy
            | Metric::TopKCategoricalAccuracy(_)
            | Metric::LogLoss
            | Metric::Brier
            | Metric::Mse
            | Metric::Mae => Seen::Mean(Mean::default()),
            Metric::Precision | Metric::Recall | Metric::F1Score | Metric::ConfusionMatrix => {
                Seen::Confusion(Confusion::default())
            }
            Metric::Auc => Seen::Areas(Areas::default()),
            Metric::R2 => Seen::Explained(Explained::default()),
            Metric::Ic | Metric::RankIc | Metric::Icir | Metric::RankIcir => {
                Seen::Coefficients(Coefficients::default())
            }
        };
        Self { metric: metric.clone(), seen }
    }

    /// Counts a batch.
    ///
    /// # Panics
    /// If slices are not as long as [`Batch`] says, or units and targets are not those of
    /// [`Metric::check_output`].
    pub(crate) fn update(&mut self, batch: &Batch<'_>) {
        match &mut self.seen {
            Seen::Mean(mean) => mean.update(&self.metric, batch),
            Seen::Confusion(confusion) => confusion.update(batch),
            Seen::Areas(areas) => areas.update(batch),
            Seen::Explained(explained) => explained.update(batch),
            Seen::Coefficients(coefficients) => coefficients.update(batch),
        }
    }

    /// The figure so far, NaN where it is undefined.
    pub(crate) fn result(&self) -> f64 {
        match &self.seen {
            Seen::Mean(mean) => mean.result(),
            Seen::Confusion(confusion) => match self.metric {
                Metric::Precision => confusion.precision(),
                Metric::Recall => confusion.recall(),
                Metric::F1Score => confusion.f1_score(),
                _ => f64::NAN,
            },
            Seen::Areas(areas) => areas.result(),
            Seen::Explained(explained) => explained.result(),
            Seen::Coefficients(coefficients) => {
                let summary = coefficients.summary(&self.metric);
                match self.metric {
                    Metric::Icir | Metric::RankIcir => summary.icir,
                    _ => summary.mean,
                }
            }
        }
    }

    /// What does not fit into a figure: the table of a confusion matrix, deviation, t-statistic and days of an IC.
    pub(crate) fn details(&self) -> Option<Value> {
        match (&self.seen, &self.metric) {
            (Seen::Confusion(confusion), Metric::ConfusionMatrix) => Some(confusion.table()),
            (Seen::Coefficients(coefficients), metric) => {
                serde_json::to_value(coefficients.summary(metric)).ok()
            }
            _ => None,
        }
    }

    /// Whether [`Meter::result`] takes as long as all rows so far are to sort: for the end of an epoch, not for a
    /// progress bar.
    pub(crate) fn is_costly(&self) -> bool {
        matches!(self.seen, Seen::Areas(_) | Seen::Coefficients(_))
    }
}
