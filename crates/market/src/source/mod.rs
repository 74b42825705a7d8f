//! Foreign files of bars: recognised by their bytes, read to [`Bars`].
//!
//! A new file format is one file here and one line in [`SOURCES`]. What the columns of any of them mean is
//! decided in one place, `layout`; what a cell may hold in `collect`, `number` and `time`. What becomes of the
//! bars is `dataset`'s.

mod arrow;
mod collect;
mod columnar;
mod csv;
mod file;
pub(crate) mod layout;
mod merge;
mod number;
mod parquet;
pub(crate) mod time;

use std::collections::BTreeMap;

use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

use collect::{Collector, FileBars};
pub use file::SourceFile;
pub use number::{Decimal, Repairs};

use time::{Moment, TimeReader};

/// More files at once are refused.
const FILES_MAX: usize = 100_000;

/// How files are to be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ReadOptions {
    /// The field a wide file (one column an instrument) holds: `close`.
    pub field: String,
    /// What columns hold, by their header: `date`, `time`, `symbol`, `open`, `high`, `low`, `close`, `adj_close`,
    /// `vwap`, `volume`, `factor`, `ignore`, or a name of the user's own, whose values may be any numbers.
    pub columns: BTreeMap<String, String>,
    /// How dates are written, as in `strptime`: `%d/%m/%Y`; absent: recognised.
    pub date_format: Option<String>,
    /// The zone of the data set's times, as the tz database calls it.
    pub time_zone: Option<String>,
    /// How numbers are written.
    pub decimal: Decimal,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            field: "close".to_owned(),
            columns: BTreeMap::new(),
            date_format: None,
            time_zone: None,
            decimal: Decimal::Point,
        }
    }
}

/// What files say about splits and dividends in their prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Adjusted {
    /// Nothing.
    #[default]
    Unknown,
    /// There are only adjusted prices.
    BackAdjusted,
    /// Prices are as traded; the field `factor` is what to multiply them by.
    FactorColumn,
}

/// Bars of one or several files, by time and symbol, each once, as they came.
#[derive(Debug, Clone, Default)]
pub struct Bars {
    /// Whether every bar is a whole day's.
    pub daily: bool,
    /// Names of the fields, ascending.
    pub fields: Vec<String>,
    /// The instruments, ascending.
    pub symbols: Vec<String>,
    /// When each bar is: microseconds of its civil time since the start of 1970.
    pub times: Vec<i64>,
    /// Index of each bar's instrument.
    pub symbol_of: Vec<u32>,
    /// For each field a value a bar; NaN where there is none.
    pub columns: Vec<Vec<f64>>,
    /// What the files say about splits and dividends.
    pub adjusted: Adjusted,
    /// What was made of the columns, in words.
    pub notes: Vec<String>,
    /// What was repaired.
    pub repairs: Repairs,
}

/// A kind of file that bars come in.
trait Source: Sync {
    /// What users call the kind.
    fn name(&self) -> &'static str;

    /// Whether a file that begins so is of this kind.
    fn recognises(&self, head: &[u8]) -> bool;

    /// Hands the names of the columns to a sink, then each row; `head` is how the bytes of the file begin.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read, and what the sink refuses.
    fn rows(&self, file: &SourceFile, head: &[u8], cells: Cells<'_>, sink: &mut dyn Sink) -> Result<()>;
}

/// How cells are read.
#[derive(Clone, Copy)]
pub(crate) struct Cells<'a> {
    times: &'a TimeReader,
    decimal: Decimal,
}

/// One row of a file, read by column; errors say what is wrong with the cell alone.
pub(crate) trait Row {
    fn moment(&self, column: usize) -> Result<Moment, String>;
    fn text(&self, column: usize) -> Result<&str, String>;
    /// NaN for a cell without a value.
    fn number(&self, column: usize, repairs: &mut Repairs) -> Result<f64, String>;
}

/// What takes the rows of a file.
pub(crate) trait Sink {
    /// The names of the columns, before any row.
    fn headers(&mut self, headers: &[String]) -> Result<()>;
    /// One row; `line` is where errors say it is: 1-based line of a text, or row of any other file.
    fn row(&mut self, line: u64, row: &dyn Row) -> Result<()>;
}

/// Every kind there is; the first that recognises a file reads it.
const SOURCES: [&dyn Source; 3] = [&parquet::ParquetSource, &arrow::ArrowSource, &csv::CsvSource];

/// Reads files of any known kind and puts their bars together.
///
/// # Errors
/// [`Error::File`] for a file that cannot be read or whose columns are unknown, [`Error::Cell`] for a date or
/// number that is wrong, [`Error::Duplicate`] for a bar that occurs twice with different values, within a file or
/// across, [`Error::Dataset`] for files that do not belong together, [`Error::Panel`] for more than fits.
pub fn read_bars(files: &[SourceFile], options: &ReadOptions) -> Result<Bars> {
    if files.is_empty() || files.len() > FILES_MAX {
        return Err(Error::Dataset(match files.len() {
            0 => "no file was given to import".to_owned(),
            count => format!("{count} files were given to import; at most {FILES_MAX} are read at once"),
        }));
    }
    let options = ReadOptions { field: options.field.to_lowercase(), ..options.clone() };
    if !layout::is_field_name(&options.field) {
        return Err(Error::Dataset(format!(
            "\"{}\" cannot be a field; its name is of a-z, 0-9 and _, and begins with a letter",
            options.field
        )));
    }
    let times = TimeReader::new(options.date_format.as_deref(), options.time_zone.as_deref())
        .map_err(Error::Dataset)?;
    // The first file that is refused is named, in the order given, however threads went.
    let read: Vec<Result<FileBars>> = files.par_iter().map(|file| read(file, &options, &times)).collect();
    merge::merge(&read.into_iter().collect::<Result<Vec<FileBars>>>()?, options.time_zone.is_some())
}

fn read(file: &SourceFile, options: &ReadOptions, times: &TimeReader) -> Result<FileBars> {
    let mut collector = Collector::new(file, options);
    rows(file, Cells { times, decimal: options.decimal }, &mut collector)?;
    collector.finish()
}

/// Reads a table that is not one of bars.
pub(crate) fn read_table(file: &SourceFile, options: &ReadOptions, sink: &mut dyn Sink) -> Result<()> {
    let times = TimeReader::new(options.date_format.as_deref(), options.time_zone.as_deref())
        .map_err(Error::Dataset)?;
    rows(file, Cells { times: &times, decimal: options.decimal }, sink)
}

fn rows(file: &SourceFile, cells: Cells<'_>, sink: &mut dyn Sink) -> Result<()> {
    const LOOKED_AT_BYTES: u64 = 4096;
    let head = file.head(LOOKED_AT_BYTES)?;
    let source = SOURCES.iter().find(|source| source.recognises(&head)).ok_or_else(|| {
        let kinds: Vec<&str> = SOURCES.iter().map(|source| source.name()).collect();
        file.unreadable(format!("it is not text and of no known kind; known: {}", kinds.join(", ")))
    })?;
    tracing::debug!(file = file.name, kind = source.name(), "reading");
    source.rows(file, &head, cells, sink)
}

#[cfg(test)]
mod tests;
