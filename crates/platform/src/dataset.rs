//! Data sets: import, list, read. Snapshots are immutable, so a panel in memory is never stale.

use std::path::Path;
use std::sync::Arc;

use market::snapshot::{self, NewSnapshot, Snapshot};
use market::{AcceptJumps, ImportOptions, Panel, SourceFile};

use crate::builtin::BuiltinDataset;
use crate::pipeline::{DataSource, Pipeline};
use crate::{Error, Kind, Platform, Result};

/// Data sets belong to the installation; the registry files them under its first project.
const PROJECT: &str = "default";
/// Panels kept in memory; the oldest goes first.
const PANELS_MAX: usize = 8;
/// A larger source file is refused unread.
const SOURCE_BYTES_MAX: u64 = 4 << 30;

/// What to import.
#[derive(Debug)]
pub struct ImportDataset {
    /// Name of the data set.
    pub name: String,
    /// Files, merged on date and symbol.
    pub files: Vec<SourceFile>,
    /// Which split-like jumps are known to be real.
    pub accept_jumps: AcceptJumps,
    /// What every reader of a result must know about the data.
    pub notes: Vec<String>,
    /// Where it came from, in words.
    pub source: String,
}

/// What an import made.
#[derive(Debug, Clone)]
pub struct ImportedDataset {
    /// The snapshot that holds the data.
    pub snapshot: Snapshot,
    /// False if the newest snapshot held the same content already.
    pub created: bool,
}

/// A panel with the snapshot it was read from.
#[derive(Debug, Clone)]
pub(crate) struct LoadedDataset {
    pub(crate) panel: Arc<Panel>,
    pub(crate) snapshot: Arc<Snapshot>,
}

/// Reads source files from disk for [`ImportDataset::files`].
///
/// # Errors
/// [`Kind::NotFound`] or [`Kind::InvalidArgument`] naming the file that cannot be read.
pub fn read_source_files(paths: &[impl AsRef<Path>]) -> Result<Vec<SourceFile>> {
    let read = |path: &Path| {
        let refused =
            |kind, why: String| Error::new(kind, format!("cannot read data file {}: {why}", path.display()));
        let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => refused(Kind::NotFound, "no such file".to_owned()),
            _ => refused(Kind::InvalidArgument, error.to_string()),
        })?;
        if metadata.is_dir() {
            return Err(refused(Kind::InvalidArgument, "it is a directory; name the files in it".to_owned()));
        }
        if metadata.len() > SOURCE_BYTES_MAX {
            let why = format!("it has {} bytes, at most {SOURCE_BYTES_MAX} are read", metadata.len());
            return Err(refused(Kind::ResourceExhausted, why));
        }
        let bytes = std::fs::read(path).map_err(|error| refused(Kind::InvalidArgument, error.to_string()))?;
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(SourceFile { name, bytes: bytes.into() })
    };
    paths.iter().map(|path| read(path.as_ref())).collect()
}

impl Platform {
    /// Imports files as a new snapshot of a data set; the same content again makes no new one.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what the files hold; nothing is stored then.
    pub async fn import_dataset(&self, request: ImportDataset) -> Result<ImportedDataset> {
        let ImportDataset { name, files, accept_jumps, notes, source } = request;
        let _changing = self.changes.lock().await;
        let options = ImportOptions { accept_jumps, ..ImportOptions::default() };
        let parse = move || market::import(&files, &options);
        let imported = tokio::task::spawn_blocking(parse)
            .await
            .map_err(|error| Error::internal("the import stopped unexpectedly", error))??;
        let new = NewSnapshot { name, panel: &imported.panel, quality: imported.quality, notes, source };
        let written = snapshot::write(&self.datasets, new).await?;
        let record = registry::NewSnapshot {
            project: PROJECT.to_owned(),
            name: written.snapshot.name.clone(),
            snapshot: written.snapshot.number,
            digest: written.snapshot.digest.clone(),
        };
        self.registry.put_snapshot(record, self.now()).await?;
        self.note_newest(&written.snapshot.name, written.snapshot.number);
        Ok(ImportedDataset { snapshot: written.snapshot, created: written.created })
    }

    /// The newest snapshot of every data set, by name.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the store cannot be read.
    pub async fn list_datasets(&self) -> Result<Vec<Snapshot>> {
        let mut newest: std::collections::BTreeMap<String, Snapshot> = std::collections::BTreeMap::new();
        for found in snapshot::list(&self.datasets).await? {
            let entry = newest.entry(found.name.clone()).or_insert_with(|| found.clone());
            if found.number > entry.number {
                *entry = found;
            }
        }
        Ok(newest.into_values().collect())
    }

    /// One snapshot of a data set: that number, or the newest.
    ///
    /// # Errors
    /// [`Kind::NotFound`] naming what there is.
    pub async fn show_dataset(&self, name: &str, number: Option<u32>) -> Result<Snapshot> {
        Ok(snapshot::show(&self.datasets, name, number).await?)
    }

    /// Reads a snapshot, from memory if it was read before.
    pub(crate) async fn load_dataset(&self, name: &str, number: Option<u32>) -> Result<LoadedDataset> {
        let number = match number {
            Some(number) => number,
            None => match self.newest_in_use(name) {
                Some(number) => number,
                None => self.show_dataset(name, None).await?.number,
            },
        };
        let mut panels = self.panels.lock().await;
        if let Some(at) = panels.iter().position(|(n, k, _)| n == name && *k == number) {
            let entry = panels.remove(at);
            panels.push(entry.clone());
            return Ok(entry.2);
        }
        let (panel, snapshot) = snapshot::read(&self.datasets, name, Some(number)).await?;
        let loaded = LoadedDataset { panel: Arc::new(panel), snapshot: Arc::new(snapshot) };
        if panels.len() >= PANELS_MAX {
            panels.remove(0);
        }
        panels.push((name.to_owned(), number, loaded.clone()));
        self.note_newest(name, number);
        Ok(loaded)
    }

    /// The data a pipeline trains on, imported first if the pipeline names files.
    pub(crate) async fn pipeline_dataset(
        &self,
        pipeline: &Pipeline,
        base_dir: &Path,
    ) -> Result<LoadedDataset> {
        if let Some(source) = &pipeline.data.source {
            let request = import_request(pipeline, source, base_dir)?;
            self.import_dataset(request).await?;
        }
        self.load_dataset(&pipeline.data.dataset, None).await
    }

    fn newest_in_use(&self, name: &str) -> Option<u32> {
        let newest = self.newest.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        newest.get(name).copied()
    }

    /// Only this process writes to the data directory, so the newest number it has seen is the newest.
    fn note_newest(&self, name: &str, number: u32) {
        let mut newest = self.newest.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        let entry = newest.entry(name.to_owned()).or_default();
        *entry = number.max(*entry);
    }
}

fn import_request(pipeline: &Pipeline, source: &DataSource, base_dir: &Path) -> Result<ImportDataset> {
    let name = pipeline.data.dataset.clone();
    let names: Vec<&str> = match source {
        DataSource::One(one) => match one.strip_prefix("builtin:") {
            Some(builtin) => {
                let dataset = BuiltinDataset::find(builtin)?;
                return Ok(ImportDataset {
                    name,
                    files: dataset.source_files(),
                    accept_jumps: AcceptJumps::None,
                    notes: dataset.notes.iter().map(|note| (*note).to_owned()).collect(),
                    source: one.clone(),
                });
            }
            None => vec![one],
        },
        DataSource::Many(many) => many.iter().map(String::as_str).collect(),
    };
    let paths: Vec<_> = names.iter().map(|name| base_dir.join(name)).collect();
    Ok(ImportDataset {
        name,
        files: read_source_files(&paths)?,
        accept_jumps: AcceptJumps::None,
        notes: Vec::new(),
        source: names.join(", "),
    })
}
