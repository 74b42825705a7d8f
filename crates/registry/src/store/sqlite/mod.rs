//! The registry in one SQLite file.
//!
//! The file is in write-ahead mode with full synchronisation: what a call has returned survives a crash of the
//! process and of the machine. Beside it lie `-wal` and `-shm` while it is open; the three are one database.

mod copy;
mod dataset;
mod endpoint;
mod job;
mod key;
mod lifecycle;
mod open;
mod operation;
mod project;
mod study;
mod version;

use async_trait::async_trait;
use jiff::Timestamp;
use serde_json::Value;
use sqlx::sqlite::{SqlitePool, SqliteRow};
use sqlx::{Row, Sqlite, Transaction};

use crate::store::Store;
use crate::{
    AliasChange, ApiKey, Dataset, Deployment, Endpoint, EndpointUpdate, Error, FailedAttempt, Job, JobChange,
    ModelUpdate, ModelVersion, NewEndpoint, NewJob, NewKey, NewOperation, NewSnapshot, NewStudy, NewVersion,
    Operation, Result, Study, TrafficSplit, Trial, TrialCount, TrialEnd, TrialFilter, UnfinishedUpload,
    UploadMode, VersionUpdate,
};

/// The registry in a SQLite database.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    pool: SqlitePool,
}

impl SqliteStore {
    /// A transaction that may write. It waits for another writer, so that what it reads stays true.
    async fn write(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.pool.begin_with("BEGIN IMMEDIATE").await?)
    }

    /// A transaction that sees one state of the database.
    async fn read(&self) -> Result<Transaction<'static, Sqlite>> {
        Ok(self.pool.begin().await?)
    }
}

fn time(row: &SqliteRow, column: &str) -> Result<Timestamp> {
    Timestamp::from_microsecond(row.try_get(column)?).map_err(Error::unreadable)
}

fn optional_time(row: &SqliteRow, column: &str) -> Result<Option<Timestamp>> {
    let micros: Option<i64> = row.try_get(column)?;
    micros.map(Timestamp::from_microsecond).transpose().map_err(Error::unreadable)
}

/// A list limit as SQLite takes it.
fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

#[async_trait]
impl Store for SqliteStore {
    async fn list_projects(&self) -> Result<Vec<String>> {
        project::list(&self.pool).await
    }

    async fn create_key(&self, new: NewKey, now: Timestamp) -> Result<ApiKey> {
        key::create(self, new, now).await
    }

    async fn list_keys(&self) -> Result<Vec<ApiKey>> {
        key::list(self).await
    }

    async fn revoke_key(&self, id: &str, now: Timestamp) -> Result<ApiKey> {
        key::revoke(self, id, now).await
    }

    async fn put_snapshot(&self, snapshot: NewSnapshot, now: Timestamp) -> Result<Dataset> {
        dataset::put(self, snapshot, now).await
    }

    async fn get_dataset(&self, project: &str, name: &str) -> Result<Dataset> {
        dataset::get(self, project, name).await
    }

    async fn list_datasets(&self, project: &str, after: Option<&str>, limit: usize) -> Result<Vec<Dataset>> {
        dataset::list(self, project, after, limit).await
    }

    async fn reserve_version(
        &self,
        project: &str,
        model: &str,
        mode: UploadMode,
        now: Timestamp,
    ) -> Result<u32> {
        version::reserve(self, (project, model), mode, now).await
    }

    async fn commit_version(
        &self,
        project: &str,
        model: &str,
        version: u32,
        new: NewVersion,
        now: Timestamp,
    ) -> Result<ModelVersion> {
        version::commit(self, (project, model, version), new, now).await
    }

    async fn abandon_version(&self, project: &str, model: &str, version: u32) -> Result<()> {
        version::abandon(self, (project, model, version)).await
    }

    async fn list_uploading(&self) -> Result<Vec<UnfinishedUpload>> {
        version::list_uploading(&self.pool).await
    }

    async fn get_version(&self, project: &str, reference: &str) -> Result<ModelVersion> {
        version::get(self, project, reference).await
    }

    async fn list_models(
        &self,
        project: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<ModelVersion>> {
        version::list_models(self, project, after, limit).await
    }

    async fn list_versions(&self, project: &str, model: &str) -> Result<Vec<ModelVersion>> {
        version::list(self, project, model).await
    }

    async fn change_aliases(
        &self,
        project: &str,
        model: &str,
        version: u32,
        change: AliasChange,
        now: Timestamp,
    ) -> Result<ModelVersion> {
        lifecycle::change_aliases(self, (project, model, version), change, now).await
    }

    async fn update_model(
        &self,
        project: &str,
        model: &str,
        update: ModelUpdate,
        now: Timestamp,
    ) -> Result<ModelVersion> {
        lifecycle::update_model(self, (project, model), update, now).await
    }

    async fn update_version(
        &self,
        project: &str,
        model: &str,
        version: u32,
        update: VersionUpdate,
        now: Timestamp,
    ) -> Result<ModelVersion> {
        lifecycle::update_version(self, (project, model, version), update, now).await
    }

    async fn withdraw_version(&self, project: &str, model: &str, version: u32) -> Result<()> {
        lifecycle::withdraw_version(self, (project, model, version)).await
    }

    async fn withdraw_model(&self, project: &str, model: &str) -> Result<Vec<u32>> {
        lifecycle::withdraw_model(self, project, model).await
    }

    async fn delete_endpoint(&self, project: &str, id: &str) -> Result<()> {
        lifecycle::delete_endpoint(self, project, id).await
    }

    async fn create_endpoint(&self, new: NewEndpoint, now: Timestamp) -> Result<Endpoint> {
        endpoint::create(self, new, now).await
    }

    async fn get_endpoint(&self, project: &str, id: &str) -> Result<Endpoint> {
        let mut transaction = self.read().await?;
        endpoint::get(&mut transaction, project, id).await
    }

    async fn list_endpoints(
        &self,
        project: &str,
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Endpoint>> {
        endpoint::list(self, project, after, limit).await
    }

    async fn list_all_endpoints(&self) -> Result<Vec<Endpoint>> {
        endpoint::list_all(self).await
    }

    async fn update_endpoint(
        &self,
        project: &str,
        id: &str,
        update: EndpointUpdate,
        now: Timestamp,
    ) -> Result<Endpoint> {
        endpoint::update(self, (project, id), update, now).await
    }

    async fn deploy(
        &self,
        project: &str,
        endpoint: &str,
        deployment: Deployment,
        traffic_split: Option<TrafficSplit>,
        now: Timestamp,
    ) -> Result<Endpoint> {
        endpoint::deploy(self, (project, endpoint), (&deployment, traffic_split), now).await
    }

    async fn redeploy(
        &self,
        project: &str,
        endpoint: &str,
        changed: Deployment,
        now: Timestamp,
    ) -> Result<Endpoint> {
        endpoint::redeploy(self, (project, endpoint), &changed, now).await
    }

    async fn undeploy(
        &self,
        project: &str,
        endpoint: &str,
        deployment_id: &str,
        traffic_split: Option<TrafficSplit>,
        now: Timestamp,
    ) -> Result<Endpoint> {
        endpoint::undeploy(self, (project, endpoint), (deployment_id, traffic_split), now).await
    }

    async fn put_failed_attempt(&self, project: &str, endpoint: &str, attempt: FailedAttempt) -> Result<()> {
        endpoint::put_failed_attempt(self, (project, endpoint), &attempt).await
    }

    async fn put_operation(&self, id: &str, new: NewOperation, now: Timestamp) -> Result<Operation> {
        operation::put(self, id, new, now).await
    }

    async fn get_operation(&self, project: &str, id: &str) -> Result<Operation> {
        operation::get(self, project, id).await
    }

    async fn list_operations(&self, project: &str, limit: usize) -> Result<Vec<Operation>> {
        operation::list(self, project, limit).await
    }

    async fn delete_operation(&self, project: &str, id: &str) -> Result<()> {
        operation::delete(self, project, id).await
    }

    async fn create_job(&self, new: NewJob, now: Timestamp) -> Result<Job> {
        job::create(self, new, now).await
    }

    async fn get_job(&self, project: &str, id: &str) -> Result<Job> {
        job::get(self, project, id).await
    }

    async fn list_jobs(
        &self,
        project: &str,
        kinds: &[&str],
        after: Option<&str>,
        limit: usize,
    ) -> Result<Vec<Job>> {
        job::list(self, (project, kinds), after, limit).await
    }

    async fn list_unfinished_jobs(&self) -> Result<Vec<Job>> {
        job::list_unfinished(self).await
    }

    async fn change_job(&self, project: &str, id: &str, change: JobChange, now: Timestamp) -> Result<Job> {
        job::change(self, (project, id), change, now).await
    }

    async fn delete_job(&self, project: &str, id: &str) -> Result<()> {
        job::delete(self, project, id).await
    }

    async fn forget_jobs(&self, project: &str, keep: usize) -> Result<Vec<String>> {
        job::forget(self, project, keep).await
    }

    async fn create_study(&self, new: NewStudy, now: Timestamp) -> Result<Study> {
        study::create(self, new, now).await
    }

    async fn get_study(&self, project: &str, id: &str) -> Result<Study> {
        study::get(self, project, id).await
    }

    async fn list_studies(&self, project: &str, after: Option<&str>, limit: usize) -> Result<Vec<Study>> {
        study::list(self, project, after, limit).await
    }

    async fn start_trial(
        &self,
        project: &str,
        study: &str,
        parameters: Value,
        now: Timestamp,
    ) -> Result<Trial> {
        study::start_trial(self, (project, study), &parameters, now).await
    }

    async fn finish_trial(
        &self,
        project: &str,
        study: &str,
        number: u32,
        end: TrialEnd,
        now: Timestamp,
    ) -> Result<Trial> {
        study::finish_trial(self, (project, study, number), end, now).await
    }

    async fn list_trials(
        &self,
        project: &str,
        study: &str,
        after: Option<u32>,
        limit: usize,
    ) -> Result<Vec<Trial>> {
        study::list_trials(self, (project, study), after, limit).await
    }

    async fn count_trials(&self, project: &str, filter: TrialFilter<'_>) -> Result<TrialCount> {
        study::count_trials(self, project, filter).await
    }

    async fn close(&self) {
        self.pool.close().await;
    }
}
