//! Threads that stay on one core.
//!
//! Threads that rarely wait gain from it: the scheduler of the system, which judges by how often a thread sleeps, may put
//! two of them on one core and leave another idle. It is done only where there is one for each core that the process may
//! use; within a quota of processor time, whole containers would end up on the same cores. Nor is it done while the threads of
//! deployments compute much: one of those would share its core with what stays there, and be late, beside a core that is free.

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

/// Engines compute much that keep so many of the cores busy.
const BUSY_SHARE: f64 = 0.2;

/// Cores of this machine that the process may use.
pub fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Runs `work` on a thread that engines compute on directly, see [`run_as_worker`](serving::run_as_worker); it stays on
/// the core of that number. Threads that it starts stay there too unless they call [`leave_core`].
pub fn run_on_core<R: Send>(number: usize, work: impl FnOnce(OwnCore) -> R + Send) -> R {
    serving::run_as_worker(|| {
        stay_on(number);
        work(OwnCore { number, stays: true, computed: serving::computed(), looked: Instant::now() })
    })
}

/// The core that a thread stays on, unless engines need it.
#[derive(Debug)]
pub struct OwnCore {
    number: usize,
    stays: bool,
    /// What deployments had computed when it was looked at last.
    computed: Duration,
    looked: Instant,
}

impl OwnCore {
    /// Has its thread, which must be the one that calls, leave the core or come back, by what engines have computed since the
    /// last call. To be called about once a second.
    pub fn look(&mut self) {
        self.settle(serving::computed(), Instant::now());
    }

    fn settle(&mut self, computed: Duration, now: Instant) {
        let since = now - std::mem::replace(&mut self.looked, now);
        let busy = computed.saturating_sub(std::mem::replace(&mut self.computed, computed));
        let stays = !computes_much(busy, since, core_count());
        match (self.stays, stays) {
            (true, false) => leave_core(),
            (false, true) => stay_on(self.number),
            _ => {}
        }
        self.stays = stays;
    }
}

/// Whether engines that computed for `busy` in a while leave too little of the cores to keep threads on them.
fn computes_much(busy: Duration, since: Duration, cores: usize) -> bool {
    busy.as_secs_f64() > BUSY_SHARE * cores as f64 * since.as_secs_f64()
}

#[cfg(target_os = "linux")]
mod linux {
    use rustix::process::getpid;
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    use super::core_count;

    pub(super) fn stay_on(number: usize) {
        let Some(cores) = cores() else { return };
        if cores.count() as usize != core_count() {
            return;
        }
        if let Some(core) = (0..CpuSet::MAX_CPU).filter(|core| cores.is_set(*core)).nth(number) {
            let mut only = CpuSet::new();
            only.set(core);
            set(&only);
        }
    }

    /// Lets this thread run wherever the process may.
    pub fn leave_core() {
        if let Some(cores) = cores() {
            set(&cores);
        }
    }

    /// The cores of the process's first thread, which stays nowhere.
    fn cores() -> Option<CpuSet> {
        sched_getaffinity(Some(getpid())).ok()
    }

    fn set(cores: &CpuSet) {
        if let Err(error) = sched_setaffinity(None, cores) {
            tracing::debug!(%error, "cannot choose the cores of a thread");
        }
    }
}

#[cfg(target_os = "linux")]
use linux::stay_on;

#[cfg(target_os = "linux")]
pub use linux::leave_core;

#[cfg(not(target_os = "linux"))]
fn stay_on(_number: usize) {}

/// Lets this thread run wherever the process may.
#[cfg(not(target_os = "linux"))]
pub fn leave_core() {}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::thread::{CpuSet, sched_getaffinity};

    use super::*;

    #[test]
    fn a_thread_stays_on_its_core_until_it_leaves() {
        let cores = || sched_getaffinity(None).unwrap();
        let (before, count) = (cores(), core_count());
        let (kept, left) = run_on_core(count - 1, |_| {
            let kept = cores();
            leave_core();
            (kept, cores())
        });
        assert_eq!(left, before);
        if before.count() as usize == count {
            let last = (0..CpuSet::MAX_CPU).rfind(|core| before.is_set(*core)).unwrap();
            assert!(kept.count() == 1 && kept.is_set(last));
        } else {
            assert_eq!(kept, before);
        }
        assert_eq!(cores(), before);
    }

    #[test]
    fn a_thread_leaves_its_core_while_engines_compute_much() {
        let (second, cores) = (Duration::from_secs(1), || sched_getaffinity(None).unwrap());
        let all = cores();
        run_on_core(0, |mut own| {
            let kept = cores();
            let (computed, looked) = (own.computed, own.looked);
            let busy = computed + second * core_count() as u32;
            own.settle(busy, looked + second);
            assert_eq!(cores(), all);
            own.settle(busy, looked + 2 * second);
            assert_eq!(cores(), kept);
        });
    }

    #[test]
    fn much_is_a_share_of_all_cores() {
        let second = Duration::from_secs(1);
        assert!(computes_much(second, second, 2));
        assert!(!computes_much(second / 4, second, 2));
        assert!(!computes_much(second, second, 32));
        assert!(computes_much(8 * second, second, 32));
        assert!(!computes_much(Duration::ZERO, Duration::ZERO, 1));
    }
}
