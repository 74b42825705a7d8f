//! `transformer`: the encoder of Vaswani et al. 2017, "Attention Is All You Need", with Qlib's sizes
//! (`qlib/contrib/model/pytorch_transformer.py`): a dense layer to `d_model`, positions added, layers of attention and a
//! feed-forward part, each added to its input and normalized after it, as `torch.nn.TransformerEncoderLayer` does;
//! the last step goes to the output.

use serde::{Deserialize, Serialize};

use super::{LAYERS_MAX, UNITS_MAX, rate};
use crate::Error;
use crate::activation::Activation;
use crate::config::{LayerConfig, OutputConfig, config, in_range};
use crate::layer::{
    DenseConfig, DropoutConfig, LastStepConfig, LayerKind, LayerNormalizationConfig,
    MultiHeadAttentionConfig, PositionalEncodingConfig, ResidualConfig,
};

/// An encoder with attention.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TransformerConfig {
    /// Channels of a step inside the network; 64 by default, as all below Qlib's.
    pub d_model: usize,
    /// Heads of the attention, of `d_model / nhead` channels each; 2 by default.
    pub nhead: usize,
    /// How many layers there are; 2 by default.
    pub num_layers: usize,
    /// Units of the feed-forward part; 2048 by default, as PyTorch's.
    pub dim_feedforward: usize,
    /// The share of attention and of each part's results that is left out while fitting; 0 by default.
    pub dropout: f64,
}

impl Default for TransformerConfig {
    fn default() -> Self {
        Self { d_model: 64, nhead: 2, num_layers: 2, dim_feedforward: 2048, dropout: 0.0 }
    }
}

impl TransformerConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        in_range("model.architecture.d_model", self.d_model, UNITS_MAX)?;
        in_range("model.architecture.nhead", self.nhead, UNITS_MAX)?;
        in_range("model.architecture.num_layers", self.num_layers, LAYERS_MAX)?;
        in_range("model.architecture.dim_feedforward", self.dim_feedforward, UNITS_MAX)?;
        if !self.d_model.is_multiple_of(self.nhead) {
            let way_out = format!("it must divide d_model, which is {}", self.d_model);
            return Err(config("model.architecture.nhead", &self.nhead, way_out));
        }
        rate("dropout", self.dropout)
    }

    pub(super) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        let mut layers = vec![
            LayerKind::Dense(DenseConfig::new(self.d_model, Activation::Linear)),
            LayerKind::PositionalEncoding(PositionalEncodingConfig::default()),
        ];
        for _ in 0..self.num_layers {
            let attention = MultiHeadAttentionConfig {
                dropout: self.dropout,
                ..MultiHeadAttentionConfig::new(self.nhead, self.d_model / self.nhead)
            };
            layers.extend(self.part(vec![Some(LayerKind::MultiHeadAttention(attention)), self.left_out()]));
            layers.extend(self.part(vec![
                Some(LayerKind::Dense(DenseConfig::new(self.dim_feedforward, Activation::Relu))),
                self.left_out(),
                Some(LayerKind::Dense(DenseConfig::new(self.d_model, Activation::Linear))),
                self.left_out(),
            ]));
        }
        layers.push(LayerKind::LastStep(LastStepConfig {}));
        layers.into_iter().map(LayerConfig::from).chain([output.layer()]).collect()
    }

    fn left_out(&self) -> Option<LayerKind> {
        (self.dropout > 0.0).then_some(LayerKind::Dropout(DropoutConfig { rate: self.dropout }))
    }

    /// Layers added to their input, and the sum normalized.
    fn part(&self, layers: Vec<Option<LayerKind>>) -> [LayerKind; 2] {
        [
            LayerKind::Residual(ResidualConfig::new(layers.into_iter().flatten().collect())),
            LayerKind::LayerNormalization(LayerNormalizationConfig::torch()),
        ]
    }
}
