//! Streams, good and wrong; each is written by Arrow's own writer.

use proptest::prelude::*;

use super::super::table::tests::{model, named, rows as by_row};
use super::*;

fn stream(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

fn read(body: Vec<u8>) -> Result<Vec<f32>, String> {
    let (signature, features) = by_row();
    let inputs = parse(body, model(&signature, &features)).map_err(|refusal| refusal.message)?;
    Ok(inputs[0].1.as_float32().unwrap().to_vec())
}

fn singles(values: &[f32]) -> ArrayRef {
    Arc::new(Float32Array::from(values.to_vec()))
}

fn lists(size: i32, values: ArrayRef) -> ArrayRef {
    let item = Arc::new(Field::new("item", values.data_type().clone(), true));
    Arc::new(FixedSizeListArray::try_new(item, size, values, None).unwrap())
}

#[test]
fn columns_come_in_any_order_or_as_one_list() {
    let columns = || {
        vec![
            ("C", Arc::new(Int64Array::from(vec![Some(3), Some(6)])) as ArrayRef),
            ("x", Arc::new(BooleanArray::from(vec![true, false])) as ArrayRef),
            ("A", singles(&[1.0, 4.0])),
            ("B", Arc::new(Float64Array::from(vec![Some(2.0), None])) as ArrayRef),
        ]
    };
    let values = read(stream(columns())).unwrap();
    assert_eq!((values[..4].to_vec(), values[5]), (vec![1.0, 2.0, 3.0, 4.0], 6.0));
    assert!(values[4].is_nan());
    let list = lists(3, singles(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
    assert_eq!(read(stream(vec![("anything", Arc::clone(&list))])).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    assert_eq!(read(stream(vec![("anything", list.slice(1, 1))])).unwrap(), [4.0, 5.0, 6.0]);

    let signature = named();
    let body = stream(vec![
        ("code", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
        ("pair", lists(2, singles(&[1.0, 2.0, 3.0, 4.0]))),
    ]);
    let inputs = parse(body, model(&signature, &[])).unwrap();
    assert_eq!(inputs[0].1.as_float32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(inputs[1].1.data(), &TensorData::Int64(vec![7, 8]));
}

/// Lists that each say where they end, as pyarrow makes them of Python's.
fn any_lists<O: OffsetSizeTrait>(lists: &[&[f32]]) -> ArrayRef {
    let lists = lists.iter().map(|list| Some(list.iter().map(|value| Some(*value))));
    Arc::new(GenericListArray::<O>::from_iter_primitive::<Float32Type, _, _>(lists))
}

#[test]
fn lists_of_any_type_are_rows_if_all_are_as_long() {
    let even: [&[f32]; 2] = [&[1.0, 2.0, 3.0], &[4.0, 5.0, 6.0]];
    for list in [any_lists::<i32>(&even), any_lists::<i64>(&even)] {
        assert_eq!(read(stream(vec![("x", Arc::clone(&list))])).unwrap(), [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
        assert_eq!(read(stream(vec![("x", list.slice(1, 1))])).unwrap(), [4.0, 5.0, 6.0]);
    }
    let ragged: [&[f32]; 2] = [&[1.0, 2.0], &[3.0, 4.0, 5.0, 6.0]];
    for ragged in [any_lists::<i32>(&ragged), any_lists::<i64>(&ragged)] {
        let error = read(stream(vec![("x", ragged)])).unwrap_err();
        assert!(error.contains("\"x\" has lists of 2 and of 4 values"), "{error}");
    }
    let error = read(stream(vec![("x", any_lists::<i32>(&[[1.0, 2.0].as_slice(); 3]))])).unwrap_err();
    assert!(error.contains("has 6 values where the model takes 9"), "{error}");
    let columns = vec![
        ("code", Arc::new(Int64Array::from(vec![7, 8])) as ArrayRef),
        ("pair", any_lists::<i32>(&[&[1.0, 2.0], &[3.0, 4.0]])),
    ];
    let inputs = parse(stream(columns), model(&named(), &[])).unwrap();
    assert_eq!(inputs[0].1.as_float32().unwrap(), [1.0, 2.0, 3.0, 4.0]);
}

/// A stream with what pandas says of the frame it was.
fn of_pandas(index: &str, columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let said = format!("{{\"index_columns\": [{index}], \"columns\": []}}");
    let metadata = std::collections::HashMap::from([("pandas".to_owned(), said)]);
    let schema = Arc::new(batch.schema().as_ref().clone().with_metadata(metadata));
    let batch = batch.with_schema(Arc::clone(&schema)).unwrap();
    let mut writer = StreamWriter::try_new(Vec::new(), &schema).unwrap();
    writer.write(&batch).unwrap();
    writer.write(&batch).unwrap();
    writer.into_inner().unwrap()
}

#[test]
fn the_index_of_a_frame_is_no_column() {
    let kept = || ("__index_level_0__", Arc::new(Int64Array::from(vec![7])) as ArrayRef);
    let columns = |names: [&'static str; 3]| {
        names
            .into_iter()
            .zip([1.0, 2.0, 3.0])
            .map(|(name, value)| (name, singles(&[value])))
            .collect::<Vec<_>>()
    };
    let (signature, features) = by_row();
    let range = r#"{"kind": "range", "start": 0, "stop": 1, "step": 1, "name": null}"#;
    for (names, features) in [
        (["a", "b", "c"], [].as_slice()),
        (["0", "1", "2"], features.as_slice()),
        (["A", "B", "C"], features.as_slice()),
    ] {
        for with_index in [false, true] {
            let mut columns = columns(names);
            columns.extend(with_index.then(kept));
            let index = if with_index { "\"__index_level_0__\"" } else { range };
            let inputs = parse(of_pandas(index, columns), model(&signature, features)).unwrap();
            assert_eq!(inputs[0].1.as_float32().unwrap(), [1.0, 2.0, 3.0, 1.0, 2.0, 3.0], "{names:?}");
        }
    }
    let list = vec![("x", lists(3, singles(&[1.0, 2.0, 3.0]))), kept()];
    let inputs = parse(of_pandas("\"__index_level_0__\"", list), model(&signature, &features)).unwrap();
    assert_eq!(inputs[0].1.rows(), 2);
    // A feature stays one, and a column that nobody calls an index counts.
    let inputs = parse(of_pandas("\"B\"", columns(["C", "B", "A"])), model(&signature, &features)).unwrap();
    assert_eq!(inputs[0].1.as_float32().unwrap()[..3], [3.0, 2.0, 1.0]);
    for odd in ["7", "{\"index_columns\": 7", "\"none\""] {
        let mut columns = columns(["a", "b", "c"]);
        columns.push(kept());
        let error = parse(of_pandas(odd, columns), model(&signature, &[])).unwrap_err().message;
        assert!(error.contains("a row has 4 values where the model takes 3"), "{odd}: {error}");
    }
}

#[test]
fn what_is_written_is_read() {
    let outputs = [
        ("p".to_owned(), Tensor::float32(vec![2, 3], vec![1.0, 2.0, f32::INFINITY, 4.0, 5.0, 6.0]).unwrap()),
        ("q".to_owned(), Tensor::new(vec![2], TensorData::Bool(vec![true, false])).unwrap()),
        ("r".to_owned(), Tensor::new(vec![2, 1, 2], TensorData::Int32(vec![1, 2, 3, 4])).unwrap()),
    ];
    let bytes = write(&outputs).unwrap();
    let mut decoder = StreamDecoder::new();
    let batch = decoder.decode(&mut bytes.into()).unwrap().unwrap();
    assert_eq!(batch.num_rows(), 2);
    let elements = |array: &ArrayRef| inside(array, "x").unwrap().unwrap();
    let p = elements(batch.column_by_name("p").unwrap());
    assert_eq!(p.as_primitive::<Float32Type>().values(), &[1.0, 2.0, f32::INFINITY, 4.0, 5.0, 6.0]);
    let r = elements(batch.column_by_name("r").unwrap());
    assert_eq!(elements(&r).as_primitive::<Int32Type>().values(), &[1, 2, 3, 4]);
    assert_eq!(read(write(&outputs[..1]).unwrap()).unwrap().len(), 6);
}

#[test]
fn what_is_wrong_is_named() {
    let wide = Arc::new(Float64Array::from(vec![1e39])) as ArrayRef;
    let text = Arc::new(arrow_array::StringArray::from(vec!["a"])) as ArrayRef;
    let one = || singles(&[1.0]);
    for (body, said) in [
        (stream(vec![("A", one()), ("B", one())]), "Model is missing inputs ['C']."),
        (
            stream(vec![("A", one()), ("B", one()), ("C", wide)]),
            "column \"C\" has 1e39, which does not fit float32",
        ),
        (
            stream(vec![("A", one()), ("B", one()), ("C", text)]),
            "column \"C\" is Utf8, where numbers are expected",
        ),
        (
            stream(vec![("A", lists(2, singles(&[1.0, 2.0])))]),
            "column \"A\" has 2 values where the model takes 3",
        ),
        (stream(vec![("A", singles(&[])), ("B", singles(&[])), ("C", singles(&[]))]), "no rows"),
        (stream(vec![("x", lists(3, singles(&[0.0; 12])))]), "more than 3 rows"),
        (b"".to_vec(), "the body is empty"),
        (b"{\"inputs\": []}".to_vec(), "a message is longer than the body"),
        (b"\xff\xff\xff\xff\x04\0\0\0abcd".to_vec(), "a message's head is damaged"),
    ] {
        let error = read(body).unwrap_err();
        assert!(error.contains(said), "{said}: {error}");
    }
    let words = Arc::new(arrow_array::StringArray::from(vec!["a"])) as ArrayRef;
    let key = Int32Array::from(vec![0]);
    let dictionary = arrow_array::DictionaryArray::try_new(key, words).unwrap();
    let error = read(stream(vec![("A", Arc::new(dictionary) as ArrayRef)])).unwrap_err();
    assert!(error.contains("columns must have no dictionaries"), "{error}");
    let whole = stream(vec![("A", one()), ("B", one()), ("C", one())]);
    for length in [10, whole.len() / 2, whole.len() - 20] {
        assert!(read(whole[..length].to_vec()).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn no_damage_makes_it_panic(places in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8), cut: prop::sample::Index) {
        let mut body = stream(vec![("A", singles(&[1.0])), ("B", singles(&[2.0])), ("C", lists(1, singles(&[3.0])))]);
        for (place, byte) in places {
            let at = place.index(body.len());
            body[at] = byte;
        }
        let _ = read(body.clone());
        body.truncate(cut.index(body.len()));
        let _ = read(body);
    }
}
