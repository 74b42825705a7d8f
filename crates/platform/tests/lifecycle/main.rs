//! Models and endpoints that change while models are loaded, and what happens to versions in the end, through the facade.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alike;
mod changes;
mod failures;
mod fixture;
mod loading;
mod retention;
