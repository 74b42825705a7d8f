//! A graph that does not fit together cannot be built, and the error names the node.

#![allow(clippy::unwrap_used)]

use artifact::format::Format;
use artifact::format::onnx::Onnx;
use artifact::format::saved_model::SavedModel;
use artifact::graph::{Axes, Conv1d, GraphBuilder, Padding, Pool1d, Value};
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
fn misfits_along_axes_name_their_node() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", DataType::Float32, vec![None, Some(6), Some(4)]).unwrap();
    let flat = graph.input("flat", DataType::Float32, vec![None, Some(24)]).unwrap();
    let fixed = graph.constant("fixed", zeros(&[6, 4])).unwrap();
    let says = |found: Result<Value, Error>, expected: &str| {
        assert_eq!(text(found), format!("graph node \"n\": {expected}"));
    };
    let dropped = Axes::Dropped;
    says(graph.reduce_mean("n", x, &[0], dropped), "axis 0 of [batch, 6, 4] is the open batch");
    says(graph.reduce_max("n", x, &[3], dropped), "[batch, 6, 4] has no axis 3");
    says(graph.reduce_sum("n", x, &[1, 1], dropped), "it reduces one or more axes, each once, not [1, 1]");
    says(graph.reduce_sum("n", x, &[], dropped), "it reduces one or more axes, each once, not []");
    says(graph.reshape("n", flat, &[5, 5]), "[batch, 24] cannot be reshaped to [batch, 5, 5]");
    says(graph.reshape("n", flat, &[usize::MAX, 3]), &too_many("[batch, 24]"));
    says(graph.reshape("n", fixed, &[24]), "only a value with the batch as axis 0 is reshaped, not [6, 4]");
    says(graph.transpose("n", x, &[0, 1, 1]), "[0, 1, 1] is no permutation of the axes of [batch, 6, 4]");
    says(graph.transpose("n", x, &[0, 1]), "[0, 1] is no permutation of the axes of [batch, 6, 4]");
    says(
        graph.transpose("n", x, &[1, 0, 2]),
        "its result [6, batch, 4] has the batch as axis 1, it belongs to axis 0",
    );
    says(graph.slice("n", x, 1, 2..2), "2..2 is no part of axis 1 of [batch, 6, 4]");
    says(graph.slice("n", x, 1, 2..7), "2..7 is no part of axis 1 of [batch, 6, 4]");
    says(graph.slice("n", x, 0, 0..1), "axis 0 of [batch, 6, 4] is the open batch");
    assert_eq!(
        text(graph.split("n", x, 1, 4)),
        "graph node \"n\": axis 1 of [batch, 6, 4] has no 4 equal parts"
    );
    says(graph.concat("n", &[], 1), "there is nothing to concatenate");
    says(graph.concat("n", &[x, x], 0), "axis 0 of [batch, 6, 4] is the open batch");
    says(graph.concat("n", &[x, flat], 1), "[batch, 24] does not continue [batch, 6, 4] along axis 1");
    says(graph.concat("n", &[x, fixed], 1), "[6, 4] does not continue [batch, 6, 4] along axis 1");
    says(graph.pad("n", x, 0, [1, 0]), "axis 0 of [batch, 6, 4] is the open batch");
    assert!(
        text(graph.pad("n", x, 1, [usize::MAX, 1])).ends_with("an axis of more than 2147483647 elements")
    );
    assert_eq!(graph.shape(x), Some(&vec![None, Some(6), Some(4)]));
    let near = graph.reshape("n", x, &[2, 3, 2, 2]).unwrap();
    assert!(text(graph.reshape("far", near, &[2, 3, 2, 2, 1])).ends_with("has 6 axes, the limit is 5"));
}

fn too_many(from: &str) -> String {
    format!("{from} cannot be reshaped to [batch, {}, 3]", usize::MAX)
}

#[test]
fn misfits_of_products_and_windows_name_their_node() {
    let mut graph = GraphBuilder::new();
    let x = graph.input("x", DataType::Float32, vec![None, Some(6), Some(4)]).unwrap();
    let flat = graph.input("flat", DataType::Float32, vec![None, Some(4)]).unwrap();
    let kernel = graph.variable("kernel", zeros(&[3, 4, 5])).unwrap();
    let says = |found: Result<Value, Error>, expected: &str| {
        assert_eq!(text(found), format!("graph node \"n\": {expected}"));
    };
    says(graph.matmul("n", x, x), "shapes [batch, 6, 4] and [batch, 6, 4] cannot be multiplied");
    says(graph.matmul("n", x, kernel), "shapes [batch, 6, 4] and [3, 4, 5] cannot be multiplied");
    says(
        graph.matmul("n", flat, kernel),
        "its result [3, batch, 5] has the batch as axis 1, it belongs to axis 0",
    );
    let form = |stride, dilation, padding| Conv1d { stride, dilation, padding };
    let plain = form(1, 1, Padding::Valid);
    says(graph.conv1d("n", flat, kernel, plain), &shapes("[batch, 4] and [3, 4, 5]"));
    says(graph.conv1d("n", x, flat, plain), &shapes("[batch, 6, 4] and [batch, 4]"));
    says(graph.conv1d("n", x, x, plain), &shapes("[batch, 6, 4] and [batch, 6, 4]"));
    let wide = graph.variable("wide", zeros(&[3, 5, 5])).unwrap();
    says(graph.conv1d("n", x, wide, plain), "the kernel takes 5 channels, [batch, 6, 4] has 4");
    says(
        graph.conv1d("n", x, kernel, form(2, 2, Padding::Same)),
        "stride 2 and dilation 2 are both above 1, one must be 1",
    );
    says(
        graph.conv1d("n", x, kernel, form(1, 3, Padding::Valid)),
        "windows that reach over 7 steps do not fit into 6",
    );
    assert!(text(graph.conv1d("n", x, kernel, form(0, 1, Padding::Same))).contains("at least 1"));
    assert!(text(graph.conv1d("n", x, kernel, form(1, 0, Padding::Same))).contains("at least 1"));
    let pool = |size, padding| Pool1d { size, stride: 1, padding };
    says(
        graph.max_pool1d("n", flat, pool(2, Padding::Same)),
        "it takes [batch, steps, channels], not [batch, 4]",
    );
    says(
        graph.max_pool1d("n", x, pool(7, Padding::Valid)),
        "windows that reach over 7 steps do not fit into 6",
    );
    let causal = graph.average_pool1d("n", x, pool(2, Padding::Causal));
    says(causal, "a pooling pads as valid or same, not causal");
    says(graph.leaky_relu("n", x, f32::NAN), "alpha must be finite, it is NaN");
    says(graph.elu("n", x, f32::INFINITY), "alpha must be finite, it is inf");
    let sums = graph.reduce_sum("sums", flat, &[1], Axes::Dropped).unwrap();
    says(graph.softmax("n", sums), "softmax needs a last axis beside the batch, not [batch]");
    // What was refused has taken no name.
    graph.identity("n", x).unwrap();
}

fn shapes(texts: &str) -> String {
    format!("it takes [batch, steps, in] and [width, in, out], not {texts}")
}

#[test]
fn odd_names_and_outputs_run() {
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
