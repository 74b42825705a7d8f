//! Reading ONNX that somebody else wrote; `conformance/test_onnx_import.py` does it with real exporters.

#![allow(clippy::unwrap_used)]

mod onnx_model;

use artifact::Error;
use artifact::engine::{self, EngineKind};
use artifact::format::onnx::{parse_and_load, parse_onnx, read_onnx};
use artifact::import::ImportedModel;
use onnx_model::*;
use predictor::{DataType, Tensor, TensorData};
use prost::Message;
use protos::onnx::tensor_proto::{DataLocation, DataType as Onnx};
use protos::onnx::{ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto};

/// A product with a matrix of ones and its Relu: `x [batch, 2]` to `y [batch, 3]`.
fn dense() -> ModelProto {
    let nodes = vec![node("MatMul", &["x", "w"], &["h"], vec![]), node("Relu", &["h"], &["y"], vec![])];
    model(nodes, vec![constant("w", &[2, 3], &[1.0; 6])], vec![value("y", Onnx::Float, &[None, Some(3)])])
}

/// `x` through one node of this operator: `y [batch, 2]`.
fn through(operator: NodeProto) -> ModelProto {
    model(vec![operator], vec![], vec![value("y", Onnx::Float, &[None, Some(2)])])
}

fn with_input(mut model: ModelProto, input: ValueInfoProto) -> ModelProto {
    model.graph.as_mut().unwrap().input = vec![input];
    model
}

fn parse(model: &ModelProto) -> Result<ImportedModel, Error> {
    parse_onnx(&bytes(model), None)
}

fn refused(model: &ModelProto) -> String {
    match parse(model) {
        Ok(imported) => panic!("taken: {:?}", imported.signature),
        Err(error) => error.to_string(),
    }
}

fn run(imported: &ImportedModel, inputs: Vec<Tensor>) -> Tensor {
    let kind = engine::choose(&imported.model).unwrap();
    let model = engine::load(imported.model.encode_to_vec(), &imported.signature, 1, kind).unwrap();
    model.predict(inputs).unwrap().remove(0)
}

fn rows(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::float32(shape.to_vec(), values.to_vec()).unwrap()
}

#[test]
fn a_model_with_an_open_batch_is_read_as_it_is() {
    let imported = parse(&dense()).unwrap();
    assert_eq!(imported.signature.inputs, [spec("x", DataType::Float32, &[None, Some(2)])]);
    assert_eq!(imported.signature.outputs, [spec("y", DataType::Float32, &[None, Some(3)])]);
    assert_eq!(imported.source_names.inputs["x"], "x");
    assert_eq!(imported.notes, [""; 0]);
    assert_eq!(engine::choose(&imported.model).unwrap(), EngineKind::Rten);
    let out = run(&imported, vec![rows(&[2, 2], &[1.0, 2.0, -3.0, 1.0])]);
    assert_eq!(out, rows(&[2, 3], &[3.0, 3.0, 3.0, 0.0, 0.0, 0.0]));
}

#[test]
fn constants_that_are_listed_as_inputs_are_constants() {
    let mut model = dense();
    model.graph.as_mut().unwrap().input.push(value("w", Onnx::Float, &[Some(2), Some(3)]));
    assert_eq!(parse(&model).unwrap().signature.inputs.len(), 1);
}

#[test]
fn a_fixed_batch_is_opened_where_rows_stay_alone() {
    let mut model = with_input(dense(), value("x", Onnx::Float, &[Some(1), Some(2)]));
    model.graph.as_mut().unwrap().output = vec![value("y", Onnx::Float, &[Some(1), Some(3)])];
    let imported = parse(&model).unwrap();
    assert_eq!(imported.signature.inputs[0].shape, [None, Some(2)]);
    assert!(imported.notes[0].contains("batches of 1 rows"), "{:?}", imported.notes);
    let out = run(&imported, vec![rows(&[2, 2], &[1.0, 2.0, 0.0, 1.0])]);
    assert_eq!(out, rows(&[2, 3], &[3.0, 3.0, 3.0, 1.0, 1.0, 1.0]));
}

#[test]
fn a_fixed_batch_in_the_operators_is_refused() {
    let shape = TensorProto {
        data_type: Some(Onnx::Int64.into()),
        dims: vec![2],
        int64_data: vec![1, 2],
        ..Default::default()
    };
    let shape = TensorProto { name: Some("shape".to_owned()), ..shape };
    let mut reshaped = through(node("Reshape", &["x", "shape"], &["y"], vec![]));
    reshaped.graph.as_mut().unwrap().initializer.push(shape);
    let said = refused(&with_input(reshaped, value("x", Onnx::Float, &[Some(1), Some(2)])));
    assert!(said.contains("batches of 1 rows") && said.contains("dynamic_axes"), "{said}");
    // This one runs, but a row changes with its neighbours.
    let mixing = node("Softmax", &["x"], &["y"], vec![int("axis", 0)]);
    let said = refused(&with_input(through(mixing), value("x", Onnx::Float, &[Some(1), Some(2)])));
    assert!(said.contains("do not come out as they do alone"), "{said}");
}

#[test]
fn rows_that_mix_are_told() {
    let imported = parse(&through(node("Softmax", &["x"], &["y"], vec![int("axis", 0)]))).unwrap();
    assert!(imported.notes[0].contains("mixes them"), "{:?}", imported.notes);
}

#[test]
fn the_shape_that_comes_out_counts() {
    let mut model = dense();
    model.graph.as_mut().unwrap().output = vec![value("y", Onnx::Float, &[Some(1), Some(9)])];
    let imported = parse(&model).unwrap();
    assert_eq!(imported.signature.outputs[0].shape, [None, Some(3)]);
    assert!(imported.notes.iter().any(|note| note.contains("not [batch, 9]")), "{:?}", imported.notes);
}

#[test]
fn what_cannot_be_called_with_rows_is_refused_with_the_way_out() {
    let scalar = with_input(dense(), value("x", Onnx::Float, &[]));
    assert!(refused(&scalar).contains("without an axis for the rows"));
    let text = with_input(dense(), value("x", Onnx::String, &[None, Some(2)]));
    assert!(refused(&text).contains("encode it as numbers"));
    let complex = with_input(dense(), value("x", Onnx::Complex64, &[None, Some(2)]));
    assert!(refused(&complex).contains("float32"));
    let mut total = through(node("ReduceSum", &["x"], &["y"], vec![int("keepdims", 0)]));
    total.graph.as_mut().unwrap().output = vec![value("y", Onnx::Float, &[])];
    assert!(refused(&total).contains("single number for a whole batch"));
    let mut constant_answer = dense();
    constant_answer.graph.as_mut().unwrap().input.clear();
    constant_answer.graph.as_mut().unwrap().initializer.push(constant("x", &[1, 2], &[1.0; 2]));
    assert!(refused(&constant_answer).contains("no inputs"));
    let mut two = dense();
    two.graph.as_mut().unwrap().input =
        vec![value("x", Onnx::Float, &[Some(4), Some(2)]), value("z", Onnx::Float, &[Some(5)])];
    assert!(refused(&two).contains("4 and 5"));
}

#[test]
fn only_known_versions_are_read() {
    for version in [1, 6, 24, 1000] {
        let mut model = dense();
        model.opset_import[0].version = Some(version);
        assert!(refused(&model).contains(&format!("version {version}")));
    }
}

#[test]
fn narrow_types_are_converted_at_the_border() {
    let nodes = vec![
        node("Cast", &["x"], &["float"], vec![int("to", 1)]),
        node("MatMul", &["float", "w"], &["wide"], vec![]),
        node("Cast", &["wide"], &["y"], vec![int("to", i32::from(Onnx::Uint8).into())]),
    ];
    let built = model(
        nodes,
        vec![constant("w", &[2, 1], &[1.0; 2])],
        vec![value("y", Onnx::Uint8, &[None, Some(1)])],
    );
    let imported = parse(&with_input(built, value("x", Onnx::Int8, &[None, Some(2)]))).unwrap();
    assert_eq!(imported.signature.inputs[0].dtype, DataType::Int32);
    assert_eq!(imported.signature.outputs[0].dtype, DataType::Int32);
    assert!(
        imported.notes[0].contains("int8") && imported.notes[1].contains("uint8"),
        "{:?}",
        imported.notes
    );
    let input = Tensor::new(vec![1, 2], TensorData::Int32(vec![40, 2])).unwrap();
    assert_eq!(run(&imported, vec![input]).data(), &TensorData::Int32(vec![42]));
}

#[test]
fn whole_numbers_and_truth_values_pass_through_rten() {
    let nodes = vec![node("Greater", &["x", "limit"], &["y"], vec![])];
    let limit = TensorProto {
        name: Some("limit".to_owned()),
        data_type: Some(Onnx::Int64.into()),
        int64_data: vec![5],
        ..Default::default()
    };
    let built = model(nodes, vec![limit], vec![value("y", Onnx::Bool, &[None, Some(2)])]);
    let imported = parse(&with_input(built, value("x", Onnx::Int64, &[None, Some(2)]))).unwrap();
    let input = |values| vec![Tensor::new(vec![1, 2], TensorData::Int64(values)).unwrap()];
    assert_eq!(run(&imported, input(vec![5, 6])).data(), &TensorData::Bool(vec![false, true]));
    let loaded =
        engine::load(imported.model.encode_to_vec(), &imported.signature, 1, EngineKind::Rten).unwrap();
    let said = loaded.predict(input(vec![5, 1 << 40])).unwrap_err().to_string();
    assert!(said.contains("does not fit int32"), "{said}");
}

#[test]
fn everything_unsupported_is_listed_with_its_nodes() {
    let named = |operator: &str, input: &str, output: &str, name: &str| {
        let mut node = node(operator, &[input], &[output], vec![]);
        node.name = Some(name.to_owned());
        node
    };
    let nodes = vec![
        named("Hardmax", "x", "a", "/head/first/Hardmax"),
        named("Hardmax", "a", "b", "/head/second/Hardmax"),
        named("Shrink", "b", "c", "shrink"),
        named("Relu", "c", "y", "relu"),
        // Nothing needs it, so it is in nobody's way.
        named("StringNormalizer", "x", "unused", "unused"),
    ];
    let mut model = through(NodeProto::default());
    model.graph.as_mut().unwrap().node = nodes;
    let imported = parse(&model).unwrap();
    let found = engine::unsupported(&imported.model, EngineKind::Rten).unwrap();
    assert_eq!(found.iter().map(|each| each.operator.as_str()).collect::<Vec<_>>(), ["Hardmax", "Shrink"]);
    assert_eq!(found[0].nodes, ["/head/first/Hardmax", "/head/second/Hardmax"]);
    assert_eq!(found[0].layer.as_deref(), Some("/head/first"));
    let everything = found.iter().map(ToString::to_string).collect::<String>();
    assert!(everything.contains("rten"), "{everything}");
}

#[test]
fn old_softmax_is_over_all_axes_from_one_on() {
    let mut old = through(node("Softmax", &["x"], &["y"], vec![]));
    old.opset_import[0].version = Some(11);
    let graph = old.graph.as_mut().unwrap();
    graph.input = vec![value("x", Onnx::Float, &[None, Some(2), Some(2)])];
    graph.output = vec![value("y", Onnx::Float, &[None, Some(2), Some(2)])];
    let out = run(&parse(&old).unwrap(), vec![rows(&[1, 2, 2], &[0.0; 4])]);
    assert_eq!(out, rows(&[1, 2, 2], &[0.25; 4]));
}

#[test]
fn of_equal_maxima_the_first_counts() {
    let mut model = through(node("ArgMax", &["x"], &["y"], vec![int("axis", 1)]));
    model.graph.as_mut().unwrap().output = vec![value("y", Onnx::Int64, &[None, Some(1)])];
    let imported = parse(&model).unwrap();
    assert_eq!(engine::choose(&imported.model).unwrap(), EngineKind::Rten);
    let out = run(&imported, vec![rows(&[3, 2], &[1.0, 1.0, 0.0, 2.0, 2.0, 0.0])]);
    assert_eq!(out.data(), &TensorData::Int64(vec![0, 1, 0]));
}

#[test]
fn maps_of_probabilities_become_tensors() {
    let tree: Tree<'_> =
        &[("BRANCH_LEQ", 0, 0.0, 1, 2, 0), ("LEAF", 0, 0.0, 0, 0, 0), ("LEAF", 0, 0.0, 0, 0, 0)];
    let mut attributes =
        forest("class", &[tree], &[(0, 1, 0, 1.0), (0, 1, 1, 0.0), (0, 2, 0, 0.0), (0, 2, 1, 1.0)]);
    attributes.push(texts("classlabels_strings", &["down", "up"]));
    let nodes = vec![
        node("TreeEnsembleClassifier", &["x"], &["label", "p"], attributes),
        node("ZipMap", &["p"], &["map"], vec![texts("classlabels_strings", &["down", "up"])]),
    ];
    let map = ValueInfoProto { name: Some("map".to_owned()), ..Default::default() };
    let imported = parse(&model(nodes, vec![], vec![value("label", Onnx::String, &[None]), map])).unwrap();
    assert_eq!(imported.signature.outputs, [spec("map", DataType::Float32, &[None, Some(2)])]);
    assert!(
        imported.notes.iter().any(|note| note.contains("\"label\" is text") && note.contains("down, up"))
    );
    assert_eq!(engine::choose(&imported.model).unwrap(), EngineKind::Trees);
    let out = run(&imported, vec![rows(&[2, 2], &[-1.0, 0.0, 1.0, 0.0])]);
    assert_eq!(out, rows(&[2, 2], &[1.0, 0.0, 0.0, 1.0]));
}

#[test]
fn weights_beside_the_model_are_folded_in() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |key: &str, value: &str| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    let mut model = dense();
    let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
    tensor.float_data.clear();
    tensor.data_location = Some(DataLocation::External.into());
    tensor.external_data = vec![entry("location", "w.bin"), entry("offset", "8"), entry("length", "24")];
    let path = folder.path().join("m.onnx");
    std::fs::write(&path, bytes(&model)).unwrap();
    let missing = read_onnx(&path).unwrap_err().to_string();
    assert!(missing.contains("w.bin") && missing.contains("copy the model"), "{missing}");
    assert!(missing.starts_with(&format!("cannot import {}, tensor \"w\": ", path.display())), "{missing}");
    let weights: Vec<u8> =
        [9.0f32, 9.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(folder.path().join("w.bin"), &weights[..28]).unwrap();
    assert!(read_onnx(&path).unwrap_err().to_string().contains("truncated"));
    std::fs::write(folder.path().join("w.bin"), weights).unwrap();
    let out = run(&read_onnx(&path).unwrap(), vec![rows(&[1, 2], &[1.0, 2.0])]);
    assert_eq!(out, rows(&[1, 3], &[6.0; 3]));
    let said = parse(&model).unwrap_err().to_string();
    assert!(said.contains("as one file"), "{said}");
}

#[test]
fn hostile_bytes_are_refused() {
    let claims = |dims: &[i64]| {
        let mut model = dense();
        let tensor = &mut model.graph.as_mut().unwrap().initializer[0];
        tensor.dims = dims.to_vec();
        refused(&model)
    };
    assert!(claims(&[1 << 40]).contains("1099511627776 elements"));
    assert!(claims(&[i64::MAX, i64::MAX]).contains("impossible shape"));
    assert!(claims(&[-1, 6]).contains("impossible shape"));
    let mut cycle = dense();
    cycle.graph.as_mut().unwrap().node[0].input[0] = "y".to_owned();
    assert!(refused(&cycle).contains("nothing before it computes"));
    let mut twice = dense();
    twice.graph.as_mut().unwrap().node[1].output[0] = "h".to_owned();
    assert!(refused(&twice).contains("defined twice"));
    for bytes in [&b""[..], b"\x08\x08", b"<html>", &[0xff; 64]] {
        assert!(matches!(parse_onnx(bytes, None), Err(Error::Import { .. })), "{bytes:?}");
    }
}

#[test]
fn constants_that_would_fill_the_memory_are_refused() {
    let trillion = TensorProto {
        name: Some("shape".to_owned()),
        data_type: Some(Onnx::Int64.into()),
        dims: vec![2],
        int64_data: vec![1 << 20, 1 << 20],
        ..Default::default()
    };
    let nodes = vec![
        node("ConstantOfShape", &["shape"], &["huge"], vec![]),
        node("ReduceSum", &["huge"], &["one"], vec![]),
        node("Add", &["x", "one"], &["y"], vec![]),
    ];
    let built = model(nodes, vec![trillion], vec![value("y", Onnx::Float, &[None, Some(2)])]);
    let said = refused(&built);
    assert!(said.contains("ConstantOfShape") && said.contains("elements"), "{said}");
    assert!(parse_and_load(&bytes(&built)).is_err());
    // The same by broadcasting a column against a row.
    let nodes = vec![
        node("Add", &["column", "row"], &["wide"], vec![]),
        node("ReduceSum", &["wide"], &["one"], vec![]),
        node("Add", &["x", "one"], &["y"], vec![]),
    ];
    let size = 1 << 16;
    let vectors = vec![
        constant("column", &[size, 1], &vec![1.0; size as usize]),
        constant("row", &[1, size], &vec![1.0; size as usize]),
    ];
    let said = refused(&model(nodes, vectors, vec![value("y", Onnx::Float, &[None, Some(2)])]));
    assert!(said.contains("Add") && said.contains("elements"), "{said}");
}

#[test]
fn any_change_of_a_byte_comes_back() {
    let good = bytes(&dense());
    for at in 0..good.len() {
        for change in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[at] ^= change;
            let _ = parse_and_load(&bytes);
        }
        let _ = parse_and_load(&good[..at]);
    }
    parse_and_load(&good).unwrap();
}
