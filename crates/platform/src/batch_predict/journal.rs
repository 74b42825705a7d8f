//! What a run has written, so that another can go on with it: a folder beside the file, with parts and a journal of them.
//!
//! A part counts once its line is in the journal, which is written after the part is on the disk. A run that goes on takes
//! the parts whose SHA-256 is still that of the journal, up to the first that is damaged; what comes after is made again.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::files::{sha256_of, unwritable};
use crate::{Error, Kind, Result};

const VERSION: u32 = 1;
const JOURNAL: &str = "journal.jsonl";
/// A journal is a line of some 200 bytes for tens of thousands of rows.
const JOURNAL_BYTES_MAX: u64 = 1 << 30;

/// What a run is of: only one that is the same goes on with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Head {
    version: u32,
    /// Everything that decides what is written.
    run: serde_json::Value,
}

/// A line of the journal after its head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Entry {
    /// A part is whole.
    Part(Part),
    /// All rows are written; what was `whole` has become the file, or is about to.
    Finished(Finished),
}

/// A part, and where the rows after it are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Part {
    /// Rows in it.
    pub(super) rows: u64,
    /// Rows of it without an answer.
    pub(super) errors: u64,
    /// The file that its last row is of.
    pub(super) input: usize,
    /// Rows of that file that are written.
    pub(super) input_rows: u64,
    /// SHA-256 of the part, in hexadecimal.
    pub(super) sha256: String,
    /// SHA-256 of what is wrong with its rows; none if nothing is.
    pub(super) errors_sha256: Option<String>,
}

/// The end of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Finished {
    pub(super) rows: u64,
    pub(super) errors: u64,
    pub(super) ignored: Vec<String>,
}

/// The folder of a run, held by this process.
#[derive(Debug)]
pub(super) struct Journal {
    folder: PathBuf,
    file: File,
    pub(super) parts: Vec<Part>,
    pub(super) finished: Option<Finished>,
}

impl Journal {
    /// The folder of the run that writes a file.
    pub(super) fn folder_of(out: &Path) -> PathBuf {
        let mut name = out.file_name().unwrap_or_default().to_owned();
        name.push(".partial");
        out.with_file_name(name)
    }

    /// Begins a run, or goes on with one that was cut off.
    pub(super) fn open(out: &Path, run: serde_json::Value, resume: bool) -> Result<Self> {
        let folder = Self::folder_of(out);
        let there = folder.join(JOURNAL).exists();
        if there && !resume {
            let message = format!(
                "{} has what an earlier run has written; --resume goes on with it, or remove it",
                folder.display()
            );
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        std::fs::create_dir_all(&folder).map_err(|error| unwritable(&folder, &error))?;
        let path = folder.join(JOURNAL);
        let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = opened.map_err(|error| unwritable(&path, &error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("another process is writing {}; wait for it", folder.display());
                return Err(Error::new(Kind::FailedPrecondition, message));
            }
            Err(TryLockError::Error(error)) => return Err(unwritable(&path, &error)),
        }
        let mut journal = Self { folder, file, parts: Vec::new(), finished: None };
        let head = Head { version: VERSION, run };
        let end = journal.read(&head)?;
        journal.cut(end)?;
        if end == 0 {
            journal.append(&head)?;
        }
        journal.remove_rest();
        Ok(journal)
    }

    /// Takes the entries that are whole and true; the byte after the last of them.
    fn read(&mut self, head: &Head) -> Result<u64> {
        let path = self.folder.join(JOURNAL);
        let mut text = String::new();
        let read = (&mut self.file).take(JOURNAL_BYTES_MAX).read_to_string(&mut text);
        read.map_err(|error| unwritable(&path, &error))?;
        let mut end = 0;
        for (number, line) in text.split_inclusive('\n').enumerate() {
            if !line.ends_with('\n') {
                break;
            }
            if number == 0 {
                let Ok(found) = serde_json::from_str::<Head>(line) else { break };
                if found != *head {
                    return Err(self.of_another(&found, head));
                }
            } else {
                match serde_json::from_str::<Entry>(line) {
                    Ok(Entry::Part(part)) if self.is_whole(self.parts.len(), &part) => self.parts.push(part),
                    Ok(Entry::Finished(finished)) => self.finished = Some(finished),
                    _ => break,
                }
            }
            end += line.len() as u64;
        }
        Ok(end)
    }

    fn of_another(&self, found: &Head, head: &Head) -> Error {
        let (Some(before), Some(now)) = (found.run.as_object(), head.run.as_object()) else {
            return Error::new(Kind::FailedPrecondition, format!("{} is not a run's", self.folder.display()));
        };
        let changed: Vec<&str> = now
            .iter()
            .filter(|(key, value)| before.get(*key) != Some(*value))
            .map(|(key, _)| key.as_str())
            .collect();
        let message = format!(
            "{} is of a run with another {}; remove it to begin anew",
            self.folder.display(),
            if changed.is_empty() { "version".to_owned() } else { changed.join(", ") }
        );
        Error::new(Kind::FailedPrecondition, message)
    }

    fn is_whole(&self, number: usize, part: &Part) -> bool {
        let same = |path: &Path, sha256: &str| sha256_of(path).is_ok_and(|found| found == sha256);
        same(&self.part(number), &part.sha256)
            && part.errors_sha256.as_ref().is_none_or(|sha256| same(&self.errors(number), sha256))
    }

    fn cut(&mut self, end: u64) -> Result<()> {
        let path = self.folder.join(JOURNAL);
        let cut = self.file.set_len(end).and_then(|()| self.file.seek(SeekFrom::Start(end)));
        cut.map(|_| ()).map_err(|error| unwritable(&path, &error))
    }

    fn append(&mut self, line: &impl Serialize) -> Result<()> {
        let path = self.folder.join(JOURNAL);
        let mut text =
            serde_json::to_vec(line).map_err(|error| Error::internal("cannot write a journal", error))?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        written.map_err(|error| unwritable(&path, &error))
    }

    /// Removes what no line of the journal speaks of.
    fn remove_rest(&self) {
        let known = self.parts.len();
        let Ok(entries) = std::fs::read_dir(&self.folder) else { return };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let number = name.to_str().and_then(|name| name.get(..8)?.parse::<usize>().ok());
            if number.is_some_and(|number| number >= known) {
                let _ = std::fs::remove_file(entry.path());
            }
        }
    }

    /// Notes that the next part is whole and on the disk.
    pub(super) fn note(&mut self, part: Part) -> Result<()> {
        self.append(&Entry::Part(part.clone()))?;
        self.parts.push(part);
        Ok(())
    }

    /// Notes that everything is written and put together.
    pub(super) fn finish(&mut self, finished: Finished) -> Result<()> {
        self.append(&Entry::Finished(finished.clone()))?;
        self.finished = Some(finished);
        Ok(())
    }

    /// The file of a part.
    pub(super) fn part(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{number:08}"))
    }

    /// The file of what is wrong with a part's rows.
    pub(super) fn errors(&self, number: usize) -> PathBuf {
        self.folder.join(format!("{number:08}.errors"))
    }

    /// Everything put together, before it is the file.
    pub(super) fn whole(&self) -> PathBuf {
        self.folder.join("whole")
    }

    /// All that is wrong put together.
    pub(super) fn whole_errors(&self) -> PathBuf {
        self.folder.join("whole.errors")
    }

    /// Removes the folder: the file is there.
    pub(super) fn remove(self) {
        if let Err(error) = std::fs::remove_dir_all(&self.folder) {
            tracing::warn!(path = %self.folder.display(), %error, "cannot remove what a batch prediction has left");
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn part(journal: &Journal, text: &str) -> Part {
        let path = journal.part(journal.parts.len());
        std::fs::write(&path, text).unwrap();
        Part {
            rows: 1,
            errors: 0,
            input: 0,
            input_rows: journal.parts.len() as u64 + 1,
            sha256: sha256_of(&path).unwrap(),
            errors_sha256: None,
        }
    }

    fn with_parts(out: &Path, count: usize) {
        let mut journal = Journal::open(out, json!({"a": 1}), false).unwrap();
        for number in 0..count {
            let part = part(&journal, &format!("part {number}"));
            journal.note(part).unwrap();
        }
    }

    #[test]
    fn what_is_noted_and_undamaged_is_gone_on_with() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.csv");
        with_parts(&out, 3);
        let folder = Journal::folder_of(&out);
        std::fs::write(folder.join("00000003"), "not noted").unwrap();
        let mut text = std::fs::read_to_string(folder.join(JOURNAL)).unwrap();
        text.push_str("{\"part\": {\"rows\"");
        std::fs::write(folder.join(JOURNAL), &text).unwrap();
        let journal = Journal::open(&out, json!({"a": 1}), true).unwrap();
        assert_eq!((journal.parts.len(), journal.parts[2].input_rows), (3, 3));
        assert!(!folder.join("00000003").exists());
        drop(journal);
        std::fs::write(folder.join("00000001"), "damaged").unwrap();
        let journal = Journal::open(&out, json!({"a": 1}), true).unwrap();
        assert_eq!(journal.parts.len(), 1);
        assert!(!folder.join("00000001").exists() && !folder.join("00000002").exists());
    }

    #[test]
    fn another_run_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("out.csv");
        with_parts(&out, 1);
        let error = Journal::open(&out, json!({"a": 1}), false).unwrap_err().to_string();
        assert!(error.contains("--resume goes on with it"), "{error}");
        let error = Journal::open(&out, json!({"a": 2}), true).unwrap_err().to_string();
        assert!(error.contains("another a; remove it"), "{error}");
        let held = Journal::open(&out, json!({"a": 1}), true).unwrap();
        let error = Journal::open(&out, json!({"a": 1}), true).unwrap_err().to_string();
        assert!(error.contains("another process"), "{error}");
        held.remove();
        assert!(!Journal::folder_of(&out).exists());
    }
}
