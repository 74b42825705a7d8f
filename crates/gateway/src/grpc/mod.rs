//! gRPC, on the port of everything else: the Open Inference Protocol, TensorFlow Serving, and health checks.
//!
//! One route a service, one line a method: `tonic` frames messages and writes statuses, [`call`] holds what is true of
//! every call (deadline, limits, metadata), [`cost`] refuses a message before it takes more memory than it may. A
//! reply's metadata are its HTTP headers, so what other layers say in headers reaches gRPC clients too.

mod call;
mod codec;
mod cost;
pub mod fuzz;
mod health;
mod open;
mod open_inference;
mod paced;
mod reply;
mod tensorflow_serving;

use std::sync::Arc;

use axum::response::Response;
use axum::routing::any;
use axum::{Extension, Router};
use platform::Error;

use crate::refusal::shown;
use crate::router::Gateway;

/// The services, to be merged into the router of the port.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/inference.GRPCInferenceService/{method}", any(open_inference::answer))
        .route("/tensorflow.serving.PredictionService/{method}", any(tensorflow_serving::predictions))
        .route("/tensorflow.serving.ModelService/{method}", any(tensorflow_serving::models))
        .route("/grpc.health.v1.Health/{method}", any(health::answer))
        .layer(Extension(call::Streams::default()))
}

/// The reply to a call of a service that is not there, as clients look for what is optional.
pub(crate) fn no_service(path: &str) -> Response {
    let service = path.trim_start_matches('/').rsplit_once('/').map_or(path, |(service, _)| service);
    let message = format!(
        "there is no service \"{}\"; there are inference.GRPCInferenceService, \
         tensorflow.serving.PredictionService, tensorflow.serving.ModelService and grpc.health.v1.Health",
        shown(service)
    );
    reply::unimplemented(message).into_http()
}

/// The reply to a call that nothing has looked at.
pub(crate) fn refused(error: &Error) -> Response {
    reply::status(error).into_http()
}
