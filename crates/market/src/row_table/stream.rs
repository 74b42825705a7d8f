//! Training rows that stay in their file, read a stretch at a time: for tables that do not fit into memory.

use std::fs::File;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReaderBuilder, RowSelection, RowSelector,
};

use super::{BATCH_ROWS, Roles, RowColumns, numbers, parts, text};
use crate::{Error, Result};

/// The training rows of a file.
#[derive(Debug)]
pub struct RowStream {
    path: PathBuf,
    metadata: ArrowReaderMetadata,
    /// Places of the features among the columns of the file, and among those that are read.
    mask: ProjectionMask,
    features: Vec<usize>,
    /// The row of the file that each training row is.
    places: Vec<u64>,
    /// Where each group of the file begins, and the end of the last.
    group_starts: Vec<usize>,
}

impl RowStream {
    /// Opens a Parquet file and finds its training rows.
    ///
    /// # Errors
    /// [`Error::File`] naming the file and what is wrong.
    pub fn open(path: &Path, columns: &RowColumns) -> Result<Self> {
        guarded(path, || Self::unguarded(path, columns))
    }

    fn unguarded(path: &Path, columns: &RowColumns) -> Result<Self, String> {
        let file = File::open(path).map_err(text)?;
        let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let metadata = ArrowReaderMetadata::load(&file, plain).map_err(text)?;
        let roles = Roles::new(metadata.schema(), columns)?;
        let groups = metadata.metadata().row_groups();
        let mut group_starts = vec![0usize];
        for group in groups {
            let rows = usize::try_from(group.num_rows()).map_err(text)?;
            group_starts.push(group_starts[group_starts.len() - 1] + rows);
        }
        let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata.clone());
        let split = ProjectionMask::roots(builder.parquet_schema(), [roles.split]);
        let mut all = roles.features.clone();
        all.sort_unstable();
        let mask = ProjectionMask::roots(builder.parquet_schema(), all.iter().copied());
        let features = roles.features.iter().map(|at| all.binary_search(at).unwrap_or_default()).collect();
        let mut places = Vec::new();
        let mut row = 0u64;
        for batch in builder.with_projection(split).with_batch_size(BATCH_ROWS).build().map_err(text)? {
            for part in parts(batch.map_err(text)?.column(0))? {
                if part == Some(0) {
                    places.push(row);
                }
                row += 1;
            }
        }
        Ok(Self { path: path.to_owned(), metadata, mask, features, places, group_starts })
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.places.len()
    }

    /// Features of a row.
    pub fn columns(&self) -> usize {
        self.features.len()
    }

    /// Replaces `out` by training rows, row-major; a missing value is NaN.
    ///
    /// # Errors
    /// [`Error::File`] if the file cannot be read any more.
    pub fn read(&self, range: Range<usize>, out: &mut Vec<f32>) -> Result<()> {
        out.clear();
        guarded(&self.path, || self.unguarded_read(&self.places[range.clone()], out))
    }

    fn unguarded_read(&self, places: &[u64], out: &mut Vec<f32>) -> Result<(), String> {
        let (Some(first), Some(last)) = (places.first(), places.last()) else { return Ok(()) };
        let (first, last) = (*first as usize, *last as usize);
        let group_of = |row: usize| self.group_starts.partition_point(|start| *start <= row) - 1;
        let groups: Vec<usize> = (group_of(first)..=group_of(last)).collect();
        let begin = self.group_starts[groups[0]];
        let selection =
            RowSelection::from(vec![RowSelector::skip(first - begin), RowSelector::select(last + 1 - first)]);
        let file = File::open(&self.path).map_err(text)?;
        let reader = ParquetRecordBatchReaderBuilder::new_with_metadata(file, self.metadata.clone())
            .with_projection(self.mask.clone())
            .with_row_groups(groups)
            .with_row_selection(selection)
            .with_batch_size(BATCH_ROWS)
            .build()
            .map_err(text)?;
        let width = self.features.len();
        out.reserve(places.len() * width);
        let mut wanted = places.iter().map(|place| *place as usize).peekable();
        let mut row = first;
        for batch in reader {
            let batch = batch.map_err(text)?;
            let columns =
                self.features.iter().map(|at| numbers(&batch, *at)).collect::<Result<Vec<_>, String>>()?;
            for at in 0..batch.num_rows() {
                if wanted.peek() == Some(&(row + at)) {
                    wanted.next();
                    out.extend(columns.iter().map(|column| column[at] as f32));
                }
            }
            row += batch.num_rows();
        }
        if out.len() == places.len() * width { Ok(()) } else { Err("it has become shorter".to_owned()) }
    }
}

/// The reader checks much of a damaged file by assertion; none of its state outlives a call.
fn guarded<T>(path: &Path, job: impl FnOnce() -> Result<T, String>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(job))
        .unwrap_or_else(|_| Err("it contradicts itself".to_owned()))
        .map_err(|reason| Error::File { file: path.display().to_string(), reason })
}
