//! Who follows a fit: the caller's observer, and the logs its configuration asks for.

use std::path::Path;

use super::Directory;
use crate::callback::{CsvLog, JsonLines, TensorBoard};
use crate::observer::{BatchProgress, Control, EpochReport, Observer, TrainBegin};
use crate::{FileError, FitConfig};

/// The caller's observer and the logs, which come after it.
pub(super) struct Follow<'a> {
    caller: &'a mut dyn Observer,
    csv: Option<CsvLog>,
    json_lines: Option<JsonLines>,
    tensorboard: Option<TensorBoard>,
}

impl<'a> Follow<'a> {
    /// Logs are kept where there is a directory for them.
    pub(super) fn new(
        caller: &'a mut dyn Observer,
        config: &FitConfig,
        directory: Option<&Directory<'_>>,
    ) -> Self {
        let out = directory.map_or(Path::new(""), |directory| directory.path);
        let kept = directory.is_some();
        let clock = directory.map_or(no_clock as fn() -> f64, |directory| directory.clock);
        Self {
            caller,
            csv: config.csv_log.as_ref().filter(|_| kept).map(|log| CsvLog::new(out, log)),
            json_lines: config.json_lines.as_ref().filter(|_| kept).map(|log| JsonLines::new(out, log)),
            tensorboard: config.tensorboard.as_ref().filter(|_| kept).map(|log| TensorBoard::new(out, log, clock)),
        }
    }

    /// Why a log could not be written, if that is so.
    pub(super) fn take_error(&mut self) -> Option<FileError> {
        let csv = self.csv.as_mut().and_then(CsvLog::take_error);
        let json_lines = self.json_lines.as_mut().and_then(JsonLines::take_error);
        let tensorboard = self.tensorboard.as_mut().and_then(TensorBoard::take_error);
        csv.or(json_lines).or(tensorboard)
    }

    fn logs(&mut self) -> impl Iterator<Item = &mut dyn Observer> {
        let csv = self.csv.as_mut().map(|log| log as &mut dyn Observer);
        let json_lines = self.json_lines.as_mut().map(|log| log as &mut dyn Observer);
        let tensorboard = self.tensorboard.as_mut().map(|log| log as &mut dyn Observer);
        csv.into_iter().chain(json_lines).chain(tensorboard)
    }
}

/// Nothing is logged where there is no directory.
fn no_clock() -> f64 {
    0.0
}

/// Stop if either says so.
fn both(a: Control, b: Control) -> Control {
    if a == Control::Stop { a } else { b }
}

impl Observer for Follow<'_> {
    fn on_train_begin(&mut self, begin: &TrainBegin) {
        self.caller.on_train_begin(begin);
        self.logs().for_each(|log| log.on_train_begin(begin));
    }

    fn on_epoch_begin(&mut self, epoch: usize, epochs: usize) {
        self.caller.on_epoch_begin(epoch, epochs);
        self.logs().for_each(|log| log.on_epoch_begin(epoch, epochs));
    }

    fn on_batch_begin(&mut self, epoch: usize, step: usize) {
        self.caller.on_batch_begin(epoch, step);
    }

    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        let caller = self.caller.on_batch_end(progress);
        self.logs().fold(caller, |control, log| both(control, log.on_batch_end(progress)))
    }

    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let caller = self.caller.on_epoch_end(report);
        self.logs().fold(caller, |control, log| both(control, log.on_epoch_end(report)))
    }

    fn on_checkpoint(&mut self, global_step: u64) {
        self.caller.on_checkpoint(global_step);
    }

    fn on_note(&mut self, note: &str) {
        self.caller.on_note(note);
    }

    fn on_train_end(&mut self, history: &[EpochReport]) {
        self.caller.on_train_end(history);
        self.logs().for_each(|log| log.on_train_end(history));
    }
}
