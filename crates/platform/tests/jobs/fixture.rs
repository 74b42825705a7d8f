//! A data directory with made-up prices, jobs that do as they are told, and a runner in a hurry.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::civil::{Date, date};
use platform::jobs::{JobRunner, JobSettings, LocalLauncher, SubmitJob, Work};
use platform::{
    BatchProgress, Control, EpochReport, FitOptions, ImportDataset, Job, JobState, Observer, Options,
    Pipeline, Platform, SourceFile, TrainObserver, TrainOptions,
};

pub(crate) const P: &str = "default";
const NAMES: usize = 6;
const DAYS: usize = 300;
const SECONDS_MAX: u64 = 60;

/// A pipeline over the data set `made-up`.
pub(crate) const PIPELINE: &str = r#"
version = 1
name = "tiny"
[data]
dataset = "made-up"
[features]
set = "alpha158"
families = ["ROC"]
[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 3
[split]
train = ["2020-01-01", "2020-06-30"]
valid = ["2020-07-01", "2020-08-31"]
test = ["2020-09-01", "2021-12-31"]
[[model.layers]]
type = "dense"
units = 3
activation = "softmax"
[fit]
epochs = 1
batch_size = 64
seed = 1
"#;

/// A folder with a data directory in it.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// What a real training of the pipeline gives.
    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.path().join("bundle")
    }

    pub(crate) fn options(&self) -> Options {
        Options {
            data_dir: self.dir.path().join("data"),
            artifact_root: None,
            artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
            allowed_roots: vec![format!("file://{}", self.dir.path().display())],
            holder: "test".to_owned(),
            clock: Arc::new(jiff::Timestamp::now),
        }
    }

    /// Opens the data directory as soon as nobody holds it: the lock goes with the last task of a runtime that died, and a
    /// process that another test is just starting has it too until it has become another program.
    pub(crate) async fn reopened(&self) -> Arc<Platform> {
        for _ in 0..500 {
            match Platform::open(self.options()).await {
                Ok(platform) => return platform,
                Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
            }
        }
        Platform::open(self.options()).await.unwrap()
    }

    /// Opens the data directory; without the data set it is imported, and the bundle trained.
    pub(crate) async fn open(&self) -> Arc<Platform> {
        let platform = self.reopened().await;
        if platform.list_datasets().await.unwrap().is_empty() {
            let prices = SourceFile::in_memory("prices.csv", prices(DAYS));
            platform.import_dataset(ImportDataset::new("made-up", vec![prices])).await.unwrap();
        }
        platform
    }

    /// Opens the data directory and trains the bundle that jobs can copy.
    pub(crate) async fn open_trained(&self) -> Arc<Platform> {
        let platform = self.open().await;
        train(&platform, &self.bundle()).await;
        platform
    }

    pub(crate) fn job_dir(&self, job: &str) -> PathBuf {
        self.dir.path().join("data/jobs").join(P).join(job)
    }

    /// The shell words that make a job succeed.
    pub(crate) fn copy_bundle(&self) -> String {
        format!("cp -r '{}' \"$out\"", self.bundle().display())
    }
}

/// Trains in this process.
pub(crate) async fn train(platform: &Platform, out: &Path) -> serde_json::Value {
    let pipeline = Pipeline::parse(PIPELINE, "tiny.toml").unwrap();
    let options = TrainOptions { out, base_dir: Path::new("."), fit: FitOptions::default() };
    platform.train(&pipeline, &options, &mut Quiet).await.unwrap().dataset
}

/// A job that does what shell words on one line say.
pub(crate) fn request(fake: &str) -> SubmitJob {
    SubmitJob {
        project: P.to_owned(),
        display_name: None,
        labels: BTreeMap::new(),
        pipeline: format!("# fake: {fake}\n{PIPELINE}"),
        work: Work::Train { from: None },
    }
}

pub(crate) async fn submit(platform: &Platform, fake: &str) -> String {
    platform.submit_job(request(fake)).await.unwrap().id
}

pub(crate) fn settings() -> JobSettings {
    JobSettings { grace: Duration::from_secs(30), pause: Duration::from_millis(20), ..JobSettings::default() }
}

pub(crate) fn run(platform: &Arc<Platform>) -> JobRunner {
    run_with(platform, settings())
}

pub(crate) fn run_with(platform: &Arc<Platform>, settings: JobSettings) -> JobRunner {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fake_train.sh");
    platform.run_jobs(Arc::new(LocalLauncher::new(program)), settings)
}

/// Runs a server until a job has said something, and lets the server die without a word.
pub(crate) fn run_and_die(world: &World, request: SubmitJob) -> String {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let id = runtime.block_on(async {
        let platform = world.open().await;
        let runner = run(&platform);
        let id = platform.submit_job(request).await.unwrap().id;
        until_log(&platform, &id, "up").await;
        until_state(&platform, &id, JobState::Running).await;
        // What the runner would do at its end is not done.
        std::mem::forget(runner);
        id
    });
    runtime.shutdown_timeout(Duration::from_secs(5));
    id
}

pub(crate) fn in_a_runtime<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Runtime::new().unwrap().block_on(future)
}

/// Waits until a job is as it should be.
pub(crate) async fn until(platform: &Platform, id: &str, right: impl Fn(&Job) -> bool) -> Job {
    let start = Instant::now();
    loop {
        let job = platform.get_job(P, id).await.unwrap();
        if right(&job) {
            return job;
        }
        assert!(start.elapsed().as_secs() < SECONDS_MAX, "{job:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

pub(crate) async fn until_state(platform: &Platform, id: &str, state: JobState) -> Job {
    until(platform, id, |job| {
        assert!(job.state == state || !job.state.has_ended(), "{job:?}");
        job.state == state
    })
    .await
}

pub(crate) async fn log(platform: &Platform, id: &str) -> String {
    platform.job_log(P, id, 0, Duration::ZERO).await.unwrap().part.text
}

/// Waits until a job has written something to its log.
pub(crate) async fn until_log(platform: &Platform, id: &str, text: &str) {
    let start = Instant::now();
    while !log(platform, id).await.contains(text) {
        assert!(start.elapsed().as_secs() < SECONDS_MAX, "{}", log(platform, id).await);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// A wide file of multiplicative walks, the same in every run.
pub(crate) fn prices(days: usize) -> String {
    let mut state = 7u64;
    let mut last = [100.0; NAMES];
    let mut text = "date,S00,S01,S02,S03,S04,S05\n".to_owned();
    let weekday =
        |d: &Date| !matches!(d.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
    for day in date(2020, 1, 1).series(jiff::Span::new().days(1)).filter(weekday).take(days) {
        text += &day.to_string();
        for price in &mut last {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
            *price *= 1.0 + 0.04 * (uniform - 0.5);
            text += &format!(",{price:.4}");
        }
        text.push('\n');
    }
    text
}

struct Quiet;

impl Observer for Quiet {
    fn on_batch_end(&mut self, _: &BatchProgress) -> Control {
        Control::Continue
    }
    fn on_epoch_end(&mut self, _: &EpochReport) -> Control {
        Control::Continue
    }
}

impl TrainObserver for Quiet {
    fn on_stage(&mut self, _: &str, _: &str) {}
}
