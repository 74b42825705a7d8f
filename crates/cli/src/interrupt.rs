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
    /// Starts to listen for signals, inside a runtime. After the first the process ends within [`GRACE`] unless it
    /// [drains](Self::drains); at the second it ends at once.
    pub(crate) fn listen(output: Output) -> Self {
        let (sender, requested) = watch::channel(false);
        let drains = Arc::new(AtomicBool::new(false));
        let interrupt = Self { requested, drains: Arc::clone(&drains) };
        tokio::spawn(async move {
            signal().await;
            sender.send_replace(true);
            let deadline = async {
                tokio::time::sleep(GRACE).await;
                if drains.load(Ordering::Acquire) {
                    std::future::pending::<()>().await;
                }
            };
            tokio::select! {
                () = signal() => {}
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

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return ctrl_c().await;
    };
    tokio::select! {
        () = ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    ctrl_c().await;
}

async fn ctrl_c() {
    if tokio::signal::ctrl_c().await.is_err() {
        // Without a handler the system ends the process itself.
        std::future::pending::<()>().await;
    }
}
