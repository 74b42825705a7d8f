//! Every operator, written as ONNX and run by the engine, gives what plain loops give, for any batch.

#![allow(clippy::unwrap_used)]

mod operators;
mod sample;

use artifact::engine;
use artifact::format::Format;
use artifact::format::onnx::Onnx;
use artifact::graph::Graph;
use operators::{Case, TOLERANCE, arrays, batch, cases, difference, graph};
use predictor::Predictor;

fn load(graph: &Graph) -> Box<dyn Predictor> {
    let bytes = Onnx.write(graph).unwrap().remove(0).1;
    engine::load_onnx(bytes, &graph.signature(), 1).unwrap()
}

fn check(case: &Case) -> Result<(), String> {
    let predictor = load(&graph(std::slice::from_ref(case)));
    for rows in [1, 2, 33] {
        let inputs = batch(rows);
        let expected = (case.expected)(&arrays(&inputs));
        let found = predictor.predict(inputs).map_err(|error| format!("{}: {error}", case.name))?.remove(0);
        let worst = difference(&found, &expected);
        if worst > TOLERANCE {
            let shapes = format!("{:?} for {:?}", found.shape(), expected.shape);
            return Err(format!("{}, {rows} rows: {worst:e} off, shape {shapes}", case.name));
        }
    }
    Ok(())
}

#[test]
fn each_operator_agrees_with_plain_loops() {
    let faults: Vec<String> = cases().iter().filter_map(|case| check(case).err()).collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn all_operators_agree_in_one_graph() {
    let cases = cases();
    let predictor = load(&graph(&cases));
    let inputs = batch(5);
    let arrays = arrays(&inputs);
    let outputs = predictor.predict(inputs).unwrap();
    assert_eq!(outputs.len(), cases.len());
    for (case, found) in cases.iter().zip(&outputs) {
        let worst = difference(found, &(case.expected)(&arrays));
        assert!(worst <= TOLERANCE, "{}: {worst:e} off", case.name);
    }
}

#[test]
fn a_wrong_expectation_is_found() {
    let mut cases = cases();
    let other = cases.iter().find(|case| case.name == "gelu_tanh").unwrap().expected;
    let case = cases.iter_mut().find(|case| case.name == "gelu").unwrap();
    case.expected = other;
    assert!(
        check(case).unwrap_err().starts_with("gelu, 1 rows"),
        "the two forms differ by more than the tolerance"
    );
}
