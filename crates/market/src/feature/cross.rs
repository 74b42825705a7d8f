//! Operators across instruments: one time, all of the universe.
//!
//! Only values that are finite take part; where one is missing the result is missing too, but for `CSFill`.

use crate::average_rank::doubled_ranks;
use crate::expression::Cross;

/// Robust scores are cut at this.
const ROBUST_CLIP: f64 = 3.0;

/// Computes an operator; `values` are those of the universe's members at one time.
pub(super) fn cross(operator: Cross, values: &[f64], out: &mut [f64]) {
    let known: Vec<f64> = values.iter().copied().filter(|value| value.is_finite()).collect();
    let map = |out: &mut [f64], f: &dyn Fn(f64) -> f64| {
        for (out, value) in out.iter_mut().zip(values) {
            *out = if value.is_finite() { f(*value) } else { f64::NAN };
        }
    };
    match operator {
        Cross::Rank => {
            let mut ranks = doubled_ranks(&known).into_iter();
            let count = known.len() as f64;
            for (out, value) in out.iter_mut().zip(values) {
                let rank = if value.is_finite() { ranks.next() } else { None };
                *out = rank.map_or(f64::NAN, |doubled| doubled as f64 / 2.0 / count);
            }
        }
        Cross::Zscore => {
            let mean = mean(&known);
            let squares: f64 = known.iter().map(|value| (value - mean) * (value - mean)).sum();
            let deviation = (squares / (known.len() as f64 - 1.0)).sqrt();
            map(out, &|value| (value - mean) / deviation);
        }
        Cross::Demean => {
            let mean = mean(&known);
            map(out, &|value| value - mean);
        }
        Cross::Fill => {
            let mean = mean(&known);
            for (out, value) in out.iter_mut().zip(values) {
                *out = if value.is_nan() { mean } else { *value };
            }
        }
        Cross::RobustZscore => {
            let middle = median(known.clone());
            let apart = median(known.iter().map(|value| (value - middle).abs()).collect());
            let scale = (apart + 1e-12) * 1.4826;
            map(out, &|value| ((value - middle) / scale).clamp(-ROBUST_CLIP, ROBUST_CLIP));
        }
    }
}

/// Each value less the mean of its group; a value without a group is missing.
pub(super) fn neutralize(values: &[f64], groups: &[f64], out: &mut [f64]) {
    let mut sums: Vec<(f64, f64, f64)> = Vec::new();
    let takes_part = |value: f64, group: f64| value.is_finite() && group.is_finite();
    for (value, group) in values.iter().zip(groups) {
        if !takes_part(*value, *group) {
            continue;
        }
        match sums.iter_mut().find(|(known, ..)| known == group) {
            Some((_, sum, count)) => {
                *sum += value;
                *count += 1.0;
            }
            None => sums.push((*group, *value, 1.0)),
        }
    }
    for ((out, value), group) in out.iter_mut().zip(values).zip(groups) {
        let own = sums.iter().find(|(known, ..)| known == group);
        *out = match own {
            Some((_, sum, count)) if takes_part(*value, *group) => value - sum / count,
            _ => f64::NAN,
        };
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// NaN without any value.
fn median(mut values: Vec<f64>) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => values[middle - 1] + (values[middle] - values[middle - 1]) / 2.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn run(operator: Cross, values: &[f64]) -> Vec<f64> {
        let mut out = vec![0.0; values.len()];
        cross(operator, values, &mut out);
        out
    }

    fn assert_same(found: &[f64], expected: &[f64]) {
        let same = |(a, b): (&f64, &f64)| (a.is_nan() && b.is_nan()) || (a - b).abs() < 1e-12;
        assert!(found.len() == expected.len() && found.iter().zip(expected).all(same), "{found:?}");
    }

    #[test]
    fn missing_values_stay_missing_and_do_not_count() {
        let values = [3.0, NAN, 1.0, 1.0, f64::INFINITY, 7.0];
        assert_same(&run(Cross::Rank, &values), &[0.75, NAN, 0.375, 0.375, NAN, 1.0]);
        assert_same(&run(Cross::Demean, &values), &[0.0, NAN, -2.0, -2.0, NAN, 4.0]);
        assert_same(&run(Cross::Fill, &[3.0, NAN, 1.0]), &[3.0, 2.0, 1.0]);
        assert_same(&run(Cross::Zscore, &[1.0, 2.0, 3.0]), &[-1.0, 0.0, 1.0]);
        assert_same(&run(Cross::Demean, &[NAN, NAN]), &[NAN, NAN]);
    }

    #[test]
    fn robust_scores_are_cut() {
        let found = run(Cross::RobustZscore, &[0.0, 1.0, 2.0, 3.0, 100.0]);
        assert_same(
            &found[2..],
            &[0.0, 1.0 / 1.4826, 3.0]
                .map(|x: f64| if x == 1.0 / 1.4826 { 1.0 / (1.0 + 1e-12) / 1.4826 } else { x }),
        );
    }

    #[test]
    fn a_group_is_compared_with_itself_alone() {
        let mut out = [0.0; 5];
        neutralize(&[1.0, 3.0, 10.0, 5.0, NAN], &[0.0, 0.0, 1.0, NAN, 0.0], &mut out);
        assert_same(&out, &[-1.0, 1.0, 0.0, NAN, NAN]);
    }
}
