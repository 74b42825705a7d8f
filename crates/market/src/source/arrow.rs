//! Arrow's own format, as a file (Feather version 2) or as a stream.

use std::io::Cursor;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow_array::RecordBatch;
use arrow_ipc::reader::{FileReader, StreamReader};
use arrow_schema::{ArrowError, SchemaRef};
use bytes::Bytes;

use super::{Cells, Sink, Source, SourceFile, columnar};
use crate::Result;
use crate::panel::MAX_VALUES;

const FILE_MAGIC: &[u8] = b"ARROW1";
const STREAM_MAGIC: &[u8] = &[0xff; 4];

pub(super) struct ArrowSource;

impl Source for ArrowSource {
    fn name(&self) -> &'static str {
        "arrow"
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head.starts_with(FILE_MAGIC) || head.starts_with(STREAM_MAGIC)
    }

    fn rows(&self, file: &SourceFile, _: &[u8], cells: Cells<'_>, sink: &mut dyn Sink) -> Result<()> {
        let bytes = file.whole()?;
        // The reader checks much of a damaged file by assertion; none of its state outlives this call.
        let (schema, batches) = catch_unwind(AssertUnwindSafe(|| batches(&bytes)))
            .unwrap_or_else(|_| Err(ArrowError::IpcError("it contradicts itself".to_owned())))
            .map_err(|error| file.unreadable(format!("it is not sound arrow: {error}")))?;
        columnar::rows(file, &schema, &batches, cells, sink)
    }
}

fn batches(bytes: &Bytes) -> Result<(SchemaRef, Vec<RecordBatch>), ArrowError> {
    let cursor = Cursor::new(bytes.clone());
    if bytes.starts_with(FILE_MAGIC) {
        let reader = FileReader::try_new(cursor, None)?;
        let schema = reader.schema();
        return Ok((schema, limited(reader)?));
    }
    let reader = StreamReader::try_new(cursor, None)?;
    let schema = reader.schema();
    Ok((schema, limited(reader)?))
}

fn limited(
    reader: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<Vec<RecordBatch>, ArrowError> {
    let mut batches = Vec::new();
    let mut values = 0usize;
    for batch in reader {
        let batch = batch?;
        values = values.saturating_add(batch.num_rows().saturating_mul(batch.num_columns()));
        if values > 2 * MAX_VALUES {
            return Err(ArrowError::IpcError(format!("it has more than {} values", 2 * MAX_VALUES)));
        }
        batches.push(batch);
    }
    Ok(batches)
}
