//! Changes to a graph: values get other names, nodes and constants come in.

use std::collections::HashSet;

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{AttributeProto, GraphProto, NodeProto, TensorProto};

use crate::format::onnx::proto::int;

/// The names of a graph and of those within it, for new ones beside them.
pub(super) struct Names {
    taken: HashSet<String>,
}

impl Names {
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut taken = HashSet::new();
        collect(graph, &mut taken);
        Self { taken }
    }

    /// `name`, or a free variant of it.
    pub(super) fn free(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

fn collect(graph: &GraphProto, taken: &mut HashSet<String>) {
    let values = graph.input.iter().chain(&graph.output).map(|value| value.name());
    taken.extend(values.chain(graph.initializer.iter().map(|tensor| tensor.name())).map(str::to_owned));
    for node in &graph.node {
        taken.extend(node.input.iter().chain(&node.output).cloned());
        let inner = node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs));
        inner.for_each(|graph| collect(graph, taken));
    }
}

/// Calls a value of `graph` something else wherever nodes give or use it, inner graphs included.
pub(super) fn rename(graph: &mut GraphProto, from: &str, to: &str) {
    for node in &mut graph.node {
        for name in node.input.iter_mut().chain(&mut node.output).filter(|name| *name == from) {
            to.clone_into(name);
        }
        for attribute in &mut node.attribute {
            for inner in attribute.g.iter_mut().chain(&mut attribute.graphs) {
                rename(inner, from, to);
                for output in inner.output.iter_mut().filter(|output| output.name() == from) {
                    output.name = Some(to.to_owned());
                }
            }
        }
    }
}

/// A node of ONNX's own operators.
pub(super) fn node(
    operator: &str,
    inputs: &[&str],
    output: &str,
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    NodeProto {
        name: Some(output.to_owned()),
        op_type: Some(operator.to_owned()),
        input: inputs.iter().map(|input| (*input).to_owned()).collect(),
        output: vec![output.to_owned()],
        attribute: attributes,
        ..NodeProto::default()
    }
}

/// A cast.
pub(super) fn cast(input: &str, output: &str, to: DataType) -> NodeProto {
    node("Cast", &[input], output, vec![int("to", i64::from(i32::from(to)))])
}

/// A constant of float32.
pub(super) fn floats(name: &str, dims: &[usize], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Float.into()),
        dims: dims.iter().map(|dim| *dim as i64).collect(),
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}

/// A vector of int64.
pub(super) fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Int64.into()),
        dims: vec![values.len() as i64],
        raw_data: Some(values.iter().flat_map(|value| value.to_le_bytes()).collect()),
        ..TensorProto::default()
    }
}
