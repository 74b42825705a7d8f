//! Curves for TensorBoard: event files with the runs and tags of Keras's callback.

use std::path::{Path, PathBuf};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::csv_log::measures;
use super::event::{self, EPOCH_PREFIX};
use super::log_file::{Failure, LogFile, Now, check_path, remove};
use crate::observer::{BatchProgress, Control, EpochReport, Observer, TrainBegin};
use crate::{Error, FileError};

/// Names of event files begin so; TensorBoard looks for `tfevents`.
const FILE_PREFIX: &str = "events.out.tfevents.";
/// Ours end so; those of others in the same folder are left alone.
const FILE_SUFFIX: &str = ".bellwether";
const TRAIN: &str = "train";
const VALIDATION: &str = "validation";
const VALIDATION_PREFIX: &str = "val_";

/// `[fit.tensorboard]`: curves for TensorBoard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TensorBoardConfig {
    /// The folder, in the output folder.
    pub log_dir: String,
    /// How often training is written.
    pub update_freq: UpdateFreq,
}

/// How often training is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UpdateFreq {
    /// `"epoch"`: after every epoch.
    Epoch,
    /// `"batch"` or a number: after every so many updates too.
    Steps(u64),
}

impl Default for TensorBoardConfig {
    fn default() -> Self {
        Self { log_dir: "tensorboard".to_owned(), update_freq: UpdateFreq::Epoch }
    }
}

impl TensorBoardConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        check_path("fit.tensorboard.log_dir", &self.log_dir)?;
        if self.update_freq == UpdateFreq::Steps(0) {
            let way_out = "it must be \"epoch\", \"batch\" or a number of updates";
            return Err(crate::config::config("fit.tensorboard.update_freq", &0, way_out));
        }
        Ok(())
    }
}

impl Serialize for UpdateFreq {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Epoch => serializer.serialize_str("epoch"),
            Self::Steps(steps) => serializer.serialize_u64(*steps),
        }
    }
}

impl<'de> Deserialize<'de> for UpdateFreq {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "update_freq must be \"epoch\", \"batch\" or a number of updates")]
        enum Written {
            Steps(u64),
            Name(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Steps(steps) => Ok(Self::Steps(steps)),
            Written::Name(name) if name == "epoch" => Ok(Self::Epoch),
            Written::Name(name) if name == "batch" => Ok(Self::Steps(1)),
            Written::Name(name) => Err(D::Error::custom(format!(
                "update_freq is \"{name}\"; it must be \"epoch\", \"batch\" or a number of updates"
            ))),
        }
    }
}

/// Writes scalars into the runs `train` and `validation`, with Keras's tags and steps: `epoch_loss`,
/// `epoch_learning_rate`, `epoch_METRIC` at the epoch counted from 0; `batch_loss` and the like, if asked for, and
/// `evaluation_loss_vs_iterations` at the number of updates.
#[derive(Debug)]
pub struct TensorBoard {
    folder: PathBuf,
    update_freq: UpdateFreq,
    /// Seconds since 1970.
    clock: fn() -> f64,
    train: Option<LogFile>,
    validation: Option<LogFile>,
    /// Whether this process goes on with what another wrote.
    resumed: bool,
    /// Updates done.
    done: u64,
    failure: Failure,
}

impl TensorBoard {
    /// In the folder `out`; nothing is touched before the fit begins. `clock` tells the seconds since 1970, which
    /// TensorBoard shows and nothing else depends on.
    pub fn new(out: &Path, config: &TensorBoardConfig, clock: fn() -> f64) -> Self {
        Self {
            folder: out.join(&config.log_dir),
            update_freq: config.update_freq,
            clock,
            train: None,
            validation: None,
            resumed: false,
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
        self.resumed = resumed_at.is_some();
        if !self.resumed {
            for name in [TRAIN, VALIDATION] {
                for old in event_files(&self.folder.join(name))? {
                    remove(&old)?;
                }
            }
        }
        self.train = Some(self.open(TRAIN)?);
        // Without validation rows there is no such run.
        self.validation = if self.resumed && self.folder.join(VALIDATION).is_dir() {
            Some(self.open(VALIDATION)?)
        } else {
            None
        };
        Ok(())
    }

    /// The event file of a run: the last one there is, or a new one.
    fn open(&self, run: &str) -> Result<LogFile, FileError> {
        let folder = self.folder.join(run);
        let now = (self.clock)();
        let name = format!("{FILE_PREFIX}{:010}{FILE_SUFFIX}", now as u64);
        let path = event_files(&folder)?.pop().unwrap_or_else(|| folder.join(name));
        let mut log = LogFile::reopen(&path, event::records)?;
        if log.is_empty()? {
            log.append(&event::file_version(now))?;
        }
        Ok(log)
    }

    fn rewind(&mut self, now: Now) -> Result<(), FileError> {
        self.train.iter_mut().chain(&mut self.validation).try_for_each(|log| log.rewind(now))
    }

    fn write_batch(&mut self, progress: &BatchProgress<'_>) -> Result<(), FileError> {
        let BatchProgress { epoch, global_step, loss, metrics, learning_rate, .. } = *progress;
        self.done = global_step;
        self.rewind(Now { epoch, step: global_step })?;
        let UpdateFreq::Steps(every) = self.update_freq else { return Ok(()) };
        if !global_step.is_multiple_of(every) {
            return Ok(());
        }
        let mut values =
            vec![("batch_loss".to_owned(), loss), ("batch_learning_rate".to_owned(), learning_rate)];
        values.extend(metrics.iter().map(|(name, &value)| (format!("batch_{name}"), value)));
        let record = event::scalars((self.clock)(), global_step, &values);
        self.train.as_mut().map_or(Ok(()), |log| log.append(&record))
    }

    fn write_epoch(&mut self, report: &EpochReport) -> Result<(), FileError> {
        self.rewind(Now { epoch: report.epoch, step: self.done + 1 })?;
        let step = report.epoch.saturating_sub(1) as u64;
        let now = (self.clock)();
        let measures = measures(report);
        let epoch = |name: &str, value: f64| (format!("{EPOCH_PREFIX}{name}"), value);
        let of_train: Vec<(String, f64)> = measures
            .iter()
            .filter(|(name, _)| !name.starts_with(VALIDATION_PREFIX))
            .map(|(name, &value)| epoch(name, value))
            .collect();
        if let Some(log) = &mut self.train {
            log.append(&event::scalars(now, step, &of_train))?;
        }
        let of_validation: Vec<(&str, f64)> = measures
            .iter()
            .filter_map(|(name, &value)| Some((name.strip_prefix(VALIDATION_PREFIX)?, value)))
            .collect();
        if of_validation.is_empty() {
            return Ok(());
        }
        if self.validation.is_none() {
            self.validation = Some(self.open(VALIDATION)?);
        }
        let Some(log) = &mut self.validation else { return Ok(()) };
        let by_epoch = of_validation.iter().map(|(name, value)| epoch(name, *value));
        log.append(&event::scalars(now, step, &by_epoch.collect::<Vec<_>>()))?;
        let by_update =
            of_validation.iter().map(|(name, value)| (format!("evaluation_{name}_vs_iterations"), *value));
        log.append(&event::scalars(now, self.done, &by_update.collect::<Vec<_>>()))
    }
}

impl Observer for TensorBoard {
    fn on_train_begin(&mut self, begin: &TrainBegin) {
        let begun = self.begin(begin.resumed_at);
        self.failure.control(begun);
    }

    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        let written = self.write_batch(progress);
        self.failure.control(written)
    }

    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let written = self.write_epoch(report);
        self.failure.control(written)
    }
}

/// Our event files in a folder that may be missing, in order of time.
fn event_files(folder: &Path) -> Result<Vec<PathBuf>, FileError> {
    let entries = match std::fs::read_dir(folder) {
        Err(source) if source.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(FileError::io("list", folder))?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(FileError::io("list", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(FILE_PREFIX) && name.ends_with(FILE_SUFFIX) {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::super::played::{play, report};
    use super::*;

    fn log(out: &Path, update_freq: UpdateFreq) -> TensorBoard {
        let config = TensorBoardConfig { update_freq, ..TensorBoardConfig::default() };
        TensorBoard::new(out, &config, || 1_700_000_000.5)
    }

    /// The one event file of a run.
    fn read(out: &Path, run: &str) -> Vec<u8> {
        let files = event_files(&out.join("tensorboard").join(run)).unwrap();
        assert_eq!(files.len(), 1);
        assert!(files[0].ends_with("events.out.tfevents.1700000000.bellwether"));
        std::fs::read(&files[0]).unwrap()
    }

    fn scalars(step: u64, values: &[(&str, f64)]) -> Vec<u8> {
        let values: Vec<(String, f64)> =
            values.iter().map(|(tag, value)| ((*tag).to_owned(), *value)).collect();
        event::scalars(1_700_000_000.5, step, &values)
    }

    #[test]
    fn runs_and_tags_are_those_of_keras() {
        let out = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            assert_eq!(play(&mut log(out.path(), UpdateFreq::Steps(3)), 0, 4), Control::Continue);
            let head = event::file_version(1_700_000_000.5);
            let batch = [("batch_loss", 1.0 / 3.0), ("batch_learning_rate", 0.001), ("batch_accuracy", 0.03)];
            let epoch = [("epoch_accuracy", 0.515625), ("epoch_learning_rate", 0.001), ("epoch_loss", 1.0)];
            let expected = [head.clone(), scalars(3, &batch), scalars(0, &epoch)].concat();
            assert_eq!(read(out.path(), "train"), expected);
            let by_update =
                [("evaluation_accuracy_vs_iterations", f64::NAN), ("evaluation_loss_vs_iterations", 1e-7)];
            let by_epoch = [("epoch_accuracy", f64::NAN), ("epoch_loss", 1e-7)];
            let expected = [head, scalars(0, &by_epoch), scalars(4, &by_update)].concat();
            assert_eq!(read(out.path(), "validation"), expected);
        }
    }

    #[test]
    fn without_validation_there_is_no_such_run() {
        let out = tempfile::tempdir().unwrap();
        let mut log = log(out.path(), UpdateFreq::Epoch);
        play(&mut log, 0, 3);
        let mut alone = report(1);
        alone.val_loss = None;
        alone.metrics.remove("val_accuracy");
        assert_eq!(log.on_epoch_end(&alone), Control::Continue);
        assert!(!out.path().join("tensorboard/validation").exists());
    }

    #[test]
    fn a_resumed_fit_writes_what_an_uninterrupted_one_does() {
        let whole = tempfile::tempdir().unwrap();
        play(&mut log(whole.path(), UpdateFreq::Steps(3)), 0, 20);
        for (killed, checkpoint) in [(9, 8), (12, 5), (12, 11), (3, 2), (8, 8), (5, 1), (19, 4), (7, 6)] {
            let out = tempfile::tempdir().unwrap();
            play(&mut log(out.path(), UpdateFreq::Steps(3)), 0, killed);
            let file = event_files(&out.path().join("tensorboard/train")).unwrap().remove(0);
            let torn = [std::fs::read(&file).unwrap(), vec![9; 5]].concat();
            std::fs::write(&file, torn).unwrap();
            let mut resumed = log(out.path(), UpdateFreq::Steps(3));
            assert_eq!(play(&mut resumed, checkpoint, 20), Control::Continue);
            for run in ["train", "validation"] {
                assert_eq!(read(out.path(), run), read(whole.path(), run), "{run}: {killed}, {checkpoint}");
            }
        }
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let out = tempfile::tempdir().unwrap();
        let other = out.path().join("tensorboard/train/events.out.tfevents.1.host");
        std::fs::create_dir_all(other.parent().unwrap()).unwrap();
        std::fs::write(&other, b"theirs").unwrap();
        play(&mut log(out.path(), UpdateFreq::Epoch), 0, 4);
        play(&mut log(out.path(), UpdateFreq::Epoch), 4, 8);
        assert_eq!(std::fs::read(&other).unwrap(), b"theirs");
        assert_eq!(event::records(&read(out.path(), "train")).unwrap().begins.len(), 3);
    }

    #[test]
    fn a_folder_that_cannot_be_made_ends_the_fit_with_a_reason() {
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join("tensorboard"), b"a file").unwrap();
        let mut log = log(out.path(), UpdateFreq::Epoch);
        assert_eq!(play(&mut log, 0, 1), Control::Stop);
        let error = log.take_error().unwrap().to_string();
        assert!(error.contains("tensorboard/train: "), "{error}");
        assert!(log.take_error().is_none());
    }

    #[test]
    fn a_section_is_read_and_checked() {
        let read = |text: &str| {
            toml::from_str::<TensorBoardConfig>(text).map_err(|error| error.message().to_owned())
        };
        assert_eq!(read(""), Ok(TensorBoardConfig::default()));
        for (text, expected) in [
            ("\"epoch\"", UpdateFreq::Epoch),
            ("\"batch\"", UpdateFreq::Steps(1)),
            ("50", UpdateFreq::Steps(50)),
        ] {
            let config = read(&format!("update_freq = {text}")).unwrap();
            assert_eq!(config.update_freq, expected);
            config.check().unwrap();
            assert_eq!(read(&toml::to_string(&config).unwrap()), Ok(config));
        }
        let must = "it must be \"epoch\", \"batch\" or a number of updates";
        assert_eq!(
            read("update_freq = 0").unwrap().check().unwrap_err().to_string(),
            format!("fit.tensorboard.update_freq is 0; {must}")
        );
        assert_eq!(read("update_freq = \"step\"").unwrap_err(), format!("update_freq is \"step\"; {must}"));
        assert_eq!(read("update_freq = 1.5").unwrap_err(), format!("update_freq m{}", &must[4..]));
        assert!(read("log_dir = \"..\"").unwrap().check().is_err());
    }
}
