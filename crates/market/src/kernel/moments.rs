//! Sums and variances over windows, rows side by side.

use super::{BLOCK, RollingInput};

struct Sums {
    count: [f64; BLOCK],
    sum: [f64; BLOCK],
    squares: [f64; BLOCK],
}

impl Sums {
    const ZERO: Self = Self { count: [0.0; BLOCK], sum: [0.0; BLOCK], squares: [0.0; BLOCK] };
}

/// Count and sum of the finite values of each window of a block.
fn add_up(of: &RollingInput<'_>, start: usize, rows: usize, sums: &mut Sums) {
    sums.count[..rows].fill(0.0);
    sums.sum[..rows].fill(0.0);
    of.for_each_lag(start, rows, |_, skipped, values| {
        let count = &mut sums.count[skipped..rows];
        let sum = &mut sums.sum[skipped..rows];
        for ((count, sum), value) in count.iter_mut().zip(sum).zip(values) {
            let known = value.is_finite();
            *count += if known { 1.0 } else { 0.0 };
            *sum += if known { *value } else { 0.0 };
        }
    });
}

/// Mean of the window's values; missing without any.
pub(super) fn mean(of: &RollingInput<'_>, out: &mut [f64]) {
    let mut sums = Sums::ZERO;
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        add_up(of, block * BLOCK, out.len(), &mut sums);
        for (row, result) in out.iter_mut().enumerate() {
            *result = sums.sum[row] / sums.count[row];
        }
    }
}

/// Sum of the window's values; missing without any.
pub(super) fn sum(of: &RollingInput<'_>, out: &mut [f64]) {
    let mut sums = Sums::ZERO;
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        add_up(of, block * BLOCK, out.len(), &mut sums);
        for (row, result) in out.iter_mut().enumerate() {
            *result = if sums.count[row] > 0.0 { sums.sum[row] } else { f64::NAN };
        }
    }
}

/// How many values of the window are not NaN, as pandas counts: 0 without any.
pub(super) fn count(of: &RollingInput<'_>, out: &mut [f64]) {
    for (row, result) in out.iter_mut().enumerate() {
        *result = of.window_of(row).iter().filter(|value| !value.is_nan()).count() as f64;
    }
}

/// Variance with n - 1; missing below 2 values.
pub(super) fn variance(of: &RollingInput<'_>, out: &mut [f64]) {
    let mut sums = Sums::ZERO;
    let mut pivots = [0.0; BLOCK];
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let start = block * BLOCK;
        let rows = out.len();
        for (row, pivot) in pivots[..rows].iter_mut().enumerate() {
            *pivot = of.pivot(start + row);
        }
        add_up_squares(of, start, &pivots[..rows], &mut sums);
        for (row, result) in out.iter_mut().enumerate() {
            let (n, sum) = (sums.count[row], sums.sum[row]);
            let deviations = sums.squares[row] - sum * sum / n;
            *result = if n >= 2.0 { deviations.max(0.0) / (n - 1.0) } else { f64::NAN };
        }
    }
}

/// Square root of [`variance`].
pub(super) fn standard_deviation(of: &RollingInput<'_>, out: &mut [f64]) {
    variance(of, out);
    for result in out {
        *result = result.sqrt();
    }
}

/// Count, sum and sum of squares of the differences from each row's pivot.
fn add_up_squares(of: &RollingInput<'_>, start: usize, pivots: &[f64], sums: &mut Sums) {
    let rows = pivots.len();
    sums.count[..rows].fill(0.0);
    sums.sum[..rows].fill(0.0);
    sums.squares[..rows].fill(0.0);
    of.for_each_lag(start, rows, |_, skipped, values| {
        let count = &mut sums.count[skipped..rows];
        let sum = &mut sums.sum[skipped..rows];
        let squares = &mut sums.squares[skipped..rows];
        let pivots = &pivots[skipped..];
        for ((((count, sum), squares), value), pivot) in
            count.iter_mut().zip(sum).zip(squares).zip(values).zip(pivots)
        {
            let known = value.is_finite();
            let apart = if known { *value - *pivot } else { 0.0 };
            *count += if known { 1.0 } else { 0.0 };
            *sum += apart;
            *squares += apart * apart;
        }
    });
}
