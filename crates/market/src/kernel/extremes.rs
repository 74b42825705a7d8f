//! The largest and smallest value of a window, and where they stand.

use super::RollingInput;

fn extreme(of: &RollingInput<'_>, out: &mut [f64], wins: impl Fn(f64, f64) -> bool) {
    out.fill(f64::NAN);
    let rows = out.len();
    of.for_each_lag(0, rows, |_, skipped, values| {
        for (best, value) in out[skipped..].iter_mut().zip(values) {
            let better = value.is_finite() & (wins(*value, *best) | best.is_nan());
            *best = if better { *value } else { *best };
        }
    });
}

/// The largest value of the window; missing without any.
pub(super) fn max(of: &RollingInput<'_>, out: &mut [f64]) {
    extreme(of, out, |a, b| a > b);
}

/// The smallest value of the window; missing without any.
pub(super) fn min(of: &RollingInput<'_>, out: &mut [f64]) {
    extreme(of, out, |a, b| a < b);
}

/// The 1-based place, counted from the oldest bar of the window, of the first value that no later one beats;
/// a missing value beats all, as in numpy's argmax. Missing for a window without any value.
fn index_of(of: &RollingInput<'_>, out: &mut [f64], wins: impl Fn(f64, f64) -> bool) {
    for (row, result) in out.iter_mut().enumerate() {
        let window = of.window_of(row);
        if !window.iter().any(|value| value.is_finite()) {
            *result = f64::NAN;
            continue;
        }
        let mut best = 0;
        for (place, value) in window.iter().enumerate() {
            if !value.is_finite() {
                best = place;
                break;
            }
            if wins(*value, window[best]) {
                best = place;
            }
        }
        *result = (best + 1) as f64;
    }
}

/// Where the largest value stands: the window's length means "today".
pub(super) fn index_of_max(of: &RollingInput<'_>, out: &mut [f64]) {
    index_of(of, out, |a, b| a > b);
}

/// Where the smallest value stands.
pub(super) fn index_of_min(of: &RollingInput<'_>, out: &mut [f64]) {
    index_of(of, out, |a, b| a < b);
}
