//! Models on disk: the operator graph, the file formats it is written in, the bundle that carries it, and the
//! engines that run it.
//!
//! A model is built once as a [`graph::Graph`] and written by every [`format::Format`]; a [`bundle::Bundle`] is
//! the directory that holds these files and a manifest with their digests. Processors, labels, splits and
//! metrics in the manifest are opaque documents here. Deliberately not here: how weights are found, queues and
//! threads of serving.

pub mod bundle;
pub mod engine;
mod error;
pub mod format;
pub mod graph;
pub mod import;

pub use error::Error;
