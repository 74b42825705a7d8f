//! How much a SavedModel may ask for, beside what every graph may.

pub(super) use crate::format::traced::limits::*;

/// Bytes of `saved_model.pb`: protocol buffers end at 2 GiB, and weights lie elsewhere.
pub(super) const GRAPH_BYTES: u64 = 512 << 20;
/// Bytes of `variables.index`, which holds some 50 for each tensor.
pub(super) const INDEX_BYTES: u64 = 64 << 20;
/// Nodes visited, every step of a loop counted.
pub(super) const VISITED_NODES: usize = 2_000_000;
/// Functions inside functions.
pub(super) const CALL_DEPTH: usize = 40;
/// Steps of one loop that is written out.
pub(super) const LOOP_STEPS: usize = 4096;
/// Elements a list of tensors may have.
pub(super) const LIST_ELEMENTS: usize = 1 << 13;
