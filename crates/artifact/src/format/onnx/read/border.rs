//! Types callers cannot give or get: converted where the graph begins and ends, or refused with the way out.

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, ValueInfoProto, type_proto};

use super::edit::{Names, cast, rename};
use super::signature::element_type;
use crate::format::onnx::nodes::type_name;

/// Puts casts at the border for half floats and small integers, and leaves out strings where something else is left.
pub(super) fn convert(graph: &mut GraphProto, notes: &mut Vec<String>) -> Result<(), String> {
    leave_out_strings(graph, notes)?;
    let mut names = Names::of(graph);
    let mut first = Vec::new();
    for at in 0..graph.input.len() {
        let Some((name, from, to)) = wider(&graph.input[at], "input")? else {
            continue;
        };
        let inner = names.free(&format!("{name}/cast"));
        rename(graph, &name, &inner);
        if graph.output.iter().any(|output| output.name() == name) {
            return Err(format!("its output \"{name}\" is an input"));
        }
        set_type(&mut graph.input[at], to);
        first.push(cast(&name, &inner, from));
        notes.push(format!(
            "input \"{name}\" is {}: callers give {}, which is converted",
            type_name(from),
            type_name(to)
        ));
    }
    graph.node.splice(0..0, first);
    for at in 0..graph.output.len() {
        let Some((name, from, to)) = wider(&graph.output[at], "output")? else {
            continue;
        };
        let inner = names.free(&format!("{name}/cast"));
        rename(graph, &name, &inner);
        set_type(&mut graph.output[at], to);
        graph.node.push(cast(&inner, &name, to));
        notes.push(format!("output \"{name}\" is {}: callers get it as {}", type_name(from), type_name(to)));
    }
    Ok(())
}

fn leave_out_strings(graph: &mut GraphProto, notes: &mut Vec<String>) -> Result<(), String> {
    let is_text = |value: &ValueInfoProto| element_type(value) == Ok(DataType::String);
    if let Some(input) = graph.input.iter().find(|input| is_text(input)) {
        return Err(format!(
            "its input \"{}\" is text; encode it as numbers before the model (scikit-learn: OrdinalEncoder), and export the \
             part behind",
            input.name()
        ));
    }
    let texts: Vec<String> =
        graph.output.iter().filter(|output| is_text(output)).map(|output| output.name().to_owned()).collect();
    if texts.len() == graph.output.len() {
        return Err(format!("its output \"{}\" is text; train with numbers as labels", texts[0]));
    }
    graph.output.retain(|output| !is_text(output));
    for name in texts {
        let labels = labels_of(graph, &name);
        let labels = labels
            .map_or(String::new(), |labels| format!("; the classes are, in order, {}", labels.join(", ")));
        notes.push(format!("output \"{name}\" is text and was left out{labels}"));
    }
    Ok(())
}

/// The labels that the classifier behind a value has.
fn labels_of(graph: &GraphProto, value: &str) -> Option<Vec<String>> {
    let node = graph.node.iter().find(|node| node.output.iter().any(|output| output == value))?;
    let labels = node.attribute.iter().find(|attribute| attribute.name() == "classlabels_strings");
    match labels {
        Some(labels) => {
            Some(labels.strings.iter().map(|s| String::from_utf8_lossy(s).into_owned()).collect())
        }
        None if node.op_type() == "Identity" => labels_of(graph, node.input.first()?),
        None => None,
    }
}

/// Name, type and the type to give to callers, where that is another.
fn wider(value: &ValueInfoProto, kind: &str) -> Result<Option<(String, DataType, DataType)>, String> {
    let from = element_type(value).map_err(|reason| format!("its {kind} {reason}"))?;
    let to = match from {
        DataType::Float | DataType::Double | DataType::Int32 | DataType::Int64 | DataType::Bool => {
            return Ok(None);
        }
        DataType::Float16 | DataType::Bfloat16 => DataType::Float,
        DataType::Uint8 | DataType::Int8 | DataType::Uint16 | DataType::Int16 => DataType::Int32,
        DataType::Uint32 | DataType::Uint64 => DataType::Int64,
        other => {
            return Err(format!(
                "its {kind} \"{}\" is {}, which no client can send; export the model with float32",
                value.name(),
                type_name(other)
            ));
        }
    };
    Ok(Some((value.name().to_owned(), from, to)))
}

fn set_type(value: &mut ValueInfoProto, to: DataType) {
    if let Some(type_proto::Value::TensorType(tensor)) =
        value.r#type.as_mut().and_then(|r#type| r#type.value.as_mut())
    {
        tensor.elem_type = Some(to.into());
    }
}
