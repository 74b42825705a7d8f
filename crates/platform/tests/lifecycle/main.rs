//! Models and endpoints that change while models are loaded, and what happens to versions in the end, through the facade.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod alike;
mod changes;
#[path = "../common/mod.rs"]
mod common;
mod failures;
mod fixture;
mod loading;
mod retention;
mod side_by_side;
mod starved;

/// As the program has it: what is loaded beside something else is measured all the same.
#[global_allocator]
static ALLOCATOR: platform::CountingAllocator<std::alloc::System> =
    platform::CountingAllocator(std::alloc::System);
