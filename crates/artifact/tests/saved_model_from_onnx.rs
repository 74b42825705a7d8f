//! What is written of ONNX graphs as SavedModels is read back, and computes the same; `conformance/test_exported_saved_models.py`
//! asks TensorFlow.

#![allow(clippy::unwrap_used)]

mod onnx_model;
mod operators;
mod sample;

use std::path::Path;

use artifact::Error;
use artifact::engine;
use artifact::format::Format;
use artifact::format::onnx::{Onnx, parse_onnx};
use artifact::format::saved_model::from_onnx;
use artifact::format::saved_model::read::{SavedModelSource, parse_saved_model_bytes};
use artifact::import::ImportedModel;
use onnx_model::{bytes, constant, ints, model, node, value};
use operators::{TOLERANCE, arrays, batch, cases, difference};
use predictor::{Predictor, Signature, Tensor};
use prost::Message;
use protos::onnx::tensor_proto::DataType;
use protos::tensorflow::{NodeDef, attr_value};
use serde_json::Value;

/// Writes a graph as a SavedModel and reads that.
fn there_and_back(onnx: &[u8], signature: &Signature) -> ImportedModel {
    let directory = tempfile::tempdir().unwrap();
    for (name, content) in from_onnx(onnx, signature).unwrap() {
        let path = directory.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    SavedModelSource::open(directory.path()).unwrap().convert("serving_default").unwrap()
}

fn load(imported: &ImportedModel) -> Box<dyn Predictor> {
    engine::load_onnx(imported.model.encode_to_vec(), &imported.signature, 1).unwrap()
}

#[test]
fn every_operator_that_we_write_goes_there_and_back() {
    let (cases, mut faults) = (cases(), Vec::new());
    for case in &cases {
        let graph = operators::graph(std::slice::from_ref(case));
        let onnx = Onnx.write(&graph).unwrap().remove(0).1;
        let signature = graph.signature();
        let imported = there_and_back(&onnx, &signature);
        let predictor = load(&imported);
        for rows in [1, 7] {
            let inputs = batch(rows);
            let expected = (case.expected)(&arrays(&inputs));
            let place = |name: &str| signature.inputs.iter().position(|spec| spec.name == name).unwrap();
            let ordered =
                imported.signature.inputs.iter().map(|spec| inputs[place(&spec.name)].clone()).collect();
            let found = predictor.predict(ordered).unwrap().remove(0);
            let worst = difference(&found, &expected);
            if worst > TOLERANCE {
                faults.push(format!("{}, {rows} rows: {worst:e} off", case.name));
            }
        }
    }
    assert!(cases.len() > 50);
    assert!(faults.is_empty(), "{faults:#?}");
}

fn numbers(value: &Value) -> Tensor {
    let shape = serde_json::from_value(value["shape"].clone()).unwrap();
    Tensor::float32(shape, serde_json::from_value(value["elements"].clone()).unwrap()).unwrap()
}

/// Convolutions, and loops over steps.
#[test]
fn layers_of_keras_go_there_and_back() {
    for name in ["dense", "convolution", "gru", "lstm"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data").join(name);
        let first = SavedModelSource::open(&folder).unwrap().convert("serving_default").unwrap();
        let again = there_and_back(&first.model.encode_to_vec(), &first.signature);
        let sample: Value =
            serde_json::from_str(&std::fs::read_to_string(folder.join("sample.json")).unwrap()).unwrap();
        let found = load(&again).predict(vec![numbers(&sample["input"])]).unwrap().remove(0);
        let expected = numbers(&sample["output"]);
        assert!(found.difference(&expected) <= 1e-6, "{name}: {}", found.difference(&expected));
    }
}

/// The nodes of the function of the signature.
fn nodes_written(onnx: &[u8], signature: &Signature) -> Vec<NodeDef> {
    let files = from_onnx(onnx, signature).unwrap();
    let (_, bytes) = files.iter().find(|(name, _)| name == "saved_model.pb").unwrap();
    let graph = parse_saved_model_bytes(bytes).unwrap().graph_def.unwrap();
    let functions = graph.library.unwrap().function;
    functions.into_iter().map(|function| function.node_def).max_by_key(Vec::len).unwrap()
}

/// TensorFlow sums a transposed convolution in another order if it is cut afterwards, and takes an inverse root otherwise than the
/// inverse of a root: what it has an operator for is written as that.
#[test]
fn what_tensorflow_computes_in_one_operator_is_written_as_that() {
    let shape = protos::onnx::TensorProto {
        name: Some("shape".to_owned()),
        dims: vec![4],
        data_type: Some(DataType::Int64.into()),
        int64_data: vec![-1, 1, 1, 2],
        ..Default::default()
    };
    let kernel: Vec<f32> = (0..18).map(|at| at as f32 * 0.25 - 2.0).collect();
    let weights = vec![shape, constant("k", &[1, 2, 3, 3], &kernel), constant("v", &[2, 1, 1], &[0.3, 7.0])];
    for (pads, padding) in [([0, 0, 1, 1], "SAME"), ([1, 1, 0, 0], "VALID"), ([0, 0, 0, 0], "VALID")] {
        let nodes = vec![
            node("Reshape", &["x", "shape"], &["image"], vec![]),
            node(
                "ConvTranspose",
                &["image", "k"],
                &["c"],
                vec![ints("strides", &[2, 2]), ints("pads", &pads)],
            ),
            node("Sqrt", &["v"], &["root"], vec![]),
            node("Reciprocal", &["root"], &["inverse"], vec![]),
            node("Mul", &["c", "inverse"], &["y"], vec![]),
        ];
        let sizes = [3 - pads[0] - pads[2], 5 - pads[1] - pads[3]];
        let output = value("y", DataType::Float, &[None, Some(2), Some(sizes[0]), Some(sizes[1])]);
        let imported = parse_onnx(&bytes(&model(nodes, weights.clone(), vec![output])), None).unwrap();
        let onnx = imported.model.encode_to_vec();
        let written = nodes_written(&onnx, &imported.signature);
        let operators: Vec<&str> = written.iter().map(|node| node.op.as_str()).collect();
        assert!(operators.contains(&"Rsqrt"), "{operators:?}");
        assert!(!operators.contains(&"Sqrt") && !operators.contains(&"Reciprocal"), "{operators:?}");
        let place = operators.iter().position(|operator| *operator == "Conv2DBackpropInput").unwrap();
        let stated = written[place].attr["padding"].value.clone();
        assert_eq!(stated, Some(attr_value::Value::S(padding.as_bytes().to_vec())), "{pads:?}");
        let again = there_and_back(&onnx, &imported.signature);
        let x = Tensor::float32(vec![3, 2], vec![1.0, -1.0, 0.5, 2.0, 0.0, 3.0]).unwrap();
        let [first, second] =
            [&imported, &again].map(|model| load(model).predict(vec![x.clone()]).unwrap().remove(0));
        assert_eq!(first.shape(), [3, 2, sizes[0] as usize, sizes[1] as usize]);
        assert_eq!(first.as_float32().unwrap(), second.as_float32().unwrap(), "{pads:?}");
    }
}

#[test]
fn names_that_tensorflow_has_none_like_are_changed_inside_and_kept_outside() {
    let weights = protos::onnx::TensorProto {
        name: Some("fc.weight::1".to_owned()),
        dims: vec![2, 2],
        data_type: Some(DataType::Float.into()),
        float_data: vec![1.0, 2.0, 3.0, 4.0],
        ..Default::default()
    };
    let nodes = vec![node("MatMul", &["x", "fc.weight::1"], &["my output:0"], vec![])];
    let output = value("my output:0", DataType::Float, &[None, Some(2)]);
    let imported = parse_onnx(&bytes(&model(nodes, vec![weights], vec![output])), None).unwrap();
    let again = there_and_back(&imported.model.encode_to_vec(), &imported.signature);
    assert_eq!(again.signature, imported.signature);
    let x = Tensor::float32(vec![1, 2], vec![1.0, -1.0]).unwrap();
    let found = load(&again).predict(vec![x]).unwrap().remove(0);
    assert_eq!(found.as_float32().unwrap(), [-2.0, -2.0]);
}

#[test]
fn what_tensorflow_has_no_like_for_is_listed() {
    let nodes = vec![
        node("Hardmax", &["x"], &["a"], vec![]),
        node("Hardmax", &["a"], &["b"], vec![]),
        node("LRN", &["b"], &["c"], vec![]),
        node("Relu", &["c"], &["y"], vec![]),
    ];
    let graph = model(nodes, vec![], vec![value("y", DataType::Float, &[None, Some(2)])]);
    let signature =
        onnx_model::signature(vec![onnx_model::spec("y", predictor::DataType::Float32, &[None, Some(2)])]);
    let error = from_onnx(&bytes(&graph), &signature).unwrap_err();
    let Error::Unwritable(unwritable) = &error else { panic!("{error}") };
    let found: Vec<(&str, usize)> =
        unwritable.iter().map(|each| (each.operator.as_str(), each.nodes.len())).collect();
    assert_eq!(found, [("Hardmax", 2), ("LRN", 1)]);
    assert!(error.to_string().contains("use --format onnx"), "{error}");
    for broken in [&b"no model"[..], &[]] {
        assert!(from_onnx(broken, &signature).is_err());
    }
}
