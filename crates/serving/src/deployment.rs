//! One model in service: how it is loaded, what it may use, and how it is asked.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use artifact::bundle::{Bundle, ONNX_MODEL};
use artifact::engine::{EngineKind, is_worker, run_as_worker};
use predictor::{PredictError, Predictor, Signature, Tensor, TensorSpec};
use tokio::sync::oneshot;

use crate::batch::{self, Batching};
use crate::counters::{Counters, add};
use crate::memory::{self, Taken};
use crate::open_axes::OpenAxes;
use crate::per_thread::PerThread;
use crate::queue::{Queue, Refusal};
use crate::quick;
use crate::worker::{self, Progress, Request, Reserved, Shared};
use crate::{Error, Result};

/// The most cores a deployment may ask for.
const CPU_CORES_MAX: f64 = 1024.0;

/// Bytes of a GB, as resources count it.
const BYTES_PER_GB: f64 = 1e9;

/// What a deployment may use.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resources {
    /// CPU cores, above 0. So many threads compute, a fraction counting as one: 0.5 gives one thread, 2.5 three.
    /// Deployments may ask for more cores together than the machine has.
    pub cpu_cores: f64,
    /// Memory in GB (10^9 bytes), above 0: for the model and for the tensors of all requests under way.
    pub memory_gb: f64,
}

/// What one deployment takes at once; beyond it, requests are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most rows of one request.
    pub max_rows_per_request: usize,
    /// The most requests that wait.
    pub max_queued_requests: usize,
    /// The most rows the engine is given at once. Requests that wait are computed together up to so many rows, and a
    /// request with more is computed in slices one after the other, where the model allows it (see [`Batching`]).
    pub max_batch_rows: usize,
    /// How long a request waits for others to be computed with it although a thread is free.
    pub max_delay: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_rows_per_request: 65_536,
            max_queued_requests: 256,
            max_batch_rows: 1024,
            max_delay: Duration::ZERO,
        }
    }
}

/// A bundle to put into service.
#[derive(Debug, Clone)]
pub struct LoadSpec<'a> {
    /// What errors, logs and threads call it.
    pub name: String,
    /// The bundle.
    pub bundle: &'a Bundle,
    /// The engine to run it on; absent: the one it was proven on.
    pub engine: Option<EngineKind>,
    /// What it may use.
    pub resources: Resources,
    /// What it takes at once.
    pub limits: Limits,
}

/// Any predictor to put into service.
#[derive(Debug, Clone)]
pub struct StartSpec {
    /// What errors, logs and threads call it.
    pub name: String,
    /// What it may use.
    pub resources: Resources,
    /// What it takes at once.
    pub limits: Limits,
    /// Bytes of its weights: it is never said to use less.
    pub weights_bytes: u64,
}

/// The answer to one request.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// In the order of the signature's outputs.
    pub outputs: Vec<Tensor>,
    /// Microseconds waited for a thread.
    pub queue_us: u64,
    /// Microseconds computed.
    pub compute_us: u64,
}

/// A model in service: loaded, proven, measured, with threads of its own.
///
/// When the last handle goes, or after [`Deployment::stop`], nothing new is taken, what was taken is answered,
/// and the threads end.
pub struct Deployment {
    shared: Arc<Shared>,
    threads: usize,
    memory_bytes: u64,
    /// The memory budget less what the model takes and what computing does.
    left_bytes: u64,
    /// What the tensors of the requests under way take.
    in_use_bytes: Arc<AtomicU64>,
}

/// A request that may be computed.
struct Admitted {
    rows: usize,
    bytes: Reserved,
}

/// A model that is loaded, proven and measured, and has no threads yet.
#[derive(Debug)]
pub struct Prepared(Deployment);

impl Prepared {
    /// Starts its threads. They have the priority of the thread this is called from.
    ///
    /// # Errors
    /// [`Error::Threads`].
    pub fn start(self) -> Result<Deployment> {
        self.0.start_threads()?;
        Ok(self.0)
    }
}

impl std::fmt::Debug for Deployment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deployment")
            .field("name", &self.shared.name)
            .field("engine", &self.engine())
            .field("threads", &self.threads)
            .field("memory_bytes", &self.memory_bytes)
            .finish_non_exhaustive()
    }
}

impl Deployment {
    /// Loads a bundle and starts it: [`Deployment::prepare`] and [`Prepared::start`].
    ///
    /// # Errors
    /// Those of both.
    pub fn load(spec: LoadSpec<'_>) -> Result<Self> {
        Self::prepare(spec)?.start()
    }

    /// Loads a bundle, checks that it reproduces its golden sample, and makes it ready as [`Deployment::start`] does.
    /// Blocks while it computes: not for a thread of an async runtime.
    ///
    /// # Errors
    /// [`Error::Bundle`] if it does not load or reproduce, and those of [`Deployment::start`].
    pub fn prepare(spec: LoadSpec<'_>) -> Result<Prepared> {
        let LoadSpec { name, bundle, engine, resources, limits } = spec;
        let weights_bytes = bundle.file(ONNX_MODEL).map_or(0, |model| model.len() as u64);
        Self::made_ready(StartSpec { name, resources, limits, weights_bytes }, || {
            // One thread a call: the deployment's own threads are the only ones that compute.
            let predictor = bundle.load_on(engine.unwrap_or_else(|| bundle.engine()), 1)?;
            bundle.verify_golden(&*predictor)?;
            Ok(predictor)
        })
    }

    /// Loads a predictor, runs it on the largest batch it may be asked for, measures the memory both take, and
    /// starts its threads. Blocks while it computes.
    ///
    /// The memory is what the loaded model holds, at least the bytes of its weights, and for each thread what the largest batch
    /// takes while it is computed. Both are counted by the program's allocator ([`count_allocated`](crate::count_allocated)); where
    /// that does not count, or an engine has its own, they are how the process grows, with what else it takes meanwhile.
    /// Where nothing can be measured (not on Linux), the weights alone count.
    ///
    /// # Errors
    /// [`Error::Resources`] for resources that cannot be, [`Error::OverMemory`] with both numbers,
    /// [`Error::FirstRun`], [`Error::Threads`], and whatever `load` fails with.
    pub fn start(spec: StartSpec, load: impl FnOnce() -> Result<Box<dyn Predictor>> + Send) -> Result<Self> {
        Self::made_ready(spec, load)?.start()
    }

    /// All on one thread that engines compute on directly.
    fn made_ready(
        spec: StartSpec,
        load: impl FnOnce() -> Result<Box<dyn Predictor>> + Send,
    ) -> Result<Prepared> {
        run_as_worker(|| Self::made_ready_here(spec, load))
    }

    fn made_ready_here(
        spec: StartSpec,
        load: impl FnOnce() -> Result<Box<dyn Predictor>>,
    ) -> Result<Prepared> {
        let StartSpec { name, resources, limits, weights_bytes } = spec;
        let (threads, budget_bytes) = resources.check()?;
        let over = |needed_bytes| Error::OverMemory { name: name.clone(), needed_bytes, budget_bytes };
        // Nothing is loaded that cannot fit.
        if weights_bytes > budget_bytes {
            return Err(over(weights_bytes));
        }
        let outside = |loaded: &Result<Box<dyn Predictor>>| {
            loaded.as_ref().is_ok_and(|model| model.allocates_outside())
        };
        let (predictor, Taken { kept, .. }) = memory::measured(load, outside);
        let predictor = predictor?;
        let model_bytes = kept.max(weights_bytes);
        let Some(left_bytes) = budget_bytes.checked_sub(model_bytes) else { return Err(over(model_bytes)) };
        let row_bytes = row_bytes(&predictor.signature().inputs) + row_bytes(&predictor.signature().outputs);
        let fitting = usize::try_from(left_bytes / row_bytes.max(1)).unwrap_or(usize::MAX);
        if fitting == 0 {
            return Err(over(model_bytes + row_bytes));
        }
        let outside = predictor.allocates_outside();
        let (batching, tried) = memory::measured(|| Batching::of(&*predictor), |_| outside);
        let rows = match batching {
            Batching::On { .. } => limits.max_batch_rows,
            Batching::Off { .. } => limits.max_rows_per_request,
        };
        let rows = rows.min(fitting);
        let (warm, batch) = memory::measured(|| warm_up(&*predictor, rows), |_| outside);
        warm.map_err(|error| Error::FirstRun { name: name.clone(), rows, reason: error.to_string() })?;
        // Each thread may compute such a batch at the same time.
        let call = tried.most.max(batch.most);
        let memory_bytes = model_bytes.saturating_add(call.saturating_mul(threads as u64));
        // A call of each thread may take its part at the same time.
        let call_bytes = left_bytes / threads as u64;
        // What is left is for the tensors of those that wait; there must be room for one.
        let least_bytes = memory_bytes.saturating_add(row_bytes);
        if least_bytes > budget_bytes {
            return Err(over(least_bytes));
        }
        let left_bytes = budget_bytes - memory_bytes;
        let open_axes = OpenAxes::of(&*predictor, batching.least_rows(), call_bytes);
        let quick_rows = match limits.max_delay {
            Duration::ZERO => quick::rows(&*predictor, &batching).min(rows),
            // Requests are to wait for others.
            _ => 0,
        };
        let queue = Queue::new(limits.max_queued_requests, threads);
        let counting = PerThread::default();
        let shared =
            Arc::new(Shared { name, predictor, queue, counting, limits, batching, open_axes, quick_rows });
        let in_use_bytes = Arc::default();
        Ok(Prepared(Self { shared, threads, memory_bytes, left_bytes, in_use_bytes }))
    }

    /// Answers one request: `inputs` in the order of the signature, outputs likewise.
    ///
    /// A thread that engines compute on (see [`run_as_worker`]) computes what is quick by itself, if one of the deployment's
    /// threads could and nothing waits; all else waits for the deployment's threads. Whoever drops the future before its
    /// turn comes is taken off the list without a computation, and so is a request whose turn comes after its `deadline`.
    ///
    /// # Errors
    /// At once: [`Error::Input`], [`Error::TooManyRows`], [`Error::RequestTooLarge`], [`Error::Overloaded`],
    /// [`Error::Stopped`]. Later: [`Error::Expired`], [`Error::Engine`].
    pub async fn predict(&self, inputs: Vec<Tensor>, deadline: Option<Instant>) -> Result<Reply> {
        let shared = &*self.shared;
        add(&shared.counting.here().requests, 1);
        let admitted = self.admit(&inputs).inspect_err(|error| shared.counting.here().failed(error));
        let Admitted { rows, bytes } = admitted?;
        if rows <= shared.quick_rows
            && is_worker()
            && let Some(_turn) = shared.queue.turn()
        {
            let _bytes = bytes;
            return worker::answer_here(shared, inputs, rows, deadline);
        }
        let (reply, answer) = oneshot::channel();
        let progress = Progress::default();
        let request = Request { inputs, rows, reply, since: Instant::now(), deadline, bytes, progress };
        self.enqueue(request).inspect_err(|error| shared.counting.here().failed(error))?;
        // The threads answer everything that was queued, unless one of them is killed.
        answer.await.unwrap_or_else(|_| Err(self.stopped()))
    }

    /// Whether one more request may wait, asked before it is read: what is refused anyway need not be.
    ///
    /// # Errors
    /// [`Error::Overloaded`], and the request is counted as refused.
    pub fn has_room(&self) -> Result<()> {
        let limit = self.shared.limits.max_queued_requests;
        if self.shared.queue.len() < limit.max(1) {
            return Ok(());
        }
        let counting = self.shared.counting.here();
        add(&counting.requests, 1);
        Err(self.overloaded(format!("the limit is {limit}"))).inspect_err(|error| counting.failed(error))
    }

    /// Whether the tensors fit the signature, the limits and the memory that is left.
    fn admit(&self, inputs: &[Tensor]) -> Result<Admitted> {
        let rows = self.check(inputs)?;
        let input_bytes: u64 = inputs.iter().map(|tensor| tensor.size_bytes() as u64).sum();
        let output_bytes = row_bytes(&self.signature().outputs).saturating_mul(rows as u64);
        let request_bytes = input_bytes.saturating_add(output_bytes);
        if request_bytes > self.left_bytes {
            let (name, left_bytes) = (self.shared.name.clone(), self.left_bytes);
            return Err(Error::RequestTooLarge { name, request_bytes, left_bytes });
        }
        let bytes = Reserved::take(&self.in_use_bytes, request_bytes, self.left_bytes)
            .ok_or_else(|| self.overloaded("their tensors fill the memory budget".to_owned()))?;
        Ok(Admitted { rows, bytes })
    }

    fn enqueue(&self, request: Request) -> Result<()> {
        self.shared.queue.push(request).map_err(|refusal| match refusal {
            Refusal::Closed => self.stopped(),
            Refusal::Full => {
                self.overloaded(format!("the limit is {}", self.shared.limits.max_queued_requests))
            }
        })
    }

    fn check(&self, inputs: &[Tensor]) -> Result<usize> {
        let refused = |error| match error {
            PredictError::Input(reason) | PredictError::Engine(reason) => Error::Input(reason),
        };
        let rows = self.signature().check_inputs(inputs).map_err(refused)?;
        let limit = self.shared.limits.max_rows_per_request;
        if rows > limit {
            return Err(Error::TooManyRows { rows, limit });
        }
        // What is not computed in slices must fit as it is.
        let batching = &self.shared.batching;
        let least = if matches!(batching, Batching::On { .. }) { batching.least_rows() } else { rows };
        self.shared.open_axes.rows_max(inputs, least).map_err(refused)?;
        Ok(rows)
    }

    fn overloaded(&self, what: String) -> Error {
        Error::Overloaded { name: self.shared.name.clone(), queued: self.shared.queue.len(), what }
    }

    fn stopped(&self) -> Error {
        Error::Stopped(self.shared.name.clone())
    }

    /// What errors, logs and threads call it.
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// What it takes and gives.
    pub fn signature(&self) -> &Signature {
        self.shared.predictor.signature()
    }

    /// Name and version of the engine.
    pub fn engine(&self) -> &str {
        self.shared.predictor.engine()
    }

    /// The memory measured when it was loaded; see [`Deployment::start`].
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// What it takes at once.
    pub fn limits(&self) -> Limits {
        self.shared.limits
    }

    /// Whether requests are computed together, and why not.
    pub fn batching(&self) -> &Batching {
        &self.shared.batching
    }

    /// What it has done.
    pub fn counters(&self) -> Counters {
        self.shared.counting.snapshot(self.shared.queue.len())
    }

    /// Counts an answer of it that took `time` for somebody of a lane, queue, compute and protocol together.
    pub fn took(&self, lane: usize, time: Duration) {
        self.shared.counting.here().took(lane, time);
    }

    /// Takes nothing any more. What was taken is still answered, then the threads end. Does not wait.
    pub fn stop(&self) {
        self.shared.queue.close();
    }

    fn start_threads(&self) -> Result<()> {
        for index in 0..self.threads {
            let shared = Arc::clone(&self.shared);
            // The system shows 15 characters of it: the number comes first.
            let name = format!("m{index} {}", shared.name.replace('\0', ""));
            let thread = std::thread::Builder::new().name(name);
            // What has started already ends with the deployment.
            thread
                .spawn(move || {
                    run_as_worker(|| worker::work(&shared));
                    if index == 0 {
                        worker::free_last(shared);
                    }
                })
                .map_err(|source| Error::Threads { name: self.shared.name.clone(), source })?;
        }
        Ok(())
    }
}

impl Drop for Deployment {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Resources {
    /// Threads, and bytes of memory.
    fn check(self) -> Result<(usize, u64)> {
        let Self { cpu_cores, memory_gb } = self;
        if !(cpu_cores > 0.0 && cpu_cores <= CPU_CORES_MAX) {
            let message = format!("cpu_cores must be above 0 and at most {CPU_CORES_MAX}, got {cpu_cores}");
            return Err(Error::Resources(message));
        }
        if !(memory_gb > 0.0 && memory_gb.is_finite()) {
            return Err(Error::Resources(format!("memory_gb must be above 0, got {memory_gb}")));
        }
        Ok((cpu_cores.ceil() as usize, (memory_gb * BYTES_PER_GB) as u64))
    }
}

/// Bytes one row of these tensors takes; an open inner axis counts as 1.
fn row_bytes(specs: &[TensorSpec]) -> u64 {
    let of_spec = |spec: &TensorSpec| {
        let elements =
            spec.shape.iter().skip(1).fold(1u64, |n, axis| n.saturating_mul(axis.unwrap_or(1) as u64));
        elements.saturating_mul(spec.dtype.size_bytes() as u64)
    };
    specs.iter().map(of_spec).fold(0, u64::saturating_add)
}

/// Runs the model once on `rows` rows of zeros.
fn warm_up(predictor: &dyn Predictor, rows: usize) -> Result<(), PredictError> {
    worker::predict(predictor, batch::zeros(predictor.signature(), rows)?).map(drop)
}
