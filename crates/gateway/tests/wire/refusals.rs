//! What is refused before any model is asked: paths, methods, sizes, load, and other people's pages.

use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request};
use gateway::GatewayOptions;
use platform::{CreateKey, Scope};

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
    for uri in ["file:///etc\0", "\u{1}file:///etc", "file:///e\ttc"] {
        let message = server.post("models:upload", &upload(uri)).await.refused(400, "INVALID_ARGUMENT");
        assert!(message.contains("control character"), "{message}");
    }
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

#[tokio::test]
async fn a_page_hears_no_in_the_words_of_the_protocol_it_spoke() {
    let server = Server::empty(GatewayOptions::default()).await;
    let from = async |path: &str, kind: &'static str| {
        let headers = [("host", "127.0.0.1:8080"), ("origin", "http://evil.example"), ("content-type", kind)];
        server.post_bytes(path, &headers, "{}").await
    };
    const JSON: &str = "application/json";
    for path in [format!("{N}/endpoints/e:predict"), "/bellwether/v1/keys".into(), "/storage/v1/b/x/o".into()]
    {
        from(&path, JSON).await.refused(403, "PERMISSION_DENIED");
    }
    for path in ["/v1/models/m:predict", "/v1/nothing", "/v2/models/m/infer", "/v2"] {
        let answer = from(path, JSON).await;
        assert_eq!(answer.status, 403, "{path}");
        assert!(answer.json()["error"].as_str().unwrap().contains("web pages"), "{path}: {}", answer.text);
    }
    for path in ["/invocations", "/endpoints/e/invocations"] {
        let answer = from(path, JSON).await;
        assert_eq!(
            (answer.status.as_u16(), &answer.json()["error_code"]),
            (403, &"PERMISSION_DENIED".into())
        );
        assert!(answer.json()["message"].as_str().unwrap().contains("web pages"), "{path}: {}", answer.text);
    }
    let sagemaker = from("/endpoints/e/invocations", JSON).await;
    assert_eq!(sagemaker.header("x-amzn-errortype"), "AccessDeniedException");
    for path in [
        "/inference.GRPCInferenceService/ModelInfer",
        "/tensorflow.serving.PredictionService/Predict",
        "/x.Y/Z",
    ] {
        let answer = from(path, "application/grpc").await;
        let (status, grpc) = (answer.status.as_u16(), answer.header("grpc-status"));
        assert_eq!((status, grpc, answer.text.as_str()), (200, "7", ""), "{path}");
        assert!(answer.header("grpc-message").contains("web%20pages"), "{path}");
    }
}

#[tokio::test]
async fn a_site_whose_name_leads_here_may_not_ask_without_a_key() {
    let server = Server::empty(GatewayOptions::default()).await;
    let host = ("host", "evil.example:8080");
    let page = [host, ("origin", "http://evil.example:8080"), ("content-type", "application/json")];
    let post = async || server.post_bytes(&format!("{N}/endpoints?endpointId=e"), &page, "{}").await;
    let read = async |headers: &[(&str, &str)]| {
        let request = Request::get("/bellwether/v1/keys").header(host.0, host.1);
        let with = |request: axum::http::request::Builder, (name, value): &(&str, &str)| {
            request.header(*name, *value)
        };
        server.send(headers.iter().fold(request, with).body(Body::empty()).unwrap()).await
    };
    let message = post().await.refused(403, "PERMISSION_DENIED");
    assert!(message.contains("\"evil.example:8080\"") && message.contains("key create"), "{message}");
    server.get(&format!("{N}/endpoints/e")).await.refused(404, "NOT_FOUND");
    // What Firefox sends, and what is left of it if the page hides where it is from.
    let language = ("accept-language", "en-US,en;q=0.5");
    read(&[language, ("referer", "http://evil.example:8080/")]).await.refused(403, "PERMISSION_DENIED");
    read(&[language]).await.refused(403, "PERMISSION_DENIED");
    // A program in another container.
    assert_eq!(read(&[("accept", "*/*"), ("accept-encoding", "gzip")]).await.status, 200);

    let key = CreateKey { project: None, display_name: String::new(), scope: Scope::Admin, expires_at: None };
    let secret = server.platform.create_key(key).await.unwrap().secret;
    post().await.refused(401, "UNAUTHENTICATED");
    read(&[language]).await.refused(401, "UNAUTHENTICATED");
    assert_eq!(
        read(&[language, ("x-api-key", &secret)]).await.status,
        200,
        "a page of its own, under its name"
    );
}
