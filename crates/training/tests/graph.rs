//! The exported graph, run by the engine that serves, answers as the network that was trained.

#![allow(clippy::unwrap_used)]

use artifact::engine::load_onnx;
use artifact::format::{Format, onnx::Onnx};
use artifact::graph::Graph;
use jiff::civil::date;
use market::{ColumnStep, FittedProcessors, NanPolicy};
use predictor::Tensor;
use training::{
    Activation, Columns, DenseConfig, Error, Fit, FitConfig, LayerKind, ModelConfig, OutputConfig, Samples,
    Silent, Trained, fit,
};

const COLUMNS: usize = 6;
const ROWS: usize = 500;

fn raw_features() -> Vec<f32> {
    (0..ROWS * COLUMNS)
        .map(|at| (at as f32 * 0.731).sin() * (1.0 + (at % COLUMNS) as f32 * 10.0) + 4.0)
        .collect()
}

fn processors(nan_policy: NanPolicy) -> FittedProcessors {
    let of_column = |scale: f32, shift: f32| (0..COLUMNS).map(|at| at as f32 * scale + shift).collect();
    let mut steps = Vec::new();
    if nan_policy == NanPolicy::Fill {
        steps.push(ColumnStep::Fill { values: of_column(-1.5, 2.0) });
    }
    steps.push(ColumnStep::Scale { center: of_column(0.1, 4.0), scale: of_column(7.0, 0.3) });
    steps.push(ColumnStep::Clip { limit: 1.25 });
    // A second scale, and what else there is.
    steps.push(ColumnStep::Scale { center: of_column(0.01, 0.2), scale: of_column(0.1, 0.5) });
    steps.push(ColumnStep::Tanh);
    FittedProcessors {
        nan_policy,
        columns: COLUMNS,
        steps,
        fit_window: (date(2000, 1, 3), date(2014, 12, 31)),
        rows: ROWS,
    }
}

/// A network with every activation, fitted to processed features.
fn trained(processors: &FittedProcessors) -> Trained {
    use Activation::{Linear, Relu, Sigmoid, Softmax, Tanh};
    let layer = |(units, activation)| LayerKind::Dense(DenseConfig::new(units, activation));
    let layers = [(16, Relu), (12, Tanh), (9, Sigmoid), (5, Linear), (4, Softmax), (3, Softmax)];
    let model = ModelConfig::sequential(layers.map(layer).to_vec());
    let mut features = raw_features();
    processors.apply(&mut features);
    let labels: Vec<u32> =
        features.chunks(COLUMNS).map(|row| u32::from(row[0] > 0.0) + u32::from(row[1] > 0.0)).collect();
    let config = FitConfig { epochs: 3, seed: 7, ..FitConfig::default() };
    let columns = Columns::numbered(COLUMNS);
    let job = Fit {
        model: &model,
        output: OutputConfig { units: 3, activation: Softmax },
        config: &config,
        columns: &columns,
        train: Samples::classes(&features, COLUMNS, &labels),
        valid: None,
        start: None,
        device: training::device_of_tests(),
        directory: None,
    };
    fit(&job, &mut Silent).unwrap()
}

fn served(graph: &Graph, features: &[f32]) -> Vec<f32> {
    let (_, model) = Onnx.write(graph).unwrap().remove(0);
    let engine = load_onnx(model, &graph.signature(), 1).unwrap();
    let rows = features.len() / COLUMNS;
    let outputs =
        engine.predict(vec![Tensor::float32(vec![rows, COLUMNS], features.to_vec()).unwrap()]).unwrap();
    assert_eq!(outputs[0].shape(), [rows, 3]);
    outputs[0].as_float32().unwrap().to_vec()
}

#[test]
fn the_engine_answers_raw_features_as_the_network_answers_processed_ones() {
    for nan_policy in [NanPolicy::Fill, NanPolicy::Reject] {
        let processors = processors(nan_policy);
        let trained = trained(&processors);
        let graph = trained.graph(&processors).unwrap();
        let mut features = raw_features();
        if nan_policy == NanPolicy::Fill {
            for at in (0..features.len()).step_by(11) {
                features[at] = f32::NAN;
            }
        }
        let got = served(&graph, &features);
        processors.apply(&mut features);
        let expected = trained.predict(&features).remove(0);
        assert_eq!(got.len(), expected.len());
        for (at, (got, expected)) in got.iter().zip(&expected).enumerate() {
            assert!((got - expected).abs() < 1e-6, "probability {at}: {got} is not {expected}");
        }
        // Answers differ between rows, or the comparison would say nothing.
        let first: Vec<f32> = expected.chunks(3).map(|row| row[0]).collect();
        let spread = first.iter().fold(0.0f32, |most, p| most.max((p - first[0]).abs()));
        assert!(spread > 1e-3, "{spread}");
    }
}

#[test]
fn layers_have_the_names_of_keras() {
    let processors = processors(NanPolicy::Fill);
    let graph = trained(&processors).graph(&processors).unwrap();
    let variables: Vec<&str> = graph.variables().map(|(node, _)| node.name.as_str()).collect();
    assert_eq!(variables[..4], ["dense/kernel", "dense/bias", "dense_1/kernel", "dense_1/bias"]);
    let signature = graph.signature();
    assert_eq!(
        (signature.inputs[0].name.as_str(), &signature.inputs[0].shape),
        ("features", &vec![None, Some(6)])
    );
    let output = &signature.outputs[0];
    assert_eq!((output.name.as_str(), &output.shape), ("probabilities", &vec![None, Some(3)]));
}

#[test]
fn processors_of_other_features_are_refused() {
    let mut processors = processors(NanPolicy::Fill);
    let trained = trained(&processors);
    processors.columns = 5;
    let error = trained.graph(&processors).unwrap_err();
    assert!(matches!(error, Error::Processors { processors: 5, network: 6 }), "{error:?}");
    assert_eq!(
        error.to_string(),
        "the processors scale 5 features, the network takes 6; fit both to the same columns"
    );
}
