//! All protocols on one port, and the limits and observation that hold for all of them.

use std::convert::Infallible;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Method, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, any, get};
use futures::FutureExt as _;
use platform::{Caller, Error, Held, Hold, Kind, Platform};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::error::Elapsed;
use tower::Service as _;
use tower_http::catch_panic::CatchPanicLayer;

use crate::access::{Need, need};
use crate::dialect::Dialect;
use crate::native::{health, keys, metrics};
use crate::observe::counts::Counts;
use crate::observe::trace_context::SpanIds;
use crate::observe::{self, Route, Why};
use crate::question::QuestionPath;
use crate::request_id::RequestIds;
use crate::stopping::Stopping;
use crate::vertex::{self, error::ApiError};
use crate::{grpc, mlflow, open_inference, openapi, pace, storage, tensorflow_serving};

/// What the gateway allows a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayOptions {
    /// The largest request body, in bytes.
    pub max_body_bytes: usize,
    /// The most instances in one predict request.
    pub max_instances: usize,
    /// How long a request may take before it is answered with 504.
    pub request_timeout: Duration,
    /// The most requests in progress at once, of one client (key, or address without keys) half of them; the next is refused with
    /// 429. Health and metrics do not count.
    pub max_concurrent_requests: usize,
    /// The most connections at once, of one address half of them; the next is answered with 503 and closed.
    pub max_connections: usize,
    /// How long a connection may take for a request's head.
    pub head_timeout: Duration,
    /// How long a request's body may pause; it also counts as its beginning, after which it must come at 16 KiB a second.
    pub body_timeout: Duration,
    /// The model that answers where a protocol has no names, as `MODEL` or `PROJECT.MODEL`; none: the only one in service.
    pub default_model: Option<String>,
    /// One request of so many gets a line in the log, at the level info; 0: none does.
    pub log_requests: u64,
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
            max_connections: 4096,
            head_timeout: Duration::from_secs(75),
            body_timeout: pace::OF_BODIES.silence_max,
            default_model: None,
            log_requests: 0,
            tls: false,
        }
    }
}

/// What every request shares.
pub(crate) struct Gateway {
    pub(crate) platform: Arc<Platform>,
    pub(crate) options: GatewayOptions,
    pub(crate) counts: Counts,
    pub(crate) request_ids: RequestIds,
    pub(crate) span_ids: SpanIds,
    permits: Semaphore,
    pub(crate) stopping: Stopping,
    /// Requests since the last one that was logged.
    unlogged: AtomicU64,
}

/// Everything the server answers.
#[derive(Clone)]
pub struct Service {
    gateway: Arc<Gateway>,
    router: Router,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("options", &self.gateway.options).finish_non_exhaustive()
    }
}

impl Service {
    /// The service of one platform: every protocol, health, metrics and keys. `/openapi.json` describes all of it that is HTTP.
    ///
    /// Every reply carries `x-request-id`; every error has the body of its protocol's. Streams end once `stopping` begins.
    pub fn new(platform: Arc<Platform>, options: GatewayOptions, stopping: Stopping) -> Self {
        let gateway = Gateway::new(platform, options, stopping);
        Self { router: mounted(&gateway), gateway }
    }

    /// All routes, for a server that is not [`serve`](crate::serve).
    pub fn router(&self) -> Router {
        self.router.clone()
    }

    /// How many requests have been answered since it was made.
    pub fn replies(&self) -> u64 {
        self.gateway.counts.replies()
    }

    /// What it allows.
    pub(crate) fn options(&self) -> &GatewayOptions {
        &self.gateway.options
    }

    /// Why a request is refused whose address has so many in progress with it. Where keys are asked for they have shares,
    /// whatever their addresses.
    pub(crate) fn over_share(&self, in_progress: usize, path: &str) -> Option<Error> {
        let share = share(self.gateway.options.max_concurrent_requests);
        if in_progress <= share || self.gateway.platform.keys_required() || !is_counted(path) {
            return None;
        }
        let message = format!("{share} requests of this address are in progress already; try again");
        Some(Error::new(Kind::ResourceExhausted, message))
    }

    /// Answers any request, whatever its path and protocol.
    pub async fn answer(&self, request: Request) -> Response {
        if let Some(question) = QuestionPath::of(request.uri().path()) {
            return self.answer_question(question, request).await;
        }
        self.route(request).await
    }

    /// Answers what is no question.
    pub(crate) async fn route(&self, request: Request) -> Response {
        let answer = self.router.clone().call(request).await;
        answer.unwrap_or_else(|never: Infallible| match never {})
    }

    /// Refuses what no handler is to see.
    pub(crate) async fn refuse(&self, request: Request, error: Error) -> Response {
        let refuse = |_| async {
            let dialect = observe::dialect_or(Dialect::Vertex);
            if error.kind() == Kind::ResourceExhausted {
                self.gateway.counts.refused(dialect, Why::Busy);
            }
            dialect.refusal(error)
        };
        observe::observed(&self.gateway, request, refuse).await
    }

    /// As the router would.
    pub(crate) async fn answer_question(&self, question: QuestionPath, request: Request) -> Response {
        let gateway = &self.gateway;
        let answer = |request| async move {
            // Of some kilobytes, and all around it would be as large and be moved about with it.
            let asked = |request| Box::pin(question.answer(gateway, request));
            AssertUnwindSafe(limited(gateway, request, asked)).catch_unwind().await.unwrap_or_else(panicked)
        };
        observe::observed(gateway, request, answer).await
    }
}

impl Gateway {
    pub(crate) fn new(platform: Arc<Platform>, options: GatewayOptions, stopping: Stopping) -> Arc<Self> {
        Arc::new(Self {
            request_ids: RequestIds::new(platform.now()),
            span_ids: SpanIds::default(),
            counts: Counts::default(),
            permits: Semaphore::new(options.max_concurrent_requests.min(Semaphore::MAX_PERMITS)),
            platform,
            options,
            stopping,
            unlogged: AtomicU64::new(0),
        })
    }

    /// A place among the requests in progress.
    ///
    /// # Errors
    /// At once, with [`Kind::ResourceExhausted`], if all are taken, or if the caller's key has its share of them.
    pub(crate) fn permit(&self, dialect: Dialect, caller: Option<&Caller>) -> Result<Permit<'_>, Error> {
        let limit = self.options.max_concurrent_requests;
        let share = share(limit);
        let full = |message: String| {
            self.counts.refused(dialect, Why::Busy);
            Error::new(Kind::ResourceExhausted, message)
        };
        let hold = match caller.map(|caller| caller.hold(Held::Request, share)) {
            Some(None) => {
                let message = format!("{share} requests with this key are in progress already; try again");
                return Err(full(message));
            }
            held => held.flatten(),
        };
        let place = self.permits.try_acquire();
        let place = place
            .map_err(|_| full(format!("the server is answering {limit} requests already; try again")))?;
        Ok(Permit { _place: place, _hold: hold })
    }

    /// Whether a request gets a line in the log.
    pub(crate) fn is_logged(&self) -> bool {
        let every = self.options.log_requests;
        every != 0 && self.unlogged.fetch_add(1, Ordering::Relaxed).is_multiple_of(every)
    }
}

/// A place among the requests in progress, and among those of its key.
pub(crate) struct Permit<'a> {
    _place: SemaphorePermit<'a>,
    _hold: Option<Hold>,
}

/// What one client may have of so many places, so that some are left for others: half of them.
pub(crate) fn share(places: usize) -> usize {
    places.div_ceil(2)
}

/// A path of the router, whether its requests count, and who answers them.
type Mount = (&'static str, Counted, fn() -> MethodRouter<Arc<Gateway>>);

/// Where everything but gRPC is answered, and whether its requests count as in progress. What is not in here or in
/// `grpc` is not there.
pub(crate) const ROUTES: &[Mount] = &[
    ("/v1/projects/{*rest}", Counted::Yes, || any(vertex::answer)),
    ("/ui/projects/{*rest}", Counted::Yes, || any(vertex::answer)),
    ("/storage/v1/b", Counted::Yes, || any(storage::answer)),
    ("/storage/v1/b/{*rest}", Counted::Yes, || any(storage::answer)),
    ("/download/storage/v1/b/{*rest}", Counted::Yes, || any(storage::answer)),
    ("/upload/storage/v1/b/{*rest}", Counted::Yes, || any(storage::answer)),
    ("/bellwether/v1/keys", Counted::Yes, || any(keys::collection)),
    ("/bellwether/v1/keys/{name}", Counted::Yes, || any(keys::one)),
    ("/invocations", Counted::Yes, || any(mlflow::invocations)),
    ("/endpoints/{name}/invocations", Counted::Yes, || any(mlflow::endpoint_invocations)),
    ("/v1/", Counted::Yes, || any(tensorflow_serving::answer)),
    ("/v1/{*rest}", Counted::Yes, || any(tensorflow_serving::answer)),
    ("/v2", Counted::Yes, || any(open_inference::answer)),
    ("/v2/", Counted::Yes, || any(open_inference::answer)),
    ("/v2/{*rest}", Counted::Yes, || any(open_inference::answer)),
    ("/ping", Counted::No, || any(mlflow::health)),
    ("/health", Counted::No, || any(mlflow::health)),
    ("/version", Counted::No, || any(mlflow::version)),
    ("/healthz", Counted::No, || get(health::alive)),
    ("/readyz", Counted::No, || get(health::ready)),
    ("/metrics", Counted::No, || get(metrics::text)),
    ("/openapi.json", Counted::No, || get(openapi::answer)),
];

/// Whether the requests of a path count.
fn is_counted(path: &str) -> bool {
    let told = ROUTES.iter().any(|(route, counted, _)| *counted == Counted::No && *route == path);
    !told && need(&Method::GET, path) != Need::Nothing
}

/// Whether a request counts as in progress; what does not is answered when the server is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Counted {
    Yes,
    No,
}

fn mounted(gateway: &Arc<Gateway>) -> Router {
    let of = |counted: Counted| {
        let those = ROUTES.iter().filter(move |(_, its, _)| *its == counted);
        those.fold(Router::new(), |router, (path, _, methods)| router.route(path, methods()))
    };
    of(Counted::Yes)
        .layer(from_fn_with_state(Arc::clone(gateway), limit))
        .merge(of(Counted::No))
        .merge(grpc::router())
        .fallback(unknown_path)
        .method_not_allowed_fallback(wrong_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(from_fn_with_state(Arc::clone(gateway), observe::request))
        .with_state(Arc::clone(gateway))
}

/// The layer of [`limited`].
async fn limit(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    limited(&gateway, request, |request| next.run(request)).await
}

/// Refuses at once what is over the concurrency limit, and cuts off what takes too long.
///
/// The place is taken before there is a future: one that has borrowed its request carries it about to its end.
fn limited<F: Future<Output = Response>>(
    gateway: &Gateway,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> impl Future<Output = Response> {
    let dialect = observe::dialect_or(Dialect::Vertex);
    let begun = gateway.permit(dialect, request.extensions().get()).map(|permit| (permit, answer(request)));
    async move {
        let (_permit, answered) = match begun {
            Ok(begun) => begun,
            Err(error) => return dialect.refusal(error),
        };
        let timeout = gateway.options.request_timeout;
        if let Ok(response) = within(timeout, answered).await {
            return response;
        }
        gateway.counts.refused(dialect, Why::TooLate);
        let message = format!(
            "no answer within {} s; a change asked for goes on, get the resource to see it",
            timeout.as_secs_f64()
        );
        dialect.refusal(Error::new(Kind::DeadlineExceeded, message))
    }
}

/// What comes of some work if it takes no longer; a clock is set only if it has to wait at all.
async fn within<T>(longest: Duration, work: impl Future<Output = T>) -> Result<T, Elapsed> {
    let mut work = pin!(work);
    match futures::poll!(&mut work) {
        Poll::Ready(done) => Ok(done),
        Poll::Pending => tokio::time::timeout(longest, work).await,
    }
}

/// Answers what has no route: a protocol whose paths may be written in any case has its say first.
async fn unknown_path(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    match observe::dialect_or(Dialect::Vertex) {
        Dialect::TensorFlowServing => {
            let answer = |request| Box::pin(tensorflow_serving::answer(State(Arc::clone(&gateway)), request));
            limited(&gateway, request, answer).await
        }
        dialect if dialect.is_grpc() => grpc::no_service(request.uri().path()),
        _ => {
            let ways = "see /v1/projects/PROJECT/locations/LOCATION/models and .../endpoints";
            ApiError::unknown_path(request.uri().path(), ways).into_response()
        }
    }
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
