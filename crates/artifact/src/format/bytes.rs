//! The elements of a tensor as all formats store them: little-endian, row-major.

use predictor::{Tensor, TensorData};

/// The elements' bytes; a `bool` is one byte.
pub(super) fn little_endian(tensor: &Tensor) -> Vec<u8> {
    match tensor.data() {
        TensorData::Float32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::Float64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::Int32(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::Int64(data) => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
        TensorData::Bool(data) => data.iter().map(|x| u8::from(*x)).collect(),
    }
}
