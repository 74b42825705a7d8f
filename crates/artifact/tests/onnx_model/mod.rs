//! Small ONNX models, made by hand.
#![allow(dead_code)]

use predictor::{DataType, Signature, TensorSpec};
use prost::Message;
use protos::onnx::tensor_shape_proto::{Dimension, dimension::Value as Axis};
use protos::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, attribute_proto::AttributeType, tensor_proto, type_proto,
};

/// A model of these nodes: `x [batch, width]` goes in, `outputs` come out.
pub(crate) fn model(
    nodes: Vec<NodeProto>,
    initializers: Vec<TensorProto>,
    outputs: Vec<ValueInfoProto>,
) -> ModelProto {
    let opset = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset("", 18), opset("ai.onnx.ml", 3)],
        graph: Some(GraphProto {
            name: Some("g".to_owned()),
            node: nodes,
            initializer: initializers,
            input: vec![value("x", tensor_proto::DataType::Float, &[None, Some(2)])],
            output: outputs,
            ..GraphProto::default()
        }),
        ..ModelProto::default()
    }
}

pub(crate) fn bytes(model: &ModelProto) -> Vec<u8> {
    model.encode_to_vec()
}

pub(crate) fn spec(name: &str, dtype: DataType, shape: &[Option<usize>]) -> TensorSpec {
    TensorSpec { name: name.to_owned(), dtype, shape: shape.to_vec() }
}

/// `x [batch, 2]`, and these outputs.
pub(crate) fn signature(outputs: Vec<TensorSpec>) -> Signature {
    Signature { inputs: vec![spec("x", DataType::Float32, &[None, Some(2)])], outputs }
}

pub(crate) fn value(name: &str, dtype: tensor_proto::DataType, shape: &[Option<i64>]) -> ValueInfoProto {
    let dim = |size: &Option<i64>| Dimension {
        value: Some(size.map_or(Axis::DimParam("N".to_owned()), Axis::DimValue)),
        ..Dimension::default()
    };
    let shape = Some(TensorShapeProto { dim: shape.iter().map(dim).collect() });
    let tensor = type_proto::Tensor { elem_type: Some(dtype.into()), shape };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(tensor)),
            ..TypeProto::default()
        }),
        ..ValueInfoProto::default()
    }
}

pub(crate) fn node(
    operator: &str,
    inputs: &[&str],
    outputs: &[&str],
    attributes: Vec<AttributeProto>,
) -> NodeProto {
    let is_ml = operator.starts_with("Tree") || operator == "ZipMap" || operator == "Scaler";
    NodeProto {
        name: Some(format!("the_{}", operator.to_lowercase())),
        op_type: Some(operator.to_owned()),
        domain: is_ml.then(|| "ai.onnx.ml".to_owned()),
        input: inputs.iter().map(|name| (*name).to_owned()).collect(),
        output: outputs.iter().map(|name| (*name).to_owned()).collect(),
        attribute: attributes,
        ..NodeProto::default()
    }
}

pub(crate) fn ints(name: &str, ints: &[i64]) -> AttributeProto {
    AttributeProto { ints: ints.to_vec(), ..attribute(name, AttributeType::Ints) }
}

pub(crate) fn int(name: &str, i: i64) -> AttributeProto {
    AttributeProto { i: Some(i), ..attribute(name, AttributeType::Int) }
}

pub(crate) fn floats(name: &str, floats: &[f32]) -> AttributeProto {
    AttributeProto { floats: floats.to_vec(), ..attribute(name, AttributeType::Floats) }
}

pub(crate) fn text(name: &str, s: &str) -> AttributeProto {
    AttributeProto { s: Some(s.as_bytes().to_vec()), ..attribute(name, AttributeType::String) }
}

pub(crate) fn texts(name: &str, strings: &[&str]) -> AttributeProto {
    let strings = strings.iter().map(|s| s.as_bytes().to_vec()).collect();
    AttributeProto { strings, ..attribute(name, AttributeType::Strings) }
}

pub(crate) fn tensor(name: &str, t: TensorProto) -> AttributeProto {
    AttributeProto { t: Some(t), ..attribute(name, AttributeType::Tensor) }
}

fn attribute(name: &str, r#type: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_owned()), r#type: Some(r#type.into()), ..AttributeProto::default() }
}

/// A constant of float32.
pub(crate) fn constant(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        data_type: Some(tensor_proto::DataType::Float.into()),
        dims: dims.to_vec(),
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// A tree.
pub(crate) type Tree<'a> = &'a [TreeNode<'a>];

/// Mode, feature, threshold, child if yes, child if no, whether what is missing goes to yes.
pub(crate) type TreeNode<'a> = (&'a str, i64, f32, i64, i64, i64);

/// The attributes of trees whose leaves weigh (tree, node, target, weight), for a regressor or a classifier.
pub(crate) fn forest(
    part: &str,
    trees: &[Tree<'_>],
    weights: &[(i64, i64, i64, f32)],
) -> Vec<AttributeProto> {
    let all: Vec<_> = trees
        .iter()
        .enumerate()
        .flat_map(|(t, tree)| tree.iter().enumerate().map(move |(n, node)| (t, n, node)))
        .collect();
    let column = |name: &str, of: fn(&(usize, usize, &TreeNode<'_>)) -> i64| {
        ints(name, &all.iter().map(of).collect::<Vec<_>>())
    };
    let modes: Vec<&str> = all.iter().map(|(_, _, node)| node.0).collect();
    let of_weights = |name: &str, of: fn(&(i64, i64, i64, f32)) -> i64| {
        ints(&format!("{part}_{name}"), &weights.iter().map(of).collect::<Vec<_>>())
    };
    vec![
        column("nodes_treeids", |(tree, ..)| *tree as i64),
        column("nodes_nodeids", |(_, node, _)| *node as i64),
        texts("nodes_modes", &modes),
        column("nodes_featureids", |(.., node)| node.1),
        floats("nodes_values", &all.iter().map(|(_, _, node)| node.2).collect::<Vec<_>>()),
        column("nodes_truenodeids", |(.., node)| node.3),
        column("nodes_falsenodeids", |(.., node)| node.4),
        column("nodes_missing_value_tracks_true", |(.., node)| node.5),
        of_weights("treeids", |weight| weight.0),
        of_weights("nodeids", |weight| weight.1),
        of_weights("ids", |weight| weight.2),
        floats(&format!("{part}_weights"), &weights.iter().map(|weight| weight.3).collect::<Vec<_>>()),
    ]
}
