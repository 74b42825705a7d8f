//! Beta: how much of a benchmark's move a series takes part in.

use super::{moments::covariance, paired};

/// `cov(r, b) / var(b)`: the slope of the least-squares line of the returns on the benchmark's (Sharpe 1964,
/// "Capital Asset Prices", Journal of Finance 19(3)). 0 is neutral, 1 moves with the benchmark. `None` if the
/// lengths differ or the benchmark is constant.
pub fn beta(returns: &[f64], benchmark: &[f64]) -> Option<f64> {
    let (returns, benchmark) = paired(returns, benchmark)?;
    let variance = covariance(&benchmark, &benchmark).filter(|variance| *variance > 0.0)?;
    covariance(&returns, &benchmark).map(|both| both / variance)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovers_a_slope_and_ignores_the_level() {
        let benchmark = [0.01, -0.02, 0.03, 0.0];
        let returns = benchmark.map(|value| 0.5 - 1.5 * value);
        assert!((beta(&returns, &benchmark).expect("beta") + 1.5).abs() < 1e-12);
    }

    #[test]
    fn by_hand() {
        // cov = (-1)(2) + (0)(-1) + (1)(-1) = -3 over 2; var = 2 over 2; beta -1.5.
        assert!((beta(&[4.0, 1.0, 1.0], &[1.0, 2.0, 3.0]).expect("beta") + 1.5).abs() < 1e-15);
    }

    #[test]
    fn not_defined_against_a_constant_or_another_length() {
        assert_eq!(beta(&[0.1, 0.2], &[0.1, 0.1]), None);
        assert_eq!(beta(&[0.1, 0.2], &[0.1]), None);
    }
}
