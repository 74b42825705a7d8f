//! Health checks.

use axum::http::uri::PathAndQuery;
use futures::StreamExt as _;
use protos::serving::health::health_check_response::ServingStatus;
use protos::serving::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::{call, client};
use crate::fixture::Server;

fn of(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn services_are_as_healthy_as_the_server() {
    let server = Server::empty(gateway::GatewayOptions::default()).await;
    let path = "/grpc.health.v1.Health/Check";
    for service in ["", "inference.GRPCInferenceService", "tensorflow.serving.PredictionService"] {
        let reply: HealthCheckResponse = call(&server, path, of(service)).await.unwrap().into_inner();
        assert_eq!(reply.status(), ServingStatus::Serving, "{service}");
    }
    let refused = call::<_, HealthCheckResponse>(&server, path, of("other")).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_is_told_at_once() {
    let server = Server::empty(gateway::GatewayOptions::default()).await;
    for (service, expected) in [("", ServingStatus::Serving), ("other", ServingStatus::ServiceUnknown)] {
        let mut client = client(&server);
        client.ready().await.unwrap();
        let codec: ProstCodec<HealthCheckRequest, HealthCheckResponse> = ProstCodec::default();
        let path = PathAndQuery::from_static("/grpc.health.v1.Health/Watch");
        let mut request = Request::new(of(service));
        request.metadata_mut().insert("grpc-timeout", "300m".parse().unwrap());
        let mut replies = client.server_streaming(request, path, codec).await.unwrap().into_inner();
        assert_eq!(replies.next().await.unwrap().unwrap().status(), expected);
        let end = replies.next().await.unwrap().unwrap_err();
        assert_eq!(end.code(), Code::DeadlineExceeded, "nothing changed, so nothing more is said");
    }
}
