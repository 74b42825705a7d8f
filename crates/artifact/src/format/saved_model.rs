//! TensorFlow SavedModel: `saved_model.pb`, and the weights under `variables/`.
//!
//! Every loader is served: `tf.saved_model.load` and Keras read the object graph and the function library; the
//! TF1 loader, the C interface and TensorFlow Serving read the top-level graph, which calls the same function,
//! and restore the variables through the saver's operator.

mod function;
mod meta_graph;
mod object_graph;
mod operator;
mod proto;
pub mod read;
mod table;
mod variables;

use std::collections::BTreeSet;
use std::path::Path;

use predictor::{Signature, Tensor};
use prost::Message;

use super::Format;
use crate::Error;
use crate::bundle::FormatTensorNames;
use crate::graph::{Graph, Node, Output};

/// The signature under which callers find the model.
const SIGNATURE: &str = "serving_default";
/// The function of the library that computes it.
const FUNCTION: &str = "__inference_serving_default";
/// The node of the top-level graph that calls the function.
const CALL: &str = "StatefulPartitionedCall";
/// The placeholder of the top-level graph that takes the path of the variables.
const SAVER_FILENAME: &str = "saver_filename";
/// The scope of the top-level nodes that restore variables.
const SAVER_SCOPE: &str = "save";

/// The SavedModel format.
#[derive(Debug, Clone, Copy)]
pub struct SavedModel;

impl Format for SavedModel {
    fn name(&self) -> &'static str {
        "saved_model"
    }

    fn recognise(&self, directory: &Path) -> bool {
        directory.join("saved_model.pb").is_file()
    }

    fn write(&self, graph: &Graph) -> Result<Vec<(String, Vec<u8>)>, Error> {
        let plan = Plan::new(graph)?;
        let model = protos::tensorflow::SavedModel {
            saved_model_schema_version: 1,
            meta_graphs: vec![meta_graph::meta_graph(&plan)],
        };
        let mut files = variables::files(&plan);
        files.push(("saved_model.pb".to_owned(), model.encode_to_vec()));
        Ok(files)
    }

    fn tensor_names(&self, signature: &Signature) -> FormatTensorNames {
        let mut outputs: Vec<&str> = signature.outputs.iter().map(|spec| spec.name.as_str()).collect();
        outputs.sort_unstable();
        let inputs = signature.inputs.iter().map(|spec| (spec.name.clone(), input_tensor(&spec.name)));
        let outputs = outputs.iter().enumerate().map(|(at, name)| ((*name).to_owned(), output_tensor(at)));
        FormatTensorNames { inputs: inputs.collect(), outputs: outputs.collect() }
    }
}

fn placeholder(input: &str) -> String {
    format!("{SIGNATURE}_{input}")
}

fn input_tensor(input: &str) -> String {
    format!("{}:0", placeholder(input))
}

fn output_tensor(position: usize) -> String {
    format!("{CALL}:{position}")
}

/// A graph seen as TensorFlow orders it: structured arguments and results are flattened by name.
struct Plan<'a> {
    graph: &'a Graph,
    inputs: Vec<&'a Node>,
    outputs: Vec<&'a Output>,
    variables: Vec<Variable<'a>>,
}

/// A variable under the names that different parts of a SavedModel give it.
struct Variable<'a> {
    node: &'a Node,
    tensor: &'a Tensor,
    /// The function's argument that takes its handle.
    argument: String,
    /// The attribute of the loaded object.
    attribute: String,
}

impl Variable<'_> {
    fn checkpoint_key(&self) -> String {
        format!("{}/.ATTRIBUTES/VARIABLE_VALUE", self.attribute)
    }
}

impl<'a> Plan<'a> {
    fn new(graph: &'a Graph) -> Result<Self, Error> {
        let mut inputs: Vec<&Node> = graph.inputs().collect();
        inputs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut outputs: Vec<&Output> = graph.outputs().iter().collect();
        outputs.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        let mut taken: BTreeSet<String> = graph.nodes().iter().map(|node| node.name.clone()).collect();
        let mut attributes = BTreeSet::from(["signatures".to_owned()]);
        let mut variables = Vec::new();
        for (at, (node, tensor)) in graph.variables().enumerate() {
            check_top_level_name(&node.name)?;
            let argument = free_name(format!("variable_{at}"), &mut taken);
            let attribute = free_name(node.name.replace(['/', '.', '-'], "_"), &mut attributes);
            variables.push(Variable { node, tensor, argument, attribute });
        }
        Ok(Self { graph, inputs, outputs, variables })
    }
}

/// `name`, or its first free variant.
fn free_name(mut name: String, taken: &mut BTreeSet<String>) -> String {
    while !taken.insert(name.clone()) {
        name.push('_');
    }
    name
}

/// Variables are nodes of the top-level graph, beside those this format adds.
fn check_top_level_name(name: &str) -> Result<(), Error> {
    let own = [SIGNATURE, CALL, SAVER_FILENAME].iter().any(|prefix| name.starts_with(prefix));
    if own || name.split('/').next() == Some(SAVER_SCOPE) {
        let reason = "a SavedModel has its own node of this name, name the variable otherwise".to_owned();
        return Err(Error::Graph { node: name.to_owned(), reason });
    }
    Ok(())
}
