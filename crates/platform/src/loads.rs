//! Versions brought into service: what is loaded at which priority, counted, how many, how long it took, how many failed; and
//! given up when the process is to end.

mod claims;
mod turns;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use artifact::engine::EngineKind;
use registry::{Deployment, ModelVersion, Residence};
use serving::{Bucket, Histogram};
use tokio::sync::watch;

use crate::background::Runs;
use crate::deployed::{Loaded, key};
use crate::{Error, Kind, Platform, Result, pinned_engine};

pub(crate) use claims::{Claim, Claims, Purpose};
pub(crate) use turns::{Measure, Turn, Turns};

/// Upper bounds of the durations' buckets, in seconds. The last bucket has none.
const BOUNDS_SECONDS: [f64; 9] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 60.0, 300.0];

/// How often a version is loaded that has no room only if what others took meanwhile is counted as its own.
const TRIES_MAX: usize = 3;

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

/// A version to load.
#[derive(Clone, Copy)]
pub(crate) struct Load<'a> {
    /// The endpoint's id.
    pub(crate) endpoint: &'a str,
    /// What it is to be there.
    pub(crate) deployment: &'a Deployment,
    /// The version.
    pub(crate) version: &'a ModelVersion,
    /// What it took before, if that is known, else 0: those that stay while there is room make it first.
    pub(crate) expected_bytes: u64,
    /// Who comes first.
    pub(crate) pace: Pace,
}

/// Whether a load gives way to answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Nobody is answered until it is done: at the start of the process, or by a deployment that is loaded on demand.
    Awaited,
    /// What answers must not feel it, if anything does.
    Beside,
    /// It was to give way and found a machine whose cores are never free: it takes its part of them.
    Pressed,
}

impl<'a> Load<'a> {
    /// A version that comes into service beside others.
    pub(crate) fn beside(endpoint: &'a str, deployment: &'a Deployment, version: &'a ModelVersion) -> Self {
        Self { endpoint, deployment, version, expected_bytes: 0, pace: Pace::Beside }
    }

    /// One that somebody waits for.
    pub(crate) fn awaited(endpoint: &'a str, deployment: &'a Deployment, version: &'a ModelVersion) -> Self {
        Self { pace: Pace::Awaited, ..Self::beside(endpoint, deployment, version) }
    }

    /// Where it will stand.
    pub(crate) fn key(&self) -> serving::Key {
        key(&self.version.project, self.endpoint, &self.deployment.id)
    }

    /// What it takes memory for.
    pub(crate) fn purpose(&self) -> Purpose {
        match (self.pace, self.deployment.residence) {
            (Pace::Awaited, Residence::OnDemand) => Purpose::Passing,
            _ => Purpose::Staying,
        }
    }

    fn measure(&self) -> Measure {
        let engine = self.deployment.engine.clone().unwrap_or_else(|| pinned_engine(&self.version.summary));
        match EngineKind::named(&engine) {
            Some(EngineKind::Rten | EngineKind::Trees) if serving::allocations_are_counted() => {
                Measure::Counted
            }
            _ => Measure::Grown,
        }
    }
}

/// Counts loads, and tells them when to give up. They take seconds, so a lock costs nothing.
#[derive(Debug)]
pub(crate) struct Loads {
    counters: Mutex<LoadCounters>,
    stopping: watch::Sender<bool>,
    /// The newest that starved, as long as it is at it.
    starved: Mutex<Weak<Runs>>,
}

impl Default for Loads {
    fn default() -> Self {
        let bounds = BOUNDS_SECONDS.into_iter().chain([f64::INFINITY]);
        let buckets = bounds.map(|upper_seconds| Bucket { upper_seconds, count: 0 }).collect();
        let took = Histogram { buckets, sum_seconds: 0.0 };
        let counters = Mutex::new(LoadCounters { loaded: 0, failed: 0, took });
        Self { counters, stopping: watch::Sender::new(false), starved: Mutex::default() }
    }
}

impl Loads {
    fn add(&self, loaded: bool, time: Duration) {
        let mut counters = self.counters();
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

    fn counters(&self) -> MutexGuard<'_, LoadCounters> {
        self.counters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there are cores for one that gives way, as far as it is known.
    fn may_give_way(&self) -> bool {
        self.starved.lock().unwrap_or_else(PoisonError::into_inner).strong_count() == 0
    }

    /// Returns once loads are to be given up.
    async fn stopped(&self) {
        let mut told = self.stopping.subscribe();
        // The sender lives as long as this does.
        let _ = told.wait_for(|stopping| *stopping).await;
    }
}

impl Platform {
    /// What was brought into service, for monitoring.
    pub fn load_counters(&self) -> LoadCounters {
        self.loads.counters().clone()
    }

    /// Gives up what is being loaded, and loads nothing any more: whoever waits for it is told at once. What has no priority
    /// may need minutes to its end, which a process that is to end does not have; its thread ends with the process.
    pub fn stop_loading(&self) {
        self.loads.stopping.send_replace(true);
    }

    /// Loads a version in its turn, and counts it. The engine of a shadow gives way to all that answer: the system lets no thread
    /// return from that, so whoever makes it answer loads it anew ([`Platform::load_to_answer`]). Nobody may hold the lock of
    /// changes meanwhile: they would all wait for it.
    pub(crate) async fn load(&self, load: Load<'_>) -> Result<Loaded> {
        let begun = Instant::now();
        let loaded = tokio::select! {
            biased;
            () = self.loads.stopped() => {
                Err(Error::new(Kind::Unavailable, "the server is stopping, and what it was loading is given up"))
            }
            loaded = self.load_uncounted(load) => loaded,
        };
        self.loads.add(loaded.is_ok(), begun.elapsed());
        loaded
    }

    async fn load_uncounted(&self, mut load: Load<'_>) -> Result<Loaded> {
        if load.pace == Pace::Beside && !self.loads.may_give_way() {
            load.pace = Pace::Pressed;
        }
        let mut tries = 1;
        loop {
            let turn = self.serving.turns().take(&load.key(), load.pace, load.measure()).await;
            let others = turn.others();
            match self.load_in_turn(load, turn).await {
                Err(refused)
                    if refused.kind() == Kind::ResourceExhausted
                        && tries < TRIES_MAX
                        && others.may_be_counted() =>
                {
                    let (endpoint, deployment) = (load.endpoint, &load.deployment.id);
                    tracing::warn!(endpoint, deployment, %refused, "loaded again: others were loaded meanwhile");
                    tries += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// [`Platform::load`] for a deployment that is a shadow and is to answer.
    pub(crate) async fn load_to_answer(
        &self,
        endpoint: &str,
        deployment: &Deployment,
        version: &ModelVersion,
    ) -> Result<Loaded> {
        let answering = Deployment { shadow_percent: None, ..deployment.clone() };
        self.load(Load::beside(endpoint, &answering, version)).await
    }

    /// Memory and a turn for what starved when it gave way to all others, to be begun anew. Until that one ends, what comes after it
    /// does not try.
    pub(crate) async fn press(&self, load: Load<'_>, starved: &Arc<Runs>) -> Result<(Claim, Turn)> {
        let (endpoint, deployment) = (load.endpoint, &load.deployment.id);
        tracing::warn!(
            endpoint,
            deployment,
            "no core is ever free for a load that gives way; it is begun anew and takes its part of them"
        );
        *self.loads.starved.lock().unwrap_or_else(PoisonError::into_inner) = Arc::downgrade(starved);
        let turn = self.serving.turns().take(&load.key(), Pace::Pressed, load.measure()).await;
        let claim = self.serving.claims().open(&load.key(), load.purpose());
        claim.expect(self.serving.engines(), load.expected_bytes).await?;
        Ok((claim, turn))
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
    use std::pin::Pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    /// What a future gives if it need not wait.
    pub(super) fn polled<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn failed_loads_take_their_time_too() {
        let loads = Loads::default();
        loads.add(true, Duration::from_millis(200));
        loads.add(false, Duration::from_secs(1000));
        let counters = loads.counters().clone();
        assert_eq!((counters.loaded, counters.failed), (1, 1));
        let counts: Vec<u64> = counters.took.buckets.iter().map(|bucket| bucket.count).collect();
        assert_eq!(counts, [0, 0, 1, 1, 1, 1, 1, 1, 1, 2]);
        assert!((counters.took.sum_seconds - 1000.2).abs() < 1e-9);
    }
}
