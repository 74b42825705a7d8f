//! `mlp`: the multilayer perceptron. Qlib's `Net` (`qlib/contrib/model/pytorch_nn.py`) is
//! `{ name = "mlp", units = [256], activation = { name = "leaky_relu", negative_slope = 0.1 }, batch_normalization = true,
//! input_dropout = 0.05, output_dropout = 0.05 }`.

use serde::{Deserialize, Serialize};

use super::{LAYERS_MAX, UNITS_MAX, rate};
use crate::Error;
use crate::activation::Activation;
use crate::config::{LayerConfig, OutputConfig, in_range};
use crate::layer::{
    ActivationConfig, BatchNormalizationConfig, DenseConfig, DropoutConfig, FlattenConfig, LayerKind,
};

/// Dense layers, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MlpConfig {
    /// Units of each hidden layer.
    pub units: Vec<usize>,
    /// What each hidden layer does to its sums.
    pub activation: Activation,
    /// Whether the sums of each hidden layer are normalized before that, as PyTorch's `BatchNorm1d` does by default.
    pub batch_normalization: bool,
    /// The share of each hidden layer's results that is left out while fitting.
    pub dropout: f64,
    /// The share of the features that is left out while fitting.
    pub input_dropout: f64,
    /// The share of what the last layer takes that is left out while fitting, instead of `dropout` there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_dropout: Option<f64>,
}

impl Default for MlpConfig {
    fn default() -> Self {
        Self {
            units: vec![128],
            activation: Activation::Relu,
            batch_normalization: false,
            dropout: 0.0,
            input_dropout: 0.0,
            output_dropout: None,
        }
    }
}

impl MlpConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        in_range("the number of model.architecture.units", self.units.len(), LAYERS_MAX)?;
        for units in &self.units {
            in_range("model.architecture.units", *units, UNITS_MAX)?;
        }
        rate("dropout", self.dropout)?;
        rate("input_dropout", self.input_dropout)?;
        rate("output_dropout", self.output_dropout.unwrap_or_default())
    }

    pub(super) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        let mut layers = vec![LayerKind::Flatten(FlattenConfig {})];
        let dropout = |rate: f64| (rate > 0.0).then_some(LayerKind::Dropout(DropoutConfig { rate }));
        layers.extend(dropout(self.input_dropout));
        for (at, units) in self.units.iter().enumerate() {
            if self.batch_normalization {
                // PyTorch's momentum is the share of the new batch, 0.1.
                let normalization = BatchNormalizationConfig {
                    momentum: 0.9,
                    epsilon: 1e-5,
                    ..BatchNormalizationConfig::default()
                };
                layers.push(LayerKind::Dense(DenseConfig::new(*units, Activation::Linear)));
                layers.push(LayerKind::BatchNormalization(normalization));
                layers.push(LayerKind::Activation(ActivationConfig { activation: self.activation }));
            } else {
                layers.push(LayerKind::Dense(DenseConfig::new(*units, self.activation)));
            }
            let is_last = at + 1 == self.units.len();
            layers.extend(dropout(self.output_dropout.filter(|_| is_last).unwrap_or(self.dropout)));
        }
        layers.into_iter().map(LayerConfig::from).chain([output.layer()]).collect()
    }
}
