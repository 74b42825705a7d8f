//! What is refused before any model is asked: paths, methods, sizes, load, and other people's pages.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use gateway::GatewayOptions;

use crate::fixture::{N, Server};

#[tokio::test]
async fn paths_methods_and_calls_that_are_not_there() {
    let server = Server::empty(GatewayOptions::default()).await;
    for path in ["/", "/nothing", "/v1/projects/", "/v1/projects/p/locations/l/features", "/metrics/x"] {
        let answer = server.get(path).await;
        answer.refused(404, "NOT_FOUND");
        assert!(!answer.header("x-request-id").is_empty());
    }
    let answer = server.request(Method::POST, &format!("{N}/models/m:export"), "").await;
    assert!(answer.refused(501, "UNIMPLEMENTED").contains("ExportModel"));
    let answer = server.request(Method::PUT, &format!("{N}/endpoints/e"), "").await;
    answer.refused(405, "INVALID_ARGUMENT");
    assert_eq!(answer.header("allow"), "GET, PATCH, DELETE");
    server.request(Method::POST, "/healthz", "").await.refused(405, "INVALID_ARGUMENT");
    server.get(&format!("{N}/models/none")).await.refused(404, "NOT_FOUND");
    server.get(&format!("{N}/operations/1")).await.refused(404, "NOT_FOUND");
    let filter = server.get(&format!("{N}/models?filter=a")).await;
    assert!(filter.refused(400, "INVALID_ARGUMENT").contains("at character 1"), "{}", filter.text);
    server.get(&format!("{N}/customJobs?filter=a")).await.refused(501, "UNIMPLEMENTED");
    for verb in ["explain", "streamRawPredict", "serverStreamingPredict"] {
        let answer = server.request(Method::POST, &format!("{N}/endpoints/e:{verb}"), "{}").await;
        answer.refused(501, "UNIMPLEMENTED");
    }
}

#[tokio::test]
async fn a_client_may_not_name_any_directory() {
    let server = Server::empty(GatewayOptions::default()).await;
    let upload = |uri: &str| {
        serde_json::json!({"modelId": "m", "model": {"displayName": "m", "artifactUri": uri}}).to_string()
    };
    let answer = server.post("models:upload", &upload("file:///etc")).await;
    answer.refused(403, "PERMISSION_DENIED");
    server.post("models:upload", &upload("gs://bucket/x")).await.refused(400, "INVALID_ARGUMENT");
    std::fs::create_dir(&server.bundle).unwrap();
    let empty = upload(&format!("file://{}", server.bundle.display()));
    let message = server.post("models:upload", &empty).await.refused(400, "INVALID_ARGUMENT");
    assert!(message.contains("bundle.json"), "{message}");
    assert_eq!(server.get_ok("models").await["models"], serde_json::json!([]));
}

#[tokio::test]
async fn limits_are_refused_with_their_numbers() {
    let small = Server::empty(GatewayOptions { max_body_bytes: 100, ..GatewayOptions::default() }).await;
    let answer = small.post("endpoints/e:predict", &" ".repeat(101)).await;
    assert!(answer.refused(413, "INVALID_ARGUMENT").contains("100 bytes"));

    let full =
        Server::empty(GatewayOptions { max_concurrent_requests: 0, ..GatewayOptions::default() }).await;
    full.get(&format!("{N}/models")).await.refused(429, "RESOURCE_EXHAUSTED");
    assert_eq!(full.get("/healthz").await.status, 200, "health is answered under any load");

    let timeout = Duration::from_millis(20);
    let hasty = Server::empty(GatewayOptions { request_timeout: timeout, ..GatewayOptions::default() }).await;
    let never = Body::new(Stalled);
    let request = Request::post(format!("{N}/endpoints/e:predict")).body(never).unwrap();
    assert!(hasty.send(request).await.refused(504, "DEADLINE_EXCEEDED").contains("0.02 s"));
}

/// A body whose sender has gone quiet.
struct Stalled;

impl hyper::body::Body for Stalled {
    type Data = axum::body::Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

#[tokio::test]
async fn a_page_of_another_site_may_not_ask() {
    let server = Server::empty(GatewayOptions::default()).await;
    let from = |origin: &'static str| {
        let request = Request::post(format!("{N}/endpoints?endpointId=e")).header("host", "127.0.0.1:8080");
        server.send(request.header("origin", origin).body(Body::from("{}")).unwrap())
    };
    from("http://evil.example").await.refused(403, "PERMISSION_DENIED");
    server.get(&format!("{N}/endpoints/e")).await.refused(404, "NOT_FOUND");
    assert_eq!(from("http://127.0.0.1:8080").await.status, 200);
}
