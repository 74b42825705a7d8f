//! Attributes of an operator, by name.

use protos::onnx::tensor_proto::DataType;
use protos::onnx::{NodeProto, TensorProto};

use crate::format::onnx::nodes::{attribute, data_type, type_name};

pub(super) fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name).and_then(|attribute| attribute.i)
}

pub(super) fn ints<'a>(node: &'a NodeProto, name: &str) -> &'a [i64] {
    attribute(node, name).map_or(&[], |attribute| &attribute.ints)
}

pub(super) fn text(node: &NodeProto, name: &str) -> Option<String> {
    attribute(node, name)
        .and_then(|attribute| attribute.s.as_deref())
        .map(|s| String::from_utf8_lossy(s).into_owned())
}

pub(super) fn texts<'a>(node: &'a NodeProto, name: &str) -> &'a [Vec<u8>] {
    attribute(node, name).map_or(&[], |attribute| &attribute.strings)
}

/// The numbers of a list, or of the tensor that may stand in for it as `NAME_as_tensor`.
pub(super) fn numbers(node: &NodeProto, name: &str) -> Result<Vec<f64>, String> {
    let floats = attribute(node, name).map_or(&[][..], |attribute| &attribute.floats);
    if !floats.is_empty() {
        return Ok(floats.iter().map(|x| f64::from(*x)).collect());
    }
    tensor(node, &format!("{name}_as_tensor"))
}

/// The numbers of a tensor; empty if it is not there.
pub(super) fn tensor(node: &NodeProto, name: &str) -> Result<Vec<f64>, String> {
    let Some(tensor) = attribute(node, name).and_then(|attribute| attribute.t.as_ref()) else {
        return Ok(vec![]);
    };
    elements(tensor)
        .ok_or_else(|| format!("its attribute {name} is {}, not numbers", type_name(data_type(tensor))))
}

fn elements(tensor: &TensorProto) -> Option<Vec<f64>> {
    let raw = tensor.raw_data();
    Some(match data_type(tensor) {
        DataType::Float if raw.is_empty() => tensor.float_data.iter().map(|x| f64::from(*x)).collect(),
        DataType::Float => raw.as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
        DataType::Double if raw.is_empty() => tensor.double_data.clone(),
        DataType::Double => raw.as_chunks::<8>().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
        DataType::Uint8 if raw.is_empty() => tensor.int32_data.iter().map(|x| f64::from(*x)).collect(),
        DataType::Uint8 => raw.iter().map(|x| f64::from(*x)).collect(),
        _ => return None,
    })
}

/// A list that must have as many entries as another.
pub(super) fn same_count(name: &str, found: usize, wanted: usize) -> Result<(), String> {
    if found == wanted {
        return Ok(());
    }
    Err(format!("its attribute {name} has {found} entries where {wanted} are needed"))
}

/// An index that must be below a count.
pub(super) fn below(what: &str, index: i64, count: usize) -> Result<usize, String> {
    usize::try_from(index)
        .ok()
        .filter(|index| *index < count)
        .ok_or_else(|| format!("{what} {index} is not among its {count}"))
}

pub(super) fn transform(name: &str) -> Result<super::Transform, String> {
    use super::Transform;
    Ok(match name {
        "NONE" => Transform::None,
        "SOFTMAX" => Transform::Softmax,
        "LOGISTIC" => Transform::Logistic,
        "SOFTMAX_ZERO" => Transform::SoftmaxZero,
        "PROBIT" => Transform::Probit,
        other => return Err(format!("its post_transform \"{other}\" is not one of ONNX")),
    })
}

pub(super) fn aggregate(name: &str) -> Result<super::Aggregate, String> {
    use super::Aggregate;
    Ok(match name {
        "SUM" => Aggregate::Sum,
        "AVERAGE" => Aggregate::Average,
        "MIN" => Aggregate::Min,
        "MAX" => Aggregate::Max,
        other => return Err(format!("its aggregate_function \"{other}\" is not one of ONNX")),
    })
}

/// Base values: none, or one a target.
pub(super) fn base_values(found: Vec<f64>, allowed: &[usize]) -> Result<Vec<f64>, String> {
    if found.is_empty() || allowed.contains(&found.len()) {
        return Ok(found);
    }
    Err(format!("it has {} base values where there can be none or {}", found.len(), allowed[0]))
}
