//! Parquet files of any writer: a date column, and numbers.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
    TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, TimeUnit};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::collect::{Collector, Row, at_midnight, parse_date};
use super::layout::detect;
use super::{RawBars, ReadOptions, Source, SourceFile, unreadable};
use crate::{Error, Result, parquet_table};

const MAGIC: &[u8] = b"PAR1";

pub(super) struct ParquetSource;

impl Source for ParquetSource {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn recognises(&self, file: &SourceFile) -> bool {
        file.bytes.starts_with(MAGIC)
    }

    fn read(&self, file: &SourceFile, options: &ReadOptions) -> Result<RawBars> {
        let table = parquet_table::read(&file.bytes)
            .map_err(|reason| unreadable(file, format!("it is not sound parquet: {reason}")))?;
        let headers: Vec<String> = table.schema.fields().iter().map(|field| field.name().clone()).collect();
        let layout = detect(file, &headers)?;
        let mut collector = Collector::new(file, &headers, &layout, options)?;
        let mut line = 0;
        for batch in &table.batches {
            let columns = columns(file, &headers, batch)?;
            for row in 0..batch.num_rows() {
                line += 1;
                collector.push(line, &BatchRow { columns: &columns, row })?;
            }
        }
        collector.finish()
    }
}

/// A column of a batch, brought to one of three types.
enum Column {
    Days(Vec<Result<Date, String>>),
    Numbers(Vec<f64>),
    Texts(StringArray),
}

fn columns(file: &SourceFile, headers: &[String], batch: &RecordBatch) -> Result<Vec<Column>> {
    let convert = |(header, array): (&String, &ArrayRef)| {
        column(array).ok_or_else(|| {
            let reason = format!("column \"{header}\" is of type {}, which is not read", array.data_type());
            unreadable(file, reason)
        })
    };
    headers.iter().zip(batch.columns()).map(convert).collect::<Result<Vec<Column>, Error>>()
}

fn column(array: &ArrayRef) -> Option<Column> {
    const NANOS: i128 = 1_000_000_000;
    const DAY: i128 = 86_400 * NANOS;
    macro_rules! numbers {
        ($kind:ty) => {
            Column::Numbers(
                array
                    .as_primitive::<$kind>()
                    .iter()
                    .map(|value| value.map_or(f64::NAN, |v| v as f64))
                    .collect(),
            )
        };
    }
    macro_rules! days {
        ($kind:ty, $nanos:expr) => {
            Column::Days(
                array
                    .as_primitive::<$kind>()
                    .iter()
                    .map(|value| day(value.map(i128::from), $nanos))
                    .collect(),
            )
        };
    }
    Some(match array.data_type() {
        DataType::Float64 => numbers!(Float64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Utf8 => Column::Texts(array.as_string::<i32>().clone()),
        DataType::Date32 => days!(Date32Type, DAY),
        DataType::Date64 => days!(Date64Type, NANOS / 1_000),
        DataType::Timestamp(TimeUnit::Second, _) => days!(TimestampSecondType, NANOS),
        DataType::Timestamp(TimeUnit::Millisecond, _) => days!(TimestampMillisecondType, NANOS / 1_000),
        DataType::Timestamp(TimeUnit::Microsecond, _) => days!(TimestampMicrosecondType, NANOS / 1_000_000),
        DataType::Timestamp(TimeUnit::Nanosecond, _) => days!(TimestampNanosecondType, 1),
        _ => return None,
    })
}

/// The day of a count of `unit_ns` since 1970.
fn day(count: Option<i128>, unit_ns: i128) -> Result<Date, String> {
    let count = count.ok_or("the date is missing")?;
    let nanos = count.checked_mul(unit_ns).ok_or("the date is out of range")?;
    let time = Timestamp::from_nanosecond(nanos).map_err(|_| "the date is out of range")?;
    at_midnight(TimeZone::UTC.to_datetime(time), &time.to_string())
}

struct BatchRow<'a> {
    columns: &'a [Column],
    row: usize,
}

impl Row for BatchRow<'_> {
    fn date(&self, column: usize) -> Result<Date, String> {
        match &self.columns[column] {
            Column::Days(days) => days[self.row].clone(),
            Column::Texts(texts) if texts.is_valid(self.row) => parse_date(texts.value(self.row)),
            Column::Texts(_) => Err("the date is missing".to_owned()),
            Column::Numbers(numbers) => {
                Err(format!("{} is a number, not a date; store dates as date32 or text", numbers[self.row]))
            }
        }
    }

    fn text(&self, column: usize) -> Result<&str, String> {
        match &self.columns[column] {
            Column::Texts(texts) if texts.is_valid(self.row) => Ok(texts.value(self.row)),
            Column::Texts(_) => Ok(""),
            _ => Err("the column must hold text".to_owned()),
        }
    }

    fn number(&self, column: usize) -> Result<f64, String> {
        match &self.columns[column] {
            Column::Numbers(numbers) => Ok(numbers[self.row]),
            _ => Err("the column must hold numbers".to_owned()),
        }
    }
}
