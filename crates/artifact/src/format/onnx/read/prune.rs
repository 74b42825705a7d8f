//! Without what no output needs: an operator that is never run must not stand in the way.

use std::collections::HashSet;

use protos::onnx::{GraphProto, NodeProto};

use crate::format::onnx::nodes::nested;

/// Removes nodes and constants that no output comes from, and what is said of values within the graph: engines find
/// that out themselves, and exporters are not always right.
pub(super) fn prune(graph: &mut GraphProto) {
    let mut used: HashSet<String> = graph.output.iter().map(|output| output.name().to_owned()).collect();
    // Values are computed before they are used, so one pass from the end sees all.
    let mut keep: Vec<bool> = Vec::with_capacity(graph.node.len());
    for node in graph.node.iter().rev() {
        let needed = node.output.iter().any(|output| used.contains(output));
        if needed {
            uses(node, &mut used);
        }
        keep.push(needed);
    }
    let mut keep = keep.into_iter().rev();
    graph.node.retain(|_| keep.next().unwrap_or(true));
    graph.initializer.retain(|tensor| used.contains(tensor.name()));
    graph.value_info.clear();
    graph.quantization_annotation.clear();
}

fn uses(node: &NodeProto, used: &mut HashSet<String>) {
    used.extend(node.input.iter().cloned());
    for graph in nested(node) {
        used.extend(graph.output.iter().map(|output| output.name().to_owned()));
        graph.node.iter().for_each(|inner| uses(inner, used));
    }
}
