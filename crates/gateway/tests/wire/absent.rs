//! What is deployed and does not answer, after a restart: not loaded yet, or damaged meanwhile. In every protocol the name means what
//! is deployed, so that nobody else answers for it, and the reply says to come again or why not.

use axum::http::Method;
use gateway::GatewayOptions;
use protos::serving::inference::{
    ModelInferRequest, ModelInferResponse, ModelReadyRequest, ModelReadyResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
};
use protos::serving::tensorflow::serving::model_version_status::State;
use protos::serving::tensorflow::serving::{
    GetModelStatusRequest, GetModelStatusResponse, ModelSpec, PredictRequest, PredictResponse,
};
use serde_json::{Value, json};
use tonic::Code;

use crate::fixture::{Answer, Server};
use crate::grpc::call;

const ROW: &str = "[0.1,0.2,0.3,0.4,0.5]";

/// A server whose model has version 1 on an endpoint and version 2, called `default` and `prod`, on another; it has ended.
async fn two_versions() -> Server {
    let server = Server::deployed().await;
    let mut body: Value = serde_json::from_str(&server.upload_body()).unwrap();
    body.as_object_mut().unwrap().remove("modelId");
    body["parentModel"] = json!("tiny-model");
    server.post_ok("models:upload", &body.to_string()).await;
    server
        .post_ok("models/tiny-model@2:mergeVersionAliases", r#"{"versionAliases": ["default", "prod"]}"#)
        .await;
    server.post_ok("endpoints?endpointId=second", r#"{"displayName": "Second"}"#).await;
    let deploy = r#"{"deployedModel": {"model": "tiny-model@2", "id": "2", "cpuCores": 1}, "trafficSplit": {"0": 100}}"#;
    server.post_ok("endpoints/second:deployModel", deploy).await;
    server
}

impl Server {
    async fn ask(&self, path: &str) -> Answer {
        let body = match path.rsplit('/').next() {
            Some("infer") => format!(
                r#"{{"inputs": [{{"name": "features", "shape": [1, 5], "datatype": "FP32", "data": {ROW}}}]}}"#
            ),
            _ => format!(r#"{{"instances": [{ROW}]}}"#),
        };
        self.request(Method::POST, path, &body).await
    }

    /// Checks that questions by all names of the newest version are refused for now, for this reason.
    async fn refuses_for_now(&self, reason: &str) {
        for path in [
            "/v1/models/tiny-model:predict",
            "/v1/models/tiny-model/versions/2:predict",
            "/v1/models/tiny-model/labels/default:predict",
            "/v1/models/default.tiny-model/labels/prod:predict",
            "/v2/models/tiny-model/infer",
            "/v2/models/tiny-model/versions/2/infer",
            "/v2/models/tiny-model/versions/prod/infer",
            "/invocations",
            "/endpoints/tiny-model/invocations",
            "/endpoints/second/invocations",
            "/v2/repository/models/tiny-model/load",
        ] {
            let answer = self.ask(path).await;
            assert_eq!(
                (answer.status.as_u16(), answer.header("retry-after")),
                (503, "1"),
                "{path}: {}",
                answer.text
            );
            assert!(answer.text.contains(reason), "{path}: {}", answer.text);
        }
        let metadata = self.get("/v1/models/tiny-model/metadata").await;
        assert_eq!(metadata.status, 503, "{}", metadata.text);
        assert_eq!(self.get("/v2/models/tiny-model/ready").await.status, 400);
        assert_eq!(self.get("/ping").await.status, 404);
        let variant = [("content-type", "application/json"), ("x-amzn-sagemaker-target-variant", "2")];
        let answer = self.post_bytes("/endpoints/second/invocations", &variant, "{}").await;
        assert_eq!(answer.status, 503, "{}", answer.text);

        let model_name = || "tiny-model".to_owned();
        let ask = ModelInferRequest { model_name: model_name(), ..Default::default() };
        let refused =
            call::<_, ModelInferResponse>(self, "/inference.GRPCInferenceService/ModelInfer", ask).await;
        assert_refused(refused, reason);
        let ask = PredictRequest { model_spec: Some(spec()), ..Default::default() };
        let refused =
            call::<_, PredictResponse>(self, "/tensorflow.serving.PredictionService/Predict", ask).await;
        assert_refused(refused, "Servable not available for request: Latest(tiny-model)");
        let load = RepositoryModelLoadRequest { model_name: model_name(), ..Default::default() };
        let path = "/inference.GRPCInferenceService/RepositoryModelLoad";
        assert_refused(call::<_, RepositoryModelLoadResponse>(self, path, load).await, reason);
        let ask = ModelReadyRequest { name: model_name(), version: String::new() };
        let path = "/inference.GRPCInferenceService/ModelReady";
        let ready: ModelReadyResponse = call(self, path, ask).await.unwrap().into_inner();
        assert!(!ready.ready);
    }

    /// Version, state, code and message of each version, over REST and gRPC; they say the same.
    async fn states(&self) -> Vec<(i64, State, String)> {
        let json = self.get("/v1/models/tiny-model").await.json();
        let path = "/tensorflow.serving.ModelService/GetModelStatus";
        let request = GetModelStatusRequest { model_spec: Some(spec()) };
        let reply: GetModelStatusResponse = call(self, path, request).await.unwrap().into_inner();
        let wire = json["model_version_status"].as_array().unwrap();
        assert_eq!(wire.len(), reply.model_version_status.len());
        let same = |(json, status): (&Value, protos::serving::tensorflow::serving::ModelVersionStatus)| {
            let outcome = status.status.clone().unwrap();
            assert_eq!(json["version"], status.version.to_string());
            assert_eq!(json["state"], status.state().as_str_name());
            assert_eq!(json["status"]["error_message"], outcome.error_message);
            let code = if outcome.error_code == 0 { "OK" } else { "UNAVAILABLE" };
            assert_eq!(json["status"]["error_code"], code);
            (status.version, status.state(), outcome.error_message)
        };
        wire.iter().zip(reply.model_version_status).map(same).collect()
    }

    /// Version, state and reason of each version in the repository, over HTTP and gRPC; they say the same.
    async fn index(&self) -> Vec<(String, String, String)> {
        let json = self.request(Method::POST, "/v2/repository/index", "").await.json();
        let path = "/inference.GRPCInferenceService/RepositoryIndex";
        let reply: RepositoryIndexResponse =
            call(self, path, RepositoryIndexRequest::default()).await.unwrap().into_inner();
        let entry = |entry: &Value| {
            let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
            (text("version"), text("state"), text("reason"))
        };
        let over_http: Vec<(String, String, String)> = json.as_array().unwrap().iter().map(entry).collect();
        let over_grpc: Vec<(String, String, String)> =
            reply.models.into_iter().map(|model| (model.version, model.state, model.reason)).collect();
        assert_eq!(over_http, over_grpc);
        over_http
    }
}

fn spec() -> ModelSpec {
    ModelSpec { name: "tiny-model".to_owned(), ..Default::default() }
}

#[track_caller]
fn assert_refused<R: std::fmt::Debug>(refused: Result<tonic::Response<R>, tonic::Status>, part: &str) {
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert!(refused.message().contains(part), "{refused}");
}

fn entry(version: &str, state: &str, reason: &str) -> (String, String, String) {
    (version.to_owned(), state.to_owned(), reason.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_loaded_yet_is_to_be_asked_for_later_and_nobody_else_answers() {
    let server = two_versions().await.restarted().await;
    server.platform.announce_deployments().await.unwrap();
    server.refuses_for_now("it is being loaded; try again later").await;
    let announced = |version: i64| (version, State::Start, String::new());
    assert_eq!(server.states().await, [announced(2), announced(1)]);
    assert_eq!(server.index().await, [entry("1", "LOADING", ""), entry("2", "LOADING", "")]);
    let readiness = server.get("/readyz").await;
    assert_eq!(
        (readiness.status.as_u16(), readiness.json()["reasons"][0].as_str().unwrap()),
        (503, "deployments are being brought back")
    );
    let shown = server.get_ok("endpoints/tiny").await["deployedModels"][0]["status"].clone();
    assert_eq!(shown, json!({"availableReplicaCount": 0, "message": "loading"}));
    // It is deployed to stay, loaded or not.
    assert_eq!(server.request(Method::POST, "/v2/repository/models/tiny-model/unload", "").await.status, 400);
    // What nothing is deployed of is unknown all the same.
    assert_eq!(server.ask("/v1/models/other:predict").await.status, 404);
    assert_eq!(server.ask("/v1/models/tiny-model/versions/3:predict").await.status, 404);
    let unknown = server.ask("/v1/models/tiny-model/labels/none:predict").await;
    assert!(unknown.text.contains("Unrecognized servable version label: none"), "{}", unknown.text);

    server.platform.restore_deployments().await.unwrap();
    for path in ["/v1/models/tiny-model:predict", "/v2/models/tiny-model/infer", "/invocations"] {
        let answer = server.ask(path).await;
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@2", "{path}: {}", answer.text);
    }
    assert_eq!(server.index().await, [entry("1", "READY", ""), entry("2", "READY", "")]);
    assert_eq!(server.get("/readyz").await.status, 200);
    assert_eq!(server.get("/ping").await.status, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_failed_to_load_says_why_and_nobody_else_answers() {
    let server = two_versions().await;
    let file = server.platform.data_dir().join("artifacts/default/tiny-model/2/model.onnx");
    let server = server.restarted().await;
    let mut bytes = std::fs::read(&file).unwrap();
    bytes.push(0);
    std::fs::write(&file, bytes).unwrap();
    server.platform.restore_deployments().await.unwrap();
    server.refuses_for_now("model.onnx").await;
    let states = server.states().await;
    assert_eq!((states[0].0, states[0].1, states[1].1), (2, State::End, State::Available));
    assert!(states[0].2.contains("model.onnx"), "{}", states[0].2);
    let index = server.index().await;
    assert_eq!(index[0], entry("1", "READY", ""));
    assert_eq!(index[1], entry("2", "UNAVAILABLE", &states[0].2));
    // The other one answers who asks for it.
    for path in [
        "/v1/models/tiny-model/versions/1:predict",
        "/v2/models/tiny-model/versions/1/infer",
        "/endpoints/tiny/invocations",
    ] {
        let answer = server.ask(path).await;
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1", "{path}: {}", answer.text);
    }
    // Taken out of service, it is meant by nobody any more: the newest that is deployed answers.
    server.post_ok("endpoints/second:undeployModel", r#"{"deployedModelId": "2", "trafficSplit": {}}"#).await;
    let answer = server.ask("/v1/models/tiny-model:predict").await;
    assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1", "{}", answer.text);
    assert_eq!(server.states().await.len(), 1);
    let label = server.ask("/v1/models/tiny-model/labels/prod:predict").await;
    assert!(label.text.contains("Unrecognized servable version label: prod"), "{}", label.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_only_model_is_the_only_one_deployed_not_the_first_one_loaded() {
    let server = Server::deployed().await;
    server.post_ok("models:upload", &server.upload_body().replace("tiny-model", "other")).await;
    server.post_ok("endpoints?endpointId=zeta", r#"{"displayName": "Zeta"}"#).await;
    let deploy =
        r#"{"deployedModel": {"model": "other", "id": "2", "cpuCores": 1}, "trafficSplit": {"0": 100}}"#;
    server.post_ok("endpoints/zeta:deployModel", deploy).await;
    let file = server.platform.data_dir().join("artifacts/default/other/1/model.onnx");
    let server = server.restarted().await;
    std::fs::write(&file, b"damaged").unwrap();
    server.platform.announce_deployments().await.unwrap();
    let several = async || {
        let answer = server.ask("/invocations").await;
        assert_eq!((answer.status.as_u16(), server.get("/ping").await.status.as_u16()), (400, 404));
        assert!(answer.text.contains("several models are deployed (other, tiny-model)"), "{}", answer.text);
    };
    several().await;
    server.platform.restore_deployments().await.unwrap();
    several().await;
    let named = |name: &str| {
        server.with(GatewayOptions { default_model: Some(name.to_owned()), ..GatewayOptions::default() })
    };
    let chosen = named("other");
    let answer = chosen.ask("/invocations").await;
    assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, "1"), "{}", answer.text);
    assert!(answer.text.contains("TEMPORARILY_UNAVAILABLE"), "{}", answer.text);
    assert_eq!(chosen.get("/health").await.status, 404);
    let chosen = named("tiny-model");
    assert_eq!(chosen.ask("/invocations").await.header("x-bellwether-model-version"), "tiny-model@1");
    assert_eq!(chosen.get("/health").await.status, 200);
}
