//! The arithmetic of the operators over plain slices of `f64`, one instrument at a time.
//!
//! Every rolling kernel recomputes each window from its own values alone, oldest first: a result depends on
//! the window and on nothing before it, so a batch and a single row agree bit for bit, whatever came earlier.
//! Inside a window a value that is not finite counts as missing; a window is cut where the data begins.

mod correlation;
mod elementwise;
mod extremes;
mod moments;
mod order;
mod regression;

pub(crate) use correlation::correlation;
pub(crate) use elementwise::{binary, select, unary};

use crate::expression::Rolling;

/// Rows that are accumulated side by side: enough for vector instructions, few enough for the first cache.
const BLOCK: usize = 256;

/// A rolling step: `out[r]` covers the `window` values of `input` that end at `r + lead`.
pub(crate) struct RollingInput<'a> {
    /// Values of the argument, oldest first; at least `lead + out.len()` of them.
    pub(crate) input: &'a [f64],
    /// How many values of the argument come before the first result's own bar.
    pub(crate) lead: usize,
    /// Window in bars, at least 1.
    pub(crate) window: usize,
}

impl RollingInput<'_> {
    /// The window that ends at the bar of result `row`.
    fn window_of(&self, row: usize) -> &[f64] {
        let end = row + self.lead + 1;
        &self.input[end.saturating_sub(self.window)..end]
    }

    /// Calls `step` for every lag from the oldest to 0 with the results of `[start, start + rows)` that reach
    /// that far back (as an offset into the block) and the values they see there.
    fn for_each_lag(&self, start: usize, rows: usize, mut step: impl FnMut(usize, usize, &[f64])) {
        let first = start + self.lead;
        let oldest = (self.window - 1).min(first + rows - 1);
        for lag in (0..=oldest).rev() {
            let skipped = lag.saturating_sub(first);
            let from = first + skipped - lag;
            step(lag, skipped, &self.input[from..from + rows - skipped]);
        }
    }

    /// The newest finite value of the window of `row`, NaN without any: a member of the window to measure the
    /// others from, which keeps sums of squares accurate and makes those of a flat window exactly 0.
    fn pivot(&self, row: usize) -> f64 {
        self.window_of(row).iter().rev().copied().find(|value| value.is_finite()).unwrap_or(f64::NAN)
    }
}

/// Computes a rolling operator; `scratch` is reused from call to call.
pub(crate) fn rolling(operator: Rolling, of: &RollingInput<'_>, out: &mut [f64], scratch: &mut Vec<f64>) {
    match operator {
        Rolling::Mean => moments::mean(of, out),
        Rolling::Sum => moments::sum(of, out),
        Rolling::Std => moments::standard_deviation(of, out),
        Rolling::Var => moments::variance(of, out),
        Rolling::Count => moments::count(of, out),
        Rolling::Max => extremes::max(of, out),
        Rolling::Min => extremes::min(of, out),
        Rolling::IdxMax => extremes::index_of_max(of, out),
        Rolling::IdxMin => extremes::index_of_min(of, out),
        Rolling::Quantile(level) => order::quantile(of, level.value(), out, scratch),
        Rolling::Rank => order::rank(of, out),
        Rolling::Slope => regression::slope(of, out),
        Rolling::Rsquare => regression::r_squared(of, out),
        Rolling::Resi => regression::residual(of, out),
    }
}

/// A window is flat when its standard deviation is at most this share of its newest value: rounding of
/// prices stored as 32-bit floats, nothing more. Qlib takes 2e-5 in price units, which hides the moves of a
/// stock below a cent.
const FLAT_SHARE: f64 = 1e-7;

/// Whether values with this variance around `pivot` do not move at all.
fn is_flat(variance: f64, pivot: f64) -> bool {
    variance.max(0.0).sqrt() <= FLAT_SHARE * pivot.abs()
}

#[cfg(test)]
mod tests;
