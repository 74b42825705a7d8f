//! The threads of a deployment: take a request, compute it, answer it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use predictor::{PredictError, Predictor, Tensor};
use tokio::sync::oneshot;

use crate::counters::{Counting, add};
use crate::queue::Queue;
use crate::{Error, Reply, Result};

/// What the callers and the threads of a deployment share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) predictor: Box<dyn Predictor>,
    pub(crate) queue: Queue<Request>,
    pub(crate) counting: Counting,
}

/// A request on its way.
pub(crate) struct Request {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) rows: usize,
    pub(crate) reply: oneshot::Sender<Result<Reply>>,
    pub(crate) since: Instant,
    pub(crate) bytes: Reserved,
}

/// Bytes of the memory budget that a request holds until it is gone.
pub(crate) struct Reserved {
    in_use: Arc<AtomicU64>,
    bytes: u64,
}

impl Reserved {
    /// Takes `bytes` if at most `available` are then in use.
    pub(crate) fn take(in_use: &Arc<AtomicU64>, bytes: u64, available: u64) -> Option<Self> {
        let add = |now: u64| now.checked_add(bytes).filter(|after| *after <= available);
        in_use.fetch_update(Ordering::Relaxed, Ordering::Relaxed, add).ok()?;
        Some(Self { in_use: Arc::clone(in_use), bytes })
    }
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.in_use.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Answers requests until the queue is closed and empty.
pub(crate) fn work(shared: &Shared) {
    while let Some(request) = shared.queue.pop() {
        answer(shared, request);
    }
}

fn answer(shared: &Shared, request: Request) {
    let Request { inputs, rows, reply, since, bytes } = request;
    if reply.is_closed() {
        add(&shared.counting.cancelled, 1);
        return;
    }
    let begun = Instant::now();
    let result = predict(&*shared.predictor, inputs);
    let (queue, compute) = (begun.duration_since(since), begun.elapsed());
    shared.counting.queue.add(queue);
    shared.counting.compute.add(compute);
    let result = match result {
        Ok(outputs) => {
            add(&shared.counting.rows, rows as u64);
            Ok(Reply { outputs, queue_us: queue.as_micros() as u64, compute_us: compute.as_micros() as u64 })
        }
        Err(PredictError::Input(reason)) => Err(Error::Input(reason)),
        Err(PredictError::Engine(reason)) => {
            tracing::error!(deployment = shared.name, reason, "the engine failed");
            Err(Error::Engine(shared.name.clone()))
        }
    };
    if let Err(error) = &result {
        shared.counting.failed(error);
    }
    // Whoever has the answer may ask again at once and must find the room free.
    drop(bytes);
    // A caller that left meanwhile wants no answer.
    let _ = reply.send(result);
}

/// Calls the engine; its panic is an error of this call alone.
pub(crate) fn predict(predictor: &dyn Predictor, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
    // A predictor may be called from several threads at once, so it has no state that one call could leave
    // half-changed for the next.
    catch_unwind(AssertUnwindSafe(|| predictor.predict(inputs)))
        .unwrap_or_else(|_| Err(PredictError::Engine(format!("{} panicked", predictor.engine()))))
}
