//! The sections `[model]` and `[fit]` of a pipeline: which network, and how it is fitted. Keys, names and
//! defaults are Keras's.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use crate::activation::Activation;
use crate::loss::Loss;
use crate::metric::Metric;
use crate::name::{self, Kind};
use crate::{Error, OptimizerConfig};

const LAYERS_MAX: usize = 64;
const UNITS_MAX: usize = 1 << 16;
const PARAMETERS_MAX: usize = 1 << 28;
const EPOCHS_MAX: usize = 100_000;
const BATCH_SIZE_MAX: usize = 1 << 20;

/// `[model]`: a network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelConfig {
    /// From the features to the output; the last one tells the classes.
    pub layers: Vec<LayerConfig>,
}

/// `[[model.layers]]`: one layer, told apart by `type`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LayerConfig {
    /// Every output sees every input.
    Dense(DenseConfig),
}

/// A layer in which every output sees every input: `activation(x @ kernel + bias)`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseConfig {
    /// How many outputs it has.
    pub units: usize,
    /// What it does to its sums; nothing by default.
    #[serde(default)]
    pub activation: Activation,
}

/// `[fit]`: how a network is fitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FitConfig {
    /// How often every training row is seen.
    pub epochs: usize,
    /// Rows of an update; the last batch of an epoch may be smaller.
    pub batch_size: usize,
    /// How gradients become updates.
    pub optimizer: OptimizerConfig,
    /// What is made small.
    pub loss: Loss,
    /// What is counted beside the loss.
    pub metrics: Vec<Metric>,
    /// Decides the first weights and the order of rows.
    pub seed: u64,
}

impl Default for FitConfig {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch_size: 32,
            optimizer: OptimizerConfig::default(),
            loss: Loss::SparseCategoricalCrossentropy,
            metrics: vec![Metric::Accuracy],
            seed: 0,
        }
    }
}

impl FitConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        in_range("fit.epochs", self.epochs, EPOCHS_MAX)?;
        in_range("fit.batch_size", self.batch_size, BATCH_SIZE_MAX)?;
        self.optimizer.check()
    }
}

impl ModelConfig {
    /// Checks every value, and that the last layer tells classes.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        in_range("the number of model.layers", self.layers.len(), LAYERS_MAX)?;
        for (at, LayerConfig::Dense(dense)) in self.layers.iter().enumerate() {
            in_range(&format!("model.layers[{at}].units"), dense.units, UNITS_MAX)?;
        }
        let last = self.layers.len() - 1;
        let LayerConfig::Dense(output) = &self.layers[last];
        if output.activation != Activation::Softmax {
            let key = format!("model.layers[{last}].activation");
            let way_out = "the last layer gives the probabilities of the classes, so it must be \"softmax\"";
            return Err(config(key, &format!("\"{}\"", output.activation.name()), way_out));
        }
        if output.units < 2 {
            let key = format!("model.layers[{last}].units");
            return Err(config(key, &output.units, "the last layer has one unit a class, so at least 2"));
        }
        Ok(())
    }

    /// How many classes the last layer tells apart.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |LayerConfig::Dense(dense)| dense.units)
    }

    /// Checks that the weights for `columns` features stay below the limit.
    pub(crate) fn check_parameters(&self, columns: usize) -> Result<(), Error> {
        let mut inputs = columns;
        let mut parameters = 0usize;
        for LayerConfig::Dense(dense) in &self.layers {
            let of_layer = inputs.saturating_add(1).saturating_mul(dense.units);
            parameters = parameters.saturating_add(of_layer);
            inputs = dense.units;
        }
        in_range("the number of weights of model.layers", parameters, PARAMETERS_MAX)
    }
}

impl<'de> Deserialize<'de> for LayerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Clone, Copy)]
        enum Type {
            Dense,
        }
        const KIND: Kind = Kind { one: "layer type", all: "layer types" };
        let (kind, rest) = split_tag(deserializer, "type", KIND)?;
        match name::find(KIND, &kind, &[("dense", Type::Dense)]).map_err(D::Error::custom)? {
            Type::Dense => DenseConfig::deserialize(rest).map(Self::Dense).map_err(D::Error::custom),
        }
    }
}

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

fn in_range(key: &str, value: usize, most: usize) -> Result<(), Error> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(config(key, &value, format!("it must be between 1 and {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::AdamConfig;

    fn model(text: &str) -> Result<ModelConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    fn fit(text: &str) -> Result<FitConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    const TWO_LAYERS: &str = "[[layers]]\ntype = \"dense\"\nunits = 128\nactivation = \"relu\"\n\
                              [[layers]]\ntype = \"dense\"\nunits = 10\nactivation = \"softmax\"\n";

    #[test]
    fn a_network_is_read_and_written() {
        let read = model(TWO_LAYERS).unwrap();
        let dense = |units, activation| LayerConfig::Dense(DenseConfig { units, activation });
        assert_eq!(read.layers, [dense(128, Activation::Relu), dense(10, Activation::Softmax)]);
        assert_eq!(read.classes(), 10);
        read.check().unwrap();
        assert_eq!(model(&toml::to_string(&read).unwrap()), Ok(read));
    }

    #[test]
    fn a_fit_has_the_defaults_of_keras() {
        let read = fit("").unwrap();
        assert_eq!(read, FitConfig::default());
        let OptimizerConfig::Adam(adam) = read.optimizer;
        assert_eq!((adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon), (0.001, 0.9, 0.999, 1e-7));
        let read =
            fit("batch_size = 256\nseed = 7\noptimizer = { name = \"adam\", learning_rate = 1 }").unwrap();
        let adam = AdamConfig { learning_rate: 1.0, ..AdamConfig::default() };
        assert_eq!((read.batch_size, read.seed, &read.optimizer), (256, 7, &OptimizerConfig::Adam(adam)));
        assert_eq!(fit(&toml::to_string(&read).unwrap()), Ok(read));
        assert_eq!(fit("optimizer = \"adam\""), Ok(FitConfig::default()));
    }

    #[test]
    fn unknown_names_are_answered_with_the_nearest() {
        for (text, expected) in [
            (
                "[[layers]]\ntype = \"dens\"\nunits = 1",
                "unknown layer type \"dens\"; did you mean \"dense\"? layer types: dense",
            ),
            ("[[layers]]\nunits = 1", "missing field `type`, which names the layer type"),
            ("[[layers]]\ntype = 3", "type must be a string, got 3"),
            (
                "[[layers]]\ntype = \"dense\"\nunits = 1\nactivation = \"rleu\"",
                "unknown activation \"rleu\"; did you mean \"relu\"? activations: linear, relu, sigmoid, softmax, tanh",
            ),
            (
                "[[layers]]\ntype = \"dense\"\nunit = 1",
                "unknown field `unit`, expected `units` or `activation`",
            ),
            ("layer = []", "unknown field `layer`, expected `layers`"),
        ] {
            assert_eq!(model(text).unwrap_err(), expected, "{text}");
        }
        for (text, expected) in [
            ("optimizer = \"adm\"", "unknown optimizer \"adm\"; did you mean \"adam\"? optimizers: adam"),
            ("optimizer = { name = \"lbfgs\" }", "unknown optimizer \"lbfgs\"; optimizers: adam"),
            (
                "optimizer = { name = \"adam\", lr = 1 }",
                "unknown field `lr`, expected one of `learning_rate`, `beta_1`, `beta_2`, `epsilon`",
            ),
            (
                "loss = \"categorical_crossentropy\"",
                "unknown loss \"categorical_crossentropy\"; did you mean \"sparse_categorical_crossentropy\"? \
                 losses: sparse_categorical_crossentropy",
            ),
            (
                "metrics = [\"acuracy\"]",
                "unknown metric \"acuracy\"; did you mean \"accuracy\"? metrics: accuracy",
            ),
            (
                "epoch = 3",
                "unknown field `epoch`, expected one of `epochs`, `batch_size`, `optimizer`, `loss`, `metrics`, `seed`",
            ),
        ] {
            assert_eq!(fit(text).unwrap_err(), expected, "{text}");
        }
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        let dense = |units, activation| LayerConfig::Dense(DenseConfig { units, activation });
        for (layers, expected) in [
            (vec![], "the number of model.layers is 0; it must be between 1 and 64"),
            (vec![dense(0, Activation::Relu)], "model.layers[0].units is 0; it must be between 1 and 65536"),
            (
                vec![dense(8, Activation::Relu)],
                "model.layers[0].activation is \"relu\"; the last layer gives the probabilities of the classes, so \
                 it must be \"softmax\"",
            ),
            (
                vec![dense(1, Activation::Softmax)],
                "model.layers[0].units is 1; the last layer has one unit a class, so at least 2",
            ),
        ] {
            assert_eq!(ModelConfig { layers }.check().unwrap_err().to_string(), expected);
        }
        let wide = ModelConfig { layers: vec![dense(65536, Activation::Relu); 3] };
        assert!(wide.check_parameters(10).unwrap_err().to_string().starts_with("the number of weights of"));
        let with = |adam| FitConfig { optimizer: OptimizerConfig::Adam(adam), ..FitConfig::default() };
        for (config, expected) in [
            (
                FitConfig { epochs: 0, ..FitConfig::default() },
                "fit.epochs is 0; it must be between 1 and 100000",
            ),
            (
                FitConfig { batch_size: 0, ..FitConfig::default() },
                "fit.batch_size is 0; it must be between 1 and 1048576",
            ),
            (
                with(AdamConfig { learning_rate: f64::NAN, ..AdamConfig::default() }),
                "fit.optimizer.learning_rate is NaN; it must be a positive finite number",
            ),
            (
                with(AdamConfig { beta_1: 1.0, ..AdamConfig::default() }),
                "fit.optimizer.beta_1 is 1; it must be at least 0 and below 1",
            ),
            (
                with(AdamConfig { epsilon: 0.0, ..AdamConfig::default() }),
                "fit.optimizer.epsilon is 0; it must be a positive finite number",
            ),
        ] {
            assert_eq!(config.check().unwrap_err().to_string(), expected);
        }
    }
}
