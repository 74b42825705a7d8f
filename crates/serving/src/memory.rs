//! How much memory something takes: what its thread allocates, where the program's allocator counts, else by how much the process grows.
//!
//! Growth is a poor measure: memory that was freed before hides it, and what others take meanwhile is in it. It is for engines that
//! have an allocator of their own, and for programs whose allocator does not count. On Linux the kernel is asked; elsewhere nothing
//! is measured: a deployment then counts the bytes of its weights alone, and the machine's memory is not a limit.

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use artifact::engine::kilobytes_line;
pub use artifact::engine::resident_bytes;

/// How often memory is looked at while something runs.
const SAMPLE_EVERY: Duration = Duration::from_millis(1);

/// What a thread has allocated and not freed, and the most of it so far. What it frees for others counts against it.
struct Heap {
    live: Cell<i64>,
    peak: Cell<i64>,
    /// Whether anything was ever counted.
    counts: Cell<bool>,
}

thread_local! {
    static HEAP: Heap = const { Heap { live: Cell::new(0), peak: Cell::new(0), counts: Cell::new(false) } };
}

/// For the program's allocator: the calling thread has allocated so many bytes, or freed them if negative. Neither allocates nor panics.
#[inline]
pub fn count_allocated(bytes: i64) {
    HEAP.with(|heap| {
        let live = heap.live.get().wrapping_add(bytes);
        heap.live.set(live);
        if live > heap.peak.get() {
            heap.peak.set(live);
        }
        heap.counts.set(true);
    });
}

/// Whether the program's allocator tells what it takes: then what a model takes can be measured while others are loaded, unless its
/// engine has an allocator of its own.
pub fn allocations_are_counted() -> bool {
    // This thread has allocated before it could ask.
    HEAP.with(|heap| heap.counts.get())
}

/// What something took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Taken {
    /// Bytes that it still holds.
    pub(crate) kept: u64,
    /// The most bytes it held.
    pub(crate) most: u64,
}

/// Runs `work`, which computes on this thread alone, and says what it took; `outside` if not all comes from the program's allocator.
pub(crate) fn measured<R>(work: impl FnOnce() -> R, outside: impl FnOnce(&R) -> bool) -> (R, Taken) {
    let before = HEAP.with(|heap| {
        heap.peak.set(heap.live.get());
        heap.live.get()
    });
    let climb = Climb::begin();
    let result = climb.watch(work);
    let (live, most, counts) = HEAP.with(|heap| (heap.live.get(), heap.peak.get(), heap.counts.get()));
    let since = |now: i64| u64::try_from(now.wrapping_sub(before)).unwrap_or(0);
    let counted = Taken { kept: since(live), most: since(most) };
    let taken = if counts && !outside(&result) {
        counted
    } else {
        let grown = climb.bytes();
        Taken { kept: grown.max(counted.kept), most: grown.max(counted.most) }
    };
    (result, taken)
}

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
struct Climb {
    lowest: AtomicU64,
    highest_climb: AtomicU64,
}

impl Climb {
    fn begin() -> Self {
        let climb = Self { lowest: AtomicU64::new(u64::MAX), highest_climb: AtomicU64::new(0) };
        climb.look();
        climb
    }

    /// The highest climb so far; 0 where memory cannot be measured.
    fn bytes(&self) -> u64 {
        self.highest_climb.load(Ordering::Relaxed)
    }

    /// Runs `work` and looks at the memory meanwhile.
    fn watch<R>(&self, work: impl FnOnce() -> R) -> R {
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
            // Until it was looked at, whenever that thread gets to it.
            for _ in 0..10_000 {
                if climb.bytes() >= SIZE as u64 * 9 / 10 {
                    break;
                }
                std::thread::sleep(SAMPLE_EVERY);
            }
            block.iter().map(|x| u64::from(*x)).sum::<u64>()
        });
        assert_eq!(sum, SIZE as u64);
        assert!(climb.bytes() >= SIZE as u64 * 9 / 10, "{}", climb.bytes());
        assert!(machine_bytes().unwrap() > climb.bytes());
    }

    #[test]
    fn what_a_thread_allocates_is_counted_and_nothing_else() {
        let work = || {
            count_allocated(3000);
            count_allocated(-1000);
            std::thread::scope(|scope| {
                scope.spawn(|| count_allocated(1 << 40));
            });
            7
        };
        let taken = std::thread::spawn(move || {
            count_allocated(-500);
            (measured(work, |_| false), measured(work, |result| *result == 7).1)
        });
        let ((result, taken), outside) = taken.join().unwrap();
        assert_eq!((result, taken), (7, Taken { kept: 2000, most: 3000 }));
        assert!(outside.kept >= 2000 && outside.most >= 3000);
    }
}
