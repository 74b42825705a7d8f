//! Layers under Keras's names, with Keras's defaults and formulas: one file each, and the list that knows them all.
//!
//! A layer says what it needs (shapes, parameters), computes on tensors while a network is fitted, and writes itself
//! as nodes of an operator graph. A new layer is one file, one variant and one line of [`LIST`]. Deliberately not
//! here: how layers are connected (`network`), how weights change (`fit`).

mod activation;
mod attention_pooling;
mod batch_normalization;
mod conv1d;
mod dense;
mod dropout;
mod gaussian_dropout;
mod gaussian_noise;
mod last_step;
mod layer_normalization;
mod merge;
mod multi_head_attention;
mod pooling;
mod positional_encoding;
mod recurrent;
mod reshape;
mod residual;
mod spatial_dropout1d;

mod export;
mod parameter;
mod pass;
mod value;
mod window;

#[cfg(test)]
mod testing;

use serde::{Deserialize, Deserializer, Serialize};

pub use activation::ActivationConfig;
pub use attention_pooling::AttentionPoolingConfig;
pub use batch_normalization::BatchNormalizationConfig;
pub use conv1d::Conv1dConfig;
pub use dense::DenseConfig;
pub use dropout::DropoutConfig;
pub use gaussian_dropout::GaussianDropoutConfig;
pub use gaussian_noise::GaussianNoiseConfig;
pub use last_step::LastStepConfig;
pub use layer_normalization::LayerNormalizationConfig;
pub use merge::{ConcatenateConfig, MergeConfig};
pub use multi_head_attention::MultiHeadAttentionConfig;
pub use parameter::Regularizer;
pub use pooling::{GlobalPoolingConfig, PoolingConfig};
pub use positional_encoding::{PositionalEncoding, PositionalEncodingConfig};
pub use recurrent::{BidirectionalConfig, GruConfig, LstmConfig, MergeMode};
pub use reshape::{FlattenConfig, PermuteConfig, ReshapeConfig};
pub use residual::ResidualConfig;
pub use spatial_dropout1d::SpatialDropout1dConfig;
pub use window::Padding;

pub(crate) use export::Export;
pub(crate) use parameter::{Initializer, ParameterSpec};
pub(crate) use pass::{Fitting, Leaf, Pass};
pub(crate) use value::Value;

use crate::Error;
use crate::activation::Activation;

/// The axes of a value without its batch: `[units]` or `[steps, channels]`.
pub(crate) type Shape = Vec<usize>;

/// What a layer is to a network.
pub(crate) trait Layer: std::fmt::Debug + Send + Sync {
    /// Checks the values of its configuration.
    ///
    /// # Errors
    /// The key, its value and the way out: `units is 0; it must be between 1 and 65536`.
    fn check(&self) -> Result<(), String>;

    /// The shape of its result.
    ///
    /// # Errors
    /// What it expects and what it got, if the inputs do not fit.
    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String>;

    /// Its parameters, in the order of Keras's `get_weights()`; inputs have passed [`Layer::output`].
    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let _ = inputs;
        Vec::new()
    }

    /// Its result for a batch.
    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value;

    /// Its nodes in an operator graph, as it computes when it is not being fitted.
    ///
    /// # Errors
    /// [`Error::Graph`] if the graph refuses a node.
    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error>;

    /// Its last activation and the layer without it, if it has one: losses that are exact on logits take it off.
    fn without_activation(&self) -> Option<(Activation, Box<dyn Layer>)> {
        None
    }

    /// Elements of activations and scratch it keeps for one row while it is fitted, beside its result.
    fn scratch(&self, inputs: &[&Shape], output: &Shape) -> usize {
        let _ = inputs;
        output.iter().product()
    }
}

/// `type = ...` of a `[[model.layers]]` entry with the keys of that layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum LayerKind {
    /// Every output sees every input.
    Dense(DenseConfig),
    /// A function of each element.
    Activation(ActivationConfig),
    /// Elements left out at random while fitting.
    Dropout(DropoutConfig),
    /// Channels of a sequence left out at random while fitting.
    SpatialDropout1d(SpatialDropout1dConfig),
    /// Elements multiplied by noise while fitting.
    GaussianDropout(GaussianDropoutConfig),
    /// Noise added while fitting.
    GaussianNoise(GaussianNoiseConfig),
    /// A row of steps and channels as one row.
    Flatten(FlattenConfig),
    /// The same elements in another shape.
    Reshape(ReshapeConfig),
    /// Axes in another order.
    Permute(PermuteConfig),
    /// The sum of its inputs.
    Add(MergeConfig),
    /// The product of its inputs.
    Multiply(MergeConfig),
    /// The mean of its inputs.
    Average(MergeConfig),
    /// Its inputs end to end.
    Concatenate(ConcatenateConfig),
    /// Each channel normalized over the batch.
    BatchNormalization(BatchNormalizationConfig),
    /// Each row normalized along its last axis.
    LayerNormalization(LayerNormalizationConfig),
    /// A kernel that slides over steps.
    Conv1d(Conv1dConfig),
    /// The largest of each window of steps.
    MaxPooling1d(PoolingConfig),
    /// The mean of each window of steps.
    AveragePooling1d(PoolingConfig),
    /// The largest of all steps.
    GlobalMaxPooling1d(GlobalPoolingConfig),
    /// The mean of all steps.
    GlobalAveragePooling1d(GlobalPoolingConfig),
    /// The last step.
    LastStep(LastStepConfig),
    /// Long short-term memory.
    Lstm(LstmConfig),
    /// Gated recurrent units.
    Gru(GruConfig),
    /// A recurrent layer in both directions.
    Bidirectional(BidirectionalConfig),
    /// What each step takes from others.
    MultiHeadAttention(MultiHeadAttentionConfig),
    /// Steps as one row, weighted by what they are.
    AttentionPooling(AttentionPoolingConfig),
    /// Where a step is, added to it.
    PositionalEncoding(PositionalEncodingConfig),
    /// Layers in a row, and their input added to their result.
    Residual(ResidualConfig),
}

impl LayerKind {
    /// The layer as a network sees it.
    pub(crate) fn layer(&self) -> Box<dyn Layer> {
        match self.clone() {
            Self::Dense(config) => Box::new(config),
            Self::Activation(config) => Box::new(config),
            Self::Dropout(config) => Box::new(config),
            Self::SpatialDropout1d(config) => Box::new(config),
            Self::GaussianDropout(config) => Box::new(config),
            Self::GaussianNoise(config) => Box::new(config),
            Self::Flatten(config) => Box::new(config),
            Self::Reshape(config) => Box::new(config),
            Self::Permute(config) => Box::new(config),
            Self::Add(_) => Box::new(merge::Merge { how: merge::How::Add }),
            Self::Multiply(_) => Box::new(merge::Merge { how: merge::How::Multiply }),
            Self::Average(_) => Box::new(merge::Merge { how: merge::How::Average }),
            Self::Concatenate(config) => Box::new(config),
            Self::BatchNormalization(config) => Box::new(config),
            Self::LayerNormalization(config) => Box::new(config),
            Self::Conv1d(config) => Box::new(config),
            Self::MaxPooling1d(config) => Box::new(pooling::Pooling { of: pooling::Of::Max, config }),
            Self::AveragePooling1d(config) => Box::new(pooling::Pooling { of: pooling::Of::Average, config }),
            Self::GlobalMaxPooling1d(_) => Box::new(pooling::GlobalPooling { of: pooling::Of::Max }),
            Self::GlobalAveragePooling1d(_) => Box::new(pooling::GlobalPooling { of: pooling::Of::Average }),
            Self::LastStep(config) => Box::new(config),
            Self::Lstm(config) => Box::new(config),
            Self::Gru(config) => Box::new(config),
            Self::Bidirectional(config) => Box::new(config),
            Self::MultiHeadAttention(config) => Box::new(config),
            Self::AttentionPooling(config) => Box::new(config),
            Self::PositionalEncoding(config) => Box::new(config),
            Self::Residual(config) => Box::new(config),
        }
    }

    /// The name in a configuration, from which Keras makes default names: `dense`, `dense_1`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Activation(_) => "activation",
            Self::Dropout(_) => "dropout",
            Self::SpatialDropout1d(_) => "spatial_dropout1d",
            Self::GaussianDropout(_) => "gaussian_dropout",
            Self::GaussianNoise(_) => "gaussian_noise",
            Self::Flatten(_) => "flatten",
            Self::Reshape(_) => "reshape",
            Self::Permute(_) => "permute",
            Self::Add(_) => "add",
            Self::Multiply(_) => "multiply",
            Self::Average(_) => "average",
            Self::Concatenate(_) => "concatenate",
            Self::BatchNormalization(_) => "batch_normalization",
            Self::LayerNormalization(_) => "layer_normalization",
            Self::Conv1d(_) => "conv1d",
            Self::MaxPooling1d(_) => "max_pooling1d",
            Self::AveragePooling1d(_) => "average_pooling1d",
            Self::GlobalMaxPooling1d(_) => "global_max_pooling1d",
            Self::GlobalAveragePooling1d(_) => "global_average_pooling1d",
            Self::LastStep(_) => "last_step",
            Self::Lstm(_) => "lstm",
            Self::Gru(_) => "gru",
            Self::Bidirectional(_) => "bidirectional",
            Self::MultiHeadAttention(_) => "multi_head_attention",
            Self::AttentionPooling(_) => "attention_pooling",
            Self::PositionalEncoding(_) => "positional_encoding",
            Self::Residual(_) => "residual",
        }
    }

    /// Reads the keys of a layer of this type.
    pub(crate) fn read(kind: &str, keys: serde_json::Value) -> Result<Self, String> {
        let read = crate::name::find(KIND, kind, LIST)?;
        read(keys).map_err(|error| error.to_string())
    }
}

impl<'de> Deserialize<'de> for LayerKind {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (kind, keys) = crate::config::split_tag(deserializer, "type", KIND)?;
        Self::read(&kind, keys).map_err(serde::de::Error::custom)
    }
}

const KIND: crate::name::Kind = crate::name::Kind { one: "layer type", all: "layer types" };

type Read = fn(serde_json::Value) -> serde_json::Result<LayerKind>;

/// How the keys of each type are read.
const LIST: &[(&str, Read)] = &[
    ("activation", |keys| serde_json::from_value(keys).map(LayerKind::Activation)),
    ("add", |keys| serde_json::from_value(keys).map(LayerKind::Add)),
    ("attention_pooling", |keys| serde_json::from_value(keys).map(LayerKind::AttentionPooling)),
    ("average", |keys| serde_json::from_value(keys).map(LayerKind::Average)),
    ("average_pooling1d", |keys| serde_json::from_value(keys).map(LayerKind::AveragePooling1d)),
    ("batch_normalization", |keys| serde_json::from_value(keys).map(LayerKind::BatchNormalization)),
    ("bidirectional", |keys| serde_json::from_value(keys).map(LayerKind::Bidirectional)),
    ("concatenate", |keys| serde_json::from_value(keys).map(LayerKind::Concatenate)),
    ("conv1d", |keys| serde_json::from_value(keys).map(LayerKind::Conv1d)),
    ("dense", |keys| serde_json::from_value(keys).map(LayerKind::Dense)),
    ("dropout", |keys| serde_json::from_value(keys).map(LayerKind::Dropout)),
    ("flatten", |keys| serde_json::from_value(keys).map(LayerKind::Flatten)),
    ("gaussian_dropout", |keys| serde_json::from_value(keys).map(LayerKind::GaussianDropout)),
    ("gaussian_noise", |keys| serde_json::from_value(keys).map(LayerKind::GaussianNoise)),
    ("global_average_pooling1d", |keys| serde_json::from_value(keys).map(LayerKind::GlobalAveragePooling1d)),
    ("global_max_pooling1d", |keys| serde_json::from_value(keys).map(LayerKind::GlobalMaxPooling1d)),
    ("gru", |keys| serde_json::from_value(keys).map(LayerKind::Gru)),
    ("last_step", |keys| serde_json::from_value(keys).map(LayerKind::LastStep)),
    ("layer_normalization", |keys| serde_json::from_value(keys).map(LayerKind::LayerNormalization)),
    ("lstm", |keys| serde_json::from_value(keys).map(LayerKind::Lstm)),
    ("max_pooling1d", |keys| serde_json::from_value(keys).map(LayerKind::MaxPooling1d)),
    ("multi_head_attention", |keys| serde_json::from_value(keys).map(LayerKind::MultiHeadAttention)),
    ("multiply", |keys| serde_json::from_value(keys).map(LayerKind::Multiply)),
    ("permute", |keys| serde_json::from_value(keys).map(LayerKind::Permute)),
    ("positional_encoding", |keys| serde_json::from_value(keys).map(LayerKind::PositionalEncoding)),
    ("reshape", |keys| serde_json::from_value(keys).map(LayerKind::Reshape)),
    ("residual", |keys| serde_json::from_value(keys).map(LayerKind::Residual)),
    ("spatial_dropout1d", |keys| serde_json::from_value(keys).map(LayerKind::SpatialDropout1d)),
];

/// Units, filters and the like.
const UNITS_MAX: usize = 1 << 16;

/// Checks a count of a layer's configuration.
fn count(key: &str, value: usize, most: usize) -> Result<(), String> {
    if (1..=most).contains(&value) {
        return Ok(());
    }
    Err(format!("{key} is {value}; it must be between 1 and {most}"))
}

/// The only input of a layer that takes one.
fn single<T>(inputs: &[T]) -> Result<&T, String> {
    match inputs {
        [input] => Ok(input),
        _ => Err(format!("it takes one input, got {}", inputs.len())),
    }
}

/// Steps and channels of the only input of a layer that takes a sequence.
fn sequence(inputs: &[&Shape]) -> Result<[usize; 2], String> {
    as_sequence(single(inputs)?)
}

/// Steps and channels.
fn as_sequence(shape: &Shape) -> Result<[usize; 2], String> {
    match shape[..] {
        [steps, channels] => Ok([steps, channels]),
        _ => Err(format!(
            "it takes a sequence [steps, channels], got {shape:?}; [features] steps makes one of the days before each row"
        )),
    }
}

/// Checks what is added to a variance.
fn check_epsilon(epsilon: f64) -> Result<(), String> {
    if epsilon.is_finite() && epsilon > 0.0 {
        return Ok(());
    }
    Err(format!("epsilon is {epsilon}; it must be a finite number above 0"))
}

/// The only value of a layer that takes one; [`Layer::output`] has counted them.
fn only(inputs: Vec<Value>) -> Value {
    inputs.into_iter().next().expect("the network was checked to give this layer one input")
}
