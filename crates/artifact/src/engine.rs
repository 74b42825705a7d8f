//! The engines that run a model. Each hides behind [`Predictor`].

mod rten;

use predictor::{Predictor, Signature};

use crate::Error;
pub use rten::run_as_worker;

/// Loads an ONNX model of any batch size.
///
/// With `threads == 1` each call runs on one thread and calls from several threads run side by side; a thread
/// inside [`run_as_worker`] computes on itself, without a hand-over. With more, calls share a pool of that size.
///
/// # Errors
/// [`Error::Load`] if the bytes are no model, or its inputs and outputs are not those of `signature`.
pub fn load_onnx(model: Vec<u8>, signature: &Signature, threads: usize) -> Result<Box<dyn Predictor>, Error> {
    Ok(Box::new(rten::RtenPredictor::load(model, signature, threads)?))
}
