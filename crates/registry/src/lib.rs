//! What an installation remembers: projects, data sets, models and their versions, endpoints and their
//! deployments, finished operations, jobs, studies and their trials, API keys; and which changes of state are legal.
//!
//! [`Store`] is the seam between these rules and a database; [`SqliteStore`] is the one file that needs no
//! server. Deliberately not here: the bytes of artifacts, loaded models, authorisation, the clock (times are
//! arguments).

mod dataset;
mod document;
mod endpoint;
mod error;
pub mod id;
mod job;
mod key;
mod limits;
mod model;
mod operation;
mod store;
mod study;

pub use dataset::{Dataset, NewSnapshot};
pub use endpoint::{
    Deployment, Endpoint, EndpointUpdate, NEW_DEPLOYMENT, NewEndpoint, Residence, TrafficSplit, check_deploy,
    check_redeploy, check_undeploy, check_update,
};
pub use error::Error;
pub use job::{Job, JobChange, JobState, MAX_ENDED_JOBS, MadeVersion, NewJob};
pub use key::{ApiKey, MAX_KEYS, NewKey, Scope};
pub use limits::DeploymentLimits;
pub use model::{
    AliasChange, DEFAULT_ALIAS, ModelTexts, ModelUpdate, ModelVersion, NewVersion, UnfinishedUpload,
    UploadMode, VersionUpdate,
};
pub use operation::{
    FAILURE_CHARS_MAX, FailedAttempt, Failure, MAX_FAILED_OPERATIONS, MAX_OPERATIONS, NewOperation,
    Operation, OperationOutcome, verb,
};
pub use store::Store;
pub use store::sqlite::SqliteStore;
pub use study::{MAX_TRIALS, NewStudy, Study, Trial, TrialCount, TrialEnd, TrialFilter, TrialState};

/// What every call of this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;
