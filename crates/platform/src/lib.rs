//! The facade: everything Bellwether does, as one set of calls.
//!
//! [`Platform`] composes market data, training, artifacts, registry and serving; the gateway and the command
//! line see only this crate. Deliberately not here: protocols, command lines, the clock and the environment
//! (they are arguments).

mod alike;
mod answerer;
mod attempt;
mod background;
pub mod backup;
pub mod batch_predict;
mod builtin;
mod certify;
mod convert;
mod cores;
mod dataset;
mod deployed;
mod endpoint;
mod engines;
mod error;
mod evaluate;
mod export;
mod features;
mod files;
mod fitting;
mod import_settings;
mod in_service;
pub mod jobs;
mod keys;
mod lifecycle;
mod limits;
mod loads;
mod lock;
mod machine;
mod model;
mod model_source;
mod on_demand;
mod page;
mod pipeline;
mod placebo;
mod predict;
mod prepare;
mod program_memory;
mod read_only;
mod replay;
mod report;
mod restore;
mod samplers;
mod search;
mod served;
mod shadow;
mod source_file;
mod staging;
mod table;
mod traffic;
mod train;
mod trained_bundle;
mod upload;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock, Weak};

use jiff::Timestamp;

pub use answerer::Answerer;
pub use builtin::{BuiltinDataset, QUICKSTART_ORIGIN, QUICKSTART_PIPELINE};
pub use certify::Certified;
pub use cores::{OwnCore, core_count, leave_core, run_on_core};
pub use dataset::{ImportDataset, ImportMode, ImportedDataset};
pub use deployed::DeploymentStatus;
pub use endpoint::{CreateEndpoint, Deploy, Redeploy, Standing};
pub use engines::{EngineInfo, EngineUse, engines, look_for_onnxruntime, pinned_engine};
pub use error::{Error, FieldViolation, Kind, Result};
pub use evaluate::{
    ClassMetrics, Evaluation, NumberMetrics, TestMetrics, expected_class, is_distribution, score,
};
pub use export::{Exported, ModelFormat, convert_model};
pub use features::{ComputeFeatures, ComputedFeatures};
pub use fitting::{FitOptions, StartFrom};
pub use import_settings::ImportSettings;
pub use in_service::{DeploymentCounters, Readiness};
pub use keys::{Caller, CreateKey, CreatedKey, Held, Hold, KeyUse};
pub use lifecycle::Pruned;
pub use limits::limits_in_effect;
pub use loads::LoadCounters;
pub use lock::Holder;
pub use machine::{DEFAULT_CPU_CORES, DEFAULT_MEMORY_GB, ResourceRequest, use_huge_pages};
pub use market::certificate::{Certificate, Check, Verdict};
pub use market::dataset::{Adjustment, AppendReport, Stamp, TableFile, TableKind};
pub use market::row_file::{AnswerFormat, RowFormat, SymbolRow};
pub use market::{
    AcceptJumps, Decimal, Finding, FindingKind, Quality, SourceFile, ic::IcSummary, snapshot::Snapshot,
};
pub use market::{Explained, Expression, Operator, operators};
pub use model::{UploadModel, UploadTarget};
pub use model_source::ArtifactSource;
pub use page::{PAGE_SIZE_MAX, Page, Paged};
pub use pipeline::{DataSource, Pipeline};
pub use placebo::{ModelCheck, Outcome};
pub use portfolio::report::Command;
pub use predict::{DatasetUse, Instance, PredictReply, PredictRequest, Question, Target};
pub use predictor::{DataType, Signature, Tensor, TensorData, TensorSpec};
pub use program_memory::{CountingAllocator, release_program_pages};
pub use read_only::PinnedSnapshot;
pub use registry::{
    AliasChange, ApiKey, Deployment, DeploymentLimits, Endpoint, EndpointUpdate, FailedAttempt, Failure, Job,
    JobState, MadeVersion, ModelTexts, ModelUpdate, ModelVersion, NewOperation, Operation, OperationOutcome,
    Residence, Scope, VersionUpdate, verb,
};
pub use report::{PredictionRow, Predictions, RunReport, write_report};
pub use search::{Method, Range, SearchReport, SearchSection, TrialLine};
pub use served::{DEFAULT_PROJECT, ModelName, ServedModel, ServedVersion, VersionChoice, VersionState};
pub use serving::{BatchSize, Bucket, Counters, ErrorCounts, Histogram, LANES, PerThread, resident_bytes};
pub use shadow::{ShadowReport, ShadowTotals};
pub use source_file::find_source_files;
pub use staging::{Checksums, Received, StagedObject, StagedUpload, Staging};
pub use table::{PinnedTable, TablePipeline, TableReport};
pub use traffic::Together;
pub use train::{FeatureRow, TrainObserver, TrainOptions, TrainReport, WindowSizes};
pub use training::{
    BatchProgress, ComputeDevice, Control, EpochReport, LayerSummary, Observer, Summary, TrainBegin,
};
pub use upload::model_id;

/// Tells the time; given from outside so that nothing below reads a clock.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

const REGISTRY_FILE: &str = "registry.sqlite";
const SCRATCH: &str = "scratch";
const ARTIFACT_CACHE: &str = "artifact-cache";
/// Bytes of bundles kept on this machine when the artifact store is elsewhere, unless told otherwise: 8 GB.
pub const ARTIFACT_CACHE_BYTES: u64 = 8_000_000_000;

/// How to open a [`Platform`].
#[derive(Clone)]
pub struct Options {
    /// Where everything of this installation lies; made if it is not there.
    pub data_dir: PathBuf,
    /// URI of the artifact store, a folder or a place in a bucket; absent: `artifacts` in the data directory.
    pub artifact_root: Option<String>,
    /// Bytes of bundles kept on this machine when the artifact store is elsewhere: beyond them the least recently used go.
    pub artifact_cache_bytes: u64,
    /// Roots that a client's artifact URI may lie under, besides the artifact root: `file://` ones, or of a store (`gs://bucket/models`).
    pub allowed_roots: Vec<String>,
    /// What this process is, shown to a second one that wants the same directory.
    pub holder: String,
    /// Tells the time.
    pub clock: Clock,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options")
            .field("data_dir", &self.data_dir)
            .field("artifact_root", &self.artifact_root)
            .field("artifact_cache_bytes", &self.artifact_cache_bytes)
            .field("allowed_roots", &self.allowed_roots)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

/// A data directory in use by this process. Shared as `Arc<Platform>`; every method takes `&self`.
pub struct Platform {
    /// Itself, for work that goes on when its caller has left.
    this: Weak<Self>,
    /// Absent if the directory is only read.
    lock: Option<lock::DataDirectoryLock>,
    data_dir: PathBuf,
    clock: Clock,
    artifacts: store::Store,
    datasets: store::Store,
    allowed_roots: Vec<String>,
    registry: Box<dyn registry::Store>,
    serving: in_service::InService,
    keys: keys::Keys,
    jobs: jobs::Queue,
    /// Changes of models and endpoints happen one at a time. Nobody loads, copies or imports while holding it.
    changes: tokio::sync::Mutex<()>,
    /// So do imports, which take their time.
    imports: tokio::sync::Mutex<()>,
    /// Panels in memory, the most recently used last.
    panels: tokio::sync::Mutex<Vec<(String, u32, dataset::LoadedDataset)>>,
    /// The newest snapshot of each data set this process has read.
    newest: RwLock<HashMap<String, u32>>,
    ids: AtomicU64,
    staging: Staging,
    loads: loads::Loads,
}

impl std::fmt::Debug for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Platform").field("data_dir", &self.data_dir).finish_non_exhaustive()
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        // One that only reads imports nothing, and was not counted.
        if self.lock.is_some() {
            source_file::platform_closed();
        }
    }
}

impl Platform {
    /// Opens a data directory, makes it if needed, takes its lock and removes what a killed process left half
    /// done.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] if another process holds the directory or it cannot be written,
    /// [`Kind::InvalidArgument`] for an artifact root that cannot be opened.
    pub async fn open(options: Options) -> Result<Arc<Self>> {
        let data_dir = make_data_dir(&options.data_dir)?;
        let lock = lock::DataDirectoryLock::acquire(&data_dir, &options.holder)?;
        remove_scratch(&data_dir)?;
        let artifact_root = match options.artifact_root {
            Some(uri) => uri,
            None => file_uri(&data_dir.join("artifacts"))?,
        };
        let mut artifacts = store::Store::open(&artifact_root)?;
        if artifacts.is_remote() {
            let folder = data_dir.join(ARTIFACT_CACHE);
            artifacts = artifacts.with_cache(store::Cache::open(&folder, options.artifact_cache_bytes)?);
        }
        let datasets = store::Store::open(&file_uri(&data_dir)?)?;
        let mut allowed_roots = options.allowed_roots;
        for root in &allowed_roots {
            let refused =
                |why: String| Error::invalid("allow-root", format!("allowed root \"{root}\" {why}"));
            if root.starts_with("file:") || !root.contains("://") {
                model::file_path(root).map_err(refused)?;
            } else {
                store::Store::open_read_only(root, &store::Options::default())
                    .map_err(|error| refused(format!("cannot be read: {error}")))?;
            }
        }
        if artifact_root.starts_with("file:") {
            allowed_roots.push(artifact_root);
        }
        let staging = Staging::open(&data_dir)?;
        let registry = registry::SqliteStore::open(&data_dir.join(REGISTRY_FILE)).await?;
        let keys = keys::Keys::of(registry::Store::list_keys(&registry).await?);
        let platform = Arc::new_cyclic(|this| Self {
            this: this.clone(),
            lock: Some(lock),
            data_dir,
            clock: options.clock,
            artifacts,
            datasets,
            allowed_roots,
            registry: Box::new(registry),
            serving: in_service::InService::default(),
            keys,
            jobs: jobs::Queue::default(),
            changes: tokio::sync::Mutex::new(()),
            imports: tokio::sync::Mutex::new(()),
            panels: tokio::sync::Mutex::new(Vec::new()),
            newest: RwLock::new(HashMap::new()),
            ids: AtomicU64::new(0),
            staging,
            loads: loads::Loads::default(),
        });
        source_file::platform_opened();
        platform.remove_abandoned_uploads().await?;
        Ok(platform)
    }

    /// The time, as the process that opened this tells it.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// The data directory, absolute.
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// The URI of the artifact store.
    pub fn artifact_root(&self) -> &str {
        self.artifacts.uri()
    }

    /// A fresh directory for work in progress; what a killed process leaves there is removed at the next start.
    ///
    /// # Errors
    /// [`Kind::Internal`] if it cannot be made.
    pub fn scratch_directory(&self) -> Result<PathBuf> {
        let path = self.data_dir.join(SCRATCH).join(self.generated_id());
        std::fs::create_dir_all(&path).map_err(|error| {
            Error::internal(format!("cannot make {}: {error}; is the disk full?", path.display()), error)
        })?;
        Ok(path)
    }

    /// Removes a directory [`Platform::scratch_directory`] made; one that stays is removed at the next start.
    pub fn remove_scratch_directory(&self, path: &Path) {
        if path.starts_with(self.data_dir.join(SCRATCH))
            && let Err(error) = std::fs::remove_dir_all(path)
        {
            tracing::warn!(path = %path.display(), %error, "cannot remove a scratch directory");
        }
    }

    /// Tells later comers to the data directory where this process answers.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the lock file cannot be written.
    pub fn announce_address(&self, url: &str) -> Result<()> {
        match &self.lock {
            Some(lock) => lock.announce_address(url),
            None => Ok(()),
        }
    }

    /// Records a finished operation so that clients can poll it.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the registry cannot be written.
    pub async fn record_operation(&self, operation: NewOperation) -> Result<Operation> {
        let id = self.generated_id();
        Ok(self.registry.put_operation(&id, operation, self.now()).await?)
    }

    /// A recorded operation.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is not known.
    pub async fn get_operation(&self, project: &str, id: &str) -> Result<Operation> {
        Ok(self.registry.get_operation(project, id).await?)
    }

    /// All recorded operations of a project, the newest first.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the registry cannot be read.
    pub async fn list_operations(&self, project: &str) -> Result<Vec<Operation>> {
        Ok(self.registry.list_operations(project, registry::MAX_OPERATIONS).await?)
    }

    /// Forgets a recorded operation; what it has changed stays.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if it is not known.
    pub async fn delete_operation(&self, project: &str, id: &str) -> Result<()> {
        Ok(self.registry.delete_operation(project, id).await?)
    }

    /// An id no other call got: microseconds of the clock, pushed on where they repeat.
    fn generated_id(&self) -> String {
        let now = u64::try_from(self.now().as_microsecond()).unwrap_or_default();
        let next = |last: u64| Some(now.max(last + 1));
        let last = self.ids.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        now.max(last + 1).to_string()
    }
}

fn make_data_dir(path: &Path) -> Result<PathBuf> {
    let made = std::fs::create_dir_all(path).and_then(|()| path.canonicalize());
    made.map_err(|error| {
        Error::new(
            Kind::FailedPrecondition,
            format!(
                "cannot make the data directory {}: {error}; name another with --data-dir",
                path.display()
            ),
        )
    })
}

fn remove_scratch(data_dir: &Path) -> Result<()> {
    let scratch = data_dir.join(SCRATCH);
    match std::fs::remove_dir_all(&scratch) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(Error::internal(format!("cannot remove {}: {error}", scratch.display()), error))
        }
        _ => Ok(()),
    }
}

/// The `file://` URI of an absolute path.
///
/// # Errors
/// [`Kind::InvalidArgument`] for another path.
pub fn file_uri(path: &Path) -> Result<String> {
    url::Url::from_file_path(path)
        .map(String::from)
        .map_err(|()| Error::invalid("data-dir", format!("{} is not an absolute path", path.display())))
}
