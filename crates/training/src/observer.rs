//! Who follows a fit, and may end it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Whether a fit goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It goes on.
    Continue,
    /// It ends with [`crate::Error::Interrupted`].
    Stop,
}

/// What is about to be fitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainBegin {
    /// Epochs asked for.
    pub epochs: usize,
    /// Updates of an epoch.
    pub steps: usize,
    /// Trainable numbers of the network.
    pub parameters: usize,
    /// The update it goes on from, counted from 0; none if it starts afresh.
    pub resumed_at: Option<u64>,
}

/// Where a fit is after a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchProgress<'a> {
    /// The running epoch, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Batches of this epoch that are done.
    pub step: usize,
    /// Batches of an epoch.
    pub steps: usize,
    /// Updates since the beginning of the fit.
    pub global_step: u64,
    /// Rows of this batch.
    pub rows: usize,
    /// Mean loss of the rows of this epoch so far.
    pub loss: f64,
    /// Metrics of the rows of this epoch so far that are cheap to tell at every batch.
    pub metrics: &'a BTreeMap<String, f64>,
    /// The learning rate of the update.
    pub learning_rate: f64,
}

/// How an epoch went.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mean training loss, each batch measured before its own update.
    pub loss: f64,
    /// Mean loss on the validation rows after the epoch, if there are any.
    pub val_loss: Option<f64>,
    /// Metrics by Keras's names: `accuracy` of the training rows, measured as their loss, `val_accuracy` of the
    /// validation rows after the epoch. One that is not defined, as a correlation with a constant, is absent.
    pub metrics: BTreeMap<String, f64>,
    /// The learning rate of the last update.
    pub learning_rate: f64,
    /// Training rows a second, validation left out.
    pub rows_per_second: f64,
    /// What it took, validation included; with the rows a second the only figures a seed does not decide.
    pub seconds: f64,
}

impl EpochReport {
    /// A figure by the name a callback monitors it by: `loss`, `val_loss` or that of a metric.
    pub fn figure(&self, name: &str) -> Option<f64> {
        match name {
            "loss" => Some(self.loss),
            "val_loss" => self.val_loss,
            metric => self.metrics.get(metric).copied(),
        }
    }
}

/// Follows a fit and may end it after any batch or epoch: Keras's callbacks.
pub trait Observer {
    /// The fit begins, or goes on where one before was interrupted.
    fn on_train_begin(&mut self, begin: &TrainBegin) {
        let _ = begin;
    }

    /// Epoch `epoch`, counted from 1, of `epochs` begins.
    fn on_epoch_begin(&mut self, epoch: usize, epochs: usize) {
        let _ = (epoch, epochs);
    }

    /// Batch `step` of epoch `epoch`, both counted from 1, is about to be computed.
    fn on_batch_begin(&mut self, epoch: usize, step: usize) {
        let _ = (epoch, step);
    }

    /// A batch is done.
    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        let _ = progress;
        Control::Continue
    }

    /// An epoch is done.
    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let _ = report;
        Control::Continue
    }

    /// A checkpoint was written after so many updates.
    fn on_checkpoint(&mut self, global_step: u64) {
        let _ = global_step;
    }

    /// Something worth telling that does not end the fit, in a sentence.
    fn on_note(&mut self, note: &str) {
        let _ = note;
    }

    /// The fit is done.
    fn on_train_end(&mut self, history: &[EpochReport]) {
        let _ = history;
    }
}

/// Lets a fit run to its end and says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
