//! Cost: what trading took away.

use super::{DAYS_PER_YEAR, moments::mean};

/// `mean(cost) x 252`: the yearly sum of the daily costs at the average rate, a fraction of equity, not
/// compounded.
pub fn annual_cost(costs: &[f64]) -> Option<f64> {
    mean(costs).map(|daily| daily * DAYS_PER_YEAR)
}

/// `mean(gross) / mean(turnover)` in basis points: the cost per traded value at which the mean net return is
/// zero. Negative if nothing is earned even without costs; `None` if nothing is traded.
pub fn break_even_cost_bps(gross: &[f64], turnover: &[f64]) -> Option<f64> {
    let traded = mean(turnover).filter(|traded| *traded > 0.0)?;
    mean(gross).map(|earned| earned / traded * 10_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_days() {
        // 20 bp and 0: 10 bp a day, 25.2 % a year.
        assert!((annual_cost(&[0.002, 0.0]).expect("cost") - 0.252).abs() < 1e-15);
    }

    #[test]
    fn break_even_is_what_is_earned_per_traded_value() {
        // 10 bp earned a day over 2.0 traded a day: 5 bp.
        assert!((break_even_cost_bps(&[0.002, 0.0], &[1.0, 3.0]).expect("cost") - 5.0).abs() < 1e-12);
        assert_eq!(break_even_cost_bps(&[0.002], &[0.0]), None);
    }
}
