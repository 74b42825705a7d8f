//! What is counted beside the loss.
//!
//! A [`Metric`] says what; its [`Meter`] counts, batch after batch, and gives the same figure however rows are cut
//! into batches. Figures are those of Keras where it has the metric, of scikit-learn where not; all are weighted means
//! if batches carry weights. What is undefined is NaN: no rows, one class for an AUC, dates without a correlation.

mod auc;
mod coefficient;
mod confusion;
mod direction;
mod mean;
mod meter;
mod prediction;
mod r2;

#[cfg(test)]
mod reference;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

pub(crate) use direction::Direction;
pub use direction::Mode;
pub(crate) use meter::Meter;

use crate::Error;
use crate::batch::Targets;
use crate::config::{config, split_tag};
use crate::name::{self, Kind};

/// `metrics = ["accuracy", { name = "top_k_categorical_accuracy", k = 3 }]`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum Metric {
    /// The share of rows whose largest output is their class, the first of equal ones; of a single output, whether its
    /// probability is above one half.
    Accuracy,
    /// The share of rows with fewer than k outputs above that of their class.
    TopKCategoricalAccuracy(TopKConfig),
    /// The share of rows said to be of a class that are; see [`Metric::F1Score`].
    Precision,
    /// The share of rows of a class that are said to be; see [`Metric::F1Score`].
    Recall,
    /// The harmonic mean of precision and recall. Of a single output for class 1; else the mean over classes, 0 for one
    /// without rows, each row said to be of the class of its largest output.
    F1Score,
    /// The area under the curve of true against false positives, exactly; ties count one half. Of three classes and
    /// more the mean over classes, each against the rest, without those that all or no rows are of.
    Auc,
    /// `-ln p(class)`.
    LogLoss,
    /// Squared errors of probabilities (Brier 1950), summed over classes; of two classes, half of it.
    Brier,
    /// Rows by class and by largest output: no figure, but a table.
    ConfusionMatrix,
    /// The mean squared error.
    Mse,
    /// The mean absolute error.
    Mae,
    /// The share of the targets' variance that is explained, the mean over outputs.
    #[serde(rename = "r2_score")]
    R2,
    /// The correlation of outputs and targets within a date, the mean over dates.
    Ic,
    /// The same of their ranks.
    RankIc,
    /// The mean of dates' correlations over their standard deviation.
    Icir,
    /// The same of ranks.
    RankIcir,
}

/// How many outputs count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TopKConfig {
    /// A row's class must be among so many of the largest outputs; 5 by default, as in Keras.
    pub k: usize,
}

impl Default for TopKConfig {
    fn default() -> Self {
        Self { k: KERAS_K }
    }
}

const KERAS_K: usize = 5;

type Reader = fn(Value) -> serde_json::Result<Metric>;

const KNOWN: &[(&str, Reader)] = &[
    ("accuracy", |keys| no_keys(keys, Metric::Accuracy)),
    ("auc", |keys| no_keys(keys, Metric::Auc)),
    ("brier", |keys| no_keys(keys, Metric::Brier)),
    ("confusion_matrix", |keys| no_keys(keys, Metric::ConfusionMatrix)),
    ("f1_score", |keys| no_keys(keys, Metric::F1Score)),
    ("ic", |keys| no_keys(keys, Metric::Ic)),
    ("icir", |keys| no_keys(keys, Metric::Icir)),
    ("log_loss", |keys| no_keys(keys, Metric::LogLoss)),
    ("mae", |keys| no_keys(keys, Metric::Mae)),
    ("mean_absolute_error", |keys| no_keys(keys, Metric::Mae)),
    ("mean_squared_error", |keys| no_keys(keys, Metric::Mse)),
    ("mse", |keys| no_keys(keys, Metric::Mse)),
    ("precision", |keys| no_keys(keys, Metric::Precision)),
    ("r2_score", |keys| no_keys(keys, Metric::R2)),
    ("rank_ic", |keys| no_keys(keys, Metric::RankIc)),
    ("rank_icir", |keys| no_keys(keys, Metric::RankIcir)),
    ("recall", |keys| no_keys(keys, Metric::Recall)),
    ("top_k_categorical_accuracy", |keys| read(keys, Metric::TopKCategoricalAccuracy)),
];

fn read<C: DeserializeOwned>(keys: Value, metric: fn(C) -> Metric) -> serde_json::Result<Metric> {
    C::deserialize(keys).map(metric)
}

fn no_keys(keys: Value, metric: Metric) -> serde_json::Result<Metric> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct NoKeys {}
    NoKeys::deserialize(keys).map(|NoKeys {}| metric)
}

impl<'de> Deserialize<'de> for Metric {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const KIND: Kind = Kind { one: "metric", all: "metrics" };
        let (name, keys) = split_tag(deserializer, "name", KIND)?;
        let read = name::find(KIND, &name, KNOWN).map_err(D::Error::custom)?;
        read(keys).map_err(D::Error::custom)
    }
}

/// Whether larger values of a figure of a fit are better, `val_rank_ic` for one; none if its name does not tell.
pub fn larger_is_better(monitor: &str) -> Option<bool> {
    Direction::of(monitor).map(|direction| direction == Direction::Up)
}

impl Metric {
    /// Under which name its figure is reported.
    pub fn name(&self) -> String {
        let name = match self {
            Self::Accuracy => "accuracy",
            Self::TopKCategoricalAccuracy(TopKConfig { k: KERAS_K }) => "top_k_categorical_accuracy",
            Self::TopKCategoricalAccuracy(TopKConfig { k }) => {
                return format!("top_{k}_categorical_accuracy");
            }
            Self::Precision => "precision",
            Self::Recall => "recall",
            Self::F1Score => "f1_score",
            Self::Auc => "auc",
            Self::LogLoss => "log_loss",
            Self::Brier => "brier",
            Self::ConfusionMatrix => "confusion_matrix",
            Self::Mse => "mse",
            Self::Mae => "mae",
            Self::R2 => "r2_score",
            Self::Ic => "ic",
            Self::RankIc => "rank_ic",
            Self::Icir => "icir",
            Self::RankIcir => "rank_icir",
        };
        name.to_owned()
    }

    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        match self {
            Self::TopKCategoricalAccuracy(TopKConfig { k: 0 }) => {
                Err(config("fit.metrics.k", &0, "it must be at least 1"))
            }
            _ => Ok(()),
        }
    }

    /// Whether it compares rows of a date.
    pub(crate) fn needs_groups(&self) -> bool {
        matches!(self, Self::Ic | Self::RankIc | Self::Icir | Self::RankIcir)
    }

    /// Checks that the last layer's units and the targets are what it takes.
    ///
    /// # Errors
    /// [`Error::Config`], naming units, targets and what it takes.
    pub(crate) fn check_output(&self, units: usize, targets: &Targets<'_>) -> Result<(), Error> {
        let of_values = targets.width();
        let (fits, takes) = match self {
            Self::Mse | Self::Mae | Self::R2 => {
                (of_values == Some(units), "one number for each unit of the last layer")
            }
            Self::Ic | Self::RankIc | Self::Icir | Self::RankIcir => return Ok(()),
            Self::TopKCategoricalAccuracy(_) => {
                let takes = "classes, or one number for each unit of the last layer, of which at least 2";
                (units >= 2 && of_values.is_none_or(|width| width == units), takes)
            }
            _ => {
                let takes = "classes, or one number for each unit of the last layer";
                (of_values.is_none_or(|width| width == units), takes)
            }
        };
        if fits {
            return Ok(());
        }
        let way_out = format!("it takes {takes}; {}", targets.beside(units));
        Err(config("fit.metrics", &format!("\"{}\"", self.name()), way_out))
    }

    /// A meter that has seen nothing.
    pub(crate) fn meter(&self) -> Meter {
        Meter::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Serialize, Deserialize)]
    struct Table {
        metrics: Vec<Metric>,
    }

    fn read(text: &str) -> Result<Vec<Metric>, String> {
        let table: Result<Table, _> = toml::from_str(&format!("metrics = [{text}]"));
        table.map(|table| table.metrics).map_err(|error| error.message().to_owned())
    }

    #[test]
    fn every_metric_has_a_name_and_survives_its_own_text() {
        let mut names = Vec::new();
        for (name, _) in KNOWN {
            let metrics = read(&format!("\"{name}\"")).unwrap();
            metrics[0].check().unwrap();
            names.push(metrics[0].name());
            assert_eq!(read(&format!("\"{}\"", metrics[0].name())), Ok(metrics.clone()), "{name}");
            let text = toml::to_string(&Table { metrics: metrics.clone() }).unwrap();
            assert_eq!(toml::from_str::<Table>(&text).unwrap().metrics, metrics, "{text}");
        }
        names.sort();
        names.dedup();
        assert_eq!(names.len(), 16, "two of them have a short and a long name");
    }

    #[test]
    fn figures_of_several_k_are_told_apart() {
        let metrics =
            read("\"top_k_categorical_accuracy\", { name = \"top_k_categorical_accuracy\", k = 3 }");
        let names: Vec<String> = metrics.unwrap().iter().map(Metric::name).collect();
        assert_eq!(names, ["top_k_categorical_accuracy", "top_3_categorical_accuracy"]);
    }

    #[test]
    fn what_cannot_be_is_answered() {
        assert!(
            read("\"acuracy\"")
                .unwrap_err()
                .starts_with("unknown metric \"acuracy\"; did you mean \"accuracy\"?")
        );
        assert_eq!(read("{ name = \"auc\", k = 3 }").unwrap_err(), "unknown field `k`, there are no fields");
        let zero = Metric::TopKCategoricalAccuracy(TopKConfig { k: 0 });
        assert_eq!(zero.check().unwrap_err().to_string(), "fit.metrics.k is 0; it must be at least 1");
        assert_eq!(
            Metric::Mse.check_output(2, &Targets::Classes(&[])).unwrap_err().to_string(),
            "fit.metrics is \"mse\"; it takes one number for each unit of the last layer; the last layer has 2 units, \
             the targets are classes"
        );
        let three = Targets::Values { values: &[], width: 3 };
        assert!(Metric::Accuracy.check_output(2, &three).is_err());
        assert!(Metric::TopKCategoricalAccuracy(TopKConfig::default()).check_output(1, &three).is_err());
        for metric in [Metric::Accuracy, Metric::LogLoss, Metric::Auc, Metric::Mse, Metric::RankIc] {
            metric.check_output(3, &three).unwrap();
        }
    }
}
