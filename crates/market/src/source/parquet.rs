//! Parquet files of any writer.

use super::{Cells, Sink, Source, SourceFile, columnar};
use crate::{Result, parquet_table};

const MAGIC: &[u8] = b"PAR1";

pub(super) struct ParquetSource;

impl Source for ParquetSource {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn recognises(&self, head: &[u8]) -> bool {
        head.starts_with(MAGIC)
    }

    fn rows(&self, file: &SourceFile, _: &[u8], cells: Cells<'_>, sink: &mut dyn Sink) -> Result<()> {
        let table = parquet_table::read(&file.whole()?)
            .map_err(|reason| file.unreadable(format!("it is not sound parquet: {reason}")))?;
        columnar::rows(file, &table.schema, &table.batches, cells, sink)
    }
}
