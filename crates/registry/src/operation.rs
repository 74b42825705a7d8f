//! Operations: what a change that a client may poll for has come to. All are finished when recorded, well or not.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Error, Result, id};

/// What changes of what an endpoint serves are called.
pub mod verb {
    /// A version is brought into service.
    pub const DEPLOY: &str = "DeployModel";
    /// A deployment is changed in its place.
    pub const REDEPLOY: &str = "MutateDeployedModel";
    /// A deployment is taken out of service.
    pub const UNDEPLOY: &str = "UndeployModel";
    /// Traffic is moved.
    pub const UPDATE: &str = "UpdateEndpoint";
}

/// How many operations of a project are kept; the oldest go first.
pub const MAX_OPERATIONS: usize = 1000;
/// How many of what was changed, or was to be, are kept that failed: whoever tries in vain again and again displaces no others.
pub const MAX_FAILED_OPERATIONS: usize = 20;
/// The most characters of why one failed.
pub const FAILURE_CHARS_MAX: usize = 2000;

/// A finished operation to record.
#[derive(Debug, Clone, PartialEq)]
pub struct NewOperation {
    /// The project it belongs to.
    pub project: String,
    /// What it changed: `models/ID` or `endpoints/ID`.
    pub parent: String,
    /// The verb: `UploadModel`, `DeployModel`, ...
    pub kind: String,
    /// What it has come to.
    pub outcome: OperationOutcome,
}

/// What an operation has come to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OperationOutcome {
    /// What the verb answered.
    Response(Value),
    /// Why nothing has changed.
    Failed(Failure),
}

/// Why something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What sort of failure it is, as Google's APIs call it: `FAILED_PRECONDITION`.
    pub kind: String,
    /// For the user; at most [`FAILURE_CHARS_MAX`] characters.
    pub message: String,
}

/// A change of what an endpoint serves that was begun and came to nothing: what served before goes on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FailedAttempt {
    /// The id of its operation, which may be forgotten before it.
    pub operation: String,
    /// The verb: `DeployModel`, `MutateDeployedModel`, ...
    pub kind: String,
    /// The deployment that did not come into service, by its id.
    pub deployment: String,
    /// Its model.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// Why.
    pub failure: Failure,
    /// When.
    pub failed_at: Timestamp,
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
    /// What it has come to.
    pub outcome: OperationOutcome,
    /// When it was recorded, which is when it finished.
    pub created_at: Timestamp,
}

impl Failure {
    pub(crate) fn check(&self) -> Result<()> {
        let chars = self.message.chars().count();
        if chars <= FAILURE_CHARS_MAX && self.kind.len() <= id::ID_CHARS_MAX {
            return Ok(());
        }
        let message = format!("a failure is told in at most {FAILURE_CHARS_MAX} characters, got {chars}");
        Err(Error::invalid("error", message))
    }
}

impl NewOperation {
    pub(crate) fn check(&self, operation_id: &str) -> Result<()> {
        id::check_project(&self.project)?;
        if let OperationOutcome::Failed(failure) = &self.outcome {
            failure.check()?;
        }
        let plain = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if (1..=id::ID_CHARS_MAX).contains(&operation_id.len()) && operation_id.bytes().all(plain) {
            return Ok(());
        }
        Err(Error::invalid("name", "an operation id must be 1 to 63 letters, digits, \"_\" and \"-\""))
    }
}
