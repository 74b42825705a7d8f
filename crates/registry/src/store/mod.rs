//! The seam between the registry and a database.

pub(crate) mod sqlite;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;

use crate::{
    AliasChange, ApiKey, Dataset, Deployment, Endpoint, EndpointUpdate, FailedAttempt, Job, JobChange,
    ModelUpdate, ModelVersion, NewEndpoint, NewJob, NewKey, NewOperation, NewSnapshot, NewStudy, NewVersion,
    Operation, Result, Study, TrafficSplit, Trial, TrialCount, TrialEnd, TrialFilter, UnfinishedUpload,
    UploadMode, VersionUpdate,
};

/// The registry in a database. Every change is one transaction: it happens wholly or not at all, and once a
/// call has returned it survives a crash. Times are stored in microseconds, and what is returned is what is
/// stored. A project comes to be with the first thing in it. Lists are in the order of their keys, byte by byte.
///
/// Errors, unless said otherwise: [`NotFound`](crate::Error::NotFound) naming what there is,
/// [`InvalidArgument`](crate::Error::InvalidArgument) for an id or text that cannot be,
/// [`Internal`](crate::Error::Internal) if the database fails.
#[async_trait]
#[allow(
    clippy::too_many_arguments,
    reason = "a resource's path, the change and the time are one call, as its callers read it"
)]
pub trait Store: Send + Sync {
    /// All projects.
    async fn list_projects(&self) -> Result<Vec<String>>;

    /// Records an API key.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::Error::AlreadyExists) if its id is taken;
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if there are too many.
    async fn create_key(&self, new: NewKey, now: Timestamp) -> Result<ApiKey>;
    /// All API keys, revoked and expired ones too, the oldest first.
    async fn list_keys(&self) -> Result<Vec<ApiKey>>;
    /// Revokes an API key. Revoking it again changes nothing.
    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<ApiKey>;

    /// Records a snapshot as a data set's newest. Recording the newest again changes nothing.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if its number is not above the recorded one's.
    async fn put_snapshot(&self, snapshot: NewSnapshot, now: Timestamp) -> Result<Dataset>;
    /// A data set by name.
    async fn get_dataset(&self, project: &str, name: &str) -> Result<Dataset>;
    /// At most `limit` data sets whose names come after `after`, by name.
    async fn list_datasets(&self, project: &str, after: Option<&str>, limit: usize) -> Result<Vec<Dataset>>;

    /// Reserves the next version number of a model. The version is not visible until it is committed.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::Error::AlreadyExists) and [`NotFound`](crate::Error::NotFound) as `mode` says.
    async fn reserve_version(
        &self,
        project: &str,
        model: &str,
        mode: UploadMode,
        now: Timestamp,
    ) -> Result<u32>;
    /// Registers a reserved version, whose artifact is now whole. A model's first gets the alias `default`, and says what is said of the
    /// model.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if the number is not reserved.
    async fn commit_version(
        &self,
        project: &str,
        model: &str,
        version: u32,
        new: NewVersion,
        now: Timestamp,
    ) -> Result<ModelVersion>;
    /// Gives a reserved number back; a number that is not reserved stays as it is.
    async fn abandon_version(&self, project: &str, model: &str, version: u32) -> Result<()>;
    /// All numbers that are reserved: after a start, uploads that were cut short.
    async fn list_uploading(&self) -> Result<Vec<UnfinishedUpload>>;
    /// A version by `model` (its default), `model@number` or `model@alias`.
    async fn get_version(&self, project: &str, reference: &str) -> Result<ModelVersion>;
    /// The default versions of at most `limit` models whose ids come after `after`, by id.
    async fn list_models(
        &self,
        project: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ModelVersion>>;
    /// All versions of a model, oldest first.
    async fn list_versions(&self, project: &str, model: &str) -> Result<Vec<ModelVersion>>;

    /// Gives and takes aliases of a version.
    ///
    /// # Errors
    /// [`NotFound`](crate::Error::NotFound) for an alias to take that it does not have.
    async fn change_aliases(
        &self,
        project: &str,
        model: &str,
        version: u32,
        change: AliasChange,
        now: Timestamp,
    ) -> Result<ModelVersion>;
    /// Changes what is said of a model; its default version.
    ///
    /// # Errors
    /// [`Aborted`](crate::Error::Aborted) if it has changed since the etag given was read.
    async fn update_model(
        &self,
        project: &str,
        model: &str,
        update: ModelUpdate,
        now: Timestamp,
    ) -> Result<ModelVersion>;
    /// Changes what is said of a version.
    ///
    /// # Errors
    /// [`Aborted`](crate::Error::Aborted) if it has changed since the etag given was read.
    async fn update_version(
        &self,
        project: &str,
        model: &str,
        version: u32,
        update: VersionUpdate,
        now: Timestamp,
    ) -> Result<ModelVersion>;
    /// Takes a version out of sight: it is then as one whose upload was never finished, and
    /// [`Store::abandon_version`] forgets it once its files are gone. Its number is not used again.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if it is deployed or the default.
    async fn withdraw_version(&self, project: &str, model: &str, version: u32) -> Result<()>;
    /// Does so with all versions of a model, and says which they were.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if one is deployed.
    async fn withdraw_model(&self, project: &str, model: &str) -> Result<Vec<u32>>;

    /// Removes an endpoint.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if something is deployed on it.
    async fn delete_endpoint(&self, project: &str, id: &str) -> Result<()>;
    /// Makes an endpoint.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::Error::AlreadyExists).
    async fn create_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<Endpoint>;
    /// An endpoint by id.
    async fn get_endpoint(&self, project: &str, id: &str) -> Result<Endpoint>;
    /// At most `limit` endpoints whose ids come after `after`, by id.
    async fn list_endpoints(&self, project: &str, after: Option<&str>, limit: usize)
    -> Result<Vec<Endpoint>>;
    /// All endpoints of all projects, by project and id.
    async fn list_all_endpoints(&self) -> Result<Vec<Endpoint>>;
    /// Changes an endpoint as [`check_update`](crate::check_update) allows.
    ///
    /// # Errors
    /// [`Aborted`](crate::Error::Aborted) if it has changed since the etag given was read.
    async fn update_endpoint(
        &self,
        project: &str,
        id: &str,
        update: EndpointUpdate,
        now: Timestamp,
    ) -> Result<Endpoint>;
    /// Adds a deployment as [`check_deploy`](crate::check_deploy) allows; its version must be registered.
    async fn deploy(
        &self,
        project: &str,
        endpoint: &str,
        deployment: Deployment,
        traffic_split: Option<TrafficSplit>,
        now: Timestamp,
    ) -> Result<Endpoint>;
    /// Replaces a deployment as [`check_redeploy`](crate::check_redeploy) allows; its place and its traffic stay.
    async fn redeploy(
        &self,
        project: &str,
        endpoint: &str,
        changed: Deployment,
        now: Timestamp,
    ) -> Result<Endpoint>;
    /// Removes a deployment as [`check_undeploy`](crate::check_undeploy) allows.
    async fn undeploy(
        &self,
        project: &str,
        endpoint: &str,
        deployment_id: &str,
        traffic_split: Option<TrafficSplit>,
        now: Timestamp,
    ) -> Result<Endpoint>;

    /// Remembers the newest change of what an endpoint serves that came to nothing, in the place of the one before. It is forgotten when
    /// a deployment is added or replaced; one that was to move traffic also when traffic moves or a deployment is removed. This is no
    /// change of the endpoint: its etag stays. Nothing is remembered of an endpoint that is no more.
    async fn put_failed_attempt(&self, project: &str, endpoint: &str, attempt: FailedAttempt) -> Result<()>;

    /// Records a finished operation; beyond [`MAX_OPERATIONS`](crate::MAX_OPERATIONS) the project's oldest go, and of those that failed,
    /// the oldest of the same parent beyond [`MAX_FAILED_OPERATIONS`](crate::MAX_FAILED_OPERATIONS).
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::Error::AlreadyExists).
    async fn put_operation(&self, id: &str, new: NewOperation, now: Timestamp) -> Result<Operation>;
    /// An operation by id.
    async fn get_operation(&self, project: &str, id: &str) -> Result<Operation>;
    /// The newest `limit` operations, newest first.
    async fn list_operations(&self, project: &str, limit: usize) -> Result<Vec<Operation>>;

    /// Forgets an operation.
    async fn delete_operation(&self, project: &str, id: &str) -> Result<()>;

    /// Queues a job.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::Error::AlreadyExists).
    async fn create_job(&self, new: NewJob, now: Timestamp) -> Result<Job>;
    /// A job by id.
    async fn get_job(&self, project: &str, id: &str) -> Result<Job>;
    /// At most `limit` jobs of these kinds (of any, if none is named) whose ids come after `after`, by id.
    async fn list_jobs(
        &self,
        project: &str,
        kinds: &[&str],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Job>>;
    /// The jobs of all projects that have not ended, in the order they were queued.
    async fn list_unfinished_jobs(&self) -> Result<Vec<Job>>;
    /// Changes a job's state as [`JobState::after`](crate::JobState::after) allows.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if it does not.
    async fn change_job(&self, project: &str, id: &str, change: JobChange, now: Timestamp) -> Result<Job>;
    /// Removes a job that has ended.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if it has not.
    async fn delete_job(&self, project: &str, id: &str) -> Result<()>;
    /// Removes the jobs of a project that ended first, all but the newest `keep`, and gives their ids.
    async fn forget_jobs(&self, project: &str, keep: usize) -> Result<Vec<String>>;

    /// Begins a study.
    ///
    /// # Errors
    /// [`AlreadyExists`](crate::Error::AlreadyExists).
    async fn create_study(&self, new: NewStudy, now: Timestamp) -> Result<Study>;
    /// A study by id.
    async fn get_study(&self, project: &str, id: &str) -> Result<Study>;
    /// At most `limit` studies whose ids come after `after`, by id.
    async fn list_studies(&self, project: &str, after: Option<&str>, limit: usize) -> Result<Vec<Study>>;
    /// Begins a study's next trial and gives it its number.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) beyond [`MAX_TRIALS`](crate::MAX_TRIALS).
    async fn start_trial(
        &self,
        project: &str,
        study: &str,
        parameters: Value,
        now: Timestamp,
    ) -> Result<Trial>;
    /// Records how a trial ended.
    ///
    /// # Errors
    /// [`FailedPrecondition`](crate::Error::FailedPrecondition) if it has ended already.
    async fn finish_trial(
        &self,
        project: &str,
        study: &str,
        number: u32,
        end: TrialEnd,
        now: Timestamp,
    ) -> Result<Trial>;
    /// At most `limit` trials of a study whose numbers come after `after`, by number.
    async fn list_trials(
        &self,
        project: &str,
        study: &str,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Trial>>;
    /// How many trials a project has, of all studies or of those of a model or data set.
    async fn count_trials(&self, project: &str, filter: TrialFilter<'_>) -> Result<TrialCount>;

    /// Waits for what is under way and lets go of the database.
    async fn close(&self);
}
