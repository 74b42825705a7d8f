//! What our own writer and TensorFlow write as a SavedModel is read back, and computes the same as ONNX on rten.

#![allow(clippy::unwrap_used)]

mod operators;
mod sample;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact::engine;
use artifact::format::Format;
use artifact::format::saved_model::SavedModel;
use artifact::format::saved_model::read::SavedModelSource;
use artifact::graph::Graph;
use artifact::import::ImportedModel;
use operators::{TOLERANCE, arrays, batch, cases, difference};
use predictor::{DataType, Predictor, Signature, Tensor, TensorSpec};
use prost::Message;
use serde_json::Value;

fn written(graph: &Graph) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for (name, bytes) in SavedModel.write(graph).unwrap() {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    directory
}

fn convert(directory: &Path) -> ImportedModel {
    SavedModelSource::open(directory).unwrap().convert("serving_default").unwrap()
}

fn load(imported: &ImportedModel) -> Box<dyn Predictor> {
    engine::load_onnx(imported.model.encode_to_vec(), &imported.signature, 1).unwrap()
}

/// The inputs in the order of the imported signature, which is that of the names.
fn ordered(signature: &Signature, given: &Signature, inputs: Vec<Tensor>) -> Vec<Tensor> {
    let named: BTreeMap<&str, Tensor> =
        given.inputs.iter().map(|spec| spec.name.as_str()).zip(inputs).collect();
    signature.inputs.iter().map(|spec| named[spec.name.as_str()].clone()).collect()
}

#[test]
fn every_operator_that_we_write_is_read_back() {
    let cases = cases();
    let mut faults = Vec::new();
    for case in &cases {
        let graph = operators::graph(std::slice::from_ref(case));
        let imported = convert(written(&graph).path());
        let predictor = load(&imported);
        for rows in [1, 7] {
            let inputs = batch(rows);
            let expected = (case.expected)(&arrays(&inputs));
            let inputs = ordered(&imported.signature, &graph.signature(), inputs);
            let found = predictor.predict(inputs).unwrap().remove(0);
            let worst = difference(&found, &expected);
            if worst > TOLERANCE {
                faults.push(format!("{}, {rows} rows: {worst:e} off", case.name));
            }
        }
    }
    assert!(cases.len() > 50);
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_whole_network_keeps_its_names_and_numbers() {
    let model = sample::Model::new();
    let graph = model.graph();
    let imported = convert(written(&graph).path());
    assert_eq!(imported.signature, graph.signature());
    assert_eq!(imported.source_names, SavedModel.tensor_names(&graph.signature()));
    assert!(imported.notes.is_empty());
    let rows = sample::rows(33);
    let input = Tensor::float32(vec![33, sample::FEATURES], rows.concat()).unwrap();
    let found = load(&imported).predict(vec![input]).unwrap().remove(0);
    let found = found.as_float32().unwrap();
    for (row, found) in rows.iter().zip(found.chunks(sample::CLASSES)) {
        for (expected, found) in model.forward(row).iter().zip(found) {
            assert!((expected - found).abs() < 1e-6, "{expected} {found}");
        }
    }
    let weights = imported.model.graph.unwrap().initializer;
    assert!(weights.iter().any(|tensor| tensor.name() == "dense/kernel"), "weights keep their names");
}

#[test]
fn signatures_are_stated_without_reading_weights() {
    let directory = written(&sample::Model::new().graph());
    std::fs::remove_file(directory.path().join("variables/variables.data-00000-of-00001")).unwrap();
    let source = SavedModelSource::open(directory.path()).unwrap();
    let named = source.signatures().remove(0);
    let spec = TensorSpec {
        name: "features".to_owned(),
        dtype: DataType::Float32,
        shape: vec![None, Some(sample::FEATURES)],
    };
    assert_eq!((named.name.as_str(), named.signature.inputs), ("serving_default", vec![spec]));
    let error = source.convert("serving_default").unwrap_err().to_string();
    assert!(error.starts_with("cannot open"), "{error}");
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name)
}

fn numbers(value: &Value) -> Tensor {
    let shape = serde_json::from_value(value["shape"].clone()).unwrap();
    Tensor::float32(shape, serde_json::from_value(value["elements"].clone()).unwrap()).unwrap()
}

/// Converts a model of TensorFlow and compares a batch; returns the operators it became.
fn check(name: &str) -> Vec<String> {
    let imported = convert(&fixture(name));
    let text = std::fs::read_to_string(fixture(name).join("sample.json")).unwrap();
    let sample: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(imported.signature.inputs[0].name, sample["input"]["name"]);
    assert_eq!(imported.signature.outputs[0].name, sample["output"]["name"]);
    let found = load(&imported).predict(vec![numbers(&sample["input"])]).unwrap().remove(0);
    let expected = numbers(&sample["output"]);
    assert_eq!(found.shape(), expected.shape());
    for (found, expected) in found.as_float32().unwrap().iter().zip(expected.as_float32().unwrap()) {
        assert!((found - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{name}: {found} {expected}");
    }
    imported.model.graph.unwrap().node.iter().map(|node| node.op_type().to_owned()).collect()
}

#[test]
fn dense_layers_of_keras_are_read() {
    assert_eq!(check("dense"), ["MatMul", "Add", "Relu", "MatMul", "Add"]);
}

#[test]
fn variables_are_found_through_objects() {
    assert_eq!(check("objects"), ["MatMul", "Add", "Relu", "MatMul", "Add"]);
}

#[test]
fn a_causal_convolution_of_keras_is_read() {
    assert!(check("convolution").contains(&"Conv".to_owned()));
}

#[test]
fn recurrent_layers_of_keras_become_one_operator_each() {
    for (name, operator) in [("lstm", "LSTM"), ("gru", "GRU")] {
        let operators = check(name);
        assert_eq!(operators.iter().filter(|found| *found == operator).count(), 1, "{operators:?}");
        assert!(operators.len() < 15, "{operators:?}");
    }
}
