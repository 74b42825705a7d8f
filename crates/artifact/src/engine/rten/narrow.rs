//! What rten computes in a narrower type than the model says: float64 as float32, int64 as int32.

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};

use crate::format::onnx::nodes::{attribute, data_type, is_standard, nested};

const DOUBLE: &str = "the engine rten computes float64 as float32: to 7 digits, and up to 3.4e38; deploy it with --engine onnxruntime \
                      for all of them";
const LONG: &str = "the engine rten computes int64 as int32: larger inputs are refused, and what is computed must stay below 2147483648; \
                    deploy it with --engine onnxruntime for larger ones";

/// What users are to know of it, in words.
pub(in crate::engine) fn notes(model: &ModelProto) -> Vec<String> {
    let Some(graph) = &model.graph else { return Vec::new() };
    let long = graph.input.iter().chain(&graph.output).any(|value| is_of(value, DataType::Int64));
    let found = [(computes_double(graph), DOUBLE), (long, LONG)];
    found.into_iter().filter(|(found, _)| *found).map(|(_, note)| note.to_owned()).collect()
}

/// Whether anything in a graph is float64.
pub(in crate::engine) fn computes_double(graph: &GraphProto) -> bool {
    let double = |tensor: &TensorProto| data_type(tensor) == DataType::Double;
    graph.initializer.iter().any(double)
        || graph.input.iter().chain(&graph.output).any(|value| is_of(value, DataType::Double))
        || graph.node.iter().any(|node| {
            casts_to_double(node)
                || node.attribute.iter().filter_map(|attribute| attribute.t.as_ref()).any(double)
                || nested(node).into_iter().any(computes_double)
        })
}

fn casts_to_double(node: &NodeProto) -> bool {
    let to = attribute(node, "to").and_then(|attribute| attribute.i);
    is_standard(node) && node.op_type() == "Cast" && to == Some(i64::from(i32::from(DataType::Double)))
}

fn is_of(value: &ValueInfoProto, dtype: DataType) -> bool {
    use protos::onnx::type_proto::Value;
    let stated = value.r#type.as_ref().and_then(|of| of.value.as_ref());
    matches!(stated, Some(Value::TensorType(tensor)) if tensor.elem_type == Some(i32::from(dtype)))
}

#[cfg(test)]
mod tests {
    use predictor::TensorData;

    use super::*;
    use crate::format::onnx::proto;

    fn graph(node: NodeProto) -> GraphProto {
        GraphProto { node: vec![node], ..GraphProto::default() }
    }

    fn cast(to: DataType) -> NodeProto {
        let attribute = vec![proto::int("to", i64::from(i32::from(to)))];
        NodeProto { op_type: Some("Cast".to_owned()), attribute, ..NodeProto::default() }
    }

    #[test]
    fn doubles_are_found_wherever_they_are() {
        assert!(computes_double(&graph(cast(DataType::Double))));
        assert!(!computes_double(&graph(cast(DataType::Float))));
        let within = |to| NodeProto {
            op_type: Some("If".to_owned()),
            attribute: vec![proto::graph("then_branch", graph(cast(to)))],
            ..NodeProto::default()
        };
        assert!(computes_double(&graph(within(DataType::Double))));
        assert!(!computes_double(&graph(within(DataType::Int64))));
        for (data, double) in
            [(TensorData::Float64(vec![0.5]), true), (TensorData::Float32(vec![0.5]), false)]
        {
            let tensor = proto::tensor("w", &predictor::Tensor::new(vec![1], data).unwrap());
            let graph = GraphProto { initializer: vec![tensor], ..GraphProto::default() };
            assert_eq!(computes_double(&graph), double);
            let notes = notes(&ModelProto { graph: Some(graph), ..ModelProto::default() });
            assert_eq!(notes.len(), usize::from(double));
        }
    }
}
