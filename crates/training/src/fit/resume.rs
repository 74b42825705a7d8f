//! What a fit keeps on disk: checkpoints when they are due, and the one it goes on from.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Directory;
use super::run::{Progress, Run, Tally};
use crate::callback::{EarlyStopping, ReduceLrOnPlateau};
use crate::checkpoint::{Checkpoint, CheckpointDir, NamedTensor, Pace, number};
use crate::config::ModelConfig;
use crate::loss::LossValue;
use crate::metric::Meter;
use crate::observer::{EpochReport, Observer};
use crate::trained::Weight;
use crate::{Error, FitConfig};

/// Writes checkpoints.
#[derive(Debug)]
pub(super) struct Keeper {
    directory: CheckpointDir,
    pace: Pace,
    /// What must be the same for a fit to go on.
    config: Value,
    monitor: String,
    newest: Option<u64>,
}

/// [`Checkpoint::state`].
#[derive(Debug, Serialize, Deserialize)]
struct State {
    history: Vec<EpochReport>,
    losses: Vec<Loss>,
    penalty: f64,
    rows: usize,
    meters: Vec<Vec<Meter>>,
    #[serde(with = "number::option")]
    first_loss: Option<f64>,
    early_stopping: Option<EarlyStopping>,
    plateau: Option<ReduceLrOnPlateau>,
    base_rate: Option<f64>,
    best_epoch: Option<usize>,
    stopped: bool,
    iterations: u64,
    pace: Value,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Loss {
    #[serde(with = "number")]
    sum: f64,
    count: f64,
}

impl Keeper {
    /// Opens the directory and, if asked to, goes on from its newest whole checkpoint; also the update it goes on
    /// from.
    pub(super) fn open(
        directory: &Directory<'_>,
        run: &mut Run<'_>,
        model: &ModelConfig,
        observer: &mut dyn Observer,
    ) -> Result<(Self, Option<u64>), Error> {
        let config = run.job.config;
        let mut keeper = Self {
            directory: CheckpointDir::open(directory.path, config.checkpoint.keep)?,
            pace: Pace::new(&config.checkpoint),
            config: identity(directory, run, model),
            monitor: config.checkpoint.monitor.clone(),
            newest: None,
        };
        let found = keeper.directory.newest()?;
        if !directory.resume {
            if found.checkpoint.as_ref().is_some_and(|(_, checkpoint)| is_unfinished(checkpoint)) {
                let aside = keeper.directory.set_aside()?;
                observer.on_note(&format!(
                    "starting afresh; the checkpoints of the fit that was not finished are now {} (--resume goes on where \
                     one stopped)",
                    aside.display()
                ));
            }
            keeper.directory.clear()?;
            return Ok((keeper, None));
        }
        for skipped in &found.skipped {
            observer.on_note(&skipped.to_string());
        }
        let Some(checkpoint) = found.under(&keeper.config)? else {
            observer.on_note("there is no checkpoint yet: starting from step 0");
            return Ok((keeper, None));
        };
        let step = checkpoint.step;
        keeper.restore(run, checkpoint)?;
        keeper.newest = Some(step);
        observer.on_note(&format!("resumed at step {step}"));
        Ok((keeper, Some(step)))
    }

    /// The update of the newest checkpoint.
    pub(super) fn newest(&self) -> Option<u64> {
        self.newest
    }

    pub(super) fn after_step(
        &mut self,
        run: &Run<'_>,
        elapsed: Duration,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        if self.pace.after_step(run.progress.global_step, elapsed) {
            self.save(run, observer)?;
        }
        Ok(())
    }

    pub(super) fn after_epoch(
        &mut self,
        run: &Run<'_>,
        report: &EpochReport,
        elapsed: Duration,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let measured = report.figure(&self.monitor);
        // The last update of an epoch is due here, where the epoch is complete; both are to know of it.
        let by_step = self.pace.after_step(run.progress.global_step, elapsed);
        if self.pace.after_epoch(report.epoch, measured, elapsed) || by_step {
            self.save(run, observer)?;
        }
        Ok(())
    }

    /// Writes a checkpoint; the update it is of.
    pub(super) fn save(&mut self, run: &Run<'_>, observer: &mut dyn Observer) -> Result<u64, Error> {
        let progress = &run.progress;
        let mut tensors: Vec<NamedTensor> = named("weights", &run.weights).collect();
        for (name, data) in run.optimizer.state() {
            let name = format!("optimizer/{name}");
            tensors.push(NamedTensor { name, shape: vec![data.len()], data: data.to_vec() });
        }
        if let Some((_, best)) = &progress.best {
            tensors.extend(named("best", best));
        }
        let state = State {
            history: progress.history.clone(),
            losses: progress
                .seen
                .losses
                .iter()
                .map(|loss| Loss { sum: loss.sum, count: loss.count })
                .collect(),
            penalty: progress.seen.penalty,
            rows: progress.seen.rows,
            meters: progress.seen.meters.clone(),
            first_loss: progress.first_loss,
            early_stopping: progress.early_stopping.clone(),
            plateau: progress.plateau.clone(),
            base_rate: progress.base_rate,
            best_epoch: progress.best.as_ref().map(|(epoch, _)| *epoch),
            stopped: progress.stopped,
            iterations: run.optimizer.iterations(),
            pace: self.pace.state(),
        };
        let state = serde_json::to_value(state).map_err(|error| Error::Checkpoint(error.to_string()))?;
        let checkpoint = Checkpoint {
            step: progress.global_step,
            epoch: progress.epoch,
            step_in_epoch: progress.step,
            config: self.config.clone(),
            state,
            tensors,
        };
        self.directory.save(&checkpoint)?;
        self.newest = Some(progress.global_step);
        observer.on_checkpoint(progress.global_step);
        Ok(progress.global_step)
    }

    fn restore(&mut self, run: &mut Run<'_>, checkpoint: Checkpoint) -> Result<(), Error> {
        let broken = |reason: String| Error::Checkpoint(format!("the checkpoint does not fit: {reason}"));
        let state: State =
            serde_json::from_value(checkpoint.state).map_err(|error| broken(error.to_string()))?;
        let mut tensors: std::collections::BTreeMap<String, NamedTensor> =
            checkpoint.tensors.into_iter().map(|tensor| (tensor.name.clone(), tensor)).collect();
        let mut weights_of = |kind: &str| -> Result<Vec<Weight>, Error> {
            let take = |weight: &Weight| {
                let name = format!("{kind}/{}", weight.name);
                let tensor = tensors.remove(&name).filter(|tensor| tensor.shape == weight.shape);
                let tensor = tensor.ok_or_else(|| broken(format!("it has no {name} {:?}", weight.shape)))?;
                Ok(Weight { name: weight.name.clone(), shape: tensor.shape, values: tensor.data })
            };
            run.weights.iter().map(take).collect()
        };
        let weights = weights_of("weights")?;
        let best = match state.best_epoch {
            Some(epoch) => Some((epoch, weights_of("best")?)),
            None => None,
        };
        let mut take = |name: &str, length: usize| {
            let tensor = tensors.remove(&format!("optimizer/{name}"))?;
            (tensor.data.len() == length).then_some(tensor.data)
        };
        run.optimizer.restore(state.iterations, &mut take).map_err(broken)?;
        run.weights = weights;
        self.pace.restore(&state.pace).map_err(broken)?;
        let losses = state.losses.iter().map(|loss| LossValue { sum: loss.sum, count: loss.count }).collect();
        run.progress = Progress {
            global_step: checkpoint.step,
            epoch: checkpoint.epoch,
            step: checkpoint.step_in_epoch,
            seen: Tally { losses, penalty: state.penalty, rows: state.rows, meters: state.meters },
            history: state.history,
            first_loss: state.first_loss,
            early_stopping: state.early_stopping,
            plateau: state.plateau,
            base_rate: state.base_rate,
            best,
            stopped: state.stopped,
        };
        Ok(())
    }
}

/// Whether a fit has epochs left after a checkpoint.
fn is_unfinished(checkpoint: &Checkpoint) -> bool {
    let epochs = checkpoint.config["fit"]["epochs"].as_u64().unwrap_or_default();
    checkpoint.epoch as u64 <= epochs && checkpoint.state["stopped"] != json!(true)
}

fn named<'a>(kind: &'a str, weights: &'a [Weight]) -> impl Iterator<Item = NamedTensor> + 'a {
    weights.iter().map(move |weight| NamedTensor {
        name: format!("{kind}/{}", weight.name),
        shape: weight.shape.clone(),
        data: weight.values.clone(),
    })
}

/// What decides the weights: everything but what is written beside them.
fn identity(directory: &Directory<'_>, run: &Run<'_>, model: &ModelConfig) -> Value {
    let silent = FitConfig {
        checkpoint: crate::checkpoint::CheckpointConfig::default(),
        csv_log: None,
        json_lines: None,
        tensorboard: None,
        ..run.job.config.clone()
    };
    json!({
        "model": model,
        "fit": silent,
        "rows": { "train": run.job.train.rows(), "valid": run.job.valid.map(|valid| valid.rows()) },
        "continued": run.job.start.is_some(),
        "device": run.job.device,
        "data": directory.identity,
    })
}
