//! The function of the library: the nodes of the graph in TensorFlow's terms, with variables as arguments. What
//! each operator becomes is in `operator.rs`.

use std::collections::{BTreeMap, BTreeSet};

use protos::tensorflow::{self, FunctionDef, NodeDef, OpDef, op_def, resource_handle_proto};

use super::FUNCTION;
use super::plan::{Plan, free_name};
use super::proto::{
    WithAttribute, constant, data_type, fixed_shape, integers, node, scalar, tensor, type_attribute,
};
use crate::graph::{Graph, Node, Op, Output, Value};

pub(super) fn function(plan: &Plan, graph: &Graph) -> FunctionDef {
    let mut body = Body::new(plan, graph);
    for (at, node) in graph.nodes().iter().enumerate() {
        body.add(Value::at(at), node);
    }
    body.finish()
}

/// The nodes so far.
pub(super) struct Body<'a> {
    plan: &'a Plan<'a>,
    pub graph: &'a Graph,
    taken: BTreeSet<String>,
    /// How later nodes refer to each value: `node:output:0`, or the name of an argument.
    references: BTreeMap<Value, String>,
    /// How nodes refer to tensors of integers, by what they hold.
    integers: BTreeMap<(Vec<usize>, Vec<i32>), String>,
    nodes: Vec<NodeDef>,
}

impl<'a> Body<'a> {
    fn new(plan: &'a Plan<'a>, graph: &'a Graph) -> Self {
        let nodes = graph.nodes().iter().map(|node| node.name.clone());
        let arguments = plan.variables.iter().map(|variable| variable.argument.clone());
        let taken = nodes.chain(arguments).collect();
        Self { plan, graph, taken, references: BTreeMap::new(), integers: BTreeMap::new(), nodes: Vec::new() }
    }

    fn add(&mut self, value: Value, source: &Node) {
        let reference = match &source.op {
            Op::Input => source.name.clone(),
            Op::Constant(value) => self.push(constant(&source.name, tensor(value)), "output"),
            Op::Variable(_) => self.read_variable(source),
            _ => {
                let inputs = source.inputs.iter().map(|input| self.references[input].clone()).collect();
                self.computed(source, inputs)
            }
        };
        self.references.insert(value, reference);
    }

    /// Adds a node and returns the reference to its first output, whose name is `output`.
    pub(super) fn push(&mut self, node: NodeDef, output: &str) -> String {
        let reference = format!("{}:{output}:0", node.name);
        self.nodes.push(node);
        reference
    }

    /// Adds a scalar under `name`, or a free variant of it, and returns the reference to it.
    pub(super) fn scalar(&mut self, name: String, value: f32) -> String {
        let name = self.free_name(name);
        self.push(constant(&name, scalar(value)), "output")
    }

    /// The reference to a tensor of integers, which is added once.
    pub(super) fn integers(&mut self, shape: &[usize], values: &[i32]) -> String {
        let key = (shape.to_vec(), values.to_vec());
        if let Some(reference) = self.integers.get(&key) {
            return reference.clone();
        }
        let name = self.free_name(format!("integers/{}", self.integers.len()));
        let reference = self.push(constant(&name, integers(shape, values)), "output");
        self.integers.insert(key, reference.clone());
        reference
    }

    /// `name`, or its first free variant.
    pub(super) fn free_name(&mut self, name: String) -> String {
        free_name(name, &mut self.taken)
    }

    fn read_variable(&mut self, source: &Node) -> String {
        let handle = self.plan.variables.iter().find(|variable| variable.name == source.name);
        let argument = handle.map(|variable| variable.argument.clone()).into_iter().collect();
        let read = node(&source.name, "ReadVariableOp", argument);
        self.push(read.with("dtype", type_attribute(data_type(source.dtype))), "value")
    }

    fn finish(mut self) -> FunctionDef {
        let plan = self.plan;
        let mut results = Vec::new();
        let mut ret = BTreeMap::new();
        let mut outputs: Vec<&Output> = self.graph.outputs().iter().collect();
        outputs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for output in outputs {
            let source = self.graph.node(output.value);
            let name = free_name(format!("{}/result", output.name), &mut self.taken);
            let copy = node(&name, "Identity", vec![self.references[&output.value].clone()]);
            let copy = copy.with("T", type_attribute(data_type(source.dtype)));
            ret.insert(output.name.clone(), self.push(copy, "output"));
            results.push(argument(&output.name, data_type(source.dtype)));
        }
        let signature = OpDef {
            name: FUNCTION.to_owned(),
            input_arg: arguments(plan),
            output_arg: results,
            // Reading a variable is a state that the runtime must see.
            is_stateful: !plan.variables.is_empty(),
            ..OpDef::default()
        };
        FunctionDef { signature: Some(signature), node_def: self.nodes, ret, ..FunctionDef::default() }
    }
}

/// The inputs, then the handles of the variables.
pub(super) fn arguments(plan: &Plan) -> Vec<op_def::ArgDef> {
    let mut arguments: Vec<op_def::ArgDef> =
        plan.inputs.iter().map(|input| argument(&input.argument, data_type(input.spec.dtype))).collect();
    for variable in &plan.variables {
        let mut handle = argument(&variable.argument, tensorflow::DataType::DtResource);
        handle.handle_data = vec![resource_handle_proto::DtypeAndShape {
            dtype: data_type(variable.tensor.data_type()).into(),
            shape: Some(fixed_shape(variable.tensor.shape())),
        }];
        arguments.push(handle);
    }
    arguments
}

pub(super) fn argument(name: &str, dtype: tensorflow::DataType) -> op_def::ArgDef {
    op_def::ArgDef { name: name.to_owned(), r#type: dtype.into(), ..op_def::ArgDef::default() }
}
