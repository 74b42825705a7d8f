//! What can be wrong with the numbers handed to this crate.

use jiff::civil::Date;

/// Why a table, a backtest or a statistic was refused.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// A series does not have the length its table asks for.
    #[error(
        "{what} has {got} values where {expected} are needed; give one per date and instrument of the table"
    )]
    Length {
        /// The name of the series.
        what: &'static str,
        /// The length that fits.
        expected: usize,
        /// The length found.
        got: usize,
    },
    /// The dates do not strictly increase.
    #[error(
        "date {date} at index {index} is not after the date before it; sort the dates and remove repeats"
    )]
    DateOrder {
        /// The offending date.
        date: Date,
        /// Its index.
        index: usize,
    },
    /// An instrument is listed twice.
    #[error("instrument {0:?} is listed twice; every instrument needs a column of its own")]
    DuplicateInstrument(String),
    /// A score is infinite.
    #[error("the score of {instrument:?} on {date} is {score}; a score is a finite number, or NaN for none")]
    InfiniteScore {
        /// The decision date.
        date: Date,
        /// The instrument.
        instrument: String,
        /// The score.
        score: f64,
    },
    /// A return is infinite or loses more than everything.
    #[error(
        "the return of {instrument:?} decided on {date} is {value}; a return is a finite number of at least -1, or NaN for none"
    )]
    ImpossibleReturn {
        /// The decision date.
        date: Date,
        /// The instrument.
        instrument: String,
        /// The return.
        value: f64,
    },
    /// The number of groups cannot work with this table.
    #[error(
        "{groups} groups cannot be formed from {instruments} instruments; choose 2 to {instruments} groups"
    )]
    Groups {
        /// The number of groups asked for.
        groups: usize,
        /// The number of instruments of the table.
        instruments: usize,
    },
    /// The cost is negative, not finite or above everything.
    #[error("a cost of {0} basis points is not usable; choose 0 to 10000")]
    Cost(f64),
    /// No date could be traded.
    #[error(
        "none of the {dates} dates can be traded: {too_few_names} have fewer scored names than groups, {no_returns} have no return of any name; use fewer groups or a longer span"
    )]
    NothingToTrade {
        /// The dates of the table.
        dates: usize,
        /// The dates with fewer scored names than groups.
        too_few_names: usize,
        /// The dates without any return.
        no_returns: usize,
    },
}
