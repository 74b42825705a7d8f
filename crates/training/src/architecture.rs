//! Networks, one file per architecture.

mod mlp;

pub(crate) use mlp::{Mlp, elements};
