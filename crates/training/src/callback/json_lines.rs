//! The history as JSON lines, for programs: one object an epoch and, if asked for, one every so many updates.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log_file::{Failure, LogFile, Mark, Now, check_path, lines};
use crate::observer::{BatchProgress, Control, EpochReport, Observer, TrainBegin};
use crate::{Error, FileError};

/// `[fit.json_lines]`: the history as JSON lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct JsonLinesConfig {
    /// The file, in the output folder.
    pub filename: String,
    /// A line after every so many updates as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub every_steps: Option<u64>,
}

impl Default for JsonLinesConfig {
    fn default() -> Self {
        Self { filename: "training.jsonl".to_owned(), every_steps: None }
    }
}

impl JsonLinesConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        check_path("fit.json_lines.filename", &self.filename)?;
        if self.every_steps == Some(0) {
            return Err(crate::config::config("fit.json_lines.every_steps", &0, "it must be at least 1"));
        }
        Ok(())
    }
}

/// Writes a line after every epoch (`"event":"epoch"`) and every so many updates (`"event":"step"`); epochs and
/// updates are counted from 1, a measure that is no number is `null`. Each line is one write.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    every_steps: Option<u64>,
    log: Option<LogFile>,
    /// Updates done.
    done: u64,
    failure: Failure,
}

/// A line.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Line<'a> {
    Epoch {
        epoch: usize,
        /// Updates done since the fit began.
        global_step: u64,
        loss: f64,
        #[serde(skip_serializing_if = "Option::is_none")]
        val_loss: Option<f64>,
        learning_rate: f64,
        seconds: f64,
        #[serde(flatten)]
        metrics: &'a BTreeMap<String, f64>,
    },
    Step {
        epoch: usize,
        step: usize,
        global_step: u64,
        loss: f64,
        learning_rate: f64,
        #[serde(flatten)]
        metrics: &'a BTreeMap<String, f64>,
    },
}

/// What places a line.
#[derive(Debug, Deserialize)]
struct Place {
    event: String,
    epoch: usize,
    global_step: u64,
}

impl JsonLines {
    /// In the folder `out`; nothing is touched before the fit begins.
    pub fn new(out: &Path, config: &JsonLinesConfig) -> Self {
        Self {
            path: out.join(&config.filename),
            every_steps: config.every_steps,
            log: None,
            done: 0,
            failure: Failure::default(),
        }
    }

    /// Why the log could not be written, once: the fit was stopped for it.
    pub fn take_error(&mut self) -> Option<FileError> {
        self.failure.take()
    }

    fn begin(&mut self, resumed_at: Option<u64>) -> Result<(), FileError> {
        self.done = resumed_at.unwrap_or(0);
        self.log = Some(match resumed_at {
            None => LogFile::create(&self.path)?,
            Some(_) => LogFile::reopen(&self.path, |bytes| {
                lines(bytes, |_, line| {
                    let place: Place = serde_json::from_str(line).ok()?;
                    match place.event.as_str() {
                        "epoch" => Some(Mark::Epoch(place.epoch)),
                        "step" => Some(Mark::Step(place.global_step)),
                        _ => None,
                    }
                })
            })?,
        });
        Ok(())
    }

    fn write(&mut self, now: Now, line: Option<&Line<'_>>) -> Result<(), FileError> {
        let Some(log) = &mut self.log else { return Ok(()) };
        log.rewind(now)?;
        let Some(line) = line else { return Ok(()) };
        let content = |error: serde_json::Error| FileError::Content {
            path: self.path.clone(),
            reason: error.to_string(),
        };
        let mut text = serde_json::to_vec(line).map_err(content)?;
        text.push(b'\n');
        log.append(&text)
    }
}

impl Observer for JsonLines {
    fn on_train_begin(&mut self, begin: &TrainBegin) {
        let begun = self.begin(begin.resumed_at);
        self.failure.control(begun);
    }

    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        let BatchProgress { epoch, step, global_step, loss, metrics, learning_rate, .. } = *progress;
        self.done = global_step;
        let due = self.every_steps.is_some_and(|every| global_step.is_multiple_of(every));
        let line = Line::Step { epoch, step, global_step, loss, learning_rate, metrics };
        let written = self.write(Now { epoch, step: global_step }, due.then_some(&line));
        self.failure.control(written)
    }

    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let EpochReport { epoch, loss, val_loss, metrics, learning_rate, seconds, .. } = report;
        let line = Line::Epoch {
            epoch: *epoch,
            global_step: self.done,
            loss: *loss,
            val_loss: *val_loss,
            learning_rate: *learning_rate,
            seconds: *seconds,
            metrics,
        };
        let written = self.write(Now { epoch: *epoch, step: self.done + 1 }, Some(&line));
        self.failure.control(written)
    }
}

#[cfg(test)]
mod tests {
    use super::super::played::play;
    use super::*;

    const EPOCHS: &str = r#"{"event":"epoch","epoch":1,"global_step":4,"loss":1.0,"val_loss":1e-7,"learning_rate":0.001,"seconds":2.0,"accuracy":0.515625,"val_accuracy":null}
{"event":"epoch","epoch":2,"global_step":8,"loss":0.5,"val_loss":2e-7,"learning_rate":0.001,"seconds":2.0,"accuracy":0.53125,"val_accuracy":null}
"#;
    const STEP_3: &str = r#"{"event":"step","epoch":1,"step":3,"global_step":3,"loss":0.3333333333333333,"learning_rate":0.001,"accuracy":0.03}
"#;
    const STEP_6: &str = r#"{"event":"step","epoch":2,"step":2,"global_step":6,"loss":0.16666666666666666,"learning_rate":0.001,"accuracy":0.06}
"#;

    fn log(out: &Path, every_steps: Option<u64>) -> JsonLines {
        JsonLines::new(out, &JsonLinesConfig { every_steps, ..JsonLinesConfig::default() })
    }

    fn read(out: &Path) -> String {
        std::fs::read_to_string(out.join("training.jsonl")).unwrap()
    }

    #[test]
    fn a_line_an_epoch_and_every_so_many_updates() {
        let out = tempfile::tempdir().unwrap();
        play(&mut log(out.path(), None), 0, 8);
        assert_eq!(read(out.path()), EPOCHS);
        play(&mut log(out.path(), Some(3)), 0, 8);
        let (first, second) = EPOCHS.split_once('\n').unwrap();
        assert_eq!(read(out.path()), format!("{STEP_3}{first}\n{STEP_6}{second}"));
    }

    #[test]
    fn a_resumed_fit_writes_what_an_uninterrupted_one_does() {
        let whole = tempfile::tempdir().unwrap();
        play(&mut log(whole.path(), Some(3)), 0, 20);
        for (killed, checkpoint) in [(9, 8), (12, 5), (12, 11), (3, 2), (8, 8), (5, 1), (19, 4), (7, 6)] {
            let out = tempfile::tempdir().unwrap();
            play(&mut log(out.path(), Some(3)), 0, killed);
            let torn = read(out.path()) + "{\"event\":\"st";
            std::fs::write(out.path().join("training.jsonl"), torn).unwrap();
            assert_eq!(play(&mut log(out.path(), Some(3)), checkpoint, 20), Control::Continue);
            assert_eq!(
                read(out.path()),
                read(whole.path()),
                "killed after {killed}, resumed at {checkpoint}"
            );
        }
    }

    #[test]
    fn another_file_of_that_name_ends_the_fit_and_stays() {
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join("training.jsonl"), "{\"a\":1}\n").unwrap();
        let mut log = log(out.path(), None);
        assert_eq!(play(&mut log, 4, 5), Control::Stop);
        assert!(log.take_error().unwrap().to_string().contains("line 1 is none of this log"));
        assert_eq!(read(out.path()), "{\"a\":1}\n");
    }

    #[test]
    fn a_section_is_checked() {
        let read = |text: &str| toml::from_str::<JsonLinesConfig>(text).unwrap();
        assert_eq!(read(""), JsonLinesConfig::default());
        assert_eq!(read("every_steps = 10").every_steps, Some(10));
        assert_eq!(
            read("every_steps = 0").check().unwrap_err().to_string(),
            "fit.json_lines.every_steps is 0; it must be at least 1"
        );
        assert!(read("filename = \"../a\"").check().is_err());
    }
}
