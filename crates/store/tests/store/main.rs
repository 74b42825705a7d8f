//! What a store promises, wherever it is, and whatever the network does.
//!
//! Real services are in `conformance/`; here a server of ours does what no real one does on demand.

#![allow(clippy::unwrap_used)]

mod bucket;
mod cache;
mod faults;
mod server;
mod suite;
mod web;
