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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layer::DenseConfig;
    use crate::{Activation, AdamConfig, LayerKind, LinearConfig, Loss, OptimizerConfig};

    fn model(text: &str) -> Result<ModelConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    fn fit(text: &str) -> Result<FitConfig, String> {
        toml::from_str(text).map_err(|error| error.message().to_owned())
    }

    const TWO_LAYERS: &str = "[[layers]]\ntype = \"dense\"\nunits = 128\nactivation = \"relu\"\n\
                              [[layers]]\ntype = \"dense\"\nname = \"out\"\ninputs = [\"dense\"]\nunits = 10\n\
                              activation = \"softmax\"\n";

    fn dense(units: usize, activation: Activation) -> LayerKind {
        LayerKind::Dense(DenseConfig::new(units, activation))
    }

    #[test]
    fn a_network_is_read_and_written() {
        let read = model(TWO_LAYERS).unwrap();
        let last: LayerConfig = dense(10, Activation::Softmax).into();
        assert_eq!(read.layers, [dense(128, Activation::Relu).into(), last.named("out").of(&["dense"])]);
        read.check().unwrap();
        assert_eq!(model(&toml::to_string(&read).unwrap()), Ok(read));
        let ready = model("architecture = { name = \"linear\", kernel_regularizer = { l2 = 0.5 } }").unwrap();
        let output = OutputConfig { units: 1, activation: Activation::Linear };
        let written_out = ready.written_out(output).unwrap();
        let last = written_out.layers.last().map(|layer| layer.kind.clone());
        assert!(
            matches!(&last, Some(LayerKind::Dense(dense)) if dense.kernel_regularizer.l2 == 0.5),
            "{last:?}"
        );
        assert_eq!(model(&toml::to_string(&ready).unwrap()), Ok(ready));
        let plain = model("architecture = \"linear\"").unwrap();
        assert_eq!(plain.architecture, Some(crate::ArchitectureConfig::Linear(LinearConfig::default())));
    }

    #[test]
    fn a_fit_has_the_defaults_of_keras() {
        let read = fit("").unwrap();
        assert_eq!(read, FitConfig::default());
        let OptimizerConfig::Adam(adam) = &read.optimizer else { panic!("{read:?}") };
        assert_eq!((adam.learning_rate, adam.beta_1, adam.beta_2, adam.epsilon), (0.001, 0.9, 0.999, 1e-7));
        let read =
            fit("batch_size = 256\nseed = 7\noptimizer = { name = \"adam\", learning_rate = 1 }").unwrap();
        let adam = AdamConfig { learning_rate: 1.0, ..AdamConfig::default() };
        assert_eq!((read.batch_size, read.seed, &read.optimizer), (256, 7, &OptimizerConfig::Adam(adam)));
        assert_eq!(fit(&toml::to_string(&read).unwrap()), Ok(read));
        assert_eq!(fit("optimizer = \"adam\""), Ok(FitConfig::default()));
    }

    #[test]
    fn losses_and_metrics_are_for_all_outputs_or_by_name() {
        let one = fit("loss = { name = \"huber\", delta = 2 }\nmetrics = [\"mae\"]").unwrap();
        assert!(matches!(one.loss, LossConfig::All(Loss::Huber(_))), "{:?}", one.loss);
        let text = "loss = { way = \"binary_crossentropy\", size = \"mse\" }\nmetrics = { size = [\"mae\"] }\n\
                    loss_weights = { size = 0.5 }\nclass_weight = \"balanced\"\nshuffle = \"dates\"";
        let several = fit(text).unwrap();
        let LossConfig::Outputs(losses) = &several.loss else { panic!("{:?}", several.loss) };
        assert_eq!(losses.keys().collect::<Vec<_>>(), ["size", "way"]);
        assert_eq!(losses["size"], Loss::MeanSquaredError);
        several.check().unwrap();
        assert_eq!(fit(&toml::to_string(&several).unwrap()), Ok(several));
        let error = fit("loss_weights = { size = -1 }").unwrap().check().unwrap_err().to_string();
        assert_eq!(error, "fit.loss_weights.size is -1; it must be a finite number of at least 0");
    }

    #[test]
    fn unknown_names_are_answered_with_the_nearest() {
        for (text, expected) in [
            (
                "[[layers]]\ntype = \"dens\"\nunits = 1",
                "unknown layer type \"dens\"; did you mean \"dense\"?",
            ),
            ("[[layers]]\nunits = 1", "missing field `type`, which names the layer type"),
            ("[[layers]]\ntype = 3", "type must be a string, got 3"),
            (
                "[[layers]]\ntype = \"dense\"\nunits = 1\nactivation = \"rleu\"",
                "unknown activation \"rleu\"; did you mean \"relu\"?",
            ),
            ("[[layers]]\ntype = \"dense\"\nunit = 1", "unknown field `unit`, expected one of `units`"),
            ("layer = []", "unknown field `layer`, expected one of `architecture`"),
            ("architecture = \"mpl\"", "unknown architecture \"mpl\"; did you mean \"mlp\"?"),
        ] {
            let error = model(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        for (text, expected) in [
            ("optimizer = \"adm\"", "unknown optimizer \"adm\"; did you mean \"adam\"?"),
            (
                "optimizer = { name = \"adam\", lr = 1 }",
                "unknown field `lr`, expected one of `learning_rate`",
            ),
            ("loss = \"sparse_categorical\"", "unknown loss \"sparse_categorical\"; did you mean"),
            ("metrics = [\"acuracy\"]", "unknown metric \"acuracy\"; did you mean \"accuracy\"?"),
            ("epoch = 3", "unknown field `epoch`, expected one of `epochs`"),
        ] {
            let error = fit(text).unwrap_err();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
    }

    #[test]
    fn values_that_cannot_be_are_named() {
        for (layers, expected) in [
            (vec![], "the number of model.layers is 0; it must be between 1 and 256"),
            (vec![dense(0, Activation::Relu)], "model.layers[0].units is 0; it must be between 1 and 65536"),
        ] {
            assert_eq!(ModelConfig::sequential(layers).check().unwrap_err().to_string(), expected);
        }
        for (text, expected) in [
            ("epochs = 100001", "fit.epochs is 100001; it must be at most 100000"),
            ("batch_size = 0", "fit.batch_size is 0; it must be between 1 and 1048576"),
            (
                "class_weight = [1.0, -1.0]",
                "fit.class_weight[1] is -1; it must be a finite number of at least 0",
            ),
        ] {
            assert_eq!(fit(text).unwrap().check().unwrap_err().to_string(), expected);
        }
    }
}
