//! Targets to classes.

use crate::average_rank::doubled_ranks;

/// Classes of equal size within each time.
pub(super) fn quantiles(targets: &[f64], width: usize, classes: usize) -> Vec<Option<u32>> {
    let mut out = vec![None; targets.len()];
    for (targets, out) in targets.chunks(width.max(1)).zip(out.chunks_mut(width.max(1))) {
        cut(targets, classes, out);
    }
    out
}

/// 0 below -threshold, 2 above it, 1 between.
pub(super) fn threshold(targets: &[f64], threshold: f64) -> Vec<Option<u32>> {
    let class = |target: &f64| match target {
        target if target.is_nan() => None,
        target if *target > threshold => Some(2),
        target if *target < -threshold => Some(0),
        _ => Some(1),
    };
    targets.iter().map(class).collect()
}

/// The classes given, where the return is known.
pub(super) fn touched(returns: &[f64], classes: &[u32]) -> Vec<Option<u32>> {
    returns.iter().zip(classes).map(|(value, class)| (!value.is_nan()).then_some(*class)).collect()
}

/// Cuts one date's targets into classes, in whole numbers so that no rounding moves a border.
fn cut(targets: &[f64], classes: usize, out: &mut [Option<u32>]) {
    let known: Vec<usize> = (0..targets.len()).filter(|i| !targets[*i].is_nan()).collect();
    if known.len() < 2 {
        return;
    }
    let values: Vec<f64> = known.iter().map(|i| targets[*i]).collect();
    for (index, doubled) in known.iter().zip(doubled_ranks(&values)) {
        let class = (classes * doubled).div_ceil(2 * known.len()) - 1;
        out[*index] = u32::try_from(class).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deciles_of_twenty_names_hold_two_each() {
        let returns: Vec<f64> = (0..20).map(|i| f64::from((i * 7) % 20)).collect();
        let mut classes = vec![None; 20];
        cut(&returns, 10, &mut classes);
        for (value, class) in returns.iter().zip(&classes) {
            assert_eq!(*class, Some((*value as u32) / 2));
        }
    }

    #[test]
    fn tied_returns_share_the_class_of_their_average_rank() {
        // Four zeros hold the ranks 2 to 5 of 6; ceil(3 * 3.5 / 6) - 1 = 1.
        let mut classes = vec![None; 6];
        cut(&[0.0, -1.0, 0.0, 0.0, 0.0, 1.0], 3, &mut classes);
        assert_eq!(classes, [Some(1), Some(0), Some(1), Some(1), Some(1), Some(2)]);
        let mut alone = vec![None; 2];
        cut(&[f64::NAN, -1.0], 3, &mut alone);
        assert_eq!(alone, [None, None]);
    }
}
