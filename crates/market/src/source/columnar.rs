//! Record batches to bars: the columns of Parquet and Arrow files.

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType, TimestampSecondType,
    UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch, StringArray};
use arrow_schema::{DataType, Schema, TimeUnit};

use super::number::{self, Repairs};
use super::time::{Moment, TimeReader};
use super::{Cells, Row, Sink, SourceFile};
use crate::Result;
use crate::civil_time::civil;

/// Hands all rows of the batches of a file to a sink.
pub(super) fn rows(
    file: &SourceFile,
    schema: &Schema,
    batches: &[RecordBatch],
    cells: Cells<'_>,
    sink: &mut dyn Sink,
) -> Result<()> {
    let headers: Vec<String> = schema.fields().iter().map(|field| field.name().clone()).collect();
    sink.headers(&headers)?;
    let mut line = 0;
    for batch in batches {
        let columns = columns(file, &headers, batch, cells.times)?;
        for row in 0..batch.num_rows() {
            line += 1;
            sink.row(line, &BatchRow { columns: &columns, row, cells })?;
        }
    }
    Ok(())
}

/// A column of a batch, brought to one of three types.
enum Column {
    Moments(Vec<Result<Moment, String>>),
    Numbers(Vec<f64>),
    Texts(StringArray),
}

fn columns(
    file: &SourceFile,
    headers: &[String],
    batch: &RecordBatch,
    times: &TimeReader,
) -> Result<Vec<Column>> {
    let convert = |(header, array): (&String, &ArrayRef)| {
        column(array, times).ok_or_else(|| {
            file.unreadable(format!(
                "column \"{header}\" is of type {}, which is not read",
                array.data_type()
            ))
        })
    };
    headers.iter().zip(batch.columns()).map(convert).collect()
}

fn column(array: &ArrayRef, times: &TimeReader) -> Option<Column> {
    const NANOS: i128 = 1_000_000_000;
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
    macro_rules! moments {
        ($kind:ty, $nanos:expr, $zone:expr) => {
            Column::Moments(
                array
                    .as_primitive::<$kind>()
                    .iter()
                    .map(|value| moment(value.map(i128::from), $nanos, $zone.is_some().then_some(times)))
                    .collect(),
            )
        };
    }
    Some(match array.data_type() {
        DataType::Float64 => numbers!(Float64Type),
        DataType::Float32 => numbers!(Float32Type),
        DataType::Int64 => numbers!(Int64Type),
        DataType::Int32 => numbers!(Int32Type),
        DataType::Int16 => numbers!(Int16Type),
        DataType::Int8 => numbers!(Int8Type),
        DataType::UInt64 => numbers!(UInt64Type),
        DataType::UInt32 => numbers!(UInt32Type),
        DataType::UInt16 => numbers!(UInt16Type),
        DataType::UInt8 => numbers!(UInt8Type),
        DataType::Utf8 => Column::Texts(array.as_string::<i32>().clone()),
        DataType::LargeUtf8 => Column::Texts(array.as_string::<i64>().iter().collect()),
        DataType::Utf8View => Column::Texts(array.as_string_view().iter().collect()),
        DataType::Date32 => moments!(Date32Type, 86_400 * NANOS, None::<()>),
        DataType::Date64 => moments!(Date64Type, NANOS / 1_000, None::<()>),
        DataType::Timestamp(TimeUnit::Second, zone) => moments!(TimestampSecondType, NANOS, zone),
        DataType::Timestamp(TimeUnit::Millisecond, zone) => {
            moments!(TimestampMillisecondType, NANOS / 1_000, zone)
        }
        DataType::Timestamp(TimeUnit::Microsecond, zone) => {
            moments!(TimestampMicrosecondType, NANOS / 1_000_000, zone)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, zone) => moments!(TimestampNanosecondType, 1, zone),
        _ => return None,
    })
}

/// The time of a count of `unit_ns` since 1970: an instant if there is a reader for those, a civil time if not.
fn moment(count: Option<i128>, unit_ns: i128, instants: Option<&TimeReader>) -> Result<Moment, String> {
    let count = count.ok_or("the date is missing")?;
    let nanos = count.checked_mul(unit_ns).ok_or("the date is out of range")?;
    if let Some(times) = instants {
        return times.instant(nanos).map(Moment::At);
    }
    let micros = i64::try_from(nanos.div_euclid(1000)).map_err(|_| "the date is out of range")?;
    civil(micros).map(Moment::At).ok_or_else(|| "the date is out of range".to_owned())
}

struct BatchRow<'a> {
    columns: &'a [Column],
    row: usize,
    cells: Cells<'a>,
}

impl Row for BatchRow<'_> {
    fn moment(&self, column: usize) -> Result<Moment, String> {
        match &self.columns[column] {
            Column::Moments(moments) => moments[self.row].clone(),
            Column::Texts(texts) if texts.is_valid(self.row) => self.cells.times.text(texts.value(self.row)),
            Column::Texts(_) => Err("the date is missing".to_owned()),
            Column::Numbers(numbers) => {
                let number = numbers[self.row];
                // A whole number can be 20200131 or a count since 1970, whose digits say which.
                if number.fract() == 0.0 && number >= 0.0 {
                    return self.cells.times.text(&format!("{number:.0}"));
                }
                Err(format!("{number} is a number, not a date; store dates as date32 or text"))
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

    fn number(&self, column: usize, repairs: &mut Repairs) -> Result<f64, String> {
        match &self.columns[column] {
            Column::Numbers(numbers) => Ok(numbers[self.row]),
            Column::Texts(texts) if texts.is_valid(self.row) => {
                number::parse(texts.value(self.row).trim(), self.cells.decimal, repairs)
            }
            Column::Texts(_) => Ok(f64::NAN),
            Column::Moments(_) => Err("the column must hold numbers".to_owned()),
        }
    }
}
