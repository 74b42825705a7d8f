//! A model is tried before its file is believed: on a few rows of made-up numbers, to see which shapes come out, and
//! whether a row's answer is its own.

use predictor::{DataType, Predictor, Signature, Tensor, TensorData, TensorSpec};
use prost::Message;
use protos::onnx::GraphProto;

use super::signature::value_of_spec;
use super::{Draft, refuse};
use crate::Error;
use crate::bundle::FormatTensorNames;
use crate::engine;
use crate::import::ImportedModel;

/// How far rows computed together may be from the same rows computed alone, relative to the larger of 1 and the value: kernels
/// sum in other orders for other sizes.
const TOLERANCE: f64 = 1e-4;

/// Sizes of open axes within a row, in the two trials: what changes with them is open too.
const OPEN_SIZES: [usize; 2] = [4, 5];

/// The most elements an input of a trial may have.
const MOST_ELEMENTS: usize = 1 << 26;

/// Tries the model and completes its signature with what comes out.
pub(super) fn settle(draft: Draft) -> Result<ImportedModel, Error> {
    let Draft { mut model, mut signature, doubt, mut notes } = draft;
    match tried(&model, &signature) {
        Ok(Tried { outputs, rows_are_alone }) => {
            for (stated, found) in signature.outputs.iter().zip(&outputs) {
                if differs(stated, found) {
                    notes.push(format!(
                        "output \"{}\" has the shape {}, not {} as the file says",
                        found.name,
                        text(found),
                        text(stated)
                    ));
                }
            }
            match (rows_are_alone, &doubt) {
                (true, Some(doubt)) => {
                    notes.push(format!("{doubt}; it takes any number of rows all the same"));
                }
                (true, None) => {}
                (false, Some(doubt)) => {
                    return Err(refuse(format!(
                        "{doubt}: computed together, rows do not come out as they do alone"
                    )));
                }
                (false, None) => notes.push(
                    "rows of one batch do not come out as they do alone: the model is random, or mixes them"
                        .to_owned(),
                ),
            }
            signature.outputs = outputs;
        }
        Err(reason) => match doubt {
            Some(doubt) => return Err(refuse(format!("{doubt}: run with another number of rows {reason}"))),
            None => notes.push(format!("it was not tried: {reason}")),
        },
    }
    if let Some(graph) = &mut model.graph {
        state(graph, &signature);
    }
    let same =
        |specs: &[TensorSpec]| specs.iter().map(|spec| (spec.name.clone(), spec.name.clone())).collect();
    let source_names =
        FormatTensorNames { inputs: same(&signature.inputs), outputs: same(&signature.outputs) };
    Ok(ImportedModel { model, signature, source_names, samplers: Vec::new(), notes })
}

fn state(graph: &mut GraphProto, signature: &Signature) {
    graph.input = signature.inputs.iter().map(value_of_spec).collect();
    graph.output = signature.outputs.iter().map(value_of_spec).collect();
}

struct Tried {
    outputs: Vec<TensorSpec>,
    rows_are_alone: bool,
}

fn tried(model: &protos::onnx::ModelProto, signature: &Signature) -> Result<Tried, String> {
    let mut open = model.clone();
    let mut unknown = signature.clone();
    // What comes out is to be seen, so nothing is asked of it.
    unknown.outputs.iter_mut().for_each(|spec| spec.shape.clear());
    if let Some(graph) = &mut open.graph {
        state(graph, &unknown);
    }
    let kind = engine::choose(&open).map_err(|error| format!("no engine here takes it: {error}"))?;
    let loaded = engine::load(open.encode_to_vec(), &unknown, 1, kind).map_err(|error| error.to_string())?;
    for spec in &signature.inputs {
        let row = spec
            .shape
            .iter()
            .skip(1)
            .try_fold(3usize, |n, axis| n.checked_mul(axis.unwrap_or(OPEN_SIZES[1])));
        if row.is_none_or(|row| row > MOST_ELEMENTS) {
            return Err(format!("a row of its input \"{}\" is too large to make one up", spec.name));
        }
    }
    let run = |rows: usize, size: usize| -> Result<(Vec<Tensor>, Vec<Tensor>), String> {
        let inputs: Vec<Tensor> = signature.inputs.iter().map(|spec| made_up(spec, rows, size)).collect();
        let outputs = loaded.predict(inputs.clone()).map_err(|error| format!("it fails: {error}"))?;
        Ok((inputs, outputs))
    };
    let (inputs, three) = run(3, OPEN_SIZES[0])?;
    let (_, two) = run(2, OPEN_SIZES[1])?;
    let mut outputs = Vec::with_capacity(three.len());
    for ((spec, three), two) in signature.outputs.iter().zip(&three).zip(&two) {
        let (a, b) = (three.shape(), two.shape());
        if a.first() != Some(&3) || b.first() != Some(&2) || a.len() != b.len() {
            return Err(format!(
                "its output \"{}\" has the shapes {a:?} and {b:?} for 3 and 2 rows",
                spec.name
            ));
        }
        let shape = a.iter().zip(b).map(|(a, b)| (a == b).then_some(*a)).collect();
        outputs.push(TensorSpec { name: spec.name.clone(), dtype: spec.dtype, shape });
    }
    Ok(Tried { rows_are_alone: rows_are_alone(&*loaded, &inputs, &three), outputs })
}

fn rows_are_alone(model: &dyn Predictor, inputs: &[Tensor], together: &[Tensor]) -> bool {
    (0..3).all(|row| {
        let alone = model.predict(inputs.iter().map(|input| slice(input, row)).collect());
        let Ok(alone) = alone else {
            return false;
        };
        alone
            .iter()
            .zip(together)
            .all(|(alone, together)| near(&numbers(alone), &numbers(&slice(together, row))))
    })
}

fn near(a: &[f64], b: &[f64]) -> bool {
    let same = |(a, b): (&f64, &f64)| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(1.0)
    };
    a.len() == b.len() && a.iter().zip(b).all(same)
}

fn numbers(tensor: &Tensor) -> Vec<f64> {
    match tensor.data() {
        TensorData::Float32(data) => data.iter().map(|x| f64::from(*x)).collect(),
        TensorData::Float64(data) => data.clone(),
        TensorData::Int32(data) => data.iter().map(|x| f64::from(*x)).collect(),
        TensorData::Int64(data) => data.iter().map(|x| *x as f64).collect(),
        TensorData::Bool(data) => data.iter().map(|x| f64::from(u8::from(*x))).collect(),
    }
}

/// One row of a tensor, as a batch of its own.
fn slice(tensor: &Tensor, row: usize) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    let count = shape[1..].iter().product::<usize>();
    shape[0] = 1;
    let part = row * count..(row + 1) * count;
    let data = match tensor.data() {
        TensorData::Float32(data) => TensorData::Float32(data[part].to_vec()),
        TensorData::Float64(data) => TensorData::Float64(data[part].to_vec()),
        TensorData::Int32(data) => TensorData::Int32(data[part].to_vec()),
        TensorData::Int64(data) => TensorData::Int64(data[part].to_vec()),
        TensorData::Bool(data) => TensorData::Bool(data[part].to_vec()),
    };
    Tensor::new(shape, data).expect("a row has the elements of a row")
}

/// Numbers between -1 and 1; whole ones are 0 or 1, which are places in most tables.
fn made_up(spec: &TensorSpec, rows: usize, size: usize) -> Tensor {
    let axis = |(at, axis): (usize, &Option<usize>)| if at == 0 { rows } else { axis.unwrap_or(size) };
    let shape: Vec<usize> = spec.shape.iter().enumerate().map(axis).collect();
    let count = shape.iter().product::<usize>();
    let mut state = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = || {
        // Knuth's linear congruential generator; its high bits.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / f64::from(1u32 << 23) - 1.0
    };
    let numbers = (0..count).map(|_| next());
    let data = match spec.dtype {
        DataType::Float32 => TensorData::Float32(numbers.map(|x| x as f32).collect()),
        DataType::Float64 => TensorData::Float64(numbers.collect()),
        DataType::Int32 => TensorData::Int32(numbers.map(|x| i32::from(x > 0.0)).collect()),
        DataType::Int64 => TensorData::Int64(numbers.map(|x| i64::from(x > 0.0)).collect()),
        DataType::Bool => TensorData::Bool(numbers.map(|x| x > 0.0).collect()),
    };
    Tensor::new(shape, data).expect("the count is the product of the shape")
}

fn differs(stated: &TensorSpec, found: &TensorSpec) -> bool {
    let other = |(stated, found): (&Option<usize>, &Option<usize>)| stated.is_some() && stated != found;
    !stated.shape.is_empty()
        && (stated.shape.len() != found.shape.len() || stated.shape.iter().zip(&found.shape).any(other))
}

fn text(spec: &TensorSpec) -> String {
    crate::graph::shape_text(&spec.shape)
}
