//! What every reply says beside its body, whichever the protocol: which version it is about, and how long it took.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{Method, Request};
use gateway::GatewayOptions;
use protos::serving::inference::model_infer_request::InferInputTensor;
use protos::serving::inference::{
    ModelInferRequest, ModelInferResponse, ModelStatisticsRequest, ModelStatisticsResponse,
};
use protos::serving::tensorflow::serving::{
    GetModelStatusRequest, GetModelStatusResponse, ModelSpec, PredictRequest, PredictResponse,
};
use protos::serving::tensorflow::tensor_shape_proto::Dim;
use protos::serving::tensorflow::{DataType, TensorProto, TensorShapeProto};
use serde_json::json;

use crate::fixture::{N, Server};
use crate::grpc::{call, metadata};
use crate::imported::{COLUMNS, input_name, server_of};

const VERSION: &str = "x-bellwether-model-version";
const TIMING: &str = "server-timing";
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";
const STATISTICS: &str = "/inference.GRPCInferenceService/ModelStatistics";
const PREDICT: &str = "/tensorflow.serving.PredictionService/Predict";
const STATUS: &str = "/tensorflow.serving.ModelService/GetModelStatus";
const DESK: &str = "/v1/projects/desk/locations/us-central1/endpoints/net";

fn spec(name: &str) -> Option<ModelSpec> {
    Some(ModelSpec { name: name.to_owned(), ..Default::default() })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_of_another_project_goes_by_its_full_name() {
    let options = GatewayOptions { default_model: Some("desk.net".to_owned()), ..GatewayOptions::default() };
    let server = server_of("desk", options).await;
    let input = input_name(&server, "desk.net").await;
    let row = [[0.5; COLUMNS]];
    let v2 = json!({"inputs": [{"name": input, "shape": [1, COLUMNS], "datatype": "FP32", "data": row}]});
    let rows = json!({"instances": row});
    for (method, path, body, status) in [
        (Method::POST, "/v1/models/desk.net:predict", rows.to_string(), 200),
        (Method::POST, "/v1/models/desk.net:predict", "{}".to_owned(), 400),
        (Method::GET, "/v1/models/desk.net", String::new(), 200),
        (Method::GET, "/v1/models/desk.net/metadata", String::new(), 200),
        (Method::POST, "/v2/models/desk.net/infer", v2.to_string(), 200),
        (Method::POST, "/v2/models/desk.net/infer", "{}".to_owned(), 400),
        (Method::GET, "/v2/models/desk.net/ready", String::new(), 200),
        (Method::GET, "/v2/models/desk.net/stats", String::new(), 200),
        (Method::POST, "/invocations", rows.to_string(), 200),
        (Method::POST, "/invocations", "{}".to_owned(), 400),
    ] {
        let answer = server.request(method, path, &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {}", answer.text);
        assert_eq!(answer.header(VERSION), "desk.net@1", "{path} {body}");
    }
    // Its paths have said the project.
    for (verb, kind, body, status) in [
        ("predict", "application/json", rows.to_string(), 200),
        ("predict", "application/json", "{}".to_owned(), 400),
        ("rawPredict", "application/json", rows.to_string(), 200),
        ("rawPredict", "application/json", json!({"inputs": row}).to_string(), 200),
        ("rawPredict", "text/csv", "a\n1".to_owned(), 400),
    ] {
        let path = format!("{DESK}:{verb}");
        let answer = server.post_bytes(&path, &[("content-type", kind)], body.clone()).await;
        assert_eq!(answer.status, status, "{verb} {body}: {}", answer.text);
        assert_eq!(answer.header(VERSION), "net@1", "{verb} {body}");
    }

    let raw: Vec<u8> = row[0].iter().flat_map(|x: &f32| x.to_le_bytes()).collect();
    let question = ModelInferRequest {
        model_name: "desk.net".to_owned(),
        inputs: vec![InferInputTensor {
            name: input.clone(),
            datatype: "FP32".to_owned(),
            shape: vec![1, COLUMNS as i64],
            ..Default::default()
        }],
        raw_input_contents: vec![raw.clone().into()],
        ..Default::default()
    };
    let wrong = ModelInferRequest { raw_input_contents: vec![], ..question.clone() };
    let reply = call::<_, ModelInferResponse>(&server, INFER, question).await.unwrap();
    assert_eq!(metadata(&reply, VERSION), "desk.net@1");
    let refused = call::<_, ModelInferResponse>(&server, INFER, wrong).await.unwrap_err();
    assert_eq!(refused.metadata().get(VERSION).unwrap(), "desk.net@1");
    let dim = [1, COLUMNS as i64].map(|size| Dim { size, name: String::new() }).to_vec();
    let tensor = TensorProto {
        dtype: DataType::DtFloat.into(),
        tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
        tensor_content: raw.into(),
        ..Default::default()
    };
    let question = PredictRequest {
        model_spec: spec("desk.net"),
        inputs: BTreeMap::from([(input, tensor)]),
        ..Default::default()
    };
    let reply = call::<_, PredictResponse>(&server, PREDICT, question).await.unwrap();
    assert_eq!(metadata(&reply, VERSION), "desk.net@1");
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_statistics_name_the_version_they_are_about() {
    let server = Server::deployed().await;
    let of_status = async |name: &str| {
        let request = GetModelStatusRequest { model_spec: spec(name) };
        let reply = call::<_, GetModelStatusResponse>(&server, STATUS, request).await.unwrap();
        metadata(&reply, VERSION).to_owned()
    };
    let of_statistics = async |name: &str| {
        let request = ModelStatisticsRequest { name: name.to_owned(), version: String::new() };
        let reply = call::<_, ModelStatisticsResponse>(&server, STATISTICS, request).await.unwrap();
        metadata(&reply, VERSION).to_owned()
    };
    for path in ["", "/versions/1", "/labels/default", "/metadata"] {
        let answer = server.get(&format!("/v1/models/tiny-model{path}")).await;
        assert_eq!((answer.status.as_u16(), answer.header(VERSION)), (200, "tiny-model@1"), "{path}");
    }
    assert_eq!(of_status("tiny-model").await, "tiny-model@1");
    assert_eq!(of_statistics("tiny-model").await, "tiny-model@1");
    assert_eq!(of_statistics("").await, "", "it is about all models");
    assert_eq!(server.get("/v2/models/tiny-model/stats").await.header(VERSION), "tiny-model@1");

    let parent = format!("{}/models/tiny-model", &N["/v1/".len()..]);
    let mut upload: serde_json::Value = serde_json::from_str(&server.upload_body()).unwrap();
    upload.as_object_mut().unwrap().remove("modelId");
    upload["parentModel"] = parent.into();
    server.post_ok("models:upload", &upload.to_string()).await;
    let body = r#"{"deployedModel": {"model": "tiny-model@2", "id": "2", "cpuCores": 1}, "trafficSplit": {"1": 50, "0": 50}}"#;
    server.post_ok("endpoints/tiny:deployModel", body).await;
    assert_eq!(server.get("/v1/models/tiny-model").await.header(VERSION), "", "it is about both");
    assert_eq!(of_status("tiny-model").await, "");
    assert_eq!(server.get("/v1/models/tiny-model/versions/2").await.header(VERSION), "tiny-model@2");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reply_says_how_long_it_took() {
    let server = Server::deployed().await;
    let answers = async || {
        let text = server.get("/metrics").await.text;
        let counted =
            text.lines().filter(|line| line.starts_with("bellwether_deployment_answer_seconds_count"));
        counted.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = answers().await;
    for (method, path, status) in [
        (Method::POST, format!("{N}/endpoints/tiny:predict"), 400),
        (Method::POST, format!("{N}/endpoints/none:predict"), 404),
        (Method::POST, "/v1/models/tiny-model:predict".to_owned(), 400),
        (Method::POST, "/v1/models/none:predict".to_owned(), 404),
        (Method::POST, "/v2/models/tiny-model/infer".to_owned(), 400),
        (Method::GET, "/v2/models/none".to_owned(), 404),
        (Method::POST, "/invocations".to_owned(), 400),
        (Method::POST, "/endpoints/none/invocations".to_owned(), 404),
        (Method::GET, "/nothing".to_owned(), 404),
        (Method::GET, "/v1/models/tiny-model".to_owned(), 200),
        (Method::GET, "/healthz".to_owned(), 200),
    ] {
        let answer = server.request(method, &path, "{}").await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
        let millis = answer.header(TIMING).strip_prefix("total;dur=").map(str::parse::<f64>);
        assert!(millis.unwrap().unwrap() < 60_000.0, "{path}: {}", answer.header(TIMING));
    }
    let full = server.with(GatewayOptions { max_concurrent_requests: 0, ..GatewayOptions::default() });
    let busy = full.request(Method::POST, &format!("{N}/endpoints/tiny:predict"), "{}").await;
    assert!(busy.status == 429 && busy.header(TIMING).starts_with("total;dur="));
    let page = Request::post("/v2/models/tiny-model/infer").header("origin", "http://elsewhere.example");
    let foreign = server.send(page.body(Body::empty()).unwrap()).await;
    assert!(foreign.status == 403 && foreign.header(TIMING).starts_with("total;dur="));

    let none = ModelInferRequest { model_name: "none".to_owned(), ..Default::default() };
    let refused = call::<_, ModelInferResponse>(&server, INFER, none).await.unwrap_err();
    assert!(refused.metadata().get(TIMING).unwrap().to_str().unwrap().starts_with("total;dur="));
    assert_eq!(answers().await, before, "none of them is counted as an answer");

    let rows: Vec<&[f32]> = server.newest.iter().map(|row| row.features.as_slice()).take(1).collect();
    let answer = server.post("endpoints/tiny:predict", &json!({"instances": rows}).to_string()).await;
    let timing = answer.header(TIMING);
    assert!(timing.starts_with("queue;dur=") && timing.contains(", compute;dur="), "{timing}");
    assert!(!timing.contains("total"), "{timing}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_of_tensorflow_serving_may_be_written_in_any_case() {
    let server = Server::deployed().await;
    let rows: Vec<&[f32]> = server.newest.iter().map(|row| row.features.as_slice()).take(1).collect();
    let body = json!({"instances": rows}).to_string();
    let expected = server.request(Method::POST, "/v1/models/tiny-model:predict", &body).await.json();
    for path in ["/V1/MODELS/tiny-model:PREDICT", "/V1/models/tiny-model/LABELS/default:Predict"] {
        let answer = server.request(Method::POST, path, &body).await;
        assert_eq!((answer.status.as_u16(), answer.json()), (200, expected.clone()), "{path}");
        assert_eq!(answer.header(VERSION), "tiny-model@1");
    }
    assert_eq!(server.get("/V1/Models/tiny-model/METADATA").await.status, 200);
    let wrong = server.request(Method::POST, "/V1/MODELS/tiny-model:explain", &body).await;
    assert_eq!(wrong.plainly_refused(400), "Malformed request: POST /V1/MODELS/tiny-model:explain");
    let full = server.with(GatewayOptions { max_concurrent_requests: 0, ..GatewayOptions::default() });
    full.request(Method::POST, "/V1/MODELS/tiny-model:PREDICT", &body).await.plainly_refused(429);
    server.get("/V1/projects/p").await.refused(404, "NOT_FOUND");
    let text = server.get("/metrics").await.text;
    let counted = "bellwether_http_requests_total{route=\"tensorflow_serving.predict\",code=\"200\"} 3";
    assert!(text.lines().any(|line| line == counted), "{text}");
}

#[tokio::test]
async fn a_service_that_is_not_there_is_said_so_in_grpc() {
    let server = Server::empty(GatewayOptions::default()).await;
    for (path, service) in [
        ("/tensorflow.serving.SessionService/SessionRun", "tensorflow.serving.SessionService"),
        ("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", "grpc.reflection.v1.ServerReflection"),
        ("/nothing", "/nothing"),
    ] {
        let answer = server.post_bytes(path, &[("content-type", "application/grpc")], "").await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!((answer.header("content-type"), answer.header("grpc-status")), ("application/grpc", "12"));
        let message = answer.header("grpc-message");
        assert!(message.contains(service) && message.contains("inference.GRPCInferenceService"), "{message}");
        assert!(answer.text.is_empty() && !answer.header("x-request-id").is_empty());
        server.post_bytes(path, &[("content-type", "application/json")], "").await.refused(404, "NOT_FOUND");
    }
}
