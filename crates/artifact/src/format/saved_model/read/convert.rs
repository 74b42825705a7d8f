//! Goes through the nodes of a signature once, in order, and makes the ONNX graph on the way: functions are entered,
//! variables become constants, and what follows from known values is computed instead of written.
//!
//! What an operator becomes is in `ops`. What cannot be converted is collected, and everything behind it is unknown.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

use predictor::Tensor;
use protos::tensorflow::FunctionDef;

use super::body::{Body, Source};
use super::checkpoint::Checkpoint;
use super::dilated::Dilated;
use super::dim::Dim;
use super::node::Node;
use super::restore::Loaded;
use super::target::{Refusal, Step, Target};
use super::value::{Traced, Value};
use super::{limits, ops};
use crate::Error;
use crate::import::{Distribution, Unsupported};

/// What a conversion reads.
pub(super) struct Given<'a> {
    pub functions: HashMap<&'a str, &'a FunctionDef>,
    pub loaded: Loaded<'a>,
    pub checkpoint: &'a Checkpoint,
}

/// A variable that was met.
struct Variable {
    node: String,
    shared_name: String,
    value: Option<Rc<Tensor>>,
}

/// An input that takes random numbers.
pub(super) struct Sampled {
    pub name: String,
    pub tensor: Traced,
    pub distribution: Distribution,
}

/// A conversion under way.
pub(super) struct Converter<'a> {
    pub given: &'a Given<'a>,
    pub target: Target,
    pub dilated: Dilated,
    pub notes: BTreeSet<String>,
    /// The open size of the first axis of the inputs.
    pub batch: Option<Dim>,
    /// Inputs that take random numbers.
    pub samplers: Vec<Sampled>,
    bodies: HashMap<&'a str, Rc<Body<'a>>>,
    variables: Vec<Variable>,
    read_variables: BTreeSet<usize>,
    /// Nodes that change variables.
    changes: BTreeMap<usize, Vec<(String, String)>>,
    unsupported: BTreeMap<(String, String), Unsupported>,
    visited: usize,
    depth: usize,
    weight_bytes: usize,
}

impl<'a> Converter<'a> {
    pub(super) fn new(given: &'a Given<'a>) -> Self {
        Self {
            given,
            target: Target::default(),
            dilated: Dilated::default(),
            notes: BTreeSet::new(),
            batch: None,
            samplers: Vec::new(),
            bodies: HashMap::new(),
            variables: Vec::new(),
            read_variables: BTreeSet::new(),
            changes: BTreeMap::new(),
            unsupported: BTreeMap::new(),
            visited: 0,
            depth: 0,
            weight_bytes: 0,
        }
    }

    /// What `body` returns for these arguments.
    pub(super) fn run(&mut self, body: &Body<'a>, arguments: &[Value]) -> Result<Vec<Value>, Error> {
        if arguments.len() != body.parameters {
            let reason = format!("a function of {} arguments is given {}", body.parameters, arguments.len());
            return Err(Error::Import { place: self.place(), reason });
        }
        self.depth += 1;
        if self.depth > limits::CALL_DEPTH {
            let reason = format!("functions call one another more than {} deep", limits::CALL_DEPTH);
            return Err(Error::Import { place: self.place(), reason });
        }
        let mut results: Vec<Vec<Value>> = vec![Vec::new(); body.nodes.len()];
        for &at in &body.order {
            self.visited += 1;
            if self.visited > limits::VISITED_NODES {
                let reason =
                    format!("it computes more than {} nodes, loops counted out", limits::VISITED_NODES);
                return Err(Error::Import { place: self.place(), reason });
            }
            let inputs: Vec<Value> =
                body.inputs[at].iter().map(|source| output(&results, *source, arguments)).collect();
            self.target.scope.clone_from(&body.nodes[at].name);
            results[at] = self.node(Node { def: body.nodes[at] }, &inputs)?;
        }
        self.note_changes(body, &results, arguments);
        self.depth -= 1;
        Ok(body.returns.iter().map(|source| output(&results, *source, arguments)).collect())
    }

    fn node(&mut self, node: Node<'a>, inputs: &[Value]) -> Result<Vec<Value>, Error> {
        let Some(convert) = ops::converter(node.op()) else {
            self.report(node, ops::reason(node.op()));
            return Ok(vec![]);
        };
        let unknown = inputs.iter().any(|input| matches!(input, Value::Unknown));
        if unknown && !ops::enters_functions(node.op()) {
            return Ok(vec![]);
        }
        match convert(self, node, inputs) {
            Ok(values) => Ok(values),
            Err(Refusal::Cannot(reason)) => {
                self.report(node, reason);
                Ok(vec![])
            }
            Err(Refusal::Stop(error)) => Err(error),
        }
    }

    fn place(&self) -> String {
        format!("saved_model.pb, node \"{}\"", self.target.scope)
    }

    /// The nodes of a function of the library.
    pub(super) fn function(&mut self, name: &str) -> Step<Rc<Body<'a>>> {
        if let Some(body) = self.bodies.get(name) {
            return Ok(Rc::clone(body));
        }
        let (name, function) = self
            .given
            .functions
            .get_key_value(name)
            .ok_or_else(|| format!("there is no function \"{name}\""))?;
        let body = Body::of_function(function).map_err(|reason| format!("function \"{name}\": {reason}"))?;
        let body = Rc::new(body);
        self.bodies.insert(name, Rc::clone(&body));
        Ok(body)
    }

    /// What a function of the library returns.
    pub(super) fn call(&mut self, name: &str, arguments: &[Value]) -> Step<Vec<Value>> {
        let body = self.function(name)?;
        Ok(self.run(&body, arguments)?)
    }

    /// Remembers a node that cannot be converted.
    fn report(&mut self, node: Node, reason: String) {
        const NODES_MAX: usize = 1000;
        let key = (node.op().to_owned(), reason.clone());
        let entry = self.unsupported.entry(key).or_insert_with(|| Unsupported {
            operator: node.op().to_owned(),
            nodes: vec![],
            layer: node.layer(),
            reason,
        });
        if entry.nodes.len() < NODES_MAX && !entry.nodes.contains(&node.def.name) {
            entry.nodes.push(node.def.name.clone());
        }
    }

    /// Looks for operators that cannot be converted in functions that are not entered.
    pub(super) fn scan(&mut self, function: &str, seen: &mut BTreeSet<String>) {
        if seen.len() > limits::CALL_DEPTH || !seen.insert(function.to_owned()) {
            return;
        }
        let Ok(body) = self.function(function) else { return };
        for &at in &body.order {
            let node = Node { def: body.nodes[at] };
            if ops::converter(node.op()).is_none() {
                self.report(node, ops::reason(node.op()));
            }
            for key in ["f", "cond", "body", "then_branch", "else_branch"] {
                if let Some(inner) = node.function(key) {
                    self.scan(inner, seen);
                }
            }
        }
    }

    /// The handle of the variable that a node stands for.
    pub(super) fn variable(&mut self, node: Node) -> Value {
        let there = self.variables.iter().position(|variable| variable.node == node.def.name);
        let place = there.unwrap_or_else(|| {
            self.variables.push(Variable {
                node: node.def.name.clone(),
                shared_name: node.text("shared_name", "").to_owned(),
                value: None,
            });
            self.variables.len() - 1
        });
        Value::Variable(place)
    }

    /// The value of a variable, as it is stored.
    pub(super) fn read_variable(&mut self, place: usize) -> Step<Rc<Tensor>> {
        self.read_variables.insert(place);
        let variable = &self.variables[place];
        if let Some(value) = &variable.value {
            return Ok(Rc::clone(value));
        }
        let checkpoint = self.given.checkpoint;
        let stored = self.given.loaded.keys.get(variable.node.as_str()).cloned();
        let key = stored
            .or_else(|| {
                [&variable.node, &variable.shared_name]
                    .into_iter()
                    .find(|key| checkpoint.contains(key))
                    .cloned()
            })
            .ok_or_else(|| format!("the checkpoint has no value for the variable \"{}\"", variable.node))?;
        let tensor = Rc::new(checkpoint.tensor(&key)?);
        self.weight_bytes = self.weight_bytes.saturating_add(tensor.size_bytes());
        if self.weight_bytes > limits::WEIGHT_BYTES {
            return Err(Refusal::Stop(Error::TooLarge {
                what: "the sum of the model's variables".to_owned(),
                size: self.weight_bytes as u64,
                limit: limits::WEIGHT_BYTES as u64,
            }));
        }
        let name = self.variables[place].node.clone();
        self.target.label(&tensor, &name);
        self.variables[place].value = Some(Rc::clone(&tensor));
        Ok(tensor)
    }

    /// Remembers which nodes of a body change variables; whether that matters is known at the end.
    fn note_changes(&mut self, body: &Body, results: &[Vec<Value>], arguments: &[Value]) {
        for (at, handle) in &body.changes {
            if let Value::Variable(place) = output(results, *handle, arguments) {
                let def = body.nodes[*at];
                let nodes = self.changes.entry(place).or_default();
                if nodes.len() < 100 {
                    nodes.push((def.op.clone(), def.name.clone()));
                }
            }
        }
    }

    /// All that stands in the way, if anything does.
    ///
    /// # Errors
    /// [`Error::Unsupported`].
    pub(super) fn check(&mut self) -> Result<(), Error> {
        for (place, nodes) in &self.changes {
            if !self.read_variables.contains(place) {
                continue;
            }
            let variable = &self.variables[*place].node;
            for (op, name) in nodes {
                let reason = format!(
                    "it changes the variable \"{variable}\" that the model reads; a served model keeps no state"
                );
                let entry = Unsupported {
                    operator: op.clone(),
                    nodes: vec![name.clone()],
                    layer: name.rsplit_once('/').map(|(scope, _)| scope.to_owned()),
                    reason: reason.clone(),
                };
                self.unsupported.entry((op.clone(), reason)).or_insert(entry);
            }
        }
        match self.unsupported.is_empty() {
            true => Ok(()),
            false => Err(Error::Unsupported(std::mem::take(&mut self.unsupported).into_values().collect())),
        }
    }
}

/// The value at a source; unknown where a node gave none.
fn output(results: &[Vec<Value>], source: Source, arguments: &[Value]) -> Value {
    let value = match source {
        Source::Parameter(at) => arguments.get(at),
        Source::Output(node, at) => results[node].get(at),
    };
    value.cloned().unwrap_or(Value::Unknown)
}
