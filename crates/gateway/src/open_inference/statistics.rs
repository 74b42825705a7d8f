//! What models have done: the protocol's statistics, summed over the deployments of a version.
//!
//! `inference_count` counts rows, `execution_count` batches. What is not measured apart (reading inputs, writing outputs,
//! a cache there is none of, when the last request came) is 0 or left out.

use std::collections::BTreeMap;

use platform::{Counters, Histogram, ModelName, Platform};
use serde_json::{Value, json};

/// The sums of one version.
#[derive(Debug, Default, PartialEq)]
struct Totals {
    rows: u64,
    batches: u64,
    answered: u64,
    failed: u64,
    queue_ns: u64,
    compute_ns: u64,
    memory_bytes: u64,
}

impl Totals {
    fn add(&mut self, counters: &Counters, memory_bytes: u64) {
        let failed: u64 = counters.errors.by_kind().iter().map(|(_, count)| count).sum();
        self.rows += counters.rows;
        self.batches += counters.batches;
        self.answered += counters.requests.saturating_sub(failed + counters.queued as u64);
        self.failed += failed;
        self.queue_ns += nanoseconds(&counters.queue);
        self.compute_ns += nanoseconds(&counters.compute);
        self.memory_bytes += memory_bytes;
    }

    fn json(&self, name: &str, version: u32) -> Value {
        let duration = |count: u64, ns: u64| json!({"count": count, "ns": ns});
        let total_ns = self.queue_ns + self.compute_ns;
        json!({
            "name": name,
            "version": version.to_string(),
            "inference_count": self.rows,
            "execution_count": self.batches,
            "inference_stats": {
                "success": duration(self.answered, total_ns),
                "fail": duration(self.failed, 0),
                "queue": duration(self.answered, self.queue_ns),
                "compute_input": duration(self.answered, 0),
                "compute_infer": duration(self.answered, self.compute_ns),
                "compute_output": duration(self.answered, 0),
                "cache_hit": duration(0, 0),
                "cache_miss": duration(0, 0),
            },
            "response_stats": {},
            "batch_stats": [],
            "memory_usage": [{"type": "CPU", "id": 0, "byte_size": self.memory_bytes}],
        })
    }
}

/// The statistics of every version in service of the models that `wanted` takes.
pub(crate) fn of(platform: &Platform, wanted: impl Fn(&ModelName, u32) -> bool) -> Value {
    let mut totals: BTreeMap<(ModelName, u32), Totals> = BTreeMap::new();
    for deployment in platform.serving_counters() {
        let name = ModelName { project: deployment.project, model: deployment.status.model };
        let version = deployment.status.version;
        if wanted(&name, version) {
            let totals = totals.entry((name, version)).or_default();
            totals.add(&deployment.counters, deployment.status.memory_bytes);
        }
    }
    let models: Vec<Value> =
        totals.iter().map(|((name, version), totals)| totals.json(&name.to_string(), *version)).collect();
    json!({"model_stats": models})
}

fn nanoseconds(histogram: &Histogram) -> u64 {
    (histogram.sum_seconds * 1e9).round() as u64
}

#[cfg(test)]
mod tests {
    use platform::{Bucket, ErrorCounts};

    use super::*;

    #[test]
    fn rows_and_batches_are_summed_over_deployments() {
        let histogram = |count, sum_seconds| Histogram {
            buckets: vec![
                Bucket { upper_seconds: 1.0, count: 1 },
                Bucket { upper_seconds: f64::INFINITY, count },
            ],
            sum_seconds,
        };
        let counters = Counters {
            requests: 10,
            rows: 70,
            batches: 5,
            batched_rows: 70,
            batched: std::time::Duration::from_secs(2),
            errors: ErrorCounts { input: 2, ..ErrorCounts::default() },
            queued: 1,
            queue: histogram(7, 0.5),
            compute: histogram(5, 2.0),
        };
        let mut totals = Totals::default();
        totals.add(&counters, 100);
        totals.add(&counters, 100);
        let json = totals.json("m", 3);
        assert_eq!((&json["inference_count"], &json["execution_count"]), (&json!(140), &json!(10)));
        assert_eq!(json["inference_stats"]["success"], json!({"count": 14, "ns": 5_000_000_000u64}));
        assert_eq!(json["inference_stats"]["fail"]["count"], 4);
        assert_eq!(json["memory_usage"][0]["byte_size"], 200);
    }
}
