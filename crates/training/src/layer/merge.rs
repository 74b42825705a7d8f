//! `add`, `multiply`, `average` and `concatenate`: several inputs as one.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use super::{Export, Layer, Pass, Shape, Value};
use crate::Error;

/// Inputs of one shape, element by element.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MergeConfig {}

/// Inputs end to end along the last axis.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConcatenateConfig {}

/// What becomes of elements at the same place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Add,
    Multiply,
    Average,
}

/// Inputs of one shape merged.
#[derive(Debug, Clone)]
pub(super) struct Merge {
    pub(super) how: How,
}

impl Layer for Merge {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let first = several(inputs)?;
        match inputs.iter().find(|shape| **shape != first) {
            Some(other) => Err(format!("its inputs must have one shape, got {first:?} and {other:?}")),
            None => Ok(first.clone()),
        }
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        let count = inputs.len();
        let merged = inputs.into_iter().reduce(|a, b| match (a, b) {
            (Value::Rows(a), Value::Rows(b)) => Value::Rows(self.pair(a, b)),
            (a, b) => Value::Sequence(self.pair(a.sequence(), b.sequence())),
        });
        let merged = merged.expect("the network was checked to give this layer inputs");
        match (self.how, merged) {
            (How::Average, Value::Rows(sum)) => Value::Rows(sum / count as f64),
            (How::Average, Value::Sequence(sum)) => Value::Sequence(sum / count as f64),
            (_, merged) => merged,
        }
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let mut merged = inputs[0];
        for (at, other) in inputs.iter().enumerate().skip(1) {
            merged = match self.how {
                How::Add | How::Average => {
                    let name = export.name(&format!("add_{at}"));
                    export.graph.add(&name, merged, *other)?
                }
                How::Multiply => {
                    let name = export.name(&format!("mul_{at}"));
                    export.graph.mul(&name, merged, *other)?
                }
            };
        }
        if self.how == How::Average {
            let count = export.constant("count", vec![1], vec![inputs.len() as f32])?;
            let name = export.name("mean");
            merged = export.graph.div(&name, merged, count)?;
        }
        Ok(merged)
    }
}

impl Merge {
    fn pair<const D: usize>(&self, a: Tensor<D>, b: Tensor<D>) -> Tensor<D> {
        match self.how {
            How::Add | How::Average => a + b,
            How::Multiply => a * b,
        }
    }
}

impl Layer for ConcatenateConfig {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let first = several(inputs)?;
        let mut last = 0;
        for shape in inputs {
            if shape.len() != first.len() || shape[..shape.len() - 1] != first[..first.len() - 1] {
                return Err(format!(
                    "its inputs must differ in their last axis alone, got {first:?} and {shape:?}"
                ));
            }
            last += shape[shape.len() - 1];
        }
        let mut whole = first.clone();
        if let Some(axis) = whole.last_mut() {
            *axis = last;
        }
        Ok(whole)
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        if matches!(inputs[0], Value::Rows(_)) {
            Value::Rows(Tensor::cat(inputs.into_iter().map(Value::rows).collect(), 1))
        } else {
            Value::Sequence(Tensor::cat(inputs.into_iter().map(Value::sequence).collect(), 2))
        }
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let name = export.name("concat");
        let axis = export.graph.shape(inputs[0]).map_or(1, |shape| shape.len() - 1);
        Ok(export.graph.concat(&name, inputs, axis)?)
    }
}

/// The first of at least two shapes.
fn several<'a>(inputs: &[&'a Shape]) -> Result<&'a Shape, String> {
    match inputs {
        [first, _, ..] => Ok(first),
        _ => Err(format!("it takes two inputs or more, got {}; name them with inputs = [..]", inputs.len())),
    }
}
