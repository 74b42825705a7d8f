//! A data directory with made-up models, and a look at the threads that load them.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use artifact::graph::GraphBuilder;
use platform::{
    ArtifactSource, CreateEndpoint, DataType, Deploy, Deployment, ModelTexts, Platform, Question,
    ResourceRequest, Standing, Tensor, UploadModel, UploadTarget,
};
use tokio::task::JoinHandle;

pub(crate) const P: &str = "default";
/// `inner` of a model with 48 MB of weights, which takes a good part of a second to load.
pub(crate) const BIG: usize = 3464;
pub(crate) const SMALL: usize = 16;
/// The niceness of what gives way.
pub(crate) const LOWEST: i64 = 19;

/// Memory is measured by what the process takes, and threads are found by their names: one test at a time.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// Keeps every core busy until it is dropped: what gives way gets a 300th of it then, and a load of a tenth of a second takes half a
/// minute.
pub(crate) struct Busy(Arc<AtomicBool>);

impl Busy {
    pub(crate) fn begin() -> Self {
        let over = Arc::new(AtomicBool::new(false));
        for _ in 0..std::thread::available_parallelism().unwrap().get() {
            let over = Arc::clone(&over);
            std::thread::spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        Self(over)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

pub(crate) struct Fixture {
    _alone: tokio::sync::MutexGuard<'static, ()>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) platform: Arc<Platform>,
}

pub(crate) async fn open(folder: &Path) -> Arc<Platform> {
    crate::common::open(&folder.join("data"), vec![format!("file://{}", folder.display())]).await
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        let alone = ALONE.lock().await;
        let dir = tempfile::tempdir().unwrap();
        let platform = open(dir.path()).await;
        Self { _alone: alone, dir, platform }
    }

    /// The same data directory as another process finds it.
    pub(crate) async fn reopened(self) -> Self {
        let Self { _alone, dir, platform } = self;
        drop(platform);
        let platform = open(dir.path()).await;
        Self { _alone, dir, platform }
    }

    pub(crate) async fn upload(&self, id: &str, inner: usize) {
        self.upload_of(id, inner, &Form::default()).await;
    }

    /// A version that takes and gives what is said.
    pub(crate) async fn upload_of(&self, id: &str, inner: usize, form: &Form) {
        let request = UploadModel {
            project: P.to_owned(),
            target: UploadTarget::NewOrVersionOf { id: Some(id.to_owned()) },
            about: ModelTexts::default(),
            description: String::new(),
            source: ArtifactSource::Path(onnx(self.dir.path(), inner, form)),
            aliases: Vec::new(),
            labels: BTreeMap::new(),
            signature: None,
        };
        self.platform.upload_model(request).await.unwrap();
    }

    pub(crate) async fn endpoint(&self, id: &str) {
        let request = CreateEndpoint {
            project: P.to_owned(),
            id: Some(id.to_owned()),
            display_name: id.to_owned(),
            description: String::new(),
            labels: BTreeMap::new(),
        };
        self.platform.create_endpoint(request).await.unwrap();
    }

    /// Deploys a version with all traffic.
    pub(crate) async fn deploy(&self, endpoint: &str, id: &str, model: &str) -> platform::Result<Deployment> {
        self.platform.deploy(deploy(endpoint, id, model)).await
    }

    /// The same on a task of its own; returns when the model is being loaded.
    pub(crate) async fn deploying(
        &self,
        (endpoint, id, model): (&str, &str, &str),
    ) -> JoinHandle<platform::Result<Deployment>> {
        let (platform, deploy) = (Arc::clone(&self.platform), deploy(endpoint, id, model));
        let deploying = tokio::spawn(async move { platform.deploy(deploy).await });
        until_loading(&deploying).await;
        deploying
    }

    /// Makes a version one that cannot be loaded any more.
    pub(crate) fn damage(&self, model: &str, version: u32) {
        let file = format!("data/artifacts/{P}/{model}/{version}/model.onnx");
        let file = self.dir.path().join(file);
        assert!(file.exists(), "{}", file.display());
        std::fs::write(file, b"damaged").unwrap();
    }

    pub(crate) fn in_service(&self, endpoint: &str) -> Vec<String> {
        let all = self.platform.deployment_statuses().into_iter().map(|(_, status)| status);
        all.filter(|status| status.endpoint == endpoint && status.error.is_none())
            .map(|status| status.deployment)
            .collect()
    }

    /// The version that answers.
    pub(crate) async fn ask(&self, endpoint: &str) -> platform::Result<u32> {
        ask(&self.platform, endpoint).await
    }
}

/// The version that answers.
pub(crate) async fn ask(platform: &Platform, endpoint: &str) -> platform::Result<u32> {
    let target = platform.target(P, endpoint, None).await?;
    let row = Tensor::float32(vec![1, 2], vec![0.5, 1.0]).unwrap();
    let question = Question::Tensors(vec![("x".to_owned(), row)]);
    Ok(platform.answer(&target, question).await?.version)
}

pub(crate) fn deploy(endpoint: &str, id: &str, model: &str) -> Deploy {
    Deploy {
        project: P.to_owned(),
        endpoint: endpoint.to_owned(),
        model: model.to_owned(),
        deployment_id: Some(id.to_owned()),
        display_name: None,
        resources: ResourceRequest {
            cpu_cores: Some(1.0),
            memory_gb: Some(4.0),
            ..ResourceRequest::default()
        },
        engine: None,
        traffic_split: Some(BTreeMap::from([("0".to_owned(), 100)])),
        standing: Standing::default(),
    }
}

/// Returns while a model is being loaded by a task, or when the task has ended: a machine that is busy elsewhere may let nobody look
/// meanwhile. [`Busy`] keeps what gives way from that.
pub(crate) async fn until_loading<T>(task: &JoinHandle<T>) {
    let begun = Instant::now();
    while loading().is_empty() && !task.is_finished() {
        assert!(begun.elapsed() < Duration::from_secs(60), "nothing is being loaded");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Returns when nothing is being loaded any more.
pub(crate) async fn until_loaded() {
    while !loading().is_empty() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// The niceness of each thread that loads a model now, by its id.
pub(crate) fn loading() -> BTreeMap<String, i64> {
    let thread = |entry: std::io::Result<std::fs::DirEntry>| {
        let entry = entry.ok()?;
        // A thread that has ended meanwhile has no files.
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let (before, after) = stat.rsplit_once(')')?;
        // Field 19 of `proc_pid_stat`, the third being the first after the name.
        let niceness = before.ends_with("(load").then(|| after.split_whitespace().nth(16)?.parse().ok())?;
        Some((entry.file_name().to_string_lossy().into_owned(), niceness?))
    };
    std::fs::read_dir("/proc/self/task").unwrap().filter_map(thread).collect()
}

/// What a made-up model takes and gives.
pub(crate) struct Form {
    pub(crate) input: &'static str,
    /// Numbers of a row.
    pub(crate) columns: usize,
    pub(crate) output: &'static str,
    pub(crate) classes: usize,
}

impl Default for Form {
    fn default() -> Self {
        Self { input: "x", columns: 2, output: "y", classes: 2 }
    }
}

/// An ONNX file that takes rows of numbers, mixes them at `inner` and gives classes.
fn onnx(folder: &Path, inner: usize, form: &Form) -> PathBuf {
    let constant = |shape: Vec<usize>| {
        let n: usize = shape.iter().product();
        let value = |i: usize| ((i % 7) as f32 - 3.0) / inner as f32;
        Tensor::float32(shape, (0..n).map(value).collect()).unwrap()
    };
    let mut graph = GraphBuilder::new();
    let x = graph.input(form.input, DataType::Float32, vec![None, Some(form.columns)]).unwrap();
    let up = graph.variable("up", constant(vec![form.columns, inner])).unwrap();
    let wide = graph.matmul("wide", x, up).unwrap();
    let square = graph.variable("square", constant(vec![inner, inner])).unwrap();
    let mixed = graph.matmul("mixed", wide, square).unwrap();
    let down = graph.variable("down", constant(vec![inner, form.classes])).unwrap();
    let logits = graph.matmul("logits", mixed, down).unwrap();
    let y = graph.softmax("softmax", logits).unwrap();
    graph.output(form.output, y).unwrap();
    let files = artifact::format::write_all(&graph.build().unwrap()).unwrap();
    let path = folder.join(format!("{inner}.onnx"));
    let (_, model) = files.iter().find(|(file, _)| file.to_string().ends_with("model.onnx")).unwrap();
    std::fs::write(&path, model).unwrap();
    path
}
