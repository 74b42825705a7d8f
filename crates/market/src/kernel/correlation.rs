//! Pearson's correlation of two series over windows.

use super::is_flat;

/// `out[r]` is the correlation over the `window` bars that end at `r + lead` of those pairs where both values
/// are finite; missing below 2 pairs and where either side is flat.
pub(crate) fn correlation(of: [&[f64]; 2], lead: usize, window: usize, out: &mut [f64]) {
    for (row, result) in out.iter_mut().enumerate() {
        let end = row + lead + 1;
        let start = end.saturating_sub(window);
        *result = pearson(&of[0][start..end], &of[1][start..end]);
    }
}

fn pearson(left: &[f64], right: &[f64]) -> f64 {
    let known = |(a, b): (&f64, &f64)| (a.is_finite() && b.is_finite()).then_some((*a, *b));
    let pairs = || left.iter().zip(right).filter_map(known);
    let Some((pivot_a, pivot_b)) = pairs().next_back() else { return f64::NAN };
    let (mut n, mut a, mut b, mut aa, mut bb, mut ab) = (0.0, 0.0, 0.0, 0.0, 0.0, 0.0);
    for (value_a, value_b) in pairs() {
        let (x, y) = (value_a - pivot_a, value_b - pivot_b);
        n += 1.0;
        a += x;
        b += y;
        aa += x * x;
        bb += y * y;
        ab += x * y;
    }
    if n < 2.0 {
        return f64::NAN;
    }
    let spread_a: f64 = n * aa - a * a;
    let spread_b: f64 = n * bb - b * b;
    let scale = n * (n - 1.0);
    if is_flat(spread_a / scale, pivot_a) || is_flat(spread_b / scale, pivot_b) {
        return f64::NAN;
    }
    ((n * ab - a * b) / (spread_a * spread_b).sqrt()).clamp(-1.0, 1.0)
}
