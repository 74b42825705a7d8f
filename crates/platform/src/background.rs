//! Work that may not slow down the answers: on a thread of its own, which gives way to all others.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use crate::{Error, Result};

/// As far as a thread can give way.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 19;

tokio::task_local! {
    /// Whether the first [`run`] of the [`run_on`] around it is done.
    static PAST: Arc<AtomicBool>;
}

/// Runs `work`, and what of it follows its first [`run`] on a thread of the lowest priority too: threads that are started there
/// give way as well. What comes before stays where it is, so that no thread that others share is started by one that gives way.
///
/// # Errors
/// Those of [`run`].
pub(crate) async fn run_on<R: Send + 'static>(
    name: &str,
    work: impl Future<Output = R> + Send + 'static,
) -> Result<R> {
    let past = Arc::new(AtomicBool::new(false));
    let mut work = Box::pin(PAST.scope(Arc::clone(&past), work));
    let ended = poll_fn(|context| match past.load(Ordering::Acquire) {
        true => Poll::Ready(None),
        false => work.as_mut().poll(context).map(Some),
    });
    match ended.await {
        Some(result) => Ok(result),
        None => {
            let runtime = tokio::runtime::Handle::current();
            run(name, move || runtime.block_on(work)).await
        }
    }
}

/// Runs `work` on a thread called `name` (15 characters are shown) of the lowest priority. It goes on if the caller leaves.
///
/// # Errors
/// [`Kind::Internal`](crate::Kind::Internal) if there are no more threads, or `work` panics.
pub(crate) async fn run<R: Send + 'static>(
    name: &str,
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R> {
    let (done, result) = tokio::sync::oneshot::channel();
    let past = PAST.try_with(Arc::clone).ok();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        give_way();
        // Whoever asked may be kept on one.
        crate::leave_core();
        let result = work();
        if let Some(past) = past {
            past.store(true, Ordering::Release);
        }
        // Whoever asked may have left.
        let _ = done.send(result);
    });
    started.map_err(|error| Error::internal(format!("cannot start a thread: {error}"), error))?;
    result.await.map_err(|error| Error::internal(format!("\"{name}\" stopped unexpectedly"), error))
}

/// Threads that this one starts give way as well.
#[cfg(target_os = "linux")]
fn give_way() {
    // Linux keeps a priority for each thread, under the thread's id.
    if let Err(error) = rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICENESS) {
        tracing::debug!(%error, "cannot lower the priority of a thread");
    }
}

#[cfg(not(target_os = "linux"))]
fn give_way() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn the_thread_gives_way_and_no_other() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let before = nice();
        assert_eq!(run("test", nice).await.unwrap(), NICENESS);
        assert_eq!(nice(), before);
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn what_follows_gives_way_too_and_what_comes_before_does_not() {
        let nice = || rustix::process::getpriority_process(Some(rustix::thread::gettid())).unwrap();
        let own = nice();
        let work = async move {
            let before = tokio::task::spawn_blocking(nice).await.unwrap();
            let within = run("first", nice).await.unwrap();
            (before, within, std::thread::spawn(nice).join().unwrap())
        };
        assert_eq!(run_on("then", work).await.unwrap(), (own, NICENESS, NICENESS));
        assert_eq!(run_on("then", async { 7 }).await.unwrap(), 7, "nothing is to give way");
        assert_eq!((nice(), tokio::task::spawn_blocking(nice).await.unwrap()), (own, own));
    }

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = run("fragile", || panic!("broken")).await.unwrap_err();
        assert_eq!(error.to_string(), "\"fragile\" stopped unexpectedly");
    }
}
