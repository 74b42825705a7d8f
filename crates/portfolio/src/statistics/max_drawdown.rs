//! Maximum drawdown: the deepest fall from a peak of the compounded value.

use serde::Serialize;

use super::equity;

/// The deepest fall of a series.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Drawdown {
    /// `E / peak - 1` at the lowest point: 0 to -1.
    pub depth: f64,
    /// The index of the day that ended at the peak; `None` if the peak is the start, before the first day.
    pub peak: Option<usize>,
    /// The index of the day that ended at the lowest point; `None` if the series never fell.
    pub trough: Option<usize>,
}

/// The minimum of [`drawdowns`] with the days it fell between (Magdon-Ismail and Atiya 2004, "Maximum
/// Drawdown", Risk 17(10)), on the compounded value and counting the start as a peak.
pub fn max_drawdown(returns: &[f64]) -> Option<Drawdown> {
    let path = equity(returns)?;
    let (mut high, mut high_at) = (1.0, None);
    let mut worst = Drawdown { depth: 0.0, peak: None, trough: None };
    for (day, &value) in path.iter().enumerate() {
        if value > high {
            (high, high_at) = (value, Some(day));
        }
        let depth = value / high - 1.0;
        if depth < worst.depth {
            worst = Drawdown { depth, peak: high_at, trough: Some(day) };
        }
    }
    Some(worst)
}

/// The fall from the highest value so far after each day: `E_t / max(1, E_1..E_t) - 1`, 0 at a new high.
pub fn drawdowns(returns: &[f64]) -> Option<Vec<f64>> {
    let mut high = 1.0f64;
    let fall = |value: f64| {
        high = high.max(value);
        value / high - 1.0
    };
    equity(returns).map(|path| path.into_iter().map(fall).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_peak_and_trough() {
        // 1.10, 0.99, 1.188, 0.5940, 0.6534: the deepest fall is from day 2 to day 3, a half.
        let worst = max_drawdown(&[0.1, -0.1, 0.2, -0.5, 0.1]).expect("drawdown");
        assert!((worst.depth + 0.5).abs() < 1e-15);
        assert_eq!((worst.peak, worst.trough), (Some(2), Some(3)));
        let path = drawdowns(&[0.1, -0.1, 0.2, -0.5, 0.1]).expect("path");
        for (got, want) in path.iter().zip([0.0, -0.1, 0.0, -0.5, -0.45]) {
            assert!((got - want).abs() < 1e-15, "{path:?}");
        }
    }

    #[test]
    fn a_first_day_loss_falls_from_the_start() {
        let worst = max_drawdown(&[-0.2, 0.1]).expect("drawdown");
        assert!((worst.depth + 0.2).abs() < 1e-15);
        assert_eq!((worst.peak, worst.trough), (None, Some(0)));
    }

    #[test]
    fn a_series_that_never_falls_has_none() {
        assert_eq!(max_drawdown(&[0.1, 0.0]), Some(Drawdown { depth: 0.0, peak: None, trough: None }));
        assert_eq!(max_drawdown(&[]), None);
    }

    #[test]
    fn ruin_is_complete() {
        assert_eq!(max_drawdown(&[0.5, -2.0, 0.1]).map(|worst| worst.depth), Some(-1.0));
    }
}
