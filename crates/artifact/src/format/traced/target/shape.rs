//! Sizes of tensors, and tensors of one value.

use predictor::DataType;

use super::{Step, Target};
use crate::format::traced::dim::{self, Dim};
use crate::format::traced::tensor::{Traced, scalar};

impl Target {
    /// The sizes of the axes.
    pub(in crate::format) fn shape_of(&mut self, x: &Traced, dtype: DataType) -> Traced {
        Traced::sizes(dtype, x.shape.clone(), 1)
    }

    /// The number of elements.
    pub(in crate::format) fn count_of(&mut self, x: &Traced, dtype: DataType) -> Step {
        let count = dim::product(&x.shape).ok_or("the tensor is too large")?;
        Ok(Traced::sizes(dtype, vec![count], 0))
    }

    /// A tensor of one value.
    pub(in crate::format) fn fill(&mut self, shape: Vec<Dim>, value: &Traced) -> Step {
        if shape.iter().any(|axis| axis.known().is_some_and(|size| size < 0)) {
            return Err("an axis has a negative size".into());
        }
        self.expand(value, shape)
    }

    /// A tensor of one number in the shape and type of `x`.
    pub(in crate::format) fn filled_like(&mut self, x: &Traced, value: f64) -> Step {
        let value = scalar(x.dtype, value);
        self.fill(x.shape.clone(), &value)
    }
}
