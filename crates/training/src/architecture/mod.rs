//! Ready networks: a few keys that are written out as layers. A new one is a file, a variant and a line of the list.

mod linear;
mod mlp;
mod recurrent;
mod tcn;
mod transformer;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

pub use linear::LinearConfig;
pub use mlp::MlpConfig;
pub use recurrent::{AlstmConfig, RecurrentConfig, RnnType};
pub use tcn::TcnConfig;
pub use transformer::TransformerConfig;

use crate::Error;
use crate::config::{LayerConfig, OutputConfig, config, split_tag};
use crate::name::{self, Kind};

/// `architecture = "mlp"` or `architecture = { name = "mlp", units = [256] }`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "name", rename_all = "snake_case")]
pub enum ArchitectureConfig {
    /// Recurrent layers whose steps attention weighs.
    Alstm(AlstmConfig),
    /// Gated recurrent units.
    Gru(RecurrentConfig),
    /// One dense layer.
    Linear(LinearConfig),
    /// Long short-term memory.
    Lstm(RecurrentConfig),
    /// Dense layers, one after the other.
    Mlp(MlpConfig),
    /// Blocks of causal convolutions.
    Tcn(TcnConfig),
    /// An encoder with attention.
    Transformer(TransformerConfig),
}

const KIND: Kind = Kind { one: "architecture", all: "architectures" };

type Read = fn(serde_json::Value) -> serde_json::Result<ArchitectureConfig>;

const LIST: &[(&str, Read)] = &[
    ("alstm", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Alstm)),
    ("gru", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Gru)),
    ("linear", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Linear)),
    ("lstm", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Lstm)),
    ("mlp", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Mlp)),
    ("tcn", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Tcn)),
    ("transformer", |keys| serde_json::from_value(keys).map(ArchitectureConfig::Transformer)),
];

impl ArchitectureConfig {
    /// The name in a configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Alstm(_) => "alstm",
            Self::Gru(_) => "gru",
            Self::Linear(_) => "linear",
            Self::Lstm(_) => "lstm",
            Self::Mlp(_) => "mlp",
            Self::Tcn(_) => "tcn",
            Self::Transformer(_) => "transformer",
        }
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        match self {
            Self::Alstm(config) => config.check(),
            Self::Gru(config) | Self::Lstm(config) => config.check(),
            Self::Linear(_) => Ok(()),
            Self::Mlp(config) => config.check(),
            Self::Tcn(config) => config.check(),
            Self::Transformer(config) => config.check(),
        }
    }

    /// Its layers, which end with `output`.
    pub(crate) fn layers(&self, output: OutputConfig) -> Vec<LayerConfig> {
        match self {
            Self::Alstm(config) => config.layers(output),
            Self::Gru(config) => config.layers(RnnType::Gru, output),
            Self::Linear(config) => config.layers(output),
            Self::Lstm(config) => config.layers(RnnType::Lstm, output),
            Self::Mlp(config) => config.layers(output),
            Self::Tcn(config) => config.layers(output),
            Self::Transformer(config) => config.layers(output),
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

const LAYERS_MAX: usize = 64;
const UNITS_MAX: usize = 1 << 16;

/// Checks a share to be left out.
fn rate(key: &str, rate: f64) -> Result<(), Error> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(config(format!("model.architecture.{key}"), &rate, "it must be at least 0 and below 1"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::activation::Activation;
    use crate::config::ModelConfig;
    use crate::layer::Fitting;
    use crate::network::{Call, Network};
    use crate::sample::Columns;
    use crate::trained::elements;

    const OUTPUT: OutputConfig = OutputConfig { units: 1, activation: Activation::Linear };

    fn model(keys: &serde_json::Value) -> ModelConfig {
        serde_json::from_value(json!({"architecture": keys})).unwrap()
    }

    fn network(keys: &serde_json::Value, steps: usize) -> Result<Network, Error> {
        let names = (0..20).map(|at| format!("f{at}")).collect();
        Network::build(&model(keys).written_out(OUTPUT)?, &Columns { names, steps })
    }

    /// The numbers of parameters that gradients change, of PyTorch's modules of the same sizes (counted by hand for
    /// Qlib's classes for 20 features; its LSTM and GRU have a second bias for each gate, ours for the GRU alone, and
    /// its convolutions a norm for each filter).
    #[test]
    fn sizes_are_those_of_the_references() {
        let gates = |gates: usize, input: usize, biases: usize| gates * 64 * (input + 64 + biases);
        let conv = |input: usize, width: usize| 128 * input * width + 128;
        let blocks = conv(20, 5) + conv(128, 5) + conv(20, 1) + 4 * 2 * conv(128, 5);
        let attention = 4 * 64 * 64 + 4 * 64;
        let encoder = attention + 64 * 2048 + 2048 + 2048 * 64 + 64 + 4 * 64;
        for (keys, expected) in [
            (json!("lstm"), gates(4, 20, 1) + gates(4, 64, 1) + 65),
            (json!("gru"), gates(3, 20, 2) + gates(3, 64, 2) + 65),
            (json!("alstm"), (20 * 64 + 64) + 2 * gates(3, 64, 2) + (64 * 32 + 32 + 32) + 129),
            (json!("tcn"), blocks + 129),
            (json!("transformer"), (20 * 64 + 64) + 2 * encoder + 65),
            (
                json!({"name": "mlp", "units": [256], "batch_normalization": true}),
                (600 * 256 + 256) + 512 + 257,
            ),
            (json!("linear"), 601),
        ] {
            let network = network(&keys, 30).unwrap();
            let trainable: usize = network.trainable().map(|spec| spec.len()).sum();
            assert_eq!(trainable, expected, "{keys}");
        }
    }

    #[test]
    fn each_gives_one_finite_row_a_row_and_sees_every_step() {
        const STEPS: usize = 9;
        for keys in [
            json!("linear"),
            json!({"name": "mlp", "batch_normalization": true, "input_dropout": 0.1, "output_dropout": 0.1}),
            json!({"name": "lstm", "dropout": 0.1}),
            json!({"name": "gru", "num_layers": 1}),
            json!({"name": "alstm", "dropout": 0.1}),
            json!({"name": "alstm", "rnn_type": "lstm"}),
            json!({"name": "tcn", "n_chans": 16}),
            json!({"name": "transformer", "dim_feedforward": 32, "dropout": 0.1}),
        ] {
            let network = network(&keys, STEPS).unwrap();
            let device = crate::device::open_for_tests();
            let leaves = network.leaves(&network.fresh(3), &device);
            let run = |features: &[f32], fitting: Option<Fitting>| {
                let call =
                    Call { leaves: &leaves, device: &device, fitting, features, rows: 2, take_off: &[false] };
                elements(network.forward(&call).outputs.remove(0))
            };
            let features: Vec<f32> = (0..2 * STEPS * 20).map(|at| (at as f32 * 0.7).sin()).collect();
            let output = run(&features, None);
            assert_eq!(output.len(), 2, "{keys}");
            assert!(output.iter().all(|x| x.is_finite()), "{keys}: {output:?}");
            let fitting = |step| Some(Fitting { seed: 1, step });
            assert_eq!(run(&features, fitting(4)), run(&features, fitting(4)), "{keys}");
            for step in 0..STEPS {
                let mut changed = features.clone();
                changed[step * 20] += 1.0;
                let other = run(&changed, None);
                assert_ne!(other[0], output[0], "{keys} does not see step {step}");
                assert_eq!(other[1], output[1], "{keys} mixes rows");
            }
        }
    }

    #[test]
    fn a_row_that_is_no_sequence_is_refused_with_the_way_out() {
        for keys in [json!("lstm"), json!("gru"), json!("alstm"), json!("tcn"), json!("transformer")] {
            let reason = network(&keys, 1).unwrap_err().to_string();
            assert!(reason.contains("it takes a sequence [steps, channels], got ["), "{keys}: {reason}");
            assert!(reason.contains("[features] steps"), "{keys}: {reason}");
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys| model(&keys).check().unwrap_err().to_string();
        assert_eq!(
            refused(json!({"name": "transformer", "nhead": 3})),
            "model.architecture.nhead is 3; it must divide d_model, which is 64"
        );
        assert_eq!(
            refused(json!({"name": "tcn", "dropout": 1.0})),
            "model.architecture.dropout is 1; it must be at least 0 and below 1"
        );
        assert_eq!(
            refused(json!({"name": "lstm", "num_layers": 0})),
            "model.architecture.num_layers is 0; it must be between 1 and 64"
        );
        let unknown = serde_json::from_value::<ModelConfig>(json!({"architecture": "transfomer"}));
        assert!(unknown.unwrap_err().to_string().contains("did you mean \"transformer\"?"));
        let unknown =
            serde_json::from_value::<ModelConfig>(json!({"architecture": {"name": "gru", "units": 3}}));
        assert!(unknown.unwrap_err().to_string().contains("unknown field `units`"));
    }
}
