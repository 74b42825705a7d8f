//! A model that somebody else made, as every engine takes it: one ONNX graph with the batch first.

mod archive;
mod foreign;
mod sampler;
mod source;

use predictor::Signature;
use protos::onnx::ModelProto;

use crate::bundle::FormatTensorNames;
pub use foreign::Foreign;
pub use sampler::{Distribution, Sampler};
pub use source::{Found, Kind, Source};

/// A foreign model, converted where its format is another.
#[derive(Debug, Clone)]
pub struct ImportedModel {
    /// The graph with its weights; its inputs and outputs are those of the signature, in order and by name.
    pub model: ModelProto,
    /// What callers give and get; the first axis of every tensor is the batch.
    pub signature: Signature,
    /// What the source calls the tensors of the signature.
    pub source_names: FormatTensorNames,
    /// The inputs that take random numbers, which a caller may leave out.
    pub samplers: Vec<Sampler>,
    /// What a user should know: a signature that was left out, a part that was simplified.
    pub notes: Vec<String>,
}

/// An operator that stands between a model and its import.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unsupported {
    /// Its name in the source: `RaggedGather`.
    pub operator: String,
    /// The nodes that use it, as the source names them.
    pub nodes: Vec<String>,
    /// The layer they come from, where their names tell.
    pub layer: Option<String>,
    /// Why it cannot be taken over, and the way out if there is one.
    pub reason: String,
}

impl std::fmt::Display for Unsupported {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const SHOWN: usize = 5;
        let nodes: Vec<&str> = self.nodes.iter().take(SHOWN).map(String::as_str).collect();
        write!(f, "{} ({}", self.operator, nodes.join(", "))?;
        if self.nodes.len() > SHOWN {
            write!(f, " and {} more", self.nodes.len() - SHOWN)?;
        }
        if let Some(layer) = &self.layer {
            write!(f, "; layer {layer}")?;
        }
        write!(f, "): {}", self.reason)
    }
}
