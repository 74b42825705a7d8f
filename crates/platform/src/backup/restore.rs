//! A backup brought back: beside the place it is for, each file checked, and moved there in one step at the end.

use std::fs::File;
use std::io::Write;
use std::path::{Component, Path, PathBuf};

use jiff::Timestamp;
use serde::Serialize;
use store::Expected;

use super::{ARTIFACTS, BACKUPS, Manifest, VERSION, object_path, unreadable};
use crate::files::unwritable;
use crate::{Error, Kind, REGISTRY_FILE, Result, file_uri};

/// The largest list of files that is read: 256 MiB.
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// A backup to bring back.
#[derive(Debug, Clone)]
pub struct Restore {
    /// The URI of the place that backups are kept in.
    pub place: String,
    /// Which one; absent: the newest.
    pub name: Option<String>,
    /// The data directory to make; it must not be there, or be empty.
    pub data_dir: PathBuf,
}

/// What was brought back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RestoreReport {
    /// The backup's name.
    pub name: String,
    /// When it was taken.
    pub created_at: Timestamp,
    /// The data directory.
    pub data_dir: PathBuf,
    /// Files in it.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// What was not in the backup, and why.
    pub left_out: Vec<String>,
}

/// Makes a data directory from a backup. Until it is whole, there is none.
///
/// # Errors
/// [`Kind::NotFound`] for a backup that is not there, naming those that are; [`Kind::AlreadyExists`] for a directory that is not
/// empty; [`Kind::FailedPrecondition`] for a file that is missing or damaged.
pub async fn restore(request: &Restore) -> Result<RestoreReport> {
    let store = store::Store::open_read_only(&request.place, &store::Options::default())?;
    let manifest = read(&store, request.name.as_deref()).await?;
    let target =
        std::path::absolute(&request.data_dir).map_err(|error| unreadable(&request.data_dir, &error))?;
    check_empty(&target)?;
    let beside = beside(&target)?;
    // What a restore that was cut off has left.
    if beside.exists() {
        std::fs::remove_dir_all(&beside).map_err(|error| unwritable(&beside, &error))?;
    }
    std::fs::create_dir_all(&beside).map_err(|error| unwritable(&beside, &error))?;
    for (path, entry) in &manifest.files {
        let expected = Expected { sha256: entry.sha256.clone(), bytes: entry.bytes };
        let bytes = store.get_verified(&object_path(&entry.sha256), &expected).await.map_err(|error| {
            let said = format!("{path} cannot be restored; another backup, --backup NAME, may have it whole");
            Error::from(error).of_kind(Kind::FailedPrecondition).context(said)
        })?;
        write(&beside, path, &bytes)?;
    }
    // Proves that this build can use it, and says where its artifacts are now.
    let registry = registry::SqliteStore::open(&beside.join(REGISTRY_FILE)).await?;
    let has_artifacts = manifest.files.keys().any(|path| path.starts_with(&format!("{ARTIFACTS}/")));
    let moved = if has_artifacts {
        registry.move_artifacts(&manifest.artifacts, &file_uri(&target.join(ARTIFACTS))?).await
    } else {
        // They are where they were, in a store of their own.
        Ok(())
    };
    registry::Store::close(&registry).await;
    moved?;
    appear(&beside, &target)?;
    Ok(RestoreReport {
        name: manifest.name,
        created_at: manifest.created_at,
        data_dir: target,
        files: manifest.files.len(),
        bytes: manifest.files.values().map(|entry| entry.bytes).sum(),
        left_out: manifest.left_out,
    })
}

async fn read(store: &store::Store, name: Option<&str>) -> Result<Manifest> {
    let listed = store.list(BACKUPS).await?;
    let name_of = |path: &str| {
        let name = path.strip_prefix(BACKUPS)?.strip_prefix('/')?.strip_suffix(".json")?;
        Some(name.to_owned())
    };
    let mut names: Vec<String> = listed.iter().filter_map(|object| name_of(&object.path)).collect();
    names.sort_unstable();
    let found = match name {
        Some(name) => names.iter().find(|known| *known == name),
        None => names.last(),
    };
    let Some(found) = found else {
        let there = if names.is_empty() {
            "there is none".to_owned()
        } else {
            format!("there are {}", names.join(", "))
        };
        let asked = name.map(|name| format!(" \"{name}\"")).unwrap_or_default();
        return Err(Error::new(Kind::NotFound, format!("no backup{asked} in {}: {there}", store.uri())));
    };
    let path = format!("{BACKUPS}/{found}.json");
    let text = store.get_limited(&path, MANIFEST_BYTES_MAX).await?;
    let damaged =
        |why: String| Error::new(Kind::FailedPrecondition, format!("{} {why}", store.url_of(&path)));
    let not_whole = |error: serde_json::Error| {
        let others: Vec<&str> = names.iter().filter(|name| *name != found).map(String::as_str).collect();
        let others = if others.is_empty() { "there is no other".to_owned() } else { others.join(", ") };
        damaged(format!("is damaged: {error}; bring another one back with --backup NAME: {others}"))
    };
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(not_whole)?;
    if value["version"] != VERSION {
        let message =
            format!("is of version {}, this build reads {VERSION}; use a newer build", value["version"]);
        return Err(damaged(message));
    }
    let manifest: Manifest = serde_json::from_value(value).map_err(not_whole)?;
    let plain = |path: &String| Path::new(path).components().all(|part| matches!(part, Component::Normal(_)));
    let is_digest = |text: &str| text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    match manifest.files.iter().find(|(path, entry)| !plain(path) || !is_digest(&entry.sha256)) {
        Some((path, _)) => Err(damaged(format!("names a file that cannot be: {path:?}"))),
        None if !manifest.files.contains_key(REGISTRY_FILE) => {
            Err(damaged(format!("has no {REGISTRY_FILE}")))
        }
        None => Ok(manifest),
    }
}

fn check_empty(target: &Path) -> Result<()> {
    let entries = match std::fs::read_dir(target) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(unreadable(target, &error)),
    };
    if entries.count() == 0 {
        return Ok(());
    }
    let message = format!(
        "{} is not empty, and nothing is overwritten; name another with --data-dir",
        target.display()
    );
    Err(Error::new(Kind::AlreadyExists, message))
}

/// The folder that is filled before it takes its place.
fn beside(target: &Path) -> Result<PathBuf> {
    let Some(name) = target.file_name() else {
        return Err(Error::invalid("data-dir", format!("{} cannot be a data directory", target.display())));
    };
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(".restoring");
    Ok(target.with_file_name(hidden))
}

fn write(folder: &Path, path: &str, bytes: &[u8]) -> Result<()> {
    let full = folder.join(path);
    let parent = full.parent().unwrap_or(folder);
    let written = std::fs::create_dir_all(parent).and_then(|()| {
        let mut file = File::create(&full)?;
        file.write_all(bytes)?;
        file.sync_all()
    });
    written.map_err(|error| unwritable(&full, &error))
}

fn appear(beside: &Path, target: &Path) -> Result<()> {
    // An empty folder gives way.
    let gone = match std::fs::remove_dir(target) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    };
    let parent = target.parent().unwrap_or(Path::new("/"));
    gone.and_then(|()| std::fs::rename(beside, target))
        .and_then(|()| File::open(parent)?.sync_all())
        .map_err(|error| unwritable(target, &error))
}
