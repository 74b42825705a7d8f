//! Counters that each thread has a copy of: a place in memory that two cores write to in turns costs each of them more than the
//! counting.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Copies of each. With more threads than these, some share one, which is slower and as right.
const COPIES: usize = 8;

/// Copies of some counters; what they count is the sum of all.
#[derive(Debug)]
pub struct PerThread<T>([Apart<T>; COPIES]);

/// As far from others as cores fetch memory together.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

impl<T: Default> Default for PerThread<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Apart::default()))
    }
}

impl<T> PerThread<T> {
    /// The copy of the thread that asks.
    pub fn here(&self) -> &T {
        &self.0[number() % COPIES].0
    }

    /// All copies.
    pub fn all(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Apart(copy)| copy)
    }
}

/// Threads are numbered as they first ask.
fn number() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    const NONE: usize = usize::MAX;
    thread_local! {
        static NUMBER: Cell<usize> = const { Cell::new(NONE) };
    }
    let number = NUMBER.get();
    if number != NONE {
        return number;
    }
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    NUMBER.set(number);
    number
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;

    #[test]
    fn nothing_that_threads_count_is_lost() {
        let counters = PerThread::<AtomicU64>::default();
        let counts = || -> Vec<u64> { counters.all().map(|count| count.load(Ordering::Relaxed)).collect() };
        // Threads of other tests may be numbered between these, and leave a copy to none of them.
        for round in 1..=20 {
            std::thread::scope(|scope| {
                for _ in 0..COPIES + 3 {
                    scope.spawn(|| {
                        (0..1000).for_each(|_| {
                            counters.here().fetch_add(1, Ordering::Relaxed);
                        });
                    });
                }
            });
            assert_eq!(counts().iter().sum::<u64>(), round * 1000 * (COPIES as u64 + 3));
            if counts().iter().all(|count| *count > 0) {
                break;
            }
        }
        assert!(counts().iter().all(|count| *count > 0), "{:?}", counts());
    }

    #[test]
    fn a_thread_keeps_its_copy() {
        let counters = PerThread::<u8>::default();
        assert!(std::ptr::eq(counters.here(), counters.here()));
    }
}
