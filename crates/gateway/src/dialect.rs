//! Which protocol a request speaks, told by its path, and how that protocol says no.
//!
//! For refusals before any handler has seen the request: no key, too much at once, too late.

use axum::Json;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use platform::{Error, Kind};
use serde_json::json;

use crate::status;
use crate::vertex::error::ApiError;

/// What gRPC's messages must escape.
const MESSAGE: &AsciiSet = &CONTROLS.add(b'%');
/// A client that was refused for load may ask again after so many seconds.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

/// The protocol of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dialect {
    /// The error body of Google's APIs.
    Vertex,
    /// `{"error": "..."}`
    TensorFlowServing,
    /// `{"error": "..."}`
    OpenInference,
    /// `{"error_code": "...", "message": "..."}`
    MlFlow,
    /// Status and message in headers.
    Grpc,
}

impl Dialect {
    /// The protocol of a request.
    pub(crate) fn of(request: &Request) -> Self {
        let path = request.uri().path();
        if is_grpc(request.headers()) {
            Self::Grpc
        } else if path.starts_with("/v1/models") {
            Self::TensorFlowServing
        } else if path == "/v2" || path.starts_with("/v2/") {
            Self::OpenInference
        } else if path == "/invocations" || path.starts_with("/endpoints/") {
            Self::MlFlow
        } else {
            Self::Vertex
        }
    }

    /// The reply that says no.
    pub(crate) fn refusal(self, error: Error) -> Response {
        let kind = error.kind();
        let (code, name) = status::of(kind);
        let mut response = match self {
            Self::Vertex => ApiError::from(error).into_response(),
            Self::TensorFlowServing | Self::OpenInference => {
                (code, Json(json!({"error": error.to_string()}))).into_response()
            }
            Self::MlFlow => {
                (code, Json(json!({"error_code": name, "message": error.to_string()}))).into_response()
            }
            Self::Grpc => grpc(kind, &error.to_string()),
        };
        let headers = response.headers_mut();
        if kind == Kind::Unauthenticated {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(kind, Kind::ResourceExhausted | Kind::Unavailable) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        response
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    kind.is_some_and(|kind| kind.starts_with(b"application/grpc"))
}

/// A reply without a message: the status stands in its headers.
fn grpc(kind: Kind, message: &str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::OK;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(HeaderName::from_static("grpc-status"), HeaderValue::from(status::grpc(kind)));
    let message = utf8_percent_encode(message, MESSAGE).to_string();
    if let Ok(message) = HeaderValue::try_from(message) {
        headers.insert(HeaderName::from_static("grpc-message"), message);
    }
    response
}
