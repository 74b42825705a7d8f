//! The verbs: each reads its arguments, asks the platform or a server, and returns what is to be printed.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod certify;
pub(crate) mod config;
pub(crate) mod convert;
pub(crate) mod data;
pub(crate) mod endpoint;
pub(crate) mod features;
pub(crate) mod job;
pub(crate) mod key;
pub(crate) mod lifecycle;
pub(crate) mod model;
pub(crate) mod predict;
pub(crate) mod predict_files;
pub(crate) mod search;
pub(crate) mod serve;
pub(crate) mod shadow;
pub(crate) mod train;
