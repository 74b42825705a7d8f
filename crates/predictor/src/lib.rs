//! What a model is when you call it: tensors in, tensors out.
//!
//! Here live [`Tensor`], [`DataType`], [`Signature`] and the trait [`Predictor`] behind which every
//! inference engine hides. Deliberately not here: files, networks, threads, async.

mod signature;
mod tensor;

pub use signature::{Signature, TensorSpec};
pub use tensor::{DataType, Tensor, TensorData, TensorError};

/// A loaded model that can be called.
///
/// Implementations are synchronous and may be called from several threads at once.
pub trait Predictor: Send + Sync {
    /// The tensors the model takes and gives, in the order [`Predictor::predict`] uses.
    fn signature(&self) -> &Signature;

    /// Runs the model on one batch.
    ///
    /// `inputs` are in the order of `signature().inputs`; every tensor's first axis is the batch and all
    /// batches are equal. The result is in the order of `signature().outputs`, with the same batch.
    ///
    /// # Errors
    /// [`PredictError::Input`] if the tensors do not fit the signature, [`PredictError::Engine`] if the
    /// engine fails.
    fn predict(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError>;

    /// The name and version of the engine behind this model, as shown to users: `rten 0.27`.
    fn engine(&self) -> &str;

    /// How far a row's outputs may move, relative as in [`Tensor::difference`], when other rows are computed beside it
    /// and all is well: 0 for an engine that gives the same bits.
    fn row_tolerance(&self) -> f64 {
        0.0
    }

    /// Whether it has an allocator of its own, beside the program's.
    fn allocates_outside(&self) -> bool {
        false
    }
}

/// Why a prediction failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PredictError {
    /// The caller's tensors do not fit the signature.
    #[error("{0}")]
    Input(String),
    /// The engine could not run the model.
    #[error("engine failed: {0}")]
    Engine(String),
}
