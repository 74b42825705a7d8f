//! Alpha: the mean return that beta does not explain.

use super::{DAYS_PER_YEAR, beta, moments::mean, paired};

/// `(mean(r) - beta mean(b)) x 252`, risk-free rate 0 (Jensen 1968, "The Performance of Mutual Funds in the
/// Period 1945-1964", Journal of Finance 23(2), equation 8), annualised arithmetically. `None` where beta is.
pub fn alpha(returns: &[f64], benchmark: &[f64]) -> Option<f64> {
    let slope = beta(returns, benchmark)?;
    let (returns, benchmark) = paired(returns, benchmark)?;
    Some((mean(&returns)? - slope * mean(&benchmark)?) * DAYS_PER_YEAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recovers_the_constant_of_a_line() {
        let benchmark = [0.01, -0.02, 0.03, 0.0];
        let returns = benchmark.map(|value| 0.0001 + 0.8 * value);
        assert!((alpha(&returns, &benchmark).expect("alpha") - 0.0252).abs() < 1e-12);
    }

    #[test]
    fn the_benchmark_has_none_against_itself() {
        let benchmark = [0.01, -0.02, 0.03];
        assert!(alpha(&benchmark, &benchmark).expect("alpha").abs() < 1e-15);
    }
}
