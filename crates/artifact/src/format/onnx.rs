//! ONNX: one file, `model.onnx`, opset 18, with the batch as the axis `batch`; and the reading of anybody's ONNX.

pub(crate) mod nodes;
mod operator;
pub(crate) mod proto;
mod read;
pub(crate) mod tensors;

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use predictor::Signature;
use prost::Message;
use protos::onnx::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

use super::Format;
use crate::Error;
use crate::bundle::{FormatTensorNames, ONNX_MODEL};
use crate::graph::{Graph, Node, Op, Value};
use operator::Call;
use proto::value_info;
pub(crate) use read::value_of_spec;
pub use read::{ExternalData, MAX_MODEL_BYTES, ModelFolder, OPSETS, parse_and_load, parse_onnx, read_onnx};
pub use tensors::tensors;

const OPSET: i64 = 18;
/// The first IR version that knows opset 18.
const IR_VERSION: i64 = 8;

/// The ONNX format.
#[derive(Debug, Clone, Copy)]
pub struct Onnx;

impl Format for Onnx {
    fn name(&self) -> &'static str {
        "onnx"
    }

    fn recognise(&self, directory: &Path) -> bool {
        directory.join(ONNX_MODEL).is_file()
    }

    fn write(&self, graph: &Graph) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let model = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("bellwether".to_owned()),
            opset_import: vec![OperatorSetIdProto { domain: Some(String::new()), version: Some(OPSET) }],
            graph: Some(Writer::new(graph).write()),
            ..ModelProto::default()
        };
        Ok(vec![(ONNX_MODEL.to_owned(), model.encode_to_vec())])
    }

    fn tensor_names(&self, signature: &Signature) -> FormatTensorNames {
        let same = |specs: &[predictor::TensorSpec]| {
            specs.iter().map(|spec| (spec.name.clone(), spec.name.clone())).collect()
        };
        FormatTensorNames { inputs: same(&signature.inputs), outputs: same(&signature.outputs) }
    }
}

struct Writer<'a> {
    graph: &'a Graph,
    /// What ONNX calls each value.
    names: BTreeMap<Value, String>,
    taken: BTreeSet<String>,
    /// The vectors of integers that are there, by what they hold.
    vectors: BTreeMap<Vec<i64>, String>,
    proto: GraphProto,
}

impl<'a> Writer<'a> {
    fn new(graph: &'a Graph) -> Self {
        let values = graph.nodes().iter().enumerate();
        let mut names: BTreeMap<Value, String> =
            values.map(|(at, node)| (Value::at(at), node.name.clone())).collect();
        let mut taken: BTreeSet<String> = names.values().cloned().collect();
        taken.extend(graph.outputs().iter().map(|output| output.name.clone()));
        for output in graph.outputs() {
            // A computed value simply takes its public name; only what has a name already needs a copy.
            let node = graph.node(output.value);
            if is_computed(node) && names[&output.value] == node.name {
                names.insert(output.value, output.name.clone());
            }
        }
        let proto = GraphProto { name: Some("model".to_owned()), ..GraphProto::default() };
        Self { graph, names, taken, vectors: BTreeMap::new(), proto }
    }

    fn write(mut self) -> GraphProto {
        for (at, node) in self.graph.nodes().iter().enumerate() {
            self.node(Value::at(at), node);
        }
        for output in self.graph.outputs() {
            let node = self.graph.node(output.value);
            self.proto.output.push(value_info(&output.name, node));
            let source = self.names[&output.value].clone();
            if source != output.name {
                let name = format!("{}/identity", output.name);
                self.operator(Call::new("Identity", vec![source]), &name, &output.name);
            }
        }
        self.proto
    }

    fn node(&mut self, value: Value, node: &Node) {
        match &node.op {
            Op::Input => self.proto.input.push(value_info(&node.name, node)),
            Op::Constant(tensor) | Op::Variable(tensor) => {
                self.proto.initializer.push(proto::tensor(&node.name, tensor));
            }
            _ => {
                let inputs = node.inputs.iter().map(|input| self.names[input].clone()).collect();
                let call = self.computed(node, inputs);
                let output = self.names[&value].clone();
                self.operator(call, &node.name, &output);
            }
        }
    }

    fn operator(&mut self, call: Call, name: &str, output: &str) {
        self.proto.node.push(NodeProto {
            name: Some(name.to_owned()),
            op_type: Some(call.operator.to_owned()),
            input: call.inputs,
            output: vec![output.to_owned()],
            attribute: call.attributes,
            ..NodeProto::default()
        });
    }

    /// Adds an operator whose result only others of the same node use, and returns what it is called.
    fn step(&mut self, name: &str, call: Call) -> String {
        let name = self.free_name(name);
        self.operator(call, &name, &name);
        name
    }

    /// Adds a scalar under `name`, or a free variant of it.
    fn scalar(&mut self, name: &str, value: f32) -> String {
        let name = self.free_name(name);
        self.proto.initializer.push(proto::scalar(&name, value));
        name
    }

    /// The name of a vector of integers, which is added once.
    fn vector(&mut self, values: &[i64]) -> String {
        if let Some(name) = self.vectors.get(values) {
            return name.clone();
        }
        let texts: Vec<String> = values.iter().map(i64::to_string).collect();
        let name = self.free_name(&format!("integers/{}", texts.join("_")));
        self.proto.initializer.push(proto::vector(&name, values));
        self.vectors.insert(values.to_vec(), name.clone());
        name
    }

    fn free_name(&mut self, name: &str) -> String {
        let mut name = name.to_owned();
        while !self.taken.insert(name.clone()) {
            name.push('_');
        }
        name
    }
}

fn is_computed(node: &Node) -> bool {
    !matches!(node.op, Op::Input | Op::Constant(_) | Op::Variable(_))
}
