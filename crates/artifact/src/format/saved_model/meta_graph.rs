//! The meta graph: the top-level graph that calls the function and restores the variables, the function library,
//! the signature, and the object graph.

use std::collections::BTreeMap;

use predictor::TensorSpec;
use protos::tensorflow::{
    self, FunctionDef, FunctionDefLibrary, GraphDef, MetaGraphDef, NodeDef, SaverDef, SignatureDef,
    TensorInfo, VersionDef, attr_value, meta_graph_def, saver_def, tensor_info,
};

use super::plan::{Plan, Port};
use super::proto::{
    WithAttribute, constant, data_type, fixed_shape, function_attribute, node, shapes_attribute, spec_shape,
    strings, type_attribute, types_attribute,
};
use super::{
    CALL, FUNCTION, SAVER_FILENAME, SAVER_SCOPE, SIGNATURE, input_tensor, object_graph, output_tensor,
    placeholder,
};

/// A release and a graph version of early 2022: nothing newer is used, so that older readers do not refuse.
const TENSORFLOW_VERSION: &str = "2.8.0";
const GRAPH_VERSION: i32 = 987;
const MIN_CONSUMER: i32 = 12;

pub(super) fn meta_graph(plan: &Plan, functions: Vec<FunctionDef>) -> MetaGraphDef {
    let info = meta_graph_def::MetaInfoDef {
        tags: vec!["serve".to_owned()],
        tensorflow_version: TENSORFLOW_VERSION.to_owned(),
        stripped_default_attrs: true,
        ..meta_graph_def::MetaInfoDef::default()
    };
    MetaGraphDef {
        meta_info_def: Some(info),
        graph_def: Some(graph(plan, functions)),
        saver_def: (!plan.variables.is_empty()).then(saver),
        signature_def: BTreeMap::from([(SIGNATURE.to_owned(), signature(plan))]),
        object_graph_def: Some(object_graph::saved(plan)),
        ..MetaGraphDef::default()
    }
}

fn graph(plan: &Plan, functions: Vec<FunctionDef>) -> GraphDef {
    let mut nodes: Vec<NodeDef> = plan.inputs.iter().map(input_placeholder).collect();
    nodes.extend(plan.variables.iter().map(|variable| {
        let name = &variable.name;
        node(name, "VarHandleOp", vec![])
            .with("dtype", type_attribute(data_type(variable.tensor.data_type())))
            .with("shape", attr_value::Value::Shape(fixed_shape(variable.tensor.shape())))
            .with("shared_name", attr_value::Value::S(name.clone().into_bytes()))
    }));
    nodes.push(call(plan));
    if !plan.variables.is_empty() {
        nodes.extend(saver_nodes(plan));
    }
    GraphDef {
        node: nodes,
        library: Some(FunctionDefLibrary { function: functions, ..FunctionDefLibrary::default() }),
        versions: Some(VersionDef {
            producer: GRAPH_VERSION,
            min_consumer: MIN_CONSUMER,
            bad_consumers: vec![],
        }),
        ..GraphDef::default()
    }
}

fn input_placeholder(input: &Port) -> NodeDef {
    node(&placeholder(&input.argument), "Placeholder", vec![])
        .with("dtype", type_attribute(data_type(input.spec.dtype)))
        .with("shape", attr_value::Value::Shape(spec_shape(&input.spec)))
}

fn call(plan: &Plan) -> NodeDef {
    let inputs = plan.inputs.iter().map(|input| placeholder(&input.argument));
    let handles = plan.variables.iter().map(|variable| variable.name.clone());
    let input_types = plan.inputs.iter().map(|input| data_type(input.spec.dtype));
    let handle_types = plan.variables.iter().map(|_| tensorflow::DataType::DtResource);
    let results = plan.outputs.iter().map(|output| data_type(output.spec.dtype)).collect();
    let shapes = plan.outputs.iter().map(|output| spec_shape(&output.spec)).collect();
    node(CALL, "StatefulPartitionedCall", inputs.chain(handles).collect())
        .with("Tin", types_attribute(input_types.chain(handle_types).collect()))
        .with("Tout", types_attribute(results))
        .with("f", function_attribute(FUNCTION))
        .with("_output_shapes", shapes_attribute(shapes))
}

/// What loaders restore the variables with, and what the TF1 saver wants beside it to save them again. Both take
/// the path of a checkpoint through the placeholder.
fn saver_nodes(plan: &Plan) -> Vec<NodeDef> {
    let keys: Vec<String> = plan.variables.iter().map(|variable| variable.checkpoint_key()).collect();
    let whole = vec![String::new(); keys.len()];
    let mut nodes = vec![
        node(SAVER_FILENAME, "Placeholder", vec![])
            .with("dtype", type_attribute(tensorflow::DataType::DtString))
            .with("shape", attr_value::Value::Shape(fixed_shape(&[]))),
        constant(&scoped("names"), strings(keys)),
        constant(&scoped("slices"), strings(whole)),
    ];
    nodes.extend(restore(plan));
    nodes.extend(save(plan));
    nodes
}

/// Reads every variable's value from the checkpoint and assigns it.
fn restore(plan: &Plan) -> Vec<NodeDef> {
    let read = scoped("restore");
    let types = types_attribute(variable_types(plan));
    let mut nodes = vec![node(&read, "RestoreV2", checkpoint_inputs()).with("dtypes", types)];
    let mut done = Vec::new();
    for (at, variable) in plan.variables.iter().enumerate() {
        let name = scoped(&format!("assign_{at}"));
        done.push(format!("^{name}"));
        let inputs = vec![variable.name.clone(), format!("{read}:{at}")];
        let dtype = type_attribute(data_type(variable.tensor.data_type()));
        nodes.push(node(&name, "AssignVariableOp", inputs).with("dtype", dtype));
    }
    nodes.push(node(&scoped("all"), "NoOp", done));
    nodes
}

/// Writes every variable's value to a checkpoint and gives its path.
fn save(plan: &Plan) -> Vec<NodeDef> {
    let write = scoped("save");
    let mut nodes = Vec::new();
    let mut inputs = checkpoint_inputs();
    for (at, variable) in plan.variables.iter().enumerate() {
        let name = scoped(&format!("read_{at}"));
        let dtype = type_attribute(data_type(variable.tensor.data_type()));
        nodes.push(node(&name, "ReadVariableOp", vec![variable.name.clone()]).with("dtype", dtype));
        inputs.push(name);
    }
    nodes.push(node(&write, "SaveV2", inputs).with("dtypes", types_attribute(variable_types(plan))));
    let path = node(&scoped("path"), "Identity", vec![SAVER_FILENAME.to_owned(), format!("^{write}")]);
    nodes.push(path.with("T", type_attribute(tensorflow::DataType::DtString)));
    nodes
}

fn scoped(name: &str) -> String {
    format!("{SAVER_SCOPE}/{name}")
}

fn checkpoint_inputs() -> Vec<String> {
    vec![SAVER_FILENAME.to_owned(), scoped("names"), scoped("slices")]
}

fn variable_types(plan: &Plan) -> Vec<tensorflow::DataType> {
    plan.variables.iter().map(|variable| data_type(variable.tensor.data_type())).collect()
}

fn saver() -> SaverDef {
    SaverDef {
        filename_tensor_name: format!("{SAVER_FILENAME}:0"),
        save_tensor_name: format!("{}:0", scoped("path")),
        restore_op_name: scoped("all"),
        version: saver_def::CheckpointFormatVersion::V2.into(),
        ..SaverDef::default()
    }
}

fn signature(plan: &Plan) -> SignatureDef {
    let info = |tensor: String, spec: &TensorSpec| TensorInfo {
        dtype: data_type(spec.dtype).into(),
        tensor_shape: Some(spec_shape(spec)),
        encoding: Some(tensor_info::Encoding::Name(tensor)),
    };
    let inputs = plan.inputs.iter();
    let inputs =
        inputs.map(|input| (input.spec.name.clone(), info(input_tensor(&input.argument), &input.spec)));
    let outputs = plan.outputs.iter().enumerate();
    let outputs =
        outputs.map(|(at, output)| (output.spec.name.clone(), info(output_tensor(at), &output.spec)));
    SignatureDef {
        inputs: inputs.collect(),
        outputs: outputs.collect(),
        method_name: "tensorflow/serving/predict".to_owned(),
        ..SignatureDef::default()
    }
}
