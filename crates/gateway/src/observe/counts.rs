//! What was replied, counted without a lock: by route and status, with a histogram of durations; what was refused before a
//! handler saw it; bytes of bodies by protocol.
//!
//! Only names of the program's own are labels, so that nobody who asks can make them more. Deliberately not here: their
//! text form, which is `native::metrics`.

use std::collections::BTreeMap;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use platform::PerThread;

use crate::dialect::Dialect;

/// Upper bounds of the duration histogram, in seconds: from a warm prediction to the request timeout.
pub(crate) const DURATION_BOUNDS_SECONDS: [f64; 17] = [
    0.0001, 0.000_25, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
    60.0,
];

/// The statuses that are counted apart, the commonest first; any other is counted as `other`.
const CODES: [(u16, &str); 28] = [
    (200, "200"),
    (400, "400"),
    (404, "404"),
    (429, "429"),
    (503, "503"),
    (504, "504"),
    (500, "500"),
    (201, "201"),
    (202, "202"),
    (204, "204"),
    (206, "206"),
    (304, "304"),
    (308, "308"),
    (401, "401"),
    (403, "403"),
    (405, "405"),
    (406, "406"),
    (408, "408"),
    (409, "409"),
    (411, "411"),
    (412, "412"),
    (413, "413"),
    (415, "415"),
    (416, "416"),
    (422, "422"),
    (431, "431"),
    (499, "499"),
    (501, "501"),
];

/// gRPC's statuses, each at its number.
const GRPC_CODES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Twice as many as there are routes.
const ROUTES_MAX: usize = 256;

/// The name a reply is counted under; handlers put it into the reply's extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Route(pub(crate) &'static str);

/// How a reply ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Http(u16),
    /// gRPC's status, whose HTTP status is 200.
    Grpc(u16),
}

/// Why a request got no answer, whatever its protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// It came from a page of another site.
    Origin,
    /// Without a key, or with one that is not taken.
    NoKey,
    /// Its key is not for that.
    NotAllowed,
    /// As many are in progress as may be.
    Busy,
    /// It took too long.
    TooLate,
    /// Its body is too large.
    TooLarge,
    /// The server is to stop.
    Stopping,
}

impl Why {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Origin, "origin"),
        (Self::NoKey, "no_key"),
        (Self::NotAllowed, "not_allowed"),
        (Self::Busy, "busy"),
        (Self::TooLate, "too_late"),
        (Self::TooLarge, "too_large"),
        (Self::Stopping, "stopping"),
    ];
}

/// All counters.
#[derive(Debug)]
pub(crate) struct Counts {
    routes: [OnceLock<Box<RouteCount>>; ROUTES_MAX],
    dialects: PerThread<[DialectCount; Dialect::ALL.len()]>,
}

impl Default for Counts {
    fn default() -> Self {
        Self { routes: std::array::from_fn(|_| OnceLock::new()), dialects: Default::default() }
    }
}

#[derive(Debug)]
struct RouteCount {
    route: Route,
    parts: PerThread<RoutePart>,
}

/// What some threads replied.
#[derive(Debug)]
struct RoutePart {
    http: [AtomicU64; CODES.len() + 1],
    grpc: [AtomicU64; GRPC_CODES.len()],
    buckets: [AtomicU64; DURATION_BOUNDS_SECONDS.len() + 1],
    nanoseconds: AtomicU64,
}

#[derive(Debug, Default)]
struct DialectCount {
    refused: [AtomicU64; Why::ALL.len()],
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// What a route has answered.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct RouteRecord {
    /// Replies by HTTP status.
    pub(crate) http: BTreeMap<&'static str, u64>,
    /// Calls by gRPC's status.
    pub(crate) grpc: BTreeMap<&'static str, u64>,
    /// Replies by duration: one count per bound, of those within it and over the bound before; the last has no bound.
    pub(crate) buckets: [u64; DURATION_BOUNDS_SECONDS.len() + 1],
    /// All durations together.
    pub(crate) total: Duration,
}

/// What a protocol has brought and taken.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct DialectRecord {
    pub(crate) dialect: Dialect,
    /// Requests without an answer, by the reason.
    pub(crate) refused: [(&'static str, u64); Why::ALL.len()],
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
}

impl Counts {
    /// A reply of a route, and how long it took.
    pub(crate) fn replied(&self, route: Route, status: Status, took: Duration) {
        let Some(count) = self.route(route) else { return };
        let count = count.parts.here();
        add(count.status(status), 1);
        let seconds = took.as_secs_f64();
        add(&count.buckets[DURATION_BOUNDS_SECONDS.partition_point(|bound| *bound < seconds)], 1);
        add(&count.nanoseconds, u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// A request without an answer.
    pub(crate) fn refused(&self, dialect: Dialect, why: Why) {
        add(&self.dialects.here()[dialect as usize].refused[why as usize], 1);
    }

    /// Bytes of a request's body.
    pub(crate) fn received(&self, dialect: Dialect, bytes: u64) {
        add(&self.dialects.here()[dialect as usize].received_bytes, bytes);
    }

    /// Bytes of a reply's body.
    pub(crate) fn sent(&self, dialect: Dialect, bytes: u64) {
        add(&self.dialects.here()[dialect as usize].sent_bytes, bytes);
    }

    /// The replies by route as they are now.
    pub(crate) fn routes(&self) -> BTreeMap<Route, RouteRecord> {
        let mut routes: BTreeMap<Route, RouteRecord> = BTreeMap::new();
        // The compiler may keep one name in several places.
        for count in self.routes.iter().filter_map(OnceLock::get) {
            let record = routes.entry(count.route).or_default();
            count.parts.all().for_each(|part| part.add_to(record));
        }
        routes
    }

    /// All replies.
    pub(crate) fn replies(&self) -> u64 {
        let parts = self.routes.iter().filter_map(OnceLock::get).flat_map(|count| count.parts.all());
        parts.flat_map(|part| part.http.iter().chain(&part.grpc)).map(get).sum()
    }

    /// The rest by protocol.
    pub(crate) fn dialects(&self) -> Vec<DialectRecord> {
        let record = |dialect: Dialect| {
            let parts = || self.dialects.all().map(|part| &part[dialect as usize]);
            let sum = |of: &dyn Fn(&DialectCount) -> &AtomicU64| parts().map(|part| get(of(part))).sum();
            DialectRecord {
                dialect,
                refused: Why::ALL.map(|(why, name)| (name, sum(&|part| &part.refused[why as usize]))),
                received_bytes: sum(&|part| &part.received_bytes),
                sent_bytes: sum(&|part| &part.sent_bytes),
            }
        };
        Dialect::ALL.map(record).into()
    }

    /// The counters of a route, found by where its name lies: each name has a place from its first use on.
    fn route(&self, route: Route) -> Option<&RouteCount> {
        let first = route.0.as_ptr().addr() >> 2;
        (0..ROUTES_MAX).find_map(|step| {
            let place = &self.routes[(first + step) % ROUTES_MAX];
            let count = place.get_or_init(|| Box::new(RouteCount::new(route)));
            std::ptr::eq(count.route.0, route.0).then_some(&**count)
        })
    }
}

impl RouteCount {
    fn new(route: Route) -> Self {
        Self { route, parts: PerThread::default() }
    }
}

impl Default for RoutePart {
    fn default() -> Self {
        Self {
            http: std::array::from_fn(|_| AtomicU64::new(0)),
            grpc: Default::default(),
            buckets: Default::default(),
            nanoseconds: AtomicU64::new(0),
        }
    }
}

impl RoutePart {
    fn status(&self, status: Status) -> &AtomicU64 {
        match status {
            Status::Http(code) => {
                &self.http[CODES.iter().position(|(known, _)| *known == code).unwrap_or(CODES.len())]
            }
            // 2 is `UNKNOWN`.
            Status::Grpc(code) => self.grpc.get(usize::from(code)).unwrap_or(&self.grpc[2]),
        }
    }

    fn add_to(&self, record: &mut RouteRecord) {
        let mut sum = |into: fn(&mut RouteRecord) -> &mut BTreeMap<&'static str, u64>, name, count| {
            if count > 0 {
                *into(record).entry(name).or_default() += count;
            }
        };
        for (at, count) in self.http.iter().enumerate() {
            sum(|record| &mut record.http, CODES.get(at).map_or("other", |(_, name)| *name), get(count));
        }
        for (name, count) in GRPC_CODES.into_iter().zip(&self.grpc) {
            sum(|record| &mut record.grpc, name, get(count));
        }
        for (sum, count) in record.buckets.iter_mut().zip(&self.buckets) {
            *sum += get(count);
        }
        record.total += Duration::from_nanos(get(&self.nanoseconds));
    }
}

/// The name of a status of gRPC.
pub(crate) fn grpc_name(code: u16) -> &'static str {
    GRPC_CODES.get(usize::from(code)).copied().unwrap_or(GRPC_CODES[2])
}

fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_counts_in_the_bucket_of_its_duration() {
        let counts = Counts::default();
        let route = Route("a");
        counts.replied(route, Status::Http(200), Duration::from_micros(100));
        counts.replied(route, Status::Http(404), Duration::from_millis(3));
        counts.replied(route, Status::Http(200), Duration::from_secs(100));
        counts.replied(route, Status::Http(299), Duration::ZERO);
        counts.replied(Route("b"), Status::Grpc(5), Duration::ZERO);
        counts.replied(Route("b"), Status::Grpc(77), Duration::ZERO);
        let routes = counts.routes();
        let record = &routes[&route];
        assert_eq!(record.http, BTreeMap::from([("200", 2), ("404", 1), ("other", 1)]));
        assert_eq!((record.buckets[0], record.buckets[5], record.buckets[17]), (2, 1, 1));
        assert_eq!(record.buckets.iter().sum::<u64>(), 4);
        assert_eq!(routes[&Route("b")].grpc, BTreeMap::from([("NOT_FOUND", 1), ("UNKNOWN", 1)]));
        assert_eq!(counts.replies(), 6);
    }

    #[test]
    fn names_that_lie_apart_are_one_route() {
        let counts = Counts::default();
        let other: &'static str = Box::leak("same".to_owned().into_boxed_str());
        for name in ["same", other, other] {
            counts.replied(Route(name), Status::Http(200), Duration::ZERO);
        }
        assert_eq!(counts.routes()[&Route("same")].http["200"], 3);
    }

    #[test]
    fn more_routes_than_there_is_room_for_are_not_counted() {
        let counts = Counts::default();
        for at in 0..ROUTES_MAX + 50 {
            let name: &'static str = Box::leak(format!("{at}").into_boxed_str());
            counts.replied(Route(name), Status::Http(200), Duration::ZERO);
        }
        assert_eq!(counts.routes().len(), ROUTES_MAX);
    }

    #[test]
    fn reasons_and_bytes_are_counted_by_protocol() {
        let counts = Counts::default();
        counts.refused(Dialect::MlFlow, Why::Busy);
        counts.received(Dialect::MlFlow, 7);
        counts.sent(Dialect::Native, 9);
        let records = counts.dialects();
        let mlflow = &records[Dialect::MlFlow as usize];
        assert_eq!((mlflow.received_bytes, mlflow.refused[3]), (7, ("busy", 1)));
        assert_eq!(records[Dialect::Native as usize].sent_bytes, 9);
        for (at, (why, _)) in Why::ALL.into_iter().enumerate() {
            assert_eq!(why as usize, at);
        }
    }
}
