//! What rten reads and computes, but not as ONNX says: refused, so that it cannot answer wrongly.
//! `conformance/test_onnx_import.py` looks for them.

use prost::Message;
use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, ModelProto, NodeProto, TensorProto};

use crate::format::onnx::nodes::{attribute, data_type, is_standard, label};
use crate::format::onnx::proto;

/// Why rten would answer wrongly for this node.
pub(super) fn of_node(node: &NodeProto) -> Option<String> {
    let is = |name: &str, value: &str| {
        attribute(node, name).and_then(|attribute| attribute.s.as_deref()) == Some(value.as_bytes())
    };
    let wrong = match node.op_type() {
        _ if !is_standard(node) => return None,
        "GRU" if attribute(node, "linear_before_reset").and_then(|attribute| attribute.i) != Some(1) => {
            return Some("the engine rten knows no GRU with linear_before_reset=0".to_owned());
        }
        "Sign" => "takes the sign of zero for that of one",
        "DynamicQuantizeLinear" => "rounds differently",
        "NonMaxSuppression" => "overlooks boxes whose corners are swapped",
        _ if is("auto_pad", "SAME_LOWER") => "pads the other end",
        "Resize" if is("mode", "cubic") => "interpolates cubically in another way",
        "Resize" if is("coordinate_transformation_mode", "align_corners") => "aligns corners in another way",
        _ => return None,
    };
    Some(format!("the engine rten {wrong} than ONNX says"))
}

/// What rten computes right only if it is written in another way: of equal maxima it takes the last for `ArgMax`, and the first,
/// as ONNX does, for `TopK`.
pub(super) fn rewrite(bytes: Vec<u8>) -> Vec<u8> {
    const PART: &[u8] = b"ArgM";
    if !bytes.windows(PART.len()).any(|window| window == PART) {
        return bytes;
    }
    let Ok(mut model) = ModelProto::decode(bytes.as_slice()) else {
        return bytes;
    };
    if let Some(graph) = &mut model.graph {
        first_of_equals(graph);
    }
    model.encode_to_vec()
}

fn first_of_equals(graph: &mut GraphProto) {
    for mut node in std::mem::take(&mut graph.node) {
        for attribute in &mut node.attribute {
            attribute.g.iter_mut().chain(&mut attribute.graphs).for_each(first_of_equals);
        }
        let int = |name: &str| attribute(&node, name).and_then(|attribute| attribute.i);
        let is_arg = is_standard(&node)
            && matches!(node.op_type(), "ArgMax" | "ArgMin")
            && int("select_last_index") != Some(1);
        let ([input], [output], true) = (node.input.as_slice(), node.output.as_slice(), is_arg) else {
            graph.node.push(node);
            continue;
        };
        let (axis, keep) = (int("axis").unwrap_or(0), int("keepdims") != Some(0));
        let (one, axes) = (format!("{output}/one"), format!("{output}/axes"));
        let places = if keep { output.clone() } else { format!("{output}/places") };
        graph.initializer.extend([integer(&one, 1), integer(&axes, axis)]);
        let mut best = step("TopK", &[input, &one], &[&format!("{output}/best"), &places]);
        best.attribute =
            vec![proto::int("axis", axis), proto::int("largest", i64::from(node.op_type() == "ArgMax"))];
        let squeeze = step("Squeeze", &[&places, &axes], &[output]);
        best.name.clone_from(&node.name);
        graph.node.push(best);
        if !keep {
            graph.node.push(squeeze);
        }
    }
}

fn step(operator: &str, inputs: &[&str], outputs: &[&str]) -> NodeProto {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    NodeProto {
        op_type: Some(operator.to_owned()),
        input: owned(inputs),
        output: owned(outputs),
        ..NodeProto::default()
    }
}

fn integer(name: &str, value: i64) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(DataType::Int64.into()),
        dims: vec![1],
        int64_data: vec![value],
        ..TensorProto::default()
    }
}

/// What is wrong with the constants of a graph: the operator that takes them, its nodes, and the reason.
pub(super) fn of_graph(graph: &GraphProto) -> Vec<(String, Vec<String>, String)> {
    let mut found = Vec::new();
    for tensor in graph.initializer.iter().filter(|tensor| is_too_wide(tensor)) {
        let takes = |node: &&NodeProto| node.input.iter().any(|input| input == tensor.name());
        for node in graph.node.iter().filter(takes).filter(|node| !saturates_well(node)) {
            found.push((node.op_type().to_owned(), vec![label(node).to_owned()], too_wide(tensor.name())));
        }
    }
    found
}

/// Ends of slices and limits may be as large as can be: what is cut to int32 means the same.
fn saturates_well(node: &NodeProto) -> bool {
    matches!(node.op_type(), "Slice" | "Clip" | "Min" | "Max")
}

fn too_wide(name: &str) -> String {
    format!(
        "its constant \"{name}\" has numbers that do not fit int32, in which the engine rten computes int64"
    )
}

/// Whether an int64 tensor has elements that int32 does not hold.
fn is_too_wide(tensor: &TensorProto) -> bool {
    let wide = |value: i64| i32::try_from(value).is_err();
    data_type(tensor) == DataType::Int64
        && (tensor.int64_data.iter().any(|value| wide(*value))
            || tensor.raw_data().as_chunks::<8>().0.iter().any(|bytes| wide(i64::from_le_bytes(*bytes))))
}
