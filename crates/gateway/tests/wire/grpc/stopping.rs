//! Streams when the server is to stop: they end, in time and with a reason, and the program with them.

use std::time::Duration;

use axum::http::{Uri, uri::PathAndQuery};
use futures::StreamExt as _;
use futures::channel::mpsc;
use gateway::{GatewayOptions, Service, Stopping};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use protos::serving::health::health_check_response::ServingStatus;
use protos::serving::health::{HealthCheckRequest, HealthCheckResponse};
use protos::serving::inference::{ModelInferRequest, ModelStreamInferResponse};
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::{Code, Request, Streaming};
use tonic_prost::ProstCodec;

use super::open_inference::question;
use super::rows_and_answers;
use crate::fixture::Server;

/// What is soon: a drain takes 30 seconds at most.
const SOON: Duration = Duration::from_secs(5);

async fn next<R>(stream: &mut Streaming<R>) -> Result<R, tonic::Status> {
    tokio::time::timeout(SOON, stream.next()).await.expect("it comes in time").expect("it has not ended")
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_end_when_the_server_stops() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let origin: Uri = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let (stopping, told) = (Stopping::default(), tokio::sync::Notify::new());
    let told = std::sync::Arc::new(told);
    let stopped = std::sync::Arc::clone(&told);
    let service = Service::new(server.platform.clone(), GatewayOptions::default(), stopping.clone());
    let serving =
        tokio::spawn(async move { gateway::serve(listener, service, None, stopped.notified()).await });

    let http2 = Client::builder(TokioExecutor::new()).http2_only(true).build_http::<tonic::body::Body>();
    let mut client = Grpc::with_origin(http2, origin);
    client.ready().await.unwrap();
    let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
    let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
    let watching = client.server_streaming(Request::new(HealthCheckRequest::default()), path, codec).await;
    let mut watching = watching.unwrap().into_inner();
    assert_eq!(next(&mut watching).await.unwrap().status(), ServingStatus::Serving);

    client.ready().await.unwrap();
    let (ask, questions) = mpsc::unbounded();
    let codec: ProstCodec<ModelInferRequest, ModelStreamInferResponse> = ProstCodec::default();
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    let mut answers = client.streaming(Request::new(questions), path, codec).await.unwrap().into_inner();
    let came = || server.platform.serving_counters().iter().map(|one| one.counters.requests).sum::<u64>();
    let before = came();
    ask.unbounded_send(question(&rows)).unwrap();
    assert_eq!(next(&mut answers).await.unwrap().error_message, "");

    // One has come when the server is told to stop: it is answered, and nothing after it.
    ask.unbounded_send(question(&rows)).unwrap();
    let come = async {
        while came() < before + 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(SOON, come).await.expect("it comes in time");
    stopping.begin();
    told.notify_one();
    assert_eq!(next(&mut answers).await.unwrap().error_message, "");
    let end = next(&mut answers).await.unwrap_err();
    assert_eq!(end.code(), Code::Unavailable, "{end}");
    assert!(end.message().contains("being stopped"), "{end}");
    assert_eq!(next(&mut watching).await.unwrap().status(), ServingStatus::NotServing);
    assert_eq!(next(&mut watching).await.unwrap_err().code(), Code::Unavailable);
    tokio::time::timeout(SOON, serving).await.expect("nothing holds it up").unwrap().unwrap();
}
