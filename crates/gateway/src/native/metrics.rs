//! `GET /metrics`: Prometheus' text format, version 0.0.4.

use std::fmt::{Display, Write as _};
use std::sync::Arc;

use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use platform::{DeploymentCounters, DeploymentStatus, KeyUse, ShadowReport};

use crate::observe::{DURATION_BOUNDS_SECONDS, Route, RouteRecord};
use crate::router::Gateway;

const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

const NO_LABELS: &[(&str, &str)] = &[];

/// All counters as text.
pub(crate) async fn text(State(gateway): State<Arc<Gateway>>) -> Response {
    let mut page = Page::default();
    let ready = gateway.platform.readiness().ready;
    page.family("bellwether_ready", "gauge", "1 if everything deployed is in service.");
    page.sample("bellwether_ready", NO_LABELS, u8::from(ready));
    requests(&mut page, &gateway.metrics.snapshot().into_iter().collect::<Vec<_>>());
    deployments(&mut page, &gateway.platform.serving_counters());
    residence(&mut page, &gateway.platform.deployment_statuses());
    shadows(&mut page, &gateway.platform.shadow_counters());
    keys(&mut page, &gateway.platform.key_counters());
    let mut response = ([(header::CONTENT_TYPE, CONTENT_TYPE)], page.text).into_response();
    response.extensions_mut().insert(Route("metrics"));
    response
}

fn requests(page: &mut Page, routes: &[(Route, RouteRecord)]) {
    let replies = "bellwether_http_requests_total";
    page.family(replies, "counter", "Replies by route and HTTP status.");
    for (route, record) in routes {
        for (code, count) in &record.replies {
            page.sample(replies, &[("route", route.0), ("code", &code.to_string())], count);
        }
    }
    let duration = "bellwether_http_request_duration_seconds";
    page.family(duration, "histogram", "Time from a request's head to its reply, by route.");
    for (route, record) in routes {
        let mut within = 0;
        for (bound, count) in DURATION_BOUNDS_SECONDS.iter().zip(record.buckets) {
            within += count;
            page.sample(
                &format!("{duration}_bucket"),
                &[("route", route.0), ("le", &bound.to_string())],
                within,
            );
        }
        page.sample(&format!("{duration}_bucket"), &[("route", route.0), ("le", "+Inf")], record.count());
        page.sample(&format!("{duration}_sum"), &[("route", route.0)], record.total.as_secs_f64());
        page.sample(&format!("{duration}_count"), &[("route", route.0)], record.count());
    }
}

/// One number of a deployment: name, type, help, value.
type Column = (&'static str, &'static str, &'static str, fn(&DeploymentCounters) -> u64);

const COLUMNS: &[Column] = &[
    ("bellwether_deployment_requests_total", "counter", "Requests, answered or not.", |d| {
        d.counters.requests
    }),
    ("bellwether_deployment_rows_total", "counter", "Rows answered.", |d| d.counters.rows),
    (
        "bellwether_deployment_batches_total",
        "counter",
        "Batches computed, each of one or more requests.",
        |d| d.counters.batches,
    ),
    ("bellwether_deployment_batched_rows_total", "counter", "Rows of all batches.", |d| {
        d.counters.batched_rows
    }),
    ("bellwether_deployment_queue_depth", "gauge", "Requests waiting for a thread.", |d| {
        d.counters.queued as u64
    }),
    ("bellwether_deployment_memory_bytes", "gauge", "Measured memory of the model.", |d| {
        d.status.memory_bytes
    }),
    ("bellwether_deployment_engine_threads", "gauge", "Engine threads.", |d| d.status.threads as u64),
];

fn deployments(page: &mut Page, deployments: &[DeploymentCounters]) {
    for (name, kind, help, value) in COLUMNS {
        page.family(name, kind, help);
        for deployment in deployments {
            page.sample(name, &of(deployment, &[]), value(deployment));
        }
    }
    errors(page, deployments);
    let queue = "bellwether_deployment_queue_seconds";
    page.family(queue, "histogram", "Time requests waited for a thread.");
    for deployment in deployments {
        let counted = &deployment.counters.queue;
        let buckets = counted.buckets.iter().map(|bucket| (bucket.upper_seconds, bucket.count));
        histogram(page, queue, deployment, (buckets, counted.sum_seconds));
    }
    let compute = "bellwether_deployment_compute_seconds";
    page.family(compute, "histogram", "Time requests took to compute.");
    for deployment in deployments {
        let counted = &deployment.counters.compute;
        let buckets = counted.buckets.iter().map(|bucket| (bucket.upper_seconds, bucket.count));
        histogram(page, compute, deployment, (buckets, counted.sum_seconds));
    }
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
        let labels =
            [("project", project), ("endpoint", &shadow.endpoint), ("deployment", &shadow.deployment)];
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

fn errors(page: &mut Page, deployments: &[DeploymentCounters]) {
    let name = "bellwether_deployment_errors_total";
    page.family(name, "counter", "Requests that were not answered, by the reason.");
    for deployment in deployments {
        for (reason, count) in deployment.counters.errors.by_kind() {
            page.sample(name, &of(deployment, &[("reason", reason)]), count);
        }
    }
}

/// Buckets that count those before them too, the last one unbounded, and the sum of what was counted.
fn histogram(
    page: &mut Page,
    name: &str,
    deployment: &DeploymentCounters,
    (buckets, sum): (impl Iterator<Item = (f64, u64)>, f64),
) {
    let mut count = 0;
    for (bound, within) in buckets {
        count = within;
        page.sample(&format!("{name}_bucket"), &of(deployment, &[("le", &bound_text(bound))]), within);
    }
    page.sample(&format!("{name}_sum"), &of(deployment, &[]), sum);
    page.sample(&format!("{name}_count"), &of(deployment, &[]), count);
}

fn bound_text(bound: f64) -> String {
    if bound.is_infinite() { "+Inf".to_owned() } else { bound.to_string() }
}

/// A deployment's labels, and more.
fn of<'a>(deployment: &'a DeploymentCounters, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, String)> {
    let status = &deployment.status;
    let mut labels = vec![
        ("project", deployment.project.clone()),
        ("endpoint", status.endpoint.clone()),
        ("deployment", status.deployment.clone()),
        ("model", status.model.clone()),
        ("version", status.version.to_string()),
        ("engine", status.engine.clone()),
    ];
    labels.extend(more.iter().map(|(name, value)| (*name, (*value).to_owned())));
    labels
}

/// The text, as it grows.
#[derive(Default)]
struct Page {
    text: String,
}

impl Page {
    fn family(&mut self, name: &str, kind: &str, help: &str) {
        self.line(format_args!("# HELP {name} {}", help.replace('\\', "\\\\").replace('\n', "\\n")));
        self.line(format_args!("# TYPE {name} {kind}"));
    }

    fn sample<T: AsRef<str>>(&mut self, name: &str, labels: &[(&str, T)], value: impl Display) {
        let pair = |(key, text): &(&str, T)| format!("{key}=\"{}\"", escaped(text.as_ref()));
        let pairs: Vec<String> = labels.iter().map(pair).collect();
        if pairs.is_empty() {
            self.line(format_args!("{name} {value}"));
        } else {
            self.line(format_args!("{name}{{{}}} {value}", pairs.join(",")));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        writeln!(self.text, "{line}").expect("a string takes all that is written");
    }
}

fn escaped(label: &str) -> String {
    label.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn labels_are_escaped() {
        let mut page = Page::default();
        page.sample("x", &[("a", "1\"2\\3\n4")], 5);
        page.sample("y", NO_LABELS, 0.5);
        assert_eq!(page.text, "x{a=\"1\\\"2\\\\3\\n4\"} 5\ny 0.5\n");
    }

    #[test]
    fn a_histogram_is_cumulative() {
        let mut record = RouteRecord { total: Duration::from_millis(1500), ..RouteRecord::default() };
        record.replies.extend([(200, 3), (404, 1)]);
        record.buckets[0] = 1;
        record.buckets[2] = 2;
        let mut page = Page::default();
        requests(&mut page, &[(Route("r"), record)]);
        for line in [
            "# TYPE bellwether_http_requests_total counter",
            "bellwether_http_requests_total{route=\"r\",code=\"404\"} 1",
            "bellwether_http_request_duration_seconds_bucket{route=\"r\",le=\"0.0001\"} 1",
            "bellwether_http_request_duration_seconds_bucket{route=\"r\",le=\"0.00025\"} 1",
            "bellwether_http_request_duration_seconds_bucket{route=\"r\",le=\"60\"} 3",
            "bellwether_http_request_duration_seconds_bucket{route=\"r\",le=\"+Inf\"} 4",
            "bellwether_http_request_duration_seconds_sum{route=\"r\"} 1.5",
            "bellwether_http_request_duration_seconds_count{route=\"r\"} 4",
        ] {
            assert!(page.text.lines().any(|found| found == line), "{line} is not in\n{}", page.text);
        }
    }
}
