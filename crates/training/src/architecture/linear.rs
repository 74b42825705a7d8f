//! `linear`: one dense layer; with `mse` ordinary least squares, with cross-entropy (multinomial) logistic regression.

use serde::{Deserialize, Serialize};

use crate::config::{LayerConfig, OutputConfig};
use crate::layer::{DenseConfig, FlattenConfig, LayerKind, Regularizer};

/// One dense layer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearConfig {
    /// What its weights add to the loss: `{ l2 = 0.01 }` is ridge regression, `{ l1 = 0.01 }` the lasso.
    pub kernel_regularizer: Regularizer,
}

impl LinearConfig {
    pub(super) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        let mut dense = DenseConfig::new(output.units, output.activation);
        dense.kernel_regularizer = self.kernel_regularizer;
        vec![LayerKind::Flatten(FlattenConfig {}).into(), LayerKind::Dense(dense).into()]
    }
}
