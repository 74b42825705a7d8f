//! The router, driven with whole HTTP requests over a platform that holds a small trained model.

mod fixture;
mod lifecycle;
mod predict;
mod refusals;
