//! Rows of a Parquet file: only the columns that mean something are read, a stretch at a time.

use std::fs::File;
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::DataType;
use jiff::civil::Date;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

use super::columns::{AS_OF, Asked, Columns, SYMBOL};
use super::csv_rows::{date, narrowed};
use super::kept::Kept;
use super::{RowChunk, RowFault, RowReader, RowShape, SymbolRow};
use crate::civil_time::from_epoch_days;

/// Rows decoded at once.
const BATCH_ROWS: usize = 4096;
/// Rows turned from columns at once: what they become stays in the second cache.
const BLOCK_ROWS: usize = 256;

/// A Parquet file being read.
pub(super) struct ParquetRows {
    reader: ParquetRecordBatchReader,
    /// Places within what is read.
    columns: Columns,
    names: Vec<String>,
    width: usize,
    total: u64,
    next_row: u64,
    /// What was decoded and not asked for yet.
    left: Option<RecordBatch>,
}

impl ParquetRows {
    pub(super) fn open(path: &Path, shape: &RowShape, skip: u64) -> Result<Self, String> {
        if shape.echo {
            return Err("rows of a Parquet file are not repeated as JSON; give CSV or JSON lines".to_owned());
        }
        let file = File::open(path).map_err(|error| error.to_string())?;
        // The Arrow schema a writer may have embedded says nothing that the Parquet types do not.
        let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
        let builder = ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain)
            .map_err(|error| error.to_string())?;
        let all: Vec<String> = builder.schema().fields().iter().map(|field| field.name().clone()).collect();
        let names: Vec<&str> = all.iter().map(String::as_str).collect();
        let columns = Columns::find(&names, shape)?;
        let total = u64::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
        if skip > total {
            return Err(format!("it has {total} rows, fewer than were read before"));
        }
        let (columns, read) = within_projection(columns);
        let mask = ProjectionMask::roots(builder.parquet_schema(), read.iter().copied());
        let skipped = usize::try_from(skip).map_err(|error| error.to_string())?;
        let reader = builder
            .with_projection(mask)
            .with_batch_size(BATCH_ROWS)
            .with_offset(skipped)
            .build()
            .map_err(|error| error.to_string())?;
        let names = read.iter().map(|at| all[*at].clone()).collect();
        Ok(Self { reader, columns, names, width: shape.width, total, next_row: skip, left: None })
    }

    /// At most so many rows that lie in one batch.
    fn batch(&mut self, rows_max: usize) -> Result<Option<RecordBatch>, String> {
        let batch = match self.left.take() {
            Some(batch) => batch,
            None => match self.reader.next().transpose().map_err(|error| error.to_string())? {
                Some(batch) => batch,
                None => return Ok(None),
            },
        };
        if batch.num_rows() <= rows_max {
            return Ok(Some(batch));
        }
        self.left = Some(batch.slice(rows_max, batch.num_rows() - rows_max));
        Ok(Some(batch.slice(0, rows_max)))
    }

    fn features(&self, batch: &RecordBatch, places: &[usize], chunk: &mut RowChunk) -> Result<(), String> {
        chunk.features = vec![f32::NAN; batch.num_rows() * self.width];
        let mut narrow = Vec::with_capacity(places.len());
        for at in places {
            narrow.push(Narrow::of(&self.names[*at], batch.column(*at))?);
        }
        for (block, rows) in chunk.features.chunks_mut((BLOCK_ROWS * self.width).max(1)).enumerate() {
            let from = block * BLOCK_ROWS;
            let count = rows.len() / self.width.max(1);
            for (into, column) in narrow.iter().enumerate() {
                let values = column.values[from..from + count].iter();
                for (row, value) in values.enumerate() {
                    rows[row * self.width + into] = *value;
                }
            }
        }
        for (column, at) in narrow.iter().zip(places) {
            for row in &column.too_large {
                chunk.faults.push(RowFault {
                    row: *row,
                    line: None,
                    column: Some(self.names[*at].clone()),
                    reason: "the value does not fit float32".to_owned(),
                });
            }
        }
        chunk.faults.sort_by_key(|fault| fault.row);
        chunk.faults.dedup_by_key(|fault| fault.row);
        for fault in &chunk.faults {
            chunk.features[fault.row * self.width..(fault.row + 1) * self.width].fill(f32::NAN);
        }
        Ok(())
    }

    fn symbols(
        &self,
        batch: &RecordBatch,
        (symbol, as_of): (usize, Option<usize>),
        chunk: &mut RowChunk,
    ) -> Result<(), String> {
        let symbols = texts(SYMBOL, batch.column(symbol))?;
        let days = as_of.map(|at| days(batch.column(at))).transpose()?;
        chunk.features = vec![f32::NAN; batch.num_rows() * self.width];
        for (row, symbol) in symbols.into_iter().enumerate() {
            let day = days.as_ref().map_or(Ok(None), |days| days[row].clone());
            let read = match (symbol.filter(|text| !text.is_empty()), day) {
                (None, _) => Err((SYMBOL, format!("{SYMBOL} is empty"))),
                (_, Err(reason)) => Err((AS_OF, reason)),
                (Some(symbol), Ok(as_of)) => Ok(SymbolRow { symbol, as_of }),
            };
            chunk.symbols.push(read.as_ref().ok().cloned());
            if let Err((column, reason)) = read {
                chunk.faults.push(RowFault { row, line: None, column: Some(column.to_owned()), reason });
            }
        }
        Ok(())
    }
}

impl RowReader for ParquetRows {
    fn next(&mut self, rows_max: usize) -> Result<Option<RowChunk>, String> {
        let Some(batch) = self.batch(rows_max)? else {
            return Ok(None);
        };
        let mut chunk = RowChunk { first: self.next_row, rows: batch.num_rows(), ..RowChunk::default() };
        match &self.columns.asked {
            Asked::Features(places) => self.features(&batch, places, &mut chunk)?,
            Asked::Symbols { symbol, as_of } => self.symbols(&batch, (*symbol, *as_of), &mut chunk)?,
        }
        for at in &self.columns.kept {
            chunk.kept.push(Kept::array(&self.names[*at], batch.column(*at).clone())?);
        }
        self.next_row += batch.num_rows() as u64;
        chunk.fraction = Some(self.next_row as f64 / self.total.max(1) as f64);
        Ok(Some(chunk))
    }

    fn ignored(&self) -> &[String] {
        &self.columns.ignored
    }
}

/// The places in batches that hold only what is needed, and what that is.
fn within_projection(columns: Columns) -> (Columns, Vec<usize>) {
    let Columns { asked, kept, ignored } = columns;
    let mut read: Vec<usize> = match &asked {
        Asked::Features(places) => places.clone(),
        Asked::Symbols { symbol, as_of } => [Some(*symbol), *as_of].into_iter().flatten().collect(),
    };
    read.extend(&kept);
    read.sort_unstable();
    read.dedup();
    let place = |at: usize| read.binary_search(&at).unwrap_or_default();
    let asked = match asked {
        Asked::Features(places) => Asked::Features(places.into_iter().map(place).collect()),
        Asked::Symbols { symbol, as_of } => Asked::Symbols { symbol: place(symbol), as_of: as_of.map(place) },
    };
    let kept = kept.into_iter().map(place).collect();
    (Columns { asked, kept, ignored }, read)
}

/// A numeric column as float32.
struct Narrow {
    values: Vec<f32>,
    /// Rows whose value does not fit.
    too_large: Vec<usize>,
}

impl Narrow {
    fn of(name: &str, column: &ArrayRef) -> Result<Self, String> {
        let mut too_large = Vec::new();
        macro_rules! cast {
            ($kind:ty) => {{
                let array = column.as_primitive::<$kind>();
                array.iter().map(|value| value.map_or(f32::NAN, |value| value as f32)).collect()
            }};
        }
        let values = match column.data_type() {
            DataType::Float32 => {
                let array = column.as_primitive::<Float32Type>();
                if array.null_count() == 0 {
                    array.values().to_vec()
                } else {
                    array.iter().map(|value| value.unwrap_or(f32::NAN)).collect()
                }
            }
            DataType::Float64 => {
                let array = column.as_primitive::<Float64Type>();
                let narrow = |(row, value): (usize, Option<f64>)| {
                    narrowed(value.unwrap_or(f64::NAN)).unwrap_or_else(|| {
                        too_large.push(row);
                        f32::NAN
                    })
                };
                array.iter().enumerate().map(narrow).collect()
            }
            DataType::Int8 => cast!(Int8Type),
            DataType::Int16 => cast!(Int16Type),
            DataType::Int32 => cast!(Int32Type),
            DataType::Int64 => cast!(Int64Type),
            DataType::UInt8 => cast!(UInt8Type),
            DataType::UInt16 => cast!(UInt16Type),
            DataType::UInt32 => cast!(UInt32Type),
            DataType::UInt64 => cast!(UInt64Type),
            other => return Err(format!("column \"{name}\" is of type {other}; it must be a number")),
        };
        Ok(Self { values, too_large })
    }
}

fn texts(name: &str, column: &ArrayRef) -> Result<Vec<Option<String>>, String> {
    let owned = |text: Option<&str>| text.map(|text| text.trim().to_owned());
    match column.data_type() {
        DataType::Utf8 => Ok(column.as_string::<i32>().iter().map(owned).collect()),
        DataType::LargeUtf8 => Ok(column.as_string::<i64>().iter().map(owned).collect()),
        other => Err(format!("column \"{name}\" is of type {other}; it must be text")),
    }
}

type Days = Vec<Result<Option<Date>, String>>;

fn days(column: &ArrayRef) -> Result<Days, String> {
    if column.data_type() == &DataType::Date32 {
        let day =
            |days: i32| from_epoch_days(days).ok_or_else(|| format!("day {days} since 1970 is out of range"));
        let column = column.as_primitive::<Date32Type>();
        return Ok(column.iter().map(|days| days.map(day).transpose()).collect());
    }
    let text =
        |text: Option<String>| text.filter(|text| !text.is_empty()).map(|text| date(&text)).transpose();
    Ok(texts(AS_OF, column)?.into_iter().map(text).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{Date32Array, Float32Array, Float64Array, Int64Array, StringArray};
    use parquet::arrow::ArrowWriter;

    use super::*;

    fn written(columns: Vec<(&str, ArrayRef)>) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        let batch = RecordBatch::try_from_iter(columns).unwrap();
        let mut writer = ArrowWriter::try_new(file.reopen().unwrap(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        file
    }

    fn shape(keep: &[&str]) -> RowShape {
        RowShape::of_two(keep, false)
    }

    #[test]
    fn rows_are_read_in_stretches_in_the_models_order() {
        let count = 10_000;
        let file = written(vec![
            ("x", Arc::new(Int64Array::from_iter_values(0..count))),
            (
                "B",
                Arc::new(Float64Array::from_iter((0..count).map(|n| (n % 7 != 0).then_some(n as f64 / 3.0)))),
            ),
            ("A", Arc::new(Float32Array::from_iter_values((0..count).map(|n| n as f32)))),
            ("id", Arc::new(StringArray::from_iter_values((0..count).map(|n| format!("r{n}"))))),
        ]);
        for skip in [0u64, 1, 4095, 9_999] {
            let mut rows = ParquetRows::open(file.path(), &shape(&["id"]), skip).unwrap();
            assert_eq!(rows.ignored(), ["x"]);
            let mut next = skip;
            while let Some(chunk) = rows.next(1000).unwrap() {
                assert_eq!((chunk.first, chunk.features.len()), (next, chunk.rows * 2));
                for (row, values) in chunk.features.chunks(2).enumerate() {
                    let n = next + row as u64;
                    let b = if n.is_multiple_of(7) { f32::NAN } else { (n as f64 / 3.0) as f32 };
                    assert_eq!(
                        (values[0].to_bits(), values[1].to_bits()),
                        ((n as f32).to_bits(), b.to_bits())
                    );
                }
                let mut text = Vec::new();
                chunk.kept[0].write_csv(0, &mut text);
                assert_eq!(String::from_utf8(text).unwrap(), format!("r{next}"));
                next += chunk.rows as u64;
            }
            assert_eq!(next, 10_000);
        }
        assert!(ParquetRows::open(file.path(), &shape(&[]), 10_001).is_err());
    }

    #[test]
    fn what_does_not_fit_is_told_by_row_and_a_wrong_type_at_once() {
        let file = written(vec![
            ("A", Arc::new(Float64Array::from(vec![1.0, 1e39, -1e300]))),
            ("B", Arc::new(Float64Array::from(vec![1.0, 1e39, 2.0]))),
        ]);
        let chunk = ParquetRows::open(file.path(), &shape(&[]), 0).unwrap().next(9).unwrap().unwrap();
        let told: Vec<_> = chunk.faults.iter().map(|fault| (fault.row, fault.column.as_deref())).collect();
        assert_eq!(told, [(1, Some("A")), (2, Some("A"))]);
        assert!(chunk.features[2..].iter().all(|value| value.is_nan()));
        let file = written(vec![
            ("A", Arc::new(StringArray::from(vec!["x"]))),
            ("B", Arc::new(Float64Array::from(vec![1.0]))),
        ]);
        let error = ParquetRows::open(file.path(), &shape(&[]), 0).unwrap().next(9).unwrap_err();
        assert!(error.contains("column \"A\" is of type Utf8; it must be a number"), "{error}");
    }

    #[test]
    fn instruments_and_days_are_read() {
        let file = written(vec![
            ("symbol", Arc::new(StringArray::from(vec![Some("S"), None]))),
            ("as_of", Arc::new(Date32Array::from(vec![18263, 18263]))),
        ]);
        let chunk = ParquetRows::open(file.path(), &shape(&[]), 0).unwrap().next(9).unwrap().unwrap();
        let as_of = Some(jiff::civil::date(2020, 1, 2));
        assert_eq!(chunk.symbols, [Some(SymbolRow { symbol: "S".to_owned(), as_of }), None]);
        assert_eq!(chunk.faults[0].reason, "symbol is empty");
    }
}
