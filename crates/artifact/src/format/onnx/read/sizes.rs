//! What a graph would compute for a few rows, in shapes alone: a few bytes can ask for a tensor of a terabyte, and an engine
//! that computes constants when it loads a model would ask the system for it.
//!
//! The usual operators are followed; behind any other the size of a value is not known, and not checked. So a
//! model that was made to do harm can still ask for much memory when it runs: what it takes is measured, and
//! limited, where it is deployed.

mod operators;

use std::collections::HashMap;

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, NodeProto, TensorProto};

use crate::format::onnx::nodes::{attribute, data_type, is_standard, label, nested};
use predictor::TensorSpec;

/// The most elements of a value: 1 GiB of float32.
const MAX_ELEMENTS: usize = 1 << 28;

/// The rows and open axes that are asked about.
const ROWS: usize = 3;
const OPEN: usize = 5;

/// Of integers so many are followed: shapes and places are shorter.
const MAX_INTEGERS: usize = 64;

/// What is known of a value.
#[derive(Debug, Clone, PartialEq)]
struct Value {
    shape: Vec<usize>,
    /// Its elements, where they are a few constant integers.
    integers: Option<Vec<i64>>,
}

/// Checks that no value of the graph has more than [`MAX_ELEMENTS`] for a few rows.
pub(super) fn check(graph: &GraphProto, inputs: &[TensorSpec]) -> Result<(), String> {
    let mut values = HashMap::new();
    for spec in inputs {
        let axis = |(at, axis): (usize, &Option<usize>)| if at == 0 { ROWS } else { axis.unwrap_or(OPEN) };
        let shape = spec.shape.iter().enumerate().map(axis).collect();
        values.insert(spec.name.clone(), Value { shape, integers: None });
    }
    follow(graph, values)
}

fn follow(graph: &GraphProto, mut values: HashMap<String, Value>) -> Result<(), String> {
    for tensor in &graph.initializer {
        values.extend(constant(tensor).map(|value| (tensor.name().to_owned(), value)));
    }
    for node in &graph.node {
        for inner in nested(node) {
            follow(inner, values.clone())?;
        }
        let Some(output) = node.output.first().filter(|_| is_standard(node)) else {
            continue;
        };
        let inputs: Vec<Option<&Value>> = node.input.iter().map(|name| values.get(name)).collect();
        let result = operators::result(node, &inputs).map_err(|elements| {
            format!(
                "node \"{}\" ({}) asks for {elements} elements, more than {MAX_ELEMENTS}",
                label(node),
                node.op_type()
            )
        })?;
        values.extend(result.map(|value| (output.clone(), value)));
    }
    Ok(())
}

fn constant(tensor: &TensorProto) -> Option<Value> {
    let shape: Vec<usize> =
        tensor.dims.iter().map(|dim| usize::try_from(*dim)).collect::<Result<_, _>>().ok()?;
    let count = elements(&shape).ok()?;
    let integers =
        (data_type(tensor) == DataType::Int64 && count <= MAX_INTEGERS).then(|| match &tensor.raw_data {
            Some(raw) => raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
            None => tensor.int64_data.clone(),
        });
    Some(Value { shape, integers })
}

/// How many elements a shape has, if not too many; else how many, as far as can be counted.
fn elements(shape: &[usize]) -> Result<usize, usize> {
    // An axis of zero makes nothing of the others, but an engine may multiply them first.
    let count =
        shape.iter().filter(|axis| **axis > 0).fold(1usize, |count, axis| count.saturating_mul(*axis));
    if count > MAX_ELEMENTS { Err(count) } else { Ok(count) }
}

/// An integer attribute.
fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).and_then(|attribute| attribute.i)
}
