//! A fitted network: its weights, how it got them, and what it answers.

mod graph;
mod summary;

use artifact::graph::Graph;
use burn::tensor::Device;
use market::FittedProcessors;

pub use summary::{LayerSummary, Summary};

use crate::config::ModelConfig;
use crate::network::{Call, Network};
use crate::sample::Columns;
use crate::{EpochReport, Error};

/// Rows computed at once when a network is only asked; bounds the memory a large set takes.
const ROWS_AT_ONCE: usize = 4096;

/// A tensor of a network.
#[derive(Debug, Clone, PartialEq)]
pub struct Weight {
    /// The layer's name and its own: `dense/kernel`.
    pub name: String,
    /// One to three axes.
    pub shape: Vec<usize>,
    /// Row-major.
    pub values: Vec<f32>,
}

/// A fitted network.
#[derive(Debug)]
pub struct Trained {
    network: Network,
    columns: Columns,
    model: ModelConfig,
    weights: Vec<Weight>,
    history: Vec<EpochReport>,
    best_epoch: Option<usize>,
}

impl Trained {
    pub(crate) fn new(network: Network, columns: Columns, model: ModelConfig, weights: Vec<Weight>) -> Self {
        Self { network, columns, model, weights, history: Vec::new(), best_epoch: None }
    }

    pub(crate) fn network(&self) -> &Network {
        &self.network
    }

    /// What a row of features is.
    pub fn names(&self) -> &Columns {
        &self.columns
    }

    pub(crate) fn with_history(mut self, history: Vec<EpochReport>, best_epoch: Option<usize>) -> Self {
        (self.history, self.best_epoch) = (history, best_epoch);
        self
    }

    /// The layers, all written out.
    pub fn model(&self) -> &ModelConfig {
        &self.model
    }

    /// All tensors, layer by layer.
    pub fn weights(&self) -> &[Weight] {
        &self.weights
    }

    /// How each epoch went.
    pub fn history(&self) -> &[EpochReport] {
        &self.history
    }

    /// The epoch whose weights these are, if they are not those of the last one.
    pub fn best_epoch(&self) -> Option<usize> {
        self.best_epoch
    }

    /// How many processed features a row has.
    pub fn columns(&self) -> usize {
        self.network.columns()
    }

    /// Names and units of the outputs.
    pub fn outputs(&self) -> Vec<(&str, usize)> {
        self.network.outputs.iter().map(|head| (head.name.as_str(), head.units)).collect()
    }

    /// Each output `[rows, units]`, row-major, of rows of processed features.
    ///
    /// # Panics
    /// If `features` does not hold whole rows of [`Trained::columns`].
    pub fn predict(&self, features: &[f32]) -> Vec<Vec<f32>> {
        outputs(
            &self.network,
            &self.weights,
            features,
            &Device::flex(),
            &vec![false; self.network.outputs.len()],
        )
    }

    /// The network as an operator graph from raw `features` `[batch, columns]` to its outputs `[batch, units]`: the
    /// processors are its first nodes, the weights its variables.
    ///
    /// # Errors
    /// [`Error::Processors`] if the processors are of another number of features; [`Error::Graph`] if the
    /// graph cannot be built.
    pub fn graph(&self, processors: &FittedProcessors) -> Result<Graph, Error> {
        graph::build(&self.network, &self.weights, processors)
    }
}

/// What a network with these weights gives for rows; `take_off` as [`Call::take_off`].
pub(crate) fn outputs(
    network: &Network,
    weights: &[Weight],
    features: &[f32],
    device: &Device,
    take_off: &[bool],
) -> Vec<Vec<f32>> {
    let columns = network.columns();
    assert!(
        features.len().is_multiple_of(columns),
        "{} values are no whole number of rows of {columns}",
        features.len()
    );
    let leaves = network.leaves(weights, device);
    let mut outputs: Vec<Vec<f32>> = vec![Vec::new(); network.outputs.len()];
    for chunk in features.chunks(ROWS_AT_ONCE * columns) {
        let rows = chunk.len() / columns;
        let call = Call { leaves: &leaves, device, fitting: None, features: chunk, rows, take_off };
        for (all, some) in outputs.iter_mut().zip(network.forward(&call).outputs) {
            all.extend(elements(some));
        }
    }
    outputs
}

/// The elements of a tensor, row-major.
pub(crate) fn elements<const D: usize>(tensor: burn::tensor::Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("the device computes in float32")
}
