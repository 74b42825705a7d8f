//! A platform in a temporary directory, prices made up for it, a bundle trained on them, and a client.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request, StatusCode};
use gateway::{GatewayOptions, Service, Stopping};
use jiff::civil::{Date, date};
use platform::{
    BatchProgress, Control, EpochReport, FeatureRow, FitOptions, ImportDataset, Observer, Options, Pipeline,
    Platform, SourceFile, TrainObserver, TrainOptions,
};
use serde_json::Value;
use tempfile::TempDir;

/// The prefix of every resource in the tests.
pub(crate) const N: &str = "/v1/projects/default/locations/us-central1";

/// Features of the trained model.
pub(crate) const FEATURES: usize = 5;
/// The time, in a first process and in the one after it.
const START: &str = "2024-01-02T03:04:05Z";
const LATER: &str = "2024-01-02T04:00:00Z";
const NAMES: usize = 6;
const DAYS: usize = 300;
/// What is trained.
pub(crate) const PIPELINE: &str = r#"
version = 1
name = "tiny"
[data]
dataset = "made-up"
benchmark = "S00"
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

/// What a request came back with.
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What of it is text.
    pub(crate) text: String,
    pub(crate) bytes: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that this is an error with the body `{"error": "MESSAGE"}`, and gives its message.
    #[track_caller]
    pub(crate) fn plainly_refused(&self, code: u16) -> String {
        assert_eq!(self.status.as_u16(), code, "{}", self.text);
        assert_eq!(self.header("content-type"), "application/json", "{}", self.text);
        assert_eq!(self.json().as_object().unwrap().len(), 1, "{}", self.text);
        self.json()["error"].as_str().expect("an error is a text").to_owned()
    }

    /// Checks that this is an error with the body of Google's APIs, and gives its message.
    #[track_caller]
    pub(crate) fn refused(&self, code: u16, status: &str) -> String {
        assert_eq!(self.status.as_u16(), code, "{}", self.text);
        let error = &self.json()["error"];
        assert_eq!((&error["code"], &error["status"]), (&code.into(), &status.into()), "{}", self.text);
        error["message"].as_str().expect("an error has a message").to_owned()
    }
}

/// A server without a network.
pub(crate) struct Server {
    pub(crate) service: Service,
    pub(crate) platform: Arc<Platform>,
    /// A directory a client's `artifactUri` may name, with a bundle in it if one was trained.
    pub(crate) bundle: PathBuf,
    /// The newest row of every name as the bundle's training saw it.
    pub(crate) newest: Vec<FeatureRow>,
    _dir: Option<TempDir>,
}

impl Server {
    /// With nothing in it.
    pub(crate) async fn empty(options: GatewayOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let platform = open(dir.path(), START).await;
        let bundle = dir.path().join("bundle");
        Self {
            service: Service::new(Arc::clone(&platform), options, Stopping::default()),
            platform,
            bundle,
            newest: Vec::new(),
            _dir: Some(dir),
        }
    }

    /// With data and a trained bundle, not uploaded.
    pub(crate) async fn trained() -> Self {
        let mut server = Self::empty(GatewayOptions { max_instances: 8, ..GatewayOptions::default() }).await;
        server.newest = train(&server.platform, &server.bundle).await;
        server
    }

    /// With the bundle deployed at `endpoints/tiny` as deployment `1`.
    pub(crate) async fn deployed() -> Self {
        let server = Self::trained().await;
        server.post_ok("models:upload", &server.upload_body()).await;
        server.post_ok("endpoints?endpointId=tiny", r#"{"displayName": "Tiny"}"#).await;
        let body = r#"{"deployedModel": {"model": "tiny-model", "id": "1", "cpuCores": 1}, "trafficSplit": {"0": 100}}"#;
        server.post_ok("endpoints/tiny:deployModel", body).await;
        server
    }

    /// The same directory after the process has ended and begun again; nothing is brought back yet.
    pub(crate) async fn restarted(self) -> Self {
        let Self { service, platform, bundle, newest, _dir } = self;
        drop(service);
        drop(platform);
        let platform = open(_dir.as_ref().expect("it is the first one's").path(), LATER).await;
        let options = GatewayOptions { max_instances: 8, ..GatewayOptions::default() };
        let service = Service::new(Arc::clone(&platform), options, Stopping::default());
        Self { service, platform, bundle, newest, _dir }
    }

    /// The same platform behind other options; it must not outlive this one.
    pub(crate) fn with(&self, options: GatewayOptions) -> Self {
        Self {
            service: Service::new(Arc::clone(&self.platform), options, Stopping::default()),
            platform: Arc::clone(&self.platform),
            bundle: self.bundle.clone(),
            newest: Vec::new(),
            _dir: None,
        }
    }

    /// A body that uploads the bundle as `tiny-model`.
    pub(crate) fn upload_body(&self) -> String {
        let uri = format!("file://{}", self.bundle.display());
        serde_json::json!({"modelId": "tiny-model", "model": {"displayName": "Tiny model", "artifactUri": uri}}).to_string()
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let (parts, body) = self.service.answer(request).await.into_parts();
        let bytes = axum::body::to_bytes(body, 10 << 20).await.unwrap();
        Answer {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
            bytes: bytes.to_vec(),
        }
    }

    pub(crate) async fn request(&self, method: Method, path: &str, body: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
        self.send(request.body(Body::from(body.to_owned())).unwrap()).await
    }

    /// A POST with headers and any bytes.
    pub(crate) async fn post_bytes(
        &self,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Body>,
    ) -> Answer {
        let mut request = Request::post(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.request(Method::GET, path, "").await
    }

    /// A resource below [`N`].
    #[track_caller]
    pub(crate) fn get_ok(&self, tail: &str) -> impl Future<Output = Value> {
        let path = format!("{N}/{tail}");
        async move {
            let answer = self.get(&path).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.text);
            answer.json()
        }
    }

    /// A call below [`N`].
    pub(crate) async fn post(&self, tail: &str, body: &str) -> Answer {
        self.request(Method::POST, &format!("{N}/{tail}"), body).await
    }

    pub(crate) async fn post_ok(&self, tail: &str, body: &str) -> Value {
        let answer = self.post(tail, body).await;
        assert_eq!(answer.status, StatusCode::OK, "{tail}: {}", answer.text);
        answer.json()
    }
}

/// The days of the made-up prices.
pub(crate) fn business_days() -> Vec<Date> {
    let weekday =
        |d: &Date| !matches!(d.weekday(), jiff::civil::Weekday::Saturday | jiff::civil::Weekday::Sunday);
    date(2020, 1, 1).series(jiff::Span::new().days(1)).filter(weekday).take(DAYS).collect()
}

async fn open(dir: &Path, now: &str) -> Arc<Platform> {
    let start = now.parse().unwrap();
    let options = Options {
        data_dir: dir.join("data"),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots: vec![format!("file://{}", dir.display())],
        holder: "test".to_owned(),
        clock: Arc::new(move || start),
    };
    Platform::open(options).await.unwrap()
}

async fn train(platform: &Platform, out: &Path) -> Vec<FeatureRow> {
    let request = ImportDataset::new("made-up", vec![prices()]);
    platform.import_dataset(request).await.unwrap();
    let pipeline = Pipeline::parse(PIPELINE, "tiny.toml").unwrap();
    let options = TrainOptions { out, base_dir: Path::new("."), fit: FitOptions::default() };
    platform.train(&pipeline, &options, &mut Quiet).await.unwrap().newest
}

/// A wide file of multiplicative walks, the same in every run.
fn prices() -> SourceFile {
    let mut state = 7u64;
    let mut last = [100.0; NAMES];
    let mut text = "date,S00,S01,S02,S03,S04,S05\n".to_owned();
    for day in business_days() {
        text += &day.to_string();
        for price in &mut last {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let uniform = (state >> 11) as f64 / (1u64 << 53) as f64;
            *price *= 1.0 + 0.04 * (uniform - 0.5);
            text += &format!(",{price:.4}");
        }
        text.push('\n');
    }
    SourceFile::in_memory("prices.csv", text)
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
