//! Data sets as the registry knows them: a name and the newest snapshot. The bars are elsewhere.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, Result, id};

/// A data set and its newest snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dataset {
    /// The project it belongs to.
    pub project: String,
    /// Its name.
    pub name: String,
    /// The number of the newest snapshot, from 1.
    pub snapshot: u32,
    /// SHA-256 (hex) of the newest snapshot.
    pub digest: String,
    /// When its first snapshot was recorded.
    pub created_at: Timestamp,
    /// When its newest snapshot was recorded.
    pub updated_at: Timestamp,
}

/// A snapshot to record as a data set's newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSnapshot {
    /// The project of the data set.
    pub project: String,
    /// The data set's name.
    pub name: String,
    /// The snapshot's number, from 1.
    pub snapshot: u32,
    /// SHA-256 (hex) of the snapshot.
    pub digest: String,
}

impl NewSnapshot {
    pub(crate) fn check(&self) -> Result<()> {
        id::check_project(&self.project)?;
        id::check_dataset(&self.name)?;
        if self.snapshot == 0 {
            return Err(Error::invalid("snapshot", "snapshot numbers begin at 1, got 0"));
        }
        id::check_digest(&self.digest)
    }

    /// Checks the snapshot against what is recorded now: numbers only grow, and one number is one content.
    pub(crate) fn check_after(&self, newest: Option<&Dataset>) -> Result<()> {
        let Some(newest) = newest else { return Ok(()) };
        let same = newest.snapshot == self.snapshot && newest.digest == self.digest;
        if same || self.snapshot > newest.snapshot {
            return Ok(());
        }
        Err(Error::FailedPrecondition(format!(
            "data set \"{}\" already has snapshot {}; record a new one with a higher number than {}",
            self.name, newest.snapshot, self.snapshot
        )))
    }
}
