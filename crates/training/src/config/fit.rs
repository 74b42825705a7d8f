//! `[fit]`: what `compile`, `fit` and the callbacks are told in Keras.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{config, in_range};
use crate::callback::{
    CsvLogConfig, EarlyStoppingConfig, JsonLinesConfig, ReduceLrOnPlateauConfig, TensorBoardConfig,
};
use crate::checkpoint::CheckpointConfig;
use crate::loss::Loss;
use crate::metric::Metric;
use crate::order::Shuffle;
use crate::schedule::Schedule;
use crate::{Error, OptimizerConfig};

const EPOCHS_MAX: usize = 100_000;
const BATCH_SIZE_MAX: usize = 1 << 20;

/// `[fit]`: how a network is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitConfig {
    /// How often every training row is seen; 0 leaves the network as it starts.
    pub epochs: usize,
    /// Rows of an update; the last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// How gradients become updates.
    pub optimizer: OptimizerConfig,
    /// How the learning rate changes from update to update; it does not by default.
    pub schedule: Schedule,
    /// What is made small.
    pub loss: LossConfig,
    /// How much the loss of each output counts; 1 by default.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub loss_weights: BTreeMap<String, f64>,
    /// What is counted beside the loss.
    pub metrics: MetricsConfig,
    /// How much rows of a class count while fitting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class_weight: Option<ClassWeight>,
    /// In which order rows are seen.
    pub shuffle: Shuffle,
    /// Decides the first weights, the order of rows and what is left out.
    pub seed: u64,
    /// When to stop before the last epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub early_stopping: Option<EarlyStoppingConfig>,
    /// When to lower the learning rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduce_lr_on_plateau: Option<ReduceLrOnPlateauConfig>,
    /// When the state of a fit is written down.
    pub checkpoint: CheckpointConfig,
    /// A table of the epochs, beside the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub csv_log: Option<CsvLogConfig>,
    /// A JSON object for every epoch, beside the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub json_lines: Option<JsonLinesConfig>,
    /// Event files for TensorBoard, beside the bundle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensorboard: Option<TensorBoardConfig>,
}

/// `loss = "mse"`, or one for each output: `loss = { direction = "binary_crossentropy", size = "mse" }`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "serde_json::Value")]
pub enum LossConfig {
    /// Of every output.
    All(Loss),
    /// By the name of the output.
    Outputs(BTreeMap<String, Loss>),
}

/// `metrics = ["accuracy"]`, or some for each output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged, try_from = "serde_json::Value")]
pub enum MetricsConfig {
    /// Of every output.
    All(Vec<Metric>),
    /// By the name of the output.
    Outputs(BTreeMap<String, Vec<Metric>>),
}

/// `class_weight = "balanced"`, or a weight for each class from 0 on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ClassWeight {
    /// `"balanced"`: rows / (classes * rows of the class), as scikit-learn.
    Balanced(Balanced),
    /// One number a class.
    Each(Vec<f64>),
}

/// The word `balanced`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balanced {
    /// Classes count alike.
    Balanced,
}

impl TryFrom<serde_json::Value> for LossConfig {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let by_output = value.as_object().is_some_and(|table| !table.contains_key("name"));
        let read = if by_output {
            serde_json::from_value(value).map(Self::Outputs)
        } else {
            serde_json::from_value(value).map(Self::All)
        };
        read.map_err(|error| error.to_string())
    }
}

impl TryFrom<serde_json::Value> for MetricsConfig {
    type Error = String;

    fn try_from(value: serde_json::Value) -> Result<Self, String> {
        let read = if value.is_object() {
            serde_json::from_value(value).map(Self::Outputs)
        } else {
            serde_json::from_value(value).map(Self::All)
        };
        read.map_err(|error| error.to_string())
    }
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 32,
            optimizer: OptimizerConfig::default(),
            schedule: Schedule::default(),
            loss: LossConfig::All(Loss::default()),
            loss_weights: BTreeMap::new(),
            metrics: MetricsConfig::All(Vec::new()),
            class_weight: None,
            shuffle: Shuffle::default(),
            seed: 0,
            early_stopping: None,
            reduce_lr_on_plateau: None,
            checkpoint: CheckpointConfig::default(),
            csv_log: None,
            json_lines: None,
            tensorboard: None,
        }
    }
}

impl FitConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        if self.epochs > EPOCHS_MAX {
            return Err(config("fit.epochs", &self.epochs, format!("it must be at most {EPOCHS_MAX}")));
        }
        in_range("fit.batch_size", self.batch_size, BATCH_SIZE_MAX)?;
        self.optimizer.check()?;
        self.schedule.check()?;
        self.shuffle.check()?;
        match &self.loss {
            LossConfig::All(loss) => loss.check()?,
            LossConfig::Outputs(losses) => losses.values().try_for_each(Loss::check)?,
        }
        for (output, weight) in &self.loss_weights {
            if !(weight.is_finite() && *weight >= 0.0) {
                let key = format!("fit.loss_weights.{output}");
                return Err(config(key, weight, "it must be a finite number of at least 0"));
            }
        }
        match &self.metrics {
            MetricsConfig::All(metrics) => metrics.iter().try_for_each(Metric::check)?,
            MetricsConfig::Outputs(metrics) => metrics.values().flatten().try_for_each(Metric::check)?,
        }
        if let Some(ClassWeight::Each(weights)) = &self.class_weight
            && let Some((class, weight)) =
                weights.iter().enumerate().find(|(_, weight)| !(weight.is_finite() && **weight >= 0.0))
        {
            let key = format!("fit.class_weight[{class}]");
            return Err(config(key, weight, "it must be a finite number of at least 0"));
        }
        if let Some(early_stopping) = &self.early_stopping {
            early_stopping.check()?;
        }
        if let Some(plateau) = &self.reduce_lr_on_plateau {
            plateau.check()?;
        }
        if let Some(log) = &self.csv_log {
            log.check()?;
        }
        if let Some(log) = &self.json_lines {
            log.check()?;
        }
        if let Some(log) = &self.tensorboard {
            log.check()?;
        }
        self.checkpoint.check()
    }
}
