//! `grpc.health.v1.Health`, which Kubernetes' probes and gRPC's load balancers ask.
//!
//! The server (an empty name) and its services are healthy if everything deployed is in service, as `/readyz` says.

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use futures::Stream;
use platform::{Error, Kind};
use protos::serving::health::health_check_response::ServingStatus;
use protos::serving::health::{HealthCheckRequest, HealthCheckResponse};
use tonic::Status;

use super::call::{self, Asked, Call, Method, Streams};
use super::open;
use super::reply::{Answer, Refused};
use crate::router::Gateway;

const SERVICES: [&str; 5] = [
    "",
    "grpc.health.v1.Health",
    "inference.GRPCInferenceService",
    "tensorflow.serving.ModelService",
    "tensorflow.serving.PredictionService",
];
/// How often a watcher's answer is looked at again.
const LOOK_EVERY: Duration = Duration::from_secs(1);

const CHECK: Method = Method::uncounted("grpc.Health.Check");
const WATCH: Method = Method::uncounted("grpc.Health.Watch");

/// Answers the service's methods.
pub(super) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    Path(method): Path<String>,
    Extension(streams): Extension<Streams>,
    request: Request,
) -> Response {
    let call = Call::new(gateway, request);
    match method.as_str() {
        "Check" => call.unary(&CHECK, check).await,
        "Watch" => call.watch(&WATCH, &streams, watch).await,
        other => call::no_method("grpc.health.v1.Health", other),
    }
}

async fn check(gateway: Asked, request: HealthCheckRequest) -> Result<Answer<HealthCheckResponse>, Refused> {
    match status(&gateway, &request.service) {
        ServingStatus::ServiceUnknown => {
            let known = SERVICES[1..].join(", ");
            let message = format!("service \"{}\" is unknown; services: {known}", request.service);
            Err(Error::new(Kind::NotFound, message).into())
        }
        status => Ok(HealthCheckResponse { status: status.into() }.into()),
    }
}

/// The status now, and again whenever it has changed, until the server is to stop.
fn watch(
    gateway: Asked,
    request: HealthCheckRequest,
) -> impl Stream<Item = Result<HealthCheckResponse, Status>> + Send + 'static {
    futures::stream::unfold(Some((gateway, request, None)), |state| async move {
        let (gateway, request, said) = state?;
        loop {
            let now = status(&gateway, &request.service);
            if said != Some(now) {
                let said = Some((gateway, request, Some(now)));
                return Some((Ok(HealthCheckResponse { status: now.into() }), said));
            }
            if gateway.stopping.is_begun() {
                return Some((Err(open::stopped(&gateway)), None));
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = gateway.stopping.clone().noticed() => {}
            }
        }
    })
}

fn status(gateway: &Gateway, service: &str) -> ServingStatus {
    if !SERVICES.contains(&service) {
        ServingStatus::ServiceUnknown
    } else if gateway.platform.readiness().ready && !gateway.stopping.is_begun() {
        ServingStatus::Serving
    } else {
        ServingStatus::NotServing
    }
}
