//! From the summary of a window to what was asked for.
//!
//! Every function here is called for each bar of a batch and for the newest bar of a stream alike.

/// A window whose standard deviation is at most this, in the units of the series, is flat to Qlib's `Rsquare`
/// and `Corr`: the moves of a price below a cent are hidden by it. `R2` and `Pearson` do without.
const QLIB_FLAT: f64 = 2e-5;

/// A window is flat when its standard deviation is at most this share of its mean: the rounding of values
/// stored as 32-bit floats, nothing more.
const FLAT_SHARE: f64 = 1e-7;

/// Statistics of how values lie around their mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spread {
    Var,
    Std,
}

#[inline(always)]
pub(super) fn spread(kind: Spread, [n, _, squares]: [f64; 3]) -> f64 {
    let variance = if n >= 2.0 { squares / (n - 1.0) } else { f64::NAN };
    match kind {
        Spread::Var => variance,
        Spread::Std => variance.sqrt(),
    }
}

/// Whether Qlib takes the window for flat, by its own values.
#[inline(always)]
pub(super) fn is_flat_to_qlib(moments: [f64; 3]) -> bool {
    spread(Spread::Std, moments) <= QLIB_FLAT
}

#[inline(always)]
fn is_flat(mean: f64, variance: f64) -> bool {
    variance.sqrt() <= FLAT_SHARE * mean.abs()
}

/// Statistics of the third and fourth moments, corrected for bias as pandas does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tails {
    Skew,
    Kurt,
}

#[inline(always)]
pub(super) fn tails(kind: Tails, [n, _, squares, cubes, fourths]: [f64; 5]) -> f64 {
    let variance = squares / n;
    match kind {
        Tails::Skew if n >= 3.0 => {
            (n * (n - 1.0)).sqrt() / (n - 2.0) * (cubes / n) / (variance * variance.sqrt())
        }
        Tails::Kurt if n >= 4.0 => {
            let kurtosis = (n * n - 1.0) * (fourths / n) / (variance * variance);
            (kurtosis - 3.0 * (n - 1.0) * (n - 1.0)) / ((n - 2.0) * (n - 3.0))
        }
        _ => f64::NAN,
    }
}

/// Statistics of two series together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum PairStat {
    /// Pearson's correlation, missing where Qlib takes a side for flat.
    Corr,
    /// Pearson's correlation, missing where a side is flat beside its own mean.
    Pearson,
    /// Covariance with n - 1.
    Cov,
}

/// `flat_to_qlib` is about each side's own values.
#[inline(always)]
pub(super) fn pair(kind: PairStat, [n, x, y, xx, yy, xy]: [f64; 6], flat_to_qlib: bool) -> f64 {
    if n < 2.0 {
        return f64::NAN;
    }
    let correlation = (xy / (xx.sqrt() * yy.sqrt())).clamp(-1.0, 1.0);
    let flat = is_flat(x, xx / (n - 1.0)) | is_flat(y, yy / (n - 1.0));
    match kind {
        PairStat::Cov => xy / (n - 1.0),
        PairStat::Corr if flat_to_qlib => f64::NAN,
        PairStat::Pearson if flat => f64::NAN,
        PairStat::Corr | PairStat::Pearson => correlation,
    }
}

/// Statistics of values over their place in the window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trend {
    Slope,
    Resi,
    Rsquare,
    R2,
    Wma,
    WeightedMean,
}

/// What a trend is asked of besides the summary: the newest value, and how many bars the window spans.
#[derive(Debug, Clone, Copy)]
pub(super) struct Newest {
    pub(super) value: f64,
    pub(super) bars: f64,
}

/// `summary` is of ages (0 for the newest bar) and values.
#[inline(always)]
pub(super) fn trend(kind: Trend, [n, age, mean, ages, squares, both]: [f64; 6], newest: Newest) -> f64 {
    let line = if n >= 2.0 { both / ages } else { f64::NAN };
    // Places count 1, 2, ... from the oldest bar: place = bars - age.
    let weighted = || newest.bars * n * mean - (both + n * age * mean);
    match kind {
        // Ages fall as places rise.
        Trend::Slope => -line,
        Trend::Resi => newest.value - (mean - line * age),
        Trend::Rsquare if squares / (n - 1.0) <= QLIB_FLAT * QLIB_FLAT => f64::NAN,
        Trend::R2 if is_flat(mean, squares / (n - 1.0)) => f64::NAN,
        Trend::Rsquare | Trend::R2 => {
            if n >= 2.0 {
                (both / ages * both / squares).min(1.0)
            } else {
                f64::NAN
            }
        }
        Trend::Wma => weighted() / (newest.bars * (newest.bars + 1.0) / 2.0) / n,
        Trend::WeightedMean => weighted() / (newest.bars * n - n * age),
    }
}
