//! Cutting the scores of a date into groups of equal size, and what each group earned.

use serde::Serialize;

use crate::{Error, SignalTable, statistics::moments};

/// What one group of the score ranking earned.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct GroupReturn {
    /// 0 is the group of the lowest scores.
    pub group: usize,
    /// Mean over the dates of the group's equally weighted return, a fraction per day; `None` without dates.
    pub mean: Option<f64>,
    /// Standard error of that mean over dates (sample standard deviation / sqrt(dates)); `None` below 2 dates.
    pub standard_error: Option<f64>,
    /// The dates the mean is taken over.
    pub days: usize,
}

/// The mean daily return of each of `groups` score groups, lowest scores first.
///
/// Per date the n scored names are ranked, lowest score first, and cut into groups by
/// `floor(rank * groups / n)`; of two equal scores the instrument listed first ranks lower. The group's return
/// is the plain mean of the returns that exist; the mean over dates weighs every date alike. Dates with fewer
/// scored names than groups are left out. `returns` has the layout of the table: the return earned by a decision of that date.
///
/// # Errors
/// If the returns do not fit the table, or `groups` is below 2 or above the number of instruments.
pub fn quantile_returns(
    table: &SignalTable,
    returns: &[f64],
    groups: usize,
) -> Result<Vec<GroupReturn>, Error> {
    table.check_groups(groups)?;
    table.check_returns(returns)?;
    let mut by_group: Vec<Vec<f64>> = vec![Vec::new(); groups];
    for date in 0..table.dates().len() {
        let Some(assigned) = assign(table.row(date), groups) else { continue };
        let earned = &returns[table.range(date)];
        for (group, series) in by_group.iter_mut().enumerate() {
            let members = assigned.iter().zip(earned).filter(|(of, _)| **of == Some(group));
            let known: Vec<f64> =
                members.map(|(_, value)| *value).filter(|value| value.is_finite()).collect();
            series.extend(moments::mean(&known));
        }
    }
    Ok(by_group.iter().enumerate().map(|(group, series)| summarise(group, series)).collect())
}

fn summarise(group: usize, series: &[f64]) -> GroupReturn {
    let days = series.len();
    let standard_error = moments::deviation(series).map(|deviation| deviation / (days as f64).sqrt());
    GroupReturn { group, mean: moments::mean(series), standard_error, days }
}

/// The group of every name by its score: `floor(rank * groups / n)` with rank 0 the lowest of n scores.
///
/// Names without a score (NaN) get no group. **Ties are broken by instrument order**: of two equal scores the
/// instrument listed first ranks lower. `None` if fewer names have a score than there are groups, so that no
/// group is ever empty.
pub(crate) fn assign(scores: &[f64], groups: usize) -> Option<Vec<Option<usize>>> {
    let order = ranking(scores);
    if order.len() < groups || groups == 0 {
        return None;
    }
    let mut assigned = vec![None; scores.len()];
    for (rank, &instrument) in order.iter().enumerate() {
        assigned[instrument] = Some(rank * groups / order.len());
    }
    Some(assigned)
}

/// The indices of the scored names, lowest score first, equal scores in instrument order.
pub(crate) fn ranking(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).filter(|&name| !scores[name].is_nan()).collect();
    // The sort is stable and 0.0 equals -0.0 under `partial_cmp`, so ties keep the instrument order.
    order.sort_by(|&a, &b| scores[a].partial_cmp(&scores[b]).unwrap_or(std::cmp::Ordering::Equal));
    order
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::civil::date;

    const NONE: f64 = f64::NAN;

    fn table(days: usize, scores: Vec<f64>) -> SignalTable {
        let dates = (1..=days).map(|day| date(2020, 1, day as i8)).collect();
        let names = (0..scores.len() / days).map(|name| format!("N{name}")).collect();
        SignalTable::new(dates, names, scores).expect("table")
    }

    #[test]
    fn assigns_by_rank_and_breaks_ties_by_instrument_order() {
        assert_eq!(assign(&[3.0, 1.0, 2.0, 4.0], 2), Some(vec![Some(1), Some(0), Some(0), Some(1)]));
        assert_eq!(assign(&[5.0; 4], 2), Some(vec![Some(0), Some(0), Some(1), Some(1)]));
        assert_eq!(assign(&[0.0, -0.0], 2), Some(vec![Some(0), Some(1)]));
    }

    #[test]
    fn names_without_a_score_get_no_group_and_too_few_names_no_groups() {
        assert_eq!(assign(&[NONE, 2.0, 1.0], 2), Some(vec![None, Some(1), Some(0)]));
        assert_eq!(assign(&[NONE, 2.0, NONE], 2), None);
    }

    #[test]
    fn group_sizes_differ_by_at_most_one() {
        let scores: Vec<f64> = (0..23).map(f64::from).collect();
        let assigned = assign(&scores, 10).expect("groups");
        for group in 0..10 {
            let size = assigned.iter().filter(|of| **of == Some(group)).count();
            assert!((2..=3).contains(&size), "group {group} has {size} names");
        }
    }

    #[test]
    fn means_over_dates_weigh_each_date_alike() {
        // Date 1: bottom N0 (1 %), top N1 (3 %). Date 2: bottom N1 (-1 %), top N0 (return missing).
        // Date 3: one score only, left out.
        let scores = vec![1.0, 2.0, 2.0, 1.0, 1.0, NONE];
        let returns = vec![0.01, 0.03, NONE, -0.01, 0.5, 0.5];
        let result = quantile_returns(&table(3, scores), &returns, 2).expect("groups");
        assert_eq!(result[0].days, 2);
        assert!((result[0].mean.expect("mean") - 0.0).abs() < 1e-15);
        // Deviation of (1 %, -1 %) is sqrt(2) %, over sqrt(2) dates: 1 %.
        assert!((result[0].standard_error.expect("error") - 0.01).abs() < 1e-15);
        assert_eq!((result[1].days, result[1].mean, result[1].standard_error), (1, Some(0.03), None));
    }
}
