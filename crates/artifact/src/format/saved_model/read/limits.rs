//! How much a foreign model may ask for.

/// Bytes of `saved_model.pb`: protocol buffers end at 2 GiB, and weights lie elsewhere.
pub(super) const GRAPH_BYTES: u64 = 512 << 20;
/// Bytes of `variables.index`, which holds some 50 for each tensor.
pub(super) const INDEX_BYTES: u64 = 64 << 20;
/// Bytes of all weights that a signature uses.
pub(super) const WEIGHT_BYTES: usize = 8 << 30;
/// Elements of one tensor that is computed while converting.
pub(super) const FOLDED_ELEMENTS: usize = 1 << 24;
/// Elements of all tensors that are computed while converting.
pub(super) const FOLDED_ELEMENTS_ALL: usize = 1 << 28;
/// Elements of a constant that is written out instead of being computed by the engine from a smaller one.
pub(super) const SPREAD_ELEMENTS: usize = 1 << 12;
/// Nodes visited, every step of a loop counted.
pub(super) const VISITED_NODES: usize = 2_000_000;
/// Nodes of the result.
pub(super) const EMITTED_NODES: usize = 100_000;
/// Functions inside functions.
pub(super) const CALL_DEPTH: usize = 40;
/// Axes of a tensor.
pub(super) const RANK: usize = 12;
/// Steps of one loop that is written out.
pub(super) const LOOP_STEPS: usize = 4096;
/// Elements a list of tensors may have.
pub(super) const LIST_ELEMENTS: usize = 1 << 13;
/// Elements of an axis: far beyond memory, and far below where sums of sizes overflow.
pub(super) const AXIS_ELEMENTS: i64 = 1 << 40;
