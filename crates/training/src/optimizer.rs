//! How gradients become updates: one file per rule, and the configuration that chooses one.

mod adam;

use burn::optim::ModuleOptimizer;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use adam::AdamConfig;

use crate::Error;
use crate::config::split_tag;
use crate::name::{self, Kind};

/// `optimizer = { name = "adam", ... }`, or just `optimizer = "adam"`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum OptimizerConfig {
    /// Adaptive moment estimation.
    Adam(AdamConfig),
}

impl Default for OptimizerConfig {
    fn default() -> Self {
        Self::Adam(AdamConfig::default())
    }
}

impl OptimizerConfig {
    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Adam(adam) => adam.check(),
        }
    }

    pub(crate) fn learning_rate(&self) -> f64 {
        match self {
            Self::Adam(adam) => adam.learning_rate,
        }
    }

    pub(crate) fn build(&self) -> ModuleOptimizer {
        match self {
            Self::Adam(adam) => adam.build().into(),
        }
    }
}

impl<'de> Deserialize<'de> for OptimizerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Clone, Copy)]
        enum Rule {
            Adam,
        }
        const KIND: Kind = Kind { one: "optimizer", all: "optimizers" };
        let (rule, rest) = split_tag(deserializer, "name", KIND)?;
        match name::find(KIND, &rule, &[("adam", Rule::Adam)]).map_err(D::Error::custom)? {
            Rule::Adam => AdamConfig::deserialize(rest).map(Self::Adam).map_err(D::Error::custom),
        }
    }
}
