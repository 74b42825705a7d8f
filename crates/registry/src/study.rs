//! Studies: searches for a better model, and every trial they made. How a search chooses its trials is not known here.
//!
//! The count of trials is what a deflated Sharpe ratio needs (Bailey and López de Prado, 2014), so nothing takes a
//! trial back.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, id};

/// The most trials of a study.
pub const MAX_TRIALS: u32 = 1_000_000;
/// What a trial says of its failure is cut to this many bytes.
const ERROR_BYTES_MAX: usize = 16 << 10;

/// Where a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TrialState {
    /// It runs, or was cut off.
    Running,
    /// It came to its end.
    Succeeded,
    /// The search gave it up in favour of others.
    Stopped,
    /// It could not be trained.
    Failed,
}

/// How a trial ended.
#[derive(Debug, Clone, PartialEq)]
pub enum TrialEnd {
    /// It came to its end.
    Succeeded {
        /// Its figures.
        metrics: Value,
        /// SHA-256 (hex) of its bundle's manifest, if it was kept.
        bundle_digest: Option<String>,
    },
    /// The search gave it up.
    Stopped {
        /// Its figures so far.
        metrics: Value,
    },
    /// It could not be trained.
    Failed {
        /// Why.
        error: String,
    },
}

/// A study to begin.
#[derive(Debug, Clone, PartialEq)]
pub struct NewStudy {
    /// The project it belongs to.
    pub project: String,
    /// Its id: 1 to 63 letters, digits, `_` and `-`.
    pub id: String,
    /// The model whose pipeline is varied.
    pub model: String,
    /// The data set the trials are trained and judged on.
    pub dataset: String,
    /// What is searched, as the search writes it.
    pub spec: Value,
}

/// A study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// The project it belongs to.
    pub project: String,
    /// Its id.
    pub id: String,
    /// The model whose pipeline is varied.
    pub model: String,
    /// The data set the trials are trained and judged on.
    pub dataset: String,
    /// What is searched, as the search writes it.
    pub spec: Value,
    /// When it began.
    pub created_at: Timestamp,
}

/// One trial of a study.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// The project it belongs to.
    pub project: String,
    /// The study it belongs to.
    pub study: String,
    /// Its number, from 1, in the order trials began.
    pub number: u32,
    /// What was tried.
    pub parameters: Value,
    /// Where it stands.
    pub state: TrialState,
    /// Its figures; null until there are any.
    pub metrics: Value,
    /// SHA-256 (hex) of its bundle's manifest, if it was kept.
    pub bundle_digest: Option<String>,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// Which trials are counted; what is absent is not asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TrialFilter<'a> {
    /// Those of studies of this model.
    pub model: Option<&'a str>,
    /// Those of studies on this data set.
    pub dataset: Option<&'a str>,
}

/// How many trials there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrialCount {
    /// All that began, however they ended.
    pub begun: u64,
    /// Those that came to their end, among which the best was chosen.
    pub succeeded: u64,
}

impl TrialState {
    const ALL: [Self; 4] = [Self::Running, Self::Succeeded, Self::Stopped, Self::Failed];

    /// Its word, in lower case: `running`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Stopped => "stopped",
            Self::Failed => "failed",
        }
    }

    /// The state of a word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }
}

impl NewStudy {
    pub(crate) fn check(&self) -> Result<()> {
        id::check_project(&self.project)?;
        id::check_model(&self.model)?;
        id::check_dataset(&self.dataset)?;
        id::check_plain("study", &self.id)
    }
}

impl Trial {
    /// The trial after its end.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] if it has ended already; [`Error::InvalidArgument`] for a digest that is none.
    pub fn ended(mut self, end: TrialEnd, now: Timestamp) -> Result<Self> {
        if self.state != TrialState::Running {
            let Self { number, study, state, .. } = &self;
            let message = format!(
                "trial {number} of study \"{study}\" has {} already and cannot end again",
                state.word()
            );
            return Err(Error::FailedPrecondition(message));
        }
        self.finished_at = Some(now);
        match end {
            TrialEnd::Succeeded { metrics, bundle_digest } => {
                if let Some(digest) = &bundle_digest {
                    id::check_digest(digest)?;
                }
                (self.state, self.metrics, self.bundle_digest) =
                    (TrialState::Succeeded, metrics, bundle_digest);
            }
            TrialEnd::Stopped { metrics } => (self.state, self.metrics) = (TrialState::Stopped, metrics),
            TrialEnd::Failed { mut error } => {
                error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
                (self.state, self.error) = (TrialState::Failed, error);
            }
        }
        Ok(self)
    }
}
