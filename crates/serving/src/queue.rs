//! The bounded queue between callers and the threads that compute: first in, first out.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Why an entry was not taken.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// As many as may wait are waiting.
    Full,
    /// The queue takes nothing any more.
    Closed,
}

pub(crate) struct Queue<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
    capacity: usize,
}

struct State<T> {
    entries: VecDeque<T>,
    closed: bool,
}

impl<T> Queue<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        let state = Mutex::new(State { entries: VecDeque::new(), closed: false });
        Self { state, changed: Condvar::new(), capacity }
    }

    /// Takes an entry, or refuses it at once.
    pub(crate) fn push(&self, entry: T) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.closed {
            return Err(Refusal::Closed);
        }
        if state.entries.len() >= self.capacity {
            return Err(Refusal::Full);
        }
        state.entries.push_back(entry);
        drop(state);
        self.changed.notify_one();
        Ok(())
    }

    /// Waits for the next entry and takes those behind it as long as `joins` lets them; `None` once the queue is closed
    /// and empty.
    ///
    /// `joins` is told what is taken so far, and the entry that is next. If it takes all there is before `until` of the
    /// first entry, more is waited for.
    pub(crate) fn pop(
        &self,
        joins: impl Fn(&[T], &T) -> bool,
        until: impl Fn(&T) -> Option<Instant>,
    ) -> Option<Vec<T>> {
        let mut state = self.lock();
        let first = loop {
            if let Some(entry) = state.entries.pop_front() {
                break entry;
            }
            if state.closed {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        };
        let until = until(&first);
        let mut taken = vec![first];
        loop {
            while let Some(next) = state.entries.front() {
                if !joins(&taken, next) {
                    return Some(taken);
                }
                taken.extend(state.entries.pop_front());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let Some(left) = left.filter(|left| !left.is_zero() && !state.closed) else { return Some(taken) };
            let waited = self.changed.wait_timeout(state, left);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Takes nothing any more; what is in the queue can still be popped.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under the lock, so the state is whole even then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn one<T>(queue: &Queue<T>) -> Option<Vec<T>> {
        queue.pop(|_, _| false, |_| None)
    }

    #[test]
    fn entries_leave_in_order_and_survive_closing() {
        let queue = Queue::new(2);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(Refusal::Full)));
        assert_eq!(one(&queue), Some(vec![1]));
        queue.close();
        assert_eq!(queue.push(4), Err(Refusal::Closed));
        assert_eq!((queue.len(), one(&queue), one(&queue)), (1, Some(vec![2]), None));
    }

    #[test]
    fn closing_wakes_those_who_wait() {
        let queue = Queue::<u8>::new(1);
        std::thread::scope(|scope| {
            let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| one(&queue))).collect();
            queue.close();
            for thread in waiting {
                assert_eq!(thread.join().unwrap(), None);
            }
        });
    }

    #[test]
    fn what_waits_leaves_together_as_far_as_it_joins() {
        let queue = Queue::new(9);
        for entry in [1, 2, 3, 4, 1] {
            queue.push(entry).unwrap();
        }
        let at_most_six = |taken: &[i32], next: &i32| taken.iter().sum::<i32>() + next <= 6;
        let pop = || queue.pop(at_most_six, |_| None).unwrap();
        // The last one would still fit the first batch, but nobody overtakes.
        assert_eq!((pop(), pop()), (vec![1, 2, 3], vec![4, 1]));
    }

    #[test]
    fn others_are_waited_for_until_the_time_is_over() {
        let queue = Queue::new(9);
        let wait = Duration::from_millis(200);
        queue.push(1).unwrap();
        let begun = Instant::now();
        std::thread::scope(|scope| {
            let taken = scope.spawn(|| queue.pop(|taken, _| taken.len() < 2, |_| Some(begun + wait)));
            std::thread::sleep(wait / 10);
            queue.push(2).unwrap();
            assert_eq!(taken.join().unwrap(), Some(vec![1, 2]));
        });
        assert!(begun.elapsed() >= wait, "a third one could have come");
        queue.push(3).unwrap();
        queue.push(4).unwrap();
        queue.push(5).unwrap();
        let far = Instant::now() + Duration::from_secs(600);
        assert_eq!(queue.pop(|taken, _| taken.len() < 2, |_| Some(far)), Some(vec![3, 4]));
    }
}
