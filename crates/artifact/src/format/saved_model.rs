//! TensorFlow SavedModel: `saved_model.pb`, and the weights under `variables/`.
//!
//! Every loader is served: `tf.saved_model.load` and Keras read the object graph and the function library; the
//! TF1 loader, the C interface and TensorFlow Serving read the top-level graph, which calls the same function,
//! and restore the variables through the saver's operator.

mod from_onnx;
mod function;
mod meta_graph;
mod object_graph;
mod operator;
mod plan;
mod proto;
pub mod read;
mod table;
mod variables;

use std::path::Path;

use predictor::Signature;
use prost::Message;
use protos::tensorflow::FunctionDef;

use super::Format;
use crate::Error;
use crate::bundle::FormatTensorNames;
use crate::graph::Graph;
pub use from_onnx::from_onnx;
use plan::Plan;

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
        let plan = Plan::of_graph(graph)?;
        let function = function::function(&plan, graph);
        Ok(files(&plan, vec![function]))
    }

    fn tensor_names(&self, signature: &Signature) -> FormatTensorNames {
        let mut outputs: Vec<&str> = signature.outputs.iter().map(|spec| spec.name.as_str()).collect();
        outputs.sort_unstable();
        let inputs = signature.inputs.iter().map(|spec| (spec.name.clone(), input_tensor(&spec.name)));
        let outputs = outputs.iter().enumerate().map(|(at, name)| ((*name).to_owned(), output_tensor(at)));
        FormatTensorNames { inputs: inputs.collect(), outputs: outputs.collect() }
    }
}

/// The files of a model: its variables, and everything else.
fn files(plan: &Plan, functions: Vec<FunctionDef>) -> Vec<(String, Vec<u8>)> {
    let model = protos::tensorflow::SavedModel {
        saved_model_schema_version: 1,
        meta_graphs: vec![meta_graph::meta_graph(plan, functions)],
    };
    let mut files = variables::files(plan);
    files.push(("saved_model.pb".to_owned(), model.encode_to_vec()));
    files
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
