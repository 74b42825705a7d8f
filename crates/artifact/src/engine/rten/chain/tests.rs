//! Which models are chains, and that a chain gives what the graph gives.

use predictor::{DataType, Predictor as _, Signature, TensorSpec};
use prost::Message as _;
use protos::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto};

use super::super::{RtenPredictor, run_as_worker};
use super::*;
use crate::format::onnx::proto;

const WIDTH: usize = 5;

fn constant(name: &str, shape: &[usize]) -> TensorProto {
    let count = shape.iter().product::<usize>();
    let values = (0..count).map(|at| ((at * 37 + name.len() * 11) % 23) as f32 / 7.0 - 1.4).collect();
    proto::tensor(name, &Tensor::float32(shape.to_vec(), values).unwrap())
}

fn number(name: &str, value: f32) -> TensorProto {
    proto::tensor(name, &Tensor::float32(vec![], vec![value]).unwrap())
}

/// A node from text: `y = MatMul(x, w)`.
fn node(text: &str) -> NodeProto {
    let (output, call) = text.split_once(" = ").unwrap();
    let (operator, inputs) = call.trim_end_matches(')').split_once('(').unwrap();
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: inputs.split(", ").map(str::to_owned).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

/// A model from `x` to `y`.
fn model(nodes: Vec<NodeProto>, units: usize) -> (Vec<u8>, Signature) {
    let spec = |name: &str, width| TensorSpec {
        name: name.to_owned(),
        dtype: DataType::Float32,
        shape: vec![None, Some(width)],
    };
    let signature = Signature { inputs: vec![spec("x", WIDTH)], outputs: vec![spec("y", units)] };
    let info = |name: &str, width| {
        use protos::onnx::tensor_shape_proto::{Dimension, dimension::Value};
        use protos::onnx::{TensorShapeProto, TypeProto, ValueInfoProto, type_proto};
        let dim = |value| Dimension { value: Some(value), ..Dimension::default() };
        let dim = vec![dim(Value::DimParam("n".to_owned())), dim(Value::DimValue(width as i64))];
        let tensor = type_proto::Tensor { elem_type: Some(1), shape: Some(TensorShapeProto { dim }) };
        let value = Some(type_proto::Value::TensorType(tensor));
        ValueInfoProto {
            name: Some(name.to_owned()),
            r#type: Some(TypeProto { value, ..TypeProto::default() }),
            ..ValueInfoProto::default()
        }
    };
    let shape =
        proto::tensor("shape", &Tensor::new(vec![2], predictor::TensorData::Int64(vec![-1, 8])).unwrap());
    let graph = GraphProto {
        name: Some("chain".to_owned()),
        node: nodes,
        input: vec![info("x", WIDTH)],
        output: vec![info("y", units)],
        initializer: vec![
            constant("five", &[WIDTH]),
            constant("five_in_a_row", &[1, WIDTH]),
            constant("five_to_eight", &[WIDTH, 8]),
            constant("eight", &[8]),
            constant("eight_to_three", &[8, 3]),
            constant("three", &[3]),
            constant("rows", &[2, 1]),
            number("least", -1.5),
            number("most", 1.5),
            number("half", 0.5),
            shape,
        ],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(18) };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset],
        graph: Some(graph),
        ..ModelProto::default()
    };
    (model.encode_to_vec(), signature)
}

fn nodes(texts: &[&str]) -> Vec<NodeProto> {
    texts.iter().map(|text| node(text)).collect()
}

/// What an own model is: processors, layers, probabilities.
fn classifier() -> Vec<NodeProto> {
    nodes(&[
        "m = IsNaN(x)",
        "f = Where(m, five, x)",
        "s = Sub(f, five_in_a_row)",
        "d = Div(s, half)",
        "c = Clip(d, least, most)",
        "h = MatMul(c, five_to_eight)",
        "b = Add(h, eight)",
        "r = Relu(b)",
        "k = Reshape(r, shape)",
        "o = MatMul(k, eight_to_three)",
        "p = Add(o, three)",
        "y = Softmax(p)",
    ])
}

fn loaded(nodes: Vec<NodeProto>, units: usize) -> RtenPredictor {
    let (bytes, signature) = model(nodes, units);
    RtenPredictor::load(bytes, &signature, 1).unwrap()
}

/// Its chain beside its graph, on rows that were not tried.
fn assert_is_a_chain(nodes: Vec<NodeProto>, units: usize) {
    let predictor = loaded(nodes, units);
    let chain = predictor.chain.as_ref().unwrap();
    for rows in [1, 2, 5, 40] {
        let values: Vec<f32> = (0..rows * WIDTH).map(|at| (at as f32 * 0.77).sin() * 3.0).collect();
        let input = Tensor::float32(vec![rows, WIDTH], values.clone()).unwrap();
        // Outside of a worker the graph computes.
        let by_graph = predictor.predict(vec![input.clone()]).unwrap();
        let by_chain = run_as_worker(|| predictor.predict(vec![input]).unwrap());
        assert_eq!(by_graph, by_chain);
        assert!(same(
            &run_as_worker(|| chain.run(rows, &values)).unwrap(),
            by_graph[0].as_float32().unwrap()
        ));
    }
}

#[test]
fn an_own_classifier_is_a_chain() {
    assert_is_a_chain(classifier(), 3);
}

#[test]
fn every_step_gives_what_the_graph_gives() {
    let first = ["h = MatMul(x, five_to_eight)", "b = Add(eight, h)"];
    let last = ["o = MatMul(a, eight_to_three)", "y = Identity(o)"];
    for between in [
        "a = Relu(b)",
        "a = Sigmoid(b)",
        "a = Tanh(b)",
        "a = Mul(b, eight)",
        "a = Div(b, half)",
        "a = Softmax(b)",
    ] {
        assert_is_a_chain(nodes(&[first[0], first[1], between, last[0], last[1]]), 3);
    }
    let leaky = with(node("a = LeakyRelu(b)"), proto::float("alpha", 0.3));
    let [h, b, o, y] = [first[0], first[1], last[0], last[1]].map(node);
    assert_is_a_chain(vec![h, b, leaky, o, y], 3);
    assert_is_a_chain(nodes(&["y = MatMul(x, five_to_eight)"]), 8);
    assert_is_a_chain(nodes(&["h = MatMul(x, five_to_eight)", "y = Add(h, eight)"]), 8);
}

#[test]
fn what_is_more_than_a_chain_is_left_to_the_graph() {
    let across = with(node("y = Softmax(b)"), proto::int("axis", 0));
    for (nodes, units) in [
        // A layer that goes around another.
        (nodes(&["a = Relu(x)", "y = Add(a, x)"]), WIDTH),
        (nodes(&["a = Relu(x)", "b = Sigmoid(x)", "y = Tanh(a)"]), WIDTH),
        // What is missing is asked and not filled, or filled with something else.
        (nodes(&["m = IsNaN(x)", "r = Relu(x)", "y = Where(m, five, r)"]), WIDTH),
        (nodes(&["m = IsNaN(x)", "y = Where(m, x, five)"]), WIDTH),
        // An operator that is no step.
        (nodes(&["y = Exp(x)"]), WIDTH),
        (nodes(&["y = Sub(five, x)"]), WIDTH),
    ] {
        assert!(loaded(nodes, units).chain.is_none());
    }
    let (bytes, _) = model(vec![node("b = Relu(x)"), across], WIDTH);
    assert_eq!(Layers::of(&bytes), None);
    let (bytes, _) = model(nodes(&["y = Mul(x, rows)"]), WIDTH);
    assert_eq!(Layers::of(&bytes), None);
    assert_eq!(Layers::of(b"no model"), None);
}

#[test]
fn other_bits_than_those_of_the_graph_are_not_taken() {
    let predictor = loaded(classifier(), 3);
    let (bytes, _) = model(classifier(), 3);
    let layers = Layers::of(&bytes).unwrap();
    let graph = |rows: Tensor| predictor.predict(vec![rows]).unwrap()[0].as_float32().unwrap().to_vec();
    run_as_worker(|| {
        assert!(Chain::proven(&layers, |rows| Some(graph(rows))).is_some());
        let nudged = |rows: Tensor| {
            let mut outputs = graph(rows);
            let last = outputs.last_mut()?;
            *last = f32::from_bits(last.to_bits() ^ 1);
            Some(outputs)
        };
        assert!(Chain::proven(&layers, nudged).is_none());
        assert!(Chain::proven(&layers, |_| None).is_none());
    });
}

#[test]
fn many_rows_go_through_the_graph() {
    let predictor = loaded(classifier(), 3);
    let chain = predictor.chain.as_ref().unwrap();
    assert!(chain.takes(NUMBERS_MAX / 8) && !chain.takes(NUMBERS_MAX / 8 + 1) && !chain.takes(usize::MAX));
}
