//! `.keras` files that Keras 3 wrote (`keras/make.py`): converted and run, they answer as Keras answered; what is Python code is
//! refused, all of it at once.
#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};

use artifact::Error;
use artifact::engine;
use artifact::format::keras::KerasSource;
use artifact::import::{ImportedModel, Kind, Source};
use predictor::Tensor;
use prost::Message;
use serde_json::Value;

/// Of an element, relative to the larger of 1 and Keras's value.
const TOLERANCE: f32 = 1e-5;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keras").join(name)
}

fn converted(name: &str) -> Result<ImportedModel, Error> {
    let source = Source::open(&sample(name))?;
    assert_eq!(source.models[0].kind, Kind::Keras);
    KerasSource::open(&source.models[0].path)?.convert()
}

/// What was recorded of a model: its inputs, and what Keras answered.
fn recorded(name: &str) -> Vec<Tensor> {
    let text = std::fs::read_to_string(sample(name)).unwrap();
    let tensors: Vec<Value> = serde_json::from_str(&text).unwrap();
    let numbers = |value: &Value| -> Vec<f64> {
        value.as_array().unwrap().iter().map(|number| number.as_f64().unwrap()).collect()
    };
    let tensor = |tensor: &Value| {
        let shape = numbers(&tensor["shape"]).into_iter().map(|axis| axis as usize).collect();
        Tensor::float32(shape, numbers(&tensor["elements"]).into_iter().map(|x| x as f32).collect()).unwrap()
    };
    tensors.iter().map(tensor).collect()
}

fn check(name: &str, inputs: &[&str], outputs: &[&str]) {
    let imported = converted(&format!("{name}.keras")).unwrap();
    let signature = &imported.signature;
    assert!(signature.inputs.iter().map(|spec| spec.name.as_str()).eq(inputs.iter().copied()));
    assert!(signature.outputs.iter().map(|spec| spec.name.as_str()).eq(outputs.iter().copied()));
    let predictor = engine::load_onnx(imported.model.encode_to_vec(), signature, 1).unwrap();
    let mut given = recorded(&format!("{name}.json"));
    let expected = given.split_off(inputs.len());
    let answers = predictor.predict(given).unwrap();
    assert_eq!(answers.len(), expected.len());
    for (ours, theirs) in answers.iter().zip(&expected) {
        assert_eq!(ours.shape(), theirs.shape());
        for (ours, theirs) in ours.as_float32().unwrap().iter().zip(theirs.as_float32().unwrap()) {
            assert!((ours - theirs).abs() <= TOLERANCE * theirs.abs().max(1.0), "{ours} {theirs}");
        }
    }
}

#[test]
fn a_chain_of_layers_answers_as_keras_does() {
    check("chain", &["input_layer"], &["output_0"]);
}

/// A network within, used twice; two inputs, outputs by name.
#[test]
fn a_graph_of_layers_answers_as_keras_does() {
    check("mixed", &["series", "facts"], &["risk", "score"]);
}

#[test]
fn python_is_refused_and_all_of_it_is_listed() {
    let Err(Error::Unsupported(listed)) = converted("refused.keras") else { panic!("it was converted") };
    // The activation of the dense layer between them would be seen if its input were known.
    let mut found: Vec<(&str, &str)> =
        listed.iter().map(|each| (each.operator.as_str(), each.nodes[0].as_str())).collect();
    found.sort_unstable();
    assert_eq!(found.len(), 3, "{found:?}");
    for (operator, node) in [("HashedCrossing", "crossing"), ("Lambda", "plus"), ("Doubled", "doubled")] {
        assert!(
            found.iter().any(|(name, at)| name.ends_with(operator) && *at == node),
            "{operator}: {found:?}"
        );
    }
    let reasons: Vec<&str> = listed.iter().map(|each| each.reason.as_str()).collect();
    assert!(reasons.iter().all(|reason| reason.contains("model.export(\"folder\")")), "{reasons:?}");
    assert!(reasons.iter().any(|reason| reason.contains("Python code, which is not run")), "{reasons:?}");
}

#[test]
fn a_damaged_file_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let bytes = std::fs::read(sample("chain.keras")).unwrap();
    for length in [10, bytes.len() / 2, bytes.len() - 30] {
        let path = folder.path().join(format!("{length}.keras"));
        std::fs::write(&path, &bytes[..length]).unwrap();
        assert!(Source::open(&path).is_err(), "{length}");
    }
    let source = Source::open(&sample("chain.keras")).unwrap();
    let files = ["config.json", "model.weights.h5"]
        .map(|name| std::fs::read(source.models[0].path.join(name)).unwrap());
    let [config, weights] = files;
    let refusal = |config: &[u8], weights: &[u8]| {
        KerasSource::parse(config, weights.to_vec())
            .and_then(|source| source.convert())
            .unwrap_err()
            .to_string()
    };
    assert!(refusal(&config[..config.len() / 2], &weights).contains("config.json"));
    assert!(refusal(&config, &weights[..weights.len() / 2]).contains("model.weights.h5"));
    let wider = String::from_utf8(config.clone()).unwrap().replace("\"units\": 4", "\"units\": 5");
    assert!(refusal(wider.as_bytes(), &weights).contains("has the shape [3, 4] in place of [3, 5]"));
    let subclassed = String::from_utf8(config)
        .unwrap()
        .replace("\"class_name\": \"Sequential\"", "\"class_name\": \"Mine\"");
    let refused = refusal(subclassed.as_bytes(), &weights);
    assert!(refused.contains("Mine") && refused.contains("model.export(\"folder\")"), "{refused}");
}

/// A description of a few hundred bytes that asks for terabytes is refused at once.
#[test]
fn what_a_description_claims_is_not_allocated() {
    let source = Source::open(&sample("chain.keras")).unwrap();
    let weights = std::fs::read(source.models[0].path.join("model.weights.h5")).unwrap();
    let chain = |shape: &str, layer: &str| {
        format!(
            r#"{{"module": "keras", "class_name": "Sequential", "config": {{"name": "s", "layers": [
                {{"module": "keras.layers", "class_name": "InputLayer", "config": {{"batch_shape": {shape}, "name": "x"}}}},
                {layer}]}}}}"#
        )
    };
    let layer = |class: &str, config: &str| {
        format!(
            r#"{{"module": "keras.layers", "class_name": "{class}", "config": {{"name": "l", {config}}}}}"#
        )
    };
    let wide = "[null, 1000000000000]";
    for config in [
        chain(wide, &layer("LayerNormalization", r#""axis": -1, "scale": false, "center": false"#)),
        chain(wide, &layer("Activation", r#""activation": "sparsemax""#)),
        chain("[null, 4]", &layer("CategoryEncoding", r#""num_tokens": 2000000000"#)),
        chain("[null, 4]", &layer("Dense", r#""units": 2000000000"#)),
        chain("[null, 1000000, 4]", &layer("SimpleRNN", r#""units": 4"#)),
        chain("[null, 9000000000000000]", &layer("Flatten", r#""x": 1"#)),
    ] {
        let converted = KerasSource::parse(config.as_bytes(), weights.clone()).unwrap().convert();
        assert!(matches!(converted, Err(Error::Unsupported(_) | Error::Import { .. })), "{config}");
    }
}
