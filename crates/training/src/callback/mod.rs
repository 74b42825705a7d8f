//! What follows a fit beside its user's own hooks, as Keras's callbacks do: early stopping, a learning rate lowered on a
//! plateau, and logs for tables, for programs and for TensorBoard.
//!
//! A log is an [`Observer`](crate::Observer). One that cannot be written ends the fit and keeps the reason. A fit
//! that is resumed goes on in the logs of the one before: what is done again is first taken out of them, so that
//! they are what an uninterrupted fit writes. Deliberately not here: checkpoints; and Keras's `TerminateOnNaN`, which no
//! fit goes without: the loop ends one whose loss runs away or is no number, keeps the checkpoints of the weights that
//! were good and says what to try.

mod csv_log;
mod early_stopping;
mod json_lines;
mod plateau;
mod tensorboard;

mod event;
mod log_file;

pub use csv_log::{CsvLog, CsvLogConfig};
pub(crate) use early_stopping::EarlyStopping;
pub use early_stopping::EarlyStoppingConfig;
pub use json_lines::{JsonLines, JsonLinesConfig};
pub(crate) use plateau::ReduceLrOnPlateau;
pub use plateau::ReduceLrOnPlateauConfig;
pub use tensorboard::{TensorBoard, TensorBoardConfig, UpdateFreq};

/// What the tests of the logs share: a fit in which every number says where it comes from.
#[cfg(test)]
mod played {
    use std::collections::BTreeMap;

    use crate::observer::{BatchProgress, Control, EpochReport, Observer, TrainBegin};

    /// Batches of an epoch.
    pub(super) const STEPS: usize = 4;

    /// Plays batches `from..to` (counted from 0 over the whole fit); `from` above 0 is a resume.
    pub(super) fn play(observer: &mut dyn Observer, from: u64, to: u64) -> Control {
        let resumed_at = (from > 0).then_some(from);
        observer.on_train_begin(&TrainBegin { epochs: 9, steps: STEPS, resumed_at, parameters: 3 });
        let mut control = Control::Continue;
        for done in from + 1..=to {
            let (epoch, step) = ((done as usize - 1) / STEPS + 1, (done as usize - 1) % STEPS + 1);
            let metrics = BTreeMap::from([("accuracy".to_owned(), done as f64 / 100.0)]);
            let progress = BatchProgress {
                epoch,
                epochs: 9,
                step,
                steps: STEPS,
                global_step: done,
                rows: 32,
                loss: 1.0 / done as f64,
                metrics: &metrics,
                learning_rate: 0.001,
            };
            control = observer.on_batch_end(&progress);
            if step == STEPS {
                control = observer.on_epoch_end(&report(epoch));
            }
        }
        control
    }

    pub(super) fn report(epoch: usize) -> EpochReport {
        let metrics = [("accuracy", 0.5 + epoch as f64 / 64.0), ("val_accuracy", f64::NAN)];
        EpochReport {
            epoch,
            loss: 1.0 / epoch as f64,
            val_loss: Some(1e-7 * epoch as f64),
            metrics: metrics.map(|(name, value)| (name.to_owned(), value)).into(),
            learning_rate: 0.001,
            rows_per_second: 100.0,
            seconds: 2.0,
        }
    }
}
