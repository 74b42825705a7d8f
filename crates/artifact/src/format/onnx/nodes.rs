//! Questions about the nodes of an ONNX graph.

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{AttributeProto, GraphProto, NodeProto, OperatorSetIdProto, TensorProto};

/// What to call a node in a message: its name, else its first output.
pub(crate) fn label(node: &NodeProto) -> &str {
    let first = || node.output.iter().map(String::as_str).find(|output| !output.is_empty());
    node.name.as_deref().filter(|name| !name.is_empty()).or_else(first).unwrap_or("without a name")
}

/// The layer a node comes from, where exporters write it into the name: `/encoder/norm` of `/encoder/norm/Sqrt`.
pub(crate) fn layer_of(node: &str) -> Option<String> {
    let (layer, _) = node.rsplit_once('/')?;
    Some(layer.to_owned()).filter(|layer| !layer.is_empty())
}

/// The graphs within a node: branches and bodies.
pub(crate) fn nested(node: &NodeProto) -> Vec<&GraphProto> {
    node.attribute.iter().flat_map(|attribute| attribute.g.iter().chain(&attribute.graphs)).collect()
}

/// The attribute of a name.
pub(crate) fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

/// The version a model imports of a domain; 0 where it does not say.
pub(crate) fn opset(imports: &[OperatorSetIdProto], domain: &str) -> i64 {
    let plain = |domain: &str| if domain == "ai.onnx" { String::new() } else { domain.to_owned() };
    let found = imports.iter().find(|import| plain(import.domain()) == plain(domain));
    found.map_or(0, OperatorSetIdProto::version)
}

/// Whether an operator is of ONNX itself.
pub(crate) fn is_standard(node: &NodeProto) -> bool {
    matches!(node.domain(), "" | "ai.onnx")
}

/// The type of a tensor's elements; one that is not known is undefined.
pub(crate) fn data_type(tensor: &TensorProto) -> DataType {
    DataType::try_from(tensor.data_type()).unwrap_or(DataType::Undefined)
}

/// What messages call a type: `float32`, `uint8`.
pub(crate) fn type_name(dtype: DataType) -> String {
    match dtype {
        DataType::Float => "float32".to_owned(),
        DataType::Double => "float64".to_owned(),
        other => other.as_str_name().to_lowercase(),
    }
}
