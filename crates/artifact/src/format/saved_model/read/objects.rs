//! Which key of the checkpoint a variable has, by the graphs of objects: for models whose restoring function does not
//! reach the variables that the signature reads, which is how TensorFlow saves Keras 3 models itself.
//!
//! The model's object graph says which objects a function is bound to; the checkpoint's has the same objects under the
//! same names, with their keys. Both are walked from the root side by side.

use std::collections::{BTreeMap, HashMap, VecDeque};

use prost::Message;
use protos::tensorflow::{MetaGraphDef, NodeDef, SavedObjectGraph, TrackableObjectGraph};

use super::checkpoint::Checkpoint;
use super::node::Node;

const OBJECT_GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";
const VALUE: &str = "VARIABLE_VALUE";

/// The keys of the variables that calls in the top-level graph are given, by the node of the variable.
pub(super) fn keys<'a>(graph: &'a MetaGraphDef, checkpoint: &Checkpoint) -> BTreeMap<&'a str, String> {
    let mut keys = BTreeMap::new();
    let (Some(objects), Some(nodes)) = (&graph.object_graph_def, &graph.graph_def) else { return keys };
    let stored =
        checkpoint.string(OBJECT_GRAPH_KEY).ok().and_then(|bytes| TrackableObjectGraph::decode(&*bytes).ok());
    let Some(stored) = stored else { return keys };
    let by_object = keys_of_objects(objects, &stored);
    let kinds: HashMap<&str, &str> =
        nodes.node.iter().map(|node| (node.name.as_str(), node.op.as_str())).collect();
    for node in &nodes.node {
        let function = Node { def: node }.function("f").and_then(|name| objects.concrete_functions.get(name));
        let Some(bound) = function.map(|function| &function.bound_inputs) else { continue };
        for (variable, object) in captured(node, bound.len()).zip(bound) {
            if kinds.get(variable) == Some(&"VarHandleOp")
                && let Some(key) = usize::try_from(*object).ok().and_then(|object| by_object.get(&object))
            {
                keys.entry(variable).or_insert_with(|| key.clone());
            }
        }
    }
    keys
}

/// The last inputs of a call are what its function is bound to.
fn captured(node: &NodeDef, count: usize) -> impl Iterator<Item = &str> {
    let inputs: Vec<&str> =
        node.input.iter().map(String::as_str).filter(|input| !input.starts_with('^')).collect();
    let first = inputs.len().saturating_sub(count);
    let fits = inputs.len() >= count;
    inputs.into_iter().skip(first).filter(move |_| fits)
}

/// The checkpoint's key of each object that is a variable.
fn keys_of_objects(objects: &SavedObjectGraph, stored: &TrackableObjectGraph) -> BTreeMap<usize, String> {
    let mut keys = BTreeMap::new();
    let mut met = vec![false; objects.nodes.len()];
    let mut open = VecDeque::from([(0usize, 0usize)]);
    while let Some((ours, theirs)) = open.pop_front() {
        let (Some(object), Some(counterpart)) = (objects.nodes.get(ours), stored.nodes.get(theirs)) else {
            continue;
        };
        if std::mem::replace(&mut met[ours], true) {
            continue;
        }
        if let Some(value) = counterpart.attributes.iter().find(|attribute| attribute.name == VALUE) {
            keys.insert(ours, value.checkpoint_key.clone());
        }
        let named: HashMap<&str, i32> =
            counterpart.children.iter().map(|child| (child.local_name.as_str(), child.node_id)).collect();
        for child in &object.children {
            let pair = named.get(child.local_name.as_str()).map(|theirs| (child.node_id, *theirs));
            if let Some((Ok(ours), Ok(theirs))) = pair.map(|(a, b)| (usize::try_from(a), usize::try_from(b)))
            {
                open.push_back((ours, theirs));
            }
        }
    }
    keys
}
