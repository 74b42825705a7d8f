//! Sharpe ratio: mean return per unit of risk.

use super::{
    DAYS_PER_YEAR,
    moments::{deviation, mean},
};

/// `mean(r) / std(r) x sqrt(252)` with a risk-free rate of 0 and the sample deviation (Sharpe 1994, "The
/// Sharpe Ratio", Journal of Portfolio Management 21(1), equations 3 to 6; annualised by the square root of
/// time). `None` for a constant series.
pub fn sharpe(returns: &[f64]) -> Option<f64> {
    let deviation = deviation(returns).filter(|deviation| *deviation > 0.0)?;
    Some(mean(returns)? / deviation * DAYS_PER_YEAR.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_days() {
        // Mean 1 %, deviation of (0, 1 %, 2 %) is 1 %: sqrt(252).
        assert!((sharpe(&[0.0, 0.01, 0.02]).expect("sharpe") - 252f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn changes_sign_with_the_returns() {
        let up = sharpe(&[0.01, 0.03, -0.01]).expect("sharpe");
        let down = sharpe(&[-0.01, -0.03, 0.01]).expect("sharpe");
        assert!((up + down).abs() < 1e-12 && up > 0.0);
    }
}
