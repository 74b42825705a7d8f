//! Work that may not slow down the answers: on a thread of its own, which gives way to all others.

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
    let (done, result) = tokio::sync::oneshot::channel();
    let thread = std::thread::Builder::new().name(name.to_owned());
    let started = thread.spawn(move || {
        give_way();
        // Whoever asked may be kept on one.
        crate::leave_core();
        // Whoever asked may have left.
        let _ = done.send(work());
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

    #[tokio::test]
    async fn a_panic_is_an_error() {
        let error = run("fragile", || panic!("broken")).await.unwrap_err();
        assert_eq!(error.to_string(), "\"fragile\" stopped unexpectedly");
    }
}
