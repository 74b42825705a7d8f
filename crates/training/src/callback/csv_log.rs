//! The history as a table: one row an epoch, with the columns of Keras's `CSVLogger`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::log_file::{Failure, LogFile, Mark, Now, check_path, lines};
use crate::observer::{BatchProgress, Control, EpochReport, Observer, TrainBegin};
use crate::{Error, FileError};

/// `[fit.csv_log]`: the history as a table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CsvLogConfig {
    /// The file, in the output folder.
    pub filename: String,
    /// What stands between two values.
    pub separator: char,
}

impl Default for CsvLogConfig {
    fn default() -> Self {
        Self { filename: "training.csv".to_owned(), separator: ',' }
    }
}

impl CsvLogConfig {
    /// Checks every value.
    ///
    /// # Errors
    /// [`Error::Config`], naming the first key whose value cannot be.
    pub fn check(&self) -> Result<(), Error> {
        check_path("fit.csv_log.filename", &self.filename)?;
        if self.separator.is_alphanumeric() || "\"\n\r.-+_".contains(self.separator) {
            let way_out = "it must tell values apart, as \",\", \";\" and \"\\t\" do";
            return Err(crate::config::config(
                "fit.csv_log.separator",
                &format!("{:?}", self.separator),
                way_out,
            ));
        }
        Ok(())
    }
}

/// Writes a row after every epoch: `epoch`, counted from 0 as Keras does, then the measures by name
/// (`learning_rate`, `loss`, metrics, `val_...`). Columns are those of the first row of the file; a later epoch
/// without one has `NA` there.
#[derive(Debug)]
pub struct CsvLog {
    path: PathBuf,
    separator: char,
    log: Option<LogFile>,
    /// Columns after `epoch`.
    columns: Vec<String>,
    failure: Failure,
}

impl CsvLog {
    /// In the folder `out`; nothing is touched before the fit begins.
    pub fn new(out: &Path, config: &CsvLogConfig) -> Self {
        Self {
            path: out.join(&config.filename),
            separator: config.separator,
            log: None,
            columns: Vec::new(),
            failure: Failure::default(),
        }
    }

    /// Why the log could not be written, once: the fit was stopped for it.
    pub fn take_error(&mut self) -> Option<FileError> {
        self.failure.take()
    }

    fn begin(&mut self, resumed: bool) -> Result<(), FileError> {
        self.columns.clear();
        if !resumed {
            self.log = Some(LogFile::create(&self.path)?);
            return Ok(());
        }
        let separator = self.separator;
        let mut columns = Vec::new();
        self.log = Some(LogFile::reopen(&self.path, |bytes| {
            let records = lines(bytes, |at, line| {
                let first = line.split(separator).next().unwrap_or_default();
                match at {
                    0 => (first == "epoch").then_some(Mark::Head),
                    _ => first.parse().ok().map(|epoch: usize| Mark::Epoch(epoch.saturating_add(1))),
                }
            })?;
            let header = bytes[..records.end].split(|&byte| byte == b'\n').next().unwrap_or_default();
            let header = String::from_utf8_lossy(header);
            columns = header.split(separator).skip(1).map(str::to_owned).collect();
            Ok(records)
        })?);
        self.columns = columns;
        Ok(())
    }

    fn rewind(&mut self, now: Now) -> Result<(), FileError> {
        self.log.as_mut().map_or(Ok(()), |log| log.rewind(now))
    }

    fn write(&mut self, report: &EpochReport) -> Result<(), FileError> {
        // After an epoch that was the first of this process without a batch of its own, all steps are older.
        self.rewind(Now { epoch: report.epoch, step: u64::MAX })?;
        let Some(log) = &mut self.log else { return Ok(()) };
        let separator = self.separator;
        let measures: BTreeMap<String, f64> = measures(report)
            .into_iter()
            .map(|(name, value)| (name.replace([separator, '"', '\n'], "_"), value))
            .collect();
        let mut text = String::new();
        if log.is_empty()? {
            self.columns = measures.keys().cloned().collect();
            text.push_str("epoch");
            for name in &self.columns {
                text.push(separator);
                text.push_str(name);
            }
            text.push('\n');
        }
        text.push_str(&report.epoch.saturating_sub(1).to_string());
        for name in &self.columns {
            text.push(separator);
            text.push_str(&measures.get(name).map_or_else(|| "NA".to_owned(), |&value| number(value)));
        }
        text.push('\n');
        log.append(text.as_bytes())
    }
}

impl Observer for CsvLog {
    fn on_train_begin(&mut self, begin: &TrainBegin) {
        let begun = self.begin(begin.resumed_at.is_some());
        self.failure.control(begun);
    }

    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        let rewound = self.rewind(Now { epoch: progress.epoch, step: progress.global_step });
        self.failure.control(rewound)
    }

    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        let written = self.write(report);
        self.failure.control(written)
    }
}

/// All that is measured of an epoch, by name, but its time.
pub(super) fn measures(report: &EpochReport) -> BTreeMap<&str, f64> {
    let mut measures: BTreeMap<&str, f64> =
        report.metrics.iter().map(|(name, &value)| (name.as_str(), value)).collect();
    measures.insert("loss", report.loss);
    measures.insert("learning_rate", report.learning_rate);
    if let Some(loss) = report.val_loss {
        measures.insert("val_loss", loss);
    }
    measures
}

/// The shortest text that reads back as the same number, as Python writes it.
fn number(value: f64) -> String {
    match serde_json::Number::from_f64(value) {
        Some(number) => number.to_string(),
        None if value.is_nan() => "nan".to_owned(),
        None => if value > 0.0 { "inf" } else { "-inf" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::played::{play, report};
    use super::*;

    const WHOLE: &str = "epoch,accuracy,learning_rate,loss,val_accuracy,val_loss\n\
                         0,0.515625,0.001,1.0,nan,1e-7\n\
                         1,0.53125,0.001,0.5,nan,2e-7\n\
                         2,0.546875,0.001,0.3333333333333333,nan,3e-7\n";

    fn log(out: &Path) -> CsvLog {
        CsvLog::new(out, &CsvLogConfig::default())
    }

    fn read(out: &Path) -> String {
        std::fs::read_to_string(out.join("training.csv")).unwrap()
    }

    #[test]
    fn a_row_an_epoch_with_the_columns_of_keras() {
        let out = tempfile::tempdir().unwrap();
        for _ in 0..2 {
            let mut log = log(out.path());
            assert_eq!(play(&mut log, 0, 12), Control::Continue);
            assert_eq!(read(out.path()), WHOLE);
        }
        let mut tabs =
            CsvLog::new(out.path(), &CsvLogConfig { filename: "logs/tabs.tsv".to_owned(), separator: '\t' });
        play(&mut tabs, 0, 12);
        let text = std::fs::read_to_string(out.path().join("logs/tabs.tsv")).unwrap();
        assert_eq!(text, WHOLE.replace(',', "\t"));
    }

    #[test]
    fn a_resumed_fit_writes_what_an_uninterrupted_one_does() {
        for (killed, checkpoint) in [(9, 8), (12, 5), (12, 11), (3, 2), (8, 8), (5, 1)] {
            let out = tempfile::tempdir().unwrap();
            play(&mut log(out.path()), 0, killed);
            if killed == 9 {
                let torn = read(out.path()) + "2,0.54";
                std::fs::write(out.path().join("training.csv"), torn).unwrap();
            }
            assert_eq!(play(&mut log(out.path()), checkpoint, 12), Control::Continue);
            assert_eq!(read(out.path()), WHOLE, "killed after {killed}, resumed at {checkpoint}");
        }
    }

    #[test]
    fn a_measure_that_comes_and_goes_leaves_the_columns() {
        let out = tempfile::tempdir().unwrap();
        let mut log = log(out.path());
        play(&mut log, 0, 4);
        let mut later = EpochReport { val_loss: None, ..report(2) };
        later.metrics.insert("auc".to_owned(), 0.5);
        log.on_epoch_end(&later);
        assert!(read(out.path()).ends_with("\n1,0.53125,0.001,0.5,nan,NA\n"));
    }

    #[test]
    fn another_file_of_that_name_ends_the_fit_and_stays() {
        let out = tempfile::tempdir().unwrap();
        std::fs::write(out.path().join("training.csv"), "date,close\n").unwrap();
        let mut log = log(out.path());
        assert_eq!(play(&mut log, 4, 5), Control::Stop);
        assert!(log.take_error().unwrap().to_string().contains("training.csv: line 1 is none of this log"));
        assert_eq!(read(out.path()), "date,close\n");
    }

    #[test]
    fn a_section_is_checked() {
        let read = |text: &str| toml::from_str::<CsvLogConfig>(text).unwrap();
        assert_eq!(read(""), CsvLogConfig::default());
        read("separator = \";\"").check().unwrap();
        assert_eq!(
            read("separator = \"e\"").check().unwrap_err().to_string(),
            "fit.csv_log.separator is 'e'; it must tell values apart, as \",\", \";\" and \"\\t\" do"
        );
        assert!(read("filename = \"/a\"").check().is_err());
        assert!(toml::from_str::<CsvLogConfig>("file = \"a\"").is_err());
    }
}
