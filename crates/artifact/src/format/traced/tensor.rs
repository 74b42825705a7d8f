//! Tensors of the graph under construction: known ones, sizes, and what the engine computes.

use std::rc::Rc;

use predictor::{DataType, Tensor, TensorData};

use super::dim::{self, Dim};

/// A tensor.
#[derive(Debug, Clone)]
pub(in crate::format) struct Traced {
    pub dtype: DataType,
    pub shape: Vec<Dim>,
    pub content: Content,
}

/// Where the elements of a tensor are.
#[derive(Debug, Clone)]
pub(in crate::format) enum Content {
    /// Here.
    Known(Rc<Tensor>),
    /// Integers that follow from sizes of inputs: a scalar or a vector.
    Sizes(Rc<Vec<Dim>>),
    /// In the value of this name, when the model runs.
    Computed(Rc<str>),
}

impl Traced {
    pub(in crate::format) fn known(tensor: Tensor) -> Self {
        Self::shared(Rc::new(tensor))
    }

    pub(in crate::format) fn shared(tensor: Rc<Tensor>) -> Self {
        let shape = tensor.shape().iter().map(|axis| Dim::fixed(*axis as i64)).collect();
        Self { dtype: tensor.data_type(), shape, content: Content::Known(tensor) }
    }

    /// A scalar (`vector` false) or vector of sizes.
    pub(in crate::format) fn sizes(dtype: DataType, sizes: Vec<Dim>, rank: usize) -> Self {
        let shape = if rank == 0 { vec![] } else { vec![sizes.len()] };
        let known: Option<Vec<i64>> = sizes.iter().map(Dim::known).collect();
        if let Some(tensor) = known.and_then(|values| integers(dtype, shape.clone(), &values)) {
            return Self::known(tensor);
        }
        let shape = shape.into_iter().map(|axis| Dim::fixed(axis as i64)).collect();
        Self { dtype, shape, content: Content::Sizes(Rc::new(sizes)) }
    }

    pub(in crate::format) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The elements, if they are known.
    pub(in crate::format) fn tensor(&self) -> Option<&Rc<Tensor>> {
        match &self.content {
            Content::Known(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The elements, if they are integers that are known or follow from sizes; scalars and vectors only.
    pub(in crate::format) fn as_sizes(&self) -> Option<Vec<Dim>> {
        match &self.content {
            Content::Sizes(sizes) => Some(sizes.to_vec()),
            Content::Known(_) if self.rank() <= 1 => {
                Some(self.as_integers()?.into_iter().map(Dim::fixed).collect())
            }
            _ => None,
        }
    }

    /// The elements, if they are known integers.
    pub(in crate::format) fn as_integers(&self) -> Option<Vec<i64>> {
        match self.tensor()?.data() {
            TensorData::Int32(values) => Some(values.iter().map(|value| i64::from(*value)).collect()),
            TensorData::Int64(values) => Some(values.clone()),
            _ => None,
        }
    }

    /// The element, if it is the only one and a known integer.
    pub(in crate::format) fn as_integer(&self) -> Option<i64> {
        match self.as_integers()?.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The element, if it is the only one and a known number.
    pub(in crate::format) fn as_number(&self) -> Option<f64> {
        match self.tensor()?.data() {
            TensorData::Float32(values) if values.len() == 1 => Some(f64::from(values[0])),
            TensorData::Float64(values) if values.len() == 1 => Some(values[0]),
            _ => self.as_integer().map(|value| value as f64),
        }
    }

    /// The element, if it is the only one and a known truth value.
    pub(in crate::format) fn as_bool(&self) -> Option<bool> {
        match self.tensor()?.data() {
            TensorData::Bool(values) if values.len() == 1 => Some(values[0]),
            _ => None,
        }
    }

    /// The shape, if every axis is known.
    pub(in crate::format) fn known_shape(&self) -> Option<Vec<usize>> {
        dim::known(&self.shape)
    }

    pub(in crate::format) fn is_integer(&self) -> bool {
        matches!(self.dtype, DataType::Int32 | DataType::Int64)
    }

    pub(in crate::format) fn is_float(&self) -> bool {
        matches!(self.dtype, DataType::Float32 | DataType::Float64)
    }
}

/// Integers as a tensor of an integer type; none for another type.
pub(in crate::format) fn integers(dtype: DataType, shape: Vec<usize>, values: &[i64]) -> Option<Tensor> {
    let data = match dtype {
        DataType::Int32 => TensorData::Int32(values.iter().map(|value| *value as i32).collect()),
        DataType::Int64 => TensorData::Int64(values.to_vec()),
        _ => return None,
    };
    Tensor::new(shape, data).ok()
}

/// A number as a scalar of a type.
pub(in crate::format) fn scalar(dtype: DataType, value: f64) -> Traced {
    let data = match dtype {
        DataType::Float32 => TensorData::Float32(vec![value as f32]),
        DataType::Float64 => TensorData::Float64(vec![value]),
        DataType::Int32 => TensorData::Int32(vec![value as i32]),
        DataType::Int64 => TensorData::Int64(vec![value as i64]),
        DataType::Bool => TensorData::Bool(vec![value != 0.0]),
    };
    Traced::known(Tensor::new(vec![], data).expect("a scalar has one element"))
}

/// A known vector of int64, the type in which ONNX takes sizes and places.
pub(in crate::format) fn vector(values: &[i64]) -> Traced {
    let data = TensorData::Int64(values.to_vec());
    Traced::known(Tensor::new(vec![values.len()], data).expect("a vector has its own length"))
}
