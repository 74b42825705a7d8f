//! How requests are computed: by the threads of a deployment, which take what waits, or by a caller whose turn it is.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use predictor::{PredictError, Predictor, Tensor};
use tokio::sync::oneshot;

use crate::batch::{self, Batching};
use crate::counters::{Counting, add};
use crate::open_axes::OpenAxes;
use crate::per_thread::PerThread;
use crate::queue::Queue;
use crate::{Error, Limits, Reply, Result};

/// Whoever was asking when the deployment went has an answer by then.
const OTHERS_MAX: Duration = Duration::from_secs(60);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Nanoseconds that threads of deployments have computed.
static COMPUTED_NS: AtomicU64 = AtomicU64::new(0);

/// How long the threads of all deployments of this process have computed, which callers do not that compute by themselves.
pub fn computed() -> Duration {
    Duration::from_nanos(COMPUTED_NS.load(Ordering::Relaxed))
}

/// What the callers and the threads of a deployment share.
pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) predictor: Box<dyn Predictor>,
    pub(crate) queue: Queue<Request>,
    pub(crate) counting: PerThread<Counting>,
    pub(crate) limits: Limits,
    pub(crate) batching: Batching,
    /// What rows cost whose size the caller chooses.
    pub(crate) open_axes: OpenAxes,
    /// The most rows that a caller computes by itself.
    pub(crate) quick_rows: usize,
}

impl Shared {
    /// The most rows of one call of the engine, if they are like these.
    fn rows_max(&self, inputs: &[Tensor]) -> usize {
        let limit = match self.batching {
            Batching::On { .. } => self.limits.max_batch_rows.max(1),
            Batching::Off { .. } => return usize::MAX,
        };
        // What does not fit was refused before.
        self.open_axes.rows_max(inputs, self.batching.least_rows()).map_or(limit, |most| most.min(limit))
    }
}

/// A request on its way.
pub(crate) struct Request {
    pub(crate) inputs: Vec<Tensor>,
    pub(crate) rows: usize,
    pub(crate) reply: oneshot::Sender<Result<Reply>>,
    pub(crate) since: Instant,
    /// Nobody wants the answer later than this.
    pub(crate) deadline: Option<Instant>,
    pub(crate) bytes: Reserved,
    pub(crate) progress: Progress,
}

/// How far a request has come that is computed in slices, other requests between them.
#[derive(Default)]
pub(crate) struct Progress {
    /// Of the rows that are done.
    outputs: Vec<Tensor>,
    rows: usize,
    /// What it waited until the first slice.
    waited: Option<Duration>,
    compute: Duration,
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
    let Limits { max_batch_rows, max_delay, .. } = shared.limits;
    let together = matches!(shared.batching, Batching::On { .. });
    let joins = |taken: &[Request], next: &Request| {
        let rows: usize = taken.iter().map(|request| request.rows).sum();
        together && rows + next.rows <= max_batch_rows && batch::alike(&taken[0].inputs, &next.inputs)
    };
    let until = |first: &Request| (together && !max_delay.is_zero()).then(|| first.since + max_delay);
    while let Some((_turn, requests)) = shared.queue.pop(joins, until) {
        let begun = Instant::now();
        answer(shared, requests);
        COMPUTED_NS.fetch_add(begun.elapsed().as_nanos() as u64, Ordering::Relaxed);
    }
}

/// Waits until nobody else has the model, and frees it: that may take a while, which no caller shall spend.
pub(crate) fn free_last(shared: Arc<Shared>) {
    let begun = Instant::now();
    while Arc::strong_count(&shared) > 1 && begun.elapsed() < OTHERS_MAX {
        std::thread::sleep(LOOK_EVERY);
    }
    drop(shared);
}

/// Computes a request on the caller's own thread.
///
/// # Errors
/// [`Error::Expired`], [`Error::Input`], [`Error::Engine`].
pub(crate) fn answer_here(
    shared: &Shared,
    inputs: Vec<Tensor>,
    rows: usize,
    deadline: Option<Instant>,
) -> Result<Reply> {
    let begun = Instant::now();
    if let Some(error) = expired(shared, deadline, begun) {
        return Err(error);
    }
    let Computed { outputs, compute } = compute(shared, inputs, rows, begun);
    counted(shared, rows, outputs.map_err(|error| refusal(shared, error)), [Duration::ZERO, compute])
}

/// Computes requests together and answers each. Where that fails each is computed by itself: one that the engine does not take
/// shall not cost its neighbours their answers.
fn answer(shared: &Shared, requests: Vec<Request>) {
    let begun = Instant::now();
    let mut requests: Vec<Request> =
        requests.into_iter().filter_map(|request| wanted(shared, request, begun)).collect();
    if let [one] = requests.as_slice()
        && one.rows > shared.rows_max(&one.inputs)
    {
        return requests.into_iter().for_each(|one| answer_slice(shared, one, begun));
    }
    if let [_, _, ..] = requests.as_slice() {
        requests = match answer_together(shared, requests, begun) {
            Ok(()) => return,
            Err(each) => each,
        };
    }
    for request in requests {
        let begun = Instant::now();
        let Some(mut request) = wanted(shared, request, begun) else { continue };
        let inputs = std::mem::take(&mut request.inputs);
        let Computed { outputs, compute } = compute(shared, inputs, request.rows, begun);
        let outputs = outputs.map_err(|error| refusal(shared, error));
        let times = [begun.saturating_duration_since(request.since), compute];
        reply(shared, request, outputs, times);
    }
}

/// Computes the next rows of a request that is too large for one call, and puts it behind all others if there are more.
fn answer_slice(shared: &Shared, mut request: Request, begun: Instant) {
    let rows = request.progress.rows;
    let end = request.rows.min(rows.saturating_add(shared.rows_max(&request.inputs)));
    let Computed { outputs, compute } =
        compute(shared, batch::take(&request.inputs, rows..end), end - rows, begun);
    let Request { progress, since, .. } = &mut request;
    let waited = *progress.waited.get_or_insert_with(|| begun.saturating_duration_since(*since));
    progress.compute += compute;
    progress.rows = end;
    let times = [waited, progress.compute];
    let all = outputs.and_then(|outputs| {
        if progress.outputs.is_empty() {
            progress.outputs = outputs;
            return Ok(());
        }
        batch::append(&mut progress.outputs, &outputs)
    });
    match all {
        Err(error) => {
            let error = refusal(shared, error);
            reply(shared, request, Err(error), times);
        }
        Ok(()) if end < request.rows => shared.queue.put_back(request),
        Ok(()) => {
            let outputs = std::mem::take(&mut request.progress.outputs);
            reply(shared, request, Ok(outputs), times);
        }
    }
}

/// Gives the requests back if they cannot be computed together.
fn answer_together(shared: &Shared, requests: Vec<Request>, begun: Instant) -> Result<(), Vec<Request>> {
    let mut inputs = requests[0].inputs.clone();
    // They were found alike before they were taken.
    let joined = requests[1..].iter().try_for_each(|other| batch::append(&mut inputs, &other.inputs));
    let counts: Vec<usize> = requests.iter().map(|request| request.rows).collect();
    let computed = joined.map(|()| compute(shared, inputs, counts.iter().sum(), begun));
    let Ok(Computed { outputs: Ok(outputs), compute }) = computed else { return Err(requests) };
    for (request, outputs) in requests.into_iter().zip(batch::parts(outputs, &counts)) {
        let times = [begun.saturating_duration_since(request.since), compute];
        reply(shared, request, Ok(outputs), times);
    }
    Ok(())
}

/// What a call of the engine gave, and how long it took.
struct Computed {
    outputs: Result<Vec<Tensor>, PredictError>,
    compute: Duration,
}

fn compute(shared: &Shared, inputs: Vec<Tensor>, rows: usize, begun: Instant) -> Computed {
    let (batching, limit) = (&shared.batching, shared.limits.max_batch_rows);
    // Whoever does not fit was refused before.
    let most =
        shared.open_axes.rows_max(&inputs, batching.least_rows()).map_or(limit, |most| most.min(limit));
    let outputs = batching.run(&*shared.predictor, inputs, rows, most);
    let compute = begun.elapsed();
    // Each slice was a call of the engine.
    for slice in batching.slices(rows, most) {
        let share = slice.len() as f64 / rows.max(1) as f64;
        shared.counting.here().computed(slice.len(), compute.mul_f64(share));
    }
    Computed { outputs, compute }
}

/// What a request is told that was computed in vain.
fn refusal(shared: &Shared, error: PredictError) -> Error {
    match error {
        PredictError::Input(reason) => Error::Input(reason),
        PredictError::Engine(reason) => {
            tracing::error!(deployment = shared.name, reason, "the engine failed");
            Error::Engine(shared.name.clone())
        }
    }
}

/// The request, if somebody still waits for its answer and its time is not over.
fn wanted(shared: &Shared, request: Request, now: Instant) -> Option<Request> {
    if request.reply.is_closed() {
        add(&shared.counting.here().cancelled, 1);
        return None;
    }
    if let Some(error) = expired(shared, request.deadline, now) {
        let Request { reply, bytes, .. } = request;
        drop(bytes);
        let _ = reply.send(Err(error));
        return None;
    }
    Some(request)
}

/// What a request is told whose time is over.
fn expired(shared: &Shared, deadline: Option<Instant>, now: Instant) -> Option<Error> {
    deadline.filter(|deadline| *deadline <= now)?;
    let error = Error::Expired(shared.name.clone());
    shared.counting.here().failed(&error);
    Some(error)
}

fn reply(shared: &Shared, request: Request, outputs: Result<Vec<Tensor>>, times: [Duration; 2]) {
    let Request { rows, reply, bytes, .. } = request;
    let result = counted(shared, rows, outputs, times);
    // Whoever has the answer may ask again at once and must find the room free.
    drop(bytes);
    // A caller that left meanwhile wants no answer.
    let _ = reply.send(result);
}

/// The answer to a request that waited and was computed for so long, written down.
fn counted(
    shared: &Shared,
    rows: usize,
    outputs: Result<Vec<Tensor>>,
    [queue, compute]: [Duration; 2],
) -> Result<Reply> {
    shared.counting.here().queue.add(queue);
    shared.counting.here().compute.add(compute);
    let outputs = outputs.inspect_err(|error| shared.counting.here().failed(error))?;
    add(&shared.counting.here().rows, rows as u64);
    Ok(Reply { outputs, queue_us: queue.as_micros() as u64, compute_us: compute.as_micros() as u64 })
}

/// Calls the engine; its panic is an error of this call alone.
pub(crate) fn predict(predictor: &dyn Predictor, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, PredictError> {
    // A predictor may be called from several threads at once, so it has no state that one call could leave
    // half-changed for the next.
    catch_unwind(AssertUnwindSafe(|| predictor.predict(inputs)))
        .unwrap_or_else(|_| Err(PredictError::Engine(format!("{} panicked", predictor.engine()))))
}
