//! A layer on its way into an operator graph: where its nodes go and which numbers its variables hold.

use artifact::graph::{Axes, GraphBuilder, Value};
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

    /// A layer of this one, called `part`, which has the parameters `parameters` of it.
    pub(crate) fn within<T>(
        &mut self,
        part: &str,
        parameters: std::ops::Range<usize>,
        write: impl FnOnce(&mut Export<'_>) -> T,
    ) -> T {
        let name = self.name(part);
        write(&mut Export::new(self.graph, &name, &self.weights[parameters]))
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

    /// Parameter `at` as a variable under its own name, of which two neighbouring axes are read as one: `axis` of
    /// them goes into the one after it. Nodes begin with `part`.
    ///
    /// # Errors
    /// [`Error::Graph`] if a name is taken.
    pub(crate) fn joined(&mut self, at: usize, axis: usize, part: &str) -> Result<Value, Error> {
        let (whole, shape) = (self.variable(at)?, &self.weights[at].shape);
        let mut pieces = Vec::with_capacity(shape[axis]);
        for place in 0..shape[axis] {
            let name = self.name(&format!("{part}/{place}/Slice"));
            let piece = self.graph.slice(&name, whole, axis, place..place + 1)?;
            let name = self.name(&format!("{part}/{place}"));
            // The axis has one place; its sum is that place.
            pieces.push(self.graph.reduce_sum(&name, piece, &[axis], Axes::Dropped)?);
        }
        let name = self.name(part);
        Ok(self.graph.concat(&name, &pieces, axis)?)
    }

    /// A fixed tensor of this layer.
    ///
    /// # Errors
    /// [`Error::Graph`] if the name is taken; [`Error::Tensor`] if shape and values differ.
    pub(crate) fn constant(
        &mut self,
        part: &str,
        shape: Vec<usize>,
        values: Vec<f32>,
    ) -> Result<Value, Error> {
        let name = self.name(part);
        Ok(self.graph.constant(&name, Tensor::float32(shape, values)?)?)
    }

    /// The steps and channels of a value `[batch, steps, channels]` of this graph.
    pub(crate) fn sequence(&self, x: Value) -> [usize; 2] {
        match self.graph.shape(x).map(Vec::as_slice) {
            Some(&[_, Some(steps), Some(channels)]) => [steps, channels],
            other => panic!("the network was checked to give this layer a sequence, it got {other:?}"),
        }
    }

    /// Step `at` of a sequence as `[batch, channels]`; its nodes begin with `part`.
    ///
    /// # Errors
    /// [`Error::Graph`] if a name is taken.
    pub(crate) fn step(&mut self, x: Value, at: usize, part: &str) -> Result<Value, Error> {
        let [_, channels] = self.sequence(x);
        let name = self.name(&format!("{part}/Slice"));
        let step = self.graph.slice(&name, x, 1, at..at + 1)?;
        let name = self.name(&format!("{part}/Reshape"));
        Ok(self.graph.reshape(&name, step, &[channels])?)
    }

    /// Rows `[batch, channels]` as the steps of a sequence; its nodes begin with `part`.
    ///
    /// # Errors
    /// [`Error::Graph`] if a name is taken.
    pub(crate) fn sequence_of(&mut self, rows: &[Value], part: &str) -> Result<Value, Error> {
        let mut steps = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let channels = self.graph.shape(*row).and_then(|shape| shape.last().copied().flatten());
            let name = self.name(&format!("{part}/step_{at}"));
            steps.push(self.graph.reshape(&name, *row, &[1, channels.unwrap_or_default()])?);
        }
        let name = self.name(&format!("{part}/Concat"));
        Ok(self.graph.concat(&name, &steps, 1)?)
    }
}
