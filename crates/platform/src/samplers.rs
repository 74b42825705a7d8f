//! Inputs that take random numbers: callers may leave them out, and are not told to give them.

use artifact::bundle::Manifest;
use artifact::import::Sampler;
use predictor::{Signature, Tensor};

use crate::{Error, Result};

/// The inputs of a model that take random numbers.
#[derive(Debug, Default)]
pub(crate) struct Samplers {
    drawn: Vec<Sampler>,
    /// What is asked of callers; none where that is all of the model's signature.
    asked: Option<Signature>,
}

impl Samplers {
    pub(crate) fn of(manifest: &Manifest) -> Self {
        let Some(origin) = manifest.origin.as_ref().filter(|origin| !origin.samplers.is_empty()) else {
            return Self::default();
        };
        let mut asked = manifest.signature.clone();
        asked.inputs.retain(|spec| origin.samplers.iter().all(|sampler| sampler.input != spec.name));
        Self { drawn: origin.samplers.clone(), asked: Some(asked) }
    }

    /// What is asked of callers, where that is less than the model takes.
    pub(crate) fn asked(&self) -> Option<&Signature> {
        self.asked.as_ref()
    }

    /// Whether an input of this name takes random numbers.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.drawn.iter().any(|sampler| sampler.input == name)
    }

    /// Adds what the caller left out, for as many rows as there are.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] for more numbers than are drawn.
    pub(crate) fn fill(&self, signature: &Signature, tensors: &mut Vec<(String, Tensor)>) -> Result<()> {
        let rows = tensors.first().map_or(0, |(_, tensor)| tensor.rows());
        for sampler in &self.drawn {
            let spec = signature.inputs.iter().find(|spec| spec.name == sampler.input);
            let Some(spec) = spec.filter(|spec| tensors.iter().all(|(name, _)| *name != spec.name)) else {
                continue;
            };
            let row: Vec<usize> = spec.shape.iter().skip(1).map(|size| size.unwrap_or(1)).collect();
            let drawn = sampler.draw(rows, &row, spec.dtype);
            let drawn = drawn.map_err(|reason| Error::invalid(&sampler.input, reason))?;
            tensors.push((sampler.input.clone(), drawn));
        }
        Ok(())
    }
}
