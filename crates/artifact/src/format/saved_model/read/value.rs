//! What flows along the edges of the graph while it is converted: tensors that are known, tensors that the engine
//! will compute, and what only exists while TensorFlow runs, such as variables and lists.

use std::rc::Rc;

use predictor::{DataType, Tensor, TensorData};

use super::dim::{self, Dim};

/// An output of a node.
#[derive(Debug, Clone)]
pub(super) enum Value {
    Tensor(Traced),
    /// Strings, which nothing here computes with.
    Text,
    /// A variable, by its place.
    Variable(usize),
    /// A lookup table, by the name of its node.
    Table(Rc<str>),
    /// The bits of a float tensor as integers.
    Bits(Traced),
    /// A list of tensors.
    List(Rc<List>),
    /// A list that one step of a loop writes to, while the step is looked at by itself.
    Slot,
    /// That list after the step: the place and the tensor.
    Written(Rc<[Traced; 2]>),
    /// The result of what cannot be converted; it has been reported.
    Unknown,
}

/// A `TensorList`, with which TensorFlow carries tensors through loops.
#[derive(Debug, Clone)]
pub(super) struct List {
    pub dtype: DataType,
    pub items: Vec<Item>,
    /// The shape of an item, where known.
    pub item_shape: Option<Vec<Dim>>,
    /// How many items there are, where only the running model knows; `items` is then empty or one that is whole.
    pub length: Option<Dim>,
}

/// An item of a list.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// Nothing yet; reads as zeros.
    Empty,
    Tensor(Traced),
    /// A place on the first axis of a tensor that was made a list whole.
    Of(Traced, usize),
    /// All items, along the first axis.
    Whole(Traced),
}

/// A tensor.
#[derive(Debug, Clone)]
pub(super) struct Traced {
    pub dtype: DataType,
    pub shape: Vec<Dim>,
    pub content: Content,
}

/// Where the elements of a tensor are.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// Here.
    Known(Rc<Tensor>),
    /// Integers that follow from sizes of inputs: a scalar or a vector.
    Sizes(Rc<Vec<Dim>>),
    /// In the value of this name, when the model runs.
    Computed(Rc<str>),
}

impl Traced {
    pub(super) fn known(tensor: Tensor) -> Self {
        Self::shared(Rc::new(tensor))
    }

    pub(super) fn shared(tensor: Rc<Tensor>) -> Self {
        let shape = tensor.shape().iter().map(|axis| Dim::fixed(*axis as i64)).collect();
        Self { dtype: tensor.data_type(), shape, content: Content::Known(tensor) }
    }

    /// A scalar (`vector` false) or vector of sizes.
    pub(super) fn sizes(dtype: DataType, sizes: Vec<Dim>, rank: usize) -> Self {
        let shape = if rank == 0 { vec![] } else { vec![sizes.len()] };
        let known: Option<Vec<i64>> = sizes.iter().map(Dim::known).collect();
        if let Some(tensor) = known.and_then(|values| integers(dtype, shape.clone(), &values)) {
            return Self::known(tensor);
        }
        let shape = shape.into_iter().map(|axis| Dim::fixed(axis as i64)).collect();
        Self { dtype, shape, content: Content::Sizes(Rc::new(sizes)) }
    }

    pub(super) fn rank(&self) -> usize {
        self.shape.len()
    }

    /// The elements, if they are known.
    pub(super) fn tensor(&self) -> Option<&Rc<Tensor>> {
        match &self.content {
            Content::Known(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The elements, if they are integers that are known or follow from sizes; scalars and vectors only.
    pub(super) fn as_sizes(&self) -> Option<Vec<Dim>> {
        match &self.content {
            Content::Sizes(sizes) => Some(sizes.to_vec()),
            Content::Known(_) if self.rank() <= 1 => {
                Some(self.as_integers()?.into_iter().map(Dim::fixed).collect())
            }
            _ => None,
        }
    }

    /// The elements, if they are known integers.
    pub(super) fn as_integers(&self) -> Option<Vec<i64>> {
        match self.tensor()?.data() {
            TensorData::Int32(values) => Some(values.iter().map(|value| i64::from(*value)).collect()),
            TensorData::Int64(values) => Some(values.clone()),
            _ => None,
        }
    }

    /// The element, if it is the only one and a known integer.
    pub(super) fn as_integer(&self) -> Option<i64> {
        match self.as_integers()?.as_slice() {
            [value] => Some(*value),
            _ => None,
        }
    }

    /// The element, if it is the only one and a known number.
    pub(super) fn as_number(&self) -> Option<f64> {
        match self.tensor()?.data() {
            TensorData::Float32(values) if values.len() == 1 => Some(f64::from(values[0])),
            TensorData::Float64(values) if values.len() == 1 => Some(values[0]),
            _ => self.as_integer().map(|value| value as f64),
        }
    }

    /// The element, if it is the only one and a known truth value.
    pub(super) fn as_bool(&self) -> Option<bool> {
        match self.tensor()?.data() {
            TensorData::Bool(values) if values.len() == 1 => Some(values[0]),
            _ => None,
        }
    }

    /// The shape, if every axis is known.
    pub(super) fn known_shape(&self) -> Option<Vec<usize>> {
        dim::known(&self.shape)
    }

    pub(super) fn is_integer(&self) -> bool {
        matches!(self.dtype, DataType::Int32 | DataType::Int64)
    }

    pub(super) fn is_float(&self) -> bool {
        matches!(self.dtype, DataType::Float32 | DataType::Float64)
    }
}

/// Integers as a tensor of an integer type; none for another type.
pub(super) fn integers(dtype: DataType, shape: Vec<usize>, values: &[i64]) -> Option<Tensor> {
    let data = match dtype {
        DataType::Int32 => TensorData::Int32(values.iter().map(|value| *value as i32).collect()),
        DataType::Int64 => TensorData::Int64(values.to_vec()),
        _ => return None,
    };
    Tensor::new(shape, data).ok()
}

/// A number as a scalar of a type.
pub(super) fn scalar(dtype: DataType, value: f64) -> Traced {
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
pub(super) fn vector(values: &[i64]) -> Traced {
    let data = TensorData::Int64(values.to_vec());
    Traced::known(Tensor::new(vec![values.len()], data).expect("a vector has its own length"))
}
