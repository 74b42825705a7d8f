//! Deadlines, limits, and bytes that are no gRPC.

use axum::body::Body;
use axum::http::Request;
use axum::http::uri::PathAndQuery;
use gateway::GatewayOptions;
use platform::{CreateKey, Scope};
use prost::Message as _;
use protos::serving::inference::*;
use protos::serving::tensorflow::serving::{GetModelStatusRequest, ModelSpec};
use tonic::Code;
use tonic::codec::CompressionEncoding;
use tonic_prost::ProstCodec;

use super::{call, call_with, client};
use crate::fixture::{Answer, Server};

const LIVE: &str = "/inference.GRPCInferenceService/ServerLive";
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

async fn small() -> Server {
    Server::empty(GatewayOptions { max_body_bytes: 1 << 20, ..GatewayOptions::default() }).await
}

async fn raw(server: &Server, path: &str, body: Vec<u8>) -> Answer {
    let request = Request::post(path).header("content-type", "application/grpc").header("te", "trailers");
    server.send(request.body(Body::from(body)).unwrap()).await
}

fn framed(compressed: u8, length: u32, message: &[u8]) -> Vec<u8> {
    [&[compressed][..], &length.to_be_bytes(), message].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_passed_is_said_and_a_wrong_one_too() {
    let server = small().await;
    for (timeout, code) in
        [("0n", Some(Code::DeadlineExceeded)), ("1x", Some(Code::InvalidArgument)), ("10S", None)]
    {
        let mut request = tonic::Request::new(ServerLiveRequest {});
        request.metadata_mut().insert("grpc-timeout", timeout.parse().unwrap());
        let answer = call_with::<_, ServerLiveResponse>(client(&server), LIVE, request).await;
        assert_eq!(answer.err().map(|status| status.code()), code, "{timeout}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_over_a_limit_is_refused() {
    let server = small().await;
    let request =
        ModelInferRequest { raw_input_contents: vec![vec![0; 2 << 20].into()], ..Default::default() };
    let refused = call::<_, ()>(&server, INFER, request.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    assert!(refused.message().contains("1048576 bytes"), "{refused}");
    // 2 MiB of zeros are 2 KB when compressed; what counts is what they unpack to.
    let squeezing = client(&server).send_compressed(CompressionEncoding::Gzip);
    let refused =
        call_with::<_, ()>(squeezing, INFER, tonic::Request::new(request.clone())).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted, "{refused}");
    let many = raw(&server, INFER, framed(0, 1_000_000, &[0x2a, 0].repeat(500_000))).await;
    assert_eq!(many.header("grpc-status"), "8", "{}", many.header("grpc-message"));
    // A long message that never comes.
    assert_eq!(raw(&server, INFER, framed(0, 1_000_000, b"short")).await.header("grpc-status"), "13");
    assert_eq!(raw(&server, INFER, framed(0, u32::MAX, b"short")).await.header("grpc-status"), "8");
    let mut streaming = client(&server);
    streaming.ready().await.unwrap();
    let codec: ProstCodec<ModelInferRequest, ModelStreamInferResponse> = ProstCodec::default();
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    let requests = tonic::Request::new(futures::stream::iter([request.clone()]));
    let mut replies = streaming.streaming(requests, path, codec).await.unwrap().into_inner();
    assert_eq!(replies.message().await.unwrap_err().code(), Code::ResourceExhausted);

    let full =
        Server::empty(GatewayOptions { max_concurrent_requests: 0, ..GatewayOptions::default() }).await;
    let refused = call::<_, ()>(&full, INFER, ModelInferRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    let alive: ServerLiveResponse = call(&full, LIVE, ServerLiveRequest {}).await.unwrap().into_inner();
    assert!(alive.live, "a full server still says that it lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_one_project_asks_its_models_alone() {
    let server = Server::deployed().await;
    let key = async |project: &str| {
        let (project, display_name) = (Some(project.to_owned()), "test".to_owned());
        let request = CreateKey { project, display_name, scope: Scope::Predict, expires_at: None };
        server.platform.create_key(request).await.unwrap().secret
    };
    let (own, other) = (key("default").await, key("other").await);
    let ask = async |path: &'static str, key: Option<&str>| {
        let spec = ModelSpec { name: "tiny-model".to_owned(), ..Default::default() };
        // Of both protocols: the name is where the other has its model.
        let message = match path {
            INFER => ModelInferRequest { model_name: spec.name, ..Default::default() }.encode_to_vec(),
            _ => GetModelStatusRequest { model_spec: Some(spec) }.encode_to_vec(),
        };
        let mut request = Request::post(path).header("content-type", "application/grpc");
        if let Some(key) = key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let body = framed(0, message.len() as u32, &message);
        let answer = server.send(request.body(Body::from(body)).unwrap()).await;
        answer.header("grpc-status").to_owned()
    };
    let status = "/tensorflow.serving.ModelService/GetModelStatus";
    for (path, allowed) in [(INFER, "3"), (status, "")] {
        assert_eq!(ask(path, None).await, "16", "{path}");
        assert_eq!(ask(path, Some(&other)).await, "7", "{path}");
        assert_eq!(ask(path, Some(&own)).await, allowed, "{path}: as far as the model");
    }
    assert_eq!(ask("/grpc.health.v1.Health/Check", None).await, "5", "no key, but no such service either");
    for (key, models) in [(&own, 1), (&other, 0)] {
        let mut request = tonic::Request::new(RepositoryIndexRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let path = "/inference.GRPCInferenceService/RepositoryIndex";
        let index: RepositoryIndexResponse =
            call_with(client(&server), path, request).await.unwrap().into_inner();
        assert_eq!(index.models.len(), models);
        let mut request = tonic::Request::new(ModelStatisticsRequest::default());
        request.metadata_mut().insert("authorization", format!("Bearer {key}").parse().unwrap());
        let path = "/inference.GRPCInferenceService/ModelStatistics";
        let all: ModelStatisticsResponse =
            call_with(client(&server), path, request).await.unwrap().into_inner();
        assert_eq!(all.model_stats.len(), models);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn compressed_calls_are_answered_compressed() {
    let server = small().await;
    for encoding in [CompressionEncoding::Gzip, CompressionEncoding::Deflate] {
        let client = client(&server).send_compressed(encoding).accept_compressed(encoding);
        let response: tonic::Response<ServerLiveResponse> =
            call_with(client, LIVE, tonic::Request::new(ServerLiveRequest {})).await.unwrap();
        assert!(response.metadata().get("grpc-encoding").is_some());
        assert!(response.into_inner().live);
    }
    let plain = client(&server).accept_compressed(CompressionEncoding::Gzip);
    let response: tonic::Response<ServerLiveResponse> =
        call_with(plain, LIVE, tonic::Request::new(ServerLiveRequest {})).await.unwrap();
    assert!(response.metadata().get("grpc-encoding").is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_refused() {
    let server = small().await;
    let text = ModelInferRequest { model_name: "xx".to_owned(), ..Default::default() }.encode_to_vec();
    let not_utf8: Vec<u8> = text.iter().map(|byte| if *byte == b'x' { 0xff } else { *byte }).collect();
    let group = [0x0b, 0x0c];
    for (body, status) in [
        (vec![], "13"),
        (vec![0, 0], "13"),
        (framed(0, 4, &[0xff; 4]), "3"),
        (framed(0, 11, &[0xff; 11]), "3"),
        (framed(0, not_utf8.len() as u32, &not_utf8), "3"),
        (framed(0, 2, &group), "3"),
        (framed(1, 2, &[1, 2]), "13"),
        (framed(7, 0, &[]), "13"),
    ] {
        let answer = raw(&server, INFER, body.clone()).await;
        assert_eq!(answer.status, 200);
        assert_eq!(answer.header("grpc-status"), status, "{body:?}: {}", answer.header("grpc-message"));
        assert!(!answer.header("x-request-id").is_empty());
    }
    let unknown = raw(&server, "/inference.GRPCInferenceService/%2e%2e%2fModelInfer", vec![]).await;
    assert_eq!(unknown.header("grpc-status"), "12");
    let other = raw(&server, "/no.such.Service/Method", vec![]).await;
    assert_eq!((other.status.as_u16(), other.header("grpc-status")), (200, "12"));

    let send = async |request: axum::http::request::Builder| {
        server.send(request.body(Body::empty()).unwrap()).await.status.as_u16()
    };
    assert_eq!(send(Request::get(LIVE)).await, 405);
    assert_eq!(send(Request::post(LIVE)).await, 415);
    assert_eq!(send(Request::post(LIVE).header("content-type", "application/json")).await, 415);
    assert_eq!(send(Request::post(LIVE).header("content-type", "application/grpc-web")).await, 415);
}
