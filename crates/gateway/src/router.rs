//! All protocols on one port, and the limits and observation that hold for all of them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use platform::{Error, Kind, Platform};
use tokio::sync::Semaphore;
use tower_http::catch_panic::CatchPanicLayer;

use crate::dialect::Dialect;
use crate::native::{health, keys, metrics};
use crate::observe::{self, Metrics, Route};
use crate::request_id::RequestIds;
use crate::vertex::{self, error::ApiError};
use crate::{mlflow, open_inference, storage, tensorflow_serving};

/// What the gateway allows a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayOptions {
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The most instances in one predict request.
    pub max_instances: usize,
    /// How long a request may take before it is answered with 504.
    pub request_timeout: Duration,
    /// The most requests in progress at once; the next is refused with 429. Health and metrics do not count.
    pub max_concurrent_requests: usize,
    /// The model that answers where a protocol has no names, as `MODEL` or `PROJECT.MODEL`; none: the only one in service.
    pub default_model: Option<String>,
    /// Clients reach the server over TLS, and endpoints tell Google's SDK where.
    pub tls: bool,
}

impl Default for GatewayOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 32 << 20,
            max_instances: 65_536,
            request_timeout: Duration::from_secs(60),
            max_concurrent_requests: 1024,
            default_model: None,
            tls: false,
        }
    }
}

/// What every request shares.
pub(crate) struct Gateway {
    pub(crate) platform: Arc<Platform>,
    pub(crate) options: GatewayOptions,
    pub(crate) metrics: Metrics,
    pub(crate) request_ids: RequestIds,
    pub(crate) permits: Semaphore,
}

/// The service of one platform: Vertex AI REST under `/v1/projects` and `/ui/projects`, the staging area under
/// `/storage/v1` and `/upload/storage/v1`, `/healthz`, `/readyz` and `/metrics`.
///
/// Every reply carries `x-request-id`; every error has the body of Google's APIs.
pub fn router(platform: Arc<Platform>, options: GatewayOptions) -> Router {
    let gateway = Arc::new(Gateway {
        request_ids: RequestIds::new(platform.now()),
        metrics: Metrics::default(),
        permits: Semaphore::new(options.max_concurrent_requests.min(Semaphore::MAX_PERMITS)),
        platform,
        options,
    });
    let limited = Router::new()
        .route("/v1/projects/{*rest}", any(vertex::answer))
        .route("/ui/projects/{*rest}", any(vertex::answer))
        .route("/storage/v1/b", any(storage::answer))
        .route("/storage/v1/b/{*rest}", any(storage::answer))
        .route("/download/storage/v1/b/{*rest}", any(storage::answer))
        .route("/upload/storage/v1/b/{*rest}", any(storage::answer))
        .route("/bellwether/v1/keys", any(keys::collection))
        .route("/bellwether/v1/keys/{name}", any(keys::one))
        .route("/invocations", any(mlflow::invocations))
        .route("/endpoints/{name}/invocations", any(mlflow::endpoint_invocations))
        .route("/v1/", any(tensorflow_serving::answer))
        .route("/v1/{*rest}", any(tensorflow_serving::answer))
        .route("/v2", any(open_inference::answer))
        .route("/v2/", any(open_inference::answer))
        .route("/v2/{*rest}", any(open_inference::answer))
        .layer(from_fn_with_state(Arc::clone(&gateway), limit));
    Router::new()
        .merge(limited)
        .route("/ping", any(mlflow::health))
        .route("/health", any(mlflow::health))
        .route("/version", any(mlflow::version))
        .merge(crate::grpc::router())
        .route("/healthz", get(health::alive))
        .route("/readyz", get(health::ready))
        .route("/metrics", get(metrics::text))
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(&gateway), observe::request))
        .with_state(gateway)
}

/// Refuses at once what is over the concurrency limit, and cuts off what takes too long.
async fn limit(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    let dialect = Dialect::of(&request);
    let Ok(_permit) = gateway.permits.try_acquire() else {
        let limit = gateway.options.max_concurrent_requests;
        let message = format!("the server is answering {limit} requests already; try again");
        return dialect.refusal(Error::new(Kind::ResourceExhausted, message));
    };
    let timeout = gateway.options.request_timeout;
    match tokio::time::timeout(timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            let message = format!(
                "no answer within {} s; a change asked for goes on, get the resource to see it",
                timeout.as_secs_f64()
            );
            dialect.refusal(Error::new(Kind::DeadlineExceeded, message))
        }
    }
}

async fn unknown_path(uri: Uri) -> ApiError {
    ApiError::unknown_path(uri.path(), "see /v1/projects/PROJECT/locations/LOCATION/models and .../endpoints")
}

async fn wrong_method(method: Method, uri: Uri) -> ApiError {
    ApiError::wrong_method(&method, uri.path(), "GET")
}

// The layer asks for a function that takes the box.
#[allow(clippy::needless_pass_by_value)]
fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    let text =
        panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    tracing::error!(panic = text.unwrap_or("no text"), "a request handler panicked");
    let mut response = ApiError::internal().into_response();
    response.extensions_mut().insert(Route("panicked"));
    response
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::StatusCode;
    use tower::ServiceExt as _;

    use super::*;

    #[tokio::test]
    async fn a_panic_becomes_an_error_body() {
        async fn broken() -> &'static str {
            panic!("secret detail")
        }
        let app: Router = Router::new().route("/", get(broken)).layer(CatchPanicLayer::custom(panicked));
        let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json["error"]["status"], "INTERNAL");
        assert!(!json["error"]["message"].as_str().unwrap().contains("secret"));
    }
}
