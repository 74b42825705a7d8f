//! A dense tensor in row-major order, and its element types.

use std::ops::Range;

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
    /// Two tensors cannot stand in one.
    #[error("tensors of shapes {one:?} and {other:?} cannot be joined along their rows")]
    Unlike {
        /// The shape of one.
        one: Vec<usize>,
        /// The shape of the other.
        other: Vec<usize>,
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

    /// The size of axis 0; 1 for a scalar.
    pub fn rows(&self) -> usize {
        self.shape.first().copied().unwrap_or(1)
    }

    /// Steps `rows` of axis 0, copied.
    ///
    /// # Panics
    /// If the tensor is a scalar or has fewer rows.
    pub fn slice_rows(&self, rows: Range<usize>) -> Self {
        let width = self.shape[1..].iter().product::<usize>();
        let mut shape = self.shape.clone();
        shape[0] = rows.len();
        let elements = rows.start * width..rows.end * width;
        let data = match &self.data {
            TensorData::Float32(v) => TensorData::Float32(v[elements].to_vec()),
            TensorData::Float64(v) => TensorData::Float64(v[elements].to_vec()),
            TensorData::Int32(v) => TensorData::Int32(v[elements].to_vec()),
            TensorData::Int64(v) => TensorData::Int64(v[elements].to_vec()),
            TensorData::Bool(v) => TensorData::Bool(v[elements].to_vec()),
        };
        Self { shape, data }
    }

    /// Adds the rows of `other` after its own.
    ///
    /// # Errors
    /// [`TensorError::Unlike`] if element types or inner axes differ, or one is a scalar; nothing is changed then.
    pub fn append_rows(&mut self, other: &Self) -> Result<(), TensorError> {
        let alike = !self.shape.is_empty() && self.shape.get(1..) == other.shape.get(1..);
        match (&mut self.data, &other.data) {
            (TensorData::Float32(v), TensorData::Float32(w)) if alike => v.extend_from_slice(w),
            (TensorData::Float64(v), TensorData::Float64(w)) if alike => v.extend_from_slice(w),
            (TensorData::Int32(v), TensorData::Int32(w)) if alike => v.extend_from_slice(w),
            (TensorData::Int64(v), TensorData::Int64(w)) if alike => v.extend_from_slice(w),
            (TensorData::Bool(v), TensorData::Bool(w)) if alike => v.extend_from_slice(w),
            _ => return Err(TensorError::Unlike { one: self.shape.clone(), other: other.shape.clone() }),
        }
        self.shape[0] += other.shape[0];
        Ok(())
    }

    /// Adds rows of zeros until there are `rows`; as it is if it has as many.
    pub fn pad_rows(&mut self, rows: usize) {
        if self.shape.is_empty() || self.shape[0] >= rows {
            return;
        }
        self.shape[0] = rows;
        let count = self.shape.iter().product();
        match &mut self.data {
            TensorData::Float32(v) => v.resize(count, 0.0),
            TensorData::Float64(v) => v.resize(count, 0.0),
            TensorData::Int32(v) => v.resize(count, 0),
            TensorData::Int64(v) => v.resize(count, 0),
            TensorData::Bool(v) => v.resize(count, false),
        }
    }

    /// Keeps the first `rows` of axis 0; as it is if it has no more.
    pub fn truncate_rows(&mut self, rows: usize) {
        if self.shape.is_empty() || self.shape[0] <= rows {
            return;
        }
        self.shape[0] = rows;
        let count = self.shape.iter().product();
        match &mut self.data {
            TensorData::Float32(v) => v.truncate(count),
            TensorData::Float64(v) => v.truncate(count),
            TensorData::Int32(v) => v.truncate(count),
            TensorData::Int64(v) => v.truncate(count),
            TensorData::Bool(v) => v.truncate(count),
        }
    }

    /// The largest difference to another of the same shape, relative to the larger of the two and to 1; infinite if
    /// shapes or element types differ, or one is NaN where the other is not.
    pub fn difference(&self, other: &Self) -> f64 {
        fn largest<T: Copy>(one: &[T], other: &[T], value: impl Fn(T) -> f64) -> f64 {
            let pairs = one.iter().zip(other).map(|(a, b)| (value(*a), value(*b)));
            let gap = |(a, b): (f64, f64)| match (a.is_nan(), b.is_nan()) {
                (true, true) => 0.0,
                (false, false) if a == b => 0.0,
                (false, false) if a.is_finite() && b.is_finite() => {
                    (a - b).abs() / a.abs().max(b.abs()).max(1.0)
                }
                _ => f64::INFINITY,
            };
            pairs.map(gap).fold(0.0, f64::max)
        }
        if self.shape != other.shape {
            return f64::INFINITY;
        }
        match (&self.data, &other.data) {
            (TensorData::Float32(v), TensorData::Float32(w)) => largest(v, w, f64::from),
            (TensorData::Float64(v), TensorData::Float64(w)) => largest(v, w, |x| x),
            (TensorData::Int32(v), TensorData::Int32(w)) => largest(v, w, f64::from),
            (TensorData::Int64(v), TensorData::Int64(w)) => largest(v, w, |x| x as f64),
            (TensorData::Bool(v), TensorData::Bool(w)) => largest(v, w, |x| f64::from(u8::from(x))),
            _ => f64::INFINITY,
        }
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
    fn rows_are_joined_and_taken_apart() {
        let mut tensor = Tensor::float32(vec![1, 2], vec![1.0, 2.0]).unwrap();
        tensor.append_rows(&Tensor::float32(vec![2, 2], vec![3.0, 4.0, 5.0, 6.0]).unwrap()).unwrap();
        assert_eq!((tensor.shape(), tensor.rows()), ([3, 2].as_slice(), 3));
        let middle = Tensor::float32(vec![1, 2], vec![3.0, 4.0]).unwrap();
        assert_eq!(tensor.slice_rows(1..2), middle);
        let before = tensor.clone();
        for unlike in [
            Tensor::float32(vec![1, 3], vec![0.0; 3]).unwrap(),
            Tensor::float32(vec![], vec![0.0]).unwrap(),
            Tensor::new(vec![1, 2], TensorData::Int32(vec![0; 2])).unwrap(),
        ] {
            assert!(matches!(tensor.append_rows(&unlike), Err(TensorError::Unlike { .. })));
            assert_eq!(tensor, before);
        }
        tensor.truncate_rows(9);
        assert_eq!(tensor, before);
        tensor.truncate_rows(1);
        assert_eq!(tensor, before.slice_rows(0..1));
    }

    #[test]
    fn differences_are_relative_and_see_nan() {
        let of = |values: &[f32]| Tensor::float32(vec![values.len()], values.to_vec()).unwrap();
        assert_eq!(of(&[1.0, f32::NAN, f32::INFINITY]).difference(&of(&[1.0, f32::NAN, f32::INFINITY])), 0.0);
        assert_eq!(of(&[100.0, 0.5]).difference(&of(&[101.0, 0.0])), 0.5);
        assert_eq!(of(&[100.0]).difference(&of(&[125.0])), 0.2);
        for other in [of(&[1.0, 2.0]), of(&[f32::NAN]), of(&[f32::INFINITY])] {
            assert_eq!(of(&[1.0]).difference(&other), f64::INFINITY);
        }
    }

    #[test]
    fn a_scalar_has_one_element() {
        assert_eq!(Tensor::float32(vec![], vec![1.5]).unwrap().size_bytes(), 4);
    }
}
