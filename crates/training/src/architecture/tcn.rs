//! `tcn`: temporal convolutions (Bai, Kolter and Koltun 2018, "An Empirical Evaluation of Generic Convolutional and
//! Recurrent Networks for Sequence Modeling", section 3), with Qlib's sizes (`qlib/contrib/model/pytorch_tcn.py`):
//! residual blocks of two causal convolutions, each followed by `relu` and dropout, whose dilation doubles from block
//! to block; the last step goes to the output. The paper's weight normalization, a way to write the kernels, is left
//! out.

use serde::{Deserialize, Serialize};

use super::{LAYERS_MAX, UNITS_MAX, rate};
use crate::Error;
use crate::activation::Activation;
use crate::config::{LayerConfig, OutputConfig, in_range};
use crate::layer::{Conv1dConfig, DropoutConfig, LastStepConfig, LayerKind, Padding, ResidualConfig};

/// Blocks of causal convolutions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TcnConfig {
    /// Channels of each block; 128 by default, as all below Qlib's.
    pub n_chans: usize,
    /// Steps a convolution sees; 5 by default.
    pub kernel_size: usize,
    /// How many blocks there are; 5 by default.
    pub num_layers: usize,
    /// The share of each convolution's result that is left out while fitting; 0.5 by default.
    pub dropout: f64,
}

impl Default for TcnConfig {
    fn default() -> Self {
        Self { n_chans: 128, kernel_size: 5, num_layers: 5, dropout: 0.5 }
    }
}

/// Blocks beyond this would see further back than a sequence can be long.
const BLOCKS_MAX: usize = 16;

impl TcnConfig {
    pub(super) fn check(&self) -> Result<(), Error> {
        in_range("model.architecture.n_chans", self.n_chans, UNITS_MAX)?;
        in_range("model.architecture.kernel_size", self.kernel_size, LAYERS_MAX)?;
        in_range("model.architecture.num_layers", self.num_layers, BLOCKS_MAX)?;
        rate("dropout", self.dropout)
    }

    pub(super) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        let mut layers: Vec<LayerKind> = (0..self.num_layers).map(|at| self.block(1 << at)).collect();
        layers.push(LayerKind::LastStep(LastStepConfig {}));
        layers.into_iter().map(LayerConfig::from).chain([output.layer()]).collect()
    }

    fn block(&self, dilation_rate: usize) -> LayerKind {
        let convolution = Conv1dConfig {
            padding: Padding::Causal,
            dilation_rate,
            activation: Activation::Relu,
            ..Conv1dConfig::new(self.n_chans, self.kernel_size)
        };
        let mut layers = Vec::with_capacity(4);
        for _ in 0..2 {
            layers.push(LayerKind::Conv1d(convolution.clone()));
            layers.extend(
                (self.dropout > 0.0).then_some(LayerKind::Dropout(DropoutConfig { rate: self.dropout })),
            );
        }
        LayerKind::Residual(ResidualConfig { activation: Activation::Relu, ..ResidualConfig::new(layers) })
    }
}
