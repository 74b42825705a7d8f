//! Training, validation and test windows of time, with purge and embargo at each border.

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// The windows, each from its first to its last day, both included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// Days to fit on.
    pub train: (Date, Date),
    /// Days to watch the fit by.
    pub valid: (Date, Date),
    /// Days to judge the model by.
    pub test: (Date, Date),
    /// Trading days left out after each border.
    #[serde(default = "default_embargo_days")]
    pub embargo_days: usize,
}

fn default_embargo_days() -> usize {
    5
}

/// Date indices of each window after purge and embargo, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Splits {
    /// To fit on.
    pub train: Vec<usize>,
    /// To watch the fit by.
    pub valid: Vec<usize>,
    /// To judge the model by.
    pub test: Vec<usize>,
    /// What was left out between them.
    pub borders: Vec<Border>,
}

/// What was left out at the border of two windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Border {
    /// `train/valid` or `valid/test`.
    pub name: String,
    /// Last dates of the earlier window, whose labels reach into the later one.
    pub purged: Vec<Date>,
    /// First dates of the later window.
    pub embargoed: Vec<Date>,
}

/// Cuts dates (ascending) into windows that do not know of each other.
///
/// At each border a date of the earlier window is **purged** if its label, which reads up to `horizon_bars`
/// later dates, reaches the later window; of the later window the dates among the first `embargo_days` after
/// the earlier window's end are **embargoed**.
///
/// # Errors
/// [`Error::Split`] for windows that end before they begin, overlap or are out of order, and for one that
/// holds no date, before or after purge and embargo.
pub fn split(panel_dates: &[Date], config: &SplitConfig, horizon_bars: usize) -> Result<Splits> {
    let named = [("train", config.train), ("valid", config.valid), ("test", config.test)];
    check_order(&named)?;
    let [train, valid, test] = named.map(|(_, (from, to))| {
        panel_dates.partition_point(|date| *date < from)..panel_dates.partition_point(|date| *date <= to)
    });
    let mut windows = [train, valid, test];
    for ((name, (from, to)), window) in named.iter().zip(&windows) {
        if window.is_empty() {
            return Err(Error::Split(empty(name, (*from, *to), panel_dates)));
        }
    }
    let whole = windows.clone();
    let mut borders = Vec::new();
    for earlier in 0..2 {
        let later = earlier + 1;
        let purge_from = whole[later].start.saturating_sub(horizon_bars).max(windows[earlier].start);
        let kept_to = windows[earlier].end.min(purge_from);
        let embargo_to = (whole[earlier].end + config.embargo_days).min(whole[later].end);
        let kept_from = windows[later].start.max(embargo_to);
        borders.push(Border {
            name: format!("{}/{}", named[earlier].0, named[later].0),
            purged: panel_dates[kept_to..windows[earlier].end].to_vec(),
            embargoed: panel_dates[windows[later].start..kept_from].to_vec(),
        });
        windows[earlier].end = kept_to;
        windows[later].start = kept_from;
    }
    for ((name, _), window) in named.iter().zip(&windows) {
        if window.is_empty() {
            return Err(Error::Split(format!(
                "split.{name} holds no date after {horizon_bars} days are purged and {} embargoed at its borders; \
                 widen it",
                config.embargo_days
            )));
        }
    }
    let [train, valid, test] = windows.map(|window| window.collect());
    Ok(Splits { train, valid, test, borders })
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
        SplitConfig { train: window(train), valid: window(valid), test: window(test), embargo_days: 3 }
    }

    #[test]
    fn labels_that_reach_the_next_window_are_purged_and_its_start_is_embargoed() {
        let splits = split(&dates(), &config((1, 10), (11, 20), (21, 30)), 2).expect("it is in order");
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
        let splits = split(&dates(), &config((1, 8), (11, 20), (24, 30)), 2).expect("it is in order");
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
            split(&dates(), &config((1, 3), (4, 20), (21, 30)), 5).expect_err("nothing is left of train");
        assert_eq!(
            error.to_string(),
            "split.train holds no date after 5 days are purged and 3 embargoed at its borders; widen it"
        );
    }

    #[test]
    fn windows_out_of_order_are_refused() {
        let refusal = |config| split(&dates(), &config, 2).expect_err("it is refused").to_string();
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
        late.test = (date(2021, 1, 1), date(2021, 12, 31));
        let error = split(&dates(), &late, 2).expect_err("no date in 2021");
        assert_eq!(
            error.to_string(),
            "split.test (2021-01-01 to 2021-12-31) holds no date: the data spans 2020-01-01 to 2020-01-30"
        );
    }
}
