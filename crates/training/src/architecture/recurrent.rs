//! `lstm`, `gru` and `alstm`: recurrent layers one after the other, and a dense layer over what they leave.
//!
//! The first two are Qlib's `LSTMModel` and `GRUModel` (`qlib/contrib/model/pytorch_lstm.py`, `pytorch_gru.py`): the last
//! step of the last layer goes to the output, and `dropout` lies between the layers. `alstm` is Qlib's `ALSTMModel`
//! (`pytorch_alstm.py`; Qin et al. 2017, "A Dual-Stage Attention-Based Recurrent Neural Network for Time Series
//! Prediction"): a dense layer with `tanh` before the recurrent ones, and their last step beside a mean of all
//! steps, weighted by attention.

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::activation::Activation;
use crate::config::{LayerConfig, OutputConfig, in_range};
use crate::layer::{
    AttentionPoolingConfig, ConcatenateConfig, DenseConfig, DropoutConfig, GruConfig, LastStepConfig,
    LayerKind, LstmConfig,
};

use super::{LAYERS_MAX, UNITS_MAX, rate};

/// Recurrent layers, one after the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecurrentConfig {
    /// Outputs of each layer; 64 by default, as all below Qlib's.
    pub hidden_size: usize,
    /// How many layers there are; 2 by default.
    pub num_layers: usize,
    /// The share of each layer's result but the last's that is left out while fitting; 0 by default.
    pub dropout: f64,
}

impl Default for RecurrentConfig {
    fn default() -> Self {
        Self { hidden_size: 64, num_layers: 2, dropout: 0.0 }
    }
}

/// Recurrent layers whose steps attention weighs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlstmConfig {
    /// Outputs of each layer; 64 by default, as all below Qlib's.
    pub hidden_size: usize,
    /// How many recurrent layers there are; 2 by default.
    pub num_layers: usize,
    /// The share of each recurrent layer's result but the last's, and of what attention looks at, that is left out
    /// while fitting; 0 by default.
    pub dropout: f64,
    /// Which recurrent layers they are; `gru` by default.
    pub rnn_type: RnnType,
}

/// A kind of recurrent layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RnnType {
    /// Gated recurrent units.
    Gru,
    /// Long short-term memory.
    Lstm,
}

impl Default for AlstmConfig {
    fn default() -> Self {
        Self { hidden_size: 64, num_layers: 2, dropout: 0.0, rnn_type: RnnType::Gru }
    }
}

impl RecurrentConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        in_range("model.architecture.hidden_size", self.hidden_size, UNITS_MAX)?;
        in_range("model.architecture.num_layers", self.num_layers, LAYERS_MAX)?;
        rate("dropout", self.dropout)
    }

    pub(super) fn layers(&self, kind: RnnType, output: OutputConfig) -> Vec<LayerConfig> {
        let layers = self.stack(kind, false);
        layers.into_iter().map(LayerConfig::from).chain([output.layer()]).collect()
    }

    /// The recurrent layers, the last of which gives all its steps or the last one.
    fn stack(&self, kind: RnnType, all_steps: bool) -> Vec<LayerKind> {
        let mut layers = Vec::new();
        for at in 1..=self.num_layers {
            let is_last = at == self.num_layers;
            let return_sequences = !is_last || all_steps;
            layers.push(match kind {
                RnnType::Lstm => {
                    LayerKind::Lstm(LstmConfig { return_sequences, ..LstmConfig::new(self.hidden_size) })
                }
                RnnType::Gru => {
                    LayerKind::Gru(GruConfig { return_sequences, ..GruConfig::new(self.hidden_size) })
                }
            });
            if !is_last && self.dropout > 0.0 {
                layers.push(LayerKind::Dropout(DropoutConfig { rate: self.dropout }));
            }
        }
        layers
    }
}

impl AlstmConfig {
    fn recurrent(&self) -> RecurrentConfig {
        let Self { hidden_size, num_layers, dropout, .. } = *self;
        RecurrentConfig { hidden_size, num_layers, dropout }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        self.recurrent().check()
    }

    pub(super) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        let dense = DenseConfig::new(self.hidden_size, Activation::Tanh);
        let mut layers = vec![LayerConfig::from(LayerKind::Dense(dense))];
        layers.extend(self.recurrent().stack(self.rnn_type, true).into_iter().map(LayerConfig::from));
        if let Some(last) = layers.pop() {
            layers.push(last.named("states"));
        }
        let units = (self.hidden_size / 2).max(1);
        let attention = LayerKind::AttentionPooling(AttentionPoolingConfig { units, dropout: self.dropout });
        let last = LayerKind::LastStep(LastStepConfig {});
        layers.push(LayerConfig::from(last).named("last").of(&["states"]));
        layers.push(LayerConfig::from(attention).named("attention").of(&["states"]));
        let both = LayerKind::Concatenate(ConcatenateConfig {});
        layers.push(LayerConfig::from(both).of(&["last", "attention"]));
        layers.push(output.layer());
        layers
    }
}
