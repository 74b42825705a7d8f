//! The sections `[model]` and `[fit]` of a pipeline: which network, and how it is fitted. Keys, names and
//! defaults are Keras's.

mod fit;
mod model;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

pub use fit::{ClassWeight, FitConfig, LossConfig, MetricsConfig};
pub use model::{InputConfig, LayerConfig, ModelConfig, OutputConfig};

use crate::Error;
use crate::name::Kind;

/// Takes the key that tells the variants of a table apart out of it; a bare string is a table of that key alone.
pub(crate) fn split_tag<'de, D: Deserializer<'de>>(
    deserializer: D,
    tag: &str,
    kind: Kind,
) -> Result<(String, serde_json::Value), D::Error> {
    use serde_json::Value;
    let mut table = match Value::deserialize(deserializer)? {
        Value::Object(table) => table,
        Value::String(name) => return Ok((name, Value::Object(serde_json::Map::new()))),
        other => return Err(D::Error::custom(format!("{} must be a table, got {other}", kind.one))),
    };
    match table.remove(tag) {
        Some(Value::String(name)) => Ok((name, Value::Object(table))),
        Some(other) => Err(D::Error::custom(format!("{tag} must be a string, got {other}"))),
        None => Err(D::Error::custom(format!("missing field `{tag}`, which names the {}", kind.one))),
    }
}

/// An [`Error::Config`].
pub(crate) fn config(
    key: impl Into<String>,
    value: &dyn std::fmt::Display,
    way_out: impl Into<String>,
) -> Error {
    Error::Config { key: key.into(), value: value.to_string(), way_out: way_out.into() }
}

/// Checks a count.
pub(crate) fn in_range(key: &str, value: usize, most: usize) -> Result<(), Error> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(config(key, &value, format!("it must be between 1 and {most}")))
}
