//! `GET /metrics`: Prometheus' text format, version 0.0.4. The names are those of `docs/serving.md`.
//!
//! Labels are names of ours, of deployments and of keys: whoever asks cannot make more of them.

mod page;

use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use platform::{Counters, DeploymentCounters, DeploymentStatus, KeyUse, LoadCounters, ShadowReport};

use crate::connections;
use crate::dialect::Dialect;
use crate::observe::Route;
use crate::observe::counts::{Counts, DURATION_BOUNDS_SECONDS};
use crate::router::Gateway;
use page::{Buckets, Page};

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";
/// Upper bounds of the histogram of batches.
const BATCH_ROWS: [usize; 12] = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2047];

/// All counters as text.
pub(crate) async fn text(State(gateway): State<Arc<Gateway>>) -> Response {
    let mut page = Page::default();
    process(&mut page, gateway.platform.readiness().ready);
    requests(&mut page, &gateway.counts);
    swaps(&mut page, &gateway.platform.load_counters());
    deployments(&mut page, &gateway.platform.serving_counters());
    residence(&mut page, &gateway.platform.deployment_statuses());
    shadows(&mut page, &gateway.platform.shadow_counters());
    keys(&mut page, &gateway.platform.key_counters());
    let mut response = ([(header::CONTENT_TYPE, CONTENT_TYPE)], page.into_text()).into_response();
    response.extensions_mut().insert(Route("metrics"));
    response
}

fn process(page: &mut Page, ready: bool) {
    page.family("bellwether_info", "gauge", "1; the label says which version runs.");
    page.sample("bellwether_info", &[("version", env!("CARGO_PKG_VERSION"))], 1);
    page.family("bellwether_ready", "gauge", "1 if everything deployed is in service.");
    page.sample("bellwether_ready", &[], u8::from(ready));
    let (opened, open) = connections::counted();
    page.family("bellwether_connections", "gauge", "Connections that are open.");
    page.sample("bellwether_connections", &[], open);
    page.family("bellwether_connections_opened_total", "counter", "Connections there were.");
    page.sample("bellwether_connections_opened_total", &[], opened);
    let what = "Connections the server ended before their clients would have.";
    page.family("bellwether_connections_cut_off_total", "counter", what);
    for (reason, count) in connections::CutOff::counted() {
        page.sample("bellwether_connections_cut_off_total", &[("reason", reason)], count);
    }
    if let Some(bytes) = platform::resident_bytes() {
        page.family("process_resident_memory_bytes", "gauge", "Memory of the process.");
        page.sample("process_resident_memory_bytes", &[], bytes);
    }
}

fn requests(page: &mut Page, counts: &Counts) {
    let routes = counts.routes();
    let replies = "bellwether_http_requests_total";
    page.family(replies, "counter", "Replies by route and HTTP status.");
    for (route, record) in &routes {
        for (code, count) in &record.http {
            page.sample(replies, &[("route", route.0), ("code", code)], count);
        }
    }
    let calls = "bellwether_grpc_requests_total";
    page.family(calls, "counter", "Calls of gRPC by route and status.");
    for (route, record) in &routes {
        for (code, count) in &record.grpc {
            page.sample(calls, &[("route", route.0), ("code", code)], count);
        }
    }
    let duration = "bellwether_request_duration_seconds";
    page.family(
        duration,
        "histogram",
        "Time from a request's head to its reply, of a stream to its end, by route.",
    );
    for (route, record) in &routes {
        let bounds = DURATION_BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets = Buckets::of(bounds.zip(record.buckets), record.total.as_secs_f64());
        page.histogram(duration, &[("route", route.0)], &buckets);
    }
    let protocols = counts.dialects();
    let refused = "bellwether_requests_refused_total";
    page.family(refused, "counter", "Requests that no handler answered, by protocol and reason.");
    for record in &protocols {
        for (reason, count) in record.refused {
            page.sample(refused, &[("protocol", record.dialect.name()), ("reason", reason)], count);
        }
    }
    for (name, help, value) in [
        ("bellwether_request_body_bytes_total", "Bytes of requests' bodies, as they came.", 0),
        ("bellwether_response_body_bytes_total", "Bytes of replies' bodies, as they were sent.", 1),
    ] {
        page.family(name, "counter", help);
        for record in &protocols {
            let bytes = [record.received_bytes, record.sent_bytes][value];
            page.sample(name, &[("protocol", record.dialect.name())], bytes);
        }
    }
}

fn swaps(page: &mut Page, loads: &LoadCounters) {
    let total = "bellwether_swaps_total";
    page.family(
        total,
        "counter",
        "Versions brought into service beside those there were, and those that failed to.",
    );
    page.sample(total, &[("outcome", "loaded")], loads.loaded);
    page.sample(total, &[("outcome", "failed")], loads.failed);
    let duration = "bellwether_swap_duration_seconds";
    page.family(duration, "histogram", "Time it took to load, prove and warm up a version.");
    page.histogram(duration, &[], &Buckets::cumulative(&loads.took));
}

/// One number of a deployment: name, type, help, value.
type Column = (&'static str, &'static str, &'static str, fn(&DeploymentCounters) -> u64);

const COLUMNS: &[Column] = &[
    ("bellwether_deployment_requests_total", "counter", "Requests, answered or not.", |d| {
        d.counters.requests
    }),
    ("bellwether_deployment_rows_total", "counter", "Rows answered.", |d| d.counters.rows),
    ("bellwether_deployment_queue_depth", "gauge", "Requests waiting for a thread.", |d| {
        d.counters.queued as u64
    }),
    (
        "bellwether_deployment_memory_bytes",
        "gauge",
        "Memory of the model, measured when it was loaded.",
        |d| d.status.memory_bytes,
    ),
    ("bellwether_deployment_engine_threads", "gauge", "Engine threads.", |d| d.status.threads as u64),
];

/// One histogram of a deployment: name, help, value.
type Durations = (&'static str, &'static str, fn(&Counters) -> &platform::Histogram);

const DURATIONS: &[Durations] = &[
    ("bellwether_deployment_queue_seconds", "Time requests waited for a thread.", |counters| &counters.queue),
    ("bellwether_deployment_compute_seconds", "Time requests took to compute.", |counters| &counters.compute),
];

/// A deployment whose version is a label.
struct Labelled<'a> {
    version: String,
    of: &'a DeploymentCounters,
}

impl std::ops::Deref for Labelled<'_> {
    type Target = DeploymentCounters;

    fn deref(&self) -> &DeploymentCounters {
        self.of
    }
}

fn deployments(page: &mut Page, deployments: &[DeploymentCounters]) {
    let deployments: Vec<Labelled<'_>> =
        deployments.iter().map(|of| Labelled { version: of.status.version.to_string(), of }).collect();
    let info = "bellwether_deployment_engine_info";
    page.family(info, "gauge", "1; the labels say which engine computes a deployment.");
    for deployment in &deployments {
        let (engine, version) =
            deployment.status.engine.split_once(' ').unwrap_or((&deployment.status.engine, ""));
        page.sample(info, &labels(deployment, &[("engine", engine), ("engine_version", version)]), 1);
    }
    for (name, kind, help, value) in COLUMNS {
        page.family(name, kind, help);
        for deployment in &deployments {
            page.sample(name, &labels(deployment, &[]), value(deployment));
        }
    }
    let errors = "bellwether_deployment_errors_total";
    page.family(errors, "counter", "Requests that were not answered, by the reason.");
    for deployment in &deployments {
        for (reason, count) in deployment.counters.errors.by_kind() {
            page.sample(errors, &labels(deployment, &[("reason", reason)]), count);
        }
    }
    for (name, help, value) in DURATIONS {
        page.family(name, "histogram", help);
        for deployment in &deployments {
            let buckets = Buckets::cumulative(value(&deployment.counters));
            page.histogram(name, &labels(deployment, &[]), &buckets);
        }
    }
    let rows = "bellwether_deployment_batch_rows";
    page.family(rows, "histogram", "Rows of what was computed together.");
    for deployment in &deployments {
        page.histogram(rows, &labels(deployment, &[]), &batches(&deployment.counters));
    }
    let answers = "bellwether_deployment_answer_seconds";
    page.family(answers, "histogram", "Time from a request's head to its answer, by the protocol it spoke.");
    for deployment in &deployments {
        for (dialect, lane) in Dialect::ALL.into_iter().zip(&deployment.counters.lanes) {
            let buckets = Buckets::cumulative(lane);
            // Protocols nobody speaks would be most of the page.
            if buckets.count() > 0 {
                page.histogram(answers, &labels(deployment, &[("protocol", dialect.name())]), &buckets);
            }
        }
    }
}

/// The batches of a deployment by their rows.
fn batches(counters: &Counters) -> Buckets {
    let mut sizes = counters.batch_sizes.iter().peekable();
    let mut counted = 0;
    let mut within = |bound: usize| {
        let mut batches = 0;
        while let Some(size) = sizes.next_if(|size| size.rows <= bound) {
            batches += size.batches;
        }
        counted += batches;
        batches
    };
    let mut buckets: Vec<(f64, u64)> = BATCH_ROWS.map(|bound| (bound as f64, within(bound))).to_vec();
    buckets.push((f64::INFINITY, counters.batches.saturating_sub(counted)));
    Buckets::of(buckets.into_iter(), counters.batched_rows as f64)
}

fn residence(page: &mut Page, statuses: &[(String, DeploymentStatus)]) {
    for (name, kind, help, value) in [
        (
            "bellwether_deployment_loaded",
            "gauge",
            "1 if the deployment is in memory.",
            (|status| u64::from(status.loaded)) as fn(&DeploymentStatus) -> u64,
        ),
        ("bellwether_deployment_loads_total", "counter", "How often it was loaded.", |status| status.loads),
    ] {
        page.family(name, kind, help);
        for (project, status) in statuses {
            let labels = [
                ("project", project.as_str()),
                ("endpoint", &status.endpoint),
                ("deployment", &status.deployment),
                ("model", &status.model),
                ("version", &status.version.to_string()),
            ];
            page.sample(name, &labels, value(status));
        }
    }
}

fn shadows(page: &mut Page, shadows: &[(String, ShadowReport)]) {
    let copies = "bellwether_shadow_copies_total";
    page.family(copies, "counter", "Copies of requests for a shadow, by what came of them.");
    let difference = "bellwether_shadow_max_absolute_difference";
    for (project, shadow) in shadows {
        let of = |outcome| {
            [
                ("project", project.as_str()),
                ("endpoint", &shadow.endpoint),
                ("deployment", &shadow.deployment),
                ("outcome", outcome),
            ]
        };
        let totals = &shadow.totals;
        for (outcome, count) in [
            ("answered", totals.answered),
            ("failed", totals.failed),
            ("dropped", totals.dropped),
            ("too_large", totals.too_large),
        ] {
            page.sample(copies, &of(outcome), count);
        }
    }
    page.family(difference, "gauge", "The largest difference between a shadow's numbers and those answered.");
    for (project, shadow) in shadows {
        let labels = [
            ("project", project.as_str()),
            ("endpoint", &shadow.endpoint),
            ("deployment", &shadow.deployment),
        ];
        page.sample(difference, &labels, shadow.totals.max_absolute_difference);
    }
}

fn keys(page: &mut Page, keys: &[KeyUse]) {
    for (name, help, value) in [
        (
            "bellwether_key_requests_total",
            "Requests with this API key.",
            (|used| used.requests) as fn(&KeyUse) -> u64,
        ),
        ("bellwether_key_rows_total", "Rows answered to this API key.", |used| used.rows),
    ] {
        page.family(name, "counter", help);
        for used in keys {
            let project = used.key.project.as_deref().unwrap_or_default();
            let labels =
                [("key", used.key.id.as_str()), ("name", &used.key.display_name), ("project", project)];
            page.sample(name, &labels, value(used));
        }
    }
}

/// A deployment's labels, and more.
fn labels<'a>(deployment: &'a Labelled<'_>, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let status = &deployment.status;
    let mut labels = vec![
        ("project", deployment.project.as_str()),
        ("endpoint", &status.endpoint),
        ("deployment", &status.deployment),
        ("model", &status.model),
        ("version", &deployment.version),
    ];
    labels.extend_from_slice(more);
    labels
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use platform::{BatchSize, Bucket, ErrorCounts, Histogram};

    use super::*;
    use crate::observe::{Status, Why};

    #[test]
    fn replies_are_told_by_route_and_status() {
        let counts = Counts::default();
        counts.replied(Route("r"), Status::Http(200), Duration::from_micros(1));
        counts.replied(Route("r"), Status::Http(404), Duration::from_millis(3));
        counts.replied(Route("r"), Status::Http(200), Duration::from_secs(100));
        counts.replied(Route("g"), Status::Grpc(5), Duration::ZERO);
        counts.refused(Dialect::Vertex, Why::Busy);
        counts.received(Dialect::MlFlow, 12);
        let mut page = Page::default();
        requests(&mut page, &counts);
        let text = page.into_text();
        for line in [
            "# TYPE bellwether_http_requests_total counter",
            "bellwether_http_requests_total{route=\"r\",code=\"404\"} 1",
            "bellwether_grpc_requests_total{route=\"g\",code=\"NOT_FOUND\"} 1",
            "bellwether_request_duration_seconds_bucket{route=\"r\",le=\"0.0001\"} 1",
            "bellwether_request_duration_seconds_bucket{route=\"r\",le=\"0.005\"} 2",
            "bellwether_request_duration_seconds_bucket{route=\"r\",le=\"60\"} 2",
            "bellwether_request_duration_seconds_bucket{route=\"r\",le=\"+Inf\"} 3",
            "bellwether_request_duration_seconds_sum{route=\"r\"} 100.003001",
            "bellwether_request_duration_seconds_count{route=\"r\"} 3",
            "bellwether_requests_refused_total{protocol=\"vertex\",reason=\"busy\"} 1",
            "bellwether_request_body_bytes_total{protocol=\"mlflow\"} 12",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn batches_are_counted_by_their_rows() {
        let histogram = || Histogram {
            buckets: vec![Bucket { upper_seconds: f64::INFINITY, count: 0 }],
            sum_seconds: 0.0,
        };
        let size = |rows, batches| BatchSize { rows, batches, time: Duration::ZERO };
        let counters = Counters {
            requests: 0,
            rows: 0,
            batches: 7,
            batched_rows: 5013,
            batched: Duration::ZERO,
            errors: ErrorCounts::default(),
            queued: 0,
            queue: histogram(),
            compute: histogram(),
            batch_sizes: vec![size(1, 2), size(3, 1), size(4, 2), size(1500, 1)],
            last: None,
            lanes: std::array::from_fn(|_| histogram()),
        };
        let mut page = Page::default();
        page.histogram("b", &[], &batches(&counters));
        let text = page.into_text();
        for line in [
            "b_bucket{le=\"1\"} 2",
            "b_bucket{le=\"2\"} 2",
            "b_bucket{le=\"4\"} 5",
            "b_bucket{le=\"1024\"} 5",
            "b_bucket{le=\"2047\"} 6",
            "b_bucket{le=\"+Inf\"} 7",
            "b_sum 5013",
            "b_count 7",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
        }
    }
}
