//! The t-statistic of a mean against zero, and how often chance alone gives one as large.

use super::moments::{deviation, mean};

/// `mean(x) / (std(x) / sqrt(n))` with the sample deviation (Student 1908, "The Probable Error of a Mean",
/// Biometrika 6(1)): the mean in units of its standard error, if the values are independent. `None` for a
/// constant series or below 2 values.
pub fn t_statistic(values: &[f64]) -> Option<f64> {
    let deviation = deviation(values).filter(|deviation| *deviation > 0.0)?;
    Some(mean(values)? / deviation * (values.len() as f64).sqrt())
}

/// How often a mean of zero shows a |t| at least this large: `2 (1 - Phi(|t|))`, the normal approximation,
/// good for the hundreds of days of a test window. The normal tail is Abramowitz and Stegun 1964, formula
/// 7.1.26, whose absolute error is below 1.5e-7.
pub fn two_sided_p_value(t: f64) -> f64 {
    if t.is_nan() {
        return f64::NAN;
    }
    let x = t.abs() / std::f64::consts::SQRT_2;
    let k = 1.0 / (1.0 + 0.327_591_1 * x);
    let coefficients = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = coefficients.iter().fold(0.0, |sum, coefficient| sum * k + coefficient) * k;
    (polynomial * (-x * x).exp()).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn four_days() {
        // Mean 1, deviation of (0, 1, 1, 2) is sqrt(2 / 3), standard error half of it.
        let want = 2.0 / (2.0f64 / 3.0).sqrt();
        assert!((t_statistic(&[0.0, 1.0, 1.0, 2.0]).expect("t") - want).abs() < 1e-12);
        assert_eq!(t_statistic(&[3.0; 4]), None);
    }

    #[test]
    fn p_values_of_the_normal_table() {
        for (t, p) in [(0.0, 1.0), (1.0, 0.317_310_5), (1.959_964, 0.05), (-2.575_829, 0.01), (5.0, 5.733e-7)]
        {
            let got = two_sided_p_value(t);
            assert!((got - p).abs() < 3e-7, "p({t}) = {got}, table {p}");
        }
        assert_eq!(two_sided_p_value(f64::INFINITY), 0.0);
        assert!(two_sided_p_value(f64::NAN).is_nan());
    }
}
