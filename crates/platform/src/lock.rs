//! One owner at a time for a data directory: an advisory file lock that dies with its process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Result};

const FILE_NAME: &str = "LOCK";
/// The note inside the lock file is a line of JSON; anything longer is not ours.
const NOTE_BYTES_MAX: u64 = 4096;

/// Who holds a data directory, as written into the lock file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// What it runs: `bellwether serve`.
    pub command: String,
    /// Where it answers, once it does: `http://127.0.0.1:8080`.
    pub address: Option<String>,
}

/// The held lock; dropping it (or the death of the process, however it dies) frees the directory.
#[derive(Debug)]
pub(crate) struct DataDirectoryLock {
    file: Mutex<File>,
    holder: Holder,
    path: PathBuf,
}

impl DataDirectoryLock {
    /// Takes the lock of `data_dir`, which must exist.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] naming the holder and the way to talk to it, if another process has it;
    /// [`Kind::Internal`] if the file cannot be written.
    pub(crate) fn acquire(data_dir: &Path, command: &str) -> Result<Self> {
        let path = data_dir.join(FILE_NAME);
        let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let mut file = open.map_err(|error| {
            Error::new(
                Kind::FailedPrecondition,
                format!(
                    "cannot write in the data directory {}: {error}; name another with --data-dir",
                    data_dir.display()
                ),
            )
        })?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(data_dir, &mut file)),
            Err(TryLockError::Error(error)) => {
                return Err(Error::internal(format!("cannot lock {}: {error}", path.display()), error));
            }
        }
        let holder = Holder { pid: std::process::id(), command: command.to_owned(), address: None };
        let lock = Self { file: Mutex::new(file), holder, path };
        lock.write_note(&lock.holder)?;
        Ok(lock)
    }

    /// Tells later comers where this process answers.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the lock file cannot be written.
    pub(crate) fn announce_address(&self, url: &str) -> Result<()> {
        self.write_note(&Holder { address: Some(url.to_owned()), ..self.holder.clone() })
    }

    fn write_note(&self, holder: &Holder) -> Result<()> {
        let mut file = self.file.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let note =
            serde_json::to_string(holder).map_err(|error| Error::internal("cannot note the lock", error))?;
        let written = file
            .set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(note.as_bytes()));
        written.map_err(|error| {
            Error::internal(
                format!("cannot write {}: {error}; is the disk full?", self.path.display()),
                error,
            )
        })
    }
}

fn held(data_dir: &Path, file: &mut File) -> Error {
    let mut note = String::new();
    let read = file.take(NOTE_BYTES_MAX).read_to_string(&mut note);
    let holder = read.ok().and_then(|_| serde_json::from_str::<Holder>(&note).ok());
    let who = match &holder {
        Some(holder) => format!("process {} ({})", holder.pid, holder.command),
        None => "another process".to_owned(),
    };
    let way_out = match holder.and_then(|holder| holder.address) {
        Some(address) => {
            format!("talk to it with --server {address}, stop it, or name another directory with --data-dir")
        }
        None => "wait for it, stop it, or name another directory with --data-dir".to_owned(),
    };
    Error::new(
        Kind::FailedPrecondition,
        format!("the data directory {} is held by {who}; {way_out}", data_dir.display()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_owner_is_told_who_holds_it_and_where() {
        let dir = tempfile::tempdir().unwrap();
        let lock = DataDirectoryLock::acquire(dir.path(), "bellwether serve").unwrap();
        let error = DataDirectoryLock::acquire(dir.path(), "bellwether train").unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.to_string().contains("(bellwether serve); wait for it"), "{error}");

        lock.announce_address("http://127.0.0.1:8080").unwrap();
        let error = DataDirectoryLock::acquire(dir.path(), "bellwether train").unwrap_err();
        assert!(error.to_string().contains("--server http://127.0.0.1:8080"), "{error}");

        drop(lock);
        assert!(DataDirectoryLock::acquire(dir.path(), "bellwether train").is_ok());
    }
}
