//! The functions under way: nodes are added under free names, constants where they are first used.

use std::collections::{BTreeSet, HashMap};
use std::rc::Rc;

use predictor::{Tensor, TensorData, TensorSpec};
use protos::onnx::{GraphProto, ModelProto, NodeProto};
use protos::tensorflow::{DataType, FunctionDef, NodeDef, OpDef};

use super::Obstacles;
use super::call::{Call, Given};
use super::node::Node;
use super::ops;
use super::value::{Place, Shape, Value, broadcast};
use super::weight::{Content, Weight};
use crate::format::onnx::nodes::{is_standard, label, layer_of, opset};
use crate::format::saved_model::function::{argument, arguments};
use crate::format::saved_model::plan::Plan;
use crate::format::saved_model::proto::{self, WithAttribute, constant, type_attribute};
use crate::format::saved_model::{FUNCTION, proto::data_type};
use crate::import::Unsupported;

/// What the arguments of the signature's function that take variables begin with, and no other name.
const VARIABLE: &str = "variable_";

/// The values that are there at a place, by their names in ONNX.
pub(super) type Scope = HashMap<String, Value>;

/// A model while it is written.
pub(super) struct Lowering {
    pub(super) opset: i64,
    pub(super) body: Body,
    /// Functions that others call, done.
    pub(super) functions: Vec<FunctionDef>,
    pub(super) weights: Vec<Weight>,
    /// Places in `weights`, in the order in which the signature's function takes them.
    variables: Vec<usize>,
    unsupported: Obstacles,
}

/// The nodes of a function so far.
#[derive(Default)]
pub(super) struct Body {
    pub(super) nodes: Vec<NodeDef>,
    taken: BTreeSet<String>,
    /// How often a name was asked for, so that finding a free one takes one step.
    repeats: HashMap<String, usize>,
    /// How nodes refer to constants.
    references: HashMap<usize, String>,
    /// Under which name nodes are added.
    scope: String,
    /// Whether it is a function that another one calls, which has no variables of its own.
    is_inner: bool,
}

impl Body {
    /// One whose arguments have these names.
    pub(super) fn new(taken: BTreeSet<String>) -> Self {
        Self { taken, ..Self::default() }
    }

    /// A function that a node of this one calls.
    pub(super) fn beside(&self, taken: BTreeSet<String>) -> Self {
        Self { scope: self.scope.clone(), is_inner: true, ..Self::new(taken) }
    }

    /// `name`, or a free variant of it.
    fn free_name(&mut self, name: &str) -> String {
        let mut free = name.to_owned();
        while !self.taken.insert(free.clone()) {
            let count = self.repeats.entry(name.to_owned()).or_insert(0);
            *count += 1;
            free = format!("{name}_{count}");
        }
        free
    }
}

impl Lowering {
    pub(super) fn new(model: &ModelProto, names: BTreeSet<String>) -> Self {
        Self {
            opset: opset(&model.opset_import, ""),
            body: Body::new(names),
            functions: Vec::new(),
            weights: Vec::new(),
            variables: Vec::new(),
            unsupported: Obstacles::new(),
        }
    }

    /// Writes the graph of a model into the function of the signature, and gives what its results are.
    pub(super) fn model<'a>(
        &mut self,
        graph: &GraphProto,
        inputs: impl Iterator<Item = (&'a TensorSpec, &'a str)>,
        outputs: impl Iterator<Item = &'a str>,
    ) -> Result<Vec<String>, String> {
        let mut scope = Scope::new();
        for (spec, argument) in inputs {
            let axes = || spec.shape.iter().map(|size| size.map(|size| size as i64)).collect();
            let value = Value {
                place: Place::Node(argument.to_owned()),
                dtype: data_type(spec.dtype),
                shape: (!spec.shape.is_empty()).then(axes),
                known: None,
            };
            scope.insert(spec.name.clone(), value);
        }
        self.graph(graph, &mut scope)?;
        outputs
            .map(|name| {
                let value =
                    scope.get(name).ok_or_else(|| format!("nothing computes its output \"{name}\""))?;
                Ok(self.refer(value))
            })
            .collect()
    }

    /// Writes the nodes of a graph; `scope` gets what they compute.
    pub(super) fn graph(&mut self, graph: &GraphProto, scope: &mut Scope) -> Result<(), String> {
        for tensor in &graph.initializer {
            let weight = Weight::of(tensor)?;
            let value = self.add(weight);
            scope.insert(tensor.name().to_owned(), value);
        }
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            return Err(format!("its tensor \"{name}\" is sparse; export the model with dense weights"));
        }
        for node in &graph.node {
            self.node(node, scope);
        }
        Ok(())
    }

    fn node(&mut self, proto: &NodeProto, scope: &mut Scope) {
        let operator = is_standard(proto).then(|| ops::operator(proto.op_type())).flatten();
        let Some(operator) = operator else {
            let reason = match proto.domain() {
                "ai.onnx.ml" => "TensorFlow has no operator for it; a tree ensemble is exported as ONNX",
                _ => "TensorFlow has no operator for it that is written here",
            };
            self.report(proto, reason.to_owned());
            return;
        };
        let input = |name: &String| if name.is_empty() { None } else { scope.get(name).cloned() };
        let inputs: Vec<Option<Value>> = proto.input.iter().map(input).collect();
        let unknown = |(name, value): (&String, &Option<Value>)| !name.is_empty() && value.is_none();
        if proto.input.iter().zip(&inputs).any(unknown) {
            // It comes from a node that could not be written, which was reported.
            return;
        }
        self.body.scope = node_name(label(proto));
        let node = Node { proto, inputs, opset: self.opset };
        let results = match operator {
            ops::Operator::Plain(write) => write(self, &node),
            ops::Operator::Scoped(write) => write(self, &node, scope),
        };
        match results {
            Ok(values) => {
                for (name, value) in proto.output.iter().zip(values) {
                    scope.insert(name.clone(), value);
                }
            }
            Err(reason) => self.report(proto, reason),
        }
    }

    /// Remembers a node that cannot be written.
    fn report(&mut self, node: &NodeProto, reason: String) {
        const NODES_MAX: usize = 1000;
        let entry = self.unsupported.entry((node.op_type().to_owned(), reason.clone()));
        let entry = entry.or_insert_with(|| Unsupported {
            operator: node.op_type().to_owned(),
            nodes: Vec::new(),
            layer: layer_of(label(node)),
            reason,
        });
        if entry.nodes.len() < NODES_MAX {
            entry.nodes.push(label(node).to_owned());
        }
    }

    /// Everything that could not be written.
    pub(super) fn unsupported(&mut self) -> Vec<Unsupported> {
        std::mem::take(&mut self.unsupported).into_values().collect()
    }

    /// The variables: argument, name and value.
    pub(super) fn variables(&self) -> impl Iterator<Item = (String, &str, &Tensor)> {
        self.variables.iter().enumerate().filter_map(|(at, weight)| {
            let Weight { name, content: Content::Plain(tensor), .. } = &self.weights[*weight] else {
                return None;
            };
            Some((variable_argument(at), name.as_str(), &**tensor))
        })
    }

    /// The function of the signature, which gives `results`: name, value and type.
    pub(super) fn finish(&self, plan: &Plan, results: &[(String, String, DataType)]) -> FunctionDef {
        let signature = OpDef {
            name: FUNCTION.to_owned(),
            input_arg: arguments(plan),
            // Reading a variable is a state that the runtime must see.
            is_stateful: !plan.variables.is_empty(),
            ..OpDef::default()
        };
        function(signature, self.body.nodes.clone(), results)
    }

    /// A constant of the graph as a value; nothing is written before it is used.
    pub(super) fn add(&mut self, mut weight: Weight) -> Value {
        weight.name = node_name(&weight.name);
        let value = Value {
            place: Place::Weight(self.weights.len()),
            dtype: weight.dtype(),
            shape: Some(weight.shape()),
            known: weight.known(),
        };
        self.weights.push(weight);
        value
    }

    fn constant(&mut self, shape: Vec<usize>, data: TensorData) -> Value {
        let tensor = Tensor::new(shape, data).unwrap_or_else(|_| empty());
        let name = format!("{}/constant", self.body.scope);
        self.add(Weight::constant(&name, tensor))
    }

    /// A vector of places or sizes.
    pub(super) fn vector(&mut self, values: &[i64]) -> Value {
        self.constant(vec![values.len()], TensorData::Int64(values.to_vec()))
    }

    /// A place or size.
    pub(super) fn integer(&mut self, value: i64) -> Value {
        self.constant(vec![], TensorData::Int64(vec![value]))
    }

    /// A place or size where operators want 32 bits.
    pub(super) fn short(&mut self, value: i32) -> Value {
        self.constant(vec![], TensorData::Int32(vec![value]))
    }

    /// A number of the type of another value.
    pub(super) fn number(&mut self, value: f64, like: &Value) -> Value {
        let data = match like.dtype {
            DataType::DtDouble => TensorData::Float64(vec![value]),
            DataType::DtInt32 => TensorData::Int32(vec![value as i32]),
            DataType::DtInt64 => TensorData::Int64(vec![value as i64]),
            _ => TensorData::Float32(vec![value as f32]),
        };
        let number = self.constant(vec![], data);
        if number.dtype == like.dtype { number } else { self.cast(&number, like.dtype) }
    }

    pub(super) fn cast(&mut self, x: &Value, to: DataType) -> Value {
        if x.dtype == to {
            return x.clone();
        }
        let cast = Call::new("Cast", "y", &[x]).dtype("SrcT", x.dtype).dtype("DstT", to);
        let known = x.integers().zip(x.known.clone()).and_then(|(values, tensor)| {
            let data = match to {
                DataType::DtInt64 => TensorData::Int64(values),
                DataType::DtInt32 => {
                    TensorData::Int32(values.into_iter().map(i32::try_from).collect::<Result<_, _>>().ok()?)
                }
                _ => return None,
            };
            Tensor::new(tensor.shape().to_vec(), data).ok()
        });
        let mut value = self.emit(cast, to, x.shape.clone());
        value.known = known.map(Rc::new);
        value
    }

    /// How nodes of the function name a value.
    pub(super) fn refer(&mut self, value: &Value) -> String {
        let at = match &value.place {
            Place::Node(reference) => return reference.clone(),
            Place::Weight(at) => *at,
        };
        if let Some(reference) = self.body.references.get(&at) {
            return reference.clone();
        }
        let weight = &self.weights[at];
        let name = self.body.free_name(&weight.name);
        let (node, output) = if weight.is_variable && !self.body.is_inner {
            let place = self.variables.iter().position(|variable| *variable == at);
            let place = place.unwrap_or_else(|| {
                self.variables.push(at);
                self.variables.len() - 1
            });
            let read = proto::node(&name, "ReadVariableOp", vec![variable_argument(place)]);
            (read.with("dtype", type_attribute(weight.dtype())), "value")
        } else {
            (constant(&name, weight.to_proto()), "output")
        };
        let reference = format!("{name}:{output}:0");
        self.body.nodes.push(node);
        self.body.references.insert(at, reference.clone());
        reference
    }

    /// Adds a call of one result.
    pub(super) fn emit(&mut self, call: Call, dtype: DataType, shape: Shape) -> Value {
        let output = format!("{}:0", call.output);
        let name = self.push(call);
        Value { place: Place::Node(format!("{name}:{output}")), dtype, shape, known: None }
    }

    /// Adds a call of several results.
    pub(super) fn emit_all(&mut self, call: Call, results: Vec<Given>) -> Vec<Value> {
        let name = self.push(call);
        let value = |given: Given| Value {
            place: Place::Node(format!("{name}:{}", given.output)),
            dtype: given.dtype,
            shape: given.shape,
            known: None,
        };
        results.into_iter().map(value).collect()
    }

    fn push(&mut self, call: Call) -> String {
        let inputs = call.inputs.iter().map(|input| self.refer(input)).collect();
        let name = format!("{}/{}", self.body.scope, call.operator);
        let name = self.body.free_name(&name);
        let mut node = proto::node(&name, call.operator, inputs);
        for (key, value) in call.attributes {
            node = node.with(key, value);
        }
        self.body.nodes.push(node);
        name
    }

    /// One element from one.
    pub(super) fn unary(&mut self, operator: &'static str, output: &'static str, x: &Value) -> Value {
        self.emit(Call::typed(operator, output, &[x]), x.dtype, x.shape.clone())
    }

    /// The input of the node added last, if that is of this operator, of one input and its shape, and gives `value`.
    pub(super) fn just_taken(&self, operator: &str, value: &Value) -> Option<Value> {
        let Place::Node(reference) = &value.place else { return None };
        let last = self.body.nodes.last().filter(|node| node.op == operator)?;
        let is_it = reference.strip_prefix(&last.name).is_some_and(|output| output.starts_with(':'));
        let input = last.input.first().filter(|_| is_it)?;
        Some(Value { place: Place::Node(input.clone()), ..value.clone() })
    }

    /// One element from two, which spread.
    pub(super) fn binary(&mut self, operator: &'static str, a: &Value, b: &Value) -> Value {
        let shape = broadcast(&a.shape, &b.shape);
        self.emit(Call::typed(operator, "z", &[a, b]), a.dtype, shape)
    }

    /// A truth of two, which spread.
    pub(super) fn compared(&mut self, operator: &'static str, a: &Value, b: &Value) -> Value {
        let shape = broadcast(&a.shape, &b.shape);
        self.emit(Call::typed(operator, "z", &[a, b]), DataType::DtBool, shape)
    }

    /// The second where the first is true, else the third.
    pub(super) fn select(&mut self, condition: &Value, then: &Value, otherwise: &Value) -> Value {
        let shape = broadcast(&broadcast(&condition.shape, &then.shape), &otherwise.shape);
        let call = Call::new("SelectV2", "output", &[condition, then, otherwise]).dtype("T", then.dtype);
        self.emit(call, then.dtype, shape)
    }
}

/// A function of nodes that gives values: name, reference and type. Nodes that no result needs are left out.
pub(super) fn function(
    mut signature: OpDef,
    nodes: Vec<NodeDef>,
    results: &[(String, String, DataType)],
) -> FunctionDef {
    let mut nodes = needed(nodes, results.iter().map(|(_, reference, _)| reference.as_str()));
    let mut taken: BTreeSet<String> = nodes.iter().map(|node| node.name.clone()).collect();
    taken.extend(signature.input_arg.iter().map(|argument| argument.name.clone()));
    let mut function = FunctionDef::default();
    for (name, reference, dtype) in results {
        let copy = crate::format::saved_model::plan::free_name(format!("{name}/result"), &mut taken);
        let node = proto::node(&copy, "Identity", vec![reference.clone()]);
        nodes.push(node.with("T", type_attribute(*dtype)));
        function.ret.insert(name.clone(), format!("{copy}:output:0"));
        signature.output_arg.push(argument(name, *dtype));
    }
    function.signature = Some(signature);
    function.node_def = nodes;
    function
}

/// The nodes that these results are computed from, in order. Each comes after those it refers to.
fn needed<'r>(nodes: Vec<NodeDef>, results: impl Iterator<Item = &'r str>) -> Vec<NodeDef> {
    let node_of = |reference: &str| reference.split(':').next().unwrap_or_default().to_owned();
    let mut names: BTreeSet<String> = results.map(node_of).collect();
    let mut kept = Vec::with_capacity(nodes.len());
    for node in nodes.into_iter().rev() {
        if names.contains(&node.name) {
            names.extend(node.input.iter().map(|input| node_of(input)));
            kept.push(node);
        }
    }
    kept.reverse();
    kept
}

fn variable_argument(place: usize) -> String {
    format!("{VARIABLE}{place}")
}

fn empty() -> Tensor {
    Tensor::float32(vec![0], vec![]).expect("no elements are the elements of an axis of none")
}

/// A name as TensorFlow's nodes can have it.
pub(super) fn node_name(name: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '-') { c } else { '_' };
    let name: String = name.chars().map(plain).collect();
    let name = name.trim_matches('/');
    let is_usable = name.starts_with(|c: char| c.is_ascii_alphabetic()) && !name.starts_with(VARIABLE);
    if is_usable { name.to_owned() } else { format!("n{name}") }
}
