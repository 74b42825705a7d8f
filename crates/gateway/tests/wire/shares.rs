//! No client takes all of a server, and each request's body has its time.

use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::Request;
use futures::StreamExt as _;
use gateway::GatewayOptions;
use platform::{CreateKey, CreatedKey, Scope};
use protos::serving::inference::{ModelInferRequest, ModelStreamInferResponse};
use tonic::Code;
use tonic_prost::ProstCodec;

use crate::fixture::{N, Server};
use crate::grpc::open_inference::question;
use crate::grpc::{client, rows_and_answers};

async fn key(server: &Server) -> CreatedKey {
    let request =
        CreateKey { project: None, display_name: "test".to_owned(), scope: Scope::Admin, expires_at: None };
    server.platform.create_key(request).await.unwrap()
}

/// A question whose body begins and goes on no more.
fn half(key: &str) -> Request<Body> {
    let begun = futures::stream::iter([Ok::<_, std::convert::Infallible>(Bytes::from_static(b"{"))]);
    let body = Body::from_stream(begun.chain(futures::stream::pending()));
    let request = Request::post(format!("{N}/endpoints/e:predict"));
    request.header("content-type", "application/json").header("x-api-key", key).body(body).unwrap()
}

#[tokio::test]
async fn a_key_has_half_of_the_requests_in_progress() {
    let options = GatewayOptions { max_concurrent_requests: 4, ..GatewayOptions::default() };
    let server = Server::empty(options).await;
    let (greedy, other) = (key(&server).await.secret, key(&server).await.secret);
    let models = |key: &str| {
        let request = Request::get(format!("{N}/models")).header("x-api-key", key);
        server.send(request.body(Body::empty()).unwrap())
    };
    let held: Vec<_> = (0..2)
        .map(|_| {
            let (service, request) = (server.service.clone(), half(&greedy));
            tokio::spawn(async move { service.answer(request).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let refused = models(&greedy).await;
    let message = refused.refused(429, "RESOURCE_EXHAUSTED");
    assert!(message.contains("2 requests with this key"), "{message}");
    assert_eq!(refused.header("retry-after"), "1");
    assert_eq!(models(&other).await.status, 200, "others are answered");
    // What is over gives its place back, and who is refused takes none.
    held[0].abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(models(&greedy).await.status, 200);
    held[1].abort();
}

#[tokio::test]
async fn a_body_may_pause_for_as_long_as_is_said() {
    let options = GatewayOptions { body_timeout: Duration::from_millis(150), ..GatewayOptions::default() };
    let server = Server::empty(options).await;
    let slow = tokio::time::timeout(Duration::from_secs(5), server.send(half(""))).await;
    assert_eq!(slow.expect("it is given up").status, 408);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_ends_with_its_key() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    let (key, ended) = (key(&server).await, Duration::from_secs(20));
    let mut client = client(&server);
    client.ready().await.unwrap();
    let (ask, questions) = futures::channel::mpsc::unbounded();
    let codec: ProstCodec<ModelInferRequest, ModelStreamInferResponse> = ProstCodec::default();
    let mut request = tonic::Request::new(questions);
    request.metadata_mut().insert("x-api-key", key.secret.parse().unwrap());
    let path = "/inference.GRPCInferenceService/ModelStreamInfer".parse().unwrap();
    let mut answers = client.streaming(request, path, codec).await.unwrap().into_inner();
    ask.unbounded_send(question(&rows)).unwrap();
    let first = tokio::time::timeout(ended, answers.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.error_message, "");
    server.platform.revoke_key(&key.key.id).await.unwrap();
    ask.unbounded_send(question(&rows)).unwrap();
    let refused = tokio::time::timeout(ended, answers.next()).await.unwrap().unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated, "{refused}");
    assert!(refused.message().contains("was revoked"), "{refused}");
    assert!(tokio::time::timeout(ended, answers.next()).await.unwrap().is_none());
}
