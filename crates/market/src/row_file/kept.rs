//! Columns that are handed on from the rows to the answers: text as it was, JSON as it was, columns of Parquet with their type.

use std::io::Write;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type, UInt16Type,
    UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, StringArray};
use arrow_schema::DataType;
use serde_json::Value;

use crate::civil_time::from_epoch_days;

/// A column of a chunk that is handed on.
#[derive(Debug, Clone)]
pub struct Kept(Column);

#[derive(Debug, Clone)]
enum Column {
    Text(Vec<Option<String>>),
    /// Each value a JSON document.
    Json(Vec<Option<String>>),
    Array(ArrayRef),
}

impl Kept {
    pub(super) fn text(values: Vec<Option<String>>) -> Self {
        Self(Column::Text(values))
    }

    pub(super) fn json(values: Vec<Option<String>>) -> Self {
        Self(Column::Json(values))
    }

    /// A column of Parquet. Its type must be one that has a text.
    pub(super) fn array(name: &str, values: ArrayRef) -> Result<Self, String> {
        if values.is_empty() || has_text(values.data_type()) {
            return Ok(Self(Column::Array(values)));
        }
        let kind = values.data_type();
        Err(format!(
            "column \"{name}\" is of type {kind}, which cannot be kept; numbers, text, truth values and dates can"
        ))
    }

    /// Writes one value as JSON.
    pub(super) fn write_json(&self, row: usize, out: &mut Vec<u8>) {
        let written = match &self.0 {
            Column::Text(values) => {
                values.get(row).and_then(Option::as_ref).map(|text| Value::from(text.as_str()).to_string())
            }
            Column::Json(values) => values.get(row).cloned().flatten(),
            Column::Array(values) => match values.data_type() {
                DataType::Utf8 | DataType::LargeUtf8 | DataType::Date32 => {
                    cell(values, row).map(|text| Value::from(text).to_string())
                }
                // A number that JSON cannot write is not there.
                _ => cell(values, row).filter(|text| serde_json::from_str::<Value>(text).is_ok()),
            },
        };
        out.extend_from_slice(written.as_deref().unwrap_or("null").as_bytes());
    }

    /// Writes one value as a cell of a CSV file; what is not there is empty.
    pub(super) fn write_csv(&self, row: usize, out: &mut Vec<u8>) {
        let text = match &self.0 {
            Column::Text(values) => values.get(row).cloned().flatten(),
            Column::Json(values) => values.get(row).and_then(Option::as_ref).and_then(|json| plain(json)),
            Column::Array(values) => cell(values, row),
        };
        write_cell(text.as_deref().unwrap_or_default(), out);
    }

    /// The whole column for a Parquet file.
    pub(super) fn to_array(&self) -> ArrayRef {
        match &self.0 {
            Column::Text(values) => Arc::new(StringArray::from_iter(values.iter().map(Option::as_deref))),
            Column::Json(values) => {
                let texts = values.iter().map(|json| json.as_ref().and_then(|json| plain(json)));
                Arc::new(StringArray::from_iter(texts))
            }
            Column::Array(values) => Arc::clone(values),
        }
    }
}

/// A cell of a CSV file, in quotes where it needs them.
pub(super) fn write_cell(text: &str, out: &mut Vec<u8>) {
    if !text.contains(['"', ',', '\n', '\r']) {
        out.extend_from_slice(text.as_bytes());
        return;
    }
    out.push(b'"');
    out.extend_from_slice(text.replace('"', "\"\"").as_bytes());
    out.push(b'"');
}

/// A JSON document as a text: a string without its quotes, `null` as nothing.
fn plain(json: &str) -> Option<String> {
    match serde_json::from_str(json) {
        Ok(Value::String(text)) => Some(text),
        Ok(Value::Null) => None,
        _ => Some(json.to_owned()),
    }
}

fn has_text(kind: &DataType) -> bool {
    kind.is_integer()
        || matches!(
            kind,
            DataType::Float32
                | DataType::Float64
                | DataType::Utf8
                | DataType::LargeUtf8
                | DataType::Boolean
                | DataType::Date32
        )
}

/// One value of an array in text.
fn cell(values: &ArrayRef, row: usize) -> Option<String> {
    if row >= values.len() || values.is_null(row) {
        return None;
    }
    macro_rules! text {
        ($kind:ty) => {
            values.as_primitive::<$kind>().value(row).to_string()
        };
    }
    Some(match values.data_type() {
        DataType::Utf8 => values.as_string::<i32>().value(row).to_owned(),
        DataType::LargeUtf8 => values.as_string::<i64>().value(row).to_owned(),
        DataType::Boolean => values.as_boolean().value(row).to_string(),
        DataType::Date32 => from_epoch_days(values.as_primitive::<Date32Type>().value(row))?.to_string(),
        DataType::Float32 => number(values.as_primitive::<Float32Type>().value(row)),
        DataType::Float64 => number(values.as_primitive::<Float64Type>().value(row)),
        DataType::Int8 => text!(Int8Type),
        DataType::Int16 => text!(Int16Type),
        DataType::Int32 => text!(Int32Type),
        DataType::Int64 => text!(Int64Type),
        DataType::UInt8 => text!(UInt8Type),
        DataType::UInt16 => text!(UInt16Type),
        DataType::UInt32 => text!(UInt32Type),
        DataType::UInt64 => text!(UInt64Type),
        _ => return None,
    })
}

/// The shortest text that reads back to the same number, with an exponent where that is shorter.
fn number(value: impl std::fmt::Debug) -> String {
    let mut text = Vec::new();
    // Writing to memory does not fail.
    let _ = write!(text, "{value:?}");
    String::from_utf8(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use arrow_array::{BooleanArray, Date32Array, Float32Array, Int64Array};

    use super::*;

    fn texts(kept: &Kept, rows: usize) -> (Vec<String>, Vec<String>) {
        let write = |write: &dyn Fn(usize, &mut Vec<u8>)| {
            let one = |row| {
                let mut out = Vec::new();
                write(row, &mut out);
                String::from_utf8(out).unwrap()
            };
            (0..rows).map(one).collect::<Vec<_>>()
        };
        (write(&|row, out| kept.write_csv(row, out)), write(&|row, out| kept.write_json(row, out)))
    }

    #[test]
    fn values_of_any_origin_are_written_in_any_format() {
        let kept = Kept::text(vec![Some("a,\"b\"".to_owned()), None]);
        let expected = (
            vec!["\"a,\"\"b\"\"\"".to_owned(), String::new()],
            vec![r#""a,\"b\"""#.to_owned(), "null".to_owned()],
        );
        assert_eq!(texts(&kept, 2), expected);
        let kept =
            Kept::json(vec![Some("\"a\"".to_owned()), Some("[1,2]".to_owned()), Some("null".to_owned())]);
        let (csv, json) = texts(&kept, 3);
        assert_eq!(
            (csv.join("|"), json.join("|")),
            ("a|\"[1,2]\"|".to_owned(), "\"a\"|[1,2]|null".to_owned())
        );
        let arrays: [(ArrayRef, &str, &str); 5] = [
            (Arc::new(Int64Array::from(vec![Some(-7), None])), "-7|", "-7|null"),
            (Arc::new(Float32Array::from(vec![0.1, f32::NAN])), "0.1|NaN", "0.1|null"),
            (Arc::new(BooleanArray::from(vec![true, false])), "true|false", "true|false"),
            (
                Arc::new(Date32Array::from(vec![18263, 0])),
                "2020-01-02|1970-01-01",
                "\"2020-01-02\"|\"1970-01-01\"",
            ),
            // A day that no calendar has is no other day.
            (Arc::new(Date32Array::from(vec![-1, i32::MAX])), "1969-12-31|", "\"1969-12-31\"|null"),
        ];
        for (array, csv, json) in arrays {
            let kept = Kept::array("x", array).unwrap();
            let (c, j) = texts(&kept, 2);
            assert_eq!((c.join("|").as_str(), j.join("|").as_str()), (csv, json));
        }
        let list = arrow_array::BinaryArray::from_iter_values([b"x"]);
        assert!(Kept::array("x", Arc::new(list)).unwrap_err().contains("cannot be kept"));
    }
}
