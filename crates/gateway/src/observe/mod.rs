//! What is written down about every request: its id and trace, a line of the log, and the counters behind `/metrics`.
//!
//! Deliberately not here: the text form of the counters, which is `native::metrics`, and that of the log, which is the
//! program's.

pub(crate) mod counts;
mod current;
pub(crate) mod trace_context;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, HttpBody as _};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use http_body_util::BodyExt as _;

pub(crate) use counts::{Route, Status, Why};
use current::mark;
pub use current::{About, with_request};
pub(crate) use current::{Current, answered, asked, dialect_or, pace_of_body};

use crate::answered::{SERVER_TIMING, total_timing};
use crate::dialect::{Dialect, retry_later};
use crate::router::Gateway;
use crate::{access, origin};
use trace_context::TraceContext;

/// The target of the log's lines about requests.
const ACCESS: &str = "access";

/// Replies without a [`Route`]: unknown paths, and what was refused before a handler saw it.
const UNMATCHED: Route = Route("unmatched");

/// A reply whose stream is counted when it ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CountedLater;

/// The outermost layer, see [`observed`].
pub(crate) async fn request(State(gateway): State<Arc<Gateway>>, request: Request, next: Next) -> Response {
    observed(&gateway, request, |request| next.run(request)).await
}

/// Gives the request its id, refuses foreign pages and callers without a key, has it answered, counts and logs the reply.
pub(crate) async fn observed<F: Future<Output = Response>>(
    gateway: &Arc<Gateway>,
    request: Request,
    answer: impl FnOnce(Request) -> F,
) -> Response {
    let begun = Instant::now();
    let dialect = Dialect::of(&request);
    let id = gateway.request_ids.of(request.headers());
    let trace = TraceContext::of(request.headers(), &gateway.span_ids);
    let current = Current::new(id, dialect, trace).with_body_timeout(gateway.options.body_timeout);
    let answered = async {
        let asked = Asked { method: request.method().clone(), dialect, begun };
        let response = match admitted(gateway, request, dialect) {
            Ok(request) => answer(request).await,
            Err(refusal) => *refusal,
        };
        let mut response = written_down(gateway, asked, response);
        mark(response.headers_mut());
        response
    };
    let mut response = current.within(answered).await;
    if matches!(response.status(), StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
        retry_later(response.headers_mut());
    }
    response
}

/// The request, if it may be answered.
fn admitted(
    gateway: &Arc<Gateway>,
    mut request: Request,
    dialect: Dialect,
) -> Result<Request, Box<Response>> {
    if let Err(error) = origin::check(&request, || gateway.platform.authenticate(None).is_err()) {
        gateway.counts.refused(dialect, Why::Origin);
        return Err(Box::new(dialect.refusal(error)));
    }
    if let Err(refusal) = access::check(&gateway.platform, &mut request, dialect) {
        let unknown =
            refusal.status() == StatusCode::UNAUTHORIZED || grpc_status(refusal.headers()) == Some(16);
        gateway.counts.refused(dialect, if unknown { Why::NoKey } else { Why::NotAllowed });
        return Err(refusal);
    }
    Ok(received(gateway, request, dialect))
}

/// What is known of a request when its reply is there.
struct Asked {
    method: Method,
    dialect: Dialect,
    begun: Instant,
}

fn written_down(gateway: &Arc<Gateway>, asked: Asked, mut response: Response) -> Response {
    let Asked { method, dialect, begun } = asked;
    let route = response.extensions().get::<Route>().copied().unwrap_or(UNMATCHED);
    let took = begun.elapsed();
    let status = match response.status() {
        StatusCode::OK if dialect.is_grpc() => {
            let status = grpc_status(response.headers());
            if status.is_none() && response.extensions().get::<CountedLater>().is_some() {
                return response;
            }
            Status::Grpc(status.unwrap_or_default())
        }
        other => Status::Http(other.as_u16()),
    };
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE {
        gateway.counts.refused(dialect, Why::TooLarge);
    }
    if response.headers().contains_key(SERVER_TIMING) {
        answered(&gateway.platform, took);
    } else if let Ok(total) = HeaderValue::try_from(total_timing(micros(took))) {
        response.headers_mut().insert(SERVER_TIMING, total);
    }
    gateway.counts.replied(route, status, took);
    log(gateway, &method, route, (status, took));
    sent(gateway, response, dialect)
}

/// A line of the log, if one is asked for.
pub(crate) fn log(gateway: &Gateway, method: &Method, route: Route, (status, took): (Status, Duration)) {
    if !gateway.is_logged() {
        return;
    }
    let (route, latency_us) = (route.0, micros(took));
    match status {
        Status::Http(status) => {
            tracing::info!(target: ACCESS, %method, route, status, latency_us, "answered");
        }
        Status::Grpc(code) => {
            let status = counts::grpc_name(code);
            tracing::info!(target: ACCESS, %method, route, status, latency_us, "answered");
        }
    }
}

pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// The status of a reply of gRPC that has no message.
fn grpc_status(headers: &HeaderMap) -> Option<u16> {
    headers.get("grpc-status").map(|status| text(status).parse().unwrap_or(2))
}

fn text(value: &HeaderValue) -> &str {
    value.to_str().unwrap_or_default()
}

/// Counts the bytes of a body at once where they are known, else as they come. Messages of gRPC are counted where they
/// are read and written.
fn received(gateway: &Arc<Gateway>, request: Request, dialect: Dialect) -> Request {
    if dialect.is_grpc() {
        return request;
    }
    if let Some(bytes) = request.body().size_hint().exact() {
        gateway.counts.received(dialect, bytes);
        return request;
    }
    let counting = Arc::clone(gateway);
    request.map(|body| each(body, move |bytes| counting.counts.received(dialect, bytes)))
}

fn sent(gateway: &Arc<Gateway>, response: Response, dialect: Dialect) -> Response {
    if dialect.is_grpc() {
        return response;
    }
    if let Some(bytes) = response.body().size_hint().exact() {
        gateway.counts.sent(dialect, bytes);
        return response;
    }
    let counting = Arc::clone(gateway);
    response.map(|body| each(body, move |bytes| counting.counts.sent(dialect, bytes)))
}

fn each(body: Body, count: impl Fn(u64) + Send + 'static) -> Body {
    Body::new(body.map_frame(move |frame| {
        if let Some(data) = frame.data_ref() {
            count(data.len() as u64);
        }
        frame
    }))
}
