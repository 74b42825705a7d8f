//! The weights of layers, by the path that Keras gives them: `layers/dense_1/vars/0`. Read when they are asked for.

use std::cell::RefCell;
use std::rc::Rc;

use predictor::Tensor;

use super::hdf5::{Cache, File};
use crate::format::traced::limits;
use crate::format::traced::target::Step;
use crate::format::traced::tensor::Traced;

#[derive(Debug)]
pub(super) struct Weights {
    file: File,
    read: RefCell<Cache>,
}

impl Weights {
    /// Reads what the file holds, but no weights.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        Ok(Self { file: File::parse(bytes)?, read: RefCell::default() })
    }

    /// A weight that must be there in this shape; an axis of any size is none.
    pub(super) fn get(&self, path: &str, shape: &[Option<usize>]) -> Step<Rc<Tensor>> {
        let tensor = self.any(path)?;
        let fits = tensor.shape().len() == shape.len()
            && tensor
                .shape()
                .iter()
                .zip(shape)
                .all(|(axis, wanted)| wanted.is_none_or(|wanted| wanted == *axis));
        if !fits {
            let wanted: Vec<String> =
                shape.iter().map(|axis| axis.map_or("any".to_owned(), |axis| axis.to_string())).collect();
            return Err(format!(
                "its weight {path} has the shape {:?} in place of [{}]",
                tensor.shape(),
                wanted.join(", ")
            )
            .into());
        }
        Ok(tensor)
    }

    /// A weight that must be there.
    fn any(&self, path: &str) -> Step<Rc<Tensor>> {
        let mut read = self.read.borrow_mut();
        let tensor =
            self.file.dataset(path, &mut read).map_err(|reason| format!("its weight {path}: {reason}"))?;
        let held: usize = read.values().map(|tensor| tensor.size_bytes()).fold(0, usize::saturating_add);
        if held > limits::WEIGHT_BYTES {
            return Err(format!("its weights have more than {} bytes", limits::WEIGHT_BYTES).into());
        }
        let missing =
            || format!("the file has no weight {path}; save the model with Keras 3, after it was built");
        Ok(tensor.ok_or_else(missing)?)
    }
}

/// A weight as a value of the graph.
pub(super) fn known(tensor: &Rc<Tensor>) -> Traced {
    Traced::shared(Rc::clone(tensor))
}
