//! How much more memory this process uses while something runs, and how much the machine has.
//!
//! On Linux the kernel is asked. Elsewhere nothing is measured: a deployment then counts the bytes of its
//! weights alone, and the machine's memory is not a limit.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use artifact::engine::kilobytes_line;
pub use artifact::engine::resident_bytes;

/// How often memory is looked at while something runs.
const SAMPLE_EVERY: Duration = Duration::from_millis(1);

/// Bytes of physical memory this machine has, or this container may use; `None` where that is not known.
pub fn machine_bytes() -> Option<u64> {
    let machine = kilobytes_line(&std::fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    // Absent outside a container, and `max` where there is no limit.
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max").ok();
    let container = container.and_then(|text| text.trim().parse::<u64>().ok());
    Some(container.map_or(machine, |container| container.min(machine)))
}

/// By how much the memory of this process climbs while something is watched.
///
/// The figure is the highest climb from any earlier low, so that memory which others free meanwhile hides little.
/// Memory that others take meanwhile is counted.
pub(crate) struct Climb {
    lowest: AtomicU64,
    highest_climb: AtomicU64,
}

impl Climb {
    pub(crate) fn begin() -> Self {
        let climb = Self { lowest: AtomicU64::new(u64::MAX), highest_climb: AtomicU64::new(0) };
        climb.look();
        climb
    }

    /// The highest climb so far; 0 where memory cannot be measured.
    pub(crate) fn bytes(&self) -> u64 {
        self.highest_climb.load(Ordering::Relaxed)
    }

    /// Runs `work` and looks at the memory meanwhile.
    pub(crate) fn watch<R>(&self, work: impl FnOnce() -> R) -> R {
        /// Stops the looking even if `work` panics: the scope waits for its threads.
        struct Stop<'a>(&'a AtomicBool);
        impl Drop for Stop<'_> {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Release);
            }
        }
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let _stop = Stop(&done);
            // Without a thread to look, what is in use at the end still counts.
            let _looking = std::thread::Builder::new().name("memory".to_owned()).spawn_scoped(scope, || {
                while !done.load(Ordering::Acquire) {
                    self.look();
                    std::thread::sleep(SAMPLE_EVERY);
                }
            });
            let result = work();
            self.look();
            result
        })
    }

    fn look(&self) {
        let Some(now) = resident_bytes() else { return };
        let lowest = self.lowest.fetch_min(now, Ordering::Relaxed).min(now);
        self.highest_climb.fetch_max(now - lowest, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(target_os = "linux")]
    #[test]
    fn memory_that_is_used_and_freed_is_seen() {
        const SIZE: usize = 256 << 20;
        let climb = Climb::begin();
        let sum = climb.watch(|| {
            let block = vec![1u8; SIZE];
            std::thread::sleep(SAMPLE_EVERY * 20);
            block.iter().map(|x| u64::from(*x)).sum::<u64>()
        });
        assert_eq!(sum, SIZE as u64);
        assert!(climb.bytes() >= SIZE as u64 * 9 / 10, "{}", climb.bytes());
        assert!(machine_bytes().unwrap() > climb.bytes());
    }
}
