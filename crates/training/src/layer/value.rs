//! What flows between layers while a network is fitted: a batch of rows or of sequences.

use burn::tensor::Tensor;

/// A batch.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    /// `[batch, units]`.
    Rows(Tensor<2>),
    /// `[batch, steps, channels]`.
    Sequence(Tensor<3>),
}

impl Value {
    /// As rows.
    ///
    /// # Panics
    /// If it is a batch of sequences; the network was checked before.
    pub(crate) fn rows(self) -> Tensor<2> {
        match self {
            Self::Rows(tensor) => tensor,
            Self::Sequence(_) => panic!("a layer that takes rows was given sequences"),
        }
    }

    /// As sequences.
    ///
    /// # Panics
    /// If it is a batch of rows; the network was checked before.
    pub(crate) fn sequence(self) -> Tensor<3> {
        match self {
            Self::Sequence(tensor) => tensor,
            Self::Rows(_) => panic!("a layer that takes sequences was given rows"),
        }
    }

    /// As `[batch, elements]`, whatever it was.
    pub(crate) fn flat(self) -> Tensor<2> {
        match self {
            Self::Rows(tensor) => tensor,
            Self::Sequence(tensor) => {
                let [batch, steps, channels] = tensor.dims();
                tensor.reshape([batch, steps * channels])
            }
        }
    }

    /// `[batch, elements]` in a shape without its batch.
    pub(crate) fn shaped(flat: Tensor<2>, shape: &[usize]) -> Self {
        match *shape {
            [steps, channels] => {
                let [batch, _] = flat.dims();
                Self::Sequence(flat.reshape([batch, steps, channels]))
            }
            _ => Self::Rows(flat),
        }
    }
}

/// Applies a function of one tensor to a [`Value`] of either rank.
macro_rules! map {
    ($value:expr, $x:ident => $result:expr) => {
        match $value {
            $crate::layer::Value::Rows($x) => $crate::layer::Value::Rows($result),
            $crate::layer::Value::Sequence($x) => $crate::layer::Value::Sequence($result),
        }
    };
}
pub(crate) use map;
