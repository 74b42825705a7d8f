//! The folder of checkpoints: each appears in one step, the newest are kept, damaged ones are passed over.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::file::{self, Encoded, Fault};
use super::{Checkpoint, config_diff};
use crate::file::{FileError, PARTIAL, flush_folder, replace};

/// A larger file is not read.
const MAX_CHECKPOINT_BYTES: u64 = 64 << 30;
const FOLDER: &str = "checkpoints";

/// The folder of the checkpoints of one fit. One process at a time may use it.
#[derive(Debug)]
pub struct CheckpointDir {
    folder: PathBuf,
    keep: usize,
}

/// The last whole checkpoint, and what was passed over to find it.
#[derive(Debug)]
pub struct Found {
    /// Where it is and what it says; nothing where no checkpoint is whole.
    pub checkpoint: Option<(PathBuf, Checkpoint)>,
    /// Newer ones that are damaged, newest first.
    pub skipped: Vec<Skipped>,
}

/// A checkpoint that is damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub reason: String,
}

impl std::fmt::Display for Skipped {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "skipped the damaged checkpoint {}: {}", self.path.display(), self.reason)
    }
}

impl Found {
    /// The checkpoint, if there is one, to go on from under `config`.
    ///
    /// # Errors
    /// [`FileError::Changed`] if it was written under another one.
    pub fn under(self, config: &Value) -> Result<Option<Checkpoint>, FileError> {
        let Some((path, checkpoint)) = self.checkpoint else { return Ok(None) };
        let differences = config_diff(&checkpoint.config, config);
        if differences.is_empty() {
            Ok(Some(checkpoint))
        } else {
            Err(FileError::Changed { path, differences })
        }
    }
}

impl CheckpointDir {
    /// Opens `out/checkpoints`, makes it where it is missing, and clears what a kill left half-written; `keep` of
    /// the newest are kept (at least one).
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn open(out: &Path, keep: usize) -> Result<Self, FileError> {
        let folder = out.join(FOLDER);
        std::fs::create_dir_all(&folder).map_err(FileError::io("make the folder", &folder))?;
        let directory = Self { folder, keep: keep.max(1) };
        directory.remove_all(|name| name.ends_with(PARTIAL))?;
        Ok(directory)
    }

    /// Writes a checkpoint; then removes those of later steps, which are of a history that is gone, and all but
    /// the newest. Gives where it is.
    ///
    /// # Errors
    /// [`FileError::Full`] where there is no room; [`FileError::Io`]; [`FileError::Content`] for tensors that
    /// cannot be. All checkpoints written before are still there then.
    pub fn save(&self, checkpoint: &Checkpoint) -> Result<PathBuf, FileError> {
        let path = self.write(&name(checkpoint.step), checkpoint, |encoded, out| encoded.write(out))?;
        let steps = self.steps()?;
        let older = steps.iter().filter(|&&step| step <= checkpoint.step).count();
        let dropped = older.saturating_sub(self.keep);
        for &step in steps[..dropped].iter().chain(&steps[older..]) {
            self.remove(&name(step))?;
        }
        Ok(path)
    }

    /// The newest checkpoint that is whole.
    ///
    /// # Errors
    /// [`FileError::UnknownVersion`] for one of a newer build; [`FileError::Io`]. Damage is no error: see
    /// [`Found::skipped`].
    pub fn newest(&self) -> Result<Found, FileError> {
        let mut skipped = Vec::new();
        for step in self.steps()?.into_iter().rev() {
            let path = self.folder.join(name(step));
            match read(&path)? {
                Ok(checkpoint) => return Ok(Found { checkpoint: Some((path, checkpoint)), skipped }),
                Err(reason) => skipped.push(Skipped { path, reason }),
            }
        }
        Ok(Found { checkpoint: None, skipped })
    }

    /// The steps of the checkpoints that are there, whole or not, in order.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn steps(&self) -> Result<Vec<u64>, FileError> {
        let mut steps: Vec<u64> = self.names()?.iter().filter_map(|name| step_of(name)).collect();
        steps.sort_unstable();
        Ok(steps)
    }

    /// Puts all checkpoints into `checkpoints.old`, in place of what was there, and gives that folder.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn set_aside(&self) -> Result<PathBuf, FileError> {
        let aside = self.folder.with_extension("old");
        if aside.exists() {
            std::fs::remove_dir_all(&aside).map_err(FileError::io("remove", &aside))?;
        }
        std::fs::rename(&self.folder, &aside).map_err(FileError::io("move", &self.folder))?;
        std::fs::create_dir(&self.folder).map_err(FileError::io("make", &self.folder))?;
        Ok(aside)
    }

    /// Removes all checkpoints, for a fit that begins anew.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn clear(&self) -> Result<(), FileError> {
        self.remove_all(|name| step_of(name).is_some())
    }

    fn write(
        &self,
        name: &str,
        checkpoint: &Checkpoint,
        content: impl FnOnce(&Encoded<'_>, &mut dyn Write) -> io::Result<()>,
    ) -> Result<PathBuf, FileError> {
        let path = self.folder.join(name);
        let encoded = match Encoded::new(checkpoint) {
            Ok(encoded) => encoded,
            Err(reason) => return Err(FileError::Content { path, reason }),
        };
        replace(&path, |out| content(&encoded, out))
            .map_err(FileError::write(&path, || self.way_out(checkpoint.step)))?;
        Ok(path)
    }

    /// What to do when there is no room for the checkpoint of `step`.
    fn way_out(&self, step: u64) -> String {
        let keep = self.keep;
        let room = format!("make room there or lower fit.checkpoint.keep (it is {keep}), then resume");
        match self.steps().unwrap_or_default().iter().rev().find(|&&earlier| earlier < step) {
            Some(earlier) => format!("{room}: the checkpoint of step {earlier} is intact"),
            None => format!("{room}: there is no checkpoint yet, so it starts from 0"),
        }
    }

    fn names(&self) -> Result<Vec<String>, FileError> {
        let fail = || FileError::io("list", &self.folder);
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.folder).map_err(fail())? {
            // A name that is no text is none of ours.
            names.extend(entry.map_err(fail())?.file_name().into_string());
        }
        Ok(names)
    }

    fn remove_all(&self, which: impl Fn(&str) -> bool) -> Result<(), FileError> {
        let names = self.names()?;
        for name in names.iter().filter(|name| which(name)) {
            self.remove(name)?;
        }
        flush_folder(&self.folder).map_err(FileError::io("flush", &self.folder))
    }

    fn remove(&self, name: &str) -> Result<(), FileError> {
        let path = self.folder.join(name);
        std::fs::remove_file(&path).map_err(FileError::io("remove", &path))
    }
}

/// Names sort as steps do.
fn name(step: u64) -> String {
    format!("step-{step:012}.safetensors")
}

fn step_of(name: &str) -> Option<u64> {
    let step = name.strip_prefix("step-")?.strip_suffix(".safetensors")?.parse().ok()?;
    (self::name(step) == name).then_some(step)
}

/// A checkpoint, or why it is none.
fn read(path: &Path) -> Result<Result<Checkpoint, String>, FileError> {
    let fail = || FileError::io("read", path);
    let size = std::fs::metadata(path).map_err(fail())?.len();
    if size > MAX_CHECKPOINT_BYTES {
        return Ok(Err(format!("it has {size} bytes, more than the limit of {MAX_CHECKPOINT_BYTES}")));
    }
    match file::decode(&std::fs::read(path).map_err(fail())?) {
        Ok(checkpoint) => Ok(Ok(checkpoint)),
        Err(Fault::Damaged(reason)) => Ok(Err(reason)),
        Err(Fault::UnknownVersion(found)) => Err(FileError::UnknownVersion { path: path.to_owned(), found }),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::checkpoint::NamedTensor;

    fn checkpoint(step: u64) -> Checkpoint {
        let data: Vec<f32> = (0..5000).map(|at| at as f32 * step as f32).collect();
        Checkpoint {
            step,
            epoch: 1 + step as usize / 100,
            step_in_epoch: step as usize % 100,
            config: json!({"fit": {"batch_size": 256}}),
            state: json!({"loss": 1.0 / step as f64}),
            tensors: vec![NamedTensor { name: "w".to_owned(), shape: vec![50, 100], data }],
        }
    }

    fn open(keep: usize) -> (TempDir, CheckpointDir) {
        let out = tempfile::tempdir().unwrap();
        let directory = CheckpointDir::open(out.path(), keep).unwrap();
        (out, directory)
    }

    fn whole(directory: &CheckpointDir) -> Option<Checkpoint> {
        let found = directory.newest().unwrap();
        assert_eq!(found.skipped, []);
        found.checkpoint.map(|(_, checkpoint)| checkpoint)
    }

    #[test]
    fn the_newest_are_kept() {
        let (_out, directory) = open(2);
        assert_eq!(whole(&directory), None);
        for step in [20, 100, 1000] {
            directory.save(&checkpoint(step)).unwrap();
        }
        assert_eq!(directory.steps().unwrap(), [100, 1000]);
        assert_eq!(whole(&directory), Some(checkpoint(1000)));
        directory.clear().unwrap();
        assert_eq!(whole(&directory), None);
    }

    #[test]
    fn a_damaged_one_is_passed_over_and_said_so() {
        let (_out, directory) = open(9);
        for step in [10, 20, 30, 40] {
            directory.save(&checkpoint(step)).unwrap();
        }
        let path = |step| directory.folder.join(name(step));
        let torn = std::fs::read(path(40)).unwrap();
        std::fs::write(path(40), &torn[..torn.len() / 2]).unwrap();
        let mut flipped = std::fs::read(path(30)).unwrap();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 4;
        std::fs::write(path(30), flipped).unwrap();
        let found = directory.newest().unwrap();
        assert_eq!(found.checkpoint, Some((path(20), checkpoint(20))));
        assert_eq!(
            found.skipped.iter().map(|skipped| &skipped.path).collect::<Vec<_>>(),
            [&path(40), &path(30)]
        );
        let said = found.skipped[0].to_string();
        let expected = format!("skipped the damaged checkpoint {}: its SHA-256 is ", path(40).display());
        assert!(said.starts_with(&expected), "{said}");
        // The fit goes on from 20; what was damaged goes, and counts for nothing before that.
        directory.save(&checkpoint(25)).unwrap();
        assert_eq!(directory.steps().unwrap(), [10, 20, 25]);
        assert_eq!(whole(&directory), Some(checkpoint(25)));
    }

    #[test]
    fn when_none_is_whole_there_is_none() {
        let (_out, directory) = open(1);
        let path = directory.save(&checkpoint(10)).unwrap();
        std::fs::write(path, b"").unwrap();
        let found = directory.newest().unwrap();
        assert_eq!((found.checkpoint, found.skipped.len()), (None, 1));
    }

    #[test]
    fn what_a_kill_left_is_cleared_and_nothing_else() {
        let (out, directory) = open(1);
        directory.save(&checkpoint(10)).unwrap();
        for other in ["step-000000000020.safetensors.partial", "notes.txt", "step-7.safetensors"] {
            std::fs::write(directory.folder.join(other), b"half").unwrap();
        }
        let directory = CheckpointDir::open(out.path(), 1).unwrap();
        assert_eq!(whole(&directory), Some(checkpoint(10)));
        directory.save(&checkpoint(20)).unwrap();
        let mut names = directory.names().unwrap();
        names.sort_unstable();
        assert_eq!(names, ["notes.txt", "step-000000000020.safetensors", "step-7.safetensors"]);
    }

    #[test]
    fn a_full_disk_leaves_the_older_ones_and_says_what_to_do() {
        let (_out, directory) = open(3);
        // A device that takes some bytes and then no more.
        let full = |encoded: &Encoded<'_>, out: &mut dyn Write| -> io::Result<()> {
            let mut bytes = Vec::new();
            encoded.write(&mut bytes)?;
            out.write_all(&bytes[..bytes.len() / 2])?;
            Err(io::ErrorKind::StorageFull.into())
        };
        let said = directory.write(&name(5), &checkpoint(5), full).unwrap_err().to_string();
        assert!(said.ends_with("there is no checkpoint yet, so it starts from 0"), "{said}");
        directory.save(&checkpoint(10)).unwrap();
        directory.save(&checkpoint(20)).unwrap();
        let error = directory.write(&name(30), &checkpoint(30), full).unwrap_err();
        assert!(matches!(&error, FileError::Full { path, .. } if *path == directory.folder.join(name(30))));
        let said = error.to_string();
        assert!(
            said.starts_with("cannot write ") && said.contains("step-000000000030.safetensors: "),
            "{said}"
        );
        assert!(
            said.ends_with(
                "; make room there or lower fit.checkpoint.keep (it is 3), then resume: the checkpoint of step 20 is \
                 intact"
            ),
            "{said}"
        );
        assert_eq!(directory.names().unwrap().len(), 2);
        assert_eq!(whole(&directory), Some(checkpoint(20)));
    }

    #[test]
    fn a_changed_configuration_is_refused() {
        let (_out, directory) = open(1);
        directory.save(&checkpoint(10)).unwrap();
        let newest = || directory.newest().unwrap();
        assert_eq!(newest().under(&checkpoint(10).config).unwrap(), Some(checkpoint(10)));
        let said = newest().under(&json!({"fit": {"batch_size": 512}})).unwrap_err().to_string();
        assert!(said.ends_with("what changed: fit.batch_size: 256 -> 512"), "{said}");
    }

    #[test]
    fn tensors_that_cannot_be_are_named_with_the_file() {
        let (_out, directory) = open(1);
        let mut wrong = checkpoint(10);
        wrong.tensors[0].shape = vec![3];
        let said = directory.save(&wrong).unwrap_err().to_string();
        assert!(
            said.ends_with("step-000000000010.safetensors: tensor \"w\" has 5000 values and shape [3]"),
            "{said}"
        );
    }
}
