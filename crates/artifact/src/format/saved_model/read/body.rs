//! The nodes of a function, or of the top-level graph, in the order in which what is asked for can be computed.

use std::collections::{BTreeMap, HashMap};

use protos::tensorflow::{FunctionDef, NodeDef};

use super::ops::random;

/// Where an input comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// An argument of the function, or an input of the signature.
    Parameter(usize),
    /// An output of a node.
    Output(usize, usize),
}

/// Nodes in order.
#[derive(Debug)]
pub(super) struct Body<'a> {
    pub nodes: Vec<&'a NodeDef>,
    /// The inputs of each node that is needed, without control inputs.
    pub inputs: Vec<Vec<Source>>,
    /// The nodes that are needed, each behind those it needs.
    pub order: Vec<usize>,
    pub returns: Vec<Source>,
    pub parameters: usize,
    /// Nodes that change variables, needed or not, and the handle of the variable.
    pub changes: Vec<(usize, Source)>,
}

/// Whether an operator changes the variable it is given first.
fn changes_variable(op: &str) -> bool {
    op.starts_with("Assign") || op.starts_with("ResourceScatter") || op.starts_with("ResourceApply")
}

impl<'a> Body<'a> {
    /// What a function computes.
    ///
    /// # Errors
    /// In words, if it refers to what it does not have, or to itself.
    pub(super) fn of_function(function: &'a FunctionDef) -> Result<Self, String> {
        let signature = function.signature.as_ref().ok_or("it has no signature")?;
        let mut names = Names::new(&function.node_def);
        for (at, argument) in signature.input_arg.iter().enumerate() {
            names.parameters.insert(argument.name.clone(), at);
        }
        let result = |argument: &protos::tensorflow::op_def::ArgDef| {
            let missing = || format!("it does not say what it returns as \"{}\"", argument.name);
            names.source(function.ret.get(&argument.name).ok_or_else(missing)?)
        };
        let returns = signature.output_arg.iter().map(result).collect::<Result<_, _>>()?;
        names.body(&function.node_def, returns, signature.input_arg.len())
    }

    /// What the top-level graph computes for `fetches`, both sides as `node:output`.
    ///
    /// # Errors
    /// As [`Body::of_function`].
    pub(super) fn of_graph(nodes: &'a [NodeDef], feeds: &[&str], fetches: &[&str]) -> Result<Self, String> {
        let mut names = Names::new(nodes);
        for (at, feed) in feeds.iter().enumerate() {
            if let Source::Output(node, output) = names.source(feed)? {
                names.feeds.insert((node, output), at);
            }
        }
        let returns = fetches.iter().map(|fetch| names.source(fetch)).collect::<Result<_, _>>()?;
        // What assigns at the top level restores the model; only functions run as a whole.
        Ok(Self { changes: vec![], ..names.body(nodes, returns, feeds.len())? })
    }

    /// All nodes with what each reads, whether anything needs them or not.
    pub(super) fn of_all(nodes: &'a [NodeDef], function: Option<&'a FunctionDef>) -> Self {
        let mut names = Names::new(nodes);
        let arguments = function.and_then(|function| function.signature.as_ref());
        for (at, argument) in arguments.iter().flat_map(|signature| &signature.input_arg).enumerate() {
            names.parameters.insert(argument.name.clone(), at);
        }
        let inputs =
            |node: &NodeDef| data_inputs(node).filter_map(|input| names.source(input).ok()).collect();
        Self {
            nodes: nodes.iter().collect(),
            inputs: nodes.iter().map(inputs).collect(),
            order: (0..nodes.len()).collect(),
            returns: vec![],
            parameters: names.parameters.len(),
            changes: vec![],
        }
    }
}

/// What names mean inside one graph.
struct Names<'a> {
    nodes: HashMap<&'a str, (usize, &'a str)>,
    parameters: BTreeMap<String, usize>,
    /// Outputs that the caller gives instead.
    feeds: BTreeMap<(usize, usize), usize>,
}

impl<'a> Names<'a> {
    fn new(nodes: &'a [NodeDef]) -> Self {
        let named = nodes.iter().enumerate().map(|(at, node)| (node.name.as_str(), (at, node.op.as_str())));
        Self { nodes: named.collect(), parameters: BTreeMap::new(), feeds: BTreeMap::new() }
    }

    /// What `name`, `node:2` (graphs) or `node:output:2` (functions) refers to.
    fn source(&self, reference: &str) -> Result<Source, String> {
        let mut parts = reference.split(':');
        let name = parts.next().unwrap_or_default();
        let (first, second) = (parts.next(), parts.next());
        if let Some(parameter) = self.parameters.get(name) {
            return Ok(Source::Parameter(*parameter));
        }
        let (node, op) = self.nodes.get(name).ok_or_else(|| format!("there is no node \"{name}\""))?;
        let output = match (first, second) {
            (None, _) => Ok(0),
            (Some(place), None) if place.bytes().all(|byte| byte.is_ascii_digit()) => place.parse(),
            (Some(output), place) => {
                place.unwrap_or("0").parse().map(|at: usize| at.saturating_add(first_of(op, output)))
            }
        };
        let output = output.map_err(|_| format!("\"{reference}\" is no output"))?;
        Ok(self
            .feeds
            .get(&(*node, output))
            .map_or(Source::Output(*node, output), |at| Source::Parameter(*at)))
    }

    fn body(
        &self,
        nodes: &'a [NodeDef],
        returns: Vec<Source>,
        parameters: usize,
    ) -> Result<Body<'a>, String> {
        let mut inputs: Vec<Vec<Source>> = vec![vec![]; nodes.len()];
        let mut state = vec![State::New; nodes.len()];
        let mut order = Vec::new();
        let mut stack: Vec<usize> = returns.iter().rev().filter_map(node_of).collect();
        while let Some(&at) = stack.last() {
            match state[at] {
                State::New => {
                    state[at] = State::Open;
                    inputs[at] =
                        data_inputs(&nodes[at]).map(|input| self.source(input)).collect::<Result<_, _>>()?;
                    for needed in inputs[at].iter().filter_map(node_of) {
                        match state[needed] {
                            State::New => stack.push(needed),
                            State::Open => {
                                return Err(format!("node \"{}\" needs itself", nodes[needed].name));
                            }
                            State::Done => {}
                        }
                    }
                }
                State::Open => {
                    state[at] = State::Done;
                    order.push(at);
                    stack.pop();
                }
                State::Done => {
                    stack.pop();
                }
            }
        }
        let changes = nodes.iter().enumerate().filter(|(_, node)| changes_variable(&node.op));
        let handle = |(at, node): (usize, &NodeDef)| Some((at, self.source(data_inputs(node).next()?).ok()?));
        let changes = changes.filter_map(handle).collect();
        Ok(Body { nodes: nodes.iter().collect(), inputs, order, returns, parameters, changes })
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    New,
    Open,
    Done,
}

fn node_of(source: &Source) -> Option<usize> {
    match source {
        Source::Output(node, _) => Some(*node),
        Source::Parameter(_) => None,
    }
}

/// Inputs but those that only order nodes, and but the seeds of random numbers, which nothing here draws.
fn data_inputs(node: &NodeDef) -> impl Iterator<Item = &str> {
    let count = if random::draws(&node.op) { 1 } else { usize::MAX };
    node.input.iter().map(String::as_str).filter(|input| !input.starts_with('^')).take(count)
}

/// How many outputs come before the one of this name. Only operators with several named outputs need an entry.
fn first_of(op: &str, output: &str) -> usize {
    match (op, output) {
        ("TopKV2" | "TopK", "indices") => 1,
        ("Unique" | "UniqueV2", "idx") => 1,
        ("TensorListPopBack", "tensor") => 1,
        ("StatelessRandomGetKeyCounter", "counter") => 1,
        ("FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3", "batch_mean") => 1,
        ("FusedBatchNorm" | "FusedBatchNormV2" | "FusedBatchNormV3", "batch_variance") => 2,
        ("Switch" | "RefSwitch", "output_true") => 1,
        ("Merge", "value_index") => 1,
        ("SoftmaxCrossEntropyWithLogits" | "SparseSoftmaxCrossEntropyWithLogits", "backprop") => 1,
        ("LogMatrixDeterminant", "log_abs_determinant") => 1,
        ("Qr", "r") => 1,
        ("Svd", "u") => 1,
        ("Svd", "v") => 2,
        ("SelfAdjointEigV2" | "Eig", "v") => 1,
        ("BlockLSTM" | "BlockLSTMV2", "cs") => 1,
        ("BlockLSTM" | "BlockLSTMV2", "f") => 2,
        ("BlockLSTM" | "BlockLSTMV2", "o") => 3,
        ("BlockLSTM" | "BlockLSTMV2", "ci") => 4,
        ("BlockLSTM" | "BlockLSTMV2", "co") => 5,
        ("BlockLSTM" | "BlockLSTMV2", "h") => 6,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, inputs: &[&str]) -> NodeDef {
        let input = inputs.iter().map(|input| (*input).to_owned()).collect();
        NodeDef { name: name.to_owned(), op: "Add".to_owned(), input, ..NodeDef::default() }
    }

    #[test]
    fn nodes_come_behind_what_they_need() {
        let nodes = [node("c", &["b", "a:1", "^d"]), node("b", &["a"]), node("a", &[]), node("d", &["c"])];
        let body = Body::of_graph(&nodes, &[], &["c:0"]).unwrap();
        assert_eq!(body.order, [2, 1, 0]);
        assert_eq!(body.inputs[0], [Source::Output(1, 0), Source::Output(2, 1)]);
        let fed = Body::of_graph(&nodes, &["a:1", "b"], &["c:0"]).unwrap();
        assert_eq!(fed.inputs[0], [Source::Parameter(1), Source::Parameter(0)]);
        assert_eq!(fed.order, [0]);
    }

    #[test]
    fn cycles_and_strangers_are_refused() {
        let nodes = [node("a", &["b"]), node("b", &["a"]), node("c", &["x"]), node("e", &["e"])];
        let of = |fetch| Body::of_graph(&nodes, &[], &[fetch]).unwrap_err();
        assert_eq!(of("a"), "node \"a\" needs itself");
        assert_eq!(of("c"), "there is no node \"x\"");
        assert_eq!(of("e"), "node \"e\" needs itself");
        assert_eq!(of("a:zz:1:q9"), "node \"a\" needs itself");
        assert_eq!(of("a:1:x"), "\"a:1:x\" is no output");
    }

    #[test]
    fn a_long_chain_needs_no_stack() {
        let mut nodes = vec![node("0", &[])];
        nodes.extend((1..200_000).map(|at: usize| node(&at.to_string(), &[&(at - 1).to_string()])));
        assert_eq!(Body::of_graph(&nodes, &[], &["199999"]).unwrap().order.len(), 200_000);
    }
}
