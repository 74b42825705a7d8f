//! Total return: what one unit became, compounded.

/// `prod(1 + r) - 1` over the whole span (the holding-period return of any textbook). Once everything is lost
/// (a return of -1 or less) it stays lost: -1.
pub fn total_return(returns: &[f64]) -> Option<f64> {
    equity(returns)?.last().map(|value| value - 1.0)
}

/// The value of one unit after each day: `E_t = E_{t-1} (1 + r_t)`, `E_0 = 1` not included, never below 0.
/// `None` if a return is not finite or the value overflows.
pub fn equity(returns: &[f64]) -> Option<Vec<f64>> {
    let mut value = 1.0;
    let path = returns.iter().map(|step| {
        value *= (1.0 + step).max(if step.is_nan() { f64::NAN } else { 0.0 });
        value
    });
    let path: Vec<f64> = path.collect();
    let finite = returns.iter().chain(&path).all(|value| value.is_finite());
    (finite && !path.is_empty()).then_some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compounds() {
        // 1.1 x 0.9 = 0.99
        assert!((total_return(&[0.1, -0.1]).expect("total") + 0.01).abs() < 1e-15);
    }

    #[test]
    fn what_is_lost_stays_lost() {
        assert_eq!(equity(&[0.5, -1.4, 1.0]), Some(vec![1.5, 0.0, 0.0]));
        assert_eq!(total_return(&[0.5, -1.4, 1.0]), Some(-1.0));
    }

    #[test]
    fn not_defined_for_nothing_or_nan() {
        assert_eq!(total_return(&[]), None);
        assert_eq!(equity(&[0.1, f64::NAN]), None);
        assert_eq!(equity(&[f64::NEG_INFINITY]), None);
    }
}
