//! Why a model could not be built, written, read or run.

use std::path::PathBuf;

/// Why a model could not be built, written, read or run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A node of a graph cannot be: a bad name, or inputs that do not fit.
    #[error("graph node \"{node}\": {reason}")]
    Graph {
        /// The node.
        node: String,
        /// What does not fit.
        reason: String,
    },
    /// A foreign model cannot be read.
    #[error("cannot import {place}: {reason}")]
    Import {
        /// The file or directory, with the part of it.
        place: String,
        /// What is wrong, and the way out.
        reason: String,
    },
    /// A foreign model uses what no engine here computes.
    #[error("the model uses {} operator{} that cannot be imported:{}", .0.len(), if .0.len() == 1 { "" } else { "s" }, listed(.0))]
    Unsupported(Vec<crate::import::Unsupported>),
    /// A model cannot be written in a format that has no word for what it uses.
    #[error("the model uses {} operator{} that cannot be written as a SavedModel; use --format onnx:{}", .0.len(), if .0.len() == 1 { "" } else { "s" }, listed(.0))]
    Unwritable(Vec<crate::import::Unsupported>),
    /// A bundle, or a file of it, is not there.
    #[error("{place} has no \"{file}\"; a bundle is a directory written by `train` or copied whole from one")]
    Missing {
        /// The directory or prefix.
        place: String,
        /// The file.
        file: String,
    },
    /// The manifest has a version this build does not know.
    #[error("bundle.json has version \"{found}\", this build reads versions 1 and 2; use a newer build")]
    UnknownVersion {
        /// The version found.
        found: String,
    },
    /// The manifest cannot be understood.
    #[error("bundle.json is not valid: {reason}")]
    Manifest {
        /// What is wrong, and where.
        reason: String,
    },
    /// A file of the bundle is not a plain relative path, or not a regular file inside the directory.
    #[error("bundle file \"{name}\" is not a regular file with a plain path inside the bundle")]
    FileName {
        /// The name.
        name: String,
    },
    /// A file has another size than the manifest says.
    #[error(
        "bundle file \"{file}\" has {found} bytes, bundle.json says {expected}; it is damaged, copy it again"
    )]
    Size {
        /// The file.
        file: String,
        /// Bytes the manifest says.
        expected: u64,
        /// Bytes found.
        found: u64,
    },
    /// A file has other contents than the manifest says.
    #[error(
        "bundle file \"{file}\" has SHA-256 {found}, bundle.json says {expected}; it was changed or damaged, \
         copy it again"
    )]
    Digest {
        /// The file.
        file: String,
        /// The digest the manifest says.
        expected: String,
        /// The digest found.
        found: String,
    },
    /// Something is larger than its limit.
    #[error("{what} has {size} bytes, more than the limit of {limit}")]
    TooLarge {
        /// What.
        what: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file system refused.
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// Where.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The store refused.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// The engine cannot load the model.
    #[error("the engine {engine} cannot load the model: {reason}")]
    Load {
        /// The engine.
        engine: &'static str,
        /// Its words.
        reason: String,
    },
    /// The golden sample of a bundle does not come out as recorded.
    #[error("the golden sample does not reproduce on {engine}: {reason}")]
    Golden {
        /// The engine.
        engine: String,
        /// What differs, and by how much.
        reason: String,
    },
}

fn listed(unsupported: &[crate::import::Unsupported]) -> String {
    unsupported.iter().map(|each| format!("\n  {each}")).collect()
}
