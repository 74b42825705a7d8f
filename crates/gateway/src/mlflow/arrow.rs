//! Arrow's IPC stream as a body: record batches to the model's tensors, and its outputs to a record batch.
//!
//! Columns are found by name in any order; a model that takes rows may have all of them in one column of lists too, which are all as
//! long, whatever their type. What pandas keeps of a frame's index beside its columns is none of them. What a message says of its
//! size is compared with what is there before anything is made for it, and batches are decoded where they lie, so a body costs
//! itself and the tensors.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    ArrowPrimitiveType, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Float64Array, GenericListArray,
    Int32Array, Int64Array, OffsetSizeTrait, RecordBatch,
};
use arrow_ipc::reader::StreamDecoder;
use arrow_ipc::writer::StreamWriter;
use arrow_ipc::{Buffer, FieldNode, MessageHeader};
use arrow_schema::{DataType as ArrowType, Field, Schema};
use platform::{Tensor, TensorData, TensorSpec};

use super::table::{Model, Table};
use crate::json::tensor::empty;
use crate::refusal::{Refusal, shown};
use crate::tensorflow_serving::request::Inputs;

const NOT_A_STREAM: &str = "the request body is not an Arrow IPC stream of uncompressed record batches";

/// The media type of a stream.
pub(crate) const STREAM: &str = "application/vnd.apache.arrow.stream";

/// Reads a body as the model's tensors.
///
/// # Errors
/// 400 saying what is wrong and in which column.
pub(crate) fn parse(body: Vec<u8>, model: Model<'_>) -> Result<Inputs, Refusal> {
    check_messages(&body, model.max_rows)?;
    // Arrow's reader trusts what it is told of columns in places; a body that breaks it is no reason to fail.
    let decoded = catch_unwind(AssertUnwindSafe(|| decode(body, model)));
    decoded.unwrap_or_else(|_| Err(Refusal::invalid(format!("{NOT_A_STREAM}: a record batch is damaged"))))
}

fn decode(body: Vec<u8>, model: Model<'_>) -> Result<Inputs, Refusal> {
    let broken = |error: arrow_schema::ArrowError| {
        Refusal::invalid(format!("{NOT_A_STREAM}: {}", shown(&error.to_string())))
    };
    let mut decoder = StreamDecoder::new();
    let mut bytes = body.into();
    let mut columns = Columns::new(model);
    while let Some(batch) = decoder.decode(&mut bytes).map_err(broken)? {
        columns.add(&batch)?;
    }
    decoder.finish().map_err(broken)?;
    columns.tensors()
}

/// Every message and every buffer of it lie within the body, as far as they say how long they are; there are record batches
/// alone, uncompressed and without dictionaries, of so many rows at most.
fn check_messages(body: &[u8], max_rows: usize) -> Result<(), Refusal> {
    let refusal = |why: &str| Refusal::invalid(format!("{NOT_A_STREAM}: {why}"));
    let cut = || refusal("a message is longer than the body");
    if body.is_empty() {
        return Err(refusal("the body is empty"));
    }
    let mut rest = body;
    let mut rows = 0i64;
    while !rest.is_empty() {
        let (mut size, mut after) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
        if *size == [0xff; 4] {
            (size, after) = after.split_first_chunk::<4>().ok_or_else(cut)?;
        }
        let size = u32::from_le_bytes(*size) as usize;
        if size == 0 {
            return Ok(());
        }
        let (head, after) = after.split_at_checked(size).ok_or_else(cut)?;
        let message = arrow_ipc::root_as_message(head).map_err(|_| refusal("a message's head is damaged"))?;
        let length = usize::try_from(message.bodyLength()).map_err(|_| cut())?;
        rest = after.split_at_checked(length).ok_or_else(cut)?.1;
        if message.header_type() == MessageHeader::Schema {
            continue;
        }
        let batch =
            message.header_as_record_batch().ok_or_else(|| refusal("columns must have no dictionaries"))?;
        if batch.compression().is_some() {
            return Err(refusal("record batches must not be compressed; compress the body instead"));
        }
        rows = rows.saturating_add(batch.length());
        if rows < 0 || rows > i64::try_from(max_rows).unwrap_or(i64::MAX) {
            return Err(Refusal::invalid(format!(
                "more than {max_rows} rows; send them in several requests"
            )));
        }
        let inside = |buffer: &Buffer| {
            let end = buffer.offset().checked_add(buffer.length());
            buffer.offset() >= 0 && buffer.length() >= 0 && end.is_some_and(|end| end <= message.bodyLength())
        };
        if !batch.buffers().is_some_and(|buffers| buffers.iter().all(inside)) {
            return Err(refusal("a buffer lies outside its record batch"));
        }
        // A bit an element is the least that any takes, but for those of lists without elements.
        let elements_max = 8i64.saturating_mul(message.bodyLength()).saturating_add(rows);
        let counted = |node: &FieldNode| {
            (0..=elements_max).contains(&node.length()) && (0..=node.length()).contains(&node.null_count())
        };
        if !batch.nodes().is_some_and(|nodes| nodes.iter().all(counted)) {
            return Err(refusal("a column has more elements than its record batch has room for"));
        }
    }
    Ok(())
}

/// The values of each input so far.
struct Columns<'a> {
    model: Model<'a>,
    data: Vec<TensorData>,
    rows: usize,
    /// Columns that are a frame's index; not known before the first batch.
    index: Option<Vec<String>>,
}

impl<'a> Columns<'a> {
    fn new(model: Model<'a>) -> Self {
        let data = model.signature.inputs.iter().map(|spec| empty(spec.dtype)).collect();
        Self { model, data, rows: 0, index: None }
    }

    fn add(&mut self, batch: &RecordBatch) -> Result<(), Refusal> {
        let rows = batch.num_rows();
        self.rows = self.rows.saturating_add(rows);
        if self.rows > self.model.max_rows {
            let message = format!("more than {} rows; send them in several requests", self.model.max_rows);
            return Err(Refusal::invalid(message));
        }
        match self.model.row_width {
            Some(width) => self.add_rows(batch, width),
            None => self.add_inputs(batch),
        }
    }

    fn add_rows(&mut self, batch: &RecordBatch, width: usize) -> Result<(), Refusal> {
        let TensorData::Float32(values) = &mut self.data[0] else { return Ok(()) };
        let schema = batch.schema();
        let index = self.index.get_or_insert_with(|| index_columns(&schema));
        let is_index = |name: &String| index.contains(name) && !self.model.features.contains(name);
        let (names, columns): (Vec<Cow<'_, str>>, Vec<&ArrayRef>) = schema
            .fields()
            .iter()
            .zip(batch.columns())
            .filter(|(field, _)| !is_index(field.name()))
            .map(|(field, column)| (Cow::Borrowed(field.name().as_str()), column))
            .unzip();
        if let ([column], [name]) = (columns.as_slice(), names.as_slice())
            && is_of_lists(column)
        {
            let before = values.len();
            floats(column, name, &mut |value| values.push(value))?;
            return counted(name, values.len() - before, batch.num_rows() * width);
        }
        let places = Table::new(self.model).header(&names)?;
        let begin = values.len();
        values.resize(begin + batch.num_rows() * width, f32::NAN);
        for ((column, name), place) in columns.into_iter().zip(&names).zip(places) {
            let Some(place) = place else { continue };
            let mut at = begin + place;
            let mut count = 0;
            floats(column, name, &mut |value| {
                if let Some(cell) = values.get_mut(at) {
                    *cell = value;
                }
                at += width;
                count += 1;
            })?;
            counted(name, count, batch.num_rows())?;
        }
        Ok(())
    }

    fn add_inputs(&mut self, batch: &RecordBatch) -> Result<(), Refusal> {
        for (spec, data) in self.model.signature.inputs.iter().zip(&mut self.data) {
            let Some(column) = batch.column_by_name(&spec.name) else {
                return Err(Refusal::invalid(format!("Model is missing inputs ['{}'].", spec.name)));
            };
            let Some(elements) = spec.row_elements() else {
                let message = format!("input \"{}\" has rows of any size, so it is no column", spec.name);
                return Err(Refusal::invalid(message));
            };
            let before = data.len();
            typed(column, spec, data)?;
            counted(&spec.name, data.len() - before, batch.num_rows() * elements)?;
        }
        Ok(())
    }

    fn tensors(self) -> Result<Inputs, Refusal> {
        if self.rows == 0 {
            return Err(Refusal::invalid("the request has no rows; give at least one"));
        }
        let tensor = |(spec, data): (&TensorSpec, TensorData)| {
            let inner = spec.shape.iter().skip(1).map(|size| size.unwrap_or_default());
            let shape = std::iter::once(self.rows).chain(inner).collect();
            let tensor = Tensor::new(shape, data)
                .map_err(|error| platform::Error::internal("cannot lay out the rows", error))?;
            Ok((spec.name.clone(), tensor))
        };
        self.model.signature.inputs.iter().zip(self.data).map(tensor).collect()
    }
}

/// The columns that hold the index of the frame which pandas made a stream of, by what its schema says of itself. An index
/// that only counts the rows has no column.
fn index_columns(schema: &Schema) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Pandas {
        index_columns: Vec<serde_json::Value>,
    }
    let said = schema.metadata().get("pandas").and_then(|text| serde_json::from_str::<Pandas>(text).ok());
    let columns = said.map_or_else(Vec::new, |pandas| pandas.index_columns);
    columns.into_iter().filter_map(|column| column.as_str().map(str::to_owned)).collect()
}

fn counted(name: &str, got: usize, expected: usize) -> Result<(), Refusal> {
    if got == expected {
        return Ok(());
    }
    let name = shown(name);
    Err(Refusal::invalid(format!(
        "column \"{name}\" has {got} values where the model takes {expected} for these rows"
    )))
}

/// Hands on the numbers of a column, or of the lists in it; a null is a missing value.
fn floats(array: &ArrayRef, name: &str, take: &mut impl FnMut(f32)) -> Result<(), Refusal> {
    let mut narrow = |value: Option<f64>| match value {
        None => {
            take(f32::NAN);
            Ok(())
        }
        Some(value) => {
            let single = value as f32;
            if single.is_infinite() && value.is_finite() {
                let name = shown(name);
                return Err(Refusal::invalid(format!(
                    "column \"{name}\" has {value:e}, which does not fit float32"
                )));
            }
            take(single);
            Ok(())
        }
    };
    if let Some(elements) = inside(array, name)? {
        return floats(&elements, name, take);
    }
    match array.data_type() {
        ArrowType::Float32 => {
            array.as_primitive::<Float32Type>().iter().for_each(|value| take(value.unwrap_or(f32::NAN)));
            Ok(())
        }
        ArrowType::Float64 => array.as_primitive::<Float64Type>().iter().try_for_each(narrow),
        ArrowType::Int8 => each::<Int8Type>(array, |value| narrow(value.map(f64::from))),
        ArrowType::Int16 => each::<Int16Type>(array, |value| narrow(value.map(f64::from))),
        ArrowType::Int32 => each::<Int32Type>(array, |value| narrow(value.map(f64::from))),
        ArrowType::Int64 => each::<Int64Type>(array, |value| narrow(value.map(|value| value as f64))),
        ArrowType::UInt8 => each::<UInt8Type>(array, |value| narrow(value.map(f64::from))),
        ArrowType::UInt16 => each::<UInt16Type>(array, |value| narrow(value.map(f64::from))),
        ArrowType::UInt32 => each::<UInt32Type>(array, |value| narrow(value.map(f64::from))),
        other => Err(of_type(name, other, "numbers")),
    }
}

fn each<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    take: impl FnMut(Option<T::Native>) -> Result<(), Refusal>,
) -> Result<(), Refusal> {
    array.as_primitive::<T>().iter().try_for_each(take)
}

fn is_of_lists(array: &ArrayRef) -> bool {
    matches!(array.data_type(), ArrowType::FixedSizeList(..) | ArrowType::List(_) | ArrowType::LargeList(_))
}

/// The elements of all lists of a column, also of one that is a part of another; nothing if it has no lists.
///
/// # Errors
/// If lists are missing, or differ in length: a row of a tensor has no gaps.
fn inside(array: &ArrayRef, name: &str) -> Result<Option<ArrayRef>, Refusal> {
    if !is_of_lists(array) {
        return Ok(None);
    }
    if array.null_count() > 0 {
        let name = shown(name);
        return Err(Refusal::invalid(format!("column \"{name}\" has a null in place of a list")));
    }
    match array.data_type() {
        ArrowType::FixedSizeList(..) => Ok(Some(inside_fixed(array.as_fixed_size_list()))),
        ArrowType::List(_) => inside_any(array.as_list::<i32>(), name).map(Some),
        _ => inside_any(array.as_list::<i64>(), name).map(Some),
    }
}

fn inside_fixed(lists: &FixedSizeListArray) -> ArrayRef {
    let size = usize::try_from(lists.value_length()).unwrap_or_default();
    let begin = if lists.is_empty() { 0 } else { lists.value_offset_at(0) };
    lists.values().slice(begin, lists.len() * size)
}

fn inside_any<O: OffsetSizeTrait>(lists: &GenericListArray<O>, name: &str) -> Result<ArrayRef, Refusal> {
    let offsets = lists.value_offsets();
    let mut sizes = offsets.windows(2).map(|pair| pair[1].as_usize().saturating_sub(pair[0].as_usize()));
    let first = sizes.next().unwrap_or_default();
    if let Some(other) = sizes.find(|size| *size != first) {
        let name = shown(name);
        let message =
            format!("column \"{name}\" has lists of {first} and of {other} values; all must be as long");
        return Err(Refusal::invalid(message));
    }
    let begin = offsets.first().map_or(0, |offset| offset.as_usize());
    Ok(lists.values().slice(begin, lists.len() * first))
}

/// Appends the elements of a column, which has the input's type or lists of it.
fn typed(array: &ArrayRef, spec: &TensorSpec, data: &mut TensorData) -> Result<(), Refusal> {
    if let Some(elements) = inside(array, &spec.name)? {
        return typed(&elements, spec, data);
    }
    let nulls = array.null_count() > 0;
    match (array.data_type(), data) {
        (_, TensorData::Float32(values)) => floats(array, &spec.name, &mut |value| values.push(value)),
        (ArrowType::Float64, TensorData::Float64(values)) => {
            values.extend(array.as_primitive::<Float64Type>().iter().map(|value| value.unwrap_or(f64::NAN)));
            Ok(())
        }
        (ArrowType::Int32, TensorData::Int32(values)) if !nulls => {
            values.extend_from_slice(array.as_primitive::<Int32Type>().values());
            Ok(())
        }
        (ArrowType::Int64, TensorData::Int64(values)) if !nulls => {
            values.extend_from_slice(array.as_primitive::<Int64Type>().values());
            Ok(())
        }
        (ArrowType::Boolean, TensorData::Bool(values)) if !nulls => {
            values.extend(array.as_boolean().values().iter());
            Ok(())
        }
        (other, _) => Err(of_type(&spec.name, other, &format!("{} without nulls", spec.dtype))),
    }
}

fn of_type(name: &str, got: &ArrowType, expected: &str) -> Refusal {
    let (name, got) = (shown(name), shown(&got.to_string()));
    Refusal::invalid(format!("column \"{name}\" is {got}, where {expected} are expected"))
}

/// The outputs as a stream of one record batch: a column each, in lists of fixed size where a row has an axis.
///
/// # Errors
/// If an output has no rows.
pub(crate) fn write(outputs: &[(String, Tensor)]) -> Result<Vec<u8>, Refusal> {
    let failed = |error| platform::Error::internal("cannot write the reply", error);
    let mut fields = Vec::with_capacity(outputs.len());
    let mut columns = Vec::with_capacity(outputs.len());
    for (name, tensor) in outputs {
        let mut column = elements(tensor.data());
        for size in tensor.shape().iter().skip(1).rev() {
            let size = i32::try_from(*size)
                .map_err(|error| platform::Error::internal("a row is too large", error))?;
            let item = Arc::new(Field::new("item", column.data_type().clone(), false));
            column = Arc::new(FixedSizeListArray::try_new(item, size, column, None).map_err(failed)?);
        }
        fields.push(Field::new(name, column.data_type().clone(), false));
        columns.push(column);
    }
    let schema = Arc::new(Schema::new(fields));
    let batch = RecordBatch::try_new(Arc::clone(&schema), columns).map_err(failed)?;
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).map_err(failed)?;
    writer.write(&batch).map_err(failed)?;
    Ok(writer.into_inner().map_err(failed)?)
}

fn elements(data: &TensorData) -> ArrayRef {
    match data {
        TensorData::Float32(values) => Arc::new(Float32Array::from(values.clone())),
        TensorData::Float64(values) => Arc::new(Float64Array::from(values.clone())),
        TensorData::Int32(values) => Arc::new(Int32Array::from(values.clone())),
        TensorData::Int64(values) => Arc::new(Int64Array::from(values.clone())),
        TensorData::Bool(values) => Arc::new(BooleanArray::from(values.clone())),
    }
}

#[cfg(test)]
mod tests;
