//! Ready networks: a few keys that are written out as layers. A new one is a file, a variant and a line of the list.

mod linear;
mod mlp;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use linear::LinearConfig;
pub use mlp::MlpConfig;

use crate::Error;
use crate::config::{LayerConfig, OutputConfig, split_tag};
use crate::name::{self, Kind};

/// `architecture = "mlp"` or `architecture = { name = "mlp", units = [256] }`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ArchitectureConfig {
    /// One dense layer.
    Linear(LinearConfig),
    /// Dense layers, one after the other.
    Mlp(MlpConfig),
}

const KIND: Kind = Kind { one: "architecture", all: "architectures" };

type Read = fn(serde_json::Value) -> serde_json::Result<ArchitectureConfig>;

const LIST: &[(&str, Read)] = &[
    ("linear", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Linear)),
    ("mlp", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Mlp)),
];

impl ArchitectureConfig {
    /// The name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Linear(_) => "linear",
            Self::Mlp(_) => "mlp",
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Linear(_) => Ok(()),
            Self::Mlp(config) => config.check(),
        }
    }

    /// Its layers, which end with `output`.
    pub(crate) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        match self {
            Self::Linear(config) => config.layers(output),
            Self::Mlp(config) => config.layers(output),
        }
    }
}

impl<'de> Deserialize<'de> for ArchitectureConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, rest) = split_tag(deserializer, "name", KIND)?;
        let read = name::find(KIND, &name, LIST).map_err(D::Error::custom)?;
        read(rest).map_err(D::Error::custom)
    }
}
