//! Proof that nothing looks ahead, as far as it can be given without a model: the leak certificate, static part.
//!
//! Nothing here trusts the code that it checks: features, labels, universes, windows and fits are asked again with
//! the future cut off or changed, and must answer the same. What is checked is a [`Subject`], so that a leak can be
//! planted anywhere.

mod expressions;
mod features;
mod labels;
mod universe;
mod windows;

use std::fmt;

use jiff::civil::DateTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::dataset::Adjustment;
use crate::{FeatureMatrix, Fold, Labels, Panel, Result, Universe};

pub use expressions::{fields_beside, unchecked_features};

/// Offenders that a check names.
const OFFENDERS_MAX: usize = 50;
/// Cells of the panel that features are checked on; of a larger one some instruments are taken.
const CELLS_MAX: usize = 200_000;
/// Points in time at which the future is cut off.
const CUTS: usize = 8;

/// What is to be certified. Each method must be the very code that training and serving use.
pub trait Subject: Sync {
    /// All bars.
    fn panel(&self) -> &Panel;

    /// What was known when the bar at a time was, which is an index into the panel's times.
    ///
    /// # Errors
    /// What reading the data set refuses.
    fn known_at(&self, time: usize) -> Result<Panel> {
        Ok(self.panel().prefix(time + 1))
    }

    /// Names of the features.
    fn feature_names(&self) -> Vec<String>;

    /// All features of a panel: for each one value a cell, time-major, NaN where there is none.
    ///
    /// # Errors
    /// What the features refuse.
    fn features(&self, panel: &Panel) -> Result<Vec<Vec<f32>>>;

    /// The fields that features read from outside: computed elsewhere, by code that cannot be checked. With each
    /// the features that read it.
    fn foreign_fields(&self) -> Vec<(String, Vec<String>)>;

    /// Who is looked at, from a panel.
    ///
    /// # Errors
    /// What the universe refuses.
    fn universe(&self, panel: &Panel) -> Result<Universe>;

    /// The labels of a panel.
    ///
    /// # Errors
    /// What the label refuses.
    fn labels(&self, panel: &Panel) -> Result<Labels>;

    /// The returns behind the labels, without classes and not scaled by what is known at the bar.
    ///
    /// # Errors
    /// What the label refuses.
    fn returns(&self, panel: &Panel) -> Result<Vec<f64>>;

    /// The windows.
    ///
    /// # Errors
    /// What the split refuses.
    fn folds(&self, labels: &Labels) -> Result<Vec<Fold>>;

    /// What is fitted to the rows of a fold before a model is: any text that tells two fits apart.
    ///
    /// # Errors
    /// What the fit refuses.
    fn fitted(&self, rows: &FeatureMatrix, fold: &Fold) -> Result<String>;

    /// How the prices deal with splits and dividends.
    fn adjustment(&self) -> Adjustment;
}

/// What a check came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing was found.
    Passed,
    /// To be looked at; not a leak by itself.
    Warned,
    /// It comes from elsewhere and cannot be checked.
    NotCertified,
    /// A leak.
    Failed,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Warned => "warning",
            Self::NotCertified => "not certified",
            Self::Failed => "FAILED",
        })
    }
}

/// One check.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// `prefix_invariance`, `later_bars_changed`, `price_scale`, `foreign_fields`, `label_window`, `label_entry`,
    /// `universe_known`, `restated_bars`, `purge`, `embargo` or `fit_window`.
    pub name: String,
    /// What it came to.
    pub verdict: Verdict,
    /// What was asked and found, in words.
    pub detail: String,
    /// What was found where: the first 50.
    pub offenders: Vec<Offender>,
}

/// Something that knows what it cannot know, with the evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Offender {
    /// The feature, label, fold or universe.
    pub what: String,
    /// The instrument, if it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// When.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<DateTime>,
    /// What was answered with the future there, and without it or with another one.
    pub evidence: String,
}

/// All checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Certificate {
    /// Of this document.
    pub version: u32,
    /// In the order they were made.
    pub checks: Vec<Check>,
}

impl Certificate {
    /// Whether no check found a leak.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| check.verdict != Verdict::Failed)
    }

    /// The check of a name.
    pub fn check(&self, name: &str) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }

    /// SHA-256, in hexadecimal, of the JSON document.
    pub fn digest(&self) -> String {
        // Plain data with text keys cannot fail.
        hex::encode(Sha256::digest(serde_json::to_vec(self).unwrap_or_default()))
    }
}

/// Makes every check. The same subject gives the same certificate.
///
/// # Errors
/// What the subject refuses on the whole panel; a refusal on a part of it is a finding.
pub fn certify(subject: &dyn Subject) -> Result<Certificate> {
    let whole = subject.panel();
    let sample = sample(whole)?;
    let mut checks = Vec::new();
    let computed = features::Computed::of(subject, &sample)?;
    checks.push(features::prefix_invariance(subject, &computed)?);
    checks.push(features::later_bars_changed(subject, &computed)?);
    checks.push(features::price_scale(subject, &computed)?);
    checks.push(features::foreign_fields(subject));
    let labels = subject.labels(whole)?;
    checks.push(labels::window(subject, &labels)?);
    checks.push(labels::entry(subject, &labels)?);
    checks.extend(universe::checks(subject, &computed)?);
    let folds = subject.folds(&labels)?;
    checks.push(windows::purge(whole, &labels, &folds));
    checks.push(windows::embargo(whole, &folds));
    checks.push(windows::fit_window(subject, &computed, &folds));
    Ok(Certificate { version: 1, checks })
}

/// A panel of as many instruments as can be checked in seconds, evenly chosen.
fn sample(panel: &Panel) -> Result<Panel> {
    let width = panel.instruments().len();
    let kept = (CELLS_MAX / panel.times().len().max(1)).clamp(1, width.max(1));
    if kept >= width {
        return Ok(panel.clone());
    }
    let chosen: Vec<String> =
        (0..kept).map(|place| panel.instruments()[place * width / kept].clone()).collect();
    panel.select(&chosen)
}

/// Times at which the future is cut off: spread over the panel, never the last.
fn cuts(panel: &Panel) -> Vec<usize> {
    let times = panel.times().len();
    let mut cuts: Vec<usize> = (1..=CUTS).map(|part| part * times / (CUTS + 1)).collect();
    cuts.retain(|cut| cut + 1 < times);
    cuts.dedup();
    cuts
}

/// A panel in which every value after a time is another one.
fn with_another_future(panel: &Panel, after: usize) -> Panel {
    let width = panel.instruments().len();
    panel.map(|_, cell, value| if cell / width.max(1) > after { value * factor(cell) } else { value })
}

/// A number between 0.5 and 2 for each cell, the same in every run (SplitMix64, Steele et al. 2014).
fn factor(cell: usize) -> f64 {
    let mut state = (cell as u64).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let uniform = ((state ^ (state >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
    0.5 * 4f64.powf(uniform)
}

/// A check from what was found.
fn found(name: &str, bad: Verdict, asked: String, offenders: Vec<Offender>) -> Check {
    let verdict = if offenders.is_empty() { Verdict::Passed } else { bad };
    let detail = match offenders.len() {
        0 => asked,
        count => format!("{asked}; {count} found otherwise"),
    };
    let offenders = offenders.into_iter().take(OFFENDERS_MAX).collect();
    Check { name: name.to_owned(), verdict, detail, offenders }
}

#[cfg(test)]
mod tests;
