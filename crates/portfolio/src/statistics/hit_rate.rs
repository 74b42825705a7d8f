//! Hit rate: the share of days that gained.

/// The number of days with `r > 0` over all days, from 0 to 1; a day of exactly 0 is no hit. `None` without
/// days or with a value that is not finite.
pub fn hit_rate(returns: &[f64]) -> Option<f64> {
    if returns.is_empty() || returns.iter().any(|value| !value.is_finite()) {
        return None;
    }
    Some(returns.iter().filter(|value| **value > 0.0).count() as f64 / returns.len() as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_no_hit() {
        assert_eq!(hit_rate(&[0.1, 0.0, -0.1, 0.2]), Some(0.5));
        assert_eq!(hit_rate(&[]), None);
    }
}
