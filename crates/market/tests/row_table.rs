//! Tables of rows computed elsewhere: read whole or as a stream, and what is refused.

#![allow(clippy::unwrap_used)]

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Date32Array, Float32Array, Float64Array, Int64Array, RecordBatch, StringArray};
use market::row_table::{RowColumns, RowStream, RowTable};
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

const ROWS: usize = 1000;

/// Parts in no order, several groups, a column of another width between the features.
fn write(path: &Path) {
    let part = |row: usize| ["train", "valid", "train", "test", "none", "train"][row * 7 % 6];
    let column = |values: ArrayRef| values;
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("a", column(Arc::new(Float32Array::from_iter_values((0..ROWS).map(|row| row as f32))))),
        ("split", column(Arc::new(StringArray::from_iter_values((0..ROWS).map(part))))),
        ("label", column(Arc::new(Int64Array::from_iter_values((0..ROWS).map(|row| row as i64 % 3))))),
        (
            "b",
            column(Arc::new(Float64Array::from_iter(
                (0..ROWS).map(|row| (row % 50 != 0).then_some(-(row as f64))),
            ))),
        ),
        ("day", column(Arc::new(Date32Array::from_iter_values((0..ROWS).map(|row| row as i32 / 10))))),
        ("w", column(Arc::new(Float64Array::from_iter_values((0..ROWS).map(|row| 0.5 + row as f64))))),
    ];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let properties = WriterProperties::builder().set_max_row_group_row_count(Some(170)).build();
    let file = std::fs::File::create(path).unwrap();
    let mut writer = ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
}

fn columns() -> RowColumns {
    RowColumns {
        features: vec!["b".to_owned(), "a".to_owned()],
        labels: vec!["label".to_owned()],
        classes: Some(3),
        split: "split".to_owned(),
        date: Some("day".to_owned()),
        weight: Some("w".to_owned()),
        ..RowColumns::default()
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn a_table_is_cut_into_its_parts() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write(&path);
    let table = RowTable::read(&path, &columns()).unwrap();
    assert_eq!(table.names, ["b", "a"]);
    assert_eq!([table.train.rows, table.valid.rows, table.test.rows, table.left_out], [500, 167, 167, 166]);
    // The second training row is row 2 of the file.
    assert_eq!(table.train.features[2..4], [-2.0, 2.0]);
    assert!(table.train.features[0].is_nan(), "a missing value is no number");
    assert_eq!((table.train.classes[1], table.train.weights[1]), (2, 2.5));
    assert_eq!(table.valid.dates.len(), 167);
    let any = RowColumns { features: Vec::new(), ..columns() };
    assert_eq!(RowTable::feature_names(&path, &any).unwrap(), ["a", "b"]);
}

#[test]
fn a_stream_gives_the_rows_that_a_table_holds() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write(&path);
    let whole = RowTable::read(&path, &columns()).unwrap().train;
    let kept_out = RowTable::read(&path, &RowColumns { streams: true, ..columns() }).unwrap();
    assert!(kept_out.train.features.is_empty());
    assert_eq!((kept_out.train.rows, &kept_out.train.classes), (500, &whole.classes));
    assert_eq!(kept_out.test.features.len(), 2 * 167);
    let stream = RowStream::open(&path, &columns()).unwrap();
    assert_eq!((stream.rows(), stream.columns()), (500, 2));
    let mut rows = vec![9.0];
    for range in [0..500, 0..1, 499..500, 83..90, 84..86, 250..251, 100..400, 7..7] {
        stream.read(range.clone(), &mut rows).unwrap();
        assert_eq!(bits(&rows), bits(&whole.features[2 * range.start..2 * range.end]), "{range:?}");
    }
}

#[test]
fn what_cannot_be_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("rows.parquet");
    write(&path);
    let refusal = |columns: RowColumns| RowTable::read(&path, &columns).unwrap_err().to_string();
    for (changed, expected) in [
        (RowColumns { classes: Some(2), ..columns() }, "column \"label\" is 2 in row 2 (counted from 0)"),
        (RowColumns { split: "splt".to_owned(), ..columns() }, "splt"),
        (
            RowColumns { split: "a".to_owned(), features: vec!["b".to_owned()], ..columns() },
            "it must be text",
        ),
        (
            RowColumns { features: vec!["a".to_owned(), "label".to_owned()], ..columns() },
            "has another role as well",
        ),
        (RowColumns { features: vec!["a".to_owned(), "a".to_owned()], ..columns() }, "named twice"),
        (RowColumns { features: vec!["day".to_owned()], date: None, ..columns() }, "it must be a number"),
    ] {
        let text = refusal(changed);
        assert!(text.contains("rows.parquet") && text.contains(expected), "{text}");
    }
    let bytes = std::fs::read(&path).unwrap();
    for length in [0, 10, bytes.len() / 2, bytes.len() - 5] {
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(
            RowTable::read(&path, &columns()).is_err() && RowStream::open(&path, &columns()).is_err(),
            "{length}"
        );
    }
    // Damage inside is an error or other numbers, never a crash.
    for at in (4..bytes.len()).step_by(97) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x5a;
        std::fs::write(&path, &damaged).unwrap();
        let _ = RowTable::read(&path, &columns());
        if let Ok(stream) = RowStream::open(&path, &columns()) {
            let _ = stream.read(0..stream.rows(), &mut Vec::new());
        }
    }
}
