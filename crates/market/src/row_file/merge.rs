//! Parts of a file of answers put together: text one after the other, groups of a Parquet file as they are, unread.

use std::fs::File;
use std::io::{BufWriter, Write, copy};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parquet::column::writer::ColumnCloseResult;
use parquet::file::metadata::ParquetMetaDataReader;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;

use super::answers::{AnswerFormat, AnswerLayout, AnswerWriter, failed, header};
use super::{RowFormat, guarded};
use crate::Result;

/// Puts the parts of a file of answers together, in their order, and sees to it that they are on the disk.
///
/// # Errors
/// [`crate::Error::Answers`] if the file cannot be written, or a part has other columns than the first.
pub fn merge_answers(
    format: AnswerFormat,
    layout: &AnswerLayout,
    parts: &[PathBuf],
    out: &Path,
) -> Result<()> {
    if parts.is_empty() {
        let mut writer = AnswerWriter::new(File::create(out).map_err(failed)?, format, layout.clone());
        writer.header()?;
        return writer.finish()?.sync_all().map_err(failed);
    }
    if !format.is_text() {
        let name = out.display().to_string();
        return guarded(&name, || merge_parquet(parts, out).map_err(|error| error.to_string()));
    }
    let mut file = BufWriter::new(File::create(out).map_err(failed)?);
    if format == AnswerFormat::Rows(RowFormat::Csv) {
        file.write_all(&header(layout)).map_err(failed)?;
    }
    for part in parts {
        copy(&mut File::open(part).map_err(failed)?, &mut file).map_err(failed)?;
    }
    file.into_inner().map_err(failed)?.sync_all().map_err(failed)
}

fn merge_parquet(parts: &[PathBuf], out: &Path) -> Result<()> {
    let read = |part: &PathBuf| -> Result<_> {
        let file = File::open(part).map_err(failed)?;
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&file).map_err(failed)?;
        Ok((file, metadata))
    };
    let (_, first) = read(&parts[0])?;
    let first = first.file_metadata();
    let properties = WriterProperties::builder()
        .set_created_by("bellwether".to_owned())
        .set_key_value_metadata(first.key_value_metadata().cloned())
        .build();
    let schema = first.schema_descr().root_schema_ptr();
    let out = File::create(out).map_err(failed)?;
    let mut writer =
        SerializedFileWriter::new(out, Arc::clone(&schema), Arc::new(properties)).map_err(failed)?;
    for part in parts {
        let (file, metadata) = read(part)?;
        if metadata.file_metadata().schema_descr().root_schema_ptr() != schema {
            return Err(failed("columns to keep have different types in different files"));
        }
        for group in metadata.row_groups() {
            let mut into = writer.next_row_group().map_err(failed)?;
            for column in group.columns() {
                let unsigned = |number: i64| u64::try_from(number).unwrap_or_default();
                let closed = ColumnCloseResult {
                    bytes_written: unsigned(column.compressed_size()),
                    rows_written: unsigned(group.num_rows()),
                    metadata: column.clone(),
                    bloom_filter: None,
                    column_index: None,
                    offset_index: None,
                };
                into.append_column(&file, closed).map_err(failed)?;
            }
            into.close().map_err(failed)?;
        }
    }
    writer.finish().map_err(failed)?;
    writer.inner().sync_all().map_err(failed)
}
