//! Reads a SavedModel that anybody wrote, without TensorFlow, and converts a signature of it to ONNX.
//!
//! `saved_model.pb` is parsed here; `checkpoint` reads the variables, `restore` finds out which is which, `convert`
//! goes through the graph and `ops` says what each operator becomes. Every file is taken as hostile: what is absurd is
//! an error, and all work is bounded by `limits`. No code of the model is ever run.

mod body;
mod checkpoint;
mod constant;
mod convert;
mod dilated;
mod limits;
mod node;
mod objects;
mod ops;
mod recurrent;
mod restore;
mod signature;
mod table;
mod value;

use std::collections::HashMap;
use std::path::Path;

use predictor::Signature;
use prost::Message;
use protos::tensorflow::{FunctionDef, GraphDef, MetaGraphDef, SavedModel};

use self::checkpoint::Checkpoint;
pub use self::checkpoint::{VariablesIndex, parse_variables_index_bytes};
use crate::Error;
use crate::format::files;
use crate::format::traced::{dim, finish, pattern, target};
use crate::import::ImportedModel;

const GRAPH_FILE: &str = "saved_model.pb";
/// The tag of what is meant to be served.
const SERVE: &str = "serve";

/// The messages of a `saved_model.pb`.
///
/// # Errors
/// [`Error::Import`] if the bytes are none, or hold nothing to serve.
pub fn parse_saved_model_bytes(bytes: &[u8]) -> Result<MetaGraphDef, Error> {
    let refuse = |reason: String| Error::Import { place: GRAPH_FILE.to_owned(), reason };
    let model = SavedModel::decode(bytes).map_err(|error| refuse(format!("it is no SavedModel: {error}")))?;
    let tags =
        |graph: &MetaGraphDef| graph.meta_info_def.as_ref().map(|info| info.tags.clone()).unwrap_or_default();
    let found: Vec<Vec<String>> = model.meta_graphs.iter().map(tags).collect();
    // A model for a GPU or for training has further tags; the plain one comes first.
    let plain = found.iter().position(|tags| tags.len() == 1 && tags[0] == SERVE);
    let any = || found.iter().position(|tags| tags.iter().any(|tag| tag == SERVE));
    let at = plain.or_else(any).ok_or_else(|| {
        refuse(format!("it has no graph with the tag \"{SERVE}\", only {found:?}; save it with `model.export` or `tf.saved_model.save`"))
    })?;
    model.meta_graphs.into_iter().nth(at).ok_or_else(|| refuse("it is empty".to_owned()))
}

/// A SavedModel in a directory.
#[derive(Debug)]
pub struct SavedModelSource {
    graph: MetaGraphDef,
    checkpoint: Checkpoint,
}

/// A signature under its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedSignature {
    /// Its name: `serving_default`.
    pub name: String,
    /// What it takes and gives, as the file states it; the first axis is the batch.
    pub signature: Signature,
}

impl SavedModelSource {
    /// Reads the graph and the index of the variables; weights are read when they are needed.
    ///
    /// # Errors
    /// [`Error::Import`] or [`Error::TooLarge`] if the files are none, damaged, or beyond the limits, [`Error::Io`] if
    /// they cannot be read.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let bytes = files::read(&directory.join(GRAPH_FILE), limits::GRAPH_BYTES)?;
        let graph = parse_saved_model_bytes(&bytes)?;
        drop(bytes);
        Ok(Self { graph, checkpoint: Checkpoint::open(directory)? })
    }

    /// The signatures that can be served, in the order of their names; those that take or give something else than
    /// tensors with a batch are left out.
    pub fn signatures(&self) -> Vec<NamedSignature> {
        let stated = |(name, definition): (&String, _)| {
            let signature = signature::stated(definition).ok()?;
            Some(NamedSignature { name: name.clone(), signature })
        };
        self.graph.signature_def.iter().filter_map(stated).collect()
    }

    /// Converts one signature. Every tensor of the checkpoint is compared with its checksum.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with everything that stands in the way; [`Error::Import`] if there is no such signature,
    /// or the graph is damaged or absurd; those of reading variables.
    pub fn convert(&self, signature: &str) -> Result<ImportedModel, Error> {
        let empty = GraphDef::default();
        let graph = self.graph.graph_def.as_ref().unwrap_or(&empty);
        let library = graph.library.iter().flat_map(|library| &library.function);
        let functions: HashMap<&str, &FunctionDef> = library
            .filter_map(|function| Some((function.signature.as_ref()?.name.as_str(), function)))
            .collect();
        let mut loaded = restore::loaded(graph, &functions);
        for (variable, key) in objects::keys(&self.graph, &self.checkpoint) {
            loaded.keys.entry(variable).or_insert(key);
        }
        let given = convert::Given { functions, loaded, checkpoint: &self.checkpoint };
        let definition = self.graph.signature_def.get(signature).ok_or_else(|| {
            let names: Vec<String> = self.signatures().into_iter().map(|named| named.name).collect();
            let reason = format!("it has no signature \"{signature}\"; it has {}", names.join(", "));
            Error::Import { place: GRAPH_FILE.to_owned(), reason }
        })?;
        let imported = signature::convert(&given, &graph.node, signature, definition)?;
        self.checkpoint.check()?;
        Ok(imported)
    }
}
