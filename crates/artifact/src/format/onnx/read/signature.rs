//! The signature a graph states: types and shapes of its inputs and outputs.

use predictor::{DataType, TensorSpec};
use protos::onnx::tensor_shape_proto::dimension::Value as Axis;
use protos::onnx::{
    GraphProto, TensorShapeProto, TypeProto, ValueInfoProto, tensor_proto, tensor_shape_proto, type_proto,
};

use crate::format::onnx::nodes::type_name;

/// The most axes of a tensor.
const MAX_RANK: usize = 16;

/// What a graph says of its inputs and outputs; an output of unknown shape has an empty one.
pub(super) struct Stated {
    pub(super) inputs: Vec<TensorSpec>,
    pub(super) outputs: Vec<TensorSpec>,
}

/// Reads the signature; types must be ours already.
pub(super) fn stated(graph: &GraphProto) -> Result<Stated, String> {
    let mut inputs = Vec::with_capacity(graph.input.len());
    for value in &graph.input {
        let name = value.name();
        let shape = shape(value).map_err(|reason| format!("its input \"{name}\" {reason}"))?;
        let shape = shape.ok_or_else(|| {
            format!(
                "its input \"{name}\" does not say its shape; export the model with the shapes of its inputs"
            )
        })?;
        if shape.is_empty() {
            return Err(format!(
                "its input \"{name}\" is a single number, without an axis for the rows of a batch; make it a constant, or an \
                 input of shape [batch, 1]"
            ));
        }
        inputs.push(TensorSpec { name: name.to_owned(), dtype: dtype(value)?, shape });
    }
    if inputs.is_empty() {
        return Err("it has no inputs: it gives the same answer to everybody".to_owned());
    }
    let mut outputs = Vec::with_capacity(graph.output.len());
    for value in &graph.output {
        let name = value.name();
        let shape = shape(value).map_err(|reason| format!("its output \"{name}\" {reason}"))?;
        if shape.as_ref().is_some_and(Vec::is_empty) {
            return Err(format!(
                "its output \"{name}\" is a single number for a whole batch; remove it, or export the model without it"
            ));
        }
        outputs.push(TensorSpec {
            name: name.to_owned(),
            dtype: dtype(value)?,
            shape: shape.unwrap_or_default(),
        });
    }
    Ok(Stated { inputs, outputs })
}

fn dtype(value: &ValueInfoProto) -> Result<DataType, String> {
    use tensor_proto::DataType as Onnx;
    Ok(match element_type(value)? {
        Onnx::Float => DataType::Float32,
        Onnx::Double => DataType::Float64,
        Onnx::Int32 => DataType::Int32,
        Onnx::Int64 => DataType::Int64,
        Onnx::Bool => DataType::Bool,
        other => return Err(format!("\"{}\" is {}", value.name(), type_name(other))),
    })
}

/// The type of a tensor's elements.
pub(super) fn element_type(value: &ValueInfoProto) -> Result<tensor_proto::DataType, String> {
    let name = value.name();
    let kind = match value.r#type.as_ref().and_then(|r#type| r#type.value.as_ref()) {
        Some(type_proto::Value::TensorType(tensor)) => {
            return tensor_proto::DataType::try_from(tensor.elem_type())
                .map_err(|_| format!("\"{name}\" has the unknown type {}", tensor.elem_type()));
        }
        Some(type_proto::Value::SequenceType(_)) => "a sequence",
        Some(type_proto::Value::MapType(_)) => "a map",
        Some(type_proto::Value::OptionalType(_)) => "optional",
        Some(type_proto::Value::SparseTensorType(_)) => "a sparse tensor",
        Some(type_proto::Value::OpaqueType(_)) => "opaque",
        None => "of no type",
    };
    Err(format!(
        "\"{name}\" is {kind}, not a tensor; export the model with tensors (scikit-learn: zipmap=False)"
    ))
}

/// The axes of a value; none if it does not say them.
fn shape(value: &ValueInfoProto) -> Result<Option<Vec<Option<usize>>>, String> {
    let Some(type_proto::Value::TensorType(tensor)) =
        value.r#type.as_ref().and_then(|r#type| r#type.value.as_ref())
    else {
        return Ok(None);
    };
    let Some(shape) = &tensor.shape else {
        return Ok(None);
    };
    if shape.dim.len() > MAX_RANK {
        return Err(format!("has {} axes, more than {MAX_RANK}", shape.dim.len()));
    }
    let axis = |dim: &tensor_shape_proto::Dimension| match &dim.value {
        // Some exporters write 0 or -1 for "any".
        Some(Axis::DimValue(size)) if *size > 0 => {
            usize::try_from(*size).map(Some).map_err(|error| error.to_string())
        }
        _ => Ok(None),
    };
    shape.dim.iter().map(axis).collect::<Result<_, _>>().map(Some)
}

/// A value as a spec says it, with the batch as the axis `batch` and other open axes without a name.
pub(crate) fn value_of_spec(spec: &TensorSpec) -> ValueInfoProto {
    use tensor_proto::DataType as Onnx;
    let axis = |(at, size): (usize, &Option<usize>)| tensor_shape_proto::Dimension {
        value: match size {
            Some(size) => Some(Axis::DimValue(*size as i64)),
            None if at == 0 => Some(Axis::DimParam("batch".to_owned())),
            None => None,
        },
        ..tensor_shape_proto::Dimension::default()
    };
    let dtype = match spec.dtype {
        DataType::Float32 => Onnx::Float,
        DataType::Float64 => Onnx::Double,
        DataType::Int32 => Onnx::Int32,
        DataType::Int64 => Onnx::Int64,
        DataType::Bool => Onnx::Bool,
    };
    let known = !spec.shape.is_empty();
    let shape = known.then(|| TensorShapeProto { dim: spec.shape.iter().enumerate().map(axis).collect() });
    let tensor = type_proto::Tensor { elem_type: Some(dtype.into()), shape };
    let r#type = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(spec.name.clone()), r#type: Some(r#type), ..ValueInfoProto::default() }
}
