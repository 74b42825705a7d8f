//! Training, validation and test windows of time, with purge and embargo at each border.

mod groups;
mod windows;

use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::{Error, Result};

pub use groups::backtest_paths;

/// How time is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SplitKind {
    /// Once, at given days: `train`, `valid`, `test`.
    #[default]
    Dates,
    /// Windows of `train_days`, `valid_days` and `test_days` that move by `step_days` (by the test window if absent).
    WalkForward,
    /// The same with a training window that begins with the data.
    Expanding,
    /// `folds` parts, each tested once by a model of the others.
    PurgedKFold,
    /// `groups` parts, every choice of `test_groups` of them tested by a model of the others (Lopez de Prado,
    /// Advances in Financial Machine Learning, chapter 12).
    Combinatorial,
}

/// How time is cut. Days are trading days of the data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SplitConfig {
    /// How.
    #[serde(default)]
    pub kind: SplitKind,
    /// First and last day to fit on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train: Option<(Date, Date)>,
    /// First and last day to watch the fit by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid: Option<(Date, Date)>,
    /// First and last day to judge the model by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test: Option<(Date, Date)>,
    /// Days left out after each border.
    #[serde(default = "default_embargo_days")]
    pub embargo_days: usize,
    /// Days to fit on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_days: Option<usize>,
    /// Days to watch the fit by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub valid_days: Option<usize>,
    /// Days to judge the model by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_days: Option<usize>,
    /// Days from one window to the next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step_days: Option<usize>,
    /// Parts of a purged k-fold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folds: Option<usize>,
    /// Parts of a combinatorial cross-validation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<usize>,
    /// Parts that are tested at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub test_groups: Option<usize>,
}

fn default_embargo_days() -> usize {
    5
}

impl Default for SplitConfig {
    fn default() -> Self {
        Self {
            kind: SplitKind::Dates,
            train: None,
            valid: None,
            test: None,
            embargo_days: default_embargo_days(),
            train_days: None,
            valid_days: None,
            test_days: None,
            step_days: None,
            folds: None,
            groups: None,
            test_groups: None,
        }
    }
}

/// Time indices of each window after purge and embargo, ascending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fold {
    /// `dates`, `3/7`, or the parts that are tested.
    pub name: String,
    /// To fit on.
    pub train: Vec<usize>,
    /// To watch the fit by; none in a cross-validation.
    pub valid: Vec<usize>,
    /// To judge the model by.
    pub test: Vec<usize>,
    /// What was left out between them.
    pub borders: Vec<Border>,
}

/// What was left out at the border of two windows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Border {
    /// `train/valid`, `valid/test`, or around a tested part.
    pub name: String,
    /// Days whose labels reach into the other window, or the other way.
    pub purged: Vec<Date>,
    /// Days left out after a border.
    pub embargoed: Vec<Date>,
}

/// The times of a panel and how far their labels reach.
struct Timeline<'a> {
    /// The day of each time.
    dates: &'a [Date],
    /// For each time the index of the last time that a label of it reads.
    ends: &'a [usize],
}

impl Timeline<'_> {
    /// Where each day begins, and behind them the number of times.
    fn day_starts(&self) -> Vec<usize> {
        let mut starts: Vec<usize> = (0..self.dates.len())
            .filter(|time| *time == 0 || self.dates[*time] != self.dates[time - 1])
            .collect();
        starts.push(self.dates.len());
        starts
    }

    /// The first time after so many days from `time` on.
    fn days_after(&self, time: usize, days: usize) -> usize {
        let starts = self.day_starts();
        let first = starts.partition_point(|start| *start < time);
        starts.get(first + days).copied().unwrap_or(self.dates.len())
    }
}

/// Cuts the times of a panel, given by their days (ascending), into windows that do not know of each other.
///
/// `ends` says for each time how far its labels reach; see [`crate::Labels::ends`]. Whatever the kind, no label of a
/// date to fit on reads a date that is tested, no label that is tested reads a date to fit on after it, and
/// `embargo_days` are left out after each border.
///
/// # Errors
/// [`Error::Split`] for keys that are missing or do not belong to the kind, windows that end before they begin,
/// overlap or are out of order, and for one that holds no date, before or after purge and embargo.
pub fn folds(dates: &[Date], config: &SplitConfig, ends: &[usize]) -> Result<Vec<Fold>> {
    config.check()?;
    if ends.len() != dates.len() {
        return Err(Error::Split(format!("{} label ends do not fit {} dates", ends.len(), dates.len())));
    }
    let timeline = Timeline { dates, ends };
    match config.kind {
        SplitKind::Dates => Ok(vec![windows::by_dates(&timeline, config)?]),
        SplitKind::WalkForward | SplitKind::Expanding => windows::walk_forward(&timeline, config),
        SplitKind::PurgedKFold => groups::folds(&timeline, config.folds.unwrap_or(5), 1, config.embargo_days),
        SplitKind::Combinatorial => {
            let (groups, tested) = (config.groups.unwrap_or(6), config.test_groups.unwrap_or(2));
            groups::folds(&timeline, groups, tested, config.embargo_days)
        }
    }
}

impl SplitConfig {
    /// Checks that no key belongs to another kind.
    ///
    /// # Errors
    /// [`Error::Split`] naming it.
    pub fn check(&self) -> Result<()> {
        let own: &[&str] = match self.kind {
            SplitKind::Dates => &["train", "valid", "test"],
            SplitKind::WalkForward | SplitKind::Expanding => {
                &["train_days", "valid_days", "test_days", "step_days"]
            }
            SplitKind::PurgedKFold => &["folds"],
            SplitKind::Combinatorial => &["groups", "test_groups"],
        };
        let given = [
            ("train", self.train.is_some()),
            ("valid", self.valid.is_some()),
            ("test", self.test.is_some()),
            ("train_days", self.train_days.is_some()),
            ("valid_days", self.valid_days.is_some()),
            ("test_days", self.test_days.is_some()),
            ("step_days", self.step_days.is_some()),
            ("folds", self.folds.is_some()),
            ("groups", self.groups.is_some()),
            ("test_groups", self.test_groups.is_some()),
        ];
        match given.iter().find(|(key, given)| *given && !own.contains(key)) {
            None => Ok(()),
            Some((key, _)) => Err(Error::Split(format!(
                "split.{key} does not apply to a split of kind {:?}, which takes {}",
                self.kind,
                own.join(", ")
            ))),
        }
    }
}
