//! What models have done: the protocol's statistics, summed over the deployments of a version, for HTTP and gRPC alike.
//!
//! As Triton counts: `inference_count` are rows and `execution_count` the engine's batches; `success` are requests that were
//! answered, not those still waiting or computed, and all of a request's parts are counted as often; a model has one entry
//! of memory a device. What is not measured apart (reading inputs, writing outputs, a cache there is none of, how long failures
//! took) is 0.

use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

use platform::{Counters, DeploymentCounters, Histogram, ModelName, Platform};
use serde_json::{Value, json};

/// The sums of one version.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Statistics {
    /// The model's name, as the protocol writes it.
    pub(crate) name: String,
    pub(crate) version: u32,
    /// Milliseconds since 1970; 0: nothing was computed yet.
    pub(crate) last_inference_ms: u64,
    /// Rows answered.
    pub(crate) rows: u64,
    /// Batches computed.
    pub(crate) batches: u64,
    /// Requests answered.
    pub(crate) answered: u64,
    /// Requests refused or failed.
    pub(crate) failed: u64,
    pub(crate) queue_ns: u64,
    pub(crate) compute_ns: u64,
    /// Measured memory, of the processor: there is no other device.
    pub(crate) memory_bytes: u64,
    /// Batches, and nanoseconds of all of them, by their rows.
    pub(crate) batch_sizes: BTreeMap<usize, (u64, u64)>,
}

impl Statistics {
    fn add(&mut self, counters: &Counters, memory_bytes: u64) {
        let errors = &counters.errors;
        self.rows += counters.rows;
        self.batches += counters.batches;
        self.answered += runs(&counters.compute).saturating_sub(errors.engine);
        self.failed += errors.by_kind().iter().map(|(_, count)| count).sum::<u64>();
        self.queue_ns += nanoseconds(&counters.queue);
        self.compute_ns += nanoseconds(&counters.compute);
        self.memory_bytes += memory_bytes;
        if let Some(last) = counters.last {
            let last = last.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
            let last = u64::try_from(last).unwrap_or(u64::MAX);
            self.last_inference_ms = self.last_inference_ms.max(last);
        }
        for size in &counters.batch_sizes {
            let (batches, ns) = self.batch_sizes.entry(size.rows).or_default();
            *batches += size.batches;
            *ns += whole_nanoseconds(size.time);
        }
    }

    fn json(&self) -> Value {
        let duration = |count: u64, ns: u64| json!({"count": count, "ns": ns});
        let batch = |(rows, (batches, ns)): (&usize, &(u64, u64))| {
            json!({
                "batch_size": rows,
                "compute_input": duration(*batches, 0),
                "compute_infer": duration(*batches, *ns),
                "compute_output": duration(*batches, 0),
            })
        };
        json!({
            "name": self.name,
            "version": self.version.to_string(),
            "last_inference": self.last_inference_ms,
            "inference_count": self.rows,
            "execution_count": self.batches,
            "inference_stats": {
                "success": duration(self.answered, self.queue_ns + self.compute_ns),
                "fail": duration(self.failed, 0),
                "queue": duration(self.answered, self.queue_ns),
                "compute_input": duration(self.answered, 0),
                "compute_infer": duration(self.answered, self.compute_ns),
                "compute_output": duration(self.answered, 0),
                "cache_hit": duration(0, 0),
                "cache_miss": duration(0, 0),
            },
            "response_stats": {},
            "batch_stats": self.batch_sizes.iter().map(batch).collect::<Vec<Value>>(),
            "memory_usage": [{"type": "CPU", "id": 0, "byte_size": self.memory_bytes}],
        })
    }
}

/// The statistics of every version in service of the models that `wanted` takes, by name and number.
pub(crate) fn of(platform: &Platform, wanted: impl Fn(&ModelName, u32) -> bool) -> Vec<Statistics> {
    let mut versions: BTreeMap<(ModelName, u32), Statistics> = BTreeMap::new();
    for DeploymentCounters { project, status, counters } in platform.serving_counters() {
        let name = ModelName { project, model: status.model };
        if !wanted(&name, status.version) {
            continue;
        }
        let named = Statistics { name: name.to_string(), version: status.version, ..Statistics::default() };
        let statistics = versions.entry((name, status.version)).or_insert(named);
        statistics.add(&counters, status.memory_bytes);
    }
    versions.into_values().collect()
}

/// The body of a reply.
pub(crate) fn json(models: &[Statistics]) -> Value {
    json!({"model_stats": models.iter().map(Statistics::json).collect::<Vec<Value>>()})
}

fn runs(histogram: &Histogram) -> u64 {
    histogram.buckets.last().map_or(0, |bucket| bucket.count)
}

fn nanoseconds(histogram: &Histogram) -> u64 {
    (histogram.sum_seconds * 1e9).round() as u64
}

fn whole_nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use platform::{BatchSize, Bucket, ErrorCounts};

    use super::*;

    fn histogram(count: u64, sum_seconds: f64) -> Histogram {
        let bucket = |upper_seconds, count| Bucket { upper_seconds, count };
        Histogram { buckets: vec![bucket(1.0, 1), bucket(f64::INFINITY, count)], sum_seconds }
    }

    #[test]
    fn what_deployments_did_is_summed() {
        let size = |rows, batches| BatchSize { rows, batches, time: Duration::from_secs(1) };
        let counters = Counters {
            // One of them waits, and one is being computed.
            requests: 10,
            rows: 70,
            batches: 5,
            batched_rows: 70,
            batched: Duration::from_secs(2),
            errors: ErrorCounts { input: 2, engine: 1, ..ErrorCounts::default() },
            queued: 1,
            queue: histogram(6, 0.5),
            compute: histogram(6, 2.0),
            batch_sizes: vec![size(2, 4), size(62, 1)],
            last: Some(UNIX_EPOCH + Duration::from_millis(9750)),
            lanes: std::array::from_fn(|_| histogram(0, 0.0)),
        };
        let mut statistics = Statistics { name: "m".to_owned(), version: 3, ..Statistics::default() };
        statistics.add(&counters, 100);
        statistics.add(&Counters { last: None, ..counters }, 100);
        let json = statistics.json();
        assert_eq!((&json["inference_count"], &json["execution_count"]), (&json!(140), &json!(10)));
        assert_eq!(json["inference_stats"]["success"], json!({"count": 10, "ns": 5_000_000_000u64}));
        assert_eq!(json["inference_stats"]["queue"], json!({"count": 10, "ns": 1_000_000_000u64}));
        assert_eq!(json["inference_stats"]["fail"]["count"], 6);
        assert_eq!(json["memory_usage"], json!([{"type": "CPU", "id": 0, "byte_size": 200}]));
        assert_eq!(json["last_inference"], 9750);
        assert_eq!(json["batch_stats"][0]["batch_size"], 2);
        assert_eq!(json["batch_stats"][1]["compute_infer"], json!({"count": 2, "ns": 2_000_000_000u64}));
    }
}
