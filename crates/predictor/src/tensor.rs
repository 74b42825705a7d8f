//! A dense tensor in row-major order, and its element types.

use serde::{Deserialize, Serialize};

/// The element type of a tensor. Names are those of ONNX and NumPy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DataType {
    /// 32-bit IEEE float.
    Float32,
    /// 64-bit IEEE float.
    Float64,
    /// 32-bit signed integer.
    Int32,
    /// 64-bit signed integer.
    Int64,
    /// Boolean.
    Bool,
}

impl DataType {
    /// Bytes an element takes.
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Float32 | Self::Int32 => 4,
            Self::Float64 | Self::Int64 => 8,
            Self::Bool => 1,
        }
    }
}

impl std::fmt::Display for DataType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Bool => "bool",
        })
    }
}

/// The elements of a tensor, row-major.
#[derive(Debug, Clone, PartialEq)]
pub enum TensorData {
    /// `float32` elements.
    Float32(Vec<f32>),
    /// `float64` elements.
    Float64(Vec<f64>),
    /// `int32` elements.
    Int32(Vec<i32>),
    /// `int64` elements.
    Int64(Vec<i64>),
    /// `bool` elements.
    Bool(Vec<bool>),
}

impl TensorData {
    /// The element type.
    pub fn data_type(&self) -> DataType {
        match self {
            Self::Float32(_) => DataType::Float32,
            Self::Float64(_) => DataType::Float64,
            Self::Int32(_) => DataType::Int32,
            Self::Int64(_) => DataType::Int64,
            Self::Bool(_) => DataType::Bool,
        }
    }

    /// How many elements there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Float32(v) => v.len(),
            Self::Float64(v) => v.len(),
            Self::Int32(v) => v.len(),
            Self::Int64(v) => v.len(),
            Self::Bool(v) => v.len(),
        }
    }

    /// Whether there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A dense tensor: a shape and row-major elements, whose count is the product of the shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

/// Why a tensor could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TensorError {
    /// Shape and element count disagree.
    #[error("shape {shape:?} holds {expected} elements, got {got}")]
    Count {
        /// The shape asked for.
        shape: Vec<usize>,
        /// The product of the shape.
        expected: usize,
        /// The elements given.
        got: usize,
    },
    /// The product of the shape does not fit the address space.
    #[error("shape {shape:?} is too large")]
    TooLarge {
        /// The shape asked for.
        shape: Vec<usize>,
    },
}

impl Tensor {
    /// Makes a tensor.
    ///
    /// # Errors
    /// If `data` does not hold exactly the product of `shape` elements.
    pub fn new(shape: Vec<usize>, data: TensorData) -> Result<Self, TensorError> {
        let Some(expected) = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)) else {
            return Err(TensorError::TooLarge { shape });
        };
        if expected != data.len() {
            return Err(TensorError::Count { shape, expected, got: data.len() });
        }
        Ok(Self { shape, data })
    }

    /// A `float32` tensor. See [`Tensor::new`] for errors.
    ///
    /// # Errors
    /// If `values` does not hold exactly the product of `shape` elements.
    pub fn float32(shape: Vec<usize>, values: Vec<f32>) -> Result<Self, TensorError> {
        Self::new(shape, TensorData::Float32(values))
    }

    /// The shape.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, row-major.
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// The elements, row-major, without a copy.
    pub fn into_data(self) -> TensorData {
        self.data
    }

    /// The element type.
    pub fn data_type(&self) -> DataType {
        self.data.data_type()
    }

    /// The elements if they are `float32`.
    pub fn as_float32(&self) -> Option<&[f32]> {
        match &self.data {
            TensorData::Float32(v) => Some(v),
            _ => None,
        }
    }

    /// Bytes the elements take.
    pub fn size_bytes(&self) -> usize {
        self.data.len() * self.data_type().size_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shape_and_elements_must_agree() {
        assert!(Tensor::float32(vec![2, 3], vec![0.0; 6]).is_ok());
        let error = Tensor::float32(vec![2, 3], vec![0.0; 5]).unwrap_err();
        assert_eq!(error.to_string(), "shape [2, 3] holds 6 elements, got 5");
        assert!(matches!(Tensor::float32(vec![usize::MAX, 2], vec![]), Err(TensorError::TooLarge { .. })));
    }

    #[test]
    fn a_scalar_has_one_element() {
        assert_eq!(Tensor::float32(vec![], vec![1.5]).unwrap().size_bytes(), 4);
    }
}
