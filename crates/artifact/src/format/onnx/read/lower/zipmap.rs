//! ZipMap turns a row of probabilities into a map from labels to numbers; a tensor says the same, in the order of the
//! labels.

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, ValueInfoProto};

use crate::format::onnx::nodes::{attribute, is_standard};
use crate::format::onnx::read::edit::node;
use crate::format::onnx::read::signature::value_of_spec;

/// Replaces every ZipMap by the tensor it takes, under the name of its output.
pub(super) fn replace(graph: &mut GraphProto, notes: &mut Vec<String>) -> Result<(), String> {
    for at in 0..graph.node.len() {
        let old = &graph.node[at];
        if old.domain() != "ai.onnx.ml" || old.op_type() != "ZipMap" {
            continue;
        }
        let ([input], [output]) = (old.input.as_slice(), old.output.as_slice()) else {
            return Err("a ZipMap of it has not one input and one output".to_owned());
        };
        let integers = attribute(old, "classlabels_int64s").map_or(&[][..], |labels| &labels.ints);
        let texts = attribute(old, "classlabels_strings").map_or(&[][..], |labels| &labels.strings);
        let mut labels: Vec<String> = integers.iter().map(i64::to_string).collect();
        labels.extend(texts.iter().map(|text| String::from_utf8_lossy(text).into_owned()));
        notes.push(format!(
            "output \"{output}\" is a tensor of one number a class, not a map; the classes are, in order, {}",
            labels.join(", ")
        ));
        let mut copy = node("Identity", &[input], output, vec![]);
        copy.name.clone_from(&old.name);
        let spec = predictor::TensorSpec {
            name: output.clone(),
            dtype: predictor::DataType::Float32,
            shape: vec![None, Some(labels.len()).filter(|count| *count > 0)],
        };
        graph.node[at] = copy;
        if let Some(value) = graph.output.iter_mut().find(|value| value.name() == spec.name) {
            *value = value_of_spec(&spec);
        }
    }
    label_outputs_of_classifiers(graph);
    Ok(())
}

/// Some exporters say of labels that there is one, whatever the batch.
fn label_outputs_of_classifiers(graph: &mut GraphProto) {
    let mut labels: Vec<String> = Vec::new();
    for node in &graph.node {
        let copies = is_standard(node) && matches!(node.op_type(), "Identity" | "Cast");
        let follows = copies && node.input.first().is_some_and(|input| labels.contains(input));
        if follows || (node.domain() == "ai.onnx.ml" && node.op_type() == "TreeEnsembleClassifier") {
            labels.extend(node.output.first().cloned());
        }
    }
    let is_labels = |value: &&mut ValueInfoProto| labels.iter().any(|name| name == value.name());
    for value in graph.output.iter_mut().filter(is_labels) {
        if super::super::signature::element_type(value) == Ok(DataType::Int64) {
            let spec = predictor::TensorSpec {
                name: value.name().to_owned(),
                dtype: predictor::DataType::Int64,
                shape: vec![None],
            };
            *value = value_of_spec(&spec);
        }
    }
}
