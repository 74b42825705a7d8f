//! A graph that does not fit together cannot be built, and the error names the node.

#![allow(clippy::unwrap_used)]

use artifact::format::Format;
use artifact::format::onnx::Onnx;
use artifact::format::saved_model::SavedModel;
use artifact::graph::{GraphBuilder, Value};
use artifact::{Error, engine};
use predictor::{DataType, Tensor, TensorData};

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::float32(shape.to_vec(), vec![0.0; shape.iter().product()]).unwrap()
}

fn start() -> (GraphBuilder, Value) {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", DataType::Float32, vec![None, Some(3)]).unwrap();
    (graph, x)
}

fn text<T: std::fmt::Debug>(result: Result<T, Error>) -> String {
    result.unwrap_err().to_string()
}

#[test]
fn misfits_name_their_node() {
    let (mut graph, x) = start();
    let kernel = graph.variable("dense/kernel", zeros(&[4, 2])).unwrap();
    let expected = "graph node \"dense/matmul\": shapes [batch, 3] and [4, 2] cannot be multiplied";
    assert_eq!(text(graph.matmul("dense/matmul", x, kernel)), expected);
    let expected = "graph node \"dense/add\": shapes [batch, 3] and [4, 2] do not broadcast";
    assert_eq!(text(graph.add("dense/add", x, kernel)), expected);
    let ints = Tensor::new(vec![3], TensorData::Int64(vec![1; 3])).unwrap();
    let ints = graph.constant("ints", ints).unwrap();
    let expected = "graph node \"sum\": it takes float32, \"ints\" is int64";
    assert_eq!(text(graph.add("sum", x, ints)), expected);
    assert_eq!(
        text(graph.select("pick", x, x, x)),
        "graph node \"pick\": the condition must be bool, \"x\" is float32"
    );
    assert!(text(graph.relu("x", x)).ends_with("the name is taken"));
    assert!(text(graph.relu("a b", x)).contains("a name starts with"));
    assert!(text(graph.clip("clip", x, 3.0, -3.0)).ends_with("the interval 3..=-3 is empty"));
    assert!(text(graph.output("Scores", x)).contains("lower-case"));
    assert!(text(graph.output("scores", kernel)).ends_with("is not the batch"));
    assert!(text(graph.input("y", DataType::Float32, vec![Some(2)])).contains("open batch"));
}

#[test]
fn a_graph_needs_both_ends() {
    assert!(text(GraphBuilder::new().build()).contains("needs an input"));
    assert!(text(start().0.build()).contains("needs an output"));
    let (mut graph, _) = start();
    let foreign = {
        let (mut other, x) = start();
        other.relu("far", x).unwrap()
    };
    assert!(text(graph.relu("near", foreign)).contains("another graph"));
}

#[test]
fn every_operator_and_odd_outputs_run() {
    let (mut graph, x) = start();
    let tanh = graph.tanh("tanh", x).unwrap();
    let sigmoid = graph.sigmoid("sigmoid", tanh).unwrap();
    // A name the ONNX writer wants for itself, an input shown as an output, and one value shown twice.
    let taken = graph.constant("clip/min", zeros(&[3])).unwrap();
    let sum = graph.add("sum", sigmoid, taken).unwrap();
    let clip = graph.clip("clip", sum, 0.2, 0.6).unwrap();
    graph.output("raw", x).unwrap();
    graph.output("clipped", clip).unwrap();
    graph.output("again", clip).unwrap();
    let graph = graph.build().unwrap();
    let bytes = Onnx.write(&graph).unwrap().remove(0).1;
    let predictor = engine::load_onnx(bytes, &graph.signature(), 1).unwrap();
    let input = vec![-5.0, 0.0, 0.3, 5.0, 1.0, -0.5];
    let outputs = predictor.predict(vec![Tensor::float32(vec![2, 3], input.clone()).unwrap()]).unwrap();
    assert_eq!(outputs[0].as_float32().unwrap(), input);
    assert_eq!(outputs[1], outputs[2]);
    for (x, y) in input.iter().zip(outputs[1].as_float32().unwrap()) {
        let expected = (1.0 / (1.0 + (-x.tanh()).exp())).clamp(0.2, 0.6);
        assert!((y - expected).abs() < 1e-6, "{x}: {y} is not {expected}");
    }
}

#[test]
fn names_the_saved_model_needs_are_refused() {
    for name in ["serving_default_x", "save/kernel", "saver_filename"] {
        let (mut graph, x) = start();
        let bias = graph.variable(name, zeros(&[3])).unwrap();
        let sum = graph.add("sum", x, bias).unwrap();
        graph.output("y", sum).unwrap();
        let error = text(SavedModel.write(&graph.build().unwrap()));
        assert!(error.contains(name), "{error}");
    }
}
