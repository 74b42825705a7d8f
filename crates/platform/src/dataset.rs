//! Data sets: import, append, list, read. Snapshots are immutable, so a panel in memory is never stale.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use market::dataset::{AppendReport, TableFile, end_of};
use market::snapshot::{self, NewSnapshot, Snapshot};
use market::{AcceptJumps, Dataset, ImportRequest, Panel, SourceFile};

use crate::builtin::BuiltinDataset;
use crate::pipeline::{DataSource, Pipeline};
use crate::source_file::find_source_files;
use crate::{Error, ImportSettings, Kind, Page, Paged, Platform, Result};

/// Data sets belong to the installation; the registry files them under its first project.
const PROJECT: &str = "default";
/// Data sets kept in memory; the oldest goes first.
const LOADED_MAX: usize = 8;
/// Panels of earlier knowledge kept with each; the oldest goes first.
const EARLIER_MAX: usize = 2;

/// What to import.
#[derive(Debug)]
pub struct ImportDataset {
    /// Name of the data set.
    pub name: String,
    /// Files of bars, put together.
    pub files: Vec<SourceFile>,
    /// Files of tables.
    pub tables: Vec<TableFile>,
    /// How they are read.
    pub settings: ImportSettings,
    /// Since when what they hold is known, if not since the close of each bar; a civil time of the data set's zone.
    pub known_at: Option<DateTime>,
    /// What to do if there is, or is not, a data set of the name.
    pub mode: ImportMode,
    /// Which split-like jumps are known to be real.
    pub accept_jumps: AcceptJumps,
    /// What every reader of a result must know about the data.
    pub notes: Vec<String>,
    /// Where it came from, in words.
    pub source: String,
}

impl ImportDataset {
    /// An import of files as they say themselves.
    pub fn new(name: impl Into<String>, files: Vec<SourceFile>) -> Self {
        let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
        Self {
            name: name.into(),
            source: in_short(&names),
            files,
            tables: Vec::new(),
            settings: ImportSettings::default(),
            known_at: None,
            mode: ImportMode::CreateOrAppend,
            accept_jumps: AcceptJumps::None,
            notes: Vec::new(),
        }
    }
}

/// What an import does with a data set that is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportMode {
    /// It grows; if there is none, it begins.
    CreateOrAppend,
    /// That is an error.
    Create,
    /// It grows; if there is none, that is an error.
    Append,
    /// The next snapshot holds the files alone, not what was imported before.
    Replace,
}

/// The first names of many.
fn in_short(names: &[&str]) -> String {
    const SHOWN: usize = 5;
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} more", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

/// What an import made.
#[derive(Debug, Clone)]
pub struct ImportedDataset {
    /// The snapshot that holds the data.
    pub snapshot: Snapshot,
    /// False if the newest snapshot held the same content already.
    pub created: bool,
    /// What the import added.
    pub report: AppendReport,
}

/// A data set as read from a snapshot.
#[derive(Debug, Clone)]
pub(crate) struct LoadedDataset {
    /// All that is known.
    pub(crate) panel: Arc<Panel>,
    pub(crate) snapshot: Arc<Snapshot>,
    history: Arc<History>,
}

/// What was known before something was restated.
#[derive(Debug)]
struct History {
    /// Kept if there is a difference between what is known and what was.
    dataset: Option<Dataset>,
    /// When the past changed, ascending.
    restatements: Vec<DateTime>,
    /// Panels of what was known after so many restatements.
    earlier: Mutex<Vec<(usize, Arc<Panel>)>>,
}

impl LoadedDataset {
    fn new(dataset: Dataset, snapshot: Snapshot) -> Result<Self> {
        let restatements = dataset.restatements();
        let panel = Arc::new(dataset.panel(None)?);
        let history = History {
            dataset: (!restatements.is_empty()).then_some(dataset),
            restatements,
            earlier: Mutex::default(),
        };
        Ok(Self { panel, snapshot: Arc::new(snapshot), history: Arc::new(history) })
    }

    /// A panel in which all that was known at the end of a day is as it was known then, and how many of its
    /// times were known; what is later is not to be looked at.
    pub(crate) fn known_on(&self, day: Date) -> market::Result<(Arc<Panel>, usize)> {
        self.known_at(end_of(day))
    }

    /// The same at a time.
    pub(crate) fn known_at(&self, moment: DateTime) -> market::Result<(Arc<Panel>, usize)> {
        let panel = self.as_of(moment)?;
        let timing = &self.snapshot.timing;
        let known = panel.times().partition_point(|time| timing.known_time(*time) <= moment);
        Ok((panel, known))
    }

    fn as_of(&self, moment: DateTime) -> market::Result<Arc<Panel>> {
        let History { dataset, restatements, earlier } = &*self.history;
        let past = restatements.partition_point(|time| *time <= moment);
        let (Some(dataset), Some(next)) = (dataset, restatements.get(past)) else {
            return Ok(Arc::clone(&self.panel));
        };
        let find = |panels: &[(usize, Arc<Panel>)]| {
            panels.iter().find(|(known, _)| *known == past).map(|(_, panel)| Arc::clone(panel))
        };
        let lock = || earlier.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(panel) = find(&lock()) {
            return Ok(panel);
        }
        // All that is known until the next restatement, so that every day before it shares the panel.
        let until = next.saturating_sub(jiff::Span::new().microseconds(1));
        let panel = Arc::new(dataset.panel(Some(until))?);
        let mut panels = lock();
        if panels.len() >= EARLIER_MAX {
            panels.remove(0);
        }
        panels.push((past, Arc::clone(&panel)));
        Ok(panel)
    }
}

impl Platform {
    /// Imports files into a data set, which begins with them or grows by them, as a new snapshot; the same content
    /// again makes no new one.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what the files hold, or if they do not fit what is stored; nothing is
    /// stored then.
    pub async fn import_dataset(&self, request: ImportDataset) -> Result<ImportedDataset> {
        self.check_writable("import a data set")?;
        let _importing = self.imports.lock().await;
        let stored = match (snapshot::read(&self.datasets, &request.name, None).await, request.mode) {
            (Ok(_), ImportMode::Create) => {
                let message = format!("data set \"{}\" exists already; append to it", request.name);
                return Err(Error::new(Kind::AlreadyExists, message));
            }
            (Ok(_), ImportMode::Replace) => None,
            (Ok(stored), _) => Some(stored),
            (
                Err(market::Error::UnknownDataset(_)),
                ImportMode::CreateOrAppend | ImportMode::Create | ImportMode::Replace,
            ) => None,
            (Err(error), _) => return Err(error.into()),
        };
        let ImportDataset { name, files, tables, settings, known_at, accept_jumps, notes, source, .. } =
            request;
        let (dataset, before) = stored.unzip();
        let zone = settings
            .time_zone
            .as_deref()
            .or_else(|| before.as_ref().and_then(|snapshot| snapshot.timing.time_zone.as_deref()));
        let import = ImportRequest {
            files,
            tables,
            read: settings.read_options(),
            timing: settings.timing(),
            adjustment: settings.adjustment,
            now: self.civil_now(zone),
            known_at,
            accept_jumps,
        };
        let parse = move || market::import(dataset.as_ref(), import);
        let imported = tokio::task::spawn_blocking(parse)
            .await
            .map_err(|error| Error::internal("the import stopped unexpectedly", error))??;
        let mut all_notes = before.as_ref().map(|snapshot| snapshot.notes.clone()).unwrap_or_default();
        let said_back = |notes: &[String]| notes.iter().any(|note| note.contains("back-adjusted"));
        let of_prices = imported.dataset.adjustment().note().map(str::to_owned);
        let of_prices = of_prices.filter(|_| !said_back(&notes) && !said_back(&all_notes));
        for note in notes.into_iter().chain(of_prices) {
            if !all_notes.contains(&note) {
                all_notes.push(note);
            }
        }
        // Tables alone do not change where the bars came from.
        let source = match &before {
            Some(before) if source.is_empty() => before.source.clone(),
            _ => source,
        };
        let new = NewSnapshot {
            name,
            dataset: &imported.dataset,
            quality: imported.quality,
            notes: all_notes,
            source,
        };
        let written = snapshot::write(&self.datasets, new).await?;
        let record = registry::NewSnapshot {
            project: PROJECT.to_owned(),
            name: written.snapshot.name.clone(),
            snapshot: written.snapshot.number,
            digest: written.snapshot.digest.clone(),
        };
        self.registry.put_snapshot(record, self.now()).await?;
        self.note_newest(&written.snapshot.name, written.snapshot.number);
        Ok(ImportedDataset { snapshot: written.snapshot, created: written.created, report: imported.report })
    }

    /// The time in a zone; in UTC without one, or if it is not known (which reading the files then refuses).
    pub(crate) fn civil_now(&self, zone: Option<&str>) -> DateTime {
        let zone = zone.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC);
        zone.to_datetime(self.now())
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

    /// A page of [`Platform::list_datasets`].
    ///
    /// # Errors
    /// The same, and [`Kind::InvalidArgument`] for a page that cannot be.
    pub async fn page_of_datasets(&self, page: &Page) -> Result<Paged<Snapshot>> {
        let limit = page.limit()?;
        let after = |snapshot: &Snapshot| page.token.as_ref().is_none_or(|token| snapshot.name > *token);
        let rest = self.list_datasets().await?.into_iter().filter(after).take(limit + 1).collect();
        Ok(page.cut(rest, |snapshot| snapshot.name.clone()))
    }

    /// Days from the newest bar of a snapshot to today, in the data set's zone: how stale it is.
    pub fn age_days(&self, snapshot: &Snapshot) -> i64 {
        let today = self.civil_now(snapshot.timing.time_zone.as_deref()).date();
        days_between(snapshot.quality.last_date, today)
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
        let mut loaded = self.panels.lock().await;
        if let Some(at) = loaded.iter().position(|(n, k, _)| n == name && *k == number) {
            let entry = loaded.remove(at);
            loaded.push(entry.clone());
            return Ok(entry.2);
        }
        let (dataset, snapshot) = snapshot::read(&self.datasets, name, Some(number)).await?;
        let read = tokio::task::spawn_blocking(move || LoadedDataset::new(dataset, snapshot))
            .await
            .map_err(|error| Error::internal("reading the data set stopped unexpectedly", error))??;
        if loaded.len() >= LOADED_MAX {
            loaded.remove(0);
        }
        loaded.push((name.to_owned(), number, read.clone()));
        self.note_newest(name, number);
        Ok(read)
    }

    /// The data a pipeline trains on, imported first if the pipeline names files and the directory is not only read.
    pub(crate) async fn pipeline_dataset(
        &self,
        pipeline: &Pipeline,
        base_dir: &Path,
    ) -> Result<LoadedDataset> {
        if let Some(source) = &pipeline.data.source
            && !self.is_read_only()
        {
            let request = import_request(pipeline, source, base_dir).await?;
            self.import_dataset(request).await?;
        }
        let loaded = self.load_dataset(&pipeline.data.dataset, None).await?;
        match pipeline.data.as_of {
            None => Ok(loaded),
            Some(day) => {
                let (panel, known) = loaded.known_on(day)?;
                Ok(LoadedDataset { panel: Arc::new(panel.prefix(known)), ..loaded })
            }
        }
    }

    fn newest_in_use(&self, name: &str) -> Option<u32> {
        let newest = self.newest.read().unwrap_or_else(PoisonError::into_inner);
        newest.get(name).copied()
    }

    /// Only this process writes to the data directory, so the newest number it has seen is the newest.
    fn note_newest(&self, name: &str, number: u32) {
        let mut newest = self.newest.write().unwrap_or_else(PoisonError::into_inner);
        let entry = newest.entry(name.to_owned()).or_default();
        *entry = number.max(*entry);
    }
}

/// Days from one to the other.
pub(crate) fn days_between(from: Date, to: Date) -> i64 {
    i64::from(from.until((jiff::Unit::Day, to)).map_or(0, |span| span.get_days()))
}

async fn import_request(pipeline: &Pipeline, source: &DataSource, base_dir: &Path) -> Result<ImportDataset> {
    let name = &pipeline.data.dataset;
    let names: Vec<String> = match source {
        DataSource::One(one) => match one.strip_prefix("builtin:") {
            Some(builtin) => return Ok(BuiltinDataset::find(builtin)?.import(name, one)),
            None => vec![one.clone()],
        },
        DataSource::Many(many) => many.clone(),
    };
    let settings = pipeline.data.import.clone();
    Ok(ImportDataset {
        tables: settings.find_tables(base_dir).await?,
        settings,
        source: names.join(", "),
        ..ImportDataset::new(name, find_source_files(&names, base_dir).await?)
    })
}
