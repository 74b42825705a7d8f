//! How much a graph under construction may ask for.

/// Bytes of all weights that a signature uses.
pub(in crate::format) const WEIGHT_BYTES: usize = 8 << 30;
/// Elements of one tensor that is computed while converting.
pub(in crate::format) const FOLDED_ELEMENTS: usize = 1 << 24;
/// Elements of all tensors that are computed while converting.
pub(in crate::format) const FOLDED_ELEMENTS_ALL: usize = 1 << 28;
/// Elements of a constant that is written out instead of being computed by the engine from a smaller one.
pub(in crate::format) const SPREAD_ELEMENTS: usize = 1 << 12;
/// Nodes of the result.
pub(in crate::format) const EMITTED_NODES: usize = 100_000;
/// Axes of a tensor.
pub(in crate::format) const RANK: usize = 12;
/// Elements of an axis: far beyond memory, and far below where sums of sizes overflow.
pub(in crate::format) const AXIS_ELEMENTS: i64 = 1 << 40;
