//! Foreign files of daily bars: recognised by their bytes, read to [`RawBars`].
//!
//! A new file format is one file here and one line in [`SOURCES`]. What the columns of any of them mean is
//! decided in one place, `layout`; what a cell may hold in another, `collect`. Several files are put together
//! in `import`, not here.

mod collect;
mod csv;
mod layout;
mod parquet;

use bytes::Bytes;
use jiff::civil::Date;

use crate::{Error, Result};

/// A file as it came.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// What errors call it; its stem names the instrument if no column does.
    pub name: String,
    /// Its content.
    pub bytes: Bytes,
}

/// How a file is to be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadOptions {
    /// The field a wide file (one column an instrument) holds: `close`.
    pub field: String,
}

/// The bars of one file, in its order, each value checked.
#[derive(Debug, Clone, Default)]
pub struct RawBars {
    /// The file they are from.
    pub file: String,
    /// Names of the fields.
    pub fields: Vec<String>,
    /// The instruments that occur.
    pub symbols: Vec<String>,
    /// The bars.
    pub rows: Vec<RawRow>,
    /// One value for each row and field, row-major; NaN where there is none.
    pub values: Vec<f64>,
    /// What was done to the values on the way, in words.
    pub notes: Vec<String>,
}

/// Where and what a raw bar is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRow {
    /// Its day.
    pub date: Date,
    /// Index into [`RawBars::symbols`].
    pub symbol: usize,
    /// 1-based line of a text file, or row of a Parquet file.
    pub line: u64,
}

/// A kind of file that bars come in.
pub trait Source: Sync {
    /// What users call the kind.
    fn name(&self) -> &'static str;

    /// Whether a file is of this kind.
    fn recognises(&self, file: &SourceFile) -> bool;

    /// Reads all bars.
    ///
    /// # Errors
    /// [`Error::File`] if the file or its columns cannot be read, [`Error::Cell`] for a value that is wrong.
    fn read(&self, file: &SourceFile, options: &ReadOptions) -> Result<RawBars>;
}

/// Every kind there is; the first that recognises a file reads it.
const SOURCES: [&dyn Source; 2] = [&parquet::ParquetSource, &csv::CsvSource];

/// Reads a file of any known kind.
pub(crate) fn read(file: &SourceFile, options: &ReadOptions) -> Result<RawBars> {
    let source = SOURCES.iter().find(|source| source.recognises(file)).ok_or_else(|| {
        let kinds: Vec<&str> = SOURCES.iter().map(|source| source.name()).collect();
        unreadable(file, format!("it is not text and of no known kind; known: {}", kinds.join(", ")))
    })?;
    tracing::debug!(file = file.name, kind = source.name(), bytes = file.bytes.len(), "reading");
    source.read(file, options)
}

fn unreadable(file: &SourceFile, reason: impl Into<String>) -> Error {
    Error::File { file: file.name.clone(), reason: reason.into() }
}

#[cfg(test)]
mod tests;
