//! What is ours alone and no protocol's: health and metrics.

pub(crate) mod health;
pub(crate) mod metrics;
