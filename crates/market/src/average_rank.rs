//! Ranks of a cross-section, ties sharing their average.

/// Twice the 1-based rank of each value (whole, since tied ranks are halves); values must not be NaN.
pub(crate) fn doubled_ranks(values: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_unstable_by(|a, b| values[*a].total_cmp(&values[*b]));
    let mut ranks = vec![0; values.len()];
    let mut start = 0;
    while start < order.len() {
        let tied = order[start..].iter().take_while(|i| values[**i] == values[order[start]]).count();
        for index in &order[start..start + tied] {
            ranks[*index] = 2 * start + tied + 1;
        }
        start += tied;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ties_share_their_average() {
        assert_eq!(doubled_ranks(&[5.0, 1.0, 5.0, 7.0]), [5, 2, 5, 8]);
        assert_eq!(doubled_ranks(&[0.0, -0.0, 0.0]), [4, 4, 4]);
        assert_eq!(doubled_ranks(&[]), [0usize; 0]);
    }
}
