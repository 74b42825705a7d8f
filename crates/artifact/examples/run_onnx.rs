//! Reads ONNX models as an import does and runs them on an engine, for programs that compare: `cargo run -p artifact
//! --example run_onnx` takes a request a line and gives an answer a line, both JSON; tensors are `.npy` files.
//!
//! `{"model": PATH, "engine": "rten" | "trees" | "onnxruntime" | "auto", "inputs": {NAME: PATH}, "out": FOLDER, "seconds": S}`
//! gives `{"engine", "notes", "signature", "outputs": {NAME: PATH}, "microseconds"}`, the last only where `seconds` of
//! calls were asked for, or `{"stage": "read" | "choose" | "load" | "predict", "error"}`. `{"engines": true}` lists the engines.

#[path = "run_onnx/npy.rs"]
mod npy;

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Context;
use artifact::engine::{self, EngineKind};
use artifact::format::onnx::read_onnx;
use predictor::{Predictor, Tensor};
use prost::Message;
use serde::Deserialize;
use serde_json::{Value, json};

#[derive(Deserialize)]
struct Request {
    model: PathBuf,
    #[serde(default)]
    engine: Option<String>,
    inputs: BTreeMap<String, PathBuf>,
    out: PathBuf,
    #[serde(default)]
    seconds: f64,
}

fn main() -> anyhow::Result<()> {
    engine::look_for_onnxruntime(engine::LibraryPlaces::usual(|name| std::env::var_os(name)));
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let request: Value = serde_json::from_str(&line?)?;
        let answer = if request.get("engines").is_some() {
            json!(engine::available().iter().map(|engine| format!("{engine:?}")).collect::<Vec<_>>())
        } else {
            let request = Request::deserialize(request)?;
            engine::run_as_worker(|| answer(&request))
                .unwrap_or_else(|(stage, error)| json!({"stage": stage, "error": error.to_string()}))
        };
        writeln!(out, "{answer}")?;
        out.flush()?;
    }
    Ok(())
}

type Failed = (&'static str, anyhow::Error);

fn answer(request: &Request) -> Result<Value, Failed> {
    let at = |stage: &'static str| move |error: anyhow::Error| (stage, error);
    let began = Instant::now();
    let imported = read_onnx(&request.model).map_err(|error| ("read", error.into()))?;
    let kind = match request.engine.as_deref() {
        None | Some("auto") => engine::choose(&imported.model).map_err(|error| ("choose", error.into()))?,
        Some(name) => EngineKind::named(name).context("no such engine").map_err(at("choose"))?,
    };
    let missing = engine::unsupported(&imported.model, kind).map_err(|error| ("choose", error.into()))?;
    if !missing.is_empty() {
        return Err(("choose", artifact::Error::Unsupported(missing).into()));
    }
    let read = began.elapsed();
    let began = Instant::now();
    let model = engine::load(imported.model.encode_to_vec(), &imported.signature, 1, kind)
        .map_err(|error| ("load", error.into()))?;
    let load = began.elapsed();
    let inputs = inputs(request, &imported.signature).map_err(at("predict"))?;
    let outputs = model.predict(inputs.clone()).map_err(|error| ("predict", error.into()))?;
    let mut paths = BTreeMap::new();
    for (at, (spec, tensor)) in imported.signature.outputs.iter().zip(&outputs).enumerate() {
        let path = request.out.join(format!("output_{at}.npy"));
        npy::write(&path, tensor).map_err(|error| ("predict", error))?;
        paths.insert(spec.name.clone(), path);
    }
    let mut answer = json!({
        "engine": model.engine(), "kind": kind.name(), "notes": imported.notes, "signature": imported.signature,
        "outputs": paths, "read_seconds": read.as_secs_f64(), "load_seconds": load.as_secs_f64(),
    });
    if request.seconds > 0.0 {
        let microseconds = time(&*model, &inputs, request.seconds).map_err(at("predict"))?;
        answer["microseconds"] = json!(microseconds);
    }
    Ok(answer)
}

fn inputs(request: &Request, signature: &predictor::Signature) -> anyhow::Result<Vec<Tensor>> {
    let read = |name: &String| -> anyhow::Result<Tensor> {
        let path: &Path = request.inputs.get(name).with_context(|| format!("no input \"{name}\""))?;
        npy::read(path)
    };
    signature.inputs.iter().map(|spec| read(&spec.name)).collect()
}

/// The median of a call, in microseconds, over so many seconds of calls.
fn time(model: &dyn Predictor, inputs: &[Tensor], seconds: f64) -> anyhow::Result<f64> {
    let mut took = Vec::new();
    let end = Instant::now() + Duration::from_secs_f64(seconds);
    while Instant::now() < end || took.len() < 5 {
        let inputs = inputs.to_vec();
        let began = Instant::now();
        let outputs = model.predict(inputs)?;
        took.push(began.elapsed());
        std::hint::black_box(outputs);
    }
    took.sort_unstable();
    Ok(took[took.len() / 2].as_secs_f64() * 1e6)
}
