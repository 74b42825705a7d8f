//! What is said about requests: counters, traces, and nothing of what must not be said.

use axum::body::Body;
use axum::http::{Method, Request};
use gateway::GatewayOptions;
use platform::{CreateKey, Scope};
use protos::serving::inference::{
    ModelInferRequest, ModelInferResponse, ServerLiveRequest, ServerLiveResponse,
};

use crate::fixture::Server;
use crate::grpc::open_inference::question;
use crate::grpc::{call, call_with, client, metadata, rows_and_answers};

const PARENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

async fn metrics(server: &Server) -> String {
    let answer = server.get("/metrics").await;
    assert_eq!(answer.status, 200);
    answer.text
}

#[track_caller]
fn has(metrics: &str, line: &str) {
    assert!(metrics.lines().any(|found| found == line), "{line} is not in\n{metrics}");
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_of_grpc_are_counted_by_their_status() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    for _ in 0..3 {
        call::<_, ModelInferResponse>(&server, INFER, question(&rows)).await.unwrap();
    }
    let other = ModelInferRequest { model_name: "other".to_owned(), ..question(&rows) };
    call::<_, ModelInferResponse>(&server, INFER, other).await.unwrap_err();
    let mut late = tonic::Request::new(question(&rows));
    late.metadata_mut().insert("grpc-timeout", "1n".parse().unwrap());
    call_with::<_, ModelInferResponse>(client(&server), INFER, late).await.unwrap_err();
    let text = metrics(&server).await;
    let route = "bellwether_grpc_requests_total{route=\"grpc.inference.ModelInfer\"";
    for (code, count) in [("OK", 3), ("NOT_FOUND", 1), ("DEADLINE_EXCEEDED", 1)] {
        has(&text, &format!("{route},code=\"{code}\"}} {count}"));
    }
    assert!(!text.contains("bellwether_http_requests_total{route=\"grpc.inference.ModelInfer\""), "{text}");
    let deployment =
        "project=\"default\",endpoint=\"tiny\",deployment=\"1\",model=\"tiny-model\",version=\"1\"";
    let answers = format!("bellwether_deployment_answer_seconds_count{{{deployment},protocol=");
    has(&text, &format!("{answers}\"open_inference_grpc\"}} 3"));
    has(&text, &format!("{answers}\"vertex\"}} 1"));
    let bytes = text.lines().find_map(|line| {
        line.strip_prefix("bellwether_request_body_bytes_total{protocol=\"open_inference_grpc\"} ")
    });
    assert!(bytes.unwrap().parse::<u64>().unwrap() > 4 * 40, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_made_up_are_no_labels() {
    let server = Server::deployed().await;
    let before = metrics(&server).await.lines().count();
    let key_like = "zzz-made-up";
    for path in [
        format!("/v2/models/{key_like}/infer"),
        format!("/v1/models/{key_like}:predict"),
        format!("/v1/projects/{key_like}/locations/l/endpoints/{key_like}:predict"),
        format!("/endpoints/{key_like}/invocations"),
        format!("/{key_like}"),
        format!("/v1/projects/p/locations/l/models/m:{key_like}"),
        format!("/inference.GRPCInferenceService/{key_like}"),
    ] {
        for method in ["POST", "GET", key_like] {
            let request = Request::builder()
                .method(method)
                .uri(&path)
                .header("x-request-id", key_like)
                .header("traceparent", key_like)
                .header("user-agent", key_like);
            server.send(request.body(Body::from("{}")).unwrap()).await;
        }
    }
    let text = metrics(&server).await;
    assert!(!text.contains("zzz"), "{text}");
    assert!(text.lines().count() < before + 400, "{text}");
}

#[tokio::test]
async fn refusals_are_counted_by_their_reason() {
    let server = Server::empty(GatewayOptions { max_body_bytes: 10, ..GatewayOptions::default() }).await;
    let large = server.request(Method::POST, "/bellwether/v1/keys", &"x".repeat(20_000)).await;
    assert_eq!(large.status, 413);
    let page = Request::post("/bellwether/v1/keys").header("origin", "http://elsewhere.example");
    assert_eq!(server.send(page.body(Body::from("{}")).unwrap()).await.status, 403);
    let full = server.with(GatewayOptions { max_concurrent_requests: 0, ..GatewayOptions::default() });
    assert_eq!(full.get("/v2/models/m").await.status, 429);
    has(
        &metrics(&full).await,
        "bellwether_requests_refused_total{protocol=\"open_inference\",reason=\"busy\"} 1",
    );

    let key = CreateKey {
        project: Some("default".to_owned()),
        display_name: String::new(),
        scope: Scope::Predict,
        expires_at: None,
    };
    let secret = server.platform.create_key(key).await.unwrap().secret;
    assert_eq!(server.get("/v1/models/m").await.status, 401);
    let refused = call::<_, ModelInferResponse>(&server, INFER, ModelInferRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), tonic::Code::Unauthenticated);
    let request = Request::post("/bellwether/v1/keys").header("x-api-key", &secret);
    assert_eq!(server.send(request.body(Body::from("{}")).unwrap()).await.status, 403);
    let admin =
        CreateKey { project: None, display_name: String::new(), scope: Scope::Admin, expires_at: None };
    let admin = server.platform.create_key(admin).await.unwrap().secret;
    let request = Request::get("/metrics").header("x-api-key", &admin).body(Body::empty()).unwrap();
    let text = server.send(request).await.text;
    for (protocol, reason) in [
        ("native", "origin"),
        ("native", "too_large"),
        ("tensorflow_serving", "no_key"),
        ("open_inference_grpc", "no_key"),
        ("native", "not_allowed"),
    ] {
        has(
            &text,
            &format!("bellwether_requests_refused_total{{protocol=\"{protocol}\",reason=\"{reason}\"}} 1"),
        );
    }
    assert!(!text.contains(&secret) && !text.contains(&admin), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trace_goes_through_every_protocol() {
    let server = Server::empty(GatewayOptions::default()).await;
    for path in [
        "/v1/projects/default/locations/l/models",
        "/v1/models/m",
        "/v2",
        "/v2/models/m",
        "/invocations",
        "/endpoints/e/invocations",
        "/storage/v1/b/b/o",
        "/healthz",
        "/metrics",
        "/no/such/path",
    ] {
        let request = Request::get(path).header("traceparent", PARENT).header("tracestate", "a=1, b=2");
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        let parent = answer.header("traceparent");
        assert!(
            parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-") && parent.ends_with("-01"),
            "{path}"
        );
        assert_ne!(parent, PARENT, "{path}: our part of the trace is another");
        assert_eq!(answer.header("tracestate"), "a=1,b=2", "{path}");
        let request = Request::get(path).header("traceparent", "00-0-0-00").header("tracestate", "a=1");
        let answer = server.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!((answer.header("traceparent"), answer.header("tracestate")), ("", ""), "{path}");
    }
    let mut request = tonic::Request::new(ServerLiveRequest {});
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    request.metadata_mut().insert("tracestate", "a=1".parse().unwrap());
    let path = "/inference.GRPCInferenceService/ServerLive";
    let response: tonic::Response<ServerLiveResponse> =
        call_with(client(&server), path, request).await.unwrap();
    assert!(metadata(&response, "traceparent").starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"));
    assert_eq!(metadata(&response, "tracestate"), "a=1");
    let mut request = tonic::Request::new(ModelInferRequest::default());
    request.metadata_mut().insert("traceparent", PARENT.parse().unwrap());
    let refused = call_with::<_, ModelInferResponse>(client(&server), INFER, request).await.unwrap_err();
    let parent = refused.metadata().get("traceparent").unwrap().to_str().unwrap();
    assert!(parent.starts_with("00-4bf92f3577b34da6a3ce929d0e0e4736-"), "{parent}");
}

#[tokio::test]
async fn the_api_is_described() {
    let server = Server::empty(GatewayOptions::default()).await;
    let answer = server.get("/openapi.json").await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/json"));
    assert_eq!(answer.json()["openapi"], "3.1.0");
}
