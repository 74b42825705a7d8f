//! Who follows a fit, and may end it.

use serde::{Deserialize, Serialize};

/// Whether a fit goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// It goes on.
    Continue,
    /// It ends with [`crate::Error::Interrupted`].
    Stop,
}

/// Where a fit is after a batch.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchProgress {
    /// The running epoch, from 1.
    pub epoch: usize,
    /// Epochs in all.
    pub epochs: usize,
    /// Batches of this epoch that are done.
    pub step: usize,
    /// Batches of an epoch.
    pub steps: usize,
    /// Mean loss of the rows of this epoch so far.
    pub loss: f64,
    /// Share of the rows of this epoch so far that were classified right.
    pub accuracy: f64,
}

/// How an epoch went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EpochReport {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Mean training loss, each batch measured before its own update.
    pub loss: f64,
    /// Training accuracy, measured likewise.
    pub accuracy: f64,
    /// Mean loss on the validation rows after the epoch, if there are any.
    pub val_loss: Option<f64>,
    /// Accuracy on the validation rows after the epoch, if there are any.
    pub val_accuracy: Option<f64>,
    /// What it took, validation included; the only figure a seed does not decide.
    pub seconds: f64,
}

/// Follows a fit and may end it after any batch or epoch.
pub trait Observer {
    /// Epoch `epoch`, counted from 1, of `epochs` begins.
    fn on_epoch_begin(&mut self, epoch: usize, epochs: usize) {
        let _ = (epoch, epochs);
    }

    /// A batch is done.
    fn on_batch_end(&mut self, progress: &BatchProgress) -> Control {
        let _ = progress;
        Control::Continue
    }

    /// An epoch is done.
    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let _ = report;
        Control::Continue
    }
}

/// Lets a fit run to its end and says nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Observer for Silent {}
