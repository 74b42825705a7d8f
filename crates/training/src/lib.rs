//! Fits a network that a configuration describes, and hands its weights over as an operator graph.
//!
//! [`fit`] is the whole of training: it builds the network of a [`ModelConfig`], follows a [`FitConfig`], tells an
//! [`Observer`] what happens and returns a [`Trained`]. The tensor library differentiates the network and nothing
//! else: losses, metrics and optimizers are plain loops over numbers on the host. The same seed gives the same
//! weights, byte for byte, on any number of threads. This is the only crate that names the tensor library.
//! Deliberately not here: where features come from, evaluation on a test window of dates.

mod config;

mod fit;
mod observer;
mod trained;

mod architecture;
mod layer;
mod network;

mod loss;
mod metric;
mod optimizer;
mod schedule;

pub mod callback;
pub mod checkpoint;

mod activation;
mod batch;
mod device;
mod error;
mod file;
mod name;
mod order;
mod prefetch;
mod rows;
mod sample;
mod seed;
mod vectorised;

pub use activation::Activation;
pub use architecture::*;
pub use config::{
    ClassWeight, FitConfig, InputConfig, LayerConfig, LossConfig, MetricsConfig, ModelConfig, OutputConfig,
};
pub use device::ComputeDevice;
#[doc(hidden)]
pub use device::device_of_tests;
pub use error::Error;
pub use file::FileError;
pub use fit::{Directory, Evaluated, Fit, check_start, fit};
pub use layer::*;
pub use loss::*;
pub use metric::{Metric, TopKConfig, larger_is_better};
pub use observer::{BatchProgress, Control, EpochReport, Observer, Silent, TrainBegin};
pub use optimizer::*;
pub use order::{BlocksConfig, Shuffle};
pub use rows::{Matrix, Rows};
pub use sample::{Columns, Samples};
pub use schedule::*;
pub use trained::{LayerSummary, Summary, Trained, Weight};
