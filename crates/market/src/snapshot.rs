//! Imported panels kept in a store, numbered, never changed: `datasets/NAME/NUMBER/`.
//!
//! A snapshot is `panel.parquet` and, written last, `dataset.json`: what has no manifest is not there. Which
//! data set a model was trained on is remembered by its digest.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::Store;

use crate::nearest::unknown;
use crate::{Error, Panel, Quality, Result, read_parquet, write_parquet};

const ROOT: &str = "datasets";
const PANEL_FILE: &str = "panel.parquet";
const MANIFEST_FILE: &str = "dataset.json";
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const NAME_CHARS_MAX: usize = 63;

/// What is known about a stored panel without reading it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The data set.
    pub name: String,
    /// 1 for the first import, one more for each that differs.
    pub number: u32,
    /// SHA-256 of the panel file, in hexadecimal.
    pub digest: String,
    /// The panel file's path in the store.
    pub panel_file: String,
    /// Size of the panel file in bytes.
    pub panel_bytes: u64,
    /// Names of the fields.
    pub fields: Vec<String>,
    /// What is odd about the bars.
    pub quality: Quality,
    /// What a reader of any result must know: "back-adjusted by its source".
    pub notes: Vec<String>,
    /// Where the bars came from.
    pub source: String,
}

/// A panel to be stored.
#[derive(Debug, Clone)]
pub struct NewSnapshot<'a> {
    /// The data set: 1 to 63 of a-z, 0-9 and `-`, starting with a letter.
    pub name: String,
    /// The bars.
    pub panel: &'a Panel,
    /// What is odd about them.
    pub quality: Quality,
    /// What a reader of any result must know.
    pub notes: Vec<String>,
    /// Where they came from.
    pub source: String,
}

/// What [`write()`] did.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The snapshot that holds the panel.
    pub snapshot: Snapshot,
    /// Whether it is new, or the newest was the same already.
    pub created: bool,
}

/// The manifest as stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Manifest {
    #[serde(rename = "1")]
    V1(Box<Snapshot>),
}

/// Stores a panel as the data set's next snapshot, unless the newest holds the very same bars and notes.
///
/// # Errors
/// [`Error::DatasetName`] for a name that cannot be used, [`Error::Encode`], [`Error::Store`].
pub async fn write(store: &Store, new: NewSnapshot<'_>) -> Result<Written> {
    check_name(&new.name)?;
    let panel = Bytes::from(write_parquet(new.panel)?);
    let digest = hex::encode(Sha256::digest(&panel));
    let newest = numbers(store, &new.name).await?.last().copied();
    if let Some(number) = newest {
        let snapshot = manifest(store, &new.name, number).await?;
        if snapshot.digest == digest && snapshot.notes == new.notes && snapshot.source == new.source {
            return Ok(Written { snapshot, created: false });
        }
    }
    let number = newest.unwrap_or(0) + 1;
    let snapshot = Snapshot {
        panel_file: format!("{}/{PANEL_FILE}", folder(&new.name, number)),
        number,
        digest,
        panel_bytes: panel.len() as u64,
        fields: new.panel.field_names().into_iter().map(str::to_owned).collect(),
        name: new.name,
        quality: new.quality,
        notes: new.notes,
        source: new.source,
    };
    let prefix = folder(&snapshot.name, number);
    let document = serde_json::to_vec_pretty(&Manifest::V1(Box::new(snapshot.clone()))).map_err(|error| {
        Error::Corrupt { path: format!("{prefix}/{MANIFEST_FILE}"), reason: error.to_string() }
    })?;
    let files = vec![(PANEL_FILE.to_owned(), panel)];
    store.commit_directory(&prefix, files, (MANIFEST_FILE.to_owned(), Bytes::from(document))).await?;
    Ok(Written { snapshot, created: true })
}

/// Reads a snapshot and its panel; without a number the newest.
///
/// # Errors
/// [`Error::UnknownDataset`] naming what there is, [`Error::Corrupt`] if the panel file is not the one that
/// was written, [`Error::Store`].
pub async fn read(store: &Store, name: &str, number: Option<u32>) -> Result<(Panel, Snapshot)> {
    let snapshot = show(store, name, number).await?;
    let bytes = store.get(&snapshot.panel_file).await?;
    let found = hex::encode(Sha256::digest(&bytes));
    if found != snapshot.digest {
        let reason = format!("its SHA-256 is {found}, but {} was written; import it again", snapshot.digest);
        return Err(Error::Corrupt { path: store.url_of(&snapshot.panel_file), reason });
    }
    Ok((read_parquet(&bytes)?, snapshot))
}

/// What is known about a snapshot; without a number the newest.
///
/// # Errors
/// As [`read`], but the panel file is not looked at.
pub async fn show(store: &Store, name: &str, number: Option<u32>) -> Result<Snapshot> {
    check_name(name)?;
    let known = numbers(store, name).await?;
    let Some(newest) = known.last() else {
        let names = names(store).await?;
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        return Err(Error::UnknownDataset(unknown("dataset", name, &names)));
    };
    let number = number.unwrap_or(*newest);
    if !known.contains(&number) {
        let known: Vec<String> = known.iter().map(u32::to_string).collect();
        let message = format!("dataset \"{name}\" has no snapshot {number}; snapshots: {}", known.join(", "));
        return Err(Error::UnknownDataset(message));
    }
    manifest(store, name, number).await
}

/// All snapshots, by name and number.
///
/// # Errors
/// [`Error::Corrupt`] for a manifest that cannot be read, [`Error::Store`].
pub async fn list(store: &Store) -> Result<Vec<Snapshot>> {
    let mut snapshots = Vec::new();
    for name in names(store).await? {
        for number in numbers(store, &name).await? {
            snapshots.push(manifest(store, &name, number).await?);
        }
    }
    Ok(snapshots)
}

async fn names(store: &Store) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for name in store.list_directories(ROOT).await? {
        if check_name(&name).is_ok() && !numbers(store, &name).await?.is_empty() {
            names.push(name);
        }
    }
    Ok(names)
}

/// Numbers of the complete snapshots of a data set, ascending.
async fn numbers(store: &Store, name: &str) -> Result<Vec<u32>> {
    let mut numbers = Vec::new();
    for directory in store.list_directories(&format!("{ROOT}/{name}")).await? {
        let Ok(number) = directory.parse::<u32>() else { continue };
        if store.exists(&format!("{}/{MANIFEST_FILE}", folder(name, number))).await? {
            numbers.push(number);
        }
    }
    numbers.sort_unstable();
    Ok(numbers)
}

async fn manifest(store: &Store, name: &str, number: u32) -> Result<Snapshot> {
    let path = format!("{}/{MANIFEST_FILE}", folder(name, number));
    let bytes = store.get_limited(&path, MANIFEST_BYTES_MAX).await?;
    let Manifest::V1(snapshot) = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Corrupt { path: store.url_of(&path), reason: error.to_string() })?;
    Ok(*snapshot)
}

fn folder(name: &str, number: u32) -> String {
    format!("{ROOT}/{name}/{number}")
}

fn check_name(name: &str) -> Result<()> {
    let first = name.starts_with(|c: char| c.is_ascii_lowercase());
    let rest = name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
    if first && rest && name.len() <= NAME_CHARS_MAX {
        return Ok(());
    }
    Err(Error::DatasetName(format!(
        "dataset name \"{name}\" must be 1 to {NAME_CHARS_MAX} of a-z, 0-9 and \"-\", starting with a letter"
    )))
}
