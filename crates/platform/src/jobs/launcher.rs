//! The seam between a job and what runs it: a command line of this program, told by name how far it has come.
//!
//! Nothing here assumes that a job runs in this process, or is a child of it: a launcher finds a task again by its
//! name, after a restart too.

use std::path::PathBuf;

use crate::Result;

/// A command line of this program, and where it may write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// What it is found by: `PROJECT/JOB`. No other task has it.
    pub name: String,
    /// The one directory it writes to.
    pub directory: PathBuf,
    /// The file that what it says on stdout and stderr is appended to; a launcher elsewhere brings it here.
    pub log: PathBuf,
    /// The arguments after the program's name.
    pub arguments: Vec<String>,
}

/// How far a task has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// It runs.
    Running,
    /// It has ended.
    Ended {
        /// Whether it said that all went well.
        success: bool,
        /// How it ended: `exit code 2`, `killed by signal 9`.
        how: String,
    },
    /// It does not run. How it ended is not known, or it never began.
    Gone,
}

/// How to stop a task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Ask it to end in its own time.
    Ask,
    /// End it at once.
    Kill,
}

/// Runs tasks somewhere. Calls may block for as long as an exchange with another machine takes.
pub trait Launcher: Send + Sync {
    /// Starts a task.
    ///
    /// # Errors
    /// [`crate::Kind::FailedPrecondition`] if it cannot be started here, naming the way out.
    fn start(&self, task: &Task) -> Result<()>;

    /// How far a task has come that this or an earlier process started.
    ///
    /// # Errors
    /// [`crate::Kind::Unavailable`] if it cannot be told now.
    fn progress(&self, task: &Task) -> Result<Progress>;

    /// Stops a task; one that does not run stays as it is.
    ///
    /// # Errors
    /// [`crate::Kind::Unavailable`] if it cannot be reached.
    fn stop(&self, task: &Task, how: Stop) -> Result<()>;
}
