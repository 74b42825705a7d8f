//! Which key of the checkpoint a variable has, and what lookup tables hold.
//!
//! Found by following what restores and initialises them: `RestoreV2`, output i, goes into the assignment of a
//! variable, through any number of functions. Object names are not trusted, because frameworks write them in many ways.

use std::collections::{BTreeMap, HashMap};

use protos::tensorflow::{FunctionDef, GraphDef, TensorProto};

use super::body::{Body, Source};
use super::node::Node;
use super::{constant, limits};

/// Where something of the top-level graph comes from.
#[derive(Debug, Clone)]
pub(super) enum Origin<'a> {
    /// A node of the top-level graph.
    Node(&'a str),
    /// A tensor of the checkpoint.
    Stored(String),
    Constant(&'a TensorProto),
    Other,
}

/// What a lookup table is filled with.
#[derive(Debug, Clone)]
pub(super) struct Filling<'a> {
    pub keys: Origin<'a>,
    pub values: Origin<'a>,
}

/// What happens to variables and tables when the model is loaded, by their nodes.
#[derive(Debug, Default)]
pub(super) struct Loaded<'a> {
    pub keys: BTreeMap<&'a str, String>,
    pub tables: BTreeMap<&'a str, Filling<'a>>,
}

/// Follows everything that a loader may run.
pub(super) fn loaded<'a>(graph: &'a GraphDef, functions: &HashMap<&'a str, &'a FunctionDef>) -> Loaded<'a> {
    let mut walk = Walk { functions, loaded: Loaded::default(), visited: 0 };
    walk.body(&Body::of_all(&graph.node, None), &[], 0);
    walk.loaded
}

struct Walk<'a, 'b> {
    functions: &'b HashMap<&'a str, &'a FunctionDef>,
    loaded: Loaded<'a>,
    visited: usize,
}

impl<'a> Walk<'a, '_> {
    fn body(&mut self, body: &Body<'a>, arguments: &[Origin<'a>], depth: usize) {
        for (at, def) in body.nodes.iter().enumerate() {
            self.visited += 1;
            if self.visited > limits::VISITED_NODES {
                return;
            }
            let node = Node { def };
            let input = |place: usize| match body.inputs[at].get(place) {
                Some(source) => origin(body, *source, arguments),
                None => Origin::Other,
            };
            match node.op() {
                "AssignVariableOp" | "Assign" => self.assign(input(0), input(1)),
                "LookupTableImportV2" | "LookupTableImport" | "InitializeTableV2" | "InitializeTable" => {
                    if let Origin::Node(table) = input(0) {
                        let filling = Filling { keys: input(1), values: input(2) };
                        self.loaded.tables.entry(table).or_insert(filling);
                    }
                }
                _ => {
                    // Functions that compute the model assign nothing that is stored; they are seen only as deep as
                    // this.
                    let function = node.function("f").and_then(|name| self.functions.get(name).copied());
                    if let Some(function) = function.filter(|_| depth < 4) {
                        let given: Vec<Origin> = (0..body.inputs[at].len()).map(input).collect();
                        self.body(&Body::of_all(&function.node_def, Some(function)), &given, depth + 1);
                    }
                }
            }
        }
    }

    fn assign(&mut self, variable: Origin<'a>, value: Origin<'a>) {
        if let (Origin::Node(variable), Origin::Stored(key)) = (variable, value) {
            self.loaded.keys.entry(variable).or_insert(key);
        }
    }
}

/// Where an input comes from, through what only passes it on.
fn origin<'a>(body: &Body<'a>, mut source: Source, arguments: &[Origin<'a>]) -> Origin<'a> {
    for _ in 0..limits::CALL_DEPTH {
        let (at, output) = match source {
            Source::Parameter(parameter) => {
                return arguments.get(parameter).cloned().unwrap_or(Origin::Other);
            }
            Source::Output(at, output) => (at, output),
        };
        let node = Node { def: body.nodes[at] };
        match node.op() {
            "Identity" => match body.inputs[at].first() {
                Some(input) => source = *input,
                None => return Origin::Other,
            },
            "IdentityN" => match body.inputs[at].get(output) {
                Some(input) => source = *input,
                None => return Origin::Other,
            },
            "Const" => return node.tensor("value").map_or(Origin::Other, Origin::Constant),
            "RestoreV2" => return stored(body, at, output, arguments),
            _ => return Origin::Node(&node.def.name),
        }
    }
    Origin::Other
}

/// The key under which `RestoreV2` finds an output. Parts of tensors are not followed.
fn stored<'a>(body: &Body<'a>, restore: usize, output: usize, arguments: &[Origin<'a>]) -> Origin<'a> {
    let text = |place: usize| {
        let source = body.inputs[restore].get(place)?;
        // The names are a constant beside the operator; an operator that reads itself must not be followed.
        if matches!(source, Source::Output(at, _) if body.nodes[*at].op == "RestoreV2") {
            return None;
        }
        let Origin::Constant(strings) = origin(body, *source, arguments) else { return None };
        let strings = constant::strings(strings).ok()?;
        String::from_utf8(strings.get(output)?.clone()).ok()
    };
    match (text(1), text(2)) {
        (Some(key), Some(part)) if part.is_empty() => Origin::Stored(key),
        _ => Origin::Other,
    }
}
