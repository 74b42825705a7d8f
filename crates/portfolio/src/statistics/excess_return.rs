//! Excess return: how much faster a series grew than a benchmark.

use super::{annual_return, paired};

/// `annual_return(r) - annual_return(b)`, both geometric, over the days both are known (the arithmetic excess
/// of Bacon 2008, "Practical Portfolio Performance Measurement and Attribution"). For a
/// long-short portfolio against a long-only benchmark it compares different risks: read it beside beta.
pub fn excess_return(returns: &[f64], benchmark: &[f64]) -> Option<f64> {
    let (returns, benchmark) = paired(returns, benchmark)?;
    Some(annual_return(&returns)? - annual_return(&benchmark)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn difference_of_the_growth_rates() {
        let (mut fast, mut slow) = (vec![0.0; 252], vec![0.0; 252]);
        (fast[3], slow[200]) = (0.10, 0.04);
        assert!((excess_return(&fast, &slow).expect("excess") - 0.06).abs() < 1e-12);
        assert_eq!(excess_return(&fast, &slow[1..]), None);
    }
}
