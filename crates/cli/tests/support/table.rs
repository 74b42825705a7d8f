//! A table of rows computed elsewhere, and a pipeline that trains on it in a moment.

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float32Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;

/// Writes so many rows whose class is told by the first of two features.
pub(crate) fn write_table(path: &Path, rows: usize) {
    let part = |row: usize| ["train", "train", "valid", "test"][row % 4];
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", Arc::new(Float32Array::from_iter_values((0..rows).map(|row| (row * 7 % 11) as f32 - 5.0)))),
        ("b", Arc::new(Float32Array::from_iter_values((0..rows).map(|row| (row % 5) as f32)))),
        ("label", Arc::new(Int64Array::from_iter_values((0..rows).map(|row| i64::from(row * 7 % 11 > 5))))),
        ("part", Arc::new(StringArray::from_iter_values((0..rows).map(part)))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer =
        ArrowWriter::try_new(std::fs::File::create(path).unwrap(), batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

/// A pipeline over a table.
pub(crate) fn table_pipeline(table: &str) -> String {
    format!(
        r#"
version = 1
name = "rows"
[data]
table = "{table}"
[label]
column = "label"
classes = 2
[split]
column = "part"
[[model.layers]]
type = "dense"
units = 2
activation = "softmax"
[fit]
epochs = 3
batch_size = 16
seed = 5
"#
    )
}
