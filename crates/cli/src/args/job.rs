//! The command line of `job`, and of what `serve` is told about jobs.

use clap::{Args, Subcommand};

/// `job ...`
#[derive(Debug, Subcommand)]
pub(crate) enum JobVerb {
    /// List the jobs, in the order they were queued
    #[command(after_help = "Example:\n  bellwether job list --server http://127.0.0.1:8080")]
    List,
    /// Show one job: where it stands, what it made, why it failed
    #[command(after_help = "Example:\n  bellwether job show 1764000000000000 --server http://127.0.0.1:8080")]
    Show(JobIdArgs),
    /// Print what a job has written, and with --follow what it writes until it ends
    #[command(
        after_help = "Example:\n  bellwether job logs 1764000000000000 --follow --server http://127.0.0.1:8080"
    )]
    Logs(JobLogsArgs),
    /// Take a job out of the queue, or stop it
    #[command(
        after_help = "Example:\n  bellwether job cancel 1764000000000000 --server http://127.0.0.1:8080"
    )]
    Cancel(JobIdArgs),
    /// Queue a failed or cancelled job again; it goes on from its last checkpoint
    #[command(
        after_help = "Example:\n  bellwether job resume 1764000000000000 --server http://127.0.0.1:8080"
    )]
    Resume(JobIdArgs),
    /// Remove an ended job with its log and checkpoints; the version it made stays
    #[command(
        after_help = "Example:\n  bellwether job delete 1764000000000000 --server http://127.0.0.1:8080"
    )]
    Delete(JobIdArgs),
}

impl JobVerb {
    /// The command as a second process is told.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::List => "bellwether job list",
            Self::Show(_) => "bellwether job show",
            Self::Logs(_) => "bellwether job logs",
            Self::Cancel(_) => "bellwether job cancel",
            Self::Resume(_) => "bellwether job resume",
            Self::Delete(_) => "bellwether job delete",
        }
    }
}

/// `job show`, `job cancel`, ...
#[derive(Debug, Args)]
pub(crate) struct JobIdArgs {
    /// The job
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// `job logs`
#[derive(Debug, Args)]
pub(crate) struct JobLogsArgs {
    /// The job
    #[arg(value_name = "ID")]
    pub(crate) id: String,
    /// Go on until the job ends
    #[arg(long)]
    pub(crate) follow: bool,
}

/// How many jobs a server has.
#[derive(Debug, Clone, Copy, Default, Args)]
pub(crate) struct JobLimitArgs {
    /// Jobs that run at a time; the others wait [env: BELLWETHER_MAX_RUNNING_JOBS] [default: 1]
    #[arg(long, value_name = "N")]
    pub(crate) max_running_jobs: Option<usize>,
    /// Jobs that may wait; the next is refused [env: BELLWETHER_MAX_QUEUED_JOBS] [default: 100]
    #[arg(long, value_name = "N")]
    pub(crate) max_queued_jobs: Option<usize>,
}
