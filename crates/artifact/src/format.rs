//! The file formats a graph is written in. A new format is one module and one line in [`all`].

mod bytes;
mod files;
pub mod keras;
pub mod onnx;
pub mod saved_model;
mod traced;

use std::path::Path;

use predictor::Signature;

use crate::Error;
use crate::bundle::{FormatTensorNames, TensorNames};
use crate::graph::Graph;

/// A way to store a model as files.
pub trait Format: Send + Sync {
    /// The name in `bundle.json`.
    fn name(&self) -> &'static str;

    /// Whether `directory` looks like a model in this format.
    fn recognise(&self, directory: &Path) -> bool;

    /// The files of the model: path inside the directory, with `/`, and contents. The same graph gives the same bytes.
    ///
    /// # Errors
    /// [`Error::Graph`] if the format cannot express a node.
    fn write(&self, graph: &Graph) -> Result<Vec<(String, Vec<u8>)>, Error>;

    /// What this format calls the tensors of a signature.
    fn tensor_names(&self, signature: &Signature) -> FormatTensorNames;
}

/// Every format, in the order their files are written.
pub fn all() -> [&'static dyn Format; 2] {
    [&saved_model::SavedModel, &onnx::Onnx]
}

/// The names of all formats, as `bundle.json` lists them.
pub fn names() -> Vec<String> {
    all().iter().map(|format| format.name().to_owned()).collect()
}

/// The files of `graph` in every format.
///
/// # Errors
/// As [`Format::write`].
pub fn write_all(graph: &Graph) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = Vec::new();
    for format in all() {
        files.extend(format.write(graph)?);
    }
    Ok(files)
}

/// What every format calls the tensors of a signature.
pub fn tensor_names(signature: &Signature) -> TensorNames {
    TensorNames {
        saved_model: saved_model::SavedModel.tensor_names(signature),
        onnx: onnx::Onnx.tensor_names(signature),
    }
}
