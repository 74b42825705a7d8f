//! What of a model rten does not compute. It names only the first obstacle when it loads a model, so each node is
//! shown to it alone: no list of operators to keep here.

use std::collections::{BTreeMap, HashMap};
use std::panic::{AssertUnwindSafe, catch_unwind};

use prost::Message;
use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, ValueInfoProto};
use rten::ModelOptions;

use super::quirks;
use crate::format::onnx::nodes::{data_type, label, layer_of, nested, type_name};
use crate::import::Unsupported;

/// Everything of `model` that rten does not compute, or would compute wrongly; operators of graphs within nodes too.
pub(in crate::engine) fn unsupported(model: &ModelProto) -> Vec<Unsupported> {
    let mut found = Found::default();
    if let Some(graph) = &model.graph {
        let mut check = Check { opsets: &model.opset_import, seen: HashMap::new(), found: &mut found };
        check.graph(graph);
    }
    found.list()
}

struct Check<'a> {
    opsets: &'a [OperatorSetIdProto],
    /// What rten said of a node, by the node without its names.
    seen: HashMap<Vec<u8>, Option<String>>,
    found: &'a mut Found,
}

impl Check<'_> {
    fn graph(&mut self, graph: &GraphProto) {
        for tensor in &graph.initializer {
            self.tensor(tensor, tensor.name());
        }
        for sparse in &graph.sparse_initializer {
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            self.found.add("a sparse tensor", name, "the engine rten has none; write it as a dense one");
        }
        for (operator, nodes, reason) in quirks::of_graph(graph) {
            nodes.iter().for_each(|node| self.found.add(&operator, node, &reason));
        }
        for node in &graph.node {
            let subgraphs = nested(node);
            let before = self.found.count;
            subgraphs.iter().for_each(|subgraph| self.graph(subgraph));
            for tensor in node.attribute.iter().filter_map(|attribute| attribute.t.as_ref()) {
                self.tensor(tensor, label(node));
            }
            // What a graph within the node lacks has been said.
            if self.found.count == before
                && let Some(reason) = self.node(node)
            {
                self.found.add(&operator_of(node), label(node), &reason);
            }
        }
    }

    fn tensor(&mut self, tensor: &TensorProto, name: &str) {
        let known = matches!(
            data_type(tensor),
            DataType::Float
                | DataType::Double
                | DataType::Float16
                | DataType::Int32
                | DataType::Int64
                | DataType::Int8
                | DataType::Uint8
                | DataType::Bool
        );
        if !known {
            let what = format!("a constant of type {}", type_name(data_type(tensor)));
            self.found.add(&what, name, "the engine rten has no such type");
        }
    }

    fn node(&mut self, node: &NodeProto) -> Option<String> {
        if let Some(reason) = quirks::of_node(node) {
            return Some(reason);
        }
        let alone = alone(node);
        let key = alone.encode_to_vec();
        if let Some(said) = self.seen.get(&key) {
            return said.clone();
        }
        let said = refusal(&alone, self.opsets);
        self.seen.insert(key, said.clone());
        said
    }
}

fn operator_of(node: &NodeProto) -> String {
    match node.domain() {
        "" | "ai.onnx" => node.op_type().to_owned(),
        domain => format!("{domain}.{}", node.op_type()),
    }
}

/// The node without names, so that equal ones are asked about once.
fn alone(node: &NodeProto) -> NodeProto {
    let numbered = |names: &[String], letter: &str| {
        let one = |(at, name): (usize, &String)| {
            if name.is_empty() { String::new() } else { format!("{letter}{at}") }
        };
        names.iter().enumerate().map(one).collect()
    };
    NodeProto {
        name: None,
        doc_string: None,
        metadata_props: vec![],
        input: numbered(&node.input, "in"),
        output: numbered(&node.output, "out"),
        ..node.clone()
    }
}

/// What rten says to a model of this node alone.
fn refusal(node: &NodeProto, opsets: &[OperatorSetIdProto]) -> Option<String> {
    let values = |names: &[String]| -> Vec<ValueInfoProto> {
        let value = |name: &String| ValueInfoProto { name: Some(name.clone()), ..ValueInfoProto::default() };
        names.iter().filter(|name| !name.is_empty()).map(value).collect()
    };
    let (input, output) = (values(&node.input), values(&node.output));
    let graph = GraphProto { node: vec![node.clone()], input, output, ..GraphProto::default() };
    let model = ModelProto {
        ir_version: Some(8),
        opset_import: opsets.to_vec(),
        graph: Some(graph),
        ..ModelProto::default()
    };
    let load = || ModelOptions::with_all_ops().enable_optimization(false).load(model.encode_to_vec());
    match catch_unwind(AssertUnwindSafe(load)) {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(format!("the engine rten: {error}")),
        Err(_) => Some("the engine rten panicked while reading it".to_owned()),
    }
}

/// What was found, by operator and reason.
#[derive(Default)]
struct Found {
    count: usize,
    nodes: BTreeMap<(String, String), Vec<String>>,
}

impl Found {
    fn add(&mut self, operator: &str, node: &str, reason: &str) {
        self.count += 1;
        self.nodes.entry((operator.to_owned(), reason.to_owned())).or_default().push(node.to_owned());
    }

    fn list(self) -> Vec<Unsupported> {
        let one = |((operator, reason), nodes): ((String, String), Vec<String>)| {
            let layer = nodes.first().and_then(|node| layer_of(node));
            Unsupported { operator, nodes, layer, reason }
        };
        self.nodes.into_iter().map(one).collect()
    }
}
