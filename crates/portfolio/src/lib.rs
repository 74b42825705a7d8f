//! From signals to money: signal tables, group returns, the long-short backtest, statistics, the report.
//!
//! Everything here works on plain numbers that somebody else computed. Deliberately not here: models and
//! predictions (this crate never sees `predictor`, so a backtest cannot call a model with tomorrow's data),
//! files, clocks, configuration.
//!
//! The three times of a decision: **decide** after the close of t, **trade** at the close of t+1, **earn**
//! from the close of t+1 to the close of t+2. Every series of this crate is keyed by the decision date t.

mod error;
mod signal;

pub mod backtest;
pub mod report;
pub mod statistics;

mod groups;

pub use error::Error;
pub use groups::{GroupReturn, quantile_returns};
pub use signal::SignalTable;
