//! Ctrl-C and SIGTERM: a request to stop, then a deadline. Whatever is cut off can be run again without clean-up.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform::{Error, Kind};
use tokio::sync::watch;

use crate::exit::Exit;
use crate::output::Output;

/// Work that does not look at the request has this long before the process ends.
const GRACE: Duration = Duration::from_secs(2);

/// Tells that the user wants the process to stop.
#[derive(Debug, Clone)]
pub(crate) struct Interrupt {
    requested: watch::Receiver<bool>,
    drains: Arc<AtomicBool>,
}

impl Interrupt {
    /// Starts to listen for signals, inside a runtime: none that comes after this call ends the process by itself. After the
    /// first the process ends within [`GRACE`] unless it [drains](Self::drains); at the second it ends at once.
    pub(crate) fn listen(output: Output) -> Self {
        let (sender, requested) = watch::channel(false);
        let drains = Arc::new(AtomicBool::new(false));
        let interrupt = Self { requested, drains: Arc::clone(&drains) };
        // Here and not in the task, which may have to wait for its first turn while a signal comes.
        let mut signals = Signals::listen();
        tokio::spawn(async move {
            signals.next().await;
            sender.send_replace(true);
            let deadline = async {
                tokio::time::sleep(GRACE).await;
                if drains.load(Ordering::Acquire) {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = signals.next() => {}
                () = deadline => {}
            }
            let error = interrupted();
            output.fail(error.kind(), &error.to_string());
            std::process::exit(Exit::Interrupted.code().into());
        });
        interrupt
    }

    /// Whether the user has asked to stop.
    pub(crate) fn requested(&self) -> bool {
        *self.requested.borrow()
    }

    /// Returns once the user asks to stop.
    pub(crate) async fn wait(&self) {
        let mut requested = self.requested.clone();
        if requested.wait_for(|requested| *requested).await.is_err() {
            // The listener ends only with the process.
            std::future::pending::<()>().await;
        }
    }

    /// The caller ends the process itself when asked to stop, in its own time.
    pub(crate) fn drains(&self) {
        self.drains.store(true, Ordering::Release);
    }
}

/// What work fails with that was stopped by the user.
pub(crate) fn interrupted() -> Error {
    Error::new(Kind::Cancelled, "interrupted; run the same command again, nothing has to be cleaned up")
}

/// The signals that ask the process to stop. Where one cannot be listened for, the system ends the process itself.
#[cfg(unix)]
struct Signals {
    interrupt: Option<tokio::signal::unix::Signal>,
    terminate: Option<tokio::signal::unix::Signal>,
}

#[cfg(unix)]
impl Signals {
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};
        let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
        Self { interrupt: interrupt.ok(), terminate: terminate.ok() }
    }

    async fn next(&mut self) {
        tokio::select! {
            () = received(&mut self.interrupt) => {}
            () = received(&mut self.terminate) => {}
        }
    }
}

#[cfg(unix)]
async fn received(signal: &mut Option<tokio::signal::unix::Signal>) {
    match signal {
        // It ends only with the process.
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn listen() -> Self {
        Self
    }

    async fn next(&mut self) {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[tokio::test(flavor = "current_thread")]
    async fn a_signal_is_heard_before_the_listener_had_a_turn() {
        let interrupt = Interrupt::listen(Output::Human);
        interrupt.drains();
        // This thread is the only one that could have given it one.
        let pid = std::process::id().to_string();
        assert!(std::process::Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        interrupt.wait().await;
        assert!(interrupt.requested());
    }
}
