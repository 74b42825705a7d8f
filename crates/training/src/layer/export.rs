//! A layer on its way into an operator graph: where its nodes go and which numbers its variables hold.

use artifact::graph::{GraphBuilder, Value};
use predictor::Tensor;

use crate::Error;
use crate::trained::Weight;

/// What a layer writes itself with. Its last node should be named by [`Export::name`] of what it does.
pub(crate) struct Export<'a> {
    /// The graph under way.
    pub(crate) graph: &'a mut GraphBuilder,
    layer: &'a str,
    weights: &'a [Weight],
}

impl<'a> Export<'a> {
    /// For the layer of this name with its parameters, in the order it declared them.
    pub(crate) fn new(graph: &'a mut GraphBuilder, layer: &'a str, weights: &'a [Weight]) -> Self {
        Self { graph, layer, weights }
    }

    /// The name of a node of this layer: `dense_1/MatMul`.
    pub(crate) fn name(&self, part: &str) -> String {
        format!("{}/{part}", self.layer)
    }

    /// The numbers of parameter `at`.
    pub(crate) fn weight(&self, at: usize) -> &'a Weight {
        &self.weights[at]
    }

    /// Parameter `at` as a variable under its own name.
    ///
    /// # Errors
    /// [`Error::Graph`] if the name is taken.
    pub(crate) fn variable(&mut self, at: usize) -> Result<Value, Error> {
        let weight = &self.weights[at];
        let tensor = Tensor::float32(weight.shape.clone(), weight.values.clone())?;
        Ok(self.graph.variable(&weight.name, tensor)?)
    }

    /// A fixed tensor of this layer.
    ///
    /// # Errors
    /// [`Error::Graph`] if the name is taken; [`Error::Tensor`] if shape and values differ.
    pub(crate) fn constant(&mut self, part: &str, shape: Vec<usize>, values: Vec<f32>) -> Result<Value, Error> {
        let name = self.name(part);
        Ok(self.graph.constant(&name, Tensor::float32(shape, values)?)?)
    }
}
