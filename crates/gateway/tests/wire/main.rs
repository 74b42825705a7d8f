//! The router, driven with whole HTTP requests over a platform that holds a small trained model.

#![allow(clippy::unwrap_used, reason = "a test that cannot set itself up must fail at once")]

mod absent;
mod batch_jobs;
mod datasets;
mod every_reply;
mod failed_changes;
mod fixture;
mod grpc;
mod imported;
mod jobs;
mod keys;
mod lifecycle;
mod mlflow;
mod observed;
mod open_inference;
mod predict;
mod refusals;
mod shares;
mod storage;
mod tensorflow_serving;
mod together;
mod upkeep;
mod vertex_lists;
mod vertex_serving;
