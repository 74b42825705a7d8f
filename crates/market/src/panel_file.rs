//! A panel as Parquet bytes: one row a bar, `date`, `symbol`, then the fields.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type};
use arrow_array::{Array, ArrayRef, Date32Array, Float64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use jiff::Unit;
use jiff::civil::{Date, DateTime, Time};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::panel::MAX_VALUES;
use crate::{Error, Panel, Result, parquet_table};

/// Writes every bar of a panel, by date and symbol. The same panel gives the same bytes.
///
/// What has no bar is not written: dates without any bar, and instruments without any, do not come back.
///
/// # Errors
/// [`Error::Encode`] if the encoder fails.
pub fn write_parquet(panel: &Panel) -> Result<Vec<u8>> {
    let width = panel.instruments().len();
    let bars: Vec<usize> =
        (0..panel.dates().len() * width).filter(|cell| panel.has_bar(cell / width, cell % width)).collect();
    let epoch_days: Vec<i32> = panel.dates().iter().map(|date| days_since_epoch(*date)).collect();
    let dates: Date32Array = bars.iter().map(|cell| Some(epoch_days[cell / width])).collect();
    let symbols: StringArray =
        bars.iter().map(|cell| Some(panel.instruments()[cell % width].as_str())).collect();
    let mut schema =
        vec![Field::new("date", DataType::Date32, false), Field::new("symbol", DataType::Utf8, false)];
    let mut columns: Vec<ArrayRef> = vec![Arc::new(dates), Arc::new(symbols)];
    for name in panel.field_names() {
        let values = panel.field(name).unwrap_or_default();
        let column: Float64Array =
            bars.iter().map(|cell| Some(values[*cell]).filter(|value| !value.is_nan())).collect();
        schema.push(Field::new(name, DataType::Float64, true));
        columns.push(Arc::new(column));
    }
    let schema = Arc::new(Schema::new(schema));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns)
        .map_err(|error| Error::Encode(parquet::errors::ParquetError::from(error)))?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::default()))
        .set_created_by("bellwether".to_owned())
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut writer = ArrowWriter::try_new_with_options(Vec::new(), schema, options)?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?)
}

/// Reads what [`write_parquet`] wrote.
///
/// # Errors
/// [`Error::Corrupt`] for bytes that are not such a file.
pub fn read_parquet(bytes: &Bytes) -> Result<Panel> {
    let bars = Bars::read(bytes).map_err(corrupt)?;
    let dates: Vec<i32> = bars.days.iter().copied().collect::<BTreeSet<i32>>().into_iter().collect();
    let symbols: Vec<String> =
        bars.symbols.iter().cloned().collect::<BTreeSet<String>>().into_iter().collect();
    let cells = dates.len().saturating_mul(symbols.len());
    if cells.saturating_mul(bars.fields.len()) > MAX_VALUES {
        return Err(corrupt(format!("it holds more than the limit of {MAX_VALUES} values")));
    }
    let places: Vec<usize> = bars
        .days
        .iter()
        .zip(&bars.symbols)
        .map(|(day, symbol)| {
            let date = dates.partition_point(|known| known < day);
            date * symbols.len() + symbols.partition_point(|known| known < symbol)
        })
        .collect();
    let fields: BTreeMap<String, Vec<f64>> = bars
        .fields
        .into_iter()
        .map(|(name, values)| {
            let mut column = vec![f64::NAN; cells];
            for (place, value) in places.iter().zip(values) {
                column[*place] = value;
            }
            (name, column)
        })
        .collect();
    let dates = dates
        .into_iter()
        .map(|days| from_epoch_days(days).ok_or_else(|| corrupt("a date is out of range".to_owned())))
        .collect::<Result<Vec<Date>>>()?;
    Panel::new(dates, symbols, fields)
}

fn corrupt(reason: String) -> Error {
    Error::Corrupt { path: "panel file".to_owned(), reason }
}

/// The columns of a panel file.
struct Bars {
    days: Vec<i32>,
    symbols: Vec<String>,
    fields: Vec<(String, Vec<f64>)>,
}

impl Bars {
    fn read(bytes: &Bytes) -> Result<Self, String> {
        let table = parquet_table::read(bytes)?;
        let expected = |column: usize| match column {
            0 => DataType::Date32,
            1 => DataType::Utf8,
            _ => DataType::Float64,
        };
        for (column, field) in table.schema.fields().iter().enumerate() {
            if *field.data_type() != expected(column) {
                let kind = field.data_type();
                return Err(format!("column {} is {kind}, not {}", field.name(), expected(column)));
            }
        }
        let names = table.schema.fields().iter().skip(2).map(|field| (field.name().clone(), Vec::new()));
        let mut bars = Self { days: Vec::new(), symbols: Vec::new(), fields: names.collect() };
        for batch in &table.batches {
            bars.take(batch)?;
        }
        Ok(bars)
    }

    fn take(&mut self, batch: &RecordBatch) -> Result<(), String> {
        let [dates, symbols, fields @ ..] = batch.columns() else {
            return Err("it lacks date and symbol".to_owned());
        };
        if dates.null_count() + symbols.null_count() > 0 {
            return Err("a date or symbol is missing".to_owned());
        }
        self.days.extend_from_slice(dates.as_primitive::<Date32Type>().values());
        self.symbols.extend(symbols.as_string::<i32>().iter().flatten().map(str::to_owned));
        for ((_, values), column) in self.fields.iter_mut().zip(fields) {
            let column = column.as_primitive::<Float64Type>();
            values.extend(column.iter().map(|value| value.unwrap_or(f64::NAN)));
        }
        Ok(())
    }
}

const EPOCH: Date = jiff::civil::date(1970, 1, 1);

pub(crate) fn days_since_epoch(date: Date) -> i32 {
    EPOCH.until((Unit::Day, date)).map_or(0, |span| span.get_days())
}

/// Microseconds of a civil time since the start of 1970.
pub(crate) fn micros_since_epoch(time: DateTime) -> i64 {
    const MICROS_A_DAY: i64 = 86_400_000_000;
    let within = time.time().duration_since(Time::midnight()).as_micros();
    i64::from(days_since_epoch(time.date())) * MICROS_A_DAY + i64::try_from(within).unwrap_or_default()
}

fn from_epoch_days(days: i32) -> Option<Date> {
    EPOCH.checked_add(jiff::Span::new().try_days(days).ok()?).ok()
}
