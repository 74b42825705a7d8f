//! Checkpoints: all a fit needs to go on as if it had never stopped.
//!
//! A [`Checkpoint`] is one file in the safetensors format in `OUT/checkpoints/`. [`CheckpointDir`] writes them in
//! one step each, keeps the newest, and finds the last one that is whole; a [`Pace`] says when one is due.
//! Deliberately not here: what is in the state of optimizers, callbacks and meters, and the loop.

mod config;
mod difference;
mod directory;
mod file;
pub mod number;
mod pace;

pub use config::CheckpointConfig;
pub use difference::config_diff;
pub use directory::{CheckpointDir, Found, Skipped};
pub use pace::Pace;

pub use crate::metric::Mode;

use serde_json::Value;

/// Where a fit is, and all that decides how it goes on.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// Updates done since the fit began.
    pub step: u64,
    /// The running epoch, from 1.
    pub epoch: usize,
    /// Batches of it that are done.
    pub step_in_epoch: usize,
    /// What must be the same for the fit to go on.
    pub config: Value,
    /// States of callbacks and meters, and the history. JSON knows no NaN and no infinity: who stores numbers that
    /// may be either does so by `checkpoint::number`.
    pub state: Value,
    /// Weights and the state of the optimizer, each by its own name.
    pub tensors: Vec<NamedTensor>,
}

/// A tensor with a name.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedTensor {
    /// Its name: `layers/0/kernel`.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its elements, row-major, as many as the shape says.
    pub data: Vec<f32>,
}
