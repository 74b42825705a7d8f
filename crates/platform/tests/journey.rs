//! One model's whole way through the facade: prices in, a version trained, deployed and asked, on made-up
//! prices; and what the facade refuses on the way.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use jiff::civil::{Date, date};
use platform::{
    ArtifactSource, BatchProgress, Control, CreateEndpoint, Deploy, EpochReport, FitOptions, ImportDataset,
    Instance, Kind, ModelTexts, Observer, Options, Pipeline, Platform, PredictRequest, Question,
    ResourceRequest, SourceFile, TrainObserver, TrainOptions, TrainReport, UploadModel, UploadTarget,
};

const NAMES: usize = 12;
const DAYS: usize = 420;

const PIPELINE: &str = r#"
version = 1
name = "tiny"
[data]
dataset = "made-up"
benchmark = "S00"
[features]
set = "alpha158"
families = ["ROC", "STD", "RANK"]
[features.custom]
GAP = "$close/Ref($close,1)-1"
[label]
expression = "Ref($close,-2)/Ref($close,-1)-1"
classes = 3
[split]
train = ["2020-01-01", "2020-08-31"]
valid = ["2020-09-01", "2020-10-31"]
test = ["2020-11-01", "2021-12-31"]
[[model.layers]]
type = "dense"
units = 8
activation = "relu"
[[model.layers]]
type = "dense"
units = 3
activation = "softmax"
[fit]
epochs = 2
batch_size = 64
seed = 1
"#;

#[derive(Default)]
struct Quiet {
    stages: Vec<String>,
    stop: bool,
}

impl Observer for Quiet {
    fn on_batch_end(&mut self, _: &BatchProgress) -> Control {
        if self.stop { Control::Stop } else { Control::Continue }
    }
    fn on_epoch_end(&mut self, _: &EpochReport) -> Control {
        Control::Continue
    }
}

impl TrainObserver for Quiet {
    fn on_stage(&mut self, stage: &str, _: &str) {
        self.stages.push(stage.to_owned());
    }
}

fn business_days() -> Vec<Date> {
    let weekday =
        |d: &Date| !matches!(d.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
    date(2020, 1, 1).series(jiff::Span::new().days(1)).filter(weekday).take(DAYS).collect()
}

/// Prices of a multiplicative walk from a linear congruential generator: the same in every run.
fn prices() -> Vec<Vec<f64>> {
    let mut state = 7u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1u64 << 53) as f64
    };
    let mut last = vec![100.0; NAMES];
    (0..DAYS)
        .map(|_| {
            for price in &mut last {
                *price *= 1.0 + 0.04 * (uniform() - 0.5);
            }
            last.clone()
        })
        .collect()
}

fn csv(prices: &[Vec<f64>]) -> SourceFile {
    let names: Vec<String> = (0..NAMES).map(|i| format!("S{i:02}")).collect();
    let mut text = format!("date,{}\n", names.join(","));
    for (day, row) in business_days().iter().zip(prices) {
        let cells: Vec<String> = row.iter().map(|price| format!("{price:.4}")).collect();
        text += &format!("{day},{}\n", cells.join(","));
    }
    SourceFile::in_memory("prices.csv", text)
}

async fn open(dir: &Path) -> Arc<Platform> {
    open_with(dir, Vec::new()).await
}

async fn open_with(dir: &Path, allowed_roots: Vec<String>) -> Arc<Platform> {
    let start = "2024-01-02T03:04:05Z".parse().unwrap();
    let options = Options {
        data_dir: dir.to_owned(),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots,
        holder: "test".to_owned(),
        clock: Arc::new(move || start),
    };
    Platform::open(options).await.unwrap()
}

async fn import(platform: &Platform, prices: &[Vec<f64>]) -> platform::ImportedDataset {
    let request = ImportDataset {
        notes: vec!["made up".to_owned()],
        ..ImportDataset::new("made-up", vec![csv(prices)])
    };
    platform.import_dataset(request).await.unwrap()
}

async fn train(platform: &Platform, out: &Path) -> TrainReport {
    let pipeline = Pipeline::parse(PIPELINE, "tiny.toml").unwrap();
    let mut observer = Quiet::default();
    let options = TrainOptions { out, base_dir: Path::new("."), fit: FitOptions::default() };
    let report = platform.train(&pipeline, &options, &mut observer).await.unwrap();
    assert_eq!(observer.stages, ["data", "features", "fit", "evaluate", "certify", "save"]);
    report
}

fn upload(dir: &Path) -> UploadModel {
    UploadModel {
        project: "default".to_owned(),
        target: UploadTarget::NewOrVersionOf { id: None },
        about: ModelTexts::default(),
        description: String::new(),
        source: ArtifactSource::Path(dir.to_owned()),
        aliases: Vec::new(),
        labels: BTreeMap::new(),
        signature: None,
    }
}

fn deploy(model: &str) -> Deploy {
    Deploy {
        project: "default".to_owned(),
        endpoint: "tiny".to_owned(),
        model: model.to_owned(),
        deployment_id: None,
        display_name: None,
        resources: ResourceRequest { cpu_cores: Some(1.0), memory_gb: Some(1.0), ..Default::default() },
        engine: None,
        traffic_split: Some(BTreeMap::from([("0".to_owned(), 100)])),
        standing: platform::Standing::default(),
    }
}

async fn endpoint(platform: &Platform) {
    let request = CreateEndpoint {
        project: "default".to_owned(),
        id: Some("tiny".to_owned()),
        display_name: "tiny".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
    };
    platform.create_endpoint(request).await.unwrap();
}

fn ask(instances: Vec<Instance>, as_of: Option<Date>) -> PredictRequest {
    PredictRequest {
        project: "default".to_owned(),
        endpoint: "tiny".to_owned(),
        question: Question::Rows { instances, as_of },
    }
}

fn symbol(name: &str) -> Vec<Instance> {
    vec![Instance::Symbol(name.to_owned())]
}

async fn kind_and_text(platform: &Platform, request: PredictRequest) -> (Kind, String) {
    let error = platform.predict(request).await.unwrap_err();
    (error.kind(), error.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_become_an_answer_and_survive_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bundle");
    let platform = open(&dir.path().join("data")).await;
    let imported = import(&platform, &prices()).await;
    assert!(imported.created);
    assert_eq!(imported.snapshot.number, 1);
    assert!(!import(&platform, &prices()).await.created, "the same content is no new snapshot");

    let report = train(&platform, &out).await;
    assert_eq!(report.features.len(), 16);
    assert_eq!(report.history.len(), 2);
    assert!(report.metrics.rows > 500);
    let manifest: serde_json::Value =
        serde_json::from_slice(&std::fs::read(out.join("bundle.json")).unwrap()).unwrap();
    let observed = manifest["features"]["observed"].as_array().unwrap();
    assert!(observed.iter().map(|column| &column["name"]).eq(report.features.iter()));
    for column in observed {
        let (least, most) = (column["min"].as_f64().unwrap(), column["max"].as_f64().unwrap());
        assert!(least < most && column["missing"].is_u64(), "{column}");
    }

    let first = platform.upload_model(upload(&out)).await.unwrap();
    assert_eq!((first.model.as_str(), first.version), ("tiny", 1));
    assert_eq!(first.aliases, ["default"]);
    endpoint(&platform).await;
    let deployed = platform.deploy(deploy("tiny")).await.unwrap();
    let status = platform.deployment_status("default", "tiny", &deployed.id).unwrap();
    assert!(status.replay.ends_with("difference 0"), "{}", status.replay);

    let by_symbol = platform.predict(ask(symbol("S03"), None)).await.unwrap();
    assert_eq!(by_symbol.as_of, business_days().last().copied());
    assert_eq!(by_symbol.dataset.as_ref().unwrap().snapshot, 1);
    let newest = report.newest.iter().find(|row| row.symbol == "S03").unwrap();
    let by_vector =
        platform.predict(ask(vec![Instance::Vector(newest.features.clone())], None)).await.unwrap();
    assert_eq!(by_symbol.predictions().unwrap(), by_vector.predictions().unwrap());
    let total: f32 = by_symbol.predictions().unwrap()[0].iter().sum();
    assert!((total - 1.0).abs() < 1e-5, "{total}");

    let second = platform.upload_model(upload(&out)).await.unwrap();
    assert_eq!(second.version, 2);
    drop(platform);

    let platform = open(&dir.path().join("data")).await;
    let restored = platform.restore_deployments().await.unwrap();
    assert_eq!(restored.len(), 1);
    assert!(platform.readiness().ready);
    let again = platform.predict(ask(symbol("S03"), None)).await.unwrap();
    assert_eq!(again.predictions().unwrap(), by_symbol.predictions().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_later_price_changes_no_earlier_answer() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bundle");
    let platform = open(&dir.path().join("data")).await;
    import(&platform, &prices()).await;
    train(&platform, &out).await;
    platform.upload_model(upload(&out)).await.unwrap();
    endpoint(&platform).await;
    platform.deploy(deploy("tiny")).await.unwrap();

    let cut = 300;
    let as_of = business_days()[cut];
    let before = platform.predict(ask(symbol("S05"), Some(as_of))).await.unwrap();
    let day_after = business_days()[cut + 1];
    let day_after_before = platform.predict(ask(symbol("S05"), Some(day_after))).await.unwrap();
    let newest_before = platform.predict(ask(symbol("S05"), None)).await.unwrap();
    let mut changed = prices();
    for row in changed.iter_mut().skip(cut + 1) {
        row[5] *= 1.2;
    }
    assert!(import(&platform, &changed).await.created);
    let after = platform.predict(ask(symbol("S05"), Some(as_of))).await.unwrap();
    assert_eq!(after.dataset.clone().unwrap().snapshot, 2);
    assert_eq!(before.predictions().unwrap(), after.predictions().unwrap());

    // The corrected bar itself, asked as of its day, is still as it was known then.
    let day_after_again = platform.predict(ask(symbol("S05"), Some(day_after))).await.unwrap();
    assert_eq!(day_after_before.predictions().unwrap(), day_after_again.predictions().unwrap());
    // Where the change is known the answer is another, so that the comparisons above can fail.
    let newest = platform.predict(ask(symbol("S05"), None)).await.unwrap();
    assert_ne!(newest_before.predictions().unwrap(), newest.predictions().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_questions_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bundle");
    let platform = open(&dir.path().join("data")).await;
    import(&platform, &prices()).await;
    train(&platform, &out).await;
    platform.upload_model(upload(&out)).await.unwrap();

    let (kind, text) = kind_and_text(&platform, ask(symbol("S00"), None)).await;
    assert_eq!(kind, Kind::NotFound, "{text}");
    endpoint(&platform).await;
    let (kind, text) = kind_and_text(&platform, ask(symbol("S00"), None)).await;
    assert_eq!(kind, Kind::FailedPrecondition, "{text}");
    platform.deploy(deploy("tiny")).await.unwrap();

    let (kind, text) = kind_and_text(&platform, ask(symbol("S0O"), None)).await;
    assert_eq!(kind, Kind::NotFound, "{text}");
    assert!(text.contains("S0O") && text.contains("S00"), "{text}");
    let (kind, text) = kind_and_text(&platform, ask(vec![Instance::Vector(vec![0.0; 15])], None)).await;
    assert_eq!(kind, Kind::InvalidArgument);
    assert!(text.starts_with("instance 0 has 15 values where model tiny@1 takes 16 features"), "{text}");
    let (kind, text) = kind_and_text(&platform, ask(symbol("S00"), Some(date(2019, 12, 31)))).await;
    assert_eq!(kind, Kind::OutOfRange);
    assert!(text.contains("2019-12-31 is before the data"), "{text}");
    let (kind, text) = kind_and_text(&platform, ask(symbol("S00"), Some(date(2020, 1, 6)))).await;
    assert_eq!(kind, Kind::FailedPrecondition, "{text}");
    assert_eq!(kind_and_text(&platform, ask(Vec::new(), None)).await.0, Kind::InvalidArgument);

    let reply = platform.predict(ask(symbol("S00"), Some(date(2020, 6, 1)))).await.unwrap();
    assert!(reply.warnings[0].contains("inside the training window"), "{:?}", reply.warnings);
    let reply = platform.predict(ask(symbol("S00"), Some(date(2030, 1, 1)))).await.unwrap();
    assert!(reply.warnings[0].contains("after the newest bar"), "{:?}", reply.warnings);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bundle");
    let platform = open(&dir.path().join("data")).await;
    import(&platform, &prices()).await;

    // A training run that is stopped leaves no bundle.
    let pipeline = Pipeline::parse(PIPELINE, "tiny.toml").unwrap();
    let mut stopping = Quiet { stop: true, ..Quiet::default() };
    let options = TrainOptions { out: &out, base_dir: Path::new("."), fit: FitOptions::default() };
    let error = platform.train(&pipeline, &options, &mut stopping).await.unwrap_err();
    assert_eq!(error.kind(), Kind::Cancelled, "{error}");
    assert!(!out.join("bundle.json").exists());

    // A bundle with a changed file is refused and no version appears.
    train(&platform, &out).await;
    let model = out.join("model.onnx");
    let mut bytes = std::fs::read(&model).unwrap();
    bytes[100] ^= 1;
    std::fs::write(&model, bytes).unwrap();
    let error = platform.upload_model(upload(&out)).await.unwrap_err();
    assert_eq!(error.kind(), Kind::InvalidArgument);
    assert!(error.to_string().contains("model.onnx"), "{error}");
    assert_eq!(platform.get_model("default", "tiny").await.unwrap_err().kind(), Kind::NotFound);

    // A client may not name a directory outside the allowed roots, not even through a link or `..`.
    train(&platform, &out).await;
    let uri = |path: &Path| format!("file://{}", path.display());
    let from_client = |uri: String| UploadModel { source: ArtifactSource::Uri(uri), ..upload(&out) };
    let link = dir.path().join("data/artifacts/link");
    std::os::unix::fs::symlink(&out, &link).unwrap();
    for path in [out.clone(), link, dir.path().join("data/artifacts/../../bundle")] {
        let error = platform.upload_model(from_client(uri(&path))).await.unwrap_err();
        assert_eq!(error.kind(), Kind::PermissionDenied, "{error}");
    }
    assert_eq!(
        platform.upload_model(from_client("s3://b/k".to_owned())).await.unwrap_err().kind(),
        Kind::InvalidArgument
    );
    drop(platform);

    let platform = open_with(&dir.path().join("data"), vec![uri(dir.path())]).await;
    assert_eq!(platform.upload_model(from_client(uri(&out))).await.unwrap().version, 1);

    // A budget below what the model takes is refused with both numbers, and the endpoint stays as it was.
    endpoint(&platform).await;
    let tight = ResourceRequest { memory_gb: Some(1e-6), ..deploy("tiny").resources };
    let error = platform.deploy(Deploy { resources: tight, ..deploy("tiny") }).await.unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted, "{error}");
    assert!(platform.get_endpoint("default", "tiny").await.unwrap().deployments.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_cut_short_is_cleaned_away() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bundle");
    let data = dir.path().join("data");
    let platform = open(&data).await;
    import(&platform, &prices()).await;
    train(&platform, &out).await;
    drop(platform);

    // As a process killed between reserving version 1 and its manifest leaves it.
    let registry = registry::SqliteStore::open(&data.join("registry.sqlite")).await.unwrap();
    let now = "2024-01-01T00:00:00Z".parse().unwrap();
    use registry::Store as _;
    registry.reserve_version("default", "tiny", registry::UploadMode::Either, now).await.unwrap();
    drop(registry);
    let half = data.join("artifacts/default/tiny/1");
    std::fs::create_dir_all(&half).unwrap();
    std::fs::write(half.join("model.onnx"), b"half").unwrap();

    let platform = open(&data).await;
    assert!(!half.join("model.onnx").exists());
    assert_eq!(platform.upload_model(upload(&out)).await.unwrap().version, 1);
}
