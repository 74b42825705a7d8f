//! What a layer does to its sums, under Keras's names.

use burn::tensor::{Tensor, activation};
use serde::{Deserialize, Serialize};

use crate::name::{self, Kind};

/// What a layer does to its sums.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(try_from = "String", into = "&'static str")]
pub enum Activation {
    /// Nothing.
    #[default]
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// Exponentials that sum to 1 in each row.
    Softmax,
}

const KNOWN: &[(&str, Activation)] = &[
    ("linear", Activation::Linear),
    ("relu", Activation::Relu),
    ("sigmoid", Activation::Sigmoid),
    ("softmax", Activation::Softmax),
    ("tanh", Activation::Tanh),
];

impl Activation {
    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        KNOWN.iter().find(|(_, known)| *known == self).map_or("linear", |(name, _)| name)
    }

    pub(crate) fn forward(self, x: Tensor<2>) -> Tensor<2> {
        match self {
            Self::Linear => x,
            Self::Relu => activation::relu(x),
            Self::Tanh => activation::tanh(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Softmax => activation::softmax(x, 1),
        }
    }
}

impl TryFrom<String> for Activation {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        name::find(Kind { one: "activation", all: "activations" }, &text, KNOWN)
    }
}

impl From<Activation> for &'static str {
    fn from(activation: Activation) -> Self {
        activation.name()
    }
}
