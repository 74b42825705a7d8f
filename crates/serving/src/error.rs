//! Why a model could not be put into service, or a request not be answered.

use crate::Key;

/// Why a model could not be put into service, or a request not be answered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The bundle does not load, or does not reproduce its golden sample.
    #[error(transparent)]
    Bundle(#[from] artifact::Error),
    /// The resources asked for cannot be.
    #[error("{0}")]
    Resources(String),
    /// The model needs more memory than its budget.
    #[error(
        "deployment \"{name}\" needs {} of memory and its budget is {}; raise memory_gb",
        megabytes(*needed_bytes), megabytes(*budget_bytes)
    )]
    OverMemory {
        /// The deployment.
        name: String,
        /// What was measured.
        needed_bytes: u64,
        /// What it may use.
        budget_bytes: u64,
    },
    /// All deployments together would need more memory than they may use.
    #[error(
        "deployment {key} needs {} of memory, the others use {}, and all together may use {}; undeploy one first",
        megabytes(*needed_bytes), megabytes(*used_bytes), megabytes(*machine_bytes)
    )]
    OverMachine {
        /// The deployment.
        key: Key,
        /// What it needs.
        needed_bytes: u64,
        /// What the others use that cannot go.
        used_bytes: u64,
        /// What there is for all.
        machine_bytes: u64,
    },
    /// There is a deployment in service under this key.
    #[error("deployment {0} is already in service; remove it first")]
    AlreadyInService(Key),
    /// The tensors do not fit the model's signature.
    #[error("{0}")]
    Input(String),
    /// The request has more rows than one request may have.
    #[error("the request has {rows} rows, more than the {limit} one request may have; split it")]
    TooManyRows {
        /// Rows of the request.
        rows: usize,
        /// The limit.
        limit: usize,
    },
    /// The tensors of the request alone would exceed the memory budget.
    #[error(
        "the request's tensors take {}, and deployment \"{name}\" has {} of its memory budget left; split the request \
         or raise memory_gb",
        megabytes(*request_bytes), megabytes(*left_bytes)
    )]
    RequestTooLarge {
        /// The deployment.
        name: String,
        /// Inputs and outputs.
        request_bytes: u64,
        /// The budget less what the model takes.
        left_bytes: u64,
    },
    /// Too much is waiting already. The same request may succeed a moment later.
    #[error("deployment \"{name}\" is overloaded: {queued} requests are waiting, {what}; try again later")]
    Overloaded {
        /// The deployment.
        name: String,
        /// Requests waiting.
        queued: usize,
        /// Which limit is reached.
        what: String,
    },
    /// The request's time was over before its turn came; nothing was computed.
    #[error(
        "the request's time was over before deployment \"{0}\" came to it; allow more time or give it more cores"
    )]
    Expired(String),
    /// The deployment is being taken out of service.
    #[error("deployment \"{0}\" is being taken out of service")]
    Stopped(String),
    /// The engine failed on this request; what it said is in the log. The deployment goes on.
    #[error("deployment \"{0}\": the engine failed on this request; the log has the detail")]
    Engine(String),
    /// The model loads but cannot be run.
    #[error("deployment \"{name}\" cannot be run: its first run, on {rows} rows of zeros, failed: {reason}")]
    FirstRun {
        /// The deployment.
        name: String,
        /// Rows of the run.
        rows: usize,
        /// What the engine said.
        reason: String,
    },
    /// The operating system gives no more threads.
    #[error("cannot start the threads of deployment \"{name}\": {source}")]
    Threads {
        /// The deployment.
        name: String,
        /// The cause.
        source: std::io::Error,
    },
}

/// A size for people: `12.3 MB`, a megabyte being a million bytes.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
