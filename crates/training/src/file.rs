//! Files that a fit leaves beside its result, written so that a kill or a full disk loses nothing that was there.
//!
//! Deliberately not here: what is in them.

use std::fs::File;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Ends the name of a file that is still being written.
pub(crate) const PARTIAL: &str = ".partial";

/// At most this many differences of two configurations are shown in an error.
const DIFFERENCES_SHOWN: usize = 20;

/// Why a checkpoint or a log of a fit could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// There is no room for a file.
    #[error("cannot write {}: {source}; {way_out}", path.display())]
    Full {
        /// The file.
        path: PathBuf,
        /// What is still there, and what to do.
        way_out: String,
        /// The cause.
        source: io::Error,
    },
    /// A file cannot be what it should be.
    #[error("{}: {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What does not fit, and the way out.
        reason: String,
    },
    /// A file has a version this build does not know.
    #[error("{} has version \"{found}\", this build reads version \"1\"; use a newer build", path.display())]
    UnknownVersion {
        /// The file.
        path: PathBuf,
        /// The version found.
        found: String,
    },
    /// A fit is to go on under another configuration than it began.
    #[error(
        "{} was written under another configuration; go back to that one to resume, or start anew in another folder; \
         what changed: {}",
        path.display(),
        shown(differences)
    )]
    Changed {
        /// The checkpoint.
        path: PathBuf,
        /// One line a difference: `fit.batch_size: 256 -> 512`.
        differences: Vec<String>,
    },
}

impl FileError {
    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { action, path, source }
    }

    /// An error of a write: one of its own where there is no room, with what to do about it.
    pub(crate) fn write(path: &Path, way_out: impl FnOnce() -> String) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| match source.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
                Self::Full { path, way_out: way_out(), source }
            }
            _ => Self::Io { action: "write", path, source },
        }
    }
}

/// Puts a file in place in one step: a reader sees the old one or the new one whole, after a kill at any point.
///
/// `content` writes into a file beside it, which is flushed to the disk before it takes the name, and the folder
/// after; it is removed if anything fails.
pub(crate) fn replace(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(ErrorKind::InvalidInput, "not the path of a file"));
    };
    let mut partial = name.to_os_string();
    partial.push(PARTIAL);
    let partial = folder.join(partial);
    let written = write_through(&partial, content).and_then(|()| std::fs::rename(&partial, path));
    if let Err(cause) = written {
        // The cause is what matters; a file left behind is cleared at the next start.
        let _ = std::fs::remove_file(&partial);
        return Err(cause);
    }
    flush_folder(folder)
}

fn write_through(path: &Path, content: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(1 << 16, File::create(path)?);
    content(&mut out)?;
    let file = out.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.sync_all()
}

/// Makes names given and taken in a folder last; only Unix opens a folder as a file.
pub(crate) fn flush_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn shown(differences: &[String]) -> String {
    let shown = differences.iter().take(DIFFERENCES_SHOWN).map(String::as_str).collect::<Vec<_>>().join(", ");
    match differences.len().saturating_sub(DIFFERENCES_SHOWN) {
        0 => shown,
        more => format!("{shown}, and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("weights");
        replace(&path, |out| out.write_all(b"first")).unwrap();
        replace(&path, |out| out.write_all(b"second")).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        let cause = replace(&path, |out| {
            out.write_all(b"half of the thi")?;
            Err(ErrorKind::StorageFull.into())
        });
        assert_eq!(cause.unwrap_err().kind(), ErrorKind::StorageFull);
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_told_apart() {
        let error = |kind: ErrorKind| {
            FileError::write(Path::new("/out/log.csv"), || "free space there".into())(kind.into()).to_string()
        };
        assert!(error(ErrorKind::StorageFull).ends_with("; free space there"));
        assert_eq!(error(ErrorKind::PermissionDenied), "cannot write /out/log.csv: permission denied");
    }

    #[test]
    fn few_differences_are_shown_and_many_counted() {
        let changed = |count: usize| FileError::Changed {
            path: "step".into(),
            differences: (0..count).map(|at| format!("k{at}: 1 -> 2")).collect(),
        };
        assert!(changed(2).to_string().ends_with("what changed: k0: 1 -> 2, k1: 1 -> 2"));
        assert!(changed(25).to_string().ends_with("k19: 1 -> 2, and 5 more"));
    }
}
