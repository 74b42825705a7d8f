//! Work that may not slow down the answers: on a thread of its own, which gives way to all others.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

#[cfg(target_os = "linux")]
use thread_priority::{
    NormalThreadSchedulePolicy, ThreadPriority, ThreadSchedulePolicy, set_thread_priority_and_policy,
    thread_native_id,
};
use tokio::sync::oneshot;

use crate::{Error, Result};

/// As far as a thread can give way.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;
/// Of a thread that must get on and is not to take more of the cores than what answers: a quarter of one beside one of those.
#[cfg(target_os = "linux")]
const PRESSED_NICENESS: i32 = 5;
/// Work has starved that waited for a core for so long in all, and for so many times as long as it ran.
const STARVED: Duration = Duration::from_secs(10);
const STARVED_TIMES: u32 = 10;
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// Runs `work` on a thread called `name` (15 characters are shown) of the lowest priority. It goes on if the caller leaves.
///
/// # Errors
/// [`Kind::Internal`](crate::Kind::Internal) if there are no more threads, or `work` panics.
pub(crate) async fn run<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    GivingWay::begin(name, |_| work())?.result().await
}

/// The same at the usual priority: threads that are started there stay on no core.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_apart<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    ended(name, started(name, work)?.await)
}

/// The same at a priority that is little lower than the usual one.
///
/// # Errors
/// As [`run`].
pub(crate) async fn run_pressed<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    let pressed = move || {
        be_nice(PRESSED_NICENESS);
        work()
    };
    run_apart(name, pressed).await
}

/// Work on a thread of the lowest priority, of which can be told whether it gets to run. It goes on if this is dropped.
pub(crate) struct GivingWay<R> {
    name: String,
    result: oneshot::Receiver<R>,
    runs: Arc<Runs>,
}

/// Where work that gives way runs; there as long as the work is.
#[derive(Debug, Default)]
pub(crate) struct Runs(OnceLock<i32>);

impl Runs {
    /// Says that the work is done by this very thread.
    #[cfg(target_os = "linux")]
    pub(crate) fn here(&self) {
        // Said twice is said of the first.
        let _ = self.0.set(rustix::thread::gettid().as_raw_nonzero().get());
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn here(&self) {}

    /// Not as far as is known, where the system does not say how a thread gets on.
    fn has_starved(&self) -> bool {
        let times = self.0.get().and_then(|thread| serving::thread_times(&format!("self/task/{thread}")));
        times.is_some_and(|(ran, waited)| waited >= STARVED && waited >= ran * STARVED_TIMES)
    }
}

impl<R: Send + 'static> GivingWay<R> {
    /// Begins `work` on a thread called `name`; it is told where to say on which thread it runs.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) if there are no more threads.
    pub(crate) fn begin(name: &str, work: impl FnOnce(&Arc<Runs>) -> R + Send + 'static) -> Result<Self> {
        let runs = Arc::<Runs>::default();
        let inside = Arc::clone(&runs);
        let giving_way = move || {
            give_way();
            work(&inside)
        };
        Ok(Self { name: name.to_owned(), result: started(name, giving_way)?, runs })
    }

    /// Its result.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) if it panics.
    pub(crate) async fn result(&mut self) -> Result<R> {
        ended(&self.name, (&mut self.result).await)
    }

    /// The same, or nothing once it has starved: beside threads that never sleep it gets next to nothing of a core.
    pub(crate) async fn result_unless_starved(&mut self) -> Option<Result<R>> {
        let runs = Arc::clone(&self.runs);
        let starved = async {
            while !runs.has_starved() {
                tokio::time::sleep(LOOK_EVERY).await;
            }
        };
        tokio::select! {
            biased;
            result = self.result() => Some(result),
            () = starved => None,
        }
    }

    /// Where it runs.
    pub(crate) fn runs(&self) -> &Arc<Runs> {
        &self.runs
    }
}

fn started<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<oneshot::Receiver<R>> {
    let (done, result) = oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        // Whoever asked may be kept on one.
        crate::leave_core();
        // Whoever asked may have left.
        let _ = done.send(work());
    });
    started.map_err(|error| Error::internal(format!("cannot start a thread: {error}"), error))?;
    Ok(result)
}

fn ended<R>(name: &str, result: std::result::Result<R, oneshot::error::RecvError>) -> Result<R> {
    result.map_err(|error| Error::internal(format!("\"{name}\" stopped unexpectedly"), error))
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
    // What there is of a priority where the policy is refused.
    be_nice(NICENESS);
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}

/// Lowers the priority of this thread and of what it starts. Linux keeps niceness for each thread, under the thread's id.
#[cfg(target_os = "linux")]
pub(crate) fn be_nice(niceness: i32) {
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), niceness) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

#[cfg(not(target_os = "linux"))]
fn be_nice(_: i32) {}

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

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_is_pressed_is_nice_and_no_more() {
        let (niceness, policy) = run_pressed("test", scheduled).await.unwrap();
        assert_eq!((niceness, policy), (PRESSED_NICENESS.to_string(), scheduled().1));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn who_only_waits_for_something_has_not_starved() {
        let mut giving_way = GivingWay::begin("test", |runs| {
            runs.here();
            std::thread::sleep(2 * LOOK_EVERY);
            runs.has_starved()
        })
        .unwrap();
        assert!(!giving_way.result_unless_starved().await.unwrap().unwrap());
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = run("fragile", || panic!("broken")).await.unwrap_err();
        assert_eq!(error.to_string(), "\"fragile\" stopped unexpectedly");
    }
}
