//! Turnover: how much of the equity is traded on a day.

use super::moments::mean;

/// The mean of the daily traded value as a fraction of equity, purchases plus sales, the first purchase and
/// the trading of drift included. A long-short holding of gross 2 that is replaced whole trades 4. (Funds
/// often report the smaller of purchases and sales, about half of this.)
pub fn mean_turnover(turnover: &[f64]) -> Option<f64> {
    mean(turnover)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_of_the_days() {
        assert_eq!(mean_turnover(&[2.0, 4.0, 0.0]), Some(2.0));
        assert_eq!(mean_turnover(&[]), None);
    }
}
