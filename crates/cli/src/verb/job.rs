//! `job list|show|logs|cancel|resume|delete`: the same output from a server and from the data directory. What is queued
//! runs while a server holds the directory.

use std::time::Duration;

use platform::jobs::started_from;
use platform::{Error, Job, JobState, Page};
use serde::Serialize;

use crate::args::job::{JobIdArgs, JobLogsArgs};
use crate::client::job::JobResource;
use crate::client::resource::last_segment;
use crate::context::{Backend, Context};
use crate::interrupt::interrupted;
use crate::output::{Column, Output, Show, note, pairs, print, printable, table};

/// The kind of a batch prediction.
const BATCH: &str = "batch_predict";

/// A job.
#[derive(Debug, Serialize)]
pub(crate) struct JobView {
    job: String,
    display_name: String,
    kind: String,
    state: String,
    attempts: u32,
    created_at: String,
    started_at: Option<String>,
    ended_at: Option<String>,
    dataset: Option<String>,
    snapshot: Option<u32>,
    table: Option<String>,
    from: Option<String>,
    model: Option<String>,
    version: Option<String>,
    error: Option<String>,
}

impl From<Job> for JobView {
    fn from(job: Job) -> Self {
        let input = |key: &str| job.inputs.get(key);
        let text = |key: &str| input(key).and_then(|name| name.as_str()).map(str::to_owned);
        Self {
            dataset: text("dataset"),
            table: text("table"),
            from: started_from(&job),
            snapshot: input("snapshot").and_then(serde_json::Value::as_u64).and_then(|n| n.try_into().ok()),
            job: job.id,
            display_name: job.display_name,
            kind: job.kind,
            state: job.state.word().to_owned(),
            attempts: job.attempts,
            created_at: job.created_at.to_string(),
            started_at: job.started_at.map(|at| at.to_string()),
            ended_at: job.ended_at.map(|at| at.to_string()),
            version: job.made.as_ref().map(|made| made.version.to_string()),
            model: job.made.map(|made| made.model),
            error: Some(job.error).filter(|error| !error.is_empty()),
        }
    }
}

impl From<JobResource> for JobView {
    fn from(job: JobResource) -> Self {
        Self {
            job: last_segment(&job.name).to_owned(),
            display_name: job.display_name,
            kind: job.metadata.kind,
            state: state_word(&job.state),
            attempts: job.metadata.attempts,
            created_at: job.create_time,
            started_at: job.start_time,
            ended_at: job.end_time,
            dataset: job.metadata.dataset,
            snapshot: job.metadata.snapshot,
            table: job.metadata.table,
            from: job.metadata.from,
            model: job.metadata.model.map(|name| last_segment(&name).to_owned()),
            version: job.metadata.model_version_id,
            error: job.error.map(|error| error.message),
        }
    }
}

/// `JOB_STATE_RUNNING` as `running`.
fn state_word(state: &str) -> String {
    state.trim_start_matches("JOB_STATE_").to_ascii_lowercase()
}

fn has_ended(word: &str) -> bool {
    JobState::ALL.into_iter().any(|state| state.word() == word && state.has_ended())
}

impl JobView {
    fn made(&self) -> Option<String> {
        Some(format!("{}@{}", self.model.as_ref()?, self.version.as_ref()?))
    }

    fn trained_on(&self) -> Option<String> {
        match (&self.dataset, self.snapshot, &self.table) {
            (Some(dataset), Some(snapshot), _) => Some(format!("{dataset}@{snapshot}")),
            (_, _, table) => table.clone(),
        }
    }
}

impl Show for JobView {
    fn text(&self) -> String {
        let lines = [
            ("job", Some(self.job.clone())),
            ("name", Some(self.display_name.clone())),
            ("kind", Some(self.kind.clone())),
            ("state", Some(self.state.clone())),
            ("attempts", Some(self.attempts.to_string())),
            ("data", self.trained_on()),
            ("from", self.from.clone()),
            ("queued", Some(self.created_at.clone())),
            ("started", self.started_at.clone()),
            ("ended", self.ended_at.clone()),
            (if self.kind == BATCH { "answered by" } else { "made" }, self.made()),
            ("error", self.error.clone()),
        ];
        pairs(lines.into_iter().filter_map(|(name, value)| Some((name, value?))))
    }
}

/// A job just queued.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct QueuedView {
    job: JobView,
    #[serde(skip)]
    server: String,
}

impl QueuedView {
    /// A job queued at a server.
    pub(crate) fn new(job: JobView, server: &str) -> Self {
        Self { job, server: server.to_owned() }
    }
}

impl Show for QueuedView {
    fn text(&self) -> String {
        let id = &self.job.job;
        format!("queued job {id}\nnext: bellwether job logs {id} --follow --server {}\n", self.server)
    }
}

#[derive(Debug, Serialize)]
struct JobsView {
    jobs: Vec<JobView>,
}

impl Show for JobsView {
    fn text(&self) -> String {
        if self.jobs.is_empty() {
            return "no jobs yet: bellwether train PIPELINE.toml --server URL (or search)\n".to_owned();
        }
        let columns = [
            Column::Text("job"),
            Column::Text("name"),
            Column::Text("kind"),
            Column::Text("state"),
            Column::Text("queued"),
            Column::Text("data"),
            Column::Text("made"),
        ];
        let rows = self.jobs.iter().map(|job| {
            vec![
                job.job.clone(),
                job.display_name.clone(),
                job.kind.clone(),
                job.state.clone(),
                job.created_at.chars().take(19).collect(),
                job.trained_on().unwrap_or_default(),
                job.made().unwrap_or_default(),
            ]
        });
        table(&columns, rows)
    }
}

/// A job's log.
#[derive(Debug, Serialize)]
struct LogView {
    job: String,
    state: String,
    text: String,
}

impl Show for LogView {
    fn text(&self) -> String {
        printable(&self.text)
    }
}

#[derive(Debug, Serialize)]
struct DeletedView {
    deleted: String,
}

impl Show for DeletedView {
    fn text(&self) -> String {
        format!("deleted job {}\n", self.deleted)
    }
}

/// `job list`
pub(crate) async fn list(context: &Context) -> Result<(), Error> {
    let jobs = match context.backend().await? {
        Backend::Server(client) => client.list_jobs().await?.into_iter().map(JobView::from).collect(),
        Backend::Local(platform) => {
            let mut page = Page { size: platform::PAGE_SIZE_MAX, token: None };
            let mut jobs = Vec::new();
            for batches in [false, true] {
                loop {
                    let found = if batches {
                        platform.list_batch_jobs(context.project(), &page).await?
                    } else {
                        platform.list_jobs(context.project(), &page).await?
                    };
                    jobs.extend(found.items.into_iter().map(JobView::from));
                    page.token = found.next_token;
                    if page.token.is_none() {
                        break;
                    }
                }
            }
            jobs.sort_by(|a, b| a.job.cmp(&b.job));
            jobs
        }
    };
    context.output.show(&JobsView { jobs })
}

/// `job show`
pub(crate) async fn show(context: &Context, args: &JobIdArgs) -> Result<(), Error> {
    let backend = context.backend().await?;
    context.output.show(&find(context, &backend, &args.id).await?)
}

/// `job cancel`
pub(crate) async fn cancel(context: &Context, args: &JobIdArgs) -> Result<(), Error> {
    let backend = context.backend().await?;
    match &backend {
        Backend::Server(client) => client.cancel_job(&args.id).await?,
        Backend::Local(platform) => {
            platform.cancel_job(context.project(), &args.id).await?;
        }
    }
    context.output.show(&find(context, &backend, &args.id).await?)
}

/// `job resume`
pub(crate) async fn resume(context: &Context, args: &JobIdArgs) -> Result<(), Error> {
    let view: JobView = match context.backend().await? {
        Backend::Server(client) => client.resume_job(&args.id).await?.into(),
        Backend::Local(platform) => {
            let job = platform.resume_job(context.project(), &args.id).await?;
            note("it waits until a server holds the data directory: bellwether serve");
            job.into()
        }
    };
    context.output.show(&view)
}

/// `job delete`
pub(crate) async fn delete(context: &Context, args: JobIdArgs) -> Result<(), Error> {
    match context.backend().await? {
        Backend::Server(client) => client.delete_job(&args.id).await?,
        Backend::Local(platform) => platform.delete_job(context.project(), &args.id).await?,
    }
    context.output.show(&DeletedView { deleted: args.id })
}

/// `job logs`
pub(crate) async fn logs(context: &Context, args: &JobLogsArgs) -> Result<(), Error> {
    let backend = context.backend().await?;
    if args.follow && matches!(backend, Backend::Local(_)) {
        let message = "nothing runs while this process holds the data directory; follow the log at a server with --server";
        return Err(Error::invalid("--follow", message));
    }
    let read_all = read_log(context, &backend, args);
    let view = tokio::select! {
        read = read_all => read?,
        () = context.interrupt.wait() => return Err(interrupted()),
    };
    match context.output {
        Output::Json => context.output.show(&view),
        Output::Human => {
            if args.follow {
                note(&format!("job {} {}", view.job, view.state));
            }
            Ok(())
        }
    }
}

/// Reads a log to its end: of today, or of the job. For a person each part is printed as it comes.
async fn read_log(context: &Context, backend: &Backend, args: &JobLogsArgs) -> Result<LogView, Error> {
    let mut view = LogView { job: args.id.clone(), state: String::new(), text: String::new() };
    let mut offset = 0;
    loop {
        let (text, next) = match backend {
            Backend::Server(client) => {
                let part = client.job_log(&args.id, offset, args.follow).await?;
                view.state = state_word(&part.state);
                let next = part.next_offset.parse().map_err(|error| {
                    Error::internal(format!("the server answered offset \"{}\"", part.next_offset), error)
                })?;
                (part.text, next)
            }
            Backend::Local(platform) => {
                let log = platform.job_log(context.project(), &args.id, offset, Duration::ZERO).await?;
                view.state = log.state.word().to_owned();
                (log.part.text, log.part.next_offset)
            }
        };
        let at_the_end = text.is_empty();
        match context.output {
            Output::Human => print(&printable(&text)),
            Output::Json => view.text += &text,
        }
        if at_the_end && (!args.follow || has_ended(&view.state)) {
            return Ok(view);
        }
        offset = next;
    }
}

async fn find(context: &Context, backend: &Backend, id: &str) -> Result<JobView, Error> {
    Ok(match backend {
        Backend::Server(client) => client.get_job(id).await?.into(),
        Backend::Local(platform) => platform.get_job(context.project(), id).await?.into(),
    })
}
