//! Quantiles and ranks of windows.

use super::RollingInput;

/// The quantile of a window, interpolated linearly between its sorted values; missing without any.
///
/// The sorted window slides from row to row. What it holds depends on the window's values alone, so sliding
/// gives the same bits as sorting each window anew.
pub(super) fn quantile(of: &RollingInput<'_>, level: f64, out: &mut [f64], sorted: &mut Vec<f64>) {
    let Some(newest) = out.len().checked_sub(1) else { return };
    sorted.clear();
    sorted.extend(of.window_of(0).iter().copied().filter(|value| value.is_finite()));
    sorted.sort_unstable_by(f64::total_cmp);
    for (row, result) in out.iter_mut().enumerate() {
        *result = interpolate(sorted, level);
        if row < newest {
            let end = row + of.lead + 1;
            if end >= of.window {
                leave(sorted, of.input[end - of.window]);
            }
            enter(sorted, of.input[end]);
        }
    }
}

fn interpolate(sorted: &[f64], level: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let place = level * last as f64;
    let below = place.floor();
    let index = below as usize;
    let low = sorted[index];
    let high = sorted[(index + 1).min(last)];
    low + (high - low) * (place - below)
}

fn leave(sorted: &mut Vec<f64>, value: f64) {
    if value.is_finite() {
        let place = sorted.partition_point(|known| known.total_cmp(&value).is_lt());
        sorted.remove(place);
    }
}

fn enter(sorted: &mut Vec<f64>, value: f64) {
    if value.is_finite() {
        let place = sorted.partition_point(|known| known.total_cmp(&value).is_lt());
        sorted.insert(place, value);
    }
}

/// The rank of the newest value among the window's, ties averaged, divided by their number; missing if the
/// newest value is.
pub(super) fn rank(of: &RollingInput<'_>, out: &mut [f64]) {
    for (row, result) in out.iter_mut().enumerate() {
        let window = of.window_of(row);
        let newest = window[window.len() - 1];
        let mut counts = [0u32; 3];
        for value in window {
            counts[0] += u32::from(value.is_finite());
            counts[1] += u32::from(value.is_finite() & (*value < newest));
            counts[2] += u32::from(*value == newest);
        }
        let [known, less, equal] = counts.map(f64::from);
        *result = if newest.is_finite() { (less + (equal + 1.0) / 2.0) / known } else { f64::NAN };
    }
}
