//! What flows along the edges of the graph while it is converted: tensors that are known, tensors that the engine
//! will compute, and what only exists while TensorFlow runs, such as variables and lists.

use std::rc::Rc;

use predictor::DataType;

use super::dim::Dim;
pub(super) use crate::format::traced::tensor::{Content, Traced, scalar};

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
