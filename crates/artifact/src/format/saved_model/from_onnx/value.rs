//! A value of the graph while it is written: where it is found, its type, and what is known of its shape and elements.

use std::rc::Rc;

use predictor::{Tensor, TensorData};
use protos::tensorflow::DataType;

/// The axes of a value, open ones as none; nothing where even their number is not known.
pub(super) type Shape = Option<Vec<Option<i64>>>;

/// More axes than any tensor has.
const AXES_MAX: usize = 60;

/// A value.
#[derive(Debug, Clone)]
pub(super) struct Value {
    pub(super) place: Place,
    pub(super) dtype: DataType,
    pub(super) shape: Shape,
    /// Its elements, where they are constant and of a type that callers can send.
    pub(super) known: Option<Rc<Tensor>>,
}

/// Where a value is found.
#[derive(Debug, Clone)]
pub(super) enum Place {
    /// The result of a node, or an argument of the function, as its inputs name it.
    Node(String),
    /// A constant tensor, which becomes a node where it is used.
    Weight(usize),
}

impl Value {
    /// How many axes it has.
    ///
    /// # Errors
    /// If that is known only when the model runs.
    pub(super) fn rank(&self) -> Result<usize, String> {
        let shape = self.shape.as_ref();
        shape.map(Vec::len).ok_or_else(|| "the number of axes of its input is not known".to_owned())
    }

    /// An axis counted from the first one.
    ///
    /// # Errors
    /// If it is counted from the end and the number of axes is not known, or there is none such.
    pub(super) fn axis(&self, axis: i64) -> Result<usize, String> {
        let from_start = match (axis, &self.shape) {
            (0.., None) => axis,
            _ => normalized(axis, self.rank()?)?,
        };
        let at = usize::try_from(from_start).ok().filter(|at| *at < AXES_MAX);
        at.ok_or_else(|| format!("there is no axis {axis}"))
    }

    /// Axes counted from the first one, in order.
    pub(super) fn axes(&self, axes: &[i64]) -> Result<Vec<usize>, String> {
        let mut axes = axes.iter().map(|axis| self.axis(*axis)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        axes.dedup();
        Ok(axes)
    }

    /// The size of an axis, where it is known.
    pub(super) fn size(&self, axis: usize) -> Option<i64> {
        self.shape.as_ref()?.get(axis).copied().flatten()
    }

    /// Its elements, if they are known and whole.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        match self.known.as_ref()?.data() {
            TensorData::Int64(values) => Some(values.clone()),
            TensorData::Int32(values) => Some(values.iter().map(|x| i64::from(*x)).collect()),
            _ => None,
        }
    }

    /// Its elements, if they are known and floating-point.
    pub(super) fn floats(&self) -> Option<Vec<f64>> {
        match self.known.as_ref()?.data() {
            TensorData::Float32(values) => Some(values.iter().map(|x| f64::from(*x)).collect()),
            TensorData::Float64(values) => Some(values.clone()),
            _ => None,
        }
    }

    /// Whether it holds floating-point numbers.
    pub(super) fn is_float(&self) -> bool {
        matches!(self.dtype, DataType::DtFloat | DataType::DtDouble | DataType::DtHalf | DataType::DtBfloat16)
    }
}

/// An axis counted from the first one.
pub(super) fn normalized(axis: i64, rank: usize) -> Result<i64, String> {
    let rank = rank as i64;
    let from_start = if axis < 0 { axis.saturating_add(rank) } else { axis };
    if (0..rank).contains(&from_start) { Ok(from_start) } else { Err(format!("there is no axis {axis}")) }
}

/// The shape two shapes spread to.
pub(super) fn broadcast(left: &Shape, right: &Shape) -> Shape {
    let (left, right) = (left.as_ref()?, right.as_ref()?);
    let rank = left.len().max(right.len());
    let axis = |shape: &[Option<i64>], at: usize| {
        (at + shape.len()).checked_sub(rank).map_or(Some(1), |at| shape[at])
    };
    let spread = |at: usize| match (axis(left, at), axis(right, at)) {
        (Some(1), other) | (other, Some(1)) => other,
        (Some(size), _) | (_, Some(size)) => Some(size),
        (None, None) => None,
    };
    Some((0..rank).map(spread).collect())
}

/// A shape of so many axes of which nothing is known.
pub(super) fn open(rank: usize) -> Shape {
    Some(vec![None; rank])
}
