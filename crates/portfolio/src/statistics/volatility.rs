//! Volatility: the annualised standard deviation of daily returns.

use super::{DAYS_PER_YEAR, moments::deviation};

/// `std(r) sqrt(252)` with the sample deviation (divisor n - 1): square-root-of-time scaling, which assumes
/// that days are uncorrelated. `None` below 2 days.
pub fn volatility(returns: &[f64]) -> Option<f64> {
    deviation(returns).map(|daily| daily * DAYS_PER_YEAR.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_days() {
        // Deviation of (1 %, -1 %) is sqrt(2) %.
        let want = 0.01 * 2f64.sqrt() * 252f64.sqrt();
        assert!((volatility(&[0.01, -0.01]).expect("volatility") - want).abs() < 1e-15);
    }
}
