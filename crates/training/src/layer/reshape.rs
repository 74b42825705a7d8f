//! `flatten`, `reshape` and `permute`: the same elements in another shape.

use serde::{Deserialize, Serialize};

use super::{Export, Layer, Pass, Shape, Value, only, single};
use crate::Error;

/// A row of steps and channels as one row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlattenConfig {}

/// The same elements in another shape, row-major.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReshapeConfig {
    /// `[units]` or `[steps, channels]`.
    pub target_shape: Vec<usize>,
}

/// Axes in another order, counted from 1 as Keras does: `[2, 1]` swaps steps and channels.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PermuteConfig {
    /// Which axis of the input each axis of the result is.
    pub dims: Vec<usize>,
}

impl Layer for FlattenConfig {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(vec![single(inputs)?.iter().product()])
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        Value::Rows(only(inputs).flat())
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let shape = export.graph.shape(inputs[0]).cloned().unwrap_or_default();
        let elements = shape.iter().skip(1).flatten().product();
        let name = export.name("Reshape");
        Ok(export.graph.reshape(&name, inputs[0], &[elements])?)
    }
}

impl Layer for ReshapeConfig {
    fn check(&self) -> Result<(), String> {
        if matches!(self.target_shape.len(), 1 | 2) && !self.target_shape.contains(&0) {
            return Ok(());
        }
        Err(format!(
            "target_shape is {:?}; it must be [units] or [steps, channels] without a 0",
            self.target_shape
        ))
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let input = single(inputs)?;
        let (from, to): (usize, usize) = (input.iter().product(), self.target_shape.iter().product());
        if from == to {
            return Ok(self.target_shape.clone());
        }
        Err(format!(
            "target_shape {:?} has {to} elements, its input {input:?} has {from}",
            self.target_shape
        ))
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        Value::shaped(only(inputs).flat(), &self.target_shape)
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let name = export.name("Reshape");
        Ok(export.graph.reshape(&name, inputs[0], &self.target_shape)?)
    }
}

impl Layer for PermuteConfig {
    fn check(&self) -> Result<(), String> {
        if self.dims == [1, 2] || self.dims == [2, 1] {
            return Ok(());
        }
        Err(format!("dims is {:?}; it must be [1, 2] or [2, 1]", self.dims))
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        match single(inputs)?.as_slice() {
            axes @ [_, _] => Ok(self.dims.iter().map(|dim| axes[dim - 1]).collect()),
            other => Err(format!("it takes [steps, channels], got {other:?}")),
        }
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        let x = only(inputs).sequence();
        Value::Sequence(if self.dims == [2, 1] { x.swap_dims(1, 2) } else { x })
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let name = export.name("Transpose");
        let permutation = [0, self.dims[0], self.dims[1]];
        Ok(export.graph.transpose(&name, inputs[0], &permutation)?)
    }
}
