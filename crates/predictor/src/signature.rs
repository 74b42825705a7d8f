//! What a model takes and gives, and the check of a call against it.

use serde::{Deserialize, Serialize};

use crate::{DataType, PredictError, Tensor};

/// One named tensor of a signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorSpec {
    /// The name callers use.
    pub name: String,
    /// The element type.
    pub dtype: DataType,
    /// The axes; `None` (JSON `null`) is an axis whose size the caller chooses. Axis 0 is the batch.
    pub shape: Vec<Option<usize>>,
}

impl TensorSpec {
    /// How many elements one row (one step of axis 0) holds; `None` if an inner axis is open.
    pub fn row_elements(&self) -> Option<usize> {
        self.shape.iter().skip(1).try_fold(1usize, |n, axis| n.checked_mul((*axis)?))
    }

    fn check(&self, tensor: &Tensor) -> Result<(), PredictError> {
        if tensor.data_type() != self.dtype {
            return Err(PredictError::Input(format!(
                "input \"{}\" must be {}, got {}",
                self.name,
                self.dtype,
                tensor.data_type()
            )));
        }
        let fits = tensor.shape().len() == self.shape.len()
            && self.shape.iter().zip(tensor.shape()).all(|(want, got)| want.is_none_or(|want| want == *got));
        if fits {
            return Ok(());
        }
        Err(PredictError::Input(format!(
            "input \"{}\" must have shape {}, got {:?}",
            self.name,
            self.shape_text(),
            tensor.shape()
        )))
    }

    fn shape_text(&self) -> String {
        let axes: Vec<String> = self
            .shape
            .iter()
            .enumerate()
            .map(|(i, axis)| match axis {
                Some(n) => n.to_string(),
                None if i == 0 => "batch".to_owned(),
                None => "?".to_owned(),
            })
            .collect();
        format!("[{}]", axes.join(", "))
    }
}

/// The tensors a model takes and gives, in call order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Signature {
    /// What goes in.
    pub inputs: Vec<TensorSpec>,
    /// What comes out.
    pub outputs: Vec<TensorSpec>,
}

impl Signature {
    /// Checks the tensors of one call and returns the batch size.
    ///
    /// # Errors
    /// [`PredictError::Input`], naming the first tensor whose count, type, shape or batch does not fit.
    pub fn check_inputs(&self, inputs: &[Tensor]) -> Result<usize, PredictError> {
        if inputs.len() != self.inputs.len() {
            let names: Vec<&str> = self.inputs.iter().map(|spec| spec.name.as_str()).collect();
            return Err(PredictError::Input(format!(
                "the model takes {} inputs ({}), got {}",
                names.len(),
                names.join(", "),
                inputs.len()
            )));
        }
        let mut batch = None;
        for (spec, tensor) in self.inputs.iter().zip(inputs) {
            spec.check(tensor)?;
            let rows = tensor.shape().first().copied().unwrap_or(1);
            if *batch.get_or_insert(rows) != rows {
                return Err(PredictError::Input(format!(
                    "input \"{}\" has {rows} rows where the inputs before it have {}",
                    spec.name,
                    batch.unwrap_or_default()
                )));
            }
        }
        Ok(batch.unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let spec = |name: &str, shape| TensorSpec { name: name.to_owned(), dtype: DataType::Float32, shape };
        Signature { inputs: vec![spec("features", vec![None, Some(3)])], outputs: vec![] }
    }

    #[test]
    fn a_fitting_call_gives_its_batch() {
        let tensor = Tensor::float32(vec![2, 3], vec![0.0; 6]).unwrap();
        assert_eq!(signature().check_inputs(&[tensor]), Ok(2));
    }

    #[test]
    fn a_misfit_is_named() {
        let tensor = Tensor::float32(vec![2, 4], vec![0.0; 8]).unwrap();
        let error = signature().check_inputs(&[tensor]).unwrap_err();
        assert_eq!(error.to_string(), "input \"features\" must have shape [batch, 3], got [2, 4]");
        let error = signature().check_inputs(&[]).unwrap_err();
        assert_eq!(error.to_string(), "the model takes 1 inputs (features), got 0");
        let ints = Tensor::new(vec![1, 3], crate::TensorData::Int64(vec![0; 3])).unwrap();
        let error = signature().check_inputs(&[ints]).unwrap_err();
        assert_eq!(error.to_string(), "input \"features\" must be float32, got int64");
    }
}
