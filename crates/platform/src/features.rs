//! Features of a data set as a file, and what a feature file says.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use jiff::civil::Date;
use market::{FeatureSet, FeatureWriter, Panel, RowRange, Universe, compute_blocks};
use serde::{Deserialize, Serialize};

use crate::pipeline::{ChosenFeatures, FeaturesSection, read_text};
use crate::{Error, Kind, Platform, Result};

/// Which features of which data set to compute, and where to.
#[derive(Debug, Clone)]
pub struct ComputeFeatures {
    /// The data set.
    pub dataset: String,
    /// Its snapshot; absent: the newest.
    pub snapshot: Option<u32>,
    /// A named set, or a TOML file with a `[features]` section.
    pub set: String,
    /// Only what was known at the end of this day; absent: everything.
    pub as_of: Option<Date>,
    /// The Parquet file to write.
    pub out: PathBuf,
}

/// What [`Platform::compute_features`] wrote.
#[derive(Debug, Clone, Serialize)]
pub struct ComputedFeatures {
    /// The data set.
    pub dataset: String,
    /// The snapshot that was read.
    pub snapshot: u32,
    /// SHA-256 of the snapshot.
    pub digest: String,
    /// The file.
    pub out: PathBuf,
    /// Rows written.
    pub rows: usize,
    /// Features of a row.
    pub features: usize,
    /// Bars of history a row needs.
    pub lookback_bars: usize,
    /// Features of the named set the data could not give, with the missing field.
    pub left_out: Vec<(String, String)>,
    /// What a reader must know about the data.
    pub notes: Vec<String>,
    /// Seconds spent on reading the snapshot.
    pub read_seconds: f64,
    /// Seconds spent on computing.
    pub compute_seconds: f64,
    /// Seconds spent on writing the file.
    pub write_seconds: f64,
}

/// A TOML file of features: the `[features]` section of a pipeline file; other sections are not looked at.
#[derive(Debug, Deserialize)]
struct FeatureFile {
    features: FeaturesSection,
}

impl Platform {
    /// Computes features of every bar of a data set and writes them as Parquet: `date`, `symbol`, one float32
    /// column a feature. The file appears when it is whole.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a data set that is not there, [`Kind::InvalidArgument`] for a set, file or
    /// expression that is wrong, [`Kind::FailedPrecondition`] if the file cannot be written.
    pub async fn compute_features(&self, request: ComputeFeatures) -> Result<ComputedFeatures> {
        let section = section(&request.set)?;
        let begin = Instant::now();
        let dataset = self.load_dataset(&request.dataset, request.snapshot).await?;
        let panel = match request.as_of {
            Some(as_of) => {
                let (panel, known) = dataset.known_on(as_of)?;
                std::sync::Arc::new(panel.prefix(known))
            }
            None => std::sync::Arc::clone(&dataset.panel),
        };
        let read_seconds = begin.elapsed().as_secs_f64();
        if panel.times().is_empty() {
            let as_of = request.as_of.map(|date| format!(" on {date}")).unwrap_or_default();
            let message =
                format!("data set \"{}\" knows no bar{as_of}; ask for a later date", request.dataset);
            return Err(Error::new(Kind::OutOfRange, message));
        }
        let chosen = section.choose(&panel)?;
        let out = request.out.clone();
        let lookback_bars = chosen.set.lookback_bars();
        let ChosenFeatures { set, left_out, .. } = chosen;
        let features = set.names().len();
        let written = tokio::task::spawn_blocking(move || write(&panel, &set, &out))
            .await
            .map_err(|error| Error::internal("computing features stopped unexpectedly", error))??;
        Ok(ComputedFeatures {
            dataset: dataset.snapshot.name.clone(),
            snapshot: dataset.snapshot.number,
            digest: dataset.snapshot.digest.clone(),
            out: request.out,
            rows: written.rows,
            features,
            lookback_bars,
            left_out,
            notes: dataset.snapshot.notes.clone(),
            read_seconds,
            compute_seconds: written.compute_seconds,
            write_seconds: written.write_seconds,
        })
    }
}

/// The features a name or a file asks for.
fn section(set: &str) -> Result<FeaturesSection> {
    if !Path::new(set).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml")) {
        return Ok(FeaturesSection { set: Some(set.to_owned()), ..FeaturesSection::default() });
    }
    let text = read_text(Path::new(set), "feature file")?;
    let parsed: std::result::Result<FeatureFile, toml::de::Error> = toml::from_str(&text);
    Ok(parsed.map_err(|error| crate::pipeline::syntax_error(&text, set, &error))?.features)
}

struct Written {
    rows: usize,
    compute_seconds: f64,
    write_seconds: f64,
}

fn write(panel: &Panel, set: &FeatureSet, out: &Path) -> Result<Written> {
    let mut part = out.as_os_str().to_owned();
    part.push(".part");
    let part = PathBuf::from(part);
    let written = write_part(panel, set, &part).and_then(|written| {
        std::fs::rename(&part, out).map_err(|error| unwritable(out, &error))?;
        Ok(written)
    });
    if written.is_err() {
        // What is left of it is of no use to anybody.
        let _ = std::fs::remove_file(&part);
    }
    written
}

/// Computes and writes block after block, so that the features are never in memory as a whole.
fn write_part(panel: &Panel, set: &FeatureSet, part: &Path) -> Result<Written> {
    let begin = Instant::now();
    let mut written = Written { rows: 0, compute_seconds: 0.0, write_seconds: 0.0 };
    let file = File::create(part).map_err(|error| unwritable(part, &error))?;
    let mut writer = FeatureWriter::new(BufWriter::new(file), &set.names(), panel.is_daily())?;
    let range = RowRange { dates: 0..panel.times().len(), universe: Universe::all() };
    compute_blocks(panel, set, &range, |block| {
        let computed = Instant::now();
        written.rows += block.rows.len();
        writer.write(panel, block)?;
        written.write_seconds += computed.elapsed().as_secs_f64();
        Ok(())
    })?;
    let computed = Instant::now();
    let mut buffered = writer.finish()?;
    buffered
        .flush()
        .and_then(|()| buffered.get_ref().sync_all())
        .map_err(|error| unwritable(part, &error))?;
    written.write_seconds += computed.elapsed().as_secs_f64();
    written.compute_seconds = begin.elapsed().as_secs_f64() - written.write_seconds;
    Ok(written)
}

fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::FailedPrecondition, format!("cannot write {}: {error}", path.display()))
}
