//! Work that may not slow down the answers: on a thread of its own, which gives way to all others.

#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};

use crate::{Error, Result};

/// As far as a thread can give way.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

/// Runs `work` on a thread called `name` (15 characters are shown) of the lowest priority. It goes on if the caller leaves.
///
/// # Errors
/// [`Kind::Internal`](crate::Kind::Internal) if there are no more threads, or `work` panics.
pub(crate) async fn run<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    let giving_way = move || {
        give_way();
        work()
    };
    run_apart(name, giving_way).await
}

/// The same at the usual priority: threads that are started there stay on no core.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_apart<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        // Whoever asked may be kept on one.
        crate::leave_core();
        // Whoever asked may have left.
        let _ = done.send(work());
    });
    started.map_err(|error| Error::internal(format!("cannot start a thread: {error}"), error))?;
    result.await.map_err(|error| Error::internal(format!("\"{name}\" stopped unexpectedly"), error))
}

/// Threads that this one starts give way as well.
///
/// A thread that is merely nice keeps its core for a whole slice once it has it, milliseconds that an answer would wait.
/// One that is idle gives it up as soon as any other wakes, and gets a 300th of it beside one that never sleeps.
#[cfg(target_os = "linux")]
fn give_way() {
    let idle = ThreadSchedulePolicy::Normal(NormalThreadSchedulePolicy::Idle);
    if let Err(error) = set_thread_priority_and_policy(thread_native_id(), ThreadPriority::Min, idle) {
        tracing::debug!(%error, "cannot have a thread run only when no other does");
    }
    // What there is of a priority where the policy is refused. Linux keeps it for each thread, under the thread's id.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(test)]
mod tests {
    use super::*;

    /// `SCHED_IDLE`, see `sched(7)`.
    #[cfg(target_os = "linux")]
    const IDLE: &str = "5";

    /// Niceness and policy of this thread, see `proc_pid_stat(5)`.
    #[cfg(target_os = "linux")]
    fn scheduled() -> (String, String) {
        let stat = std::fs::read_to_string("/proc/thread-self/stat").unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        (fields[16].to_owned(), fields[38].to_owned())
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_thread_gives_way_and_no_other() {
        let before = scheduled();
        let given = run("test", scheduled).await.unwrap();
        assert_eq!(given, (NICENESS.to_string(), IDLE.to_owned()));
        assert_eq!(scheduled(), before);
        assert_ne!(before.1, IDLE);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn threads_give_way_if_the_one_that_starts_them_does() {
        let started = || std::thread::spawn(scheduled).join().unwrap();
        let own = scheduled();
        assert_eq!(run("test", started).await.unwrap(), (NICENESS.to_string(), IDLE.to_owned()));
        assert_eq!(run_apart("test", started).await.unwrap(), own);
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = run("fragile", || panic!("broken")).await.unwrap_err();
        assert_eq!(error.to_string(), "\"fragile\" stopped unexpectedly");
    }
}
