//! A few more tries on a file system when the failure is one that passes: an interrupted call, a timeout.
//!
//! Not for calls over the network: `wire` repeats those, and two that repeat each other's tries would multiply.

use std::error::Error as StdError;
use std::io::ErrorKind;
use std::time::Duration;

const PAUSES: [Duration; 3] =
    [Duration::from_millis(20), Duration::from_millis(100), Duration::from_millis(500)];

/// Runs `attempt` until it succeeds, fails for good, or has failed once more than there are pauses.
// Not `AsyncFn`: the compiler cannot prove the future of a borrowing async closure `Send` where a server needs it.
pub(crate) async fn with_retries<T, F>(attempt: impl Fn() -> F) -> Result<T, object_store::Error>
where
    F: Future<Output = Result<T, object_store::Error>>,
{
    for pause in PAUSES {
        match attempt().await {
            Err(error) if is_transient(&error) => {
                tracing::warn!(%error, pause_ms = pause.as_millis(), "store operation failed, trying again");
                tokio::time::sleep(pause).await;
            }
            done => return done,
        }
    }
    attempt().await
}

fn is_transient(error: &object_store::Error) -> bool {
    let mut cause: Option<&(dyn StdError + 'static)> = Some(error);
    let mut transient = false;
    while let Some(current) = cause {
        if current.is::<object_store::client::HttpError>() {
            return false;
        }
        if let Some(io) = current.downcast_ref::<std::io::Error>() {
            transient = matches!(
                io.kind(),
                ErrorKind::Interrupted
                    | ErrorKind::TimedOut
                    | ErrorKind::WouldBlock
                    | ErrorKind::ResourceBusy
            );
        }
        cause = current.source();
    }
    transient
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use object_store::client::{HttpError, HttpErrorKind};

    use super::*;

    fn failure(kind: ErrorKind) -> object_store::Error {
        object_store::Error::Generic { store: "test", source: Box::new(std::io::Error::from(kind)) }
    }

    async fn tries_until_result(error: impl Fn() -> object_store::Error, failures: usize) -> (usize, bool) {
        let tries = AtomicUsize::new(0);
        let result = with_retries(|| async {
            if tries.fetch_add(1, Ordering::Relaxed) < failures { Err(error()) } else { Ok(()) }
        })
        .await;
        (tries.into_inner(), result.is_ok())
    }

    #[tokio::test]
    async fn passing_failures_are_tried_again_and_lasting_ones_are_not() {
        assert_eq!(tries_until_result(|| failure(ErrorKind::TimedOut), 2).await, (3, true));
        assert_eq!(tries_until_result(|| failure(ErrorKind::TimedOut), 99).await, (4, false));
        assert_eq!(tries_until_result(|| failure(ErrorKind::PermissionDenied), 99).await, (1, false));
        let wire = || {
            let source = HttpError::new(HttpErrorKind::Request, std::io::Error::from(ErrorKind::TimedOut));
            object_store::Error::Generic { store: "test", source: Box::new(source) }
        };
        assert_eq!(tries_until_result(wire, 99).await, (1, false));
    }
}
