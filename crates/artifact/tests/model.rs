//! A graph written as ONNX and run by the engine gives what plain Rust gives, from any thread and for any batch.

#![allow(clippy::unwrap_used)]

mod sample;

use artifact::format::Format;
use artifact::format::onnx::Onnx;
use artifact::format::saved_model::SavedModel;
use artifact::{Error, engine};
use predictor::{PredictError, Predictor, Tensor};
use sample::{CLASSES, FEATURES, Model, rows};

const TOLERANCE: f32 = 1e-6;

fn load(model: &Model, threads: usize) -> Box<dyn Predictor> {
    let graph = model.graph();
    let bytes = Onnx.write(&graph).unwrap().remove(0).1;
    engine::load_onnx(bytes, &graph.signature(), threads).unwrap()
}

fn predict(predictor: &dyn Predictor, rows: &[Vec<f32>]) -> Vec<f32> {
    let input = Tensor::float32(vec![rows.len(), FEATURES], rows.concat()).unwrap();
    let outputs = predictor.predict(vec![input]).unwrap();
    assert_eq!(outputs[0].shape(), [rows.len(), CLASSES]);
    outputs[0].as_float32().unwrap().to_vec()
}

fn largest_difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter()
        .zip(b)
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst, d| if d > worst || d.is_nan() { d } else { worst })
}

#[test]
fn the_engine_agrees_with_plain_rust() {
    let model = Model::new();
    let rows = rows(1000);
    let expected: Vec<f32> = rows.iter().flat_map(|row| model.forward(row)).collect();
    for threads in [1, 2] {
        let found = predict(load(&model, threads).as_ref(), &rows);
        let difference = largest_difference(&found, &expected);
        assert!(difference <= TOLERANCE, "{threads} threads: {difference}");
    }
}

#[test]
fn a_row_does_not_feel_its_batch() {
    let model = Model::new();
    let predictor = load(&model, 1);
    let rows = rows(33);
    let together = predict(predictor.as_ref(), &rows);
    let alone: Vec<f32> =
        rows.iter().flat_map(|row| predict(predictor.as_ref(), std::slice::from_ref(row))).collect();
    let difference = largest_difference(&together, &alone);
    assert!(difference <= TOLERANCE, "{difference}");
    let none = predictor.predict(vec![Tensor::float32(vec![0, FEATURES], vec![]).unwrap()]).unwrap();
    assert_eq!(none[0].shape(), [0, CLASSES]);
}

#[test]
fn many_threads_may_call_at_once() {
    let model = Model::new();
    let predictor = load(&model, 1);
    let rows = rows(64);
    let expected = predict(predictor.as_ref(), &rows);
    std::thread::scope(|scope| {
        for worker in 0..4 {
            let (predictor, rows, expected) = (&predictor, &rows, &expected);
            let work = move || {
                for _ in 0..50 {
                    assert_eq!(predict(predictor.as_ref(), rows), *expected);
                }
            };
            scope.spawn(move || if worker % 2 == 0 { engine::run_as_worker(work) } else { work() });
        }
    });
}

#[test]
fn a_worker_gives_the_same_answer_and_a_panic_inside_one_harms_no_later_call() {
    let before = std::panic::catch_unwind(|| engine::run_as_worker(|| panic!("inside")));
    assert!(before.is_err());
    let (model, rows) = (Model::new(), rows(1));
    let predictor = load(&model, 1);
    let outside = predict(predictor.as_ref(), &rows);
    assert_eq!(engine::run_as_worker(|| predict(predictor.as_ref(), &rows)), outside);
}

#[test]
fn misfits_are_refused() {
    let graph = Model::new().graph();
    let bytes = Onnx.write(&graph).unwrap().remove(0).1;
    let predictor = engine::load_onnx(bytes.clone(), &graph.signature(), 1).unwrap();
    let short = Tensor::float32(vec![1, 74], vec![0.0; 74]).unwrap();
    assert!(matches!(predictor.predict(vec![short]), Err(PredictError::Input(_))));

    let refused = |bytes: Vec<u8>, signature| match engine::load_onnx(bytes, &signature, 1) {
        Err(Error::Load { reason, .. }) => reason,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it loaded"),
    };
    let mut renamed = graph.signature();
    renamed.outputs[0].name = "scores".to_owned();
    assert_eq!(refused(bytes.clone(), renamed), "it has no output \"scores\"");
    let mut widened = graph.signature();
    widened.inputs[0].shape[1] = Some(76);
    assert_eq!(
        refused(bytes.clone(), widened),
        "input \"features\" is not [batch, 76], as the signature says"
    );
    assert!(!refused(bytes[..bytes.len() / 2].to_vec(), graph.signature()).is_empty());
    assert!(!refused(b"not a model".to_vec(), graph.signature()).is_empty());
}

#[test]
fn the_same_graph_gives_the_same_bytes() {
    let (one, two) = (Model::new().graph(), Model::new().graph());
    assert_eq!(Onnx.write(&one).unwrap(), Onnx.write(&two).unwrap());
    let files = SavedModel.write(&one).unwrap();
    assert_eq!(files, SavedModel.write(&two).unwrap());
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    let expected = ["variables/variables.data-00000-of-00001", "variables/variables.index", "saved_model.pb"];
    assert_eq!(names, expected);
    // Four variables end to end, then the checkpoint's object graph.
    let weights = 4 * (FEATURES * 128 + 128 + 128 * CLASSES + CLASSES);
    assert!(files[0].1.len() > weights);
}
