//! Fits a network that a configuration describes, and hands its weights over as an operator graph.
//!
//! [`fit`] is the whole of training: it builds the architecture of a [`ModelConfig`], follows a [`FitConfig`],
//! tells an [`Observer`] what happens and returns a [`Trained`]. The same seed gives the same weights, byte for
//! byte, on any number of threads. This is the only crate that names the tensor library. Deliberately not here:
//! where features come from, files, evaluation on a test window.

mod config;

mod fit;
mod observer;
mod trained;

mod architecture;
mod initializer;
mod loss;
mod metric;
mod optimizer;

pub mod checkpoint;

mod order;
mod prefetch;
mod rows;

mod activation;
mod error;
mod file;
mod name;
mod sample;
mod seed;

pub use activation::Activation;
pub use config::{DenseConfig, FitConfig, LayerConfig, ModelConfig};
pub use error::Error;
pub use file::FileError;
pub use fit::fit;
pub use loss::Loss;
pub use metric::Metric;
pub use observer::{BatchProgress, Control, EpochReport, Observer, Silent};
pub use optimizer::{AdamConfig, OptimizerConfig};
pub use order::{BlocksConfig, EpochOrder, Order, OrderConfig, Shuffle};
pub use prefetch::{Ahead, Gathered, Prefetch};
pub use rows::{Matrix, Rows};
pub use sample::Samples;
pub use trained::{DenseWeights, Trained};
