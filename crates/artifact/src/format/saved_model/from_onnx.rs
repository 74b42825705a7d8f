//! Anybody's ONNX graph as a SavedModel: each node in TensorFlow's operators, weights as variables, loops as functions.
//!
//! What an operator becomes is in `ops`. What has no like is collected, and everything behind it is passed over, so that one
//! error names all of it. Deliberately not here: what a SavedModel is made of beside the functions (`plan`, `meta_graph`).

mod call;
mod functions;
mod lowering;
mod node;
mod ops;
mod value;
mod weight;

use std::borrow::Cow;
use std::collections::BTreeSet;

use predictor::{Signature, TensorSpec};
use prost::Message;
use protos::onnx::ModelProto;
use protos::tensorflow::FunctionDef;

use super::plan::{Plan, Port, Variable, attribute, free_name, is_free};
use super::proto::data_type;
use crate::Error;
use crate::import::Unsupported;
use lowering::Lowering;

/// The files of a SavedModel that computes what an imported model computes: path inside the directory, with `/`, and contents.
/// `onnx` is its graph as the bundle keeps it.
///
/// # Errors
/// [`Error::Unwritable`] with every operator that TensorFlow has no like for, [`Error::Import`] for what is no such graph.
pub fn from_onnx(onnx: &[u8], signature: &Signature) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let model = ModelProto::decode(onnx).map_err(|error| refuse(error.to_string()))?;
    let mut names = BTreeSet::new();
    let inputs = ports(&signature.inputs, &mut names);
    let outputs = ports(&signature.outputs, &mut names);
    let mut lowering = Lowering::new(&model, names);
    let graph = model.graph.as_ref().ok_or_else(|| refuse("it has no graph".to_owned()))?;
    let given = inputs.iter().map(|port| (&port.spec, port.argument.as_str()));
    let results = lowering.model(graph, given, signature.outputs.iter().map(|spec| spec.name.as_str()));
    let unsupported = lowering.unsupported();
    if !unsupported.is_empty() {
        return Err(Error::Unwritable(unsupported));
    }
    let results = results.map_err(refuse)?;
    let inner = std::mem::take(&mut lowering.functions);
    let mut taken = BTreeSet::from(["signatures".to_owned()]);
    let mut nodes = BTreeSet::new();
    let variables = lowering.variables().map(|(argument, name, tensor)| {
        let name = if is_free(name) { name.to_owned() } else { format!("weight_{name}") };
        Variable {
            attribute: free_name(attribute(&name), &mut taken),
            name: free_name(name, &mut nodes),
            tensor: Cow::Borrowed(tensor),
            argument,
        }
    });
    let mut plan = Plan { inputs, outputs, variables: variables.collect() };
    plan.inputs.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    plan.outputs.sort_by(|a, b| a.spec.name.cmp(&b.spec.name));
    let results = plan.outputs.iter().map(|output| {
        let at = signature.outputs.iter().position(|spec| spec.name == output.spec.name);
        let value = at.map(|at| results[at].clone()).unwrap_or_default();
        (output.argument.clone(), value, data_type(output.spec.dtype))
    });
    let results: Vec<_> = results.collect();
    let mut functions: Vec<FunctionDef> = vec![lowering.finish(&plan, &results)];
    functions.extend(inner);
    Ok(super::files(&plan, functions))
}

/// Arguments under names that any graph of TensorFlow can have.
fn ports(specs: &[TensorSpec], taken: &mut BTreeSet<String>) -> Vec<Port> {
    let port = |spec: &TensorSpec| Port {
        spec: spec.clone(),
        argument: free_name(lowering::node_name(&spec.name), taken),
    };
    specs.iter().map(port).collect()
}

fn refuse(reason: String) -> Error {
    Error::Import { place: "the model to be written as a SavedModel".to_owned(), reason }
}

/// What stands in the way, where an operator has several nodes.
type Obstacles = std::collections::BTreeMap<(String, String), Unsupported>;
