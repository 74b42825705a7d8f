//! Puts a converted graph into an ONNX model: only what the outputs need, under the names of the signature.

use std::collections::{BTreeMap, BTreeSet};

use predictor::{DataType, TensorSpec};
use protos::onnx::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorShapeProto, TypeProto, ValueInfoProto,
    tensor_shape_proto, type_proto,
};

use super::dim::Dim;
use super::target::{Call, Refusal, Target};
use super::tensor::{Content, Traced};
use crate::Error;
use crate::format::onnx::proto;

const OPSET: i64 = 18;
/// The first IR version that knows opset 18.
const IR_VERSION: i64 = 8;

/// A tensor with its public name.
pub(in crate::format) struct Port {
    pub name: String,
    pub tensor: Traced,
}

/// The model with these inputs and outputs.
pub(in crate::format) fn model(
    mut target: Target,
    inputs: &[Port],
    outputs: &[Port],
) -> Result<ModelProto, Error> {
    let mut renamed = BTreeMap::new();
    for output in outputs {
        give_name(&mut target, output, &mut renamed)?;
    }
    let mut used: BTreeSet<String> = outputs.iter().map(|output| output.name.clone()).collect();
    let mut nodes = Vec::new();
    for mut node in std::mem::take(&mut target.nodes).into_iter().rev() {
        rename(&mut node, &renamed);
        if node.output.iter().any(|name| used.contains(name)) {
            use_inputs(&node, &mut used);
            drop_unused_outputs(&mut node, &used);
            nodes.push(node);
        }
    }
    nodes.reverse();
    let open = open_names(inputs);
    let graph = GraphProto {
        name: Some("model".to_owned()),
        node: nodes,
        initializer: target.initializer_protos(&used),
        input: inputs.iter().map(|port| value_info(port, &open)).collect(),
        output: outputs.iter().map(|port| value_info(port, &open)).collect(),
        ..GraphProto::default()
    };
    Ok(ModelProto {
        ir_version: Some(IR_VERSION),
        producer_name: Some("bellwether".to_owned()),
        opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
        graph: Some(graph),
        ..ModelProto::default()
    })
}

/// Gives values their public names, in inner graphs too.
fn rename(node: &mut NodeProto, names: &BTreeMap<String, String>) {
    for name in node.input.iter_mut().chain(&mut node.output) {
        if let Some(public) = names.get(name.as_str()) {
            name.clone_from(public);
        }
    }
    for graph in node.attribute.iter_mut().filter_map(|attribute| attribute.g.as_mut()) {
        graph.node.iter_mut().for_each(|node| rename(node, names));
    }
}

/// What a node reads, and the nodes of its inner graph. What is computed inside is named too, which keeps nothing else.
fn use_inputs(node: &NodeProto, used: &mut BTreeSet<String>) {
    used.extend(node.input.iter().cloned());
    for graph in node.attribute.iter().filter_map(|attribute| attribute.g.as_ref()) {
        graph.node.iter().for_each(|node| use_inputs(node, used));
    }
}

/// Optional outputs that nothing reads are left out, where that is more than the first.
fn drop_unused_outputs(node: &mut NodeProto, used: &BTreeSet<String>) {
    if matches!(node.op_type(), "LSTM" | "GRU") {
        for output in &mut node.output {
            if !used.contains(output) {
                output.clear();
            }
        }
    }
}

/// A computed value takes its public name; what has one, or is no result of a node, is copied.
fn give_name(
    target: &mut Target,
    output: &Port,
    renamed: &mut BTreeMap<String, String>,
) -> Result<(), Error> {
    let of_node = match &output.tensor.content {
        Content::Computed(name) if target.node_of(name).is_some() => Some(name.to_string()),
        _ => None,
    };
    if let Some(name) = of_node.filter(|name| !renamed.contains_key(name)) {
        renamed.insert(name, output.name.clone());
        return Ok(());
    }
    target.scope.clone_from(&output.name);
    let copy = Call::new("Identity", &[&output.tensor]);
    let copied =
        target.emit(&copy, output.tensor.dtype, output.tensor.shape.clone()).map_err(
            |refusal| match refusal {
                Refusal::Stop(error) => error,
                Refusal::Cannot(reason) => {
                    Error::Import { place: format!("output \"{}\"", output.name), reason }
                }
            },
        )?;
    if let Content::Computed(name) = &copied.content {
        renamed.insert(name.to_string(), output.name.clone());
    }
    Ok(())
}

/// What open axes are called: the batch, and the others after the input they are of.
fn open_names(inputs: &[Port]) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for input in inputs {
        for (at, axis) in input.tensor.shape.iter().enumerate() {
            if let Some(symbol) = axis.as_symbol() {
                let name = if at == 0 { "batch".to_owned() } else { format!("{}_axis_{at}", input.name) };
                names.entry(symbol).or_insert(name);
            }
        }
    }
    names
}

/// An input or output of an inner graph.
pub(in crate::format) fn inner_value(tensor: &Traced) -> ValueInfoProto {
    let name = match &tensor.content {
        Content::Computed(name) => name.to_string(),
        Content::Known(_) | Content::Sizes(_) => String::new(),
    };
    value_info(&Port { name, tensor: tensor.clone() }, &BTreeMap::new())
}

fn value_info(port: &Port, open: &BTreeMap<u32, String>) -> ValueInfoProto {
    use tensor_shape_proto::dimension::Value as Axis;
    let axis = |size: &Dim| tensor_shape_proto::Dimension {
        value: match (size.known(), size.as_symbol().and_then(|symbol| open.get(&symbol))) {
            (Some(size), _) => Some(Axis::DimValue(size)),
            (None, Some(name)) => Some(Axis::DimParam(name.clone())),
            (None, None) => None,
        },
        ..tensor_shape_proto::Dimension::default()
    };
    let tensor = type_proto::Tensor {
        elem_type: Some(proto::data_type(port.tensor.dtype)),
        shape: Some(TensorShapeProto { dim: port.tensor.shape.iter().map(axis).collect() }),
    };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(port.name.clone()), r#type: Some(r#type), ..ValueInfoProto::default() }
}

/// A port as callers see it.
pub(in crate::format) fn spec(port: &Port) -> TensorSpec {
    let dtype: DataType = port.tensor.dtype;
    TensorSpec { name: port.name.clone(), dtype, shape: port.tensor.shape.iter().map(Dim::size).collect() }
}
