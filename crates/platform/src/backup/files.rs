//! Which files of a data directory a backup has: all but locks, work in progress, caches, and the registry itself.

use std::path::Path;

use super::unreadable;
use crate::{ARTIFACT_CACHE, Error, Kind, REGISTRY_FILE, Result, SCRATCH};

/// The largest file a store reads back: 2 GiB.
const FILE_BYTES_MAX: u64 = store::MAX_OBJECT_BYTES;

/// Folders within folders; a link that leads back would have no end.
const DEPTH_MAX: usize = 40;

/// The paths of the files under a data directory, with `/`, in order. `leave_out` says which folders are not looked into.
pub(super) fn list(data_dir: &Path, leave_out: impl Fn(&str) -> bool) -> Result<Vec<String>> {
    let mut found = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let path = data_dir.join(&folder);
        let entries = match std::fs::read_dir(&path) {
            Ok(entries) => entries,
            // It was deleted meanwhile.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(unreadable(&path, &error)),
        };
        for entry in entries {
            let entry = entry.map_err(|error| unreadable(&path, &error))?;
            let name = entry.file_name();
            let name = name.to_str().ok_or_else(|| {
                let message = format!("{} is not UTF-8; rename it", entry.path().display());
                Error::new(Kind::FailedPrecondition, message)
            })?;
            let relative = if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") };
            if is_transient(&relative) || leave_out(&relative) {
                continue;
            }
            // A folder may lie on another disk, behind a link. What is not there has been deleted meanwhile.
            let Ok(kind) = std::fs::metadata(entry.path()) else { continue };
            if relative.split('/').count() > DEPTH_MAX {
                let message = format!("{} lies too deep; does a link lead back?", entry.path().display());
                return Err(Error::new(Kind::FailedPrecondition, message));
            }
            if kind.is_dir() {
                folders.push(relative);
            } else if kind.len() > FILE_BYTES_MAX {
                let message = format!(
                    "{} has {} bytes; a backup has files of up to {FILE_BYTES_MAX}",
                    entry.path().display(),
                    kind.len()
                );
                return Err(Error::new(Kind::ResourceExhausted, message));
            } else if kind.is_file() {
                found.push(relative);
            }
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// What is made again by itself, or belongs to a running process.
fn is_transient(path: &str) -> bool {
    matches!(path, "LOCK" | SCRATCH | ARTIFACT_CACHE | "staging/.uploads")
        || path
            .strip_prefix(REGISTRY_FILE)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '.']))
        || (path.starts_with("jobs/") && (path.ends_with("/running.lock") || path.ends_with("/pid")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(unix)]
    #[test]
    fn a_folder_behind_a_link_is_in_it_and_a_link_back_is_refused() {
        let (dir, disk) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        std::fs::write(disk.path().join("bars.parquet"), "x").unwrap();
        std::os::unix::fs::symlink(disk.path(), dir.path().join("datasets")).unwrap();
        assert_eq!(list(dir.path(), |_| false).unwrap(), ["datasets/bars.parquet"]);
        std::os::unix::fs::symlink(dir.path(), dir.path().join("back")).unwrap();
        assert!(list(dir.path(), |_| false).unwrap_err().to_string().contains("does a link lead back"));
    }

    #[test]
    fn what_is_transient_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        for path in [
            "LOCK",
            "registry.sqlite",
            "registry.sqlite-wal",
            "registry.sqlite.before-0002",
            "scratch/1/x",
            "artifact-cache/y",
            "staging/.uploads/s.part",
            "staging/bucket/object",
            "artifacts/p/m/1/bundle.json",
            "datasets/d/1/bars.parquet",
            "jobs/p/1/log.txt",
            "jobs/p/1/running.lock",
            "jobs/p/2/log.txt",
        ] {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        let found = list(dir.path(), |path| path == "jobs/p/2").unwrap();
        let expected = [
            "artifacts/p/m/1/bundle.json",
            "datasets/d/1/bars.parquet",
            "jobs/p/1/log.txt",
            "staging/bucket/object",
        ];
        assert_eq!(found, expected);
    }
}
