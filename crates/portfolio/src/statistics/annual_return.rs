//! Annualised return: the constant yearly growth with the same end (geometric).

use super::{DAYS_PER_YEAR, moments::finite, total_return};

/// `(prod(1 + r))^(252 / n) - 1`, n the number of days: the compound annual growth rate (CFA Institute,
/// Global Investment Performance Standards, geometric linking). Not meaningful for a few days.
pub fn annual_return(returns: &[f64]) -> Option<f64> {
    let growth = 1.0 + total_return(returns)?;
    finite(growth.powf(DAYS_PER_YEAR / returns.len() as f64) - 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_year_of_days_is_its_own_year_and_half_a_year_is_squared() {
        let mut year = vec![0.0; 252];
        year[0] = 0.21;
        assert!((annual_return(&year).expect("annual") - 0.21).abs() < 1e-12);
        // Half a year at +10 % is 1.1 x 1.1 - 1 = 21 % a year.
        let mut half = vec![0.0; 126];
        half[5] = 0.1;
        assert!((annual_return(&half).expect("annual") - 0.21).abs() < 1e-12);
    }

    #[test]
    fn ruin_is_minus_one_hundred_percent() {
        assert_eq!(annual_return(&[-1.0, 0.5]), Some(-1.0));
    }

    #[test]
    fn one_enormous_day_overflows_to_not_defined() {
        assert_eq!(annual_return(&[1e3]), None);
    }
}
