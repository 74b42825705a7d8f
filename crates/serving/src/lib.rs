//! Models in service: load a bundle, prove it, measure it, and answer through a bounded queue on threads of its
//! own.
//!
//! A [`Deployment`] is one loaded version; a [`Table`] is all of them. Deliberately not here: who may ask, which
//! deployment a request goes to, where bundles lie, protocols. Durations are measured with the monotonic clock;
//! the time of day is never read.

mod batch;
mod counters;
mod deployment;
mod error;
mod memory;
mod open_axes;
mod per_thread;
mod queue;
mod quick;
mod sizes;
mod table;
mod thread_times;
mod worker;

pub use artifact::engine::run_as_worker;
pub use batch::Batching;
pub use counters::{Bucket, Counters, ErrorCounts, Histogram, LANES};
pub use deployment::{Deployment, Limits, LoadSpec, Prepared, Reply, Resources, StartSpec};
pub use error::Error;
pub use memory::{allocations_are_counted, count_allocated, machine_bytes, resident_bytes};
pub use per_thread::PerThread;
pub use sizes::BatchSize;
pub use table::{Key, Stay, Table};
pub use thread_times::thread_times;
pub use worker::computed;

/// What every call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
