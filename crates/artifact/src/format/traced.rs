//! An ONNX graph while it is made from a model of another framework. What follows from known values is computed instead of
//! written, and sizes that are open stay expressions; what a framework's operators and layers become is said by its reader.

pub(in crate::format) mod dim;
pub(in crate::format) mod finish;
pub(in crate::format) mod fold;
pub(in crate::format) mod limits;
pub(in crate::format) mod pattern;
pub(in crate::format) mod target;
pub(in crate::format) mod tensor;
pub(in crate::format) mod windows;
