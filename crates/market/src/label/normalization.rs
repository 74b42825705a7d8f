//! The numbers of one date as scores or ranks among themselves: Qlib's `CSZScoreNorm` and `CSRankNorm` of a label.

use super::LabelNormalization;
use crate::average_rank::doubled_ranks;

/// Turns a uniform rank into about unit variance, as Qlib writes it.
const RANK_SCALE: f64 = 3.46;

/// Replaces the known numbers of a date; a NaN stays one. Numbers that are all equal become 0.
pub(super) fn normalize(how: LabelNormalization, date: &mut [f64]) {
    let places: Vec<usize> = (0..date.len()).filter(|&at| !date[at].is_nan()).collect();
    let known: Vec<f64> = places.iter().map(|&at| date[at]).collect();
    let count = known.len() as f64;
    let normalized: Vec<f64> = match how {
        LabelNormalization::CsRank => {
            let share = |doubled: usize| doubled as f64 / (2.0 * count);
            doubled_ranks(&known).into_iter().map(|rank| (share(rank) - 0.5) * RANK_SCALE).collect()
        }
        LabelNormalization::CsZscore => {
            let mean = known.iter().sum::<f64>() / count;
            let squares: f64 = known.iter().map(|x| (x - mean).powi(2)).sum();
            let deviation = (squares / (count - 1.0)).sqrt();
            // One number alone has no deviation, and so no score.
            let score = |x: &f64| if deviation == 0.0 { 0.0 } else { (x - mean) / deviation };
            known.iter().map(score).collect()
        }
    };
    for (at, value) in places.into_iter().zip(normalized) {
        date[at] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// pandas: `x.rank(pct=True)`, `(x - x.mean()) / x.std()`.
    #[test]
    fn numbers_of_a_date_become_scores_or_ranks() {
        let date = [0.3, f64::NAN, -0.1, 0.3, 0.9];
        let mut ranks = date;
        normalize(LabelNormalization::CsRank, &mut ranks);
        let expected = [0.125 * 3.46, f64::NAN, -0.25 * 3.46, 0.125 * 3.46, 0.5 * 3.46];
        let mut scores = date;
        normalize(LabelNormalization::CsZscore, &mut scores);
        let (mean, deviation) = (0.35, 0.412_310_562_561_766_05);
        for at in 0..5 {
            assert!((ranks[at] - expected[at]).abs() < 1e-12 || date[at].is_nan() && ranks[at].is_nan());
            let expected = (date[at] - mean) / deviation;
            assert!((scores[at] - expected).abs() < 1e-12 || date[at].is_nan() && scores[at].is_nan());
        }
        let mut equal = [0.2, 0.2];
        normalize(LabelNormalization::CsZscore, &mut equal);
        assert_eq!(equal, [0.0, 0.0]);
        let mut alone = [0.2, f64::NAN];
        normalize(LabelNormalization::CsZscore, &mut alone);
        assert!(alone.iter().all(|x| x.is_nan()));
    }
}
