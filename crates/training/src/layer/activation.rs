//! `activation`: a function of each element (softmax: of each row along the last axis).

use serde::{Deserialize, Serialize};

use super::{Export, Layer, Pass, Shape, Value, only, single};
use crate::Error;
use crate::activation::Activation;

/// A function of each element.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActivationConfig {
    /// Which.
    pub activation: Activation,
}

impl Layer for ActivationConfig {
    fn check(&self) -> Result<(), String> {
        self.activation.check()
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok((*single(inputs)?).clone())
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        self.activation.forward(only(inputs))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        self.activation.export(inputs[0], export)
    }

    fn without_activation(&self) -> Option<(Activation, Box<dyn Layer>)> {
        Some((self.activation, Box::new(Self { activation: Activation::Linear })))
    }
}
