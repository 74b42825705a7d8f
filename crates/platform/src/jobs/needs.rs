//! Which versions jobs need: those that answer a batch prediction, and those that a training starts from. A version stays as long as a
//! job that needs it waits or runs.

use std::collections::BTreeMap;

use registry::{Job, JobState};

use super::batch::BatchSpec;
use super::start::{StartVersion, is_placed};
use super::work::{JobSpec, WorkKind};
use crate::{Error, Kind, Platform, Result};

/// The version that a job needs, if it needs one.
fn needed(job: &Job) -> Result<Option<StartVersion>> {
    match WorkKind::of(job)? {
        WorkKind::BatchPredict => Ok(Some(BatchSpec::of(job)?.model)),
        WorkKind::Train | WorkKind::Search => Ok(JobSpec::of(&job.spec)?.from),
    }
}

impl Platform {
    /// The jobs that need versions of a model and wait or run, by version, in the order they were queued.
    pub(crate) async fn jobs_by_version(
        &self,
        project: &str,
        model: &str,
    ) -> Result<BTreeMap<u32, Vec<Job>>> {
        let mut jobs: BTreeMap<u32, Vec<Job>> = BTreeMap::new();
        for job in self.registry.list_unfinished_jobs().await? {
            // What is being stopped needs nothing any more.
            if job.project != project || job.state == JobState::Cancelling {
                continue;
            }
            // One that this build cannot read cannot be run by it either, and is no reason to delete nothing.
            if let Ok(Some(version)) = needed(&job)
                && version.model == model
            {
                jobs.entry(version.version).or_default().push(job);
            }
        }
        Ok(jobs)
    }

    /// Refuses to delete versions of a model, all of them or one, that jobs need.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] naming the jobs.
    pub(crate) async fn check_unneeded(
        &self,
        project: &str,
        model: &str,
        version: Option<u32>,
    ) -> Result<()> {
        let jobs = self.jobs_by_version(project, model).await?;
        let needed = jobs.iter().find(|(number, _)| version.is_none_or(|version| version == **number));
        let Some((number, jobs)) = needed else { return Ok(()) };
        let shown = |job: &Job| format!("{} ({}, {})", job.id, job.kind, job.state);
        let shown: Vec<String> = jobs.iter().map(shown).collect();
        let message = format!(
            "version {number} of model \"{model}\" is needed by job {}; wait for its end, cancel it (`bellwether job cancel ID`), or force it, \
             which does so",
            shown.join(", ")
        );
        Err(Error::new(Kind::FailedPrecondition, message))
    }

    /// Cancels the jobs that need a version of a model or, named without one, any version of it; their ids.
    pub(crate) async fn cancel_jobs_of(
        &self,
        project: &str,
        model: &str,
        version: Option<u32>,
    ) -> Result<Vec<String>> {
        let mut cancelled = Vec::new();
        for (number, jobs) in self.jobs_by_version(project, model).await? {
            for job in jobs.into_iter().filter(|_| version.is_none_or(|version| version == number)) {
                match self.cancel_job(project, &job.id).await {
                    Ok(_) => cancelled.push(job.id),
                    // It has ended meanwhile.
                    Err(error) if error.kind() == Kind::FailedPrecondition => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(cancelled)
    }

    /// Refuses to queue a job, or to queue it again, whose version has been deleted. Whoever calls holds the lock of changes until it is
    /// queued.
    ///
    /// # Errors
    /// [`Kind::NotFound`] naming the versions there are.
    pub(super) async fn check_needed(&self, project: &str, version: &StartVersion) -> Result<()> {
        let found = self.get_model(project, &version.to_string()).await?;
        if found.bundle_digest == version.digest {
            return Ok(());
        }
        let message = format!("{version} is another version than when the job was queued; queue a new job");
        Err(Error::new(Kind::FailedPrecondition, message))
    }

    /// The version that a job which has ended needs to go on: none if it has its own copy.
    pub(super) async fn lacks(&self, job: &Job) -> Result<Option<StartVersion>> {
        let Some(version) = needed(job)? else { return Ok(None) };
        let has_copy = is_placed(&self.job_files(&job.project, &job.id), &version).await?;
        Ok(Some(version).filter(|_| !has_copy))
    }
}
