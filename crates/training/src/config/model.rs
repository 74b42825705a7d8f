//! `[model]`: layers in a row or connected by name, or a ready architecture.

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::{config, in_range};
use crate::activation::Activation;
use crate::architecture::ArchitectureConfig;
use crate::layer::LayerKind;
use crate::{DenseConfig, Error};

const LAYERS_MAX: usize = 256;
const INPUTS_MAX: usize = 64;

/// `[model]`: a network. Either `architecture` or `layers` says which.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelConfig {
    /// A ready network: `"mlp"` or `{ name = "lstm", units = 64 }`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub architecture: Option<ArchitectureConfig>,
    /// What the network takes of the features; one input of all of them, called `features`, by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<InputConfig>,
    /// From the features to the outputs.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<LayerConfig>,
    /// Names of the layers whose results are the outputs; the last layer by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub outputs: Vec<String>,
}

/// `[[model.inputs]]`: some of the features.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputConfig {
    /// The name layers ask for it by.
    pub name: String,
    /// Names of features; one that ends in `*` takes all that begin so.
    pub features: Vec<String>,
}

/// `[[model.layers]]`: one layer, told apart by `type`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerConfig {
    /// Its name; the type, with a number, by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Names of the layers or inputs it takes; the layer before it by default.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub inputs: Vec<String>,
    /// What it is.
    #[serde(flatten)]
    pub kind: LayerKind,
}

/// What a ready architecture ends with; the label decides it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct OutputConfig {
    /// Classes, quantiles, or 1.
    pub units: usize,
    /// Softmax for classes, linear for numbers.
    pub activation: Activation,
}

impl OutputConfig {
    /// The layer.
    pub fn layer(self) -> LayerConfig {
        LayerKind::Dense(DenseConfig::new(self.units, self.activation)).into()
    }
}

impl From<LayerKind> for LayerConfig {
    fn from(kind: LayerKind) -> Self {
        Self { name: None, inputs: Vec::new(), kind }
    }
}

impl LayerConfig {
    /// With a name.
    pub fn named(mut self, name: &str) -> Self {
        self.name = Some(name.to_owned());
        self
    }

    /// With inputs by name.
    pub fn of(mut self, inputs: &[&str]) -> Self {
        self.inputs = inputs.iter().map(|name| (*name).to_owned()).collect();
        self
    }
}

impl ModelConfig {
    /// Layers in a row.
    pub fn sequential(layers: Vec<LayerKind>) -> Self {
        Self { layers: layers.into_iter().map(LayerConfig::from).collect(), ..Self::default() }
    }

    /// Checks what can be checked without the features.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        if self.inputs.len() > INPUTS_MAX {
            return Err(config("the number of model.inputs", &self.inputs.len(), format!("at most {INPUTS_MAX}")));
        }
        match &self.architecture {
            Some(architecture) => {
                if !self.layers.is_empty() {
                    let way_out = "model.layers says as well which network it is; keep one of the two";
                    return Err(config("model.architecture", &format!("\"{}\"", architecture.name()), way_out));
                }
                architecture.check()?;
            }
            None => in_range("the number of model.layers", self.layers.len(), LAYERS_MAX)?,
        }
        for (at, layer) in self.layers.iter().enumerate() {
            layer.kind.layer().check().map_err(|reason| {
                let (key, rest) = reason.split_once(" is ").unwrap_or((reason.as_str(), ""));
                let (value, way_out) = rest.split_once("; ").unwrap_or((rest, "see the documentation of the layer"));
                config(format!("model.layers[{at}].{key}"), &value, way_out)
            })?;
        }
        Ok(())
    }

    /// All layers, those of a ready architecture written out with `output` at their end.
    ///
    /// # Errors
    /// [`Error::Config`], as [`ModelConfig::check`].
    pub fn written_out(&self, output: OutputConfig) -> Result<Self, Error> {
        self.check()?;
        let Some(architecture) = &self.architecture else { return Ok(self.clone()) };
        let layers = architecture.layers(output);
        Ok(Self { architecture: None, layers, inputs: self.inputs.clone(), outputs: self.outputs.clone() })
    }
}

impl InputConfig {
    /// The places of its features among `names`.
    pub(crate) fn select(&self, names: &[String], at: usize) -> Result<Vec<usize>, Error> {
        let mut chosen = Vec::new();
        for pattern in &self.features {
            let found: Vec<usize> = match pattern.strip_suffix('*') {
                Some(start) => (0..names.len()).filter(|&i| names[i].starts_with(start)).collect(),
                None => (0..names.len()).filter(|&i| names[i] == *pattern).collect(),
            };
            if found.is_empty() {
                let nearest = crate::name::nearest(pattern, &names.iter().map(String::as_str).collect::<Vec<_>>())
                    .map_or_else(String::new, |near| format!("; did you mean \"{near}\"?"));
                let way_out = format!("no feature is called so{nearest}");
                return Err(config(format!("model.inputs[{at}].features"), &format!("\"{pattern}\""), way_out));
            }
            chosen.extend(found);
        }
        if chosen.is_empty() {
            return Err(config(format!("model.inputs[{at}].features"), &"[]", "name at least one feature"));
        }
        Ok(chosen)
    }
}

impl<'de> Deserialize<'de> for LayerConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde_json::Value;
        const KIND: crate::name::Kind = crate::name::Kind { one: "layer type", all: "layer types" };
        let (kind, mut keys) = super::split_tag(deserializer, "type", KIND)?;
        let mut take = |key: &str| keys.as_object_mut().and_then(|keys| keys.remove(key));
        let name = match take("name") {
            None => None,
            Some(Value::String(name)) => Some(name),
            Some(other) => return Err(D::Error::custom(format!("name must be a string, got {other}"))),
        };
        let inputs = match take("inputs") {
            None => Vec::new(),
            Some(names) => serde_json::from_value(names)
                .map_err(|_| D::Error::custom("inputs must be a list of names of layers"))?,
        };
        let kind = LayerKind::read(&kind, keys).map_err(D::Error::custom)?;
        Ok(Self { name, inputs, kind })
    }
}
