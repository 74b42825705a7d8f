//! Jobs through the facade, with a program that stands in for training: every state, and every way a process or a
//! server may end.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]
#![cfg(unix)]

mod crash;
mod fixture;
mod life;
mod reads;
mod refusal;
mod search;
