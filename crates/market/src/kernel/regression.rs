//! The straight line through a window by least squares, over the place of each bar.

use super::{BLOCK, RollingInput, is_flat};

/// Sums over the known values of a window: x is the bar's place counted back from the newest (0, -1, ...), y
/// the value measured from the pivot.
struct Sums {
    n: [f64; BLOCK],
    x: [f64; BLOCK],
    xx: [f64; BLOCK],
    y: [f64; BLOCK],
    xy: [f64; BLOCK],
    yy: [f64; BLOCK],
    pivot: [f64; BLOCK],
}

/// The fitted line of one window.
struct Line {
    slope: f64,
    /// Height over the pivot at the newest bar.
    height: f64,
    r_squared: f64,
}

impl Sums {
    const ZERO: Self = Self {
        n: [0.0; BLOCK],
        x: [0.0; BLOCK],
        xx: [0.0; BLOCK],
        y: [0.0; BLOCK],
        xy: [0.0; BLOCK],
        yy: [0.0; BLOCK],
        pivot: [0.0; BLOCK],
    };

    fn add_up(&mut self, of: &RollingInput<'_>, start: usize, rows: usize) {
        for sums in [&mut self.n, &mut self.x, &mut self.xx, &mut self.y, &mut self.xy, &mut self.yy] {
            sums[..rows].fill(0.0);
        }
        for row in 0..rows {
            self.pivot[row] = of.pivot(start + row);
        }
        of.for_each_lag(start, rows, |lag, skipped, values| {
            let place = -(lag as f64);
            for (row, value) in (skipped..rows).zip(values) {
                let known = if value.is_finite() { 1.0 } else { 0.0 };
                let apart = if value.is_finite() { *value - self.pivot[row] } else { 0.0 };
                self.n[row] += known;
                self.x[row] += known * place;
                self.xx[row] += known * (place * place);
                self.y[row] += apart;
                self.xy[row] += apart * place;
                self.yy[row] += apart * apart;
            }
        });
    }

    /// `None` below 2 values.
    fn line(&self, row: usize) -> Option<Line> {
        let (n, x, y) = (self.n[row], self.x[row], self.y[row]);
        if n < 2.0 {
            return None;
        }
        let spread_x = n * self.xx[row] - x * x;
        let spread_y = (n * self.yy[row] - y * y).max(0.0);
        let together = n * self.xy[row] - x * y;
        let slope = together / spread_x;
        let height = (y - slope * x) / n;
        let variance = spread_y / (n * (n - 1.0));
        let r_squared = if is_flat(variance, self.pivot[row]) {
            f64::NAN
        } else {
            (together * together / (spread_x * spread_y)).min(1.0)
        };
        Some(Line { slope, height, r_squared })
    }
}

/// Calls `result` with the line of each row's window and whether the newest value is known.
fn fit(of: &RollingInput<'_>, out: &mut [f64], result: impl Fn(&Line, bool) -> f64) {
    let mut sums = Sums::ZERO;
    for (block, out) in out.chunks_mut(BLOCK).enumerate() {
        let start = block * BLOCK;
        sums.add_up(of, start, out.len());
        for (row, out) in out.iter_mut().enumerate() {
            let newest_known = of.input[start + row + of.lead].is_finite();
            *out = sums.line(row).map_or(f64::NAN, |line| result(&line, newest_known));
        }
    }
}

/// Slope per bar; missing below 2 values.
pub(super) fn slope(of: &RollingInput<'_>, out: &mut [f64]) {
    fit(of, out, |line, _| line.slope);
}

/// Squared correlation of value and place; missing below 2 values and where the window is flat.
pub(super) fn r_squared(of: &RollingInput<'_>, out: &mut [f64]) {
    fit(of, out, |line, _| line.r_squared);
}

/// The newest value less the line's height there; missing below 2 values and where the newest value is.
pub(super) fn residual(of: &RollingInput<'_>, out: &mut [f64]) {
    // A known newest value is the pivot itself, so it stands at height 0.
    fit(of, out, |line, newest_known| if newest_known { -line.height } else { f64::NAN });
}
