//! A fitted network: its weights, how it got them, and what it answers.

mod graph;

use artifact::graph::Graph;
use burn::tensor::{Device, Tensor, TensorData, activation};
use market::FittedProcessors;

use crate::architecture::{Mlp, elements};
use crate::{Activation, EpochReport, Error};

/// Rows computed at once when a network is only asked; bounds the memory a large set takes.
const ROWS_AT_ONCE: usize = 4096;

/// The weights of a dense layer.
#[derive(Debug, Clone, PartialEq)]
pub struct DenseWeights {
    /// Inputs and outputs.
    pub shape: [usize; 2],
    /// `[inputs, outputs]`, row-major.
    pub kernel: Vec<f32>,
    /// One for each output.
    pub bias: Vec<f32>,
    /// What the layer does to its sums.
    pub activation: Activation,
}

/// A fitted network. It has at least one layer and its last activation is softmax.
#[derive(Debug, Clone, PartialEq)]
pub struct Trained {
    layers: Vec<DenseWeights>,
    history: Vec<EpochReport>,
}

impl Trained {
    pub(crate) fn new(layers: Vec<DenseWeights>, history: Vec<EpochReport>) -> Self {
        Self { layers, history }
    }

    /// The layers, from the features to the probabilities.
    pub fn layers(&self) -> &[DenseWeights] {
        &self.layers
    }

    /// How each epoch went.
    pub fn history(&self) -> &[EpochReport] {
        &self.history
    }

    /// How many processed features a row has.
    pub fn columns(&self) -> usize {
        self.layers.first().map_or(0, |layer| layer.shape[0])
    }

    /// How many classes it tells apart.
    pub fn classes(&self) -> usize {
        self.layers.last().map_or(0, |layer| layer.shape[1])
    }

    /// The probabilities `[rows, classes]`, row-major, of rows of processed features.
    ///
    /// # Panics
    /// If `features` does not hold whole rows of [`Trained::columns`].
    pub fn predict(&self, features: &[f32]) -> Vec<f32> {
        let columns = self.columns();
        assert!(
            features.len().is_multiple_of(columns),
            "{} values are no whole number of rows of {columns}",
            features.len()
        );
        let device = Device::flex();
        let network = Mlp::with_weights(&self.layers, &device);
        let mut probabilities = Vec::with_capacity(features.len() / columns * self.classes());
        for chunk in features.chunks(ROWS_AT_ONCE * columns) {
            let logits = logits(&network, chunk, columns, &device);
            probabilities.extend(elements(activation::softmax(logits, 1)));
        }
        probabilities
    }

    /// The network as an operator graph from raw `features` `[batch, columns]` to `probabilities`
    /// `[batch, classes]`: the processors are its first nodes, the weights its variables.
    ///
    /// # Errors
    /// [`Error::Processors`] if the processors are of another number of features; [`Error::Graph`] if the
    /// graph cannot be built.
    pub fn graph(&self, processors: &FittedProcessors) -> Result<Graph, Error> {
        graph::build(&self.layers, processors)
    }
}

/// The logits of rows of processed features.
pub(crate) fn logits(network: &Mlp, features: &[f32], columns: usize, device: &Device) -> Tensor<2> {
    let rows = features.len() / columns;
    network.logits(Tensor::from_data(TensorData::new(features.to_vec(), [rows, columns]), device))
}
