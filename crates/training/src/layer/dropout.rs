//! `dropout`: while a network is fitted, elements are 0 with probability `rate` and the others are divided by
//! `1 - rate` (Srivastava et al. 2014, "Dropout: A Simple Way to Prevent Neural Networks from Overfitting"; the
//! inverted form, as in Keras). A network that is asked leaves everything as it is.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Export, Layer, Pass, Shape, Value, only, single};
use crate::Error;

/// Elements left out at random while fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DropoutConfig {
    /// The share that is left out.
    pub rate: f64,
}

/// Checks a share of elements to leave out.
pub(super) fn check_rate(key: &str, rate: f64) -> Result<(), String> {
    if (0.0..1.0).contains(&rate) {
        return Ok(());
    }
    Err(format!("{key} is {rate}; it must be at least 0 and below 1"))
}

/// A mask of `length` factors, 0 or `1 / (1 - rate)`; none if nothing is left out in this pass.
pub(super) fn mask(rate: f64, length: usize, pass: &Pass<'_>) -> Option<Vec<f32>> {
    if rate == 0.0 {
        return None;
    }
    let mut generator = pass.generator()?;
    let keep = (1.0 / (1.0 - rate)) as f32;
    let mut factors = vec![0.0f32; length];
    generator.keep(rate, keep, &mut factors);
    Some(factors)
}

impl Layer for DropoutConfig {
    fn check(&self) -> Result<(), String> {
        check_rate("rate", self.rate)
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok((*single(inputs)?).clone())
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = only(inputs);
        match x {
            Value::Rows(x) => Value::Rows(masked(x, self.rate, pass)),
            Value::Sequence(x) => Value::Sequence(masked(x, self.rate, pass)),
        }
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        _export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        Ok(inputs[0])
    }
}

/// A tensor with elements left out.
pub(super) fn masked<const D: usize>(x: Tensor<D>, rate: f64, pass: &Pass<'_>) -> Tensor<D> {
    let shape = x.dims();
    match mask(rate, shape.iter().product(), pass) {
        Some(factors) => x * Tensor::from_data(TensorData::new(factors, shape), pass.device()),
        None => x,
    }
}

/// A sequence with channels left out, the same ones in all steps of a row.
pub(super) fn without_channels(x: Tensor<3>, rate: f64, pass: &Pass<'_>) -> Tensor<3> {
    let [batch, _, channels] = x.dims();
    match mask(rate, batch * channels, pass) {
        Some(factors) => x * Tensor::from_data(TensorData::new(factors, [batch, 1, channels]), pass.device()),
        None => x,
    }
}
