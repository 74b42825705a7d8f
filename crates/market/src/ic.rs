//! Information coefficients: does the order of the scores match the order of the returns?

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};

use crate::average_rank::doubled_ranks;

/// Fewer names than this on a date have no meaningful order.
const NAMES_MIN: usize = 3;

/// Daily coefficients in short. Figures that the days are too few for are NaN (`null` in JSON).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct IcSummary {
    /// Mean over the days.
    #[serde(deserialize_with = "null_is_nan")]
    pub mean: f64,
    /// Standard deviation with n - 1.
    #[serde(deserialize_with = "null_is_nan")]
    pub std: f64,
    /// mean / std, not annualised.
    #[serde(deserialize_with = "null_is_nan")]
    pub icir: f64,
    /// mean / (std / sqrt(days)); labels that overlap from day to day make it too large.
    #[serde(deserialize_with = "null_is_nan")]
    pub t_statistic: f64,
    /// mean over its standard error by Newey and West (1987), with Bartlett weights over as many lags as labels
    /// overlap: n in all autocovariances, no correction for small samples.
    #[serde(default = "nan", deserialize_with = "null_is_nan")]
    pub t_newey_west: f64,
    /// Days with a coefficient.
    pub days: usize,
}

fn nan() -> f64 {
    f64::NAN
}

fn null_is_nan<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(deserializer)?.unwrap_or(f64::NAN))
}

/// Spearman's correlation of score and return within each date, by ascending date.
///
/// The three slices are parallel, one entry a row. Rows without score or return are left out; a date is
/// skipped (absent from the result) if fewer than 3 rows are left or all scores or all returns are equal.
pub fn rank_ic_by_date(dates: &[usize], scores: &[f64], returns: &[f64]) -> Vec<(usize, f64)> {
    by_date(dates, scores, returns, spearman)
}

/// Pearson's correlation of score and return within each date, as [`rank_ic_by_date`].
pub fn ic_by_date(dates: &[usize], scores: &[f64], returns: &[f64]) -> Vec<(usize, f64)> {
    by_date(dates, scores, returns, pearson)
}

fn by_date(
    dates: &[usize],
    scores: &[f64],
    returns: &[f64],
    correlation: fn(&[f64], &[f64]) -> Option<f64>,
) -> Vec<(usize, f64)> {
    let mut by_date: BTreeMap<usize, (Vec<f64>, Vec<f64>)> = BTreeMap::new();
    for ((date, score), earned) in dates.iter().zip(scores).zip(returns) {
        if !score.is_nan() && !earned.is_nan() {
            let (left, right) = by_date.entry(*date).or_default();
            left.push(*score);
            right.push(*earned);
        }
    }
    by_date
        .into_iter()
        .filter_map(|(date, (scores, returns))| correlation(&scores, &returns).map(|value| (date, value)))
        .collect()
}

/// `None` below 3 pairs and where a side does not vary.
fn pearson(left: &[f64], right: &[f64]) -> Option<f64> {
    let varies = |values: &[f64]| values.iter().any(|value| *value != values[0]);
    if left.len() < NAMES_MIN || !varies(left) || !varies(right) {
        return None;
    }
    let centred = |values: &[f64]| -> Vec<f64> {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        values.iter().map(|value| value - mean).collect()
    };
    correlation(&centred(left), &centred(right))
}

/// Of values less their mean.
fn correlation(left: &[f64], right: &[f64]) -> Option<f64> {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f64>();
    let spread = dot(left, left) * dot(right, right);
    (spread > 0.0).then(|| dot(left, right) / spread.sqrt())
}

/// `None` below 3 pairs and where a side does not vary. Ties share their average rank.
fn spearman(left: &[f64], right: &[f64]) -> Option<f64> {
    let n = left.len();
    if n < NAMES_MIN {
        return None;
    }
    // Doubled ranks less their mean are whole numbers: n + 1 is twice the mean rank.
    let centred = |values: &[f64]| -> Vec<f64> {
        doubled_ranks(values).into_iter().map(|rank| rank as f64 - (n + 1) as f64).collect()
    };
    correlation(&centred(left), &centred(right))
}

/// Mean, deviation, ICIR and t-statistics of daily coefficients whose returns overlap with those of so many later
/// days: one less than the days a position is held.
pub fn summarise(daily: &[f64], overlap: usize) -> IcSummary {
    let days = daily.len();
    let count = days as f64;
    let mean = daily.iter().sum::<f64>() / count;
    let squares = daily.iter().map(|value| (value - mean).powi(2)).sum::<f64>();
    let std = if days >= 2 { (squares / (count - 1.0)).sqrt() } else { f64::NAN };
    let icir = if std > 0.0 { mean / std } else { f64::NAN };
    let long_run = long_run_variance(daily, mean, overlap);
    let t_newey_west = if days >= 2 && long_run > 0.0 { mean / (long_run / count).sqrt() } else { f64::NAN };
    IcSummary { mean, std, icir, t_statistic: icir * count.sqrt(), t_newey_west, days }
}

fn long_run_variance(daily: &[f64], mean: f64, lags: usize) -> f64 {
    let covariance = |lag: usize| {
        let pairs = daily.iter().zip(daily.iter().skip(lag));
        pairs.map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>() / daily.len() as f64
    };
    let weight = |lag: usize| 1.0 - lag as f64 / (lags as f64 + 1.0);
    covariance(0) + (1..=lags).map(|lag| 2.0 * weight(lag) * covariance(lag)).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_alone_counts() {
        let dates = [7, 7, 7, 3, 3, 3];
        let scores = [1.0, 2.0, 300.0, 1.0, 2.0, 3.0];
        let returns = [-0.1, 0.0, 0.01, 0.3, 0.2, 0.1];
        assert_eq!(rank_ic_by_date(&dates, &scores, &returns), [(3, -1.0), (7, 1.0)]);
    }

    #[test]
    fn ties_match_scipy() {
        // scipy.stats.spearmanr([1, 2, 2, 4, 5], [3, 1, 4, 4, 6]).statistic
        let daily = rank_ic_by_date(&[0; 5], &[1.0, 2.0, 2.0, 4.0, 5.0], &[3.0, 1.0, 4.0, 4.0, 6.0]);
        assert!((daily[0].1 - 0.763_157_894_736_842_1).abs() < 1e-12, "{daily:?}");
    }

    #[test]
    fn dates_without_an_order_are_skipped() {
        let few = rank_ic_by_date(&[0, 0, 0], &[1.0, 2.0, f64::NAN], &[1.0, 2.0, 3.0]);
        let equal = rank_ic_by_date(&[0, 0, 0], &[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]);
        assert!(few.is_empty() && equal.is_empty());
    }

    #[test]
    fn a_summary_follows_its_definitions() {
        let summary = summarise(&[0.1, 0.2, 0.3], 0);
        assert!((summary.mean - 0.2).abs() < 1e-15 && (summary.std - 0.1).abs() < 1e-15);
        assert!((summary.icir - 2.0).abs() < 1e-12);
        assert!((summary.t_statistic - 2.0 * 3f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn too_few_days_have_no_t_statistic_and_survive_json() {
        let summary = summarise(&[0.1], 0);
        assert!(summary.t_statistic.is_nan() && summary.days == 1);
        let text = serde_json::to_string(&summary).expect("it is plain data");
        let again: IcSummary = serde_json::from_str(&text).expect("own text");
        assert!(again.t_statistic.is_nan() && again.mean == summary.mean);
    }

    #[test]
    fn pearson_follows_values_and_not_order_alone() {
        // numpy.corrcoef([1, 2, 300], [-0.1, 0.0, 0.01])[0, 1]
        let daily = ic_by_date(&[0; 3], &[1.0, 2.0, 300.0], &[-0.1, 0.0, 0.01]);
        assert!((daily[0].1 - 0.571_877_209_711_534_7).abs() < 1e-12, "{daily:?}");
        assert!(ic_by_date(&[0; 3], &[0.1; 3], &[1.0, 2.0, 3.0]).is_empty());
    }

    #[test]
    fn overlapping_labels_lower_the_t_statistic_by_newey_and_west() {
        // statsmodels.OLS(x, ones).fit(cov_type="HAC", cov_kwds={"maxlags": 2}).tvalues
        let daily = [0.02, 0.05, 0.04, 0.06, 0.01, -0.02, -0.01, 0.03, 0.04, 0.02];
        let plain = summarise(&daily, 0);
        let overlapping = summarise(&daily, 2);
        assert!((overlapping.t_newey_west - 2.670_405_654_303_139).abs() < 1e-9, "{overlapping:?}");
        assert!(overlapping.t_newey_west < plain.t_newey_west);
    }
}
