//! Layers under Keras's names, with Keras's defaults and formulas: one file each, and the list that knows them all.
//!
//! A layer says what it needs (shapes, parameters), computes on tensors while a network is fitted, and writes itself
//! as nodes of an operator graph. A new layer is one file, one variant and one line of [`LIST`]. Deliberately not
//! here: how layers are connected (`network`), how weights change (`fit`).

mod activation;
mod dense;
mod dropout;
mod merge;
mod reshape;

mod export;
mod parameter;
mod pass;
mod value;

use serde::Serialize;

pub use activation::ActivationConfig;
pub use dense::DenseConfig;
pub use dropout::DropoutConfig;
pub use merge::{ConcatenateConfig, MergeConfig};
pub use parameter::Regularizer;
pub use reshape::{FlattenConfig, PermuteConfig, ReshapeConfig};

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
}

impl LayerKind {
    /// The layer as a network sees it.
    pub(crate) fn layer(&self) -> Box<dyn Layer> {
        match self.clone() {
            Self::Dense(config) => Box::new(config),
            Self::Activation(config) => Box::new(config),
            Self::Dropout(config) => Box::new(config),
            Self::Flatten(config) => Box::new(config),
            Self::Reshape(config) => Box::new(config),
            Self::Permute(config) => Box::new(config),
            Self::Add(config) => Box::new(merge::Merge { how: merge::How::Add, config }),
            Self::Multiply(config) => Box::new(merge::Merge { how: merge::How::Multiply, config }),
            Self::Average(config) => Box::new(merge::Merge { how: merge::How::Average, config }),
            Self::Concatenate(config) => Box::new(config),
        }
    }

    /// The name in a configuration, from which Keras makes default names: `dense`, `dense_1`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Dense(_) => "dense",
            Self::Activation(_) => "activation",
            Self::Dropout(_) => "dropout",
            Self::Flatten(_) => "flatten",
            Self::Reshape(_) => "reshape",
            Self::Permute(_) => "permute",
            Self::Add(_) => "add",
            Self::Multiply(_) => "multiply",
            Self::Average(_) => "average",
            Self::Concatenate(_) => "concatenate",
        }
    }

    /// Reads the keys of a layer of this type.
    pub(crate) fn read(kind: &str, keys: serde_json::Value) -> Result<Self, String> {
        let read = crate::name::find(KIND, kind, LIST)?;
        read(keys).map_err(|error| error.to_string())
    }
}

const KIND: crate::name::Kind = crate::name::Kind { one: "layer type", all: "layer types" };

type Read = fn(serde_json::Value) -> serde_json::Result<LayerKind>;

/// How the keys of each type are read.
const LIST: &[(&str, Read)] = &[
    ("activation", |keys| serde_json::from_value(keys).map(LayerKind::Activation)),
    ("add", |keys| serde_json::from_value(keys).map(LayerKind::Add)),
    ("average", |keys| serde_json::from_value(keys).map(LayerKind::Average)),
    ("concatenate", |keys| serde_json::from_value(keys).map(LayerKind::Concatenate)),
    ("dense", |keys| serde_json::from_value(keys).map(LayerKind::Dense)),
    ("dropout", |keys| serde_json::from_value(keys).map(LayerKind::Dropout)),
    ("flatten", |keys| serde_json::from_value(keys).map(LayerKind::Flatten)),
    ("multiply", |keys| serde_json::from_value(keys).map(LayerKind::Multiply)),
    ("permute", |keys| serde_json::from_value(keys).map(LayerKind::Permute)),
    ("reshape", |keys| serde_json::from_value(keys).map(LayerKind::Reshape)),
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
fn single<'a, T>(inputs: &'a [T]) -> Result<&'a T, String> {
    match inputs {
        [input] => Ok(input),
        _ => Err(format!("it takes one input, got {}", inputs.len())),
    }
}

/// The only value of a layer that takes one; [`Layer::output`] has counted them.
fn only(inputs: Vec<Value>) -> Value {
    inputs.into_iter().next().expect("the network was checked to give this layer one input")
}
