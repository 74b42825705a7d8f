//! Jobs: work that runs beside the server, each a command line of this program and a row in the registry.
//!
//! A job is queued ([`Platform::submit_job`]) and waits for its turn; [`Platform::run_jobs`] hands it to a
//! [`Launcher`] and follows it to its end. What it writes stays in its directory, `jobs/PROJECT/ID` of the data
//! directory, until the server registers the result. A crash of the job or of the server loses no job: what is in the
//! registry and in the directory is enough to go on.

mod batch;
mod launcher;
mod local;
mod log;
mod needs;
mod runner;
mod start;
mod subject;
mod trials;
mod work;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use registry::{Job, JobChange, JobState, MAX_ENDED_JOBS, NewJob};
use tokio::sync::Notify;

use crate::{Error, Kind, Page, Paged, Platform, Result};

pub use batch::{BatchJob, SubmitBatch, batch_job};
pub use launcher::{Launcher, Progress, Stop, Task};
pub use local::LocalLauncher;
pub use log::LogPart;
pub use runner::{JobRunner, JobSettings};
use work::{JobSpec, WorkKind};

/// How many jobs may wait, unless [`JobSettings`] say otherwise.
const QUEUED_MAX: usize = 100;
/// How often a log that is followed is looked at.
const LOG_PAUSE: Duration = Duration::from_millis(200);

/// A job to queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubmitJob {
    /// The project of the job and of the model it makes.
    pub project: String,
    /// What people call the job; absent: the pipeline's name.
    pub display_name: Option<String>,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
    /// The text of the pipeline file.
    pub pipeline: String,
    /// What is done with it.
    pub work: Work,
}

/// What a job does with its pipeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// Trains it.
    Train {
        /// The version whose weights the fit starts from, `MODEL` or `MODEL@VERSION`; fresh ones if none.
        from: Option<String>,
    },
    /// Tries it with other values, as its section `[search]` says, and trains the best.
    Search,
}

/// A part of a job's log, and where the job stood before it was read: once it has ended, the log is whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobLog {
    /// The text and its place.
    pub part: LogPart,
    /// Where the job stood.
    pub state: JobState,
}

/// The version whose weights a job starts from, `MODEL@VERSION`, if it does not start afresh.
pub fn started_from(job: &Job) -> Option<String> {
    JobSpec::of(&job.spec).ok()?.from.map(|from| from.to_string())
}

/// What callers who queue jobs share with what runs them.
#[derive(Debug)]
pub(crate) struct Queue {
    /// Rings when there is something to do.
    wake: Notify,
    queued_max: AtomicUsize,
    /// Jobs are counted and queued one at a time.
    submitting: tokio::sync::Mutex<()>,
}

impl Default for Queue {
    fn default() -> Self {
        Self {
            wake: Notify::new(),
            queued_max: AtomicUsize::new(QUEUED_MAX),
            submitting: tokio::sync::Mutex::new(()),
        }
    }
}

/// The directory of one job.
#[derive(Debug, Clone)]
pub(crate) struct Files(PathBuf);

impl Files {
    fn directory(&self) -> &Path {
        &self.0
    }

    fn pipeline(&self) -> PathBuf {
        self.0.join("pipeline.toml")
    }

    fn bundle(&self) -> PathBuf {
        self.0.join("bundle")
    }

    /// The bundle whose weights a fit starts from.
    fn start(&self) -> PathBuf {
        self.0.join("from")
    }

    /// What a search has tried, line by line.
    fn trials(&self) -> PathBuf {
        self.0.join("trials.jsonl")
    }

    /// The answers of a batch prediction, which appear once they are whole.
    fn answers(&self) -> PathBuf {
        self.0.join("answers.jsonl")
    }

    /// What a batch prediction came to, written before its answers appear.
    fn report(&self) -> PathBuf {
        self.0.join("report.json")
    }

    fn log(&self) -> PathBuf {
        self.0.join("log.txt")
    }

    fn remove(&self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0)
            && error.kind() != std::io::ErrorKind::NotFound
        {
            tracing::warn!(path = %self.0.display(), %error, "cannot remove the directory of a job");
        }
    }
}

impl Platform {
    /// Queues the training of a pipeline, or a search, whose result becomes a version of the model of the pipeline's name.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what the pipeline says, and for data of another machine; [`Kind::NotFound`] for a
    /// data set, table or version that is not here; [`Kind::PermissionDenied`] for a file the server may not read;
    /// [`Kind::FailedPrecondition`] for a search that another job makes; [`Kind::ResourceExhausted`] if the queue is full.
    pub async fn submit_job(&self, request: SubmitJob) -> Result<Job> {
        let SubmitJob { project, display_name, labels, pipeline, work } = request;
        let (kind, name, from) = match work {
            Work::Train { from } => {
                let (subject, start) = self.check_training(&project, &pipeline, from.as_deref()).await?;
                (WorkKind::Train, subject.name().to_owned(), start)
            }
            Work::Search => (WorkKind::Search, self.check_search(&pipeline).await?.name().to_owned(), None),
        };
        let spec = JobSpec { pipeline, from };
        let new = NewJob {
            project,
            id: self.generated_id(),
            kind: kind.word().to_owned(),
            display_name: display_name.unwrap_or(name),
            labels,
            spec: serde_json::to_value(&spec)
                .map_err(|error| Error::internal("cannot write a job", error))?,
        };
        let _submitting = self.jobs.submitting.lock().await;
        if kind == WorkKind::Search {
            self.check_alone(&new.project, &spec).await?;
        }
        // Nobody deletes the version from here on.
        let _changing = self.changes.lock().await;
        if let Some(from) = &spec.from {
            self.check_needed(&new.project, from).await?;
        }
        self.queue_job(new).await
    }

    /// Queues a job, if there is room; whoever calls holds the lock of submitting.
    async fn queue_job(&self, new: NewJob) -> Result<Job> {
        self.check_queue().await?;
        let job = self.registry.create_job(new, self.now()).await?;
        for id in self.registry.forget_jobs(&job.project, MAX_ENDED_JOBS).await? {
            self.job_files(&job.project, &id).remove();
        }
        self.jobs.wake.notify_one();
        Ok(job)
    }

    /// A job by id.
    ///
    /// # Errors
    /// [`Kind::NotFound`] naming what there is.
    pub async fn get_job(&self, project: &str, id: &str) -> Result<Job> {
        Ok(self.registry.get_job(project, id).await?)
    }

    /// The jobs of a project that make a version, in the order they were queued.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a page that cannot be.
    pub async fn list_jobs(&self, project: &str, page: &Page) -> Result<Paged<Job>> {
        self.list_jobs_of(project, &WorkKind::OF_PIPELINES, page).await
    }

    /// The batch predictions of a project, in the order they were queued.
    ///
    /// # Errors
    /// As [`Platform::list_jobs`].
    pub async fn list_batch_jobs(&self, project: &str, page: &Page) -> Result<Paged<Job>> {
        self.list_jobs_of(project, &[WorkKind::BatchPredict.word()], page).await
    }

    async fn list_jobs_of(&self, project: &str, kinds: &[&str], page: &Page) -> Result<Paged<Job>> {
        let after = page.token.as_deref();
        let items = self.registry.list_jobs(project, kinds, after, page.limit()? + 1).await?;
        Ok(page.cut(items, |job| job.id.clone()))
    }

    /// Takes a job out of the queue, or stops it: it is [`JobState::Cancelling`] until its process has ended.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if it has ended.
    pub async fn cancel_job(&self, project: &str, id: &str) -> Result<Job> {
        self.change_job(project, id, JobChange::Cancel).await
    }

    /// Queues a job again that failed or was cancelled; it goes on from what is in its directory.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if it succeeded or has not ended; [`Kind::NotFound`] if the version it needs has been deleted;
    /// [`Kind::ResourceExhausted`] if the queue is full.
    pub async fn resume_job(&self, project: &str, id: &str) -> Result<Job> {
        let _submitting = self.jobs.submitting.lock().await;
        let job = self.get_job(project, id).await?;
        if !job.state.has_ended() {
            let message = format!("job \"{id}\" is {}; it goes on by itself", job.state);
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        self.check_queue().await?;
        if WorkKind::of(&job)? == WorkKind::Search {
            self.check_alone(project, &JobSpec::of(&job.spec)?).await?;
        }
        let lacking = self.lacks(&job).await?;
        let _changing = self.changes.lock().await;
        if let Some(version) = lacking {
            let checked = self.check_needed(project, &version).await;
            checked.map_err(|error| error.context(format!("job \"{id}\" cannot go on")))?;
        }
        self.change_job(project, id, JobChange::Requeue).await
    }

    /// Removes a job that has ended, with its log and checkpoints. The version it made stays.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if it has not ended.
    pub async fn delete_job(&self, project: &str, id: &str) -> Result<()> {
        self.registry.delete_job(project, id).await?;
        self.job_files(project, id).remove();
        Ok(())
    }

    /// What a job has written to its log from an offset in bytes on. If there is nothing yet and the job has not
    /// ended, waits for up to `wait`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a job that is not there.
    pub async fn job_log(&self, project: &str, id: &str, offset: u64, wait: Duration) -> Result<JobLog> {
        let until = tokio::time::Instant::now() + wait;
        let path = self.job_files(project, id).log();
        loop {
            let state = self.get_job(project, id).await?.state;
            let part = log::read(&path, offset)?;
            if !part.text.is_empty() || state.has_ended() || tokio::time::Instant::now() >= until {
                return Ok(JobLog { part, state });
            }
            tokio::time::sleep(LOG_PAUSE.min(wait)).await;
        }
    }

    pub(crate) fn job_files(&self, project: &str, id: &str) -> Files {
        Files(self.data_dir.join("jobs").join(project).join(id))
    }

    async fn change_job(&self, project: &str, id: &str, change: JobChange) -> Result<Job> {
        let job = self.registry.change_job(project, id, change, self.now()).await?;
        self.jobs.wake.notify_one();
        Ok(job)
    }

    /// Refuses a search that another job makes already: both would try the same.
    async fn check_alone(&self, project: &str, spec: &JobSpec) -> Result<()> {
        let unfinished = self.registry.list_unfinished_jobs().await?;
        let same = |job: &&Job| {
            job.project == project
                && job.kind == WorkKind::Search.word()
                && JobSpec::of(&job.spec).is_ok_and(|other| other.pipeline == spec.pipeline)
        };
        match unfinished.iter().find(same) {
            None => Ok(()),
            Some(job) => {
                let message =
                    format!("job \"{}\" searches this pipeline already; follow or cancel it", job.id);
                Err(Error::new(Kind::FailedPrecondition, message))
            }
        }
    }

    async fn check_queue(&self) -> Result<()> {
        let most = self.jobs.queued_max.load(Ordering::Relaxed);
        let unfinished = self.registry.list_unfinished_jobs().await?;
        let queued = unfinished.iter().filter(|job| job.state == JobState::Queued).count();
        if queued < most {
            return Ok(());
        }
        let message = format!(
            "{queued} jobs are queued, and at most {most} may be; wait, cancel one, or raise --max-queued-jobs at the server"
        );
        Err(Error::new(Kind::ResourceExhausted, message))
    }
}
