//! What is written down about every request: its id, a log line, and the counters behind `/metrics`.
//!
//! Deliberately not here: the text form of the counters, which is `native::metrics`.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::extract::{Request, State};
use axum::http::{HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use tracing::Instrument as _;

use crate::dialect::RETRY_AFTER_SECONDS;
use crate::request_id::REQUEST_ID;
use crate::router::Gateway;
use crate::vertex::error::ApiError;
use crate::{access, origin};

/// Upper bounds of the duration histogram, in seconds: from a warm prediction to the request timeout.
pub(crate) const DURATION_BOUNDS_SECONDS: [f64; 17] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    60.0,
];

/// The name a reply is counted under; handlers put it into the reply's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route(pub(crate) &'static str);

/// Replies without a [`Route`]: unknown paths, and what was refused before a handler saw it.
const UNMATCHED: Route = Route("unmatched");

/// Counters of all replies by route.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    routes: Mutex<BTreeMap<Route, RouteRecord>>,
}

/// What a route has answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RouteRecord {
    /// Replies by HTTP status.
    pub(crate) replies: BTreeMap<u16, u64>,
    /// Replies by duration: one count per bound, of those within it and over the bound before.
    pub(crate) buckets: [u64; DURATION_BOUNDS_SECONDS.len()],
    /// All durations together.
    pub(crate) total: Duration,
}

impl RouteRecord {
    /// All replies.
    pub(crate) fn count(&self) -> u64 {
        self.replies.values().sum()
    }
}

impl Metrics {
    /// The counters as they are now.
    pub(crate) fn snapshot(&self) -> BTreeMap<Route, RouteRecord> {
        self.routes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn record(&self, route: Route, code: u16, took: Duration) {
        let seconds = took.as_secs_f64();
        let bucket = DURATION_BOUNDS_SECONDS.iter().position(|bound| seconds <= *bound);
        let mut routes = self.routes.lock().unwrap_or_else(PoisonError::into_inner);
        let record = routes.entry(route).or_default();
        *record.replies.entry(code).or_default() += 1;
        record.total += took;
        if let Some(bucket) = bucket {
            record.buckets[bucket] += 1;
        }
    }
}

/// The outermost layer: gives the request its id, refuses foreign pages, counts and logs the reply.
pub(crate) async fn request(
    State(gateway): State<Arc<Gateway>>,
    mut request: Request,
    next: Next,
) -> Response {
    let started = Instant::now();
    let id = gateway.request_ids.of(request.headers());
    // Those within see the id that the reply will have.
    request.headers_mut().insert(REQUEST_ID, id.clone());
    let span = tracing::info_span!("request", id = ?id);
    let checked = origin::check(request.headers())
        .map_err(|error| Box::new(ApiError::from(error).into_response()))
        .and_then(|()| access::check(&gateway.platform, &mut request));
    let mut response = match checked {
        Ok(()) => next.run(request).instrument(span.clone()).await,
        Err(refusal) => *refusal,
    };
    let route = response.extensions().get::<Route>().copied().unwrap_or(UNMATCHED);
    let code = response.status().as_u16();
    let took = started.elapsed();
    gateway.metrics.record(route, code, took);
    span.in_scope(|| tracing::debug!(route = route.0, code, micros = took.as_micros(), "answered"));
    let headers = response.headers_mut();
    headers.insert(REQUEST_ID, id);
    if matches!(code, 429 | 503) {
        headers.entry(header::RETRY_AFTER).or_insert(HeaderValue::from_static(RETRY_AFTER_SECONDS));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_counts_in_the_bucket_of_its_duration() {
        let metrics = Metrics::default();
        metrics.record(Route("a"), 200, Duration::from_micros(100));
        metrics.record(Route("a"), 404, Duration::from_millis(3));
        metrics.record(Route("a"), 200, Duration::from_secs(100));
        let record = &metrics.snapshot()[&Route("a")];
        assert_eq!(record.replies, BTreeMap::from([(200, 2), (404, 1)]));
        assert_eq!((record.buckets[0], record.buckets[5], record.buckets.iter().sum::<u64>()), (1, 1, 2));
        assert_eq!(record.count(), 3);
    }
}
