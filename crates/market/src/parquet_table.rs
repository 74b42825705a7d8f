//! Any Parquet bytes to record batches, or to words about what is wrong with them.
//!
//! What the columns mean is left to `source` and `panel_file`.

use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_schema::SchemaRef;
use bytes::Bytes;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData};

use crate::panel::MAX_VALUES;

/// Columns that say they unpack to more than this are refused: 2 GiB.
const MAX_COLUMN_BYTES: i64 = 2 << 30;

/// The content of a file.
pub(crate) struct Table {
    pub(crate) schema: SchemaRef,
    pub(crate) batches: Vec<RecordBatch>,
}

/// Reads a whole file. The error says what is wrong.
pub(crate) fn read(bytes: &Bytes) -> Result<Table, String> {
    // The reader checks much of a damaged file by assertion; none of its state outlives this call.
    catch_unwind(AssertUnwindSafe(|| unguarded(bytes)))
        .unwrap_or_else(|_| Err("it contradicts itself".to_owned()))
}

fn unguarded(bytes: &Bytes) -> Result<Table, String> {
    // The Arrow schema a writer may have embedded says nothing that the Parquet types do not.
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(bytes.clone(), plain)
        .map_err(|error| error.to_string())?;
    let schema = SchemaRef::clone(builder.schema());
    check(builder.metadata(), schema.fields().len(), bytes.len())?;
    let batches = builder
        .build()
        .map_err(|error| error.to_string())?
        .collect::<Result<Vec<RecordBatch>, _>>()
        .map_err(|error| error.to_string())?;
    Ok(Table { schema, batches })
}

/// Refuses sizes that cannot be before anything is set aside for them.
fn check(metadata: &ParquetMetaData, columns: usize, file_bytes: usize) -> Result<(), String> {
    let rows = usize::try_from(metadata.file_metadata().num_rows()).unwrap_or(usize::MAX);
    if rows.saturating_mul(columns) > 2 * MAX_VALUES {
        return Err(format!("its {rows} rows of {columns} columns are more than is read"));
    }
    let groups = metadata.row_groups();
    let in_groups: i64 = groups.iter().map(|group| group.num_rows().max(0)).fold(0, i64::saturating_add);
    if in_groups != metadata.file_metadata().num_rows() {
        return Err(format!("it says it has {rows} rows, but its parts have {in_groups}"));
    }
    let within = |column: &ColumnChunkMetaData| {
        let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
        let end = start.checked_add(column.compressed_size());
        start >= 0
            && column.compressed_size() >= 0
            && end.and_then(|end| usize::try_from(end).ok()).is_some_and(|end| end <= file_bytes)
            && (0..=MAX_COLUMN_BYTES).contains(&column.uncompressed_size())
    };
    match groups.iter().flat_map(|group| group.columns()).find(|column| !within(column)) {
        Some(column) => {
            Err(format!("column \"{}\" does not lie within the file", column.column_path().string()))
        }
        None => Ok(()),
    }
}
