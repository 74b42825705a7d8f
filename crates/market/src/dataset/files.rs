//! A data set as Parquet files, readable by any tool: `bars.parquet`, and one for each table that has rows.
//!
//! `bars.parquet`: `date` (or `time` within the day), `symbol`, `known_time`, then the fields, one row a version
//! of a bar. A file without `known_time` (`panel.parquet` of the first version) has bars known at their close.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{Date32Type, Float64Type, Int32Type, TimestampMicrosecondType};
use arrow_array::{
    Array, ArrayRef, Date32Array, Float64Array, Int32Array, RecordBatch, StringArray,
    TimestampMicrosecondArray,
};
use arrow_schema::DataType;
use bytes::Bytes;
use jiff::civil::{Date, DateTime};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::Compression;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;

use super::history::{History, ROWS_MAX};
use super::tables::{Action, Group, Member, Point, Tables};
use super::{Adjustment, Dataset, Timing};
use crate::civil_time::{MICROS_A_DAY, civil, days_since_epoch, from_epoch_days, micros};
use crate::{Error, Result, parquet_table};

const BARS: &str = "bars.parquet";
/// What the bars were called before there were versions of them.
const BARS_V1: &str = "panel.parquet";
const ACTIONS: &str = "actions.parquet";
const POINTS: &str = "points.parquet";
const GROUPS: &str = "groups.parquet";
const MEMBERS: &str = "members.parquet";
const CALENDAR: &str = "calendar.parquet";
/// Rows turned into columns at once.
const PART_ROWS: usize = 64 << 10;

impl Dataset {
    /// The files, by name. The same data set gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Encode`] if the encoder fails.
    pub fn to_files(&self) -> Result<Vec<(String, Bytes)>> {
        let mut files = vec![(BARS, self.bars_file()?)];
        let Tables { actions, points, groups, members, calendar } = &self.tables;
        if !actions.is_empty() {
            let columns = vec![
                ("symbol", texts(actions.iter().map(|row| row.symbol.as_str()))),
                ("date", days(actions.iter().map(|row| Some(row.date)))),
                ("split", numbers(actions.iter().map(|row| row.split))),
                ("dividend", numbers(actions.iter().map(|row| row.dividend))),
                ("known_time", times(actions.iter().map(|row| row.known))),
            ];
            files.push((ACTIONS, encode(columns)?));
        }
        if !points.is_empty() {
            let columns = vec![
                ("symbol", texts(points.iter().map(|row| row.symbol.as_str()))),
                ("field", texts(points.iter().map(|row| row.field.as_str()))),
                ("period", texts(points.iter().map(|row| row.period.as_str()))),
                ("published_time", times(points.iter().map(|row| row.published))),
                ("value", numbers(points.iter().map(|row| row.value))),
            ];
            files.push((POINTS, encode(columns)?));
        }
        if !groups.is_empty() {
            let codes = groups.iter().map(|row| i32::try_from(row.code).unwrap_or(i32::MAX));
            let columns: Vec<(&str, ArrayRef)> = vec![
                ("field", texts(groups.iter().map(|row| row.field.as_str()))),
                ("symbol", texts(groups.iter().map(|row| row.symbol.as_str()))),
                ("from", days(groups.iter().map(|row| Some(row.from)))),
                ("group", texts(groups.iter().map(|row| row.label.as_str()))),
                ("code", Arc::new(Int32Array::from_iter_values(codes))),
                ("known_time", times(groups.iter().map(|row| row.known))),
            ];
            files.push((GROUPS, encode(columns)?));
        }
        if !members.is_empty() {
            let columns = vec![
                ("universe", texts(members.iter().map(|row| row.universe.as_str()))),
                ("symbol", texts(members.iter().map(|row| row.symbol.as_str()))),
                ("from", days(members.iter().map(|row| Some(row.from)))),
                ("to", days(members.iter().map(|row| row.to))),
                ("known_time", times(members.iter().map(|row| row.known))),
            ];
            files.push((MEMBERS, encode(columns)?));
        }
        if !calendar.is_empty() {
            files.push((CALENDAR, encode(vec![("date", days(calendar.iter().map(|day| Some(*day))))])?));
        }
        Ok(files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect())
    }

    /// Written in parts, so that no second copy of the bars is made.
    fn bars_file(&self) -> Result<Bytes> {
        let history = &self.history;
        let fixed = 2 * size_of::<i64>() + size_of::<u32>();
        let mut file = None;
        for from in (0..history.len().max(1)).step_by(PART_ROWS) {
            let part = from..(from + PART_ROWS).min(history.len());
            let mut columns: Vec<(&str, ArrayRef)> = Vec::new();
            if self.timing.daily {
                // Times of daily bars were days when they were read.
                let days = history.time[part.clone()].iter().map(|time| time.div_euclid(MICROS_A_DAY) as i32);
                columns.push(("date", Arc::new(Date32Array::from_iter_values(days))));
            } else {
                let micros = history.time[part.clone()].iter().copied();
                columns.push(("time", Arc::new(TimestampMicrosecondArray::from_iter_values(micros))));
            }
            let symbols =
                history.symbol[part.clone()].iter().map(|at| history.symbols[*at as usize].as_str());
            columns.push(("symbol", texts(symbols)));
            let known = history.known[part.clone()].iter().copied();
            columns.push(("known_time", Arc::new(TimestampMicrosecondArray::from_iter_values(known))));
            for (field, values) in history.fields.iter().zip(&history.columns) {
                columns.push((field, numbers(values[part.clone()].iter().copied())));
            }
            let batch = batch(columns)?;
            let writer = match &mut file {
                Some(writer) => writer,
                none => {
                    let row_bytes = fixed + history.columns.len() * size_of::<f64>();
                    none.insert(writer(&batch, history.len() * row_bytes)?)
                }
            };
            writer.write(&batch)?;
        }
        match file {
            Some(writer) => Ok(writer.into_inner()?.into()),
            None => Err(corrupt(BARS, "there is no bar to write".to_owned())),
        }
    }

    /// Reads what [`Dataset::to_files`] gave.
    ///
    /// # Errors
    /// [`Error::Corrupt`] naming the file that is not what it should be.
    pub fn from_files(files: &[(String, Bytes)], timing: Timing, adjustment: Adjustment) -> Result<Self> {
        let find = |name: &str| files.iter().find(|(known, _)| known == name).map(|(_, bytes)| bytes);
        let Some((name, bars)) = [BARS, BARS_V1].into_iter().find_map(|name| find(name).map(|b| (name, b)))
        else {
            return Err(corrupt(BARS, "it is missing".to_owned()));
        };
        let history = read_bars(bars, &timing).map_err(|reason| corrupt(name, reason))?;
        let mut tables = Tables::default();
        if let Some(bytes) = find(ACTIONS) {
            tables.actions = read_actions(bytes).map_err(|reason| corrupt(ACTIONS, reason))?;
        }
        if let Some(bytes) = find(POINTS) {
            tables.points = read_points(bytes).map_err(|reason| corrupt(POINTS, reason))?;
        }
        if let Some(bytes) = find(GROUPS) {
            tables.groups = read_groups(bytes).map_err(|reason| corrupt(GROUPS, reason))?;
        }
        if let Some(bytes) = find(MEMBERS) {
            tables.members = read_members(bytes).map_err(|reason| corrupt(MEMBERS, reason))?;
        }
        if let Some(bytes) = find(CALENDAR) {
            let days = Columns::read(bytes).and_then(|columns| columns.days("date"));
            tables.calendar = days.and_then(present).map_err(|reason| corrupt(CALENDAR, reason))?;
        }
        Ok(Self { timing, adjustment, history, tables })
    }
}

fn corrupt(file: &str, reason: String) -> Error {
    Error::Corrupt { path: file.to_owned(), reason }
}

fn texts<'a>(values: impl Iterator<Item = &'a str>) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

/// NaN is kept as null.
fn numbers(values: impl Iterator<Item = f64>) -> ArrayRef {
    Arc::new(values.map(|value| Some(value).filter(|value| !value.is_nan())).collect::<Float64Array>())
}

fn days(values: impl Iterator<Item = Option<Date>>) -> ArrayRef {
    Arc::new(values.map(|day| day.map(days_since_epoch)).collect::<Date32Array>())
}

fn times(values: impl Iterator<Item = DateTime>) -> ArrayRef {
    Arc::new(TimestampMicrosecondArray::from_iter_values(values.map(micros)))
}

fn encode(columns: Vec<(&str, ArrayRef)>) -> Result<Bytes> {
    let batch = batch(columns)?;
    let mut writer = writer(&batch, batch.get_array_memory_size())?;
    writer.write(&batch)?;
    Ok(writer.into_inner()?.into())
}

/// Every number may be missing, nothing else but the end of a spell.
fn batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch> {
    let nullable = |name: &str, column: &ArrayRef| *column.data_type() == DataType::Float64 || name == "to";
    let columns = columns.into_iter().map(|(name, column)| {
        let nullable = nullable(name, &column);
        (name, column, nullable)
    });
    RecordBatch::try_from_iter_with_nullable(columns)
        .map_err(|error| Error::Encode(parquet::errors::ParquetError::from(error)))
}

/// A writer of batches like this one, of about so many bytes.
fn writer(batch: &RecordBatch, bytes: usize) -> Result<ArrowWriter<Vec<u8>>> {
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::SNAPPY)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("bellwether".to_owned());
    // The digits of prices repeat too rarely for a dictionary, and do not compress; names and days do both.
    for field in batch.schema().fields().iter().filter(|field| *field.data_type() == DataType::Float64) {
        let column: ColumnPath = field.name().as_str().into();
        properties = properties
            .set_column_dictionary_enabled(column.clone(), false)
            .set_column_compression(column, Compression::UNCOMPRESSED);
    }
    let options =
        ArrowWriterOptions::new().with_properties(properties.build()).with_skip_arrow_metadata(true);
    Ok(ArrowWriter::try_new_with_options(Vec::with_capacity(bytes), batch.schema(), options)?)
}

fn read_bars(bytes: &Bytes, timing: &Timing) -> Result<History, String> {
    let columns = Columns::read(bytes)?;
    let time: Vec<i64> = if timing.daily {
        columns.each("date", &DataType::Date32, |array| {
            array
                .as_primitive::<Date32Type>()
                .values()
                .iter()
                .map(|day| i64::from(*day).saturating_mul(MICROS_A_DAY))
                .collect()
        })?
    } else {
        columns.micros("time")?
    };
    within_range(&time)?;
    let known = match columns.find("known_time") {
        Some(_) => columns.micros("known_time")?,
        None => time.iter().map(|time| timing.known(*time)).collect(),
    };
    within_range(&known)?;
    let names = columns.texts("symbol")?;
    let mut symbols: Vec<&String> = names.iter().collect();
    symbols.sort_unstable();
    symbols.dedup();
    let symbol = names.iter().map(|name| symbols.partition_point(|known| *known < name) as u32).collect();
    let mut fields: Vec<String> = columns.names();
    fields.retain(|name| !["date", "time", "symbol", "known_time"].contains(&name.as_str()));
    fields.sort_unstable();
    let history = History {
        symbols: symbols.into_iter().cloned().collect(),
        columns: fields.iter().map(|field| columns.numbers(field)).collect::<Result<_, _>>()?,
        fields,
        time,
        symbol,
        known,
    };
    let key = |row: usize| (history.time[row], history.symbol[row], history.known[row]);
    match (1..history.len()).find(|row| key(row - 1) >= key(*row)) {
        None => Ok(history),
        Some(row) => Err(format!("row {} is out of order", row + 1)),
    }
}

fn within_range(times: &[i64]) -> Result<(), String> {
    match times.iter().find(|time| civil(**time).is_none()) {
        None => Ok(()),
        Some(beyond) => Err(format!("a time is out of range: {beyond}")),
    }
}

fn read_actions(bytes: &Bytes) -> Result<Vec<Action>, String> {
    let columns = Columns::read(bytes)?;
    let (symbols, dates) = (columns.texts("symbol")?, present(columns.days("date")?)?);
    let (splits, dividends) = (columns.numbers("split")?, columns.numbers("dividend")?);
    let known = columns.times("known_time")?;
    let rows = symbols.into_iter().zip(dates).zip(splits).zip(dividends).zip(known);
    Ok(rows
        .map(|((((symbol, date), split), dividend), known)| Action { symbol, date, split, dividend, known })
        .collect())
}

fn read_points(bytes: &Bytes) -> Result<Vec<Point>, String> {
    let columns = Columns::read(bytes)?;
    let (symbols, fields, periods) =
        (columns.texts("symbol")?, columns.texts("field")?, columns.texts("period")?);
    let (published, values) = (columns.times("published_time")?, columns.numbers("value")?);
    let rows = symbols.into_iter().zip(fields).zip(periods).zip(published).zip(values);
    Ok(rows
        .map(|((((symbol, field), period), published), value)| Point {
            symbol,
            field,
            period,
            published,
            value,
        })
        .collect())
}

fn read_groups(bytes: &Bytes) -> Result<Vec<Group>, String> {
    let columns = Columns::read(bytes)?;
    let (fields, symbols, labels) =
        (columns.texts("field")?, columns.texts("symbol")?, columns.texts("group")?);
    let (from, known) = (present(columns.days("from")?)?, columns.times("known_time")?);
    let codes = columns
        .each("code", &DataType::Int32, |array| array.as_primitive::<Int32Type>().values().to_vec())?;
    let codes: Vec<u32> = codes
        .into_iter()
        .map(|code| u32::try_from(code).map_err(|_| format!("group number {code} is below 0")))
        .collect::<Result<_, _>>()?;
    let rows = fields.into_iter().zip(symbols).zip(labels).zip(from).zip(codes).zip(known);
    Ok(rows
        .map(|(((((field, symbol), label), from), code), known)| Group {
            field,
            symbol,
            from,
            label,
            code,
            known,
        })
        .collect())
}

fn read_members(bytes: &Bytes) -> Result<Vec<Member>, String> {
    let columns = Columns::read(bytes)?;
    let (universes, symbols) = (columns.texts("universe")?, columns.texts("symbol")?);
    let (from, to) = (present(columns.days("from")?)?, columns.days("to")?);
    let known = columns.times("known_time")?;
    let rows = universes.into_iter().zip(symbols).zip(from).zip(to).zip(known);
    Ok(rows
        .map(|((((universe, symbol), from), to), known)| Member { universe, symbol, from, to, known })
        .collect())
}

fn present(days: Vec<Option<Date>>) -> Result<Vec<Date>, String> {
    days.into_iter().map(|day| day.ok_or_else(|| "a date is missing".to_owned())).collect()
}

/// The columns of a file, by name.
struct Columns {
    table: parquet_table::Table,
}

impl Columns {
    fn read(bytes: &Bytes) -> Result<Self, String> {
        let table = parquet_table::read(bytes)?;
        let rows: usize = table.batches.iter().map(RecordBatch::num_rows).sum();
        if rows > ROWS_MAX {
            return Err(format!("it has {rows} rows; at most {ROWS_MAX} are read"));
        }
        Ok(Self { table })
    }

    fn names(&self) -> Vec<String> {
        self.table.schema.fields().iter().map(|field| field.name().clone()).collect()
    }

    fn find(&self, name: &str) -> Option<usize> {
        self.table.schema.fields().iter().position(|field| field.name() == name)
    }

    /// The values of a column of a type.
    fn each<T>(
        &self,
        name: &str,
        kind: &DataType,
        values: impl Fn(&ArrayRef) -> Vec<T>,
    ) -> Result<Vec<T>, String> {
        let at = self.find(name).ok_or_else(|| format!("column {name} is missing"))?;
        let found = self.table.schema.field(at).data_type();
        if found != kind {
            return Err(format!("column {name} is {found}, not {kind}"));
        }
        let nullable = ["to"].contains(&name) || *kind == DataType::Float64;
        if !nullable && self.table.batches.iter().any(|batch| batch.column(at).null_count() > 0) {
            return Err(format!("a value of column {name} is missing"));
        }
        Ok(self.table.batches.iter().flat_map(|batch| values(batch.column(at))).collect())
    }

    fn texts(&self, name: &str) -> Result<Vec<String>, String> {
        self.each(name, &DataType::Utf8, |array| {
            array.as_string::<i32>().iter().flatten().map(str::to_owned).collect()
        })
    }

    fn numbers(&self, name: &str) -> Result<Vec<f64>, String> {
        self.each(name, &DataType::Float64, |array| {
            array.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)).collect()
        })
    }

    fn days(&self, name: &str) -> Result<Vec<Option<Date>>, String> {
        let found = self.each(name, &DataType::Date32, |array| {
            array.as_primitive::<Date32Type>().iter().collect::<Vec<Option<i32>>>()
        })?;
        found
            .into_iter()
            .map(|day| {
                day.map(|day| from_epoch_days(day).ok_or("a date is out of range".to_owned())).transpose()
            })
            .collect()
    }

    fn micros(&self, name: &str) -> Result<Vec<i64>, String> {
        let kind = DataType::Timestamp(arrow_schema::TimeUnit::Microsecond, None);
        self.each(name, &kind, |array| array.as_primitive::<TimestampMicrosecondType>().values().to_vec())
    }

    fn times(&self, name: &str) -> Result<Vec<DateTime>, String> {
        let micros = self.micros(name)?;
        micros.into_iter().map(|at| civil(at).ok_or("a time is out of range".to_owned())).collect()
    }
}
