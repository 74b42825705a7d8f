//! Tasks as child processes of this machine.
//!
//! A child leads a process group of its own, so that what is sent to the server's group does not reach it, and it
//! outlives a crash of the server. It is found again by an advisory lock on a file of its directory: the child holds
//! the open file as its standard input, so the lock goes when the last process of the task does, however it dies, and
//! no process id is ever mistaken for another's.

use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::launcher::{Launcher, Progress, Stop, Task};
use crate::files::unwritable;
use crate::{Error, Kind, Result};

/// Held by the processes of a task.
const LOCK_FILE: &str = "running.lock";
/// The id of the process that leads the group.
const PID_FILE: &str = "pid";
/// How much a task gives way to the server (0 is not at all, 19 the most).
#[cfg(unix)]
const NICENESS: i32 = 10;

/// Starts tasks as processes of this machine, at a lower priority than its own.
#[derive(Debug)]
pub struct LocalLauncher {
    program: PathBuf,
    hidden_variables: Vec<String>,
    /// Children of this process, by task.
    children: Mutex<HashMap<String, Child>>,
}

impl LocalLauncher {
    /// Tasks are command lines of `program`.
    pub fn new(program: PathBuf) -> Self {
        Self { program, hidden_variables: Vec::new(), children: Mutex::default() }
    }

    /// The same, with tasks that do not see these variables of this process's environment.
    #[must_use]
    pub fn hiding(self, variables: Vec<String>) -> Self {
        Self { hidden_variables: variables, ..self }
    }

    fn children(&self) -> MutexGuard<'_, HashMap<String, Child>> {
        self.children.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn command(&self, task: &Task) -> Result<Command> {
        let alive = lock_file(&task.directory)?;
        match alive.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let message = format!("task {} runs already; cancel it first", task.name);
                return Err(Error::new(Kind::FailedPrecondition, message));
            }
            Err(TryLockError::Error(error)) => {
                return Err(unwritable(&task.directory.join(LOCK_FILE), &error));
            }
        }
        let log = OpenOptions::new().create(true).append(true).open(&task.log);
        let log = log.map_err(|error| unwritable(&task.log, &error))?;
        let both = log.try_clone().map_err(|error| unwritable(&task.log, &error))?;
        let mut command = Command::new(&self.program);
        command.args(&task.arguments).current_dir(&task.directory).stdin(alive).stdout(log).stderr(both);
        for variable in &self.hidden_variables {
            command.env_remove(variable);
        }
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        Ok(command)
    }
}

impl Launcher for LocalLauncher {
    fn start(&self, task: &Task) -> Result<()> {
        let mut child = spawn_giving_way(self.command(task)?).map_err(|error| {
            let message = format!("cannot start {}: {error}", self.program.display());
            Error::new(Kind::FailedPrecondition, message)
        })?;
        let pid = task.directory.join(PID_FILE);
        if let Err(error) = std::fs::write(&pid, child.id().to_string()) {
            // A task that could not be stopped later must not run.
            let _ = child.kill();
            let _ = child.wait();
            return Err(unwritable(&pid, &error));
        }
        self.children().insert(task.name.clone(), child);
        Ok(())
    }

    fn progress(&self, task: &Task) -> Result<Progress> {
        let mut children = self.children();
        if let Some(child) = children.get_mut(&task.name) {
            let waited = child.try_wait();
            let ended = waited.map_err(|error| Error::internal("cannot wait for a child process", error))?;
            return Ok(match ended {
                None => Progress::Running,
                Some(status) => {
                    children.remove(&task.name);
                    Progress::Ended { success: status.success(), how: how_it_ended(status) }
                }
            });
        }
        Ok(if is_alive(&task.directory)? { Progress::Running } else { Progress::Gone })
    }

    fn stop(&self, task: &Task, how: Stop) -> Result<()> {
        // A child that has not been waited for keeps its id, and a group keeps it while one of its processes lives.
        let child = self.children().contains_key(&task.name);
        if !child && !is_alive(&task.directory)? {
            return Ok(());
        }
        let path = task.directory.join(PID_FILE);
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let pid: i32 = text.trim().parse().map_err(|_| {
            let message = format!(
                "the process of task {} cannot be told from {}; end it by hand",
                task.name,
                path.display()
            );
            Error::new(Kind::Unavailable, message)
        })?;
        signal_group(pid, how)
    }
}

/// Whether a process of the task in this directory lives.
fn is_alive(directory: &Path) -> Result<bool> {
    if !directory.join(LOCK_FILE).exists() {
        return Ok(false);
    }
    // The lock is let go again with the file.
    match lock_file(directory)?.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(error)) => Err(unwritable(&directory.join(LOCK_FILE), &error)),
    }
}

fn lock_file(directory: &Path) -> Result<File> {
    let path = directory.join(LOCK_FILE);
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    opened.map_err(|error| unwritable(&path, &error))
}

#[cfg(unix)]
fn how_it_ended(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => {
            "killed by signal 9 (if nobody did that, the machine ran out of memory)".to_owned()
        }
        (None, Some(signal)) => format!("killed by signal {signal}"),
        (None, None) => status.to_string(),
    }
}

#[cfg(not(unix))]
fn how_it_ended(status: ExitStatus) -> String {
    status.to_string()
}

/// Starts a child with the priority of a task. On Linux a priority is a thread's, and a child has that of the thread that starts
/// it: one that was changed afterwards would be that of the child's first thread alone, and only once it has begun.
#[cfg(target_os = "linux")]
fn spawn_giving_way(mut command: Command) -> std::io::Result<Child> {
    std::thread::scope(|scope| {
        let start = move || {
            crate::background::be_nice(NICENESS);
            command.spawn()
        };
        let started = std::thread::Builder::new().name("start job".to_owned()).spawn_scoped(scope, start)?;
        started
            .join()
            .unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts it has panicked")))
    })
}

/// Starts a child and gives it the priority of a task.
#[cfg(not(target_os = "linux"))]
fn spawn_giving_way(mut command: Command) -> std::io::Result<Child> {
    let child = command.spawn()?;
    #[cfg(unix)]
    {
        let pid = i32::try_from(child.id()).ok().and_then(rustix::process::Pid::from_raw);
        // A child that has ended already has no priority.
        if let Err(error) = rustix::process::setpriority_process(pid, NICENESS) {
            tracing::debug!(%error, "cannot lower the priority of a job");
        }
    }
    Ok(child)
}

#[cfg(unix)]
fn signal_group(pid: i32, how: Stop) -> Result<()> {
    use rustix::process::{Pid, Signal, kill_process_group};
    let signal = match how {
        Stop::Ask => Signal::TERM,
        Stop::Kill => Signal::KILL,
    };
    // 1 is the system's first process and its group.
    let Some(pid) = Pid::from_raw(pid).filter(|_| pid > 1) else {
        return Err(Error::new(Kind::Unavailable, format!("{pid} is no id of a process group of ours")));
    };
    match kill_process_group(pid, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
        Err(error) => Err(Error::internal("cannot signal a job's processes", error)),
    }
}

#[cfg(not(unix))]
fn signal_group(_pid: i32, _how: Stop) -> Result<()> {
    Err(Error::new(Kind::Unimplemented, "stopping a job needs a Unix system; end its process by hand"))
}
