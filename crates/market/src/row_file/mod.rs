//! Files of rows that a model is to answer, read a stretch at a time, and files of its answers: CSV, JSON lines, Parquet.
//!
//! A column is a feature by its name, wherever it stands; others are passed over unless they are to be kept. What is wrong
//! with one row is told with it and ends nothing. Deliberately not here: models, and which values one takes.

mod answers;
mod columns;
mod csv_rows;
mod json_rows;
mod kept;
mod merge;
mod parquet_rows;

use std::fs::File;
use std::io::Read;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use answers::{AnswerBlock, AnswerColumn, AnswerFormat, AnswerLayout, AnswerWriter, NumberType, Numbers};
pub use kept::Kept;
pub use merge::merge_answers;

/// A format of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RowFormat {
    /// A line of column names, then a row a line.
    Csv,
    /// A JSON document a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl RowFormat {
    /// Every format.
    pub const ALL: [Self; 3] = [Self::Csv, Self::Jsonl, Self::Parquet];

    /// Its name: `csv`, `jsonl`, `parquet`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The format of a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.name() == name)
    }

    /// The format of a file by the end of its name: `.csv`, `.jsonl` or `.ndjson`, `.parquet` or `.pq`.
    pub fn of_path(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "ndjson" => Some(Self::Jsonl),
            "pq" => Some(Self::Parquet),
            other => Self::named(other),
        }
    }
}

/// What is looked for in a file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowShape {
    /// Names of the features in the model's order; empty if they have none: columns then count by their place.
    pub features: Vec<String>,
    /// Numbers of a row.
    pub width: usize,
    /// Whether a row may name an instrument (column `symbol`, and `as_of` if there is one) instead.
    pub by_symbol: bool,
    /// Columns to hand on.
    pub keep: Vec<String>,
    /// Whether each row is handed on as JSON.
    pub echo: bool,
}

/// A row that names an instrument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolRow {
    /// The instrument.
    pub symbol: String,
    /// Only what was known at the end of this day counts, if the row says so.
    pub as_of: Option<Date>,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// Its number in the chunk, from 0.
    pub row: usize,
    /// The line of a text file it begins at, from 1.
    pub line: Option<u64>,
    /// The column, if it is one.
    pub column: Option<String>,
    /// What is wrong, and the way out.
    pub reason: String,
}

/// A stretch of rows.
#[derive(Debug, Default)]
pub struct RowChunk {
    /// The number of its first row in the file, from 0.
    pub first: u64,
    /// Rows.
    pub rows: usize,
    /// `[rows, width]`, row-major; a missing value is NaN. Rows that have a fault or name a symbol are NaN.
    pub features: Vec<f32>,
    /// The instrument each row names; empty if none does.
    pub symbols: Vec<Option<SymbolRow>>,
    /// The lines the rows begin at, from 1; empty if the file has none.
    pub lines: Vec<u64>,
    /// The columns to hand on, in the order they were asked for.
    pub kept: Vec<Kept>,
    /// Each row as JSON, if that was asked for.
    pub instances: Vec<String>,
    /// Rows that cannot be answered, in order, one fault each.
    pub faults: Vec<RowFault>,
    /// How much of the file is read after it, 0 to 1; none if its size is not known.
    pub fraction: Option<f64>,
}

/// Where rows come from.
pub enum RowSource {
    /// A file.
    File(PathBuf),
    /// A stream, which is called so in errors.
    Stream(Box<dyn Read + Send>, String),
}

impl std::fmt::Debug for RowSource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name())
    }
}

impl RowSource {
    fn name(&self) -> String {
        match self {
            Self::File(path) => path.display().to_string(),
            Self::Stream(_, name) => name.clone(),
        }
    }
}

/// What reads one format. What is wrong with the file as a whole is told in words.
trait RowReader: Send {
    /// The next rows, at most so many; none at the end.
    fn next(&mut self, rows_max: usize) -> Result<Option<RowChunk>, String>;
    /// Columns that mean nothing.
    fn ignored(&self) -> &[String];
}

/// A file of rows being read.
pub struct RowFile {
    name: String,
    reader: Box<dyn RowReader>,
}

impl std::fmt::Debug for RowFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RowFile").field("name", &self.name).finish_non_exhaustive()
    }
}

impl RowFile {
    /// Opens a file and passes over its first `skip` rows.
    ///
    /// # Errors
    /// [`Error::File`] naming what is missing, unknown, given twice or cannot be read.
    pub fn open(source: RowSource, format: RowFormat, shape: &RowShape, skip: u64) -> Result<Self> {
        let name = source.name();
        let open = || -> Result<Box<dyn RowReader>, String> {
            if format == RowFormat::Parquet {
                let RowSource::File(path) = source else {
                    return Err("a Parquet file cannot come as a stream: its end is read first".to_owned());
                };
                return Ok(Box::new(parquet_rows::ParquetRows::open(&path, shape, skip)?));
            }
            let (bytes, size): (Box<dyn Read + Send>, Option<u64>) = match source {
                RowSource::Stream(bytes, _) => (bytes, None),
                RowSource::File(path) => {
                    let file = File::open(&path).map_err(|error| error.to_string())?;
                    let size = file.metadata().map_err(|error| error.to_string())?.len();
                    (Box::new(file), Some(size))
                }
            };
            Ok(match format {
                RowFormat::Csv => Box::new(csv_rows::CsvRows::open(bytes, size, shape, skip)?),
                _ => Box::new(json_rows::JsonRows::open(bytes, size, shape, skip)?),
            })
        };
        let reader = guarded(&name, open)?;
        Ok(Self { name, reader })
    }

    /// The next rows, at most so many; none at the end.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read on.
    pub fn next(&mut self, rows_max: usize) -> Result<Option<RowChunk>> {
        let reader = &mut self.reader;
        guarded(&self.name, || reader.next(rows_max))
    }

    /// Columns that are there and mean nothing.
    pub fn ignored(&self) -> &[String] {
        self.reader.ignored()
    }
}

/// Reads rows that were read before.
fn pass_over(rows: u64, mut read: impl FnMut() -> Result<bool, String>) -> Result<(), String> {
    for row in 0..rows {
        if !read()? {
            return Err(format!("it has {row} rows, fewer than were read before"));
        }
    }
    Ok(())
}

/// Readers check much of a damaged file by assertion; whoever met one is not used again.
fn guarded<T>(name: &str, job: impl FnOnce() -> Result<T, String>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(job))
        .unwrap_or_else(|_| Err("it contradicts itself".to_owned()))
        .map_err(|reason| Error::File { file: name.to_owned(), reason })
}

#[cfg(test)]
impl RowShape {
    /// Two features, or an instrument.
    fn of_two(keep: &[&str], echo: bool) -> Self {
        let features = vec!["A".to_owned(), "B".to_owned()];
        let keep = keep.iter().map(|name| (*name).to_owned()).collect();
        Self { features, width: 2, by_symbol: true, keep, echo }
    }
}
