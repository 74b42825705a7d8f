//! The function of the library: the operator graph as TensorFlow operators, with variables as arguments.

use std::collections::{BTreeMap, BTreeSet};

use protos::tensorflow::{self, FunctionDef, NodeDef, OpDef, op_def, resource_handle_proto};

use super::proto::{constant, data_type, node, scalar, shape, tensor, type_attribute};
use super::{FUNCTION, Plan, free_name, proto::WithAttribute};
use crate::graph::{Node, Op, Value};

pub(super) fn function(plan: &Plan) -> FunctionDef {
    let mut body = Body::new(plan);
    for (at, node) in plan.graph.nodes().iter().enumerate() {
        body.add(Value::at(at), node);
    }
    body.finish()
}

struct Body<'a> {
    plan: &'a Plan<'a>,
    taken: BTreeSet<String>,
    /// How later nodes refer to each value: `node:output:0`, or the name of an argument.
    references: BTreeMap<Value, String>,
    nodes: Vec<NodeDef>,
}

impl<'a> Body<'a> {
    fn new(plan: &'a Plan<'a>) -> Self {
        let nodes = plan.graph.nodes().iter().map(|node| node.name.clone());
        let arguments = plan.variables.iter().map(|variable| variable.argument.clone());
        let taken = nodes.chain(arguments).collect();
        Self { plan, taken, references: BTreeMap::new(), nodes: Vec::new() }
    }

    fn add(&mut self, value: Value, source: &Node) {
        let reference = match &source.op {
            Op::Input => source.name.clone(),
            Op::Constant(value) => self.push(constant(&source.name, tensor(value)), "output"),
            Op::Variable(_) => self.read_variable(source),
            Op::Clip { min, max } => self.clip(source, [*min, *max]),
            _ => self.operator(source),
        };
        self.references.insert(value, reference);
    }

    /// Adds a node and returns the reference to its first output.
    fn push(&mut self, node: NodeDef, output: &str) -> String {
        let reference = format!("{}:{output}:0", node.name);
        self.nodes.push(node);
        reference
    }

    fn read_variable(&mut self, source: &Node) -> String {
        let handle = self.plan.variables.iter().find(|variable| variable.node.name == source.name);
        let argument = handle.map(|variable| variable.argument.clone()).into_iter().collect();
        let read = node(&source.name, "ReadVariableOp", argument);
        self.push(read.with("dtype", type_attribute(data_type(source.dtype))), "value")
    }

    fn clip(&mut self, source: &Node, limits: [f32; 2]) -> String {
        let [min, max] = limits.map(scalar);
        let min_name = free_name(format!("{}/min", source.name), &mut self.taken);
        let max_name = free_name(format!("{}/max", source.name), &mut self.taken);
        let low_name = free_name(format!("{}/low", source.name), &mut self.taken);
        let min = self.push(constant(&min_name, min), "output");
        let max = self.push(constant(&max_name, max), "output");
        let float = || type_attribute(tensorflow::DataType::DtFloat);
        let input = self.references[&source.inputs[0]].clone();
        let low = node(&low_name, "Maximum", vec![input, min]).with("T", float());
        let low = self.push(low, "z");
        self.push(node(&source.name, "Minimum", vec![low, max]).with("T", float()), "z")
    }

    fn operator(&mut self, source: &Node) -> String {
        let (operator, output) = match source.op {
            Op::IsNan => ("IsNan", "y"),
            Op::Select => ("SelectV2", "output"),
            Op::Sub => ("Sub", "z"),
            Op::Div => ("RealDiv", "z"),
            Op::Add => ("AddV2", "z"),
            Op::MatMul => ("MatMul", "product"),
            Op::Relu => ("Relu", "activations"),
            Op::Tanh => ("Tanh", "y"),
            Op::Sigmoid => ("Sigmoid", "y"),
            Op::Softmax => ("Softmax", "softmax"),
            Op::Input | Op::Constant(_) | Op::Variable(_) | Op::Clip { .. } => ("Identity", "output"),
        };
        let inputs = source.inputs.iter().map(|input| self.references[input].clone()).collect();
        let node = node(&source.name, operator, inputs);
        self.push(node.with("T", type_attribute(tensorflow::DataType::DtFloat)), output)
    }

    fn finish(mut self) -> FunctionDef {
        let plan = self.plan;
        let mut results = Vec::new();
        let mut ret = BTreeMap::new();
        for output in &plan.outputs {
            let source = plan.graph.node(output.value);
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
fn arguments(plan: &Plan) -> Vec<op_def::ArgDef> {
    let mut arguments: Vec<op_def::ArgDef> =
        plan.inputs.iter().map(|input| argument(&input.name, data_type(input.dtype))).collect();
    for variable in &plan.variables {
        let mut handle = argument(&variable.argument, tensorflow::DataType::DtResource);
        handle.handle_data = vec![resource_handle_proto::DtypeAndShape {
            dtype: data_type(variable.node.dtype).into(),
            shape: Some(shape(&variable.node.shape)),
        }];
        arguments.push(handle);
    }
    arguments
}

fn argument(name: &str, dtype: tensorflow::DataType) -> op_def::ArgDef {
    op_def::ArgDef { name: name.to_owned(), r#type: dtype.into(), ..op_def::ArgDef::default() }
}
