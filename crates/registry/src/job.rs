//! Jobs: work that runs beside the server, and which changes of its state are legal. Who runs it, and what a kind of
//! job does, is not known here.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, id};

/// How many ended jobs of a project are kept unless it is said otherwise; the oldest go first.
pub const MAX_ENDED_JOBS: usize = 1000;
/// What a job says of its failure is cut to this many bytes.
const ERROR_BYTES_MAX: usize = 16 << 10;

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobState {
    /// It waits for its turn.
    Queued,
    /// Its turn has come; it is being prepared and handed to a launcher.
    Pending,
    /// It runs.
    Running,
    /// It has done what it was to do.
    Succeeded,
    /// It ended otherwise.
    Failed,
    /// It is being stopped.
    Cancelling,
    /// It was stopped.
    Cancelled,
}

/// A change of a job's state.
#[derive(Debug, Clone, PartialEq)]
pub enum JobChange {
    /// Its turn has come: one more attempt.
    Prepare,
    /// What it reads is settled, for this attempt and later ones.
    Settle {
        /// The inputs, as the kind of job writes them.
        inputs: Value,
    },
    /// It runs.
    Start,
    /// It waits for its turn again, to go on where it was.
    Requeue,
    /// Somebody wants it stopped.
    Cancel,
    /// It has stopped as wanted.
    Stop,
    /// It made a version of a model, or had one answer.
    Succeed {
        /// The model.
        model: String,
        /// The version.
        version: u32,
    },
    /// It ended otherwise.
    Fail {
        /// Why, and the way out.
        error: String,
    },
}

/// A job to queue.
#[derive(Debug, Clone, PartialEq)]
pub struct NewJob {
    /// The project it belongs to.
    pub project: String,
    /// Its id: 1 to 63 letters, digits, `_` and `-`.
    pub id: String,
    /// What sort of work it is: `train`.
    pub kind: String,
    /// What people call it.
    pub display_name: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// What it is to do, as its kind writes it.
    pub spec: Value,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// The project it belongs to.
    pub project: String,
    /// Its id.
    pub id: String,
    /// What sort of work it is: `train`.
    pub kind: String,
    /// What people call it.
    pub display_name: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// What it is to do, as its kind writes it.
    pub spec: Value,
    /// What its first attempt read, so that later ones read the same; null until then.
    pub inputs: Value,
    /// Where it stands.
    pub state: JobState,
    /// How often it was handed to a launcher.
    pub attempts: u32,
    /// Why it failed; empty if it did not.
    pub error: String,
    /// The version it made; of a batch prediction, the one that answered.
    pub made: Option<MadeVersion>,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it first ran.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When its state last changed.
    pub updated_at: Timestamp,
}

/// The model version a job made, or that answered in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MadeVersion {
    /// The model.
    pub model: String,
    /// The version.
    pub version: u32,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Pending,
        Self::Running,
        Self::Succeeded,
        Self::Failed,
        Self::Cancelling,
        Self::Cancelled,
    ];

    /// Its word, in lower case: `running`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
            Self::Cancelling => "cancelling",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens by itself.
    pub fn has_ended(self) -> bool {
        matches!(self, Self::Succeeded | Self::Failed | Self::Cancelled)
    }

    /// The state of a word.
    pub(crate) fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.word() == word)
    }

    /// The state after a change, if it is legal now.
    pub fn after(self, change: &JobChange) -> Option<Self> {
        use JobState::{Cancelled, Cancelling, Failed, Pending, Queued, Running, Succeeded};
        Some(match (change, self) {
            (JobChange::Prepare, Queued) | (JobChange::Settle { .. }, Pending) => Pending,
            (JobChange::Start, Pending) => Running,
            (JobChange::Requeue, Pending | Running | Failed | Cancelled) => Queued,
            (JobChange::Cancel, Queued) | (JobChange::Stop, Cancelling) => Cancelled,
            (JobChange::Cancel, Pending | Running | Cancelling) => Cancelling,
            (JobChange::Succeed { .. }, Running) => Succeeded,
            (JobChange::Fail { .. }, Pending | Running) => Failed,
            _ => return None,
        })
    }
}

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl JobChange {
    /// What was asked, for an error: `cannot be cancelled`.
    fn passive(&self) -> &'static str {
        match self {
            Self::Prepare => "prepared",
            Self::Settle { .. } => "settled",
            Self::Start => "started",
            Self::Requeue => "queued again",
            Self::Cancel => "cancelled",
            Self::Stop => "stopped",
            Self::Succeed { .. } => "marked as succeeded",
            Self::Fail { .. } => "marked as failed",
        }
    }
}

impl NewJob {
    pub(crate) fn check(&self) -> Result<()> {
        id::check_project(&self.project)?;
        id::check_display_name(&self.display_name)?;
        id::check_labels(&self.labels)?;
        id::check_plain("job", &self.id)?;
        let lower = |b: u8| b.is_ascii_lowercase() || b == b'_';
        if !(1..=id::ID_CHARS_MAX).contains(&self.kind.len()) || !self.kind.bytes().all(lower) {
            return Err(Error::invalid("kind", "a kind of job must be 1 to 63 of a-z and \"_\""));
        }
        Ok(())
    }
}

impl Job {
    /// The job after a change at a time.
    ///
    /// # Errors
    /// [`Error::FailedPrecondition`] naming the state, if it does not allow the change.
    pub fn changed(mut self, change: JobChange, now: Timestamp) -> Result<Self> {
        let Some(state) = self.state.after(&change) else {
            let message = format!("job \"{}\" is {} and cannot be {}", self.id, self.state, change.passive());
            return Err(Error::FailedPrecondition(message));
        };
        self.state = state;
        self.updated_at = now;
        self.ended_at = state.has_ended().then_some(now);
        match change {
            JobChange::Prepare => self.attempts = self.attempts.saturating_add(1),
            JobChange::Settle { inputs } => self.inputs = inputs,
            JobChange::Start => self.started_at = self.started_at.or(Some(now)),
            JobChange::Requeue => self.error.clear(),
            JobChange::Succeed { model, version } => self.made = Some(MadeVersion { model, version }),
            JobChange::Fail { mut error } => {
                error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
                self.error = error;
            }
            JobChange::Cancel | JobChange::Stop => {}
        }
        Ok(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_other_change_is_illegal() {
        let succeed = || JobChange::Succeed { model: "m".to_owned(), version: 1 };
        let fail = || JobChange::Fail { error: "e".to_owned() };
        let settle = || JobChange::Settle { inputs: Value::Null };
        // queued, pending, running, succeeded, failed, cancelling, cancelled; "." is illegal.
        let table: [(JobChange, [&str; 7]); 8] = [
            (JobChange::Prepare, ["pending", ".", ".", ".", ".", ".", "."]),
            (settle(), [".", "pending", ".", ".", ".", ".", "."]),
            (JobChange::Start, [".", "running", ".", ".", ".", ".", "."]),
            (JobChange::Requeue, [".", "queued", "queued", ".", "queued", ".", "queued"]),
            (JobChange::Cancel, ["cancelled", "cancelling", "cancelling", ".", ".", "cancelling", "."]),
            (JobChange::Stop, [".", ".", ".", ".", ".", "cancelled", "."]),
            (succeed(), [".", ".", "succeeded", ".", ".", ".", "."]),
            (fail(), [".", "failed", "failed", ".", ".", ".", "."]),
        ];
        for (change, row) in table {
            for (state, expected) in JobState::ALL.into_iter().zip(row) {
                let after = state.after(&change).map_or(".", JobState::word);
                assert_eq!(after, expected, "{change:?} when {state}");
            }
        }
    }

    #[test]
    fn words_are_read_back() {
        for state in JobState::ALL {
            assert_eq!(JobState::of_word(state.word()), Some(state));
            assert_eq!(serde_json::to_value(state).unwrap(), state.word());
        }
        assert_eq!(JobState::of_word("done"), None);
    }
}
