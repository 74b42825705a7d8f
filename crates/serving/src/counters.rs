//! What a deployment has done, counted with plain atomics, in the form monitoring wants.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::Error;
use crate::per_thread::PerThread;
use crate::sizes::{BatchSize, Sizes};

/// Whoever asks is told apart by a lane, a number below this; what a lane is called is the caller's affair.
pub const LANES: usize = 8;

/// Upper bounds of the histograms' buckets, in seconds. The last bucket has none.
const BOUNDS_SECONDS: [f64; 14] =
    [1e-5, 2.5e-5, 5e-5, 1e-4, 2.5e-4, 5e-4, 1e-3, 2.5e-3, 5e-3, 1e-2, 2.5e-2, 0.1, 0.5, 2.5];

/// What a deployment has done since it was loaded.
#[derive(Debug, Clone, PartialEq)]
pub struct Counters {
    /// Requests that came in, answered or not.
    pub requests: u64,
    /// Rows that were answered.
    pub rows: u64,
    /// Calls of the engine's threads, each for the rows of one or more requests.
    pub batches: u64,
    /// Rows of all of those.
    pub batched_rows: u64,
    /// How long all of those took together.
    pub batched: Duration,
    /// Requests that were not answered, by the reason.
    pub errors: ErrorCounts,
    /// Requests waiting now.
    pub queued: usize,
    /// How long computed requests had waited for a thread.
    pub queue: Histogram,
    /// How long computed requests took to compute.
    pub compute: Histogram,
    /// What was computed together, by its number of rows, ascending.
    pub batch_sizes: Vec<BatchSize>,
    /// When the last batch was computed; none: there was none.
    pub last: Option<SystemTime>,
    /// How long answers took as those who asked saw it, by lane; see [`Deployment::took`](crate::Deployment::took).
    pub lanes: [Histogram; LANES],
}

/// Requests that were not answered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ErrorCounts {
    /// The tensors did not fit the signature.
    pub input: u64,
    /// Too many rows, or tensors over the memory budget.
    pub too_large: u64,
    /// Too much was waiting.
    pub overloaded: u64,
    /// Its time was over before its turn; nothing was computed.
    pub expired: u64,
    /// The caller left before its turn; nothing was computed.
    pub cancelled: u64,
    /// The engine failed.
    pub engine: u64,
    /// The deployment was being taken out of service.
    pub stopped: u64,
}

/// Durations in buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// The buckets, ascending; the last one's bound is infinite and its count is that of all durations.
    pub buckets: Vec<Bucket>,
    /// All durations together, in seconds.
    pub sum_seconds: f64,
}

/// How many durations were at most `upper_seconds`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bucket {
    /// The upper bound, itself included.
    pub upper_seconds: f64,
    /// Durations up to the bound: each bucket counts those before it too.
    pub count: u64,
}

impl ErrorCounts {
    /// The counts with their names, as label values.
    pub fn by_kind(&self) -> [(&'static str, u64); 7] {
        [
            ("input", self.input),
            ("too_large", self.too_large),
            ("overloaded", self.overloaded),
            ("expired", self.expired),
            ("cancelled", self.cancelled),
            ("engine", self.engine),
            ("stopped", self.stopped),
        ]
    }
}

#[derive(Default)]
pub(crate) struct Counting {
    pub(crate) requests: AtomicU64,
    pub(crate) rows: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    batches: AtomicU64,
    batched_rows: AtomicU64,
    batched_nanoseconds: AtomicU64,
    expired: AtomicU64,
    pub(crate) queue: Durations,
    pub(crate) compute: Durations,
    input: AtomicU64,
    too_large: AtomicU64,
    overloaded: AtomicU64,
    engine: AtomicU64,
    stopped: AtomicU64,
    sizes: Sizes,
    last: Last,
    lanes: [Durations; LANES],
}

/// When something happened last, in nanoseconds since 1970; 0: never. It is noted as it is told: what is computed from a clock
/// that is read later moves by whatever interrupts the reader.
#[derive(Default)]
struct Last(AtomicU64);

impl Last {
    fn now(&self) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.0.store(nanoseconds(now).max(1), Ordering::Relaxed);
    }

    fn at(&self) -> Option<SystemTime> {
        let at = get(&self.0);
        (at > 0).then(|| UNIX_EPOCH + Duration::from_nanos(at))
    }
}

impl Counting {
    pub(crate) fn failed(&self, error: &Error) {
        let counter = match error {
            Error::Input(_) => &self.input,
            Error::TooManyRows { .. } | Error::RequestTooLarge { .. } => &self.too_large,
            Error::Overloaded { .. } => &self.overloaded,
            Error::Expired(_) => &self.expired,
            Error::Stopped(_) => &self.stopped,
            _ => &self.engine,
        };
        add(counter, 1);
    }

    /// A call for `rows` rows took `time`.
    pub(crate) fn computed(&self, rows: usize, time: Duration) {
        add(&self.batches, 1);
        add(&self.batched_rows, rows as u64);
        add(&self.batched_nanoseconds, nanoseconds(time));
        self.sizes.add(rows, time);
        self.last.now();
    }

    /// An answer took `time` for somebody of this lane. Lanes that are none are not counted.
    pub(crate) fn took(&self, lane: usize, time: Duration) {
        if let Some(lane) = self.lanes.get(lane) {
            lane.add(time);
        }
    }
}

impl PerThread<Counting> {
    pub(crate) fn snapshot(&self, queued: usize) -> Counters {
        let sum = |of: fn(&Counting) -> &AtomicU64| self.all().map(|part| get(of(part))).sum::<u64>();
        let durations = |of: &dyn Fn(&Counting) -> &Durations| Durations::snapshot(self.all().map(of));
        Counters {
            requests: sum(|part| &part.requests),
            rows: sum(|part| &part.rows),
            batches: sum(|part| &part.batches),
            batched_rows: sum(|part| &part.batched_rows),
            batched: Duration::from_nanos(sum(|part| &part.batched_nanoseconds)),
            errors: ErrorCounts {
                input: sum(|part| &part.input),
                too_large: sum(|part| &part.too_large),
                overloaded: sum(|part| &part.overloaded),
                expired: sum(|part| &part.expired),
                cancelled: sum(|part| &part.cancelled),
                engine: sum(|part| &part.engine),
                stopped: sum(|part| &part.stopped),
            },
            queued,
            queue: durations(&|part| &part.queue),
            compute: durations(&|part| &part.compute),
            batch_sizes: Sizes::snapshot(self.all().map(|part| &part.sizes)),
            last: self.all().filter_map(|part| part.last.at()).max(),
            lanes: std::array::from_fn(|lane| durations(&|part| &part.lanes[lane])),
        }
    }
}

#[derive(Default)]
pub(crate) struct Durations {
    counts: [AtomicU64; BOUNDS_SECONDS.len() + 1],
    sum_nanoseconds: AtomicU64,
}

impl Durations {
    pub(crate) fn add(&self, duration: Duration) {
        let seconds = duration.as_secs_f64();
        let bucket = BOUNDS_SECONDS.partition_point(|bound| *bound < seconds);
        add(&self.counts[bucket], 1);
        add(&self.sum_nanoseconds, nanoseconds(duration));
    }

    /// Those of all parts together.
    fn snapshot<'a>(parts: impl Iterator<Item = &'a Self>) -> Histogram {
        let (mut counts, mut nanoseconds) = ([0; BOUNDS_SECONDS.len() + 1], 0);
        for part in parts {
            nanoseconds += get(&part.sum_nanoseconds);
            counts.iter_mut().zip(&part.counts).for_each(|(sum, count)| *sum += get(count));
        }
        let bounds = BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
        let mut count = 0;
        let buckets = bounds.zip(counts).map(|(upper_seconds, in_bucket)| {
            count += in_bucket;
            Bucket { upper_seconds, count }
        });
        let buckets = buckets.collect();
        Histogram { buckets, sum_seconds: nanoseconds as f64 / 1e9 }
    }
}

pub(crate) fn add(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

/// As far as they can be counted: 584 years.
pub(crate) fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

pub(crate) fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_count_those_before_them() {
        let durations = Durations::default();
        for micros in [5, 10, 11, 700, 60_000_000] {
            durations.add(Duration::from_micros(micros));
        }
        let histogram = Durations::snapshot(std::iter::once(&durations));
        let counts: Vec<u64> = histogram.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [2, 3, 3, 3, 3, 3, 4, 4, 4, 4, 4, 4, 4, 4, 5]);
        assert_eq!(histogram.buckets[14].upper_seconds, f64::INFINITY);
        assert!((histogram.sum_seconds - 60.000_726).abs() < 1e-9);
    }

    #[test]
    fn batches_and_lanes_are_counted_apart() {
        let counting = PerThread::<Counting>::default();
        assert_eq!(counting.snapshot(0).last, None);
        let count = || {
            counting.here().computed(3, Duration::from_micros(5));
            counting.here().took(1, Duration::from_micros(90));
            counting.here().took(LANES, Duration::from_micros(90));
        };
        count();
        // Another thread has counters of its own.
        std::thread::scope(|scope| scope.spawn(count).join().unwrap());
        let counters = counting.snapshot(0);
        let last = counters.last.unwrap();
        assert!(last.elapsed().unwrap_or_default() < Duration::from_secs(60));
        assert_eq!(counting.snapshot(0).last, Some(last), "it stays while nothing is computed");
        let time = Duration::from_micros(10);
        assert_eq!(counters.batch_sizes, [BatchSize { rows: 3, batches: 2, time }]);
        assert_eq!((counters.batches, counters.batched_rows, counters.batched), (2, 6, time));
        let counts = counters.lanes.map(|lane| lane.buckets.last().unwrap().count);
        assert_eq!((counts[1], counts.iter().sum::<u64>()), (2, 2));
    }
}
