//! Answers of a model as a file: a column of numbers an output, the columns that were kept, and which version answered.
//!
//! In Parquet an output of several numbers a row is a list of fixed size, and the version is in the file's metadata; in
//! CSV it is a column for each number, and the version a column. JSON lines keep the shape of an output.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, Int32Array, Int64Array,
    RecordBatch,
};
use arrow_schema::{DataType, Field, Schema, SchemaRef};
use parquet::arrow::ArrowWriter;
use parquet::basic::Compression;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::RowFormat;
use super::kept::{Kept, write_cell};
use crate::{Error, Result};

/// The column, and the key of the metadata, that says which version answered.
const VERSION: &str = "model_version";
const FILE_VERSION: &str = "bellwether.model_version";
const FILE_DIGEST: &str = "bellwether.model_digest";

/// A format of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AnswerFormat {
    /// A format that rows have as well.
    Rows(RowFormat),
    /// `{"instance": ..., "prediction": ...}` a line, as Vertex AI's batch predictions are: rows without an answer are not
    /// in it.
    Predictions,
}

impl AnswerFormat {
    /// The format of a name: `csv`, `jsonl`, `parquet`, `predictions`.
    pub fn named(name: &str) -> Option<Self> {
        if name == "predictions" { Some(Self::Predictions) } else { RowFormat::named(name).map(Self::Rows) }
    }

    /// Whether a file is its parts one after the other.
    pub fn is_text(self) -> bool {
        self != Self::Rows(RowFormat::Parquet)
    }
}

/// The type of numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NumberType {
    /// 32-bit float.
    Float32,
    /// 64-bit float.
    Float64,
    /// 32-bit integer.
    Int32,
    /// 64-bit integer.
    Int64,
    /// Truth value.
    Bool,
}

/// Numbers, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum Numbers {
    /// 32-bit floats.
    Float32(Vec<f32>),
    /// 64-bit floats.
    Float64(Vec<f64>),
    /// 32-bit integers.
    Int32(Vec<i32>),
    /// 64-bit integers.
    Int64(Vec<i64>),
    /// Truth values.
    Bool(Vec<bool>),
}

/// An output of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerColumn {
    /// Its name.
    pub name: String,
    /// The shape of a row of it; empty if that is one number.
    pub shape: Vec<usize>,
    /// The type of its numbers.
    pub kind: NumberType,
}

impl AnswerColumn {
    /// Numbers a row.
    pub fn width(&self) -> usize {
        self.shape.iter().product()
    }
}

/// What a file of answers holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnswerLayout {
    /// Names of the columns that are kept.
    pub kept: Vec<String>,
    /// The outputs.
    pub outputs: Vec<AnswerColumn>,
    /// Which version answers: `MODEL@VERSION`.
    pub version: String,
    /// The SHA-256 of that version's manifest, in hexadecimal.
    pub digest: String,
}

/// Answers to a stretch of rows.
#[derive(Debug, Default)]
pub struct AnswerBlock {
    /// Rows.
    pub rows: usize,
    /// Whether each row was answered; empty if all were.
    pub answered: Vec<bool>,
    /// The outputs, whole rows each; what stands in a row that was not answered means nothing.
    pub outputs: Vec<Numbers>,
    /// The columns that are kept.
    pub kept: Vec<Kept>,
    /// Each row as JSON, for [`AnswerFormat::Predictions`].
    pub instances: Vec<String>,
}

impl AnswerBlock {
    fn has(&self, row: usize) -> bool {
        self.answered.get(row).copied().unwrap_or(true)
    }
}

/// Writes answers as they come. A CSV file's header is written apart, so that parts can be put together.
pub struct AnswerWriter<W: Write + Send> {
    layout: AnswerLayout,
    form: Form<W>,
    buffer: Vec<u8>,
    bytes: u64,
}

enum Form<W: Write + Send> {
    Text(AnswerFormat, W),
    /// The file is begun with the first block, which says what types the kept columns have.
    Waiting(W),
    Parquet(Box<ArrowWriter<W>>, SchemaRef),
    /// Between two of them, while one is made.
    Gone,
}

impl<W: Write + Send> AnswerWriter<W> {
    /// Begins a file.
    pub fn new(out: W, format: AnswerFormat, layout: AnswerLayout) -> Self {
        let form = if format.is_text() { Form::Text(format, out) } else { Form::Waiting(out) };
        Self { layout, form, buffer: Vec::new(), bytes: 0 }
    }

    /// Writes the line of column names, if the format has one.
    ///
    /// # Errors
    /// [`Error::Answers`].
    pub fn header(&mut self) -> Result<()> {
        let line = header(&self.layout);
        match &mut self.form {
            Form::Text(AnswerFormat::Rows(RowFormat::Csv), out) => out.write_all(&line).map_err(failed),
            _ => Ok(()),
        }
    }

    /// Writes a block.
    ///
    /// # Errors
    /// [`Error::Answers`] if it cannot be written, or its kept columns have other types than those before.
    pub fn write(&mut self, block: &AnswerBlock) -> Result<()> {
        self.begin(&block.kept)?;
        match &mut self.form {
            Form::Text(format, out) => {
                self.buffer.clear();
                for row in 0..block.rows {
                    text_row(*format, &self.layout, (block, row), &mut self.buffer);
                }
                self.bytes += self.buffer.len() as u64;
                out.write_all(&self.buffer).map_err(failed)
            }
            Form::Parquet(writer, schema) => {
                let batch = batch(schema, &self.layout, block)?;
                writer.write(&batch).map_err(failed)?;
                self.bytes = (writer.bytes_written() + writer.in_progress_size()) as u64;
                Ok(())
            }
            Form::Waiting(_) | Form::Gone => Ok(()),
        }
    }

    /// Bytes written so far, about.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Ends the file and hands back what it was written to.
    ///
    /// # Errors
    /// [`Error::Answers`].
    pub fn finish(mut self) -> Result<W> {
        self.begin(&[])?;
        match self.form {
            Form::Text(_, mut out) | Form::Waiting(mut out) => {
                out.flush().map_err(failed)?;
                Ok(out)
            }
            Form::Parquet(writer, _) => writer.into_inner().map_err(failed),
            Form::Gone => Err(Error::Answers("it failed before".to_owned())),
        }
    }

    fn begin(&mut self, kept: &[Kept]) -> Result<()> {
        if !matches!(self.form, Form::Waiting(_)) {
            return Ok(());
        }
        let Form::Waiting(out) = std::mem::replace(&mut self.form, Form::Gone) else {
            return Ok(());
        };
        let schema = schema(&self.layout, kept);
        let writer = ArrowWriter::try_new(out, Arc::clone(&schema), Some(properties(&self.layout)));
        self.form = Form::Parquet(Box::new(writer.map_err(failed)?), schema);
        Ok(())
    }
}

/// The line of a CSV file's column names.
pub(super) fn header(layout: &AnswerLayout) -> Vec<u8> {
    let mut names: Vec<String> = layout.kept.clone();
    for output in &layout.outputs {
        match output.width() {
            1 => names.push(output.name.clone()),
            width => names.extend((0..width).map(|at| format!("{}_{at}", output.name))),
        }
    }
    names.push(VERSION.to_owned());
    let mut line = Vec::new();
    for (at, name) in names.iter().enumerate() {
        if at > 0 {
            line.push(b',');
        }
        write_cell(name, &mut line);
    }
    line.push(b'\n');
    line
}

/// How a Parquet file is written: plain numbers, which a reader maps at once, and which version answered.
fn properties(layout: &AnswerLayout) -> WriterProperties {
    let said = said(layout).map(|(key, value)| KeyValue::new(key, value));
    WriterProperties::builder()
        .set_compression(Compression::UNCOMPRESSED)
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_created_by("bellwether".to_owned())
        .set_key_value_metadata(Some(said.collect()))
        .build()
}

/// What a Parquet file says of the model, in its own metadata and in Arrow's: readers show the one or the other.
fn said(layout: &AnswerLayout) -> impl Iterator<Item = (String, String)> {
    [(FILE_VERSION, &layout.version), (FILE_DIGEST, &layout.digest)]
        .map(|(key, value)| (key.to_owned(), value.clone()))
        .into_iter()
}

fn schema(layout: &AnswerLayout, kept: &[Kept]) -> SchemaRef {
    let kept_type =
        |at: usize| kept.get(at).map_or(DataType::Utf8, |kept| kept.to_array().data_type().clone());
    let mut fields: Vec<Field> =
        layout.kept.iter().enumerate().map(|(at, name)| Field::new(name, kept_type(at), true)).collect();
    for output in &layout.outputs {
        let number = arrow_type(output.kind);
        let kind = match output.width() {
            1 => number,
            width => DataType::FixedSizeList(item(number), i32::try_from(width).unwrap_or(i32::MAX)),
        };
        fields.push(Field::new(&output.name, kind, true));
    }
    Arc::new(Schema::new(fields).with_metadata(said(layout).collect::<HashMap<_, _>>()))
}

fn item(kind: DataType) -> Arc<Field> {
    Arc::new(Field::new("item", kind, true))
}

fn arrow_type(kind: NumberType) -> DataType {
    match kind {
        NumberType::Float32 => DataType::Float32,
        NumberType::Float64 => DataType::Float64,
        NumberType::Int32 => DataType::Int32,
        NumberType::Int64 => DataType::Int64,
        NumberType::Bool => DataType::Boolean,
    }
}

fn batch(schema: &SchemaRef, layout: &AnswerLayout, block: &AnswerBlock) -> Result<RecordBatch> {
    let mut columns: Vec<ArrayRef> = block.kept.iter().map(Kept::to_array).collect();
    for (output, numbers) in layout.outputs.iter().zip(&block.outputs) {
        let width = output.width();
        let known = (!block.answered.is_empty()).then(|| BooleanArray::from(block.answered.clone()));
        let nulls = known.map(|known| known.values().clone().into());
        if width == 1 {
            columns.push(array(numbers, |n| block.has(n)));
            continue;
        }
        let values = array(numbers, |_| true);
        let size = i32::try_from(width).map_err(failed)?;
        let list = FixedSizeListArray::try_new(item(arrow_type(output.kind)), size, values, nulls);
        columns.push(Arc::new(list.map_err(failed)?));
    }
    RecordBatch::try_new(Arc::clone(schema), columns).map_err(failed)
}

fn array(numbers: &Numbers, has: impl Fn(usize) -> bool) -> ArrayRef {
    fn some<T: Copy>(values: &[T], has: impl Fn(usize) -> bool) -> impl Iterator<Item = Option<T>> {
        values.iter().enumerate().map(move |(at, value)| has(at).then_some(*value))
    }
    match numbers {
        Numbers::Float32(values) if (0..values.len()).all(&has) => {
            Arc::new(Float32Array::from(values.clone()))
        }
        Numbers::Float32(values) => Arc::new(some(values, has).collect::<Float32Array>()),
        Numbers::Float64(values) => Arc::new(some(values, has).collect::<Float64Array>()),
        Numbers::Int32(values) => Arc::new(some(values, has).collect::<Int32Array>()),
        Numbers::Int64(values) => Arc::new(some(values, has).collect::<Int64Array>()),
        Numbers::Bool(values) => Arc::new(some(values, has).collect::<BooleanArray>()),
    }
}

fn text_row(
    format: AnswerFormat,
    layout: &AnswerLayout,
    (block, row): (&AnswerBlock, usize),
    out: &mut Vec<u8>,
) {
    match format {
        AnswerFormat::Predictions => prediction_row(layout, (block, row), out),
        AnswerFormat::Rows(RowFormat::Csv) => csv_row(layout, (block, row), out),
        AnswerFormat::Rows(_) => json_row(layout, (block, row), out),
    }
}

fn csv_row(layout: &AnswerLayout, (block, row): (&AnswerBlock, usize), out: &mut Vec<u8>) {
    for kept in &block.kept {
        kept.write_csv(row, out);
        out.push(b',');
    }
    for (output, numbers) in layout.outputs.iter().zip(&block.outputs) {
        let width = output.width();
        for at in row * width..(row + 1) * width {
            if block.has(row) {
                numbers.write_text(at, "NaN", out);
            }
            out.push(b',');
        }
    }
    write_cell(&layout.version, out);
    out.push(b'\n');
}

fn json_row(layout: &AnswerLayout, (block, row): (&AnswerBlock, usize), out: &mut Vec<u8>) {
    out.push(b'{');
    for (name, kept) in layout.kept.iter().zip(&block.kept) {
        key(name, out);
        kept.write_json(row, out);
        out.push(b',');
    }
    for (output, numbers) in layout.outputs.iter().zip(&block.outputs) {
        key(&output.name, out);
        if block.has(row) {
            numbers.write_nested(&output.shape, row * output.width(), out);
        } else {
            out.extend_from_slice(b"null");
        }
        out.push(b',');
    }
    key(VERSION, out);
    out.extend_from_slice(Value::from(layout.version.as_str()).to_string().as_bytes());
    out.extend_from_slice(b"}\n");
}

fn prediction_row(layout: &AnswerLayout, (block, row): (&AnswerBlock, usize), out: &mut Vec<u8>) {
    if !block.has(row) {
        return;
    }
    out.extend_from_slice(b"{\"instance\": ");
    out.extend_from_slice(block.instances.get(row).map_or("null", String::as_str).as_bytes());
    out.extend_from_slice(b", \"prediction\": ");
    let outputs: Vec<_> = layout.outputs.iter().zip(&block.outputs).collect();
    match outputs.as_slice() {
        [(output, numbers)] => numbers.write_nested(&output.shape, row * output.width(), out),
        several => {
            for (at, (output, numbers)) in several.iter().enumerate() {
                out.push(if at == 0 { b'{' } else { b',' });
                key(&output.name, out);
                numbers.write_nested(&output.shape, row * output.width(), out);
            }
            out.push(b'}');
        }
    }
    out.extend_from_slice(b"}\n");
}

fn key(name: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(Value::from(name).to_string().as_bytes());
    out.push(b':');
}

impl Numbers {
    /// The type of the numbers.
    pub fn kind(&self) -> NumberType {
        match self {
            Self::Float32(_) => NumberType::Float32,
            Self::Float64(_) => NumberType::Float64,
            Self::Int32(_) => NumberType::Int32,
            Self::Int64(_) => NumberType::Int64,
            Self::Bool(_) => NumberType::Bool,
        }
    }

    /// The shortest text that reads back to the same number; `otherwise` for what is none.
    fn write_text(&self, at: usize, otherwise: &str, out: &mut Vec<u8>) {
        let missing = match self {
            Self::Float32(values) => !values[at].is_finite(),
            Self::Float64(values) => !values[at].is_finite(),
            _ => false,
        };
        if missing {
            out.extend_from_slice(otherwise.as_bytes());
            return;
        }
        // Writing to memory does not fail.
        let _ = match self {
            Self::Float32(values) => serde_json::to_writer(&mut *out, &values[at]),
            Self::Float64(values) => serde_json::to_writer(&mut *out, &values[at]),
            Self::Int32(values) => serde_json::to_writer(&mut *out, &values[at]),
            Self::Int64(values) => serde_json::to_writer(&mut *out, &values[at]),
            Self::Bool(values) => serde_json::to_writer(&mut *out, &values[at]),
        };
    }

    fn write_nested(&self, shape: &[usize], from: usize, out: &mut Vec<u8>) {
        let Some((axis, inner)) = shape.split_first() else {
            return self.write_text(from, "null", out);
        };
        let stride: usize = inner.iter().product();
        out.push(b'[');
        for at in 0..*axis {
            if at > 0 {
                out.push(b',');
            }
            self.write_nested(inner, from + at * stride, out);
        }
        out.push(b']');
    }
}

pub(super) fn failed(error: impl std::fmt::Display) -> Error {
    Error::Answers(error.to_string())
}
