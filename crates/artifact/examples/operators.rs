//! Writes a model of every operator in all formats, with `sample.json` beside it (a batch of inputs and what the
//! engine makes of it), so that any other loader can be tried on it: `cargo run -p artifact --example operators -- DIR`.

#[path = "../tests/operators/mod.rs"]
mod operators;
#[path = "../tests/sample/mod.rs"]
mod sample;

use std::path::PathBuf;

use anyhow::Context;
use artifact::{bundle, engine, format};
use predictor::Tensor;
use serde_json::{Value, json};

const ROWS: usize = 9;

fn main() -> anyhow::Result<()> {
    let directory = PathBuf::from(std::env::args().nth(1).context("name the directory to write")?);
    let graph = operators::graph(&operators::cases());
    let signature = graph.signature();
    let files = format::write_all(&graph)?;
    let onnx = files.iter().find(|(name, _)| name == bundle::ONNX_MODEL).context("no ONNX model")?;
    let inputs = operators::batch(ROWS);
    let outputs = engine::load_onnx(onnx.1.clone(), &signature, 1)?.predict(inputs.clone())?;
    for (name, bytes) in &files {
        let path = directory.join(name);
        std::fs::create_dir_all(path.parent().context("a file lies in a folder")?)?;
        std::fs::write(path, bytes)?;
    }
    let named = |specs: &[predictor::TensorSpec], tensors: &[Tensor]| -> Value {
        specs.iter().zip(tensors).map(|(spec, tensor)| (spec.name.clone(), document(tensor))).collect()
    };
    let sample =
        json!({"inputs": named(&signature.inputs, &inputs), "outputs": named(&signature.outputs, &outputs)});
    std::fs::write(directory.join("sample.json"), sample.to_string())?;
    Ok(())
}

/// Shape and elements; what is not finite is null.
fn document(tensor: &Tensor) -> Value {
    json!({"shape": tensor.shape(), "elements": tensor.as_float32()})
}
