//! Versions brought into service: counted, how many, how long it took, how many failed; and at which priority their engines run.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use registry::{Deployment, ModelVersion};
use serving::{Bucket, Histogram};

use crate::deployed::Loaded;
use crate::{Platform, Result};

/// Upper bounds of the durations' buckets, in seconds. The last bucket has none.
const BOUNDS_SECONDS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// Versions that were loaded beside what was in service, since this process started: at its start, and by deploying.
#[derive(Debug, Clone, PartialEq)]
pub struct LoadCounters {
    /// Loaded, proven and ready.
    pub loaded: u64,
    /// Not brought into service; what was in service before went on.
    pub failed: u64,
    /// How long both took.
    pub took: Histogram,
}

/// Counts loads. They take seconds, so a lock costs nothing.
#[derive(Debug)]
pub(crate) struct Loads(Mutex<LoadCounters>);

impl Default for Loads {
    fn default() -> Self {
        let bounds = BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.map(|upper_seconds| Bucket { upper_seconds, count: 0 }).collect();
        let took = Histogram { buckets, sum_seconds: 0.0 };
        Self(Mutex::new(LoadCounters { loaded: 0, failed: 0, took }))
    }
}

impl Loads {
    fn add(&self, loaded: bool, time: Duration) {
        let mut counters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if loaded {
            counters.loaded += 1;
        } else {
            counters.failed += 1;
        }
        let seconds = time.as_secs_f64();
        counters.took.sum_seconds += seconds;
        for bucket in counters.took.buckets.iter_mut().filter(|bucket| seconds <= bucket.upper_seconds) {
            bucket.count += 1;
        }
    }
}

impl Platform {
    /// What was brought into service, for monitoring.
    pub fn load_counters(&self) -> LoadCounters {
        self.loads.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// [`Platform::load_uncounted`], counted. The engine of a shadow gives way to all that answer: the system lets no thread
    /// return from that, so whoever makes it answer loads it anew ([`Platform::load_to_answer`]).
    pub(crate) async fn load(
        &self,
        endpoint: &str,
        deployment: &Deployment,
        version: &ModelVersion,
        expected_bytes: u64,
    ) -> Result<Loaded> {
        let begun = Instant::now();
        let loaded = self.load_uncounted(endpoint, deployment, version, expected_bytes).await;
        self.loads.add(loaded.is_ok(), begun.elapsed());
        loaded
    }

    /// The same for a deployment that is a shadow and is to answer.
    pub(crate) async fn load_to_answer(
        &self,
        endpoint: &str,
        deployment: &Deployment,
        version: &ModelVersion,
    ) -> Result<Loaded> {
        let answering = Deployment { shadow_percent: None, ..deployment.clone() };
        self.load(endpoint, &answering, version, 0).await
    }

    /// Whether a deployment is a shadow as the registry has it now.
    pub(crate) async fn is_shadow(
        &self,
        project: &str,
        endpoint: &str,
        deployment: &Deployment,
    ) -> Result<bool> {
        if deployment.shadow_percent.is_none() {
            return Ok(false);
        }
        Ok(self.registry.get_endpoint(project, endpoint).await?.is_shadow(deployment))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failed_loads_take_their_time_too() {
        let loads = Loads::default();
        loads.add(true, Duration::from_millis(200));
        loads.add(false, Duration::from_secs(1000));
        let counters = loads.0.lock().unwrap().clone();
        assert_eq!((counters.loaded, counters.failed), (1, 1));
        let counts: Vec<u64> = counters.took.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [0, 0, 1, 1, 1, 1, 1, 1, 1, 2]);
        assert!((counters.took.sum_seconds - 1000.2).abs() < 1e-9);
    }
}
