//! Operations: what a change that a client may poll for has come to. All are finished when recorded.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, id};

/// How many operations of a project are kept; the oldest go first.
pub const MAX_OPERATIONS: usize = 1000;

/// A finished operation to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOperation {
    /// The project it belongs to.
    pub project: String,
    /// What it changed: `models/ID` or `endpoints/ID`.
    pub parent: String,
    /// The verb: `UploadModel`, `DeployModel`, ...
    pub kind: String,
    /// What the verb answered.
    pub response: Value,
}

/// A finished operation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Operation {
    /// The project it belongs to.
    pub project: String,
    /// Its id.
    pub id: String,
    /// What it changed: `models/ID` or `endpoints/ID`.
    pub parent: String,
    /// The verb: `UploadModel`, `DeployModel`, ...
    pub kind: String,
    /// What the verb answered.
    pub response: Value,
    /// When it was recorded, which is when it finished.
    pub created_at: Timestamp,
}

impl NewOperation {
    pub(crate) fn check(&self, operation_id: &str) -> Result<()> {
        id::check_project(&self.project)?;
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=id::ID_CHARS_MAX).contains(&operation_id.len()) && operation_id.bytes().all(plain) {
            return Ok(());
        }
        Err(Error::invalid("name", "an operation id must be 1 to 63 letters, digits, \"_\" and \"-\""))
    }
}
