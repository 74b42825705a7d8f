//! Temporary folders that no killed process leaves behind for ever.
//!
//! Each holds a locked file for as long as its process lives; whoever makes the next one deletes those that nobody holds.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use tempfile::{Builder, TempDir};

const PREFIX: &str = "bellwether-scratch-";
const LOCK: &str = ".lock";
/// More entries of the machine's temporary folder are not looked at.
const ENTRIES_MAX: usize = 100_000;

/// A temporary folder, deleted when this is dropped, or by the next one of this machine if the process is killed before.
#[derive(Debug)]
pub struct Scratch {
    folder: TempDir,
    /// Held until then.
    _lock: File,
}

impl Scratch {
    /// Makes an empty folder where this machine keeps temporary files.
    ///
    /// # Errors
    /// If that is full or read only.
    pub fn new() -> io::Result<Self> {
        Self::new_in(&std::env::temp_dir())
    }

    fn new_in(place: &Path) -> io::Result<Self> {
        sweep(place);
        let folder = Builder::new().prefix(PREFIX).tempdir_in(place)?;
        // Under this name only once it is locked: until then nobody can take the folder for one that was left behind.
        let unnamed = tempfile::NamedTempFile::new_in(folder.path())?;
        match unnamed.as_file().lock() {
            // Where there are no locks, nobody deletes what others left.
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {}
            locked => locked?,
        }
        let lock = unnamed.persist(folder.path().join(LOCK)).map_err(|error| error.error)?;
        Ok(Self { folder, _lock: lock })
    }

    /// Where files may be put. The name `.lock` is taken.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Deletes what killed processes left. What cannot be deleted stays: it may be another user's.
fn sweep(place: &Path) {
    let Ok(entries) = fs::read_dir(place) else { return };
    for entry in entries.take(ENTRIES_MAX).flatten() {
        let is_ours = entry.file_name().to_str().is_some_and(|name| name.starts_with(PREFIX));
        if is_ours
            && is_left_behind(&entry.path())
            && let Err(error) = fs::remove_dir_all(entry.path())
        {
            tracing::debug!(%error, folder = %entry.path().display(), "cannot delete a temporary folder that was left behind");
        }
    }
}

/// Whether it is a folder with a lock that nobody holds.
fn is_left_behind(folder: &Path) -> bool {
    let lock = folder.join(LOCK);
    let is_file = |path: &Path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file());
    let is_folder = fs::symlink_metadata(folder).is_ok_and(|found| found.is_dir());
    if !is_folder || !is_file(&lock) {
        return false;
    }
    let Ok(lock) = File::open(&lock) else { return false };
    lock.try_lock().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folders(place: &Path) -> Vec<std::path::PathBuf> {
        fs::read_dir(place).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[test]
    fn it_goes_when_it_is_dropped() {
        let place = tempfile::tempdir().unwrap();
        let scratch = Scratch::new_in(place.path()).unwrap();
        fs::write(scratch.path().join("x"), b"x").unwrap();
        drop(scratch);
        assert!(folders(place.path()).is_empty());
    }

    #[test]
    fn the_next_one_deletes_what_a_killed_process_left_and_nothing_else() {
        let place = tempfile::tempdir().unwrap();
        let held = Scratch::new_in(place.path()).unwrap();
        let Scratch { folder, _lock: lock } = Scratch::new_in(place.path()).unwrap();
        // As when its process is killed: the folder stays, the lock is let go.
        let left = folder.keep();
        fs::write(left.join("x"), b"x").unwrap();
        drop(lock);
        let (other, young) = (place.path().join("other"), place.path().join(format!("{PREFIX}young")));
        for folder in [&other, &young] {
            fs::create_dir(folder).unwrap();
        }
        fs::write(other.join(LOCK), b"").unwrap();
        let new = Scratch::new_in(place.path()).unwrap();
        assert!(!left.exists());
        for kept in [held.path(), new.path(), &other, &young] {
            assert!(kept.exists(), "{}", kept.display());
        }
    }

    #[cfg(unix)]
    #[test]
    fn nothing_is_followed_out_of_the_place() {
        let (place, elsewhere) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(elsewhere.path().join(LOCK), b"").unwrap();
        std::os::unix::fs::symlink(elsewhere.path(), place.path().join(format!("{PREFIX}link"))).unwrap();
        drop(Scratch::new_in(place.path()).unwrap());
        assert!(elsewhere.path().join(LOCK).exists());
    }
}
