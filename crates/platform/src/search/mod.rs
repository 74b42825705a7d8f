//! Search: a pipeline tried with other values of its fields, every trial kept in the registry, the best one trained.
//!
//! Trials are judged on validation rows, of every window if the split walks forward; the test window is looked at once,
//! by the model that is trained at the end. How often that was tried is what a deflated Sharpe ratio needs (Bailey and
//! López de Prado 2014), so a trial that was begun is never taken back. A process that does not own the registry notes its
//! trials in a journal, which the owner takes over.

mod journal;
mod record;
mod space;
mod study;
mod trial;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub(crate) use journal::{Head, begin, read};
pub(crate) use record::{study_id, upload};
pub use space::Range;
pub use study::{SearchReport, TrialLine};

use crate::pipeline::Pipeline;
use crate::{Error, Result};

const TRIALS_MAX: usize = 10_000;

/// `[search]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SearchSection {
    /// How trials are chosen.
    pub method: Method,
    /// How many are drawn; all combinations of a grid.
    #[serde(default = "twenty")]
    pub trials: usize,
    /// The figure of validation rows that is compared: `val_loss`, or `val_` and a metric of `[fit]`.
    #[serde(default = "val_loss")]
    pub monitor: String,
    /// Decides what is drawn.
    #[serde(default)]
    pub seed: u64,
    /// Halving: the best one of so many goes on, with so many times the epochs.
    #[serde(default = "three")]
    pub factor: usize,
    /// Halving: the epochs every trial begins with.
    #[serde(default = "one")]
    pub min_epochs: usize,
    /// What is varied: keys of the pipeline file with dots, `"fit.optimizer.learning_rate" = { log_uniform = [1e-4, 1e-2] }`.
    pub space: BTreeMap<String, Range>,
}

/// How trials are chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Every combination of the values listed.
    Grid,
    /// Independent draws (Bergstra and Bengio 2012, "Random Search for Hyper-Parameter Optimization").
    Random,
    /// Draws of which the better ones are fitted for longer (Jamieson and Talwalkar 2016, "Non-stochastic Best Arm
    /// Identification and Hyperparameter Optimization"); each is fitted from the beginning at every rung.
    Halving,
}

/// Checks that a pipeline can be searched, as far as that is known without its data.
///
/// # Errors
/// [`crate::Kind::InvalidArgument`] without a section `[search]`, and for splits without windows in time.
pub(crate) fn check(pipeline: &Pipeline) -> Result<&SearchSection> {
    let Some(section) = &pipeline.search else {
        let message = "the pipeline file has no [search]; say what to vary, or use `bellwether train`";
        return Err(Error::invalid("search", message));
    };
    trial::check_split(pipeline)?;
    Ok(section)
}

fn twenty() -> usize {
    20
}

fn val_loss() -> String {
    "val_loss".to_owned()
}

fn three() -> usize {
    3
}

fn one() -> usize {
    1
}

impl SearchSection {
    /// Checks every value.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] naming the first key whose value cannot be.
    pub(crate) fn check(&self) -> Result<()> {
        if self.space.is_empty() {
            return Err(Error::invalid(
                "search.space",
                "search.space is empty; name at least one field to vary",
            ));
        }
        for (path, range) in &self.space {
            range.check(path, self.method)?;
        }
        let count = match self.method {
            Method::Grid => self.space.values().map(Range::choices).product(),
            Method::Random | Method::Halving => self.trials,
        };
        if !(1..=TRIALS_MAX).contains(&count) {
            let message = format!("the search has {count} trials; it must be 1 to {TRIALS_MAX}");
            return Err(Error::invalid("search.trials", message));
        }
        if self.factor < 2 || self.min_epochs == 0 {
            let message = format!(
                "search.factor is {} and search.min_epochs {}; they must be at least 2 and 1",
                self.factor, self.min_epochs
            );
            return Err(Error::invalid("search.factor", message));
        }
        self.larger_is_better().map(|_| ())
    }

    /// Which way the figure that is compared gets better.
    pub(crate) fn larger_is_better(&self) -> Result<bool> {
        if !self.monitor.starts_with("val_") {
            let message = format!(
                "search.monitor is \"{}\"; trials are compared on validation rows: val_loss, val_rank_ic, ...",
                self.monitor
            );
            return Err(Error::invalid("search.monitor", message));
        }
        training::larger_is_better(&self.monitor).ok_or_else(|| {
            let message = format!(
                "search.monitor is \"{}\", which is no figure of a fit; name val_loss or val_ and a metric of fit.metrics",
                self.monitor
            );
            Error::invalid("search.monitor", message)
        })
    }
}
