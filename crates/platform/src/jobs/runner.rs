//! What runs the queued jobs of a registry: one task of the runtime for each job that has a turn, from its preparation
//! to its end.
//!
//! The registry says what is to be done, the launcher what is running: every look at both decides what comes next, so
//! a start after a crash is no case of its own. A stop of the server asks its jobs to end and queues them again; after
//! a crash, jobs that still run are followed again, and jobs that do not are queued again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use artifact::bundle::MANIFEST;
use registry::{Job, JobChange, JobState, MadeVersion, ModelVersion};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use super::batch::{self, BatchInputs, BatchSpec};
use super::launcher::{Launcher, Progress, Stop, Task};
use super::subject::Subject;
use super::work::{self, Attempt, JobInputs, JobSpec, WorkKind};
use super::{Files, log};
use crate::batch_predict::errors_file;
use crate::files::unwritable;
use crate::{
    ArtifactSource, Error, Kind, ModelTexts, Pipeline, Platform, Result, UploadModel, UploadTarget, search,
};

/// How many lines of its log explain a failed job.
const LOG_LINES_SHOWN: usize = 12;
/// A job that could not be followed is looked at again after this.
const RETRY_PAUSE: Duration = Duration::from_secs(1);
/// Without anything to do the queue is looked at this often: another process may have queued something.
const IDLE_PAUSE: Duration = Duration::from_secs(5);

/// How jobs are run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobSettings {
    /// So many run at a time.
    pub max_running: usize,
    /// So many may wait; the next is refused.
    pub max_queued: usize,
    /// A job whose process vanished is started so many times, then it has failed.
    pub max_attempts: u32,
    /// A log is kept to this size, in bytes.
    pub max_log_bytes: u64,
    /// A job that is asked to stop has this long before it is killed.
    pub grace: Duration,
    /// How often a job is looked at.
    pub pause: Duration,
}

impl Default for JobSettings {
    fn default() -> Self {
        Self {
            max_running: 1,
            max_queued: super::QUEUED_MAX,
            max_attempts: 3,
            max_log_bytes: 16 << 20,
            grace: Duration::from_secs(10),
            pause: Duration::from_millis(200),
        }
    }
}

/// What runs jobs, until it is stopped.
#[derive(Debug)]
pub struct JobRunner {
    stop: watch::Sender<bool>,
    running: JoinHandle<()>,
}

impl JobRunner {
    /// Asks the jobs that run to end, kills those that do not in time, queues them again, and ends.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.running.await {
            tracing::error!(%error, "what runs jobs stopped unexpectedly");
        }
    }
}

impl Platform {
    /// Runs queued jobs by a launcher, and goes on with those that an earlier process has left.
    pub fn run_jobs(self: &Arc<Self>, launcher: Arc<dyn Launcher>, settings: JobSettings) -> JobRunner {
        self.jobs.queued_max.store(settings.max_queued, Ordering::Relaxed);
        let (stop, stopping) = watch::channel(false);
        let context =
            Context { platform: Arc::clone(self), launcher, settings: Arc::new(settings), stopping };
        JobRunner { stop, running: tokio::spawn(context.run()) }
    }
}

#[derive(Clone)]
struct Context {
    platform: Arc<Platform>,
    launcher: Arc<dyn Launcher>,
    settings: Arc<JobSettings>,
    stopping: watch::Receiver<bool>,
}

type JobKey = (String, String);

impl Context {
    async fn run(self) {
        let mut turns: JoinSet<JobKey> = JoinSet::new();
        let mut active: BTreeSet<JobKey> = BTreeSet::new();
        let mut stopping = self.stopping.clone();
        loop {
            if let Err(error) = self.take_turns(&mut turns, &mut active).await {
                tracing::error!(%error, "cannot read the queue of jobs");
            }
            let pause = if active.is_empty() { IDLE_PAUSE } else { self.settings.pause };
            tokio::select! {
                Some(ended) = turns.join_next() => match ended {
                    Ok(key) => {
                        active.remove(&key);
                    }
                    // Which one is not told: all are looked at again, and those that run are followed again.
                    Err(error) => {
                        tracing::error!(%error, "following a job stopped unexpectedly");
                        turns.shutdown().await;
                        active.clear();
                    }
                },
                () = tokio::time::sleep(pause) => {}
                () = self.platform.jobs.wake.notified() => {}
                () = asked(&mut stopping) => break,
            }
        }
        while turns.join_next().await.is_some() {}
    }

    /// Gives every job that runs somebody who follows it, and the first that wait their turn.
    async fn take_turns(&self, turns: &mut JoinSet<JobKey>, active: &mut BTreeSet<JobKey>) -> Result<()> {
        let unfinished = self.platform.registry.list_unfinished_jobs().await?;
        let (waiting, begun): (Vec<Job>, Vec<Job>) =
            unfinished.into_iter().partition(|job| job.state == JobState::Queued);
        for job in begun.into_iter().chain(waiting) {
            let key = (job.project.clone(), job.id.clone());
            let has_turn = job.state != JobState::Queued || active.len() < self.settings.max_running;
            if !has_turn || active.contains(&key) {
                continue;
            }
            active.insert(key.clone());
            let turn = Turn::new(self.clone(), job);
            turns.spawn(async move {
                turn.run().await;
                key
            });
        }
        Ok(())
    }
}

/// One job that has its turn.
struct Turn {
    context: Context,
    project: String,
    id: String,
    files: Files,
    /// The byte up to which the journal of a search is recorded.
    recorded: AtomicU64,
}

impl Turn {
    fn new(context: Context, job: Job) -> Self {
        let files = context.platform.job_files(&job.project, &job.id);
        Self { context, project: job.project, id: job.id, files, recorded: AtomicU64::new(0) }
    }

    async fn run(&self) {
        let done = match self.job().await {
            Ok(job) if job.state == JobState::Queued => self.start(job).await,
            Ok(job) => self.take_up(job).await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            tracing::error!(job = self.id, %error, "cannot follow a job; trying again");
            tokio::time::sleep(RETRY_PAUSE).await;
        }
    }

    /// A job whose turn has come.
    async fn start(&self, job: Job) -> Result<()> {
        let job = match self.change(JobChange::Prepare).await {
            Ok(pending) => pending,
            // It was cancelled before its turn.
            Err(error) if error.kind() == Kind::FailedPrecondition => return Ok(()),
            Err(error) => return Err(error.context(format!("job {}", job.id))),
        };
        if self.has_result() {
            // An earlier attempt came to its end, and only the registration is missing.
            return self.succeed().await;
        }
        tracing::info!(job = self.id, attempt = job.attempts, "starting a job");
        let started = self.prepare(&job).await;
        let task = match started {
            Ok(task) => task,
            Err(_) if self.job().await?.state == JobState::Cancelling => {
                return self.change(JobChange::Stop).await.map(|_| ());
            }
            Err(error) => return self.fail(&error.to_string()).await,
        };
        self.follow(&task).await
    }

    /// Brings a pending job to run.
    async fn prepare(&self, job: &Job) -> Result<Task> {
        let directory = self.files.directory();
        std::fs::create_dir_all(directory).map_err(|error| unwritable(directory, &error))?;
        let task = match WorkKind::of(job)? {
            WorkKind::BatchPredict => self.prepare_batch(job).await?,
            kind => self.prepare_pipeline(job, kind).await?,
        };
        let (launcher, starting) = (Arc::clone(&self.context.launcher), task.clone());
        blocking(move || launcher.start(&starting)).await?;
        Ok(task)
    }

    async fn prepare_batch(&self, job: &Job) -> Result<Task> {
        let (platform, spec) = (&self.context.platform, BatchSpec::of(job)?);
        let bundle = platform.place_start(&self.project, &spec.model, &self.files).await?;
        let inputs = match BatchInputs::of(job)? {
            Some(inputs) => inputs,
            None => {
                let settled = platform.settle_batch(&spec, &bundle.manifest).await?;
                self.settle(&settled).await?;
                settled
            }
        };
        Ok(batch::task(platform, self.name(), &self.files, (&spec, &inputs)))
    }

    async fn settle(&self, inputs: &impl serde::Serialize) -> Result<()> {
        let inputs = serde_json::to_value(inputs)
            .map_err(|error| Error::internal("cannot write the inputs of a job", error))?;
        self.change(JobChange::Settle { inputs }).await.map(|_| ())
    }

    async fn prepare_pipeline(&self, job: &Job, kind: WorkKind) -> Result<Task> {
        let spec = JobSpec::of(&job.spec)?;
        let path = self.files.pipeline();
        std::fs::write(&path, &spec.pipeline).map_err(|error| unwritable(&path, &error))?;
        let inputs = match JobInputs::of(&job.inputs)? {
            Some(inputs) => inputs,
            None => {
                let settled = self.context.platform.settle_job(&self.project, kind, &spec).await?;
                self.settle(&settled).await?;
                settled
            }
        };
        if let Some(start) = &spec.from {
            self.context.platform.place_start(&self.project, start, &self.files).await?;
        }
        if kind == WorkKind::Search {
            let pipeline = Pipeline::parse(&spec.pipeline, "pipeline")?;
            let end = self.context.platform.place_trials(&self.project, &pipeline, &self.files).await?;
            self.recorded.store(end, Ordering::Relaxed);
        }
        let attempt = Attempt { kind, spec: &spec, inputs: &inputs };
        Ok(work::task(&self.context.platform, self.name(), &self.files, attempt))
    }

    /// The task of a job that an attempt has settled; none before.
    fn settled(&self, job: &Job) -> Result<Option<Task>> {
        let platform = &self.context.platform;
        let kind = WorkKind::of(job)?;
        if kind == WorkKind::BatchPredict {
            let (spec, inputs) = (BatchSpec::of(job)?, BatchInputs::of(job)?);
            let task = |inputs| batch::task(platform, self.name(), &self.files, (&spec, &inputs));
            return Ok(inputs.map(task));
        }
        let (spec, inputs) = (JobSpec::of(&job.spec)?, JobInputs::of(&job.inputs)?);
        let task = |inputs: &JobInputs| {
            work::task(platform, self.name(), &self.files, Attempt { kind, spec: &spec, inputs })
        };
        Ok(inputs.as_ref().map(task))
    }

    /// A job that an earlier process had begun with.
    async fn take_up(&self, job: Job) -> Result<()> {
        let Some(task) = self.settled(&job)? else {
            // It was being prepared, so nothing runs.
            return self.go_on(&job).await;
        };
        match self.progress(&task).await? {
            Progress::Running => {
                tracing::info!(job = self.id, "following a job that runs already");
                self.follow(&task).await
            }
            Progress::Ended { success: true, .. } => self.succeed().await,
            Progress::Gone if self.has_result() => self.succeed().await,
            Progress::Ended { how, .. } => self.fail(&how).await,
            Progress::Gone => self.go_on(&job).await,
        }
    }

    /// A job that was cut off waits for its turn again, unless somebody wants it stopped or it was cut off too often.
    async fn go_on(&self, job: &Job) -> Result<()> {
        if job.state == JobState::Cancelling {
            return self.change(JobChange::Stop).await.map(|_| ());
        }
        if job.attempts >= self.context.settings.max_attempts {
            let why = format!("its process was cut off in each of {} attempts", job.attempts);
            return self.fail(&why).await;
        }
        self.change(JobChange::Requeue).await.map(|_| ())
    }

    /// Follows what runs to its end.
    async fn follow(&self, task: &Task) -> Result<()> {
        let mut stopping = self.context.stopping.clone();
        let pause = self.context.settings.pause;
        loop {
            // The state is read first: whoever cancels a job that has just ended finds it cancelled.
            let state = self.job().await?.state;
            let progress = self.progress(task).await?;
            log::bound(&task.log, self.context.settings.max_log_bytes)?;
            self.record_trials().await?;
            match (progress, state) {
                (Progress::Running, JobState::Cancelling) => self.stop(task).await?,
                (Progress::Running, JobState::Pending) => self.note_start().await?,
                (Progress::Running, _) => {}
                (_, JobState::Cancelling) => return self.change(JobChange::Stop).await.map(|_| ()),
                (Progress::Ended { success: true, .. }, _) => return self.succeed().await,
                (Progress::Gone, _) if self.has_result() => return self.succeed().await,
                (Progress::Ended { how, .. }, _) => return self.fail(&how).await,
                // It was started by an earlier process, so nobody can tell how it ended.
                (Progress::Gone, _) => return self.go_on(&self.job().await?).await,
            }
            tokio::select! {
                () = tokio::time::sleep(pause) => {}
                () = asked(&mut stopping) => {
                    self.stop(task).await?;
                    return self.go_on_later().await;
                }
            }
        }
    }

    async fn note_start(&self) -> Result<()> {
        match self.change(JobChange::Start).await {
            // It was cancelled meanwhile, which the next look deals with.
            Err(error) if error.kind() == Kind::FailedPrecondition => Ok(()),
            other => other.map(|_| ()),
        }
    }

    /// The server stops, and so has the job.
    async fn go_on_later(&self) -> Result<()> {
        let job = self.job().await?;
        match job.state {
            JobState::Cancelling => self.change(JobChange::Stop).await.map(|_| ()),
            // The next start of the server registers what is there already.
            _ if self.has_result() => Ok(()),
            _ => self.change(JobChange::Requeue).await.map(|_| ()),
        }
    }

    /// Asks the processes to end, and kills what is left of them after the grace.
    async fn stop(&self, task: &Task) -> Result<()> {
        self.signal(task, Stop::Ask).await?;
        let until = tokio::time::Instant::now() + self.context.settings.grace;
        loop {
            if self.progress(task).await? != Progress::Running {
                return Ok(());
            }
            if tokio::time::Instant::now() >= until {
                tracing::warn!(job = self.id, "killing a job that does not stop");
                self.signal(task, Stop::Kill).await?;
            }
            tokio::time::sleep(self.context.settings.pause).await;
        }
    }

    /// Registers the bundle, or hands the answers over, and ends the job.
    async fn succeed(&self) -> Result<()> {
        if self.job().await?.state == JobState::Cancelling {
            return self.change(JobChange::Stop).await.map(|_| ());
        }
        if self.job().await?.state == JobState::Pending {
            self.note_start().await?;
        }
        let made = match self.record_trials().await {
            Ok(()) => self.hand_over().await,
            Err(error) => Err(error),
        };
        let MadeVersion { model, version } = match made {
            Ok(made) => made,
            Err(error) => return self.fail(&format!("its result cannot be registered: {error}")).await,
        };
        tracing::info!(job = self.id, model, version, "a job succeeded");
        let change = JobChange::Succeed { model, version };
        match self.change(change).await {
            // It was cancelled while its result was registered.
            Err(error) if error.kind() == Kind::FailedPrecondition => {
                self.change(JobChange::Stop).await?;
            }
            other => {
                other?;
            }
        }
        // The artifact store has it now, or the staging area.
        for done_with in [self.files.answers(), errors_file(&self.files.answers())] {
            let _ = std::fs::remove_file(done_with);
        }
        for done_with in [self.files.bundle(), self.files.start()] {
            if done_with.exists()
                && let Err(error) = std::fs::remove_dir_all(&done_with)
            {
                tracing::debug!(job = self.id, %error, "cannot remove what a job needs no more");
            }
        }
        Ok(())
    }

    /// Puts the result where others find it.
    async fn hand_over(&self) -> Result<MadeVersion> {
        let job = self.job().await?;
        if WorkKind::of(&job)? == WorkKind::BatchPredict {
            return self.context.platform.publish_batch(&job, &self.files).await;
        }
        let ModelVersion { model, version, .. } = self.register(&job).await?;
        Ok(MadeVersion { model, version })
    }

    /// The version of this job; made now, unless a crash came between the upload and its note.
    async fn register(&self, job: &Job) -> Result<ModelVersion> {
        let platform = &self.context.platform;
        let spec = JobSpec::of(&job.spec)?;
        let subject = Subject::parse(&spec.pipeline)?;
        let model = subject.name().to_owned();
        let of_job = |version: &ModelVersion| version.labels.get("job").is_some_and(|id| *id == self.id);
        match platform.list_model_versions(&self.project, &model).await {
            Ok(versions) => {
                if let Some(known) = versions.into_iter().find(of_job) {
                    return Ok(known);
                }
            }
            Err(error) if error.kind() == Kind::NotFound => {}
            Err(error) => return Err(error),
        }
        let source = ArtifactSource::Path(self.files.bundle());
        let mut request = match (WorkKind::of(job)?, &subject) {
            (WorkKind::Search, Subject::Dataset(pipeline)) => {
                let trials = platform.trials_of_model(&self.project, pipeline).await?;
                search::upload(&self.project, pipeline, source, trials)?
            }
            _ => UploadModel {
                project: self.project.clone(),
                target: UploadTarget::NewOrVersionOf { id: Some(model) },
                about: ModelTexts::default(),
                description: String::new(),
                source,
                aliases: Vec::new(),
                labels: BTreeMap::new(),
                signature: None,
            },
        };
        request.labels.insert("job".to_owned(), self.id.clone());
        platform.upload_model(request).await
    }

    async fn fail(&self, why: &str) -> Result<()> {
        let last = log::tail(&self.files.log(), LOG_LINES_SHOWN)?;
        let mut error = format!("{why}; `bellwether job resume {}` goes on with it", self.id);
        if !last.is_empty() {
            error += &format!("; the end of its log:\n{last}");
        }
        tracing::warn!(job = self.id, why, "a job failed");
        match self.change(JobChange::Fail { error }).await {
            Err(error) if error.kind() == Kind::FailedPrecondition => {
                self.change(JobChange::Stop).await.map(|_| ())
            }
            other => other.map(|_| ()),
        }
    }

    /// Whether the job has written its result, whose manifest comes last.
    fn has_result(&self) -> bool {
        self.files.bundle().join(MANIFEST).is_file() || self.files.answers().is_file()
    }

    /// What its task is found by.
    fn name(&self) -> String {
        format!("{}/{}", self.project, self.id)
    }

    async fn job(&self) -> Result<Job> {
        self.context.platform.get_job(&self.project, &self.id).await
    }

    /// Records what the process of a search has noted since the last look.
    async fn record_trials(&self) -> Result<()> {
        let from = self.recorded.load(Ordering::Relaxed);
        // Only a search has a journal.
        if std::fs::metadata(self.files.trials()).map_or(0, |file| file.len()) <= from {
            return Ok(());
        }
        let spec = JobSpec::of(&self.job().await?.spec)?;
        let pipeline = Pipeline::parse(&spec.pipeline, "pipeline")?;
        let platform = &self.context.platform;
        let end = platform.take_trials(&self.project, &pipeline, &self.files, from).await?;
        self.recorded.store(end, Ordering::Relaxed);
        Ok(())
    }

    async fn change(&self, change: JobChange) -> Result<Job> {
        // Whoever sees that a search has ended sees all of its trials.
        if matches!(change, JobChange::Requeue | JobChange::Stop | JobChange::Fail { .. })
            && let Err(error) = self.record_trials().await
        {
            tracing::error!(job = self.id, %error, "cannot record the trials of a search");
        }
        let platform = &self.context.platform;
        Ok(platform.registry.change_job(&self.project, &self.id, change, platform.now()).await?)
    }

    async fn progress(&self, task: &Task) -> Result<Progress> {
        let (launcher, task) = (Arc::clone(&self.context.launcher), task.clone());
        blocking(move || launcher.progress(&task)).await
    }

    async fn signal(&self, task: &Task, how: Stop) -> Result<()> {
        let (launcher, task) = (Arc::clone(&self.context.launcher), task.clone());
        blocking(move || launcher.stop(&task, how)).await
    }
}

/// Returns once the runner is to stop, or its owner is gone.
async fn asked(stopping: &mut watch::Receiver<bool>) {
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

async fn blocking<T: Send + 'static>(call: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    let done = tokio::task::spawn_blocking(call).await;
    done.map_err(|error| Error::internal("a call of a launcher stopped unexpectedly", error))?
}
