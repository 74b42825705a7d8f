//! `bench`: how fast a server answers.

use std::collections::BTreeMap;
use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Uri};
use platform::{Error, Kind};
use serde::Serialize;

use crate::args::bench::BenchArgs;
use crate::context::Context;
use crate::load::Load;
use crate::output::{Column, Show, table};

/// The longest run: a day.
const SECONDS_MAX: f64 = 86_400.0;

/// What was measured; times are in microseconds, from when a request was due.
#[derive(Debug, Serialize)]
struct BenchView {
    url: String,
    connections: u16,
    /// Until the last reply.
    seconds: f64,
    requests: u64,
    requests_per_second: f64,
    reply_bytes_per_second: f64,
    mean_us: f64,
    p50_us: f64,
    p90_us: f64,
    p99_us: f64,
    p999_us: f64,
    max_us: f64,
    /// Replies with a status of 400 or more, and requests without a reply (`connection`).
    failures: BTreeMap<String, u64>,
}

impl Show for BenchView {
    fn text(&self) -> String {
        let columns = ["requests/s", "mean us", "p50", "p90", "p99", "p99.9", "max"].map(Column::Figure);
        let figure = |value: f64| format!("{value:.0}");
        let row = [
            self.requests_per_second,
            self.mean_us,
            self.p50_us,
            self.p90_us,
            self.p99_us,
            self.p999_us,
            self.max_us,
        ];
        let mut text = table(&columns, [row.map(figure).to_vec()]);
        for (outcome, count) in &self.failures {
            text.push_str(&format!("failed: {count} x {outcome}\n"));
        }
        text
    }
}

/// `bench`
pub(crate) async fn bench(context: &Context, args: BenchArgs) -> Result<(), Error> {
    let load = load(&args)?;
    let answers = tokio::select! {
        answers = load.run() => answers?,
        () = context.interrupt.wait() => return Err(Error::new(Kind::Cancelled, "interrupted")),
    };
    let good = &answers.good;
    // What came after the time that was to be measured took longer.
    let seconds = answers.lasted.as_secs_f64().max(args.seconds);
    context.output.show(&BenchView {
        url: args.url,
        connections: args.connections,
        seconds,
        requests: good.total(),
        requests_per_second: good.total() as f64 / seconds,
        reply_bytes_per_second: answers.bytes as f64 / seconds,
        mean_us: good.mean(),
        p50_us: good.percentile(50.0),
        p90_us: good.percentile(90.0),
        p99_us: good.percentile(99.0),
        p999_us: good.percentile(99.9),
        max_us: good.max(),
        failures: answers.failures,
    })
}

fn load(args: &BenchArgs) -> Result<Load, Error> {
    let uri: Uri = args
        .url
        .parse()
        .ok()
        .filter(|uri: &Uri| uri.scheme_str() == Some("http") && uri.host().is_some())
        .ok_or_else(|| Error::invalid("--url", format!("\"{}\" is not http://HOST:PORT/PATH", args.url)))?;
    let body = match &args.body {
        Some(path) => std::fs::read(path)
            .map_err(|error| Error::invalid("--body", format!("cannot read {}: {error}", path.display())))?,
        None => Vec::new(),
    };
    let method = match &args.method {
        Some(name) => Method::from_bytes(name.as_bytes())
            .map_err(|_| Error::invalid("--method", format!("\"{name}\" is no method")))?,
        None if args.body.is_some() => Method::POST,
        None => Method::GET,
    };
    let mut headers = HeaderMap::new();
    for (name, value) in &args.headers {
        let wrong = || Error::invalid("--header", format!("\"{name}={value}\" is no header"));
        let name: HeaderName = name.parse().map_err(|_| wrong())?;
        headers.append(name, HeaderValue::from_str(value).map_err(|_| wrong())?);
    }
    if args.body.is_some() && !headers.contains_key("content-type") {
        headers.insert("content-type", HeaderValue::from_static("application/json"));
    }
    let duration = |flag: &str, seconds: f64| {
        let known = (0.0..=SECONDS_MAX).contains(&seconds);
        let wrong = || Error::invalid(flag, format!("{seconds} must be between 0 and {SECONDS_MAX} seconds"));
        known.then(|| Duration::from_secs_f64(seconds)).ok_or_else(wrong)
    };
    if args.rate.is_some_and(|rate| !(rate > 0.0 && rate.is_finite())) {
        return Err(Error::invalid("--rate", "the rate must be above 0"));
    }
    Ok(Load {
        method,
        uri,
        headers,
        body: body.into(),
        connections: args.connections,
        warm_up: duration("--warm-up", args.warm_up)?,
        measured: duration("--seconds", args.seconds)?,
        rate: args.rate,
        http2: args.http2,
    })
}
