//! What a layer does to its sums, under Keras's names and with Keras's defaults.

use burn::tensor::{Tensor, activation};
use serde::de::Error as _;
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Error;
use crate::config::split_tag;
use crate::layer::{Export, Value};
use crate::name::{self, Kind};

/// What a layer does to its sums: `activation = "relu"` or `activation = { name = "leaky_relu", negative_slope = 0.1 }`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Activation {
    /// Nothing.
    #[default]
    Linear,
    /// `max(x, 0)`.
    Relu,
    /// `x` above 0, `negative_slope * x` below.
    LeakyRelu {
        /// 0.2 by default, as `keras.activations.leaky_relu`.
        negative_slope: f64,
    },
    /// `x` above 0, `alpha (exp(x) - 1)` below (Clevert et al. 2016).
    Elu {
        /// 1 by default.
        alpha: f64,
    },
    /// `x Phi(x)` with the normal distribution function (Hendrycks and Gimpel 2016).
    Gelu {
        /// Whether the tanh approximation of the paper's section 2 is meant; false by default.
        approximate: bool,
    },
    /// `x sigmoid(x)`, also called swish.
    Silu,
    /// Hyperbolic tangent.
    Tanh,
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `ln(1 + exp(x))`.
    Softplus,
    /// Exponentials that sum to 1 along the last axis.
    Softmax,
}

const KIND: Kind = Kind { one: "activation", all: "activations" };

const KNOWN: &[(&str, Activation)] = &[
    ("elu", Activation::Elu { alpha: 1.0 }),
    ("gelu", Activation::Gelu { approximate: false }),
    ("leaky_relu", Activation::LeakyRelu { negative_slope: 0.2 }),
    ("linear", Activation::Linear),
    ("relu", Activation::Relu),
    ("sigmoid", Activation::Sigmoid),
    ("silu", Activation::Silu),
    ("softmax", Activation::Softmax),
    ("softplus", Activation::Softplus),
    ("tanh", Activation::Tanh),
];

impl Activation {
    /// The name in a configuration.
    pub fn name(self) -> &'static str {
        let same = |known: &Self| std::mem::discriminant(known) == std::mem::discriminant(&self);
        KNOWN.iter().find(|(_, known)| same(known)).map_or("linear", |(name, _)| name)
    }

    pub(crate) fn check(self) -> Result<(), String> {
        match self {
            Self::LeakyRelu { negative_slope: value } | Self::Elu { alpha: value }
                if !(value.is_finite() && value >= 0.0) =>
            {
                Err(format!(
                    "activation.{} is {value}; it must be a finite number of at least 0",
                    if matches!(self, Self::Elu { .. }) { "alpha" } else { "negative_slope" }
                ))
            }
            _ => Ok(()),
        }
    }

    /// Of a batch.
    pub(crate) fn forward(self, x: Value) -> Value {
        match x {
            _ if self == Self::Linear => x,
            Value::Rows(x) => Value::Rows(self.of(x)),
            Value::Sequence(x) => Value::Sequence(self.of(x)),
        }
    }

    /// Of a tensor; softmax along its last axis.
    pub(crate) fn of<const D: usize>(self, x: Tensor<D>) -> Tensor<D> {
        match self {
            Self::Linear => x,
            Self::Relu => activation::relu(x),
            Self::LeakyRelu { negative_slope } => activation::leaky_relu(x, negative_slope),
            Self::Elu { alpha } => activation::elu(x, alpha),
            Self::Gelu { approximate: false } => activation::gelu(x),
            Self::Gelu { approximate: true } => activation::gelu_approximate(x),
            Self::Silu => activation::silu(x),
            Self::Tanh => activation::tanh(x),
            Self::Sigmoid => activation::sigmoid(x),
            Self::Softplus => activation::softplus(x, 1.0),
            Self::Softmax => activation::softmax(x, D - 1),
        }
    }

    /// As a node of an operator graph.
    pub(crate) fn export(
        self,
        x: artifact::graph::Value,
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let name = match self {
            Self::Linear => return Ok(x),
            Self::Relu => "Relu",
            Self::LeakyRelu { .. } => "LeakyRelu",
            Self::Elu { .. } => "Elu",
            Self::Gelu { .. } => "Gelu",
            Self::Silu => "Silu",
            Self::Tanh => "Tanh",
            Self::Sigmoid => "Sigmoid",
            Self::Softplus => "Softplus",
            Self::Softmax => "Softmax",
        };
        self.export_as(x, name, export)
    }

    /// As a node of this name within its layer.
    pub(crate) fn export_as(
        self,
        x: artifact::graph::Value,
        part: &str,
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        use artifact::graph::Gelu;
        let name = export.name(part);
        let graph = &mut export.graph;
        Ok(match self {
            Self::Linear => x,
            Self::Relu => graph.relu(&name, x)?,
            Self::LeakyRelu { negative_slope } => graph.leaky_relu(&name, x, negative_slope as f32)?,
            Self::Elu { alpha } => graph.elu(&name, x, alpha as f32)?,
            Self::Gelu { approximate: false } => graph.gelu(&name, x, Gelu::Exact)?,
            Self::Gelu { approximate: true } => graph.gelu(&name, x, Gelu::Tanh)?,
            Self::Silu => graph.silu(&name, x)?,
            Self::Tanh => graph.tanh(&name, x)?,
            Self::Sigmoid => graph.sigmoid(&name, x)?,
            Self::Softplus => graph.softplus(&name, x)?,
            Self::Softmax => graph.softmax(&name, x)?,
        })
    }
}

impl Serialize for Activation {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let key_value = match *self {
            Self::LeakyRelu { negative_slope } => ("negative_slope", serde_json::json!(negative_slope)),
            Self::Elu { alpha } => ("alpha", serde_json::json!(alpha)),
            Self::Gelu { approximate } => ("approximate", serde_json::json!(approximate)),
            _ => return serializer.serialize_str(self.name()),
        };
        let mut table = serializer.serialize_map(Some(2))?;
        table.serialize_entry("name", self.name())?;
        table.serialize_entry(key_value.0, &key_value.1)?;
        table.end()
    }
}

impl<'de> Deserialize<'de> for Activation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (name, rest) = split_tag(deserializer, "name", KIND)?;
        let mut activation = name::find(KIND, &name, KNOWN).map_err(D::Error::custom)?;
        let keys = rest.as_object().cloned().unwrap_or_default();
        for (key, value) in keys {
            let number = || value.as_f64().ok_or_else(|| D::Error::custom(format!("{key} must be a number")));
            match (&mut activation, key.as_str()) {
                (Self::LeakyRelu { negative_slope }, "negative_slope") => *negative_slope = number()?,
                (Self::Elu { alpha }, "alpha") => *alpha = number()?,
                (Self::Gelu { approximate }, "approximate") => {
                    *approximate = value
                        .as_bool()
                        .ok_or_else(|| D::Error::custom("approximate must be true or false"))?;
                }
                _ => return Err(D::Error::custom(format!("unknown field `{key}` of activation {name}"))),
            }
        }
        Ok(activation)
    }
}
