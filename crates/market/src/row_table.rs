//! Rows computed elsewhere: a Parquet file of features, labels and a column that says which rows train, validate and
//! test. Read batch by batch into row-major blocks, so that memory is the result and one batch.
//!
//! Deliberately not here: bars. Nothing about when such a column was known can be checked.

mod stream;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type, UInt32Type,
    UInt64Type,
};
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::{DataType, Schema};
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{
    ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};

pub use stream::RowStream;

use crate::nearest::unknown;
use crate::{Error, Result};

/// Rows turned from columns at once.
const BATCH_ROWS: usize = 4096;
/// Numbers of all rows together: 16 Gi.
const VALUES_MAX: usize = 1 << 34;

/// Which columns are what.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowColumns {
    /// Features, in the model's order; all numeric columns without another role if empty.
    pub features: Vec<String>,
    /// What is to be learned.
    pub labels: Vec<String>,
    /// How many classes the label has, if it is one of classes.
    pub classes: Option<usize>,
    /// `train`, `valid`, `test` for each row; rows that say anything else are left out.
    pub split: String,
    /// The date of each row, if there is one.
    pub date: Option<String>,
    /// The instrument of each row, if there is one.
    pub symbol: Option<String>,
    /// How much each row counts, if there is one.
    pub weight: Option<String>,
    /// Whether the features of training rows stay in the file, to be read by a [`RowStream`].
    pub streams: bool,
}

/// The rows of one part.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RowBlock {
    /// Row-major, as wide as there are features; empty if they stay in the file.
    pub features: Vec<f32>,
    /// The class of each row, if the label is one of classes.
    pub classes: Vec<u32>,
    /// Numbers of each row, row-major, if it is not.
    pub values: Vec<f32>,
    /// How much each row counts; empty if no column says.
    pub weights: Vec<f32>,
    /// A number for the date of each row, the same for the same date; empty if no column says.
    pub dates: Vec<u32>,
    /// Rows.
    pub rows: usize,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq)]
pub struct RowTable {
    /// Names of the features, in the order of the columns of each block.
    pub names: Vec<String>,
    /// Rows to learn from.
    pub train: RowBlock,
    /// Rows to be measured on while learning; may be empty.
    pub valid: RowBlock,
    /// Rows to be measured on at the end; may be empty.
    pub test: RowBlock,
    /// Rows that are of no part.
    pub left_out: usize,
}

impl RowTable {
    /// Names of the features of a file, without reading its rows.
    ///
    /// # Errors
    /// As [`RowTable::read`].
    pub fn feature_names(path: &Path, columns: &RowColumns) -> Result<Vec<String>> {
        let names = || -> Result<Vec<String>, String> {
            let builder = open(path)?;
            let roles = Roles::new(builder.schema(), columns)?;
            Ok(roles.features.iter().map(|at| builder.schema().field(*at).name().clone()).collect())
        };
        catch_unwind(AssertUnwindSafe(names))
            .unwrap_or_else(|_| Err("it contradicts itself".to_owned()))
            .map_err(|reason| Error::File { file: path.display().to_string(), reason })
    }

    /// Reads a Parquet file.
    ///
    /// # Errors
    /// [`Error::File`] naming the file, and the column, row and value that cannot be.
    pub fn read(path: &Path, columns: &RowColumns) -> Result<Self> {
        let refuse = |reason: String| Error::File { file: path.display().to_string(), reason };
        // The reader checks much of a damaged file by assertion; none of its state outlives this call.
        catch_unwind(AssertUnwindSafe(|| unguarded(path, columns)))
            .unwrap_or_else(|_| Err("it contradicts itself".to_owned()))
            .map_err(refuse)
    }
}

fn unguarded(path: &Path, columns: &RowColumns) -> Result<RowTable, String> {
    let builder = open(path)?;
    let schema = Schema::clone(builder.schema());
    let roles = Roles::new(&schema, columns)?;
    let rows = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    if rows.saturating_mul(roles.features.len().max(1)) > VALUES_MAX {
        return Err(format!("its {rows} rows of {} features are more than is read", roles.features.len()));
    }
    let counts = count_parts(builder, roles.split)?;
    let names = roles.features.iter().map(|at| schema.field(*at).name().clone()).collect();
    let mut table = RowTable {
        names,
        train: RowBlock::default(),
        valid: RowBlock::default(),
        test: RowBlock::default(),
        left_out: rows - counts.iter().sum::<usize>(),
    };
    let width = roles.features.len();
    for (part, block) in [&mut table.train, &mut table.valid, &mut table.test].into_iter().enumerate() {
        if part > 0 || !columns.streams {
            block.features.reserve_exact(counts[part] * width);
        }
    }
    let builder = open(path)?;
    let mask = ProjectionMask::roots(builder.parquet_schema(), roles.all());
    let reader = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(text)?;
    let places = roles.within_projection();
    let mut reading = Reading { roles: &places, config: columns, dates: BTreeMap::new(), first_row: 0 };
    for batch in reader {
        reading.batch(&batch.map_err(text)?, &mut table)?;
    }
    Ok(table)
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

fn open(path: &Path) -> Result<ParquetRecordBatchReaderBuilder<File>, String> {
    let file = File::open(path).map_err(text)?;
    // The Arrow schema a writer may have embedded says nothing that the Parquet types do not.
    let plain = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    ParquetRecordBatchReaderBuilder::try_new_with_options(file, plain).map_err(text)
}

/// Rows of `train`, `valid` and `test`.
fn count_parts(builder: ParquetRecordBatchReaderBuilder<File>, split: usize) -> Result<[usize; 3], String> {
    let mask = ProjectionMask::roots(builder.parquet_schema(), [split]);
    let reader: ParquetRecordBatchReader =
        builder.with_projection(mask).with_batch_size(BATCH_ROWS).build().map_err(text)?;
    let mut counts = [0; 3];
    for batch in reader {
        for part in parts(batch.map_err(text)?.column(0))?.into_iter().flatten() {
            counts[part] += 1;
        }
    }
    Ok(counts)
}

/// The part of each row: 0 train, 1 valid, 2 test.
fn parts(column: &ArrayRef) -> Result<Vec<Option<usize>>, String> {
    let part = |text: Option<&str>| match text {
        Some("train") => Some(0),
        Some("valid") => Some(1),
        Some("test") => Some(2),
        _ => None,
    };
    match column.data_type() {
        DataType::Utf8 => Ok(column.as_string::<i32>().iter().map(part).collect()),
        DataType::LargeUtf8 => Ok(column.as_string::<i64>().iter().map(part).collect()),
        other => Err(format!(
            "the split column is of type {other}; it must be text: \"train\", \"valid\" or \"test\" for each row"
        )),
    }
}

/// Places of the columns in the file, or in a batch.
#[derive(Debug, Clone)]
struct Roles {
    features: Vec<usize>,
    labels: Vec<usize>,
    split: usize,
    date: Option<usize>,
    weight: Option<usize>,
}

impl Roles {
    fn new(schema: &Schema, columns: &RowColumns) -> Result<Self, String> {
        let names: Vec<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        let place = |name: &String| {
            names.iter().position(|known| known == name).ok_or_else(|| unknown("column", name, &names))
        };
        let optional = |name: &Option<String>| name.as_ref().map(place).transpose();
        let labels = columns.labels.iter().map(place).collect::<Result<Vec<_>, _>>()?;
        let (split, date) = (place(&columns.split)?, optional(&columns.date)?);
        let (symbol, weight) = (optional(&columns.symbol)?, optional(&columns.weight)?);
        let mut taken: BTreeSet<usize> = labels.iter().copied().chain([split]).collect();
        taken.extend([date, symbol, weight].into_iter().flatten());
        let features = if columns.features.is_empty() {
            let numeric = |at: &usize| schema.field(*at).data_type().is_numeric() && !taken.contains(at);
            (0..names.len()).filter(numeric).collect()
        } else {
            columns.features.iter().map(place).collect::<Result<Vec<_>, _>>()?
        };
        if let Some(at) = features.iter().find(|at| taken.contains(at)) {
            return Err(format!("column \"{}\" is a feature and has another role as well", names[*at]));
        }
        let distinct: BTreeSet<&usize> = features.iter().collect();
        if features.is_empty() || distinct.len() < features.len() {
            return Err("it has no feature column, or one is named twice".to_owned());
        }
        Ok(Self { features, labels, split, date, weight })
    }

    fn all(&self) -> Vec<usize> {
        let others = [Some(self.split), self.date, self.weight].into_iter().flatten();
        let mut all: Vec<usize> = self.features.iter().chain(&self.labels).copied().chain(others).collect();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The places in batches that hold [`Roles::all`] alone.
    fn within_projection(&self) -> Self {
        let all = self.all();
        let place = |at: usize| all.binary_search(&at).unwrap_or_default();
        Self {
            features: self.features.iter().map(|at| place(*at)).collect(),
            labels: self.labels.iter().map(|at| place(*at)).collect(),
            split: place(self.split),
            date: self.date.map(place),
            weight: self.weight.map(place),
        }
    }
}

/// A file being read.
struct Reading<'a> {
    roles: &'a Roles,
    config: &'a RowColumns,
    /// A number for each date, in the order they were met.
    dates: BTreeMap<String, u32>,
    first_row: usize,
}

impl Reading<'_> {
    fn batch(&mut self, batch: &RecordBatch, table: &mut RowTable) -> Result<(), String> {
        let parts = parts(batch.column(self.roles.split))?;
        let rows = batch.num_rows();
        let width = self.roles.features.len();
        let mut values = vec![0.0f32; rows * width];
        for (at, column) in self.roles.features.iter().enumerate() {
            for (row, value) in numbers(batch, *column)?.into_iter().enumerate() {
                values[row * width + at] = value as f32;
            }
        }
        let labels = self.roles.labels.iter().map(|at| numbers(batch, *at)).collect::<Result<Vec<_>, _>>()?;
        let weights = self.roles.weight.map(|at| numbers(batch, at)).transpose()?;
        let dates = match self.roles.date {
            Some(at) => self.numbered(batch.column(at))?,
            None => Vec::new(),
        };
        for (row, part) in parts.into_iter().enumerate() {
            let Some(part) = part else { continue };
            let block = match part {
                0 => &mut table.train,
                1 => &mut table.valid,
                _ => &mut table.test,
            };
            block.rows += 1;
            if part > 0 || !self.config.streams {
                block.features.extend_from_slice(&values[row * width..(row + 1) * width]);
            }
            block.weights.extend(weights.as_ref().map(|weights| weights[row] as f32));
            block.dates.extend(dates.get(row));
            match self.config.classes {
                Some(classes) => block.classes.push(self.class(labels[0][row], row, classes)?),
                None => block.values.extend(labels.iter().map(|label| label[row] as f32)),
            }
        }
        self.first_row += rows;
        Ok(())
    }

    fn class(&self, value: f64, row: usize, classes: usize) -> Result<u32, String> {
        if value.fract() == 0.0 && (0.0..classes as f64).contains(&value) {
            return Ok(value as u32);
        }
        let column = &self.config.labels[0];
        let row = self.first_row + row;
        Err(format!(
            "column \"{column}\" is {value} in row {row} (counted from 0); a class is a whole number of 0 to {}",
            classes - 1
        ))
    }

    /// The number of each row's date.
    fn numbered(&mut self, column: &ArrayRef) -> Result<Vec<u32>, String> {
        let mut number = |text: String| {
            let next = self.dates.len() as u32;
            *self.dates.entry(text).or_insert(next)
        };
        match column.data_type() {
            DataType::Utf8 => Ok(column
                .as_string::<i32>()
                .iter()
                .map(|text| number(text.unwrap_or_default().to_owned()))
                .collect()),
            DataType::Date32 => {
                let days = column.as_primitive::<arrow_array::types::Date32Type>();
                Ok(days.values().iter().map(|day| number(day.to_string())).collect())
            }
            DataType::Int64 | DataType::Timestamp(..) => {
                let data = column.to_data();
                let values: &[i64] = data.buffer(0);
                Ok(values.iter().map(|value| number(value.to_string())).collect())
            }
            other => Err(format!("the date column is of type {other}; it must be a date, a time or text")),
        }
    }
}

/// A numeric column; a missing value is NaN.
fn numbers(batch: &RecordBatch, at: usize) -> Result<Vec<f64>, String> {
    let column = batch.column(at);
    macro_rules! as_f64 {
        ($kind:ty) => {{
            let array = column.as_primitive::<$kind>();
            if array.null_count() == 0 {
                array.values().iter().map(|value| *value as f64).collect()
            } else {
                array.iter().map(|value| value.map_or(f64::NAN, |value| value as f64)).collect()
            }
        }};
    }
    Ok(match column.data_type() {
        DataType::Float32 => as_f64!(Float32Type),
        DataType::Float64 => as_f64!(Float64Type),
        DataType::Int8 => as_f64!(Int8Type),
        DataType::Int16 => as_f64!(Int16Type),
        DataType::Int32 => as_f64!(Int32Type),
        DataType::Int64 => as_f64!(Int64Type),
        DataType::UInt8 => as_f64!(UInt8Type),
        DataType::UInt16 => as_f64!(UInt16Type),
        DataType::UInt32 => as_f64!(UInt32Type),
        DataType::UInt64 => as_f64!(UInt64Type),
        other => {
            let name = batch.schema().field(at).name().clone();
            return Err(format!("column \"{name}\" is of type {other}; it must be a number"));
        }
    })
}
