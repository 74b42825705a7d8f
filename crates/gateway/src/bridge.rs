//! Runs calls of the facade on a thread of their own, where their futures need not be `Send`.
//!
//! A retry in `store` takes a borrowing async closure, and the compiler cannot prove such a future `Send`.

use platform::Error;
use tokio::runtime::Handle;
use tracing::Span;

/// Runs `work` to its end, even if the caller leaves.
pub(crate) async fn off_the_runtime<T, W, F>(work: W) -> Result<T, Error>
where
    T: Send + 'static,
    W: FnOnce() -> F + Send + 'static,
    F: Future<Output = T>,
{
    let (runtime, span) = (Handle::current(), Span::current());
    let done = tokio::task::spawn_blocking(move || span.in_scope(|| runtime.block_on(work())));
    done.await.map_err(|error| Error::internal("a call stopped unexpectedly", error))
}
