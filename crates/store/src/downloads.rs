//! Objects as files of this machine, for readers that need a path; gone with the value that holds them.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::{Error, Scratch, Store};

/// A temporary folder of fetched objects, deleted when this is dropped.
#[derive(Debug)]
pub struct Downloads {
    folder: Scratch,
    count: AtomicU64,
}

impl Downloads {
    /// Makes an empty folder where this machine keeps temporary files.
    ///
    /// # Errors
    /// [`Error::Io`] if that is full or read only.
    pub fn new() -> Result<Self, Error> {
        let folder = Scratch::new().map_err(|source| {
            let url = std::env::temp_dir().display().to_string();
            Error::Io { action: "make a temporary folder in", url, source }
        })?;
        Ok(Self { folder, count: AtomicU64::new(0) })
    }

    /// Where the files lie.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Fetches one object of at most `limit_bytes` to a file of its own, in bounded memory.
    ///
    /// # Errors
    /// As [`Store::download`].
    pub async fn fetch(&self, store: &Store, path: &str, limit_bytes: u64) -> Result<PathBuf, Error> {
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let to = self.folder().join(number.to_string());
        store.download(path, &to, limit_bytes).await?;
        Ok(to)
    }
}
