//! Cross-validation over parts of time: purged k-fold, and every choice of several parts.

use std::ops::Range;

use super::{Border, Fold, Timeline};
use crate::{Error, Result};

const GROUPS_MAX: usize = 100;
const FOLDS_MAX: usize = 1_000;

/// One fold for each choice of `tested` of the parts, in the order of their numbers.
///
/// Around each tested part a date to fit on is purged if one of its labels reaches the part, or one of the
/// part's reaches it; after the part, and after what its labels reach, `embargo_days` are left out too.
pub(super) fn folds(
    timeline: &Timeline<'_>,
    groups: usize,
    tested: usize,
    embargo_days: usize,
) -> Result<Vec<Fold>> {
    let days = timeline.day_starts();
    let whole = days.len() - 1;
    if !(2..=GROUPS_MAX).contains(&groups) || groups > whole {
        return Err(Error::Split(format!(
            "{whole} days cannot be cut into {groups} parts; give 2 to {} of them",
            GROUPS_MAX.min(whole)
        )));
    }
    if tested == 0 || tested >= groups {
        return Err(Error::Split(format!(
            "split.test_groups must be 1 to {}, one less than there are parts, got {tested}",
            groups - 1
        )));
    }
    let part = |group: usize| days[group * whole / groups]..days[(group + 1) * whole / groups];
    let choices = choices(groups, tested)?;
    choices
        .iter()
        .map(|choice| {
            let parts: Vec<Range<usize>> = choice.iter().map(|group| part(*group)).collect();
            let numbers: Vec<String> = choice.iter().map(|group| (group + 1).to_string()).collect();
            fold(timeline, numbers.join("+"), &parts, embargo_days)
        })
        .collect()
}

fn fold(timeline: &Timeline<'_>, name: String, tested: &[Range<usize>], embargo_days: usize) -> Result<Fold> {
    let test: Vec<usize> = tested.iter().cloned().flatten().collect();
    let mut state = vec![State::Kept; timeline.dates.len()];
    for time in &test {
        state[*time] = State::Tested;
    }
    let mut borders = Vec::new();
    for part in tested {
        let reach = part.clone().map(|time| timeline.ends[time]).max().unwrap_or(part.start);
        let embargoed_to = timeline.days_after(reach.max(part.end - 1) + 1, embargo_days);
        let mut border = Border {
            name: format!("around {} to {}", timeline.dates[part.start], timeline.dates[part.end - 1]),
            purged: Vec::new(),
            embargoed: Vec::new(),
        };
        for (time, state) in state.iter_mut().enumerate().take(embargoed_to) {
            let reaches = time < part.start && timeline.ends[time] >= part.start;
            let reached = time >= part.end && time <= reach;
            if *state == State::Kept && (reaches || time >= part.end) {
                *state = State::LeftOut;
                let list = if reaches || reached { &mut border.purged } else { &mut border.embargoed };
                list.push(timeline.dates[time]);
            }
        }
        borders.push(border);
    }
    let train: Vec<usize> = (0..state.len()).filter(|time| state[*time] == State::Kept).collect();
    if train.is_empty() {
        return Err(Error::Split(format!(
            "fold {name} has nothing to fit on after purge and embargo; use fewer parts, or a shorter embargo"
        )));
    }
    Ok(Fold { name, train, valid: Vec::new(), test, borders })
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Kept,
    Tested,
    LeftOut,
}

/// Every choice of so many parts, in order.
fn choices(groups: usize, tested: usize) -> Result<Vec<Vec<usize>>> {
    let mut all = Vec::new();
    let mut choice: Vec<usize> = (0..tested).collect();
    loop {
        all.push(choice.clone());
        if all.len() > FOLDS_MAX {
            return Err(Error::Split(format!(
                "there are more than {FOLDS_MAX} choices of {tested} parts of {groups}; use fewer"
            )));
        }
        // The last place that can still move moves; those behind it follow.
        let Some(place) = (0..tested).rev().find(|place| choice[*place] < groups - tested + place) else {
            return Ok(all);
        };
        choice[place] += 1;
        for behind in place + 1..tested {
            choice[behind] = choice[behind - 1] + 1;
        }
    }
}

/// The backtest paths of a combinatorial cross-validation: for each path and part the fold that predicts it.
///
/// Every part is tested in as many folds as there are paths; path p takes the p-th of them. A path thus covers
/// all of time once, by models that did not see what they predict.
///
/// # Errors
/// [`Error::Split`] for more than a thousand folds.
pub fn backtest_paths(groups: usize, test_groups: usize) -> Result<Vec<Vec<usize>>> {
    let choices = choices(groups, test_groups.clamp(1, groups.max(1)))?;
    let testing = |group: usize| -> Vec<usize> {
        (0..choices.len()).filter(|fold| choices[*fold].contains(&group)).collect()
    };
    let of_group: Vec<Vec<usize>> = (0..groups).map(testing).collect();
    let paths = of_group.first().map_or(0, Vec::len);
    Ok((0..paths).map(|path| of_group.iter().map(|folds| folds[path]).collect()).collect())
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::{Date, date};
    use proptest::prelude::*;

    use super::super::{SplitConfig, SplitKind, folds};
    use super::*;

    fn dates(count: usize) -> Vec<Date> {
        (0..count).map(|day| date(2020, 1, 1) + (day as i64).days()).collect()
    }

    fn ends(count: usize, horizon: usize) -> Vec<usize> {
        (0..count).map(|time| (time + horizon).min(count - 1)).collect()
    }

    #[test]
    fn each_part_is_tested_once_with_a_gap_on_both_sides() {
        let config = SplitConfig {
            kind: SplitKind::PurgedKFold,
            folds: Some(3),
            embargo_days: 1,
            ..SplitConfig::default()
        };
        let found = folds(&dates(30), &config, &ends(30, 2)).expect("it fits");
        assert_eq!(found[1].test, (10..20).collect::<Vec<_>>());
        // 8 and 9 read into the part; 20 and 21 are read by its labels; 22 is the embargo.
        assert_eq!(found[1].train, (0..8).chain(23..30).collect::<Vec<_>>());
        let border = &found[1].borders[0];
        assert_eq!((border.purged.len(), border.embargoed.len()), (4, 1));
    }

    #[test]
    fn every_choice_of_parts_is_tested_and_paths_cover_all_of_them() {
        let config = SplitConfig {
            kind: SplitKind::Combinatorial,
            groups: Some(6),
            test_groups: Some(2),
            ..SplitConfig::default()
        };
        let found = folds(&dates(120), &config, &ends(120, 2)).expect("it fits");
        assert_eq!((found.len(), found[0].name.as_str(), found[14].name.as_str()), (15, "1+2", "5+6"));
        let paths = backtest_paths(6, 2).expect("few folds");
        assert_eq!(paths.len(), 5, "k / N * C(N, k)");
        for path in &paths {
            for (group, fold) in path.iter().enumerate() {
                assert!(found[*fold].name.split('+').any(|part| part == (group + 1).to_string()));
            }
        }
        let mut first: Vec<usize> = paths.iter().map(|path| path[0]).collect();
        first.dedup();
        assert_eq!(first.len(), 5, "each path has a model of its own for a part");
    }

    #[test]
    fn parts_that_cannot_be_are_refused() {
        let refused = |groups, tested| {
            let timeline = Timeline { dates: &dates(40), ends: &ends(40, 2) };
            super::folds(&timeline, groups, tested, 5).expect_err("it is refused").to_string()
        };
        assert!(refused(1, 1).contains("40 days cannot be cut into 1 parts; give 2 to 40"));
        assert!(refused(4, 4).contains("split.test_groups must be 1 to 3"));
        assert!(refused(20, 10).contains("more than 1000 choices"));
        assert!(refused(40, 30).contains("more than 1000 choices"));
        assert!(refused(5, 4).contains("nothing to fit on"), "all that is left lies in the gaps");
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_label_to_fit_on_knows_what_is_tested(
            horizons in prop::collection::vec(0usize..12, 60..200),
            kind in 0usize..5,
            embargo_days in 0usize..6,
            parts in 2usize..6,
        ) {
            let count = horizons.len();
            let ends: Vec<usize> = horizons.iter().enumerate().map(|(t, h)| (t + h).min(count - 1)).collect();
            let kind = [
                SplitKind::Dates,
                SplitKind::WalkForward,
                SplitKind::Expanding,
                SplitKind::PurgedKFold,
                SplitKind::Combinatorial,
            ][kind];
            let dates = dates(count);
            let mut config = SplitConfig { kind, embargo_days, ..SplitConfig::default() };
            match kind {
                SplitKind::Dates => {
                    let [a, b] = [count / 3, 2 * count / 3];
                    config.train = Some((dates[0], dates[a - 1]));
                    config.valid = Some((dates[a], dates[b - 1]));
                    config.test = Some((dates[b], dates[count - 1]));
                }
                SplitKind::WalkForward | SplitKind::Expanding => {
                    config.train_days = Some(20);
                    config.valid_days = Some(20);
                    config.test_days = Some(20);
                    config.step_days = Some(parts);
                }
                SplitKind::PurgedKFold => config.folds = Some(parts),
                SplitKind::Combinatorial => {
                    config.groups = Some(parts + 1);
                    config.test_groups = Some(2);
                }
            }
            // What is left may be too little; it is never too much.
            let Ok(found) = folds(&dates, &config, &ends) else { return Ok(()) };
            for fold in found {
                for (earlier, later) in [(&fold.train, &fold.valid), (&fold.train, &fold.test), (&fold.valid, &fold.test)] {
                    for t in earlier {
                        for s in later {
                            let overlap = if t < s { ends[*t] >= *s } else { ends[*s] >= *t };
                            prop_assert!(t != s && !overlap, "{kind:?}: {t} and {s}");
                            let gap = t.abs_diff(*s);
                            let after = t > s || !matches!(kind, SplitKind::PurgedKFold | SplitKind::Combinatorial);
                            prop_assert!(!after || gap > embargo_days, "{kind:?}: {t} and {s} are too near");
                        }
                    }
                }
            }
        }
    }
}
