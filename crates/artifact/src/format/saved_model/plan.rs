//! What the parts of a SavedModel have to agree on: the order of arguments and results, and the names of variables.

use std::borrow::Cow;
use std::collections::BTreeSet;

use predictor::{Tensor, TensorSpec};

use super::{CALL, SAVER_FILENAME, SAVER_SCOPE, SIGNATURE};
use crate::Error;
use crate::graph::{Graph, Node};

/// A model as TensorFlow orders it: structured arguments and results are flattened by name.
pub(super) struct Plan<'a> {
    /// In the order of their public names.
    pub(super) inputs: Vec<Port>,
    /// In the order of their public names.
    pub(super) outputs: Vec<Port>,
    pub(super) variables: Vec<Variable<'a>>,
}

/// An argument or a result of the signature.
pub(super) struct Port {
    /// As callers see it.
    pub(super) spec: TensorSpec,
    /// What the function calls it.
    pub(super) argument: String,
}

/// A variable under the names that different parts of a SavedModel give it.
pub(super) struct Variable<'a> {
    /// The node of the top-level graph.
    pub(super) name: String,
    pub(super) tensor: Cow<'a, Tensor>,
    /// The function's argument that takes its handle.
    pub(super) argument: String,
    /// The attribute of the loaded object.
    pub(super) attribute: String,
}

impl Variable<'_> {
    pub(super) fn checkpoint_key(&self) -> String {
        format!("{}/.ATTRIBUTES/VARIABLE_VALUE", self.attribute)
    }
}

impl<'a> Plan<'a> {
    /// The plan of a graph of ours, whose names are names of TensorFlow.
    ///
    /// # Errors
    /// [`Error::Graph`] for a variable with the name of a node that a SavedModel has.
    pub(super) fn of_graph(graph: &'a Graph) -> Result<Self, Error> {
        let port = |name: &str, node: &Node| Port {
            spec: TensorSpec { name: name.to_owned(), dtype: node.dtype, shape: node.shape.clone() },
            argument: name.to_owned(),
        };
        let mut inputs: Vec<Port> = graph.inputs().map(|node| port(&node.name, node)).collect();
        inputs.sort_unstable_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let outputs = graph.outputs().iter();
        let mut outputs: Vec<Port> =
            outputs.map(|output| port(&output.name, graph.node(output.value))).collect();
        outputs.sort_unstable_by(|a, b| a.spec.name.cmp(&b.spec.name));
        let mut taken: BTreeSet<String> = graph.nodes().iter().map(|node| node.name.clone()).collect();
        let mut attributes = BTreeSet::from(["signatures".to_owned()]);
        let mut variables = Vec::new();
        for (at, (node, tensor)) in graph.variables().enumerate() {
            if !is_free(&node.name) {
                let reason = "a SavedModel has its own node of this name, name the variable otherwise";
                return Err(Error::Graph { node: node.name.clone(), reason: reason.to_owned() });
            }
            variables.push(Variable {
                name: node.name.clone(),
                tensor: Cow::Borrowed(tensor),
                argument: free_name(format!("variable_{at}"), &mut taken),
                attribute: free_name(attribute(&node.name), &mut attributes),
            });
        }
        Ok(Self { inputs, outputs, variables })
    }
}

/// A variable's name as that of an attribute.
pub(super) fn attribute(name: &str) -> String {
    name.replace(['/', '.', '-'], "_")
}

/// `name`, or its first free variant.
pub(super) fn free_name(mut name: String, taken: &mut BTreeSet<String>) -> String {
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// Whether a variable may have the name: variables are nodes of the top-level graph, beside those this format adds.
pub(super) fn is_free(name: &str) -> bool {
    let own = [SIGNATURE, CALL, SAVER_FILENAME].iter().any(|prefix| name.starts_with(prefix));
    !own && name.split('/').next() != Some(SAVER_SCOPE)
}
