//! Which protocol a request speaks, told by its path, and how that protocol says no.
//!
//! For refusals before any handler has seen the request (no key, too much at once, too late), and as the protocol's name
//! in metrics and logs.

use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use platform::{Error, Kind};

use crate::refusal::Refusal;
use crate::vertex::error::ApiError;
use crate::{grpc, mlflow, open_inference, tensorflow_serving};

/// A client that was refused for load may ask again after so many seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

/// The protocol of a request. Those that ask models come first: their places are the lanes of latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    Vertex,
    TensorFlowServing,
    OpenInference,
    MlFlow,
    SageMaker,
    OpenInferenceGrpc,
    TensorFlowServingGrpc,
    /// gRPC's health checks, and services that are not there.
    OtherGrpc,
    /// Cloud Storage's JSON API.
    Storage,
    /// Our own: keys, metrics, signs of life.
    Native,
}

// Each protocol that asks models has a lane.
const _: () = assert!((Dialect::TensorFlowServingGrpc as usize) < platform::LANES);

impl Dialect {
    /// All of them, each at its place.
    pub(crate) const ALL: [Self; 10] = [
        Self::Vertex,
        Self::TensorFlowServing,
        Self::OpenInference,
        Self::MlFlow,
        Self::SageMaker,
        Self::OpenInferenceGrpc,
        Self::TensorFlowServingGrpc,
        Self::OtherGrpc,
        Self::Storage,
        Self::Native,
    ];

    /// Its name in metrics and logs.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Vertex => "vertex",
            Self::TensorFlowServing => "tensorflow_serving",
            Self::OpenInference => "open_inference",
            Self::MlFlow => "mlflow",
            Self::SageMaker => "sagemaker",
            Self::OpenInferenceGrpc => "open_inference_grpc",
            Self::TensorFlowServingGrpc => "tensorflow_serving_grpc",
            Self::OtherGrpc => "other_grpc",
            Self::Storage => "storage",
            Self::Native => "native",
        }
    }

    /// The protocol of a request.
    pub(crate) fn of(request: &Request) -> Self {
        let path = request.uri().path();
        if is_grpc(request.headers()) {
            return match path {
                _ if path.starts_with("/inference.") => Self::OpenInferenceGrpc,
                _ if path.starts_with("/tensorflow.") => Self::TensorFlowServingGrpc,
                _ => Self::OtherGrpc,
            };
        }
        // Questions first: they are most of what is asked.
        match path {
            _ if is_below(path, "/v1/projects") => Self::Vertex,
            _ if is_below(path, "/v1") => Self::TensorFlowServing,
            _ if is_below(path, "/v2") => Self::OpenInference,
            "/invocations" | "/ping" | "/health" | "/version" => Self::MlFlow,
            _ if is_below(path, "/endpoints") => Self::SageMaker,
            "/healthz" | "/readyz" | "/metrics" | "/openapi.json" => Self::Native,
            _ if is_below(path, "/bellwether") => Self::Native,
            _ if ["/storage", "/upload", "/download"].iter().any(|mount| is_below(path, mount)) => {
                Self::Storage
            }
            // That protocol's paths may be written in any case.
            _ if path
                .get(.."/v1/models".len())
                .is_some_and(|mount| mount.eq_ignore_ascii_case("/v1/models")) =>
            {
                Self::TensorFlowServing
            }
            _ => Self::Vertex,
        }
    }

    /// Whether replies have a status of gRPC.
    pub(crate) fn is_grpc(self) -> bool {
        matches!(self, Self::OpenInferenceGrpc | Self::TensorFlowServingGrpc | Self::OtherGrpc)
    }

    /// The reply that says no.
    pub(crate) fn refusal(self, error: Error) -> Response {
        let kind = error.kind();
        let mut response = match self {
            Self::Vertex | Self::Storage | Self::Native => ApiError::from(error).into_response(),
            Self::TensorFlowServing => tensorflow_serving::refused(&Refusal::from(error)),
            Self::OpenInference => open_inference::refused(&Refusal::from(error)),
            Self::MlFlow => mlflow::refused(&Refusal::from(error)),
            Self::SageMaker => mlflow::with_error_type(mlflow::refused(&Refusal::from(error))),
            Self::OpenInferenceGrpc | Self::TensorFlowServingGrpc | Self::OtherGrpc => grpc::refused(&error),
        };
        let headers = response.headers_mut();
        if kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(kind, Kind::ResourceExhausted | Kind::Unavailable) {
            retry_later(headers);
        }
        response
    }
}

/// Says when to ask again, unless that was said.
pub(crate) fn retry_later(headers: &mut HeaderMap) {
    headers.entry(header::RETRY_AFTER).or_insert(RETRY_AFTER);
}

/// Whether a path is a mount, or below it.
fn is_below(path: &str, mount: &str) -> bool {
    path.strip_prefix(mount).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn of(path: &str, kind: &str) -> Dialect {
        Dialect::of(&Request::get(path).header("content-type", kind).body(Body::empty()).unwrap())
    }

    #[test]
    fn a_path_tells_the_protocol() {
        for (path, expected) in [
            ("/v1/projects/p/locations/l/models", "vertex"),
            ("/ui/projects/p/locations/l/operations/1", "vertex"),
            ("/nothing", "vertex"),
            ("/v1/models/m:predict", "tensorflow_serving"),
            ("/v1/Models/m:predict", "tensorflow_serving"),
            ("/V1/MODELS/m:PREDICT", "tensorflow_serving"),
            ("/V1/Projects/p", "vertex"),
            ("/v2", "open_inference"),
            ("/v2/models/m/infer", "open_inference"),
            ("/v22", "vertex"),
            ("/invocations", "mlflow"),
            ("/endpoints/e/invocations", "sagemaker"),
            ("/upload/storage/v1/b/b/o", "storage"),
            ("/metrics", "native"),
            ("/metrics/x", "vertex"),
            ("/bellwether/v1/keys", "native"),
        ] {
            assert_eq!(of(path, "application/json").name(), expected, "{path}");
        }
        for (path, expected) in [
            ("/inference.GRPCInferenceService/ModelInfer", "open_inference_grpc"),
            ("/tensorflow.serving.PredictionService/Predict", "tensorflow_serving_grpc"),
            ("/grpc.health.v1.Health/Check", "other_grpc"),
            ("/v1/models/m", "other_grpc"),
        ] {
            assert_eq!(of(path, "application/grpc+proto").name(), expected, "{path}");
        }
    }

    #[test]
    fn each_is_at_its_place_with_a_name_of_its_own() {
        for (at, dialect) in Dialect::ALL.into_iter().enumerate() {
            assert_eq!(dialect as usize, at);
            assert_eq!(Dialect::ALL.iter().filter(|other| other.name() == dialect.name()).count(), 1);
        }
    }
}
