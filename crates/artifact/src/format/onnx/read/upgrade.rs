//! Operators that some engines take for something else: those whose old versions meant something else than the current ones,
//! and those that leave out what goes without saying.

use protos::onnx::{GraphProto, ModelProto};

use super::edit::{Names, node};
use crate::format::onnx::nodes::{attribute, is_standard, opset};
use crate::format::onnx::proto::{int, ints};

/// Writes out what is meant, in words that mean the same in every version.
///
/// Before version 13 Softmax and LogSoftmax were over all axes from one on; now they are over that one.
pub(super) fn upgrade(model: &mut ModelProto) {
    model.graph.iter_mut().for_each(write_strides);
    if opset(&model.opset_import, "") >= 13 {
        return;
    }
    if let Some(graph) = &mut model.graph {
        let mut names = Names::of(graph);
        flatten_softmax(graph, &mut names);
    }
}

/// Windows move by one, and have no gaps, unless the model says otherwise.
fn write_strides(graph: &mut GraphProto) {
    for at in 0..graph.node.len() {
        let node = &graph.node[at];
        let is_convolution = matches!(node.op_type(), "Conv" | "ConvTranspose" | "ConvInteger");
        if !is_standard(node)
            || !(is_convolution || matches!(node.op_type(), "MaxPool" | "AveragePool" | "LpPool"))
        {
            continue;
        }
        let kernel =
            node.input.get(1).and_then(|name| graph.initializer.iter().find(|tensor| tensor.name() == name));
        let of_kernel = kernel.filter(|_| is_convolution).map(|tensor| tensor.dims.len().saturating_sub(2));
        let Some(axes) = attribute(node, "kernel_shape").map(|shape| shape.ints.len()).or(of_kernel) else {
            continue;
        };
        let all: &[&str] = if is_convolution { &["strides", "dilations"] } else { &["strides"] };
        for name in all {
            if attribute(&graph.node[at], name).is_none() {
                graph.node[at].attribute.push(ints(name, vec![1; axes]));
            }
        }
    }
}

fn flatten_softmax(graph: &mut GraphProto, names: &mut Names) {
    let nodes = std::mem::take(&mut graph.node);
    for mut old in nodes {
        for attribute in &mut old.attribute {
            attribute
                .g
                .iter_mut()
                .chain(&mut attribute.graphs)
                .for_each(|inner| flatten_softmax(inner, names));
        }
        let axis = attribute(&old, "axis").and_then(|axis| axis.i).unwrap_or(1);
        let is_softmax = is_standard(&old) && matches!(old.op_type(), "Softmax" | "LogSoftmax");
        let (Some(input), Some(output), true) =
            (old.input.first(), old.output.first(), is_softmax && axis != -1)
        else {
            graph.node.push(old);
            continue;
        };
        let mut name = |part: &str| names.free(&format!("{output}/{part}"));
        let (shape, flat, soft) = (name("shape"), name("flat"), name("softmax"));
        let mut softmax = node(old.op_type(), &[&flat], &soft, vec![int("axis", 1)]);
        softmax.name.clone_from(&old.name);
        graph.node.extend([
            node("Shape", &[input], &shape, vec![]),
            node("Flatten", &[input], &flat, vec![int("axis", axis)]),
            softmax,
            node("Reshape", &[&soft, &shape], output, vec![]),
        ]);
    }
}
