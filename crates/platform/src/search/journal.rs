//! The journal of a search beside the process that owns the registry: one JSON document a line. First the study, then
//! what was tried before, then each trial as it begins and as it ends, on the disk before anything else happens.
//!
//! Who owns the registry begins it, and takes over what is added. A line that a crash tore has no end and is not read.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use registry::{Trial, TrialEnd, TrialState};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Kind, Result};

const VERSION: u32 = 1;
/// Far above what the most trials of a search take.
const BYTES_MAX: u64 = 1 << 30;

/// One line.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum Entry {
    /// What is searched; the first line.
    Study(Head),
    /// A trial begins.
    Begun {
        /// Its number in the study, from 1.
        number: u32,
        /// What is tried.
        parameters: Value,
    },
    /// A trial has ended.
    Ended {
        /// Its number.
        number: u32,
        /// How.
        end: End,
    },
}

/// The first line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Head {
    version: u32,
    /// The study in the registry.
    pub(crate) study: String,
    /// Trials of the model on the data set that are of other studies.
    pub(crate) other_trials: u64,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum End {
    /// It came to its end.
    Succeeded {
        /// Its figures.
        metrics: Value,
    },
    /// It was given up for better ones.
    Stopped {
        /// Its figures so far.
        metrics: Value,
    },
    /// It could not be fitted.
    Failed {
        /// Why.
        error: String,
    },
}

impl Head {
    pub(crate) fn new(study: &str, other_trials: u64) -> Self {
        Self { version: VERSION, study: study.to_owned(), other_trials }
    }
}

impl From<&TrialEnd> for End {
    fn from(end: &TrialEnd) -> Self {
        match end.clone() {
            TrialEnd::Succeeded { metrics, .. } => Self::Succeeded { metrics },
            TrialEnd::Stopped { metrics } => Self::Stopped { metrics },
            TrialEnd::Failed { error } => Self::Failed { error },
        }
    }
}

impl From<End> for TrialEnd {
    fn from(end: End) -> Self {
        match end {
            End::Succeeded { metrics } => Self::Succeeded { metrics, bundle_digest: None },
            End::Stopped { metrics } => Self::Stopped { metrics },
            End::Failed { error } => Self::Failed { error },
        }
    }
}

/// A journal that is added to.
#[derive(Debug)]
pub(crate) struct Journal {
    file: File,
    path: PathBuf,
}

impl Journal {
    /// Opens a journal that was begun, with everything it says.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what is no journal of this version, or not there.
    pub(super) fn open(path: &Path) -> Result<(Self, Head, Vec<Entry>)> {
        let (mut entries, _) = read(path, 0)?;
        let head = match entries.first() {
            Some(Entry::Study(head)) if head.version == VERSION => head.clone(),
            _ => {
                let message = format!("{} is no journal of a search of version {VERSION}", path.display());
                return Err(Error::new(Kind::InvalidArgument, message));
            }
        };
        entries.remove(0);
        let opened = OpenOptions::new().append(true).open(path);
        let file = opened.map_err(|error| unusable("write", path, &error))?;
        Ok((Self { file, path: path.to_owned() }, head, entries))
    }

    /// Adds a line; when this returns it is on the disk.
    pub(super) fn add(&mut self, entry: &Entry) -> Result<()> {
        let text = line(entry)?;
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|error| unusable("write", &self.path, &error))
    }
}

/// Begins a journal with what is known of a study, in place of one that is there; its length in bytes.
pub(crate) fn begin(path: &Path, head: Head, trials: &[Trial]) -> Result<u64> {
    let mut text = line(&Entry::Study(head))?;
    for trial in trials {
        let number = trial.number;
        text += &line(&Entry::Begun { number, parameters: trial.parameters.clone() })?;
        if let Some(end) = end_of(trial) {
            text += &line(&Entry::Ended { number, end })?;
        }
    }
    let part = path.with_extension("part");
    let written = File::create(&part)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path));
    written.map_err(|error| unusable("write", path, &error))?;
    Ok(text.len() as u64)
}

/// The whole lines from a byte on, and where the next one begins; nothing of a file that is not there.
pub(crate) fn read(path: &Path, from: u64) -> Result<(Vec<Entry>, u64)> {
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(mut file) => {
            let read =
                file.seek(SeekFrom::Start(from)).and_then(|_| file.take(BYTES_MAX).read_to_end(&mut bytes));
            read.map_err(|error| unusable("read", path, &error))?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), from)),
        Err(error) => return Err(unusable("read", path, &error)),
    }
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
    let lines = bytes[..whole].split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let entries: serde_json::Result<Vec<Entry>> = lines.map(serde_json::from_slice).collect();
    let entries = entries.map_err(|error| {
        let message = format!("{} is no journal of a search: {error}", path.display());
        Error::new(Kind::InvalidArgument, message)
    })?;
    Ok((entries, from + whole as u64))
}

fn end_of(trial: &Trial) -> Option<End> {
    match trial.state {
        TrialState::Running => None,
        TrialState::Succeeded => Some(End::Succeeded { metrics: trial.metrics.clone() }),
        TrialState::Stopped => Some(End::Stopped { metrics: trial.metrics.clone() }),
        TrialState::Failed => Some(End::Failed { error: trial.error.clone() }),
    }
}

fn line(entry: &Entry) -> Result<String> {
    let text = serde_json::to_string(entry);
    text.map(|text| text + "\n").map_err(|error| Error::internal("cannot write a trial", error))
}

fn unusable(doing: &str, path: &Path, error: &std::io::Error) -> Error {
    let message = format!("cannot {doing} the journal {}: {error}; is the disk full?", path.display());
    Error::new(Kind::FailedPrecondition, message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A journal as version 1 writes it.
    const STORED: &str = concat!(
        r#"{"study":{"version":1,"study":"m-0011","other_trials":3}}"#,
        "\n",
        r#"{"begun":{"number":1,"parameters":{"fit.seed":7}}}"#,
        "\n",
        r#"{"ended":{"number":1,"end":{"state":"succeeded","metrics":{"val_loss":0.1}}}}"#,
        "\n",
        r#"{"begun":{"number":2,"parameters":{"fit.seed":8}}}"#,
        "\n",
        r#"{"ended":{"number":2,"end":{"state":"failed","error":"no"}}}"#,
        "\n",
    );

    #[test]
    fn what_was_stored_is_read_and_added_to() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trials.jsonl");
        assert_eq!(read(&path, 7).unwrap(), (Vec::new(), 7));
        std::fs::write(&path, STORED).unwrap();
        let (mut journal, head, entries) = Journal::open(&path).unwrap();
        assert_eq!((head, entries.len()), (Head::new("m-0011", 3), 4));
        let metrics = json!({"val_loss": 0.1 + 0.2, "val_auc": null});
        let more = [
            Entry::Begun { number: 3, parameters: json!({"fit.seed": 9}) },
            Entry::Ended { number: 3, end: End::Stopped { metrics } },
        ];
        for entry in &more {
            journal.add(entry).unwrap();
        }
        let (added, end) = read(&path, STORED.len() as u64).unwrap();
        assert_eq!((added.as_slice(), end), (&more[..], std::fs::metadata(&path).unwrap().len()));
    }

    #[test]
    fn a_torn_line_is_not_read_and_a_foreign_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("trials.jsonl");
        for length in 0..STORED.len() {
            std::fs::write(&path, &STORED[..length]).unwrap();
            let (entries, end) = read(&path, 0).unwrap();
            let whole = STORED[..length].matches('\n').count();
            assert_eq!(entries.len(), whole, "{length} bytes");
            assert!(STORED[..end as usize].ends_with('\n') || end == 0);
        }
        for foreign in ["{\"trial\":1}\n", "\x00\n", &STORED.replace("\"version\":1", "\"version\":2")] {
            std::fs::write(&path, foreign).unwrap();
            let error = Journal::open(&path).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{error}");
            assert!(error.to_string().contains("trials.jsonl is no journal"), "{error}");
        }
    }
}
