//! gRPC, on the port of everything else: the Open Inference Protocol, TensorFlow Serving, and health checks.
//!
//! One route a service, one line a method: `tonic` frames messages and writes statuses, [`call`] holds what is true of
//! every call (deadline, limits, metadata), [`cost`] refuses a message before it takes more memory than it may. A
//! reply's metadata are its HTTP headers, so what other layers say in headers reaches gRPC clients too.

mod call;
mod codec;
mod cost;
mod health;
mod open_inference;
mod reply;
mod tensorflow_serving;

use std::sync::Arc;

use axum::routing::any;
use axum::{Extension, Router};

use crate::router::Gateway;

#[doc(hidden)]
pub use fuzzed::{read_infer_request, read_predict_request};

/// The services, to be merged into the router of the port.
pub(crate) fn router() -> Router<Arc<Gateway>> {
    Router::new()
        .route("/inference.GRPCInferenceService/{method}", any(open_inference::answer))
        .route("/tensorflow.serving.PredictionService/{method}", any(tensorflow_serving::predictions))
        .route("/tensorflow.serving.ModelService/{method}", any(tensorflow_serving::models))
        .route("/grpc.health.v1.Health/{method}", any(health::answer))
        .layer(Extension(call::Streams::default()))
}

/// Whole readings of foreign bytes, for the fuzz targets.
mod fuzzed {
    use platform::{Signature, Tensor};

    /// Reads bytes as a `ModelInferRequest` for a model of this signature.
    pub fn read_infer_request(bytes: &[u8], signature: &Signature) -> Option<Vec<(String, Tensor)>> {
        let request =
            super::codec::read(bytes::Bytes::copy_from_slice(bytes), super::open_inference::INFER).ok()?;
        super::open_inference::inputs(&request, signature, 1 << 16).ok()
    }

    /// Reads bytes as a `PredictRequest` for a model of this signature.
    pub fn read_predict_request(bytes: &[u8], signature: &Signature) -> Option<Vec<(String, Tensor)>> {
        let request =
            super::codec::read(bytes::Bytes::copy_from_slice(bytes), super::tensorflow_serving::PREDICT)
                .ok()?;
        super::tensorflow_serving::inputs(request, signature, super::tensorflow_serving::Bounds::default())
            .ok()
    }
}
