//! The fit: what Keras's `compile` and `fit` are told, checked, and the loop that follows it.

mod doubts;
mod follow;
mod head;
mod measure;
mod resume;
mod run;
mod step;

use std::path::Path;

use follow::Follow;
pub use measure::Evaluated;
use serde_json::Value;

use crate::config::{FitConfig, ModelConfig, OutputConfig};
use crate::network::Network;
use crate::observer::Observer;
use crate::sample::{Columns, Samples};
use crate::trained::{Trained, Weight};
use crate::{ComputeDevice, Error, Silent};

/// A network to be fitted.
#[derive(Debug, Clone, Copy)]
pub struct Fit<'a> {
    /// Which network.
    pub model: &'a ModelConfig,
    /// What a ready architecture ends with.
    pub output: OutputConfig,
    /// How.
    pub config: &'a FitConfig,
    /// What a row of features is.
    pub columns: &'a Columns,
    /// Rows to learn from.
    pub train: Samples<'a>,
    /// Rows to be measured on after every epoch.
    pub valid: Option<Samples<'a>>,
    /// Weights to start from; fresh ones by the seed if none.
    pub start: Option<&'a [Weight]>,
    /// What to compute on.
    pub device: ComputeDevice,
    /// Where checkpoints and logs go.
    pub directory: Option<Directory<'a>>,
}

/// Where a fit writes what it may be resumed from.
#[derive(Debug, Clone, Copy)]
pub struct Directory<'a> {
    /// The directory; made if it is not there.
    pub path: &'a Path,
    /// Whether to go on from its newest checkpoint, if it has one.
    pub resume: bool,
    /// What else must be the same for a fit to go on: the data.
    pub identity: &'a Value,
    /// Seconds since 1970, which logs are stamped with; nothing else depends on it.
    pub clock: fn() -> f64,
}

/// Fits a network to `train` and measures it on `valid` after every epoch.
///
/// The same configurations, samples, first weights and [`FitConfig::seed`] give the same weights, byte for byte, on
/// any number of threads of one kind of CPU, whether the fit was interrupted and resumed or not. On a graphics card they
/// give weights that agree to rounding.
///
/// # Errors
/// [`Error::Config`] for a value that cannot be; [`Error::Layer`] for layers that do not connect; an error naming row
/// and column for samples that cannot be learned from; [`Error::Diverged`] if the loss runs away;
/// [`Error::Interrupted`] if the observer says so; [`Error::Checkpoint`] if a checkpoint cannot be written or read;
/// [`Error::Device`] if the device is not there.
pub fn fit(job: &Fit<'_>, observer: &mut dyn Observer) -> Result<Trained, Error> {
    let model = job.model.written_out(job.output)?;
    job.config.check()?;
    let network = Network::build(&model, job.columns)?;
    job.train.check("training", job.columns)?;
    let columns = network.columns();
    if job.train.columns != columns {
        return Err(Error::Columns { expected: columns, set: "training", got: job.train.columns });
    }
    if let Some(valid) = &job.valid {
        valid.check("validation", job.columns)?;
        if valid.columns != columns {
            return Err(Error::Columns { expected: columns, set: "validation", got: valid.columns });
        }
    }
    // Checked first: what is refused needs no doubts.
    let run = run::Run::new(job, network)?;
    doubts::tell(&job.train, job.columns, &run.network, observer);
    let mut follow = Follow::new(observer, job.config, job.directory.as_ref());
    let fitted = run.run(model, &mut follow);
    match follow.take_error() {
        Some(error) => Err(error.into()),
        None => fitted,
    }
}

/// Checks that a fit of a network can start from weights.
///
/// # Errors
/// [`Error::Config`] and [`Error::Layer`] as [`fit`]; [`Error::Weights`], naming the first weight of the network that is not
/// among them or has another shape.
pub fn check_start(
    model: &ModelConfig,
    output: OutputConfig,
    columns: &Columns,
    start: &[Weight],
) -> Result<(), Error> {
    Network::build(&model.written_out(output)?, columns)?.chosen(start).map(|_| ())
}

impl<'a> Fit<'a> {
    /// The same network and configuration on other rows, for a few epochs at most, without anything that is written
    /// down or ends it early.
    pub fn briefly(&self, config: &FitConfig, train: Samples<'_>) -> Result<Trained, Error> {
        let job = Fit { config, train, valid: None, start: None, directory: None, ..*self };
        fit(&job, &mut Silent)
    }
}
