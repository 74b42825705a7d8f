//! What a model takes and gives, and the check of a call against it.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{DataType, PredictError, Tensor};

/// The most tensors that are written out on each side of a signature.
const SPECS_SHOWN: usize = 8;

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

    /// Whether one shape may fit both: as many axes, and each of the same size in both or open in one.
    pub fn may_have_shape_of(&self, other: &Self) -> bool {
        let alike = |(a, b): (&Option<usize>, &Option<usize>)| a.is_none() || b.is_none() || a == b;
        self.shape.len() == other.shape.len() && self.shape.iter().zip(&other.shape).all(alike)
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

/// `x float32 [batch, 3]`
impl fmt::Display for TensorSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.name, self.dtype, self.shape_text())
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

/// `takes x float32 [batch, 3] and gives y float32 [batch, 2]`
impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let listed = |specs: &[TensorSpec]| -> String {
            let shown: Vec<String> = specs.iter().take(SPECS_SHOWN).map(TensorSpec::to_string).collect();
            match specs.len().saturating_sub(SPECS_SHOWN) {
                0 if specs.is_empty() => "nothing".to_owned(),
                0 => shown.join(", "),
                more => format!("{} and {more} more", shown.join(", ")),
            }
        };
        write!(f, "takes {} and gives {}", listed(&self.inputs), listed(&self.outputs))
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
    fn a_signature_is_told_in_words() {
        let mut told = signature();
        assert_eq!(told.to_string(), "takes features float32 [batch, 3] and gives nothing");
        let open = TensorSpec { shape: vec![None, None], dtype: DataType::Int64, ..told.inputs[0].clone() };
        told.outputs = vec![open; 10];
        let (_, gives) =
            told.to_string().split_once(" and gives ").map(|(a, b)| (a.len(), b.to_owned())).unwrap();
        assert!(
            gives.starts_with("features int64 [batch, ?], ") && gives.ends_with(" and 2 more"),
            "{gives}"
        );
    }

    #[test]
    fn shapes_agree_where_both_are_fixed() {
        let spec =
            |shape: &[Option<usize>]| TensorSpec { shape: shape.to_vec(), ..signature().inputs[0].clone() };
        for (a, b, agree) in [
            (vec![None, Some(3)], vec![None, Some(3)], true),
            (vec![None, Some(3)], vec![Some(1), None], true),
            (vec![None, Some(3)], vec![None, Some(4)], false),
            (vec![None, Some(3)], vec![None], false),
            (vec![], vec![], true),
        ] {
            assert_eq!(spec(&a).may_have_shape_of(&spec(&b)), agree, "{a:?} {b:?}");
            assert_eq!(spec(&b).may_have_shape_of(&spec(&a)), agree, "{b:?} {a:?}");
        }
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
