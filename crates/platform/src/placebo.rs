//! What a leak would do to a trained model: the part of the leak certificate that needs one.
//!
//! A model of shuffled labels must know nothing of the test window; a score must say nothing of returns of
//! another time; and a rank IC that is too good to be true raises an alarm.

use std::collections::BTreeMap;

use market::certificate::{Certificate, Check};
use market::ic::{self, IcSummary};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};
use training::{Fit, FitConfig};

use crate::evaluate::Reading;
use crate::prepare::{Prepared, WindowRows};
use crate::{Error, Result};

/// A placebo with a larger t-statistic, either way, is not chance: 1 in 16,000 by chance.
const T_STATISTIC_MAX: f64 = 4.0;
/// A larger mean daily rank IC of the test window raises the alarm: published signals stay below 0.10.
const ALARM_IC: f64 = 0.10;
/// A model of shuffled labels has learned what it can within so many epochs.
const EPOCHS_MAX: usize = 3;
/// Scores are compared with returns so many trading days later; at least half of the window must be left.
const SHIFT_DAYS: usize = 60;

/// What a check of the model came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was found.
    Passed,
    /// A leak, or something no honest model does.
    Failed,
    /// Look again before believing it; never a refusal.
    Alarm,
    /// The window is too short to tell.
    TooShort,
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::Alarm => "ALARM",
            Self::TooShort => "window too short",
        })
    }
}

/// One check of a trained model.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ModelCheck {
    /// `shuffled_labels`, `time_shift` or `test_ic_alarm`.
    pub name: String,
    /// What it came to.
    pub outcome: Outcome,
    /// The daily rank IC it was judged by.
    pub rank_ic: IcSummary,
    /// The finding in words.
    pub detail: String,
}

/// The certificate as stored.
#[derive(Debug, Serialize)]
struct Document<'a> {
    version: &'static str,
    /// What was checked without a model.
    static_checks: &'a [Check],
    /// What was checked with it.
    model_checks: &'a [ModelCheck],
}

/// The checks as a JSON document.
pub(crate) fn document(certificate: &Certificate, model_checks: &[ModelCheck]) -> Result<Vec<u8>> {
    serde_json::to_vec_pretty(&Document { version: "2", static_checks: &certificate.checks, model_checks })
        .map_err(|error| Error::internal("cannot write the leak certificate", error))
}

/// What the checks are made with.
pub(crate) struct Subject<'a> {
    pub(crate) prepared: &'a Prepared,
    /// How the model was fitted.
    pub(crate) fit: &'a Fit<'a>,
    pub(crate) reading: Reading,
    /// The model's score of every test row.
    pub(crate) scores: &'a [f64],
}

/// Runs every check; the same seed gives the same findings.
pub(crate) fn check(subject: &Subject<'_>) -> Result<Vec<ModelCheck>> {
    Ok(vec![shuffled_labels(subject)?, time_shift(subject), test_ic_alarm(subject)])
}

/// Trains the same network on labels shuffled within each date: whatever it then knows of the test window
/// came by a way that is not the labels.
fn shuffled_labels(subject: &Subject<'_>) -> Result<ModelCheck> {
    let Subject { prepared, fit, reading, .. } = subject;
    let order = shuffled(&prepared.train, &mut ChaCha8Rng::seed_from_u64(fit.config.seed));
    let classes: Vec<u32> = order.iter().filter_map(|&row| prepared.train.classes.get(row).copied()).collect();
    let targets: Vec<f32> = order.iter().map(|&row| prepared.train.targets[row]).collect();
    let mut samples = fit.train;
    samples.classes = samples.classes.map(|_| classes.as_slice());
    samples.values = samples.values.map(|_| (targets.as_slice(), 1));
    let short = FitConfig {
        epochs: fit.config.epochs.min(EPOCHS_MAX),
        early_stopping: None,
        reduce_lr_on_plateau: None,
        ..fit.config.clone()
    };
    let placebo = fit.briefly(&short, samples)?;
    let units = placebo.outputs().first().map_or(1, |(_, units)| *units);
    let outputs = placebo.predict(&prepared.test.features);
    let scores = reading.scores(&outputs[0], units);
    let rank_ic = daily(prepared, &scores, &prepared.test.returns);
    Ok(placebo_check("shuffled_labels", rank_ic, "a model trained on labels shuffled within each date"))
}

/// For each row another of its date, whose label it takes.
fn shuffled(rows: &WindowRows, random: &mut ChaCha8Rng) -> Vec<usize> {
    let mut by_date: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, key) in rows.keys.iter().enumerate() {
        by_date.entry(key.date).or_default().push(row);
    }
    let mut order: Vec<usize> = (0..rows.keys.len()).collect();
    for places in by_date.into_values() {
        // Fisher and Yates; a few names a date make the bias of the remainder nothing.
        for left in (1..places.len()).rev() {
            let chosen = random.next_u64() % (left as u64 + 1);
            order.swap(places[left], places[chosen as usize]);
        }
    }
    order
}

/// Compares each score with the return of the same instrument [`SHIFT_DAYS`] test dates later.
fn time_shift(subject: &Subject<'_>) -> ModelCheck {
    let test = &subject.prepared.test;
    let mut dates: Vec<usize> = test.keys.iter().map(|key| key.date).collect();
    dates.sort_unstable();
    dates.dedup();
    if dates.len() < 2 * SHIFT_DAYS {
        return ModelCheck {
            name: "time_shift".to_owned(),
            outcome: Outcome::TooShort,
            rank_ic: ic::summarise(&[], 0),
            detail: format!("the test window has {} dates; {} are needed", dates.len(), 2 * SHIFT_DAYS),
        };
    }
    let earned: BTreeMap<(usize, usize), f64> = test
        .keys
        .iter()
        .zip(&test.returns)
        .map(|(key, value)| ((key.date, key.instrument), *value))
        .collect();
    let later = |date: usize| dates.binary_search(&date).ok().and_then(|at| dates.get(at + SHIFT_DAYS));
    let shifted: Vec<f64> = test
        .keys
        .iter()
        .map(|key| {
            let date = later(key.date).copied().unwrap_or(usize::MAX);
            earned.get(&(date, key.instrument)).copied().unwrap_or(f64::NAN)
        })
        .collect();
    let rank_ic = daily(subject.prepared, subject.scores, &shifted);
    placebo_check(
        "time_shift",
        rank_ic,
        &format!("the scores against returns {SHIFT_DAYS} trading days later"),
    )
}

fn test_ic_alarm(subject: &Subject<'_>) -> ModelCheck {
    let test = &subject.prepared.test;
    let rank_ic = daily(subject.prepared, subject.scores, &test.returns);
    let (outcome, reading) = if rank_ic.mean.abs() > ALARM_IC {
        (Outcome::Alarm, "above what honest signals reach: look for a leak before believing it")
    } else {
        (Outcome::Passed, "within what honest signals reach")
    };
    let detail =
        format!("mean daily rank IC {:+.4} of the test window, {reading} ({ALARM_IC})", rank_ic.mean);
    ModelCheck { name: "test_ic_alarm".to_owned(), outcome, rank_ic, detail }
}

fn placebo_check(name: &str, rank_ic: IcSummary, what: &str) -> ModelCheck {
    let outcome = if !rank_ic.t_newey_west.is_finite() {
        Outcome::TooShort
    } else if rank_ic.t_newey_west.abs() > T_STATISTIC_MAX {
        Outcome::Failed
    } else {
        Outcome::Passed
    };
    let detail = format!(
        "{what}: mean daily rank IC {:+.4}, t-statistic {:+.2} over {} days; beyond {T_STATISTIC_MAX} is no chance",
        rank_ic.mean, rank_ic.t_newey_west, rank_ic.days
    );
    ModelCheck { name: name.to_owned(), outcome, rank_ic, detail }
}

fn daily(prepared: &Prepared, scores: &[f64], returns: &[f64]) -> IcSummary {
    let test = &prepared.test;
    let overlap = overlap(prepared);
    let dates: Vec<usize> = test.keys.iter().map(|key| key.date).collect();
    let values: Vec<f64> =
        ic::rank_ic_by_date(&dates, scores, returns).into_iter().map(|(_, value)| value).collect();
    ic::summarise(&values, overlap)
}

/// With how many later days the return of a day overlaps: it is earned from the day after the decision to the last
/// that the label reads.
pub(crate) fn overlap(prepared: &Prepared) -> usize {
    prepared.labels.horizon_bars.saturating_sub(2)
}

#[cfg(test)]
mod tests {
    use market::RowKey;

    use super::*;

    fn rows(dates: usize, instruments: usize) -> WindowRows {
        let mut rows = WindowRows::default();
        for date in 0..dates {
            for instrument in 0..instruments {
                rows.keys.push(RowKey { date, instrument });
            }
        }
        rows
    }

    #[test]
    fn labels_are_shuffled_within_their_date_alone() {
        let rows = rows(50, 6);
        let found = shuffled(&rows, &mut ChaCha8Rng::seed_from_u64(1));
        let unchanged: Vec<usize> = (0..300).collect();
        assert_ne!(found, unchanged);
        for (date, own) in found.chunks(6).enumerate() {
            let mut own = own.to_vec();
            own.sort_unstable();
            assert_eq!(own, unchanged[6 * date..6 * date + 6]);
        }
    }

    #[test]
    fn a_placebo_that_knows_something_fails() {
        let judged = |daily: &[f64]| placebo_check("p", ic::summarise(daily, 0), "it").outcome;
        let noisy: Vec<f64> = (0..100).map(|day| if day % 2 == 0 { 0.2 } else { -0.2 }).collect();
        assert_eq!(judged(&noisy), Outcome::Passed);
        let leaking: Vec<f64> = noisy.iter().map(|value| value + 0.1).collect();
        assert_eq!(judged(&leaking), Outcome::Failed);
        assert_eq!(judged(&[0.5]), Outcome::TooShort);
    }
}
