//! How a fit runs whatever its rows are: on how many threads, from which weights, with which memory, and who follows.

use std::path::Path;

use artifact::bundle::{Bundle, MANIFEST};
use serde_json::Value;
use training::{
    BatchProgress, ComputeDevice, Control, Directory, EpochReport, Fit, Observer, Summary, TrainBegin, Weight,
};

use crate::train::TrainObserver;
use crate::{Error, Kind, Platform, Result};

/// How a fit runs.
#[derive(Debug, Clone, Default)]
pub struct FitOptions {
    /// Threads to compute on; all cores by default. The result does not depend on it.
    pub threads: Option<usize>,
    /// What to compute on.
    pub device: ComputeDevice,
    /// Whether to go on from the newest checkpoint beside the bundle.
    pub resume: bool,
    /// Whether checkpoints and logs are kept beside the bundle: with a clock, seconds since 1970, that stamps logs.
    pub keeps: Option<fn() -> f64>,
    /// Whose weights to start from.
    pub from: Option<StartFrom>,
    /// The model of the CPU, which the bundle records: the same bytes are promised on the same.
    pub cpu: Option<String>,
    /// Bytes a fit may take beside its rows; not limited by default.
    pub memory_bytes: Option<u64>,
}

/// Whose weights a fit starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartFrom {
    /// The project of the model.
    pub project: String,
    /// `MODEL`, `MODEL@VERSION`, or a bundle directory.
    pub reference: String,
}

impl FitOptions {
    /// What the bundle records of where its weights were computed.
    pub(crate) fn computed_on(&self) -> Option<String> {
        match (self.device, &self.cpu) {
            (ComputeDevice::Cpu, cpu) => cpu.clone(),
            (gpu, Some(cpu)) => Some(format!("{gpu} beside {cpu}")),
            (gpu, None) => Some(gpu.to_string()),
        }
    }

    /// Where the fit keeps its checkpoints and logs: beside the bundle.
    pub(crate) fn directory<'a>(&self, out: &'a Path, identity: &'a Value) -> Option<Directory<'a>> {
        let clock = self.keeps?;
        Some(Directory { path: out, resume: self.resume, identity, clock })
    }
}

/// Runs `job` with rayon's threads limited to so many.
pub(crate) fn on_threads<T: Send>(
    threads: Option<usize>,
    job: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let Some(threads) = threads else { return job() };
    if !(1..=1024).contains(&threads) {
        let message = format!("threads must be 1 to 1024, got {threads}");
        return Err(Error::invalid("threads", message));
    }
    let pool = rayon::ThreadPoolBuilder::new()
        .num_threads(threads)
        .build()
        .map_err(|error| Error::internal("cannot start the threads of the fit", error))?;
    pool.install(job)
}

/// Refuses a fit that will not fit into memory, with the estimate.
pub(crate) fn check_memory(fit: &Fit<'_>, options: &FitOptions) -> Result<()> {
    let Some(budget) = options.memory_bytes else { return Ok(()) };
    let summary = Summary::new(fit.model, fit.output, fit.columns, fit.config)?;
    let rows = fit.train.features.len() + fit.valid.map_or(0, |valid| valid.features.len());
    let needed = summary.weights_bytes + summary.batch_bytes + 4 * rows as u64;
    if needed <= budget {
        return Ok(());
    }
    let gb = |bytes: u64| bytes as f64 / 1e9;
    let message = format!(
        "the fit needs about {:.2} GB (rows {:.2}, weights and optimizer {:.2}, one batch {:.2}), the budget is {:.2} \
         GB; lower fit.batch_size, use fewer features or give it more memory",
        gb(needed),
        gb(4 * rows as u64),
        gb(summary.weights_bytes),
        gb(summary.batch_bytes),
        gb(budget)
    );
    Err(Error::new(Kind::ResourceExhausted, message))
}

impl Platform {
    /// The weights a fit is to start from, of a registered version or of a bundle directory; none if it starts afresh.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for a model or version that does not exist; what is wrong with the bundle.
    pub(crate) async fn starting_weights(&self, options: &FitOptions) -> Result<Option<Vec<Weight>>> {
        let Some(StartFrom { project, reference }) = &options.from else { return Ok(None) };
        let bundle = if Path::new(reference).join(MANIFEST).is_file() {
            Bundle::open(Path::new(reference))?
        } else {
            self.open_version(&self.get_model(project, reference).await?).await?
        };
        weights_of(&bundle).map(Some)
    }
}

/// The weights in a bundle, by the names their layers gave them.
pub(crate) fn weights_of(bundle: &Bundle) -> Result<Vec<Weight>> {
    let weight = |(name, tensor): (String, predictor::Tensor)| {
        let values = tensor.as_float32().map(<[f32]>::to_vec).unwrap_or_default();
        Weight { name, shape: tensor.shape().to_vec(), values }
    };
    Ok(bundle.tensors()?.into_iter().map(weight).collect())
}

/// Hands the fit's callbacks on; a supertrait object cannot be passed as its base with `Send` kept.
pub(crate) struct Forward<'a>(pub(crate) &'a mut (dyn TrainObserver + Send));

impl Observer for Forward<'_> {
    fn on_train_begin(&mut self, begin: &TrainBegin) {
        self.0.on_train_begin(begin);
    }
    fn on_epoch_begin(&mut self, epoch: usize, epochs: usize) {
        self.0.on_epoch_begin(epoch, epochs);
    }
    fn on_batch_begin(&mut self, epoch: usize, step: usize) {
        self.0.on_batch_begin(epoch, step);
    }
    fn on_batch_end(&mut self, progress: &BatchProgress<'_>) -> Control {
        self.0.on_batch_end(progress)
    }
    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        self.0.on_epoch_end(report)
    }
    fn on_checkpoint(&mut self, global_step: u64) {
        self.0.on_checkpoint(global_step);
    }
    fn on_note(&mut self, note: &str) {
        self.0.on_note(note);
    }
    fn on_train_end(&mut self, history: &[EpochReport]) {
        self.0.on_train_end(history);
    }
}
