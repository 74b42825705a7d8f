//! Mean, deviation and covariance, exact about what is not defined.

/// The arithmetic mean; `None` if empty or not finite.
pub(crate) fn mean(values: &[f64]) -> Option<f64> {
    if values.is_empty() {
        return None;
    }
    finite(values.iter().sum::<f64>() / values.len() as f64)
}

/// The sample standard deviation, divisor n - 1; `None` below 2 values or if not finite. Exactly 0 for a
/// constant series, which rounding alone would not give.
pub(crate) fn deviation(values: &[f64]) -> Option<f64> {
    covariance(values, values).map(f64::sqrt)
}

/// The sample covariance, divisor n - 1, of two series of equal length; exactly 0 if either is constant.
pub(crate) fn covariance(left: &[f64], right: &[f64]) -> Option<f64> {
    if left.len() != right.len() || left.len() < 2 {
        return None;
    }
    let (mean_left, mean_right) = (mean(left)?, mean(right)?);
    if is_constant(left) || is_constant(right) {
        return Some(0.0);
    }
    let products = left.iter().zip(right).map(|(a, b)| (a - mean_left) * (b - mean_right));
    finite(products.sum::<f64>() / (left.len() - 1) as f64)
}

/// The value if it is a finite number.
pub(crate) fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn is_constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_of_a_small_series() {
        // 1, 2, 4, 5: mean 3, squares of differences 4 + 1 + 1 + 4 = 10, over 3.
        assert_eq!(mean(&[1.0, 2.0, 4.0, 5.0]), Some(3.0));
        assert!(
            (deviation(&[1.0, 2.0, 4.0, 5.0]).expect("deviation") - (10.0f64 / 3.0).sqrt()).abs() < 1e-15
        );
        // (−2)(1) + (−1)(0) + (1)(0) + (2)(−1) = −4, over 3.
        let covariance = covariance(&[1.0, 2.0, 4.0, 5.0], &[3.0, 2.0, 2.0, 1.0]).expect("covariance");
        assert!((covariance + 4.0 / 3.0).abs() < 1e-15);
    }

    #[test]
    fn a_constant_series_has_deviation_zero_in_spite_of_rounding() {
        assert_eq!(deviation(&[0.1; 7]), Some(0.0));
        assert_eq!(covariance(&[0.1; 3], &[1.0, 2.0, 3.0]), Some(0.0));
    }

    #[test]
    fn not_defined() {
        assert_eq!(mean(&[]), None);
        assert_eq!(mean(&[1.0, f64::NAN]), None);
        assert_eq!(deviation(&[1.0]), None);
        assert_eq!(covariance(&[1.0, 2.0], &[1.0]), None);
    }
}
