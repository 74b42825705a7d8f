//! Threads that stay on one core.
//!
//! Threads that rarely wait gain from it: the scheduler of the system, which judges by how often a thread sleeps, may put
//! two of them on one core and leave another idle. It is done only where there is one for each core that the process may
//! use; within a quota of processor time, whole containers would end up on the same cores.

use std::num::NonZeroUsize;

/// Cores of this machine that the process may use.
pub fn core_count() -> usize {
    std::thread::available_parallelism().map_or(1, NonZeroUsize::get)
}

/// Runs `work` on a thread that engines compute on directly, see [`run_as_worker`](serving::run_as_worker); it stays on
/// the core of that number. Threads that it starts stay there too unless they call [`leave_core`].
pub fn run_on_core<R: Send>(number: usize, work: impl FnOnce() -> R + Send) -> R {
    serving::run_as_worker(|| {
        stay_on(number);
        work()
    })
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
        let (kept, left) = run_on_core(count - 1, || {
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
}
