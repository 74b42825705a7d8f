//! ONNX files that somebody else wrote (opset 7 to 23), read into one graph with the batch first.
//!
//! The bytes are hostile: what reading them takes is bounded before anything is allocated, tensors must have the
//! elements they claim, and files beside the model are read from its own folder alone. Weights kept in such files
//! are folded in, so the result is one file, which protocol buffers limit to 2 GiB. What other formats have no
//! word for (maps of probabilities, scikit-learn's scalers) is written in ONNX's own operators.

mod batch;
mod border;
mod check;
mod edit;
mod external;
mod functions;
mod lower;
mod prune;
mod signature;
mod sizes;
mod trial;
mod upgrade;
mod wire;

use std::path::Path;

use prost::Message;
use protos::onnx::{GraphProto, ModelProto};

use crate::Error;
use crate::import::ImportedModel;
pub use external::{ExternalData, ModelFolder};
pub(crate) use signature::value_of_spec;

/// The most bytes a model may have, with its external data: what a protocol buffer can hold.
pub const MAX_MODEL_BYTES: u64 = (2 << 30) - 1;

/// What messages call a model of unknown name.
const PLACE: &str = "the ONNX model";

/// The versions of ONNX's operators that are read.
pub const OPSETS: std::ops::RangeInclusive<i64> = 7..=23;

/// Reads the ONNX model at `path`, with the files beside it that it keeps its weights in.
///
/// It is run on a few rows of made-up numbers to see what shapes come out, and that rows do not depend on each other, if
/// an engine is here that takes it.
///
/// # Errors
/// [`Error::Io`], [`Error::TooLarge`] above [`MAX_MODEL_BYTES`], [`Error::Import`] for what is no model, or none
/// that can be called with a batch of rows.
pub fn read_onnx(path: &Path) -> Result<ImportedModel, Error> {
    let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let size = std::fs::metadata(path).map_err(io)?.len();
    limit(size)?;
    let bytes = std::fs::read(path).map_err(io)?;
    let folder = ModelFolder::of(path);
    let named = |error: Error| match error {
        Error::Import { place, reason } => {
            let part = place.strip_prefix(PLACE).unwrap_or_default();
            Error::Import { place: format!("{}{part}", path.display()), reason }
        }
        other => other,
    };
    parse_onnx(&bytes, Some(&folder)).map_err(named)
}

/// Reads an ONNX model from its bytes; `external` has what it keeps elsewhere.
///
/// # Errors
/// As [`read_onnx`].
pub fn parse_onnx(bytes: &[u8], external: Option<&dyn ExternalData>) -> Result<ImportedModel, Error> {
    let draft = draft(bytes, external)?;
    trial::settle(draft)
}

/// Reads bytes as [`parse_onnx`] does, without running the model, loads what comes out into the built-in engine that
/// takes it, and writes it as a SavedModel where TensorFlow has words for it. For fuzzing: whatever the bytes are, this must come back.
///
/// # Errors
/// As [`parse_onnx`] and [`crate::engine::load`].
pub fn parse_and_load(bytes: &[u8]) -> Result<(), Error> {
    use crate::engine::{EngineKind, load, unsupported};
    let draft = draft(bytes, None)?;
    for kind in [EngineKind::Trees, EngineKind::Rten] {
        if unsupported(&draft.model, kind)?.is_empty() {
            load(draft.model.encode_to_vec(), &draft.signature, 1, kind)?;
        }
    }
    match crate::format::saved_model::from_onnx(&draft.model.encode_to_vec(), &draft.signature) {
        Ok(_) | Err(Error::Unwritable(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// A model that was read, but not tried.
struct Draft {
    model: ModelProto,
    /// The shape of an output is empty where the file does not say it, or cannot be believed.
    signature: predictor::Signature,
    /// Why the file cannot be taken at its word, where it cannot: then it must be tried.
    doubt: Option<String>,
    notes: Vec<String>,
}

fn draft(bytes: &[u8], external: Option<&dyn ExternalData>) -> Result<Draft, Error> {
    limit(bytes.len() as u64)?;
    wire::check(bytes).map_err(refuse)?;
    let mut model = ModelProto::decode(bytes)
        .map_err(|error| refuse(format!("it is no ONNX model: {error}; SavedModels are directories")))?;
    external::fold(&mut model, external)?;
    let graph = model.graph.get_or_insert_with(GraphProto::default);
    // Until IR version 4 constants were inputs too, that a caller could replace.
    let constants: std::collections::BTreeSet<&str> = graph.initializer.iter().map(|t| t.name()).collect();
    graph.input.retain(|input| !constants.contains(input.name()));
    check::check(&model).map_err(refuse)?;
    let mut notes = Vec::new();
    lower::lower(&mut model, &mut notes).map_err(refuse)?;
    upgrade::upgrade(&mut model);
    let (mut signature, mut doubt) = (None, None);
    if let Some(graph) = &mut model.graph {
        border::convert(graph, &mut notes).map_err(refuse)?;
        let stated = signature::stated(graph).map_err(refuse)?;
        let (found, why) = batch::first(graph, stated).map_err(refuse)?;
        prune::prune(graph);
        sizes::check(graph, &found.inputs).map_err(refuse)?;
        (signature, doubt) = (Some(found), why);
    }
    let signature = signature.ok_or_else(|| refuse("it has no graph".to_owned()))?;
    Ok(Draft { model, signature, doubt, notes })
}

fn limit(size: u64) -> Result<(), Error> {
    if size > MAX_MODEL_BYTES {
        return Err(Error::TooLarge { what: PLACE.to_owned(), size, limit: MAX_MODEL_BYTES });
    }
    Ok(())
}

/// The error of a model that cannot be imported; who knows the file adds its name.
fn refuse(reason: String) -> Error {
    Error::Import { place: PLACE.to_owned(), reason }
}
