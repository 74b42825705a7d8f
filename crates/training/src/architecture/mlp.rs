//! `mlp`: the multilayer perceptron. Qlib's `DNNModelPytorch` (`qlib/contrib/model/pytorch_nn.py`) is
//! `{ units = [256], activation = { name = "leaky_relu", negative_slope = 0.1 }, dropout = 0.05, batch_normalization = true }`
//! with the first dropout on the features themselves.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::activation::Activation;
use crate::config::{LayerConfig, OutputConfig, config, in_range};
use crate::layer::{DenseConfig, DropoutConfig, FlattenConfig, LayerKind};

const LAYERS_MAX: usize = 64;
const UNITS_MAX: usize = 1 << 16;

/// Dense layers, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Units of each hidden layer.
    pub units: Vec<usize>,
    /// What each hidden layer does to its sums.
    pub activation: Activation,
    /// The share of each hidden layer's results that is left out while fitting.
    pub dropout: f64,
    /// The share of the features that is left out while fitting.
    pub input_dropout: f64,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self { units: vec![128], activation: Activation::Relu, dropout: 0.0, input_dropout: 0.0 }
    }
}

impl MlpConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        in_range("the number of model.architecture.units", self.units.len(), LAYERS_MAX)?;
        for units in &self.units {
            in_range("model.architecture.units", *units, UNITS_MAX)?;
        }
        for (key, rate) in [("dropout", self.dropout), ("input_dropout", self.input_dropout)] {
            if !(0.0..1.0).contains(&rate) {
                let key = format!("model.architecture.{key}");
                return Err(config(key, &rate, "it must be at least 0 and below 1"));
            }
        }
        Ok(())
    }

    pub(super) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        let mut layers = vec![LayerKind::Flatten(FlattenConfig {})];
        let dropout = |rate: f64| (rate > 0.0).then_some(LayerKind::Dropout(DropoutConfig { rate }));
        layers.extend(dropout(self.input_dropout));
        for units in &self.units {
            layers.push(LayerKind::Dense(DenseConfig::new(*units, self.activation)));
            layers.extend(dropout(self.dropout));
        }
        layers.into_iter().map(LayerConfig::from).chain([output.layer()]).collect()
    }
}
