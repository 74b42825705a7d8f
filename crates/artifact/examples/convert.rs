//! Converts a SavedModel or a `.keras` file to ONNX and back, and runs an ONNX model on rten:
//!
//! - `convert MODEL OUT.onnx [--signature NAME]` prints the signature and notes as JSON;
//! - `saved-model MODEL FOLDER` reads what `convert` does, or ONNX, and writes its graph as a SavedModel;
//! - `run MODEL.onnx` takes inputs as JSON on standard input, `{"x": {"shape": [..], "dtype": "float32", "elements": [..]}}`,
//!   and prints the outputs alike. Several runs are a list.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use artifact::engine;
use artifact::engine::{LibraryPlaces, look_for_onnxruntime};
use artifact::format::keras::KerasSource;
use artifact::format::onnx::read_onnx;
use artifact::format::saved_model::from_onnx;
use artifact::format::saved_model::read::SavedModelSource;
use artifact::import::{ImportedModel, Kind, Source};
use predictor::{DataType, Predictor, Signature, Tensor, TensorData, TensorSpec};
use prost::Message;
use protos::onnx::{ModelProto, ValueInfoProto, tensor_shape_proto::dimension, type_proto};
use serde_json::{Value, json};

fn main() -> anyhow::Result<()> {
    look_for_onnxruntime(LibraryPlaces::usual(|name| std::env::var_os(name)));
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let document = match words.as_slice() {
        ["run", model] => run(Path::new(model))?,
        ["saved-model", model, out] => saved_model(Path::new(model), Path::new(out))?,
        [directory, out] => convert(Path::new(directory), Path::new(out), "serving_default")?,
        [directory, out, "--signature", name] => convert(Path::new(directory), Path::new(out), name)?,
        _ => bail!(
            "usage: convert MODEL OUT.onnx [--signature NAME] | convert saved-model MODEL FOLDER | convert run MODEL.onnx"
        ),
    };
    use std::io::Write;
    writeln!(std::io::stdout(), "{document}")?;
    Ok(())
}

/// The graph of a model, and the signatures of its source where they have names.
fn read(path: &Path, signature: &str) -> anyhow::Result<(ImportedModel, Vec<String>)> {
    let source = Source::open(path)?;
    let found = source.models.first().context("nothing was found")?;
    match found.kind {
        Kind::Keras => Ok((KerasSource::open(&found.path)?.convert()?, vec![])),
        Kind::Onnx => Ok((read_onnx(&found.path)?, vec![])),
        Kind::SavedModel | Kind::Bundle => {
            let source = SavedModelSource::open(&found.path)?;
            let names = source.signatures().into_iter().map(|named| named.name).collect();
            Ok((source.convert(signature)?, names))
        }
    }
}

fn saved_model(path: &Path, out: &Path) -> anyhow::Result<Value> {
    let (imported, _) = read(path, "serving_default")?;
    for (name, content) in from_onnx(&imported.model.encode_to_vec(), &imported.signature)? {
        let file = out.join(name);
        std::fs::create_dir_all(file.parent().context("a file is in a folder")?)?;
        std::fs::write(file, content)?;
    }
    Ok(json!({"signature": imported.signature, "notes": imported.notes}))
}

fn convert(path: &Path, out: &Path, signature: &str) -> anyhow::Result<Value> {
    let (imported, names) = read(path, signature)?;
    std::fs::write(out, imported.model.encode_to_vec())?;
    let operators: Vec<String> = imported
        .model
        .graph
        .iter()
        .flat_map(|graph| &graph.node)
        .map(|node| node.op_type().to_owned())
        .collect();
    Ok(json!({
        "signature": imported.signature,
        "signatures": names,
        "source_names": imported.source_names,
        "notes": imported.notes,
        "operators": operators,
    }))
}

fn run(model: &Path) -> anyhow::Result<Value> {
    let bytes = std::fs::read(PathBuf::from(model))?;
    let signature = signature(&ModelProto::decode(bytes.as_slice())?)?;
    let predictor = engine::load_onnx(bytes, &signature, 1)?;
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    match serde_json::from_str(&text)? {
        Value::Array(calls) => calls.iter().map(|inputs| predict(&*predictor, inputs)).collect(),
        inputs => predict(&*predictor, &inputs),
    }
}

fn predict(predictor: &dyn Predictor, inputs: &Value) -> anyhow::Result<Value> {
    let signature = predictor.signature();
    let inputs =
        signature.inputs.iter().map(|spec| tensor(spec, &inputs[&spec.name])).collect::<Result<_, _>>()?;
    let outputs = predictor.predict(inputs)?;
    Ok(signature
        .outputs
        .iter()
        .zip(&outputs)
        .map(|(spec, tensor)| (spec.name.clone(), document(tensor)))
        .collect())
}

/// What the inputs and outputs of the graph say.
fn signature(model: &ModelProto) -> anyhow::Result<Signature> {
    let graph = model.graph.as_ref().context("the model has no graph")?;
    let specs = |infos: &[ValueInfoProto]| infos.iter().map(spec).collect::<anyhow::Result<_>>();
    Ok(Signature { inputs: specs(&graph.input)?, outputs: specs(&graph.output)? })
}

fn spec(info: &ValueInfoProto) -> anyhow::Result<TensorSpec> {
    let Some(type_proto::Value::TensorType(tensor)) =
        info.r#type.as_ref().and_then(|kind| kind.value.as_ref())
    else {
        bail!("{} is no tensor", info.name());
    };
    let dtype = match tensor.elem_type() {
        1 => DataType::Float32,
        6 => DataType::Int32,
        7 => DataType::Int64,
        9 => DataType::Bool,
        11 => DataType::Float64,
        other => bail!("{} has elements of type {other}", info.name()),
    };
    let axes = tensor.shape.iter().flat_map(|shape| &shape.dim);
    let shape = axes.map(|axis| match axis.value {
        Some(dimension::Value::DimValue(size)) => usize::try_from(size).ok(),
        _ => None,
    });
    Ok(TensorSpec { name: info.name().to_owned(), dtype, shape: shape.collect() })
}

fn tensor(spec: &TensorSpec, document: &Value) -> anyhow::Result<Tensor> {
    let missing = || format!("the input \"{}\" needs shape and elements", spec.name);
    let shape: Vec<usize> = serde_json::from_value(document["shape"].clone()).with_context(missing)?;
    let elements = document["elements"].as_array().with_context(missing)?;
    let numbers = elements.iter().map(|element| element.as_f64().unwrap_or(f64::NAN));
    let data = match spec.dtype {
        DataType::Float32 => TensorData::Float32(numbers.map(|number| number as f32).collect()),
        DataType::Float64 => TensorData::Float64(numbers.collect()),
        DataType::Int32 => TensorData::Int32(numbers.map(|number| number as i32).collect()),
        DataType::Int64 => TensorData::Int64(numbers.map(|number| number as i64).collect()),
        DataType::Bool => TensorData::Bool(numbers.map(|number| number != 0.0).collect()),
    };
    Ok(Tensor::new(shape, data)?)
}

/// Shape and elements; what is not finite is a string.
fn document(tensor: &Tensor) -> Value {
    let number = |number: f64| if number.is_finite() { json!(number) } else { json!(number.to_string()) };
    let elements: Vec<Value> = match tensor.data() {
        TensorData::Float32(values) => values.iter().map(|value| number(f64::from(*value))).collect(),
        TensorData::Float64(values) => values.iter().map(|value| number(*value)).collect(),
        TensorData::Int32(values) => values.iter().map(|value| json!(value)).collect(),
        TensorData::Int64(values) => values.iter().map(|value| json!(value)).collect(),
        TensorData::Bool(values) => values.iter().map(|value| json!(value)).collect(),
    };
    json!({"shape": tensor.shape(), "dtype": tensor.data_type().to_string(), "elements": elements})
}
