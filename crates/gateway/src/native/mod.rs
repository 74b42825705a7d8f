//! What is ours alone and no protocol's: health, metrics and keys.

pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod metrics;
