//! What every engine owes its caller: outputs that are as the signature says.

use predictor::{DataType, PredictError, Signature, Tensor, TensorData, TensorSpec};

/// The outputs of a call without rows.
pub(super) fn empty(signature: &Signature) -> Result<Vec<Tensor>, PredictError> {
    let one = |spec: &TensorSpec| {
        // What is open inside a row has no size where there is no row.
        let shape =
            spec.shape.iter().enumerate().map(|(at, axis)| if at == 0 { 0 } else { axis.unwrap_or(0) });
        let data = match spec.dtype {
            DataType::Float32 => TensorData::Float32(vec![]),
            DataType::Float64 => TensorData::Float64(vec![]),
            DataType::Int32 => TensorData::Int32(vec![]),
            DataType::Int64 => TensorData::Int64(vec![]),
            DataType::Bool => TensorData::Bool(vec![]),
        };
        Tensor::new(shape.collect(), data).map_err(|error| PredictError::Engine(error.to_string()))
    };
    signature.outputs.iter().map(one).collect()
}

/// An output of `rows` rows, if it is as its spec says; a spec without axes, which no signature has, says nothing of the
/// shape.
pub(super) fn checked(
    spec: &TensorSpec,
    shape: Vec<usize>,
    data: TensorData,
    rows: usize,
) -> Result<Tensor, PredictError> {
    let fits = shape.first() == Some(&rows)
        && shape.len() == spec.shape.len()
        && shape.iter().zip(&spec.shape).all(|(got, want)| want.is_none_or(|want| want == *got));
    if !(fits || spec.shape.is_empty()) || data.data_type() != spec.dtype {
        return Err(misfit(spec, &format!("{} {shape:?}", data.data_type())));
    }
    Tensor::new(shape, data).map_err(|error| PredictError::Engine(error.to_string()))
}

/// What the caller is told of inputs that fit the signature and that the model cannot compute.
pub(super) fn refused(error: &dyn std::fmt::Display) -> PredictError {
    PredictError::Input(format!("the model cannot compute these inputs: {error}"))
}

/// The error of an output that is not as its spec says.
pub(super) fn misfit(spec: &TensorSpec, got: &str) -> PredictError {
    PredictError::Engine(format!("output \"{}\" is {got}, not as the signature says", spec.name))
}
