//! Three windows in order: by date, or walking forward.

use std::ops::Range;

use jiff::civil::Date;

use super::{Border, Fold, SplitConfig, SplitKind, Timeline};
use crate::{Error, Result};

/// Cuts dates (ascending) into windows that do not know of each other.
///
/// At each border a date of the earlier window is **purged** if a label of it reaches the later window; of the
/// later window the dates among the first `embargo_days` after the earlier window's end are **embargoed**.
pub(super) fn by_dates(timeline: &Timeline<'_>, config: &SplitConfig) -> Result<Fold> {
    let of = |name: &str, window: Option<(Date, Date)>| {
        window.ok_or_else(|| Error::Split(format!("split.{name} is missing; give its first and last day")))
    };
    let named = [
        ("train", of("train", config.train)?),
        ("valid", of("valid", config.valid)?),
        ("test", of("test", config.test)?),
    ];
    check_order(&named)?;
    let dates = timeline.dates;
    let windows = named.map(|(_, (from, to))| {
        dates.partition_point(|date| *date < from)..dates.partition_point(|date| *date <= to)
    });
    for ((name, (from, to)), window) in named.iter().zip(&windows) {
        if window.is_empty() {
            return Err(Error::Split(empty(name, (*from, *to), dates)));
        }
    }
    cut("dates".to_owned(), timeline, windows, config.embargo_days)
}

/// Purges and embargoes three windows that follow each other, as ranges of time indices.
pub(super) fn cut(
    name: String,
    timeline: &Timeline<'_>,
    mut windows: [Range<usize>; 3],
    embargo_days: usize,
) -> Result<Fold> {
    const NAMES: [&str; 3] = ["train", "valid", "test"];
    let whole = windows.clone();
    let mut borders = Vec::new();
    for earlier in 0..2 {
        let later = earlier + 1;
        // The first label that reaches the later window ends what is kept, whatever later ones do.
        let reaches = |time: &usize| timeline.ends[*time] >= whole[later].start;
        let kept_to = windows[earlier].clone().find(reaches).unwrap_or(windows[earlier].end);
        let embargo_to = timeline.days_after(whole[earlier].end, embargo_days).min(whole[later].end);
        let kept_from = windows[later].start.max(embargo_to);
        borders.push(Border {
            name: format!("{}/{}", NAMES[earlier], NAMES[later]),
            purged: timeline.dates[kept_to..windows[earlier].end].to_vec(),
            embargoed: timeline.dates[windows[later].start..kept_from].to_vec(),
        });
        windows[earlier].end = kept_to;
        windows[later].start = kept_from;
    }
    for (window_name, window) in NAMES.iter().zip(&windows) {
        if window.is_empty() {
            return Err(Error::Split(format!(
                "split.{window_name} holds no date after those whose labels reach the next window are purged and \
                 {embargo_days} days embargoed at its borders; widen it"
            )));
        }
    }
    let [train, valid, test] = windows.map(Iterator::collect);
    Ok(Fold { name, train, valid, test, borders })
}

/// Windows of so many trading days that move forward: rolling, or with a training window that grows.
pub(super) fn walk_forward(timeline: &Timeline<'_>, config: &SplitConfig) -> Result<Vec<Fold>> {
    let need = |name: &str, days: Option<usize>| {
        days.filter(|days| *days > 0).ok_or_else(|| {
            Error::Split(format!("split.{name} is missing; a walk forward needs a number of trading days"))
        })
    };
    let train = need("train_days", config.train_days)?;
    let valid = need("valid_days", config.valid_days)?;
    let test = need("test_days", config.test_days)?;
    let step = config.step_days.map_or(Ok(test), |step| need("step_days", Some(step)))?;
    let days = timeline.day_starts();
    let whole = days.len() - 1;
    if train + valid + test > whole {
        return Err(Error::Split(format!(
            "{train} days to train, {valid} to validate and {test} to test are more than the {whole} of the data"
        )));
    }
    let mut folds = Vec::new();
    // The newest window ends with the data; the others lie whole steps before it.
    let spare = whole - (train + valid + test);
    for offset in (spare % step..=spare).step_by(step) {
        let from = if config.kind == SplitKind::Expanding { 0 } else { offset };
        let borders = [from, offset + train, offset + train + valid, offset + train + valid + test];
        let [from, valid_from, test_from, to] = borders.map(|day| days[day]);
        let name = format!("{}/{}", folds.len() + 1, (spare - spare % step) / step + 1);
        let windows = [from..valid_from, valid_from..test_from, test_from..to];
        folds.push(cut(name, timeline, windows, config.embargo_days)?);
    }
    Ok(folds)
}

fn check_order(named: &[(&str, (Date, Date)); 3]) -> Result<()> {
    for (name, (from, to)) in named {
        if from > to {
            return Err(Error::Split(format!("split.{name} ends on {to}, before it begins on {from}")));
        }
    }
    for pair in named.windows(2) {
        let [(earlier, (from, to)), (later, (next_from, next_to))] = [pair[0], pair[1]];
        if next_from > to {
            continue;
        }
        let how = if next_to < from { "must come after" } else { "overlaps" };
        return Err(Error::Split(format!(
            "split.{later} ({next_from} to {next_to}) {how} split.{earlier} ({from} to {to}); windows go train, \
             valid, test without a shared day"
        )));
    }
    Ok(())
}

fn empty(name: &str, (from, to): (Date, Date), dates: &[Date]) -> String {
    let span = match (dates.first(), dates.last()) {
        (Some(first), Some(last)) => format!("the data spans {first} to {last}"),
        _ => "the data has no date".to_owned(),
    };
    format!("split.{name} ({from} to {to}) holds no date: {span}")
}

#[cfg(test)]
mod tests {
    use jiff::ToSpan;
    use jiff::civil::date;

    use super::super::folds;
    use super::*;

    /// 30 dates: 2020-01-01 to 2020-01-30.
    fn dates() -> Vec<Date> {
        (0..30).map(|i| date(2020, 1, 1) + i.days()).collect()
    }

    fn day(day: i8) -> Date {
        date(2020, 1, day)
    }

    fn config(train: (i8, i8), valid: (i8, i8), test: (i8, i8)) -> SplitConfig {
        let window = |(from, to)| (day(from), day(to));
        SplitConfig {
            train: Some(window(train)),
            valid: Some(window(valid)),
            test: Some(window(test)),
            embargo_days: 3,
            ..SplitConfig::default()
        }
    }

    fn split_by(dates: &[Date], config: &SplitConfig, horizon: usize) -> Result<Fold> {
        let ends: Vec<usize> = (0..dates.len()).map(|time| (time + horizon).min(dates.len() - 1)).collect();
        folds(dates, config, &ends).map(|mut folds| folds.remove(0))
    }

    #[test]
    fn windows_walk_forward_to_the_end_of_the_data() {
        let walk = SplitConfig {
            kind: SplitKind::WalkForward,
            train_days: Some(10),
            valid_days: Some(5),
            test_days: Some(5),
            embargo_days: 1,
            ..SplitConfig::default()
        };
        let ends: Vec<usize> = (0..30).map(|time| (time + 2).min(29)).collect();
        let found = folds(&dates(), &walk, &ends).expect("it fits");
        let spans: Vec<_> =
            found.iter().map(|f| (f.name.as_str(), f.train[0], f.test[0], f.test[3])).collect();
        assert_eq!(spans, [("1/3", 0, 16, 19), ("2/3", 5, 21, 24), ("3/3", 10, 26, 29)]);
        assert_eq!(found[0].train.len(), 8, "two days whose labels reach the validation window are purged");
        let growing = SplitConfig { kind: SplitKind::Expanding, step_days: Some(7), ..walk.clone() };
        let found = folds(&dates(), &growing, &ends).expect("it fits");
        assert!(found.iter().all(|fold| fold.train[0] == 0));
        assert_eq!(found.last().and_then(|fold| fold.test.last()), Some(&29));
        let refused = |config: SplitConfig| folds(&dates(), &config, &ends).expect_err("refused").to_string();
        assert!(
            refused(SplitConfig { train_days: Some(25), ..walk.clone() })
                .contains("more than the 30 of the data")
        );
        assert!(
            refused(SplitConfig { test_days: None, ..walk.clone() }).contains("split.test_days is missing")
        );
        assert!(refused(SplitConfig { folds: Some(3), ..walk }).contains("split.folds does not apply"));
    }

    #[test]
    fn labels_that_reach_the_next_window_are_purged_and_its_start_is_embargoed() {
        let splits = split_by(&dates(), &config((1, 10), (11, 20), (21, 30)), 2).expect("it is in order");
        assert_eq!(splits.train, (0..8).collect::<Vec<_>>());
        assert_eq!(splits.valid, (13..18).collect::<Vec<_>>());
        assert_eq!(splits.test, (23..30).collect::<Vec<_>>());
        assert_eq!(
            splits.borders[0],
            Border {
                name: "train/valid".to_owned(),
                purged: vec![day(9), day(10)],
                embargoed: vec![day(11), day(12), day(13)],
            }
        );
        for last in [splits.train[7], splits.valid[4]] {
            assert!(!splits.valid.contains(&(last + 2)) && !splits.test.contains(&(last + 2)));
        }
    }

    #[test]
    fn a_gap_between_windows_counts_for_both() {
        let splits = split_by(&dates(), &config((1, 8), (11, 20), (24, 30)), 2).expect("it is in order");
        assert_eq!(splits.borders[0].purged, []);
        assert_eq!(splits.borders[0].embargoed, [day(11)]);
        assert_eq!(
            splits.borders[1],
            Border { name: "valid/test".to_owned(), purged: vec![], embargoed: vec![] }
        );
    }

    #[test]
    fn a_long_horizon_reaches_over_a_whole_window() {
        let error =
            split_by(&dates(), &config((1, 3), (4, 20), (21, 30)), 5).expect_err("nothing is left of train");
        assert_eq!(
            error.to_string(),
            "split.train holds no date after those whose labels reach the next window are purged and 3 days embargoed at \
             its borders; widen it"
        );
    }

    #[test]
    fn windows_out_of_order_are_refused() {
        let refusal = |config| split_by(&dates(), &config, 2).expect_err("it is refused").to_string();
        assert_eq!(
            refusal(config((1, 10), (10, 20), (21, 30))),
            "split.valid (2020-01-10 to 2020-01-20) overlaps split.train (2020-01-01 to 2020-01-10); windows go \
             train, valid, test without a shared day"
        );
        assert!(
            refusal(config((1, 10), (21, 30), (11, 20)))
                .contains("split.test (2020-01-11 to 2020-01-20) must")
        );
        assert_eq!(
            refusal(config((10, 1), (11, 20), (21, 30))),
            "split.train ends on 2020-01-01, before it begins on 2020-01-10"
        );
    }

    #[test]
    fn an_empty_window_is_named_with_the_span_of_the_data() {
        let mut late = config((1, 10), (11, 20), (21, 30));
        late.test = Some((date(2021, 1, 1), date(2021, 12, 31)));
        let error = split_by(&dates(), &late, 2).expect_err("no date in 2021");
        assert_eq!(
            error.to_string(),
            "split.test (2021-01-01 to 2021-12-31) holds no date: the data spans 2020-01-01 to 2020-01-30"
        );
    }
}
