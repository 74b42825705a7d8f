//! Data sets kept in a store, numbered, never changed: `datasets/NAME/NUMBER/`.
//!
//! A snapshot is Parquet files and, written last, `dataset.json`: what has no manifest is not there. Which
//! data set a model was trained on is remembered by its digest.

use bytes::Bytes;
use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use store::Store;

use crate::dataset::{Adjustment, Dataset, Timing};
use crate::nearest::unknown;
use crate::{Error, Quality, Result};

const ROOT: &str = "datasets";
const MANIFEST_FILE: &str = "dataset.json";
const MANIFEST_BYTES_MAX: u64 = 64 << 20;
const NAME_CHARS_MAX: usize = 63;

/// What is known about a stored data set without reading it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    /// The data set.
    pub name: String,
    /// 1 for the first import, one more for each that differs.
    pub number: u32,
    /// SHA-256, in hexadecimal, of the names and digests of the files.
    pub digest: String,
    /// Its files.
    pub files: Vec<StoredFile>,
    /// Names of the fields of the bars, as stored.
    pub fields: Vec<String>,
    /// What is odd about the bars.
    pub quality: Quality,
    /// What a reader of any result must know: "prices are back-adjusted by their source".
    pub notes: Vec<String>,
    /// Where the bars came from.
    pub source: String,
    /// How bars become known.
    pub timing: Timing,
    /// How the prices deal with splits and dividends.
    pub adjustment: Adjustment,
    /// When the newest of it became known, in the data set's zone.
    pub newest_known: Option<DateTime>,
    /// Names of the universes.
    pub universes: Vec<String>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredFile {
    /// Its name within the snapshot.
    pub name: String,
    /// Its path in the store.
    pub path: String,
    /// Its size.
    pub bytes: u64,
    /// SHA-256, in hexadecimal.
    pub sha256: String,
}

/// A snapshot as it was stored when a data set was one panel file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct SnapshotV1 {
    name: String,
    number: u32,
    digest: String,
    panel_file: String,
    panel_bytes: u64,
    fields: Vec<String>,
    quality: Quality,
    notes: Vec<String>,
    source: String,
}

impl From<SnapshotV1> for Snapshot {
    fn from(first: SnapshotV1) -> Self {
        let SnapshotV1 { name, number, digest, panel_file, panel_bytes, fields, quality, notes, source } =
            first;
        let name_of_file = panel_file.rsplit('/').next().unwrap_or(&panel_file).to_owned();
        let file =
            StoredFile { name: name_of_file, path: panel_file, bytes: panel_bytes, sha256: digest.clone() };
        Self {
            name,
            number,
            digest,
            files: vec![file],
            fields,
            quality,
            notes,
            source,
            timing: Timing::default(),
            adjustment: Adjustment::AsTheyCame,
            newest_known: None,
            universes: Vec::new(),
        }
    }
}

/// A data set to be stored.
#[derive(Debug, Clone)]
pub struct NewSnapshot<'a> {
    /// The data set's name: 1 to 63 of a-z, 0-9 and `-`, starting with a letter.
    pub name: String,
    /// What it holds.
    pub dataset: &'a Dataset,
    /// What is odd about the bars.
    pub quality: Quality,
    /// What a reader of any result must know.
    pub notes: Vec<String>,
    /// Where they came from.
    pub source: String,
}

/// What [`write()`] did.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// The snapshot that holds the data set.
    pub snapshot: Snapshot,
    /// Whether it is new, or the newest was the same already.
    pub created: bool,
}

/// The manifest as stored.
#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "version")]
enum Manifest {
    #[serde(rename = "1")]
    V1(Box<SnapshotV1>),
    #[serde(rename = "2")]
    V2(Box<Snapshot>),
}

/// Stores a data set as its next snapshot, unless the newest holds the very same content and notes.
///
/// # Errors
/// [`Error::DatasetName`] for a name that cannot be used, [`Error::Encode`], [`Error::Store`].
pub async fn write(store: &Store, new: NewSnapshot<'_>) -> Result<Written> {
    check_name(&new.name)?;
    let files = new.dataset.to_files()?;
    let newest = numbers(store, &new.name).await?.last().copied();
    let number = newest.unwrap_or(0) + 1;
    let prefix = folder(&new.name, number);
    let stored: Vec<StoredFile> = files
        .iter()
        .map(|(name, bytes)| StoredFile {
            name: name.clone(),
            path: format!("{prefix}/{name}"),
            bytes: bytes.len() as u64,
            sha256: hex::encode(Sha256::digest(bytes)),
        })
        .collect();
    let mut universes: Vec<String> =
        new.dataset.tables().members.iter().map(|member| member.universe.clone()).collect();
    universes.dedup();
    let snapshot = Snapshot {
        number,
        digest: digest(&stored),
        files: stored,
        fields: new.dataset.fields().to_vec(),
        name: new.name,
        quality: new.quality,
        notes: new.notes,
        source: new.source,
        timing: new.dataset.timing().clone(),
        adjustment: new.dataset.adjustment(),
        newest_known: new.dataset.newest_known(),
        universes,
    };
    if let Some(number) = newest {
        let stored = manifest(store, &snapshot.name, number).await?;
        if same(&stored, &snapshot) {
            return Ok(Written { snapshot: stored, created: false });
        }
    }
    let document = serde_json::to_vec_pretty(&Manifest::V2(Box::new(snapshot.clone()))).map_err(|error| {
        Error::Corrupt { path: format!("{prefix}/{MANIFEST_FILE}"), reason: error.to_string() }
    })?;
    store.commit_directory(&prefix, files, (MANIFEST_FILE.to_owned(), Bytes::from(document))).await?;
    Ok(Written { snapshot, created: true })
}

fn same(stored: &Snapshot, new: &Snapshot) -> bool {
    stored.digest == new.digest
        && stored.notes == new.notes
        && stored.source == new.source
        && stored.timing == new.timing
        && stored.adjustment == new.adjustment
}

fn digest(files: &[StoredFile]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(format!("{} {}\n", file.sha256, file.name));
    }
    hex::encode(hash.finalize())
}

/// Reads a snapshot and its data set; without a number the newest.
///
/// # Errors
/// [`Error::UnknownDataset`] naming what there is, [`Error::Corrupt`] if a file is not the one that was
/// written, [`Error::Store`].
pub async fn read(store: &Store, name: &str, number: Option<u32>) -> Result<(Dataset, Snapshot)> {
    let snapshot = show(store, name, number).await?;
    let mut files = Vec::with_capacity(snapshot.files.len());
    for file in &snapshot.files {
        let bytes = store.get(&file.path).await?;
        let found = hex::encode(Sha256::digest(&bytes));
        if found != file.sha256 {
            let reason = format!("its SHA-256 is {found}, but {} was written; import it again", file.sha256);
            return Err(Error::Corrupt { path: store.url_of(&file.path), reason });
        }
        files.push((file.name.clone(), bytes));
    }
    let dataset = Dataset::from_files(&files, snapshot.timing.clone(), snapshot.adjustment)?;
    Ok((dataset, snapshot))
}

/// What is known about a snapshot; without a number the newest.
///
/// # Errors
/// As [`read`], but the files are not looked at.
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
    let parsed: Manifest = serde_json::from_slice(&bytes)
        .map_err(|error| Error::Corrupt { path: store.url_of(&path), reason: error.to_string() })?;
    Ok(match parsed {
        Manifest::V1(first) => (*first).into(),
        Manifest::V2(snapshot) => *snapshot,
    })
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
