//! The bounded queue between callers and the threads that compute, first in, first out; and whose turn it is to compute.
//!
//! There are as many turns as the deployment has threads. A caller may take one and compute by itself if nothing waits;
//! so what computes at once is bounded, whoever does it.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// How often a caller looks for a turn, and how long it pauses between: some microseconds together.
const TRIES: usize = 40;
const PAUSES: usize = 8;

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
    /// Something waits and a turn is free, or the queue was closed.
    ready: Condvar,
    /// Something joined what waits, or the queue was closed.
    more: Condvar,
    capacity: usize,
}

struct State<T> {
    entries: VecDeque<T>,
    closed: bool,
    /// Turns that nobody has.
    turns: usize,
    /// Threads that wait for a first entry.
    idle: usize,
    /// Threads that have a turn and wait for more entries.
    gathering: usize,
}

/// The right to compute, until it is dropped.
pub(crate) struct Turn<'a, T>(&'a Queue<T>);

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.turns += 1;
        self.0.wake(state);
    }
}

impl<T> Queue<T> {
    /// A queue of at most `capacity` entries, with so many turns.
    pub(crate) fn new(capacity: usize, turns: usize) -> Self {
        let state = State { entries: VecDeque::new(), closed: false, turns, idle: 0, gathering: 0 };
        Self { state: Mutex::new(state), ready: Condvar::new(), more: Condvar::new(), capacity }
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
        if state.gathering > 0 {
            drop(state);
            self.more.notify_one();
        } else {
            self.wake(state);
        }
        Ok(())
    }

    /// Puts an entry that was taken behind all others, however many wait and whether it is closed.
    pub(crate) fn put_back(&self, entry: T) {
        let mut state = self.lock();
        state.entries.push_back(entry);
        self.wake(state);
    }

    /// A turn for a caller, if one is free, or becomes so within the time it would take to wake a thread, and nobody waits
    /// for it.
    pub(crate) fn turn(&self) -> Option<Turn<'_, T>> {
        for _ in 0..TRIES {
            let mut state = self.lock();
            if state.closed || !state.entries.is_empty() {
                return None;
            }
            if let Some(turns) = state.turns.checked_sub(1) {
                state.turns = turns;
                return Some(Turn(self));
            }
            drop(state);
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
        }
        None
    }

    /// Waits for a turn and the next entry, and takes those behind it as long as `joins` lets them; `None` once the queue
    /// is closed and empty.
    ///
    /// `joins` is told what is taken so far, and the entry that is next. If it takes all there is before `until` of the
    /// first entry, more is waited for.
    pub(crate) fn pop(
        &self,
        joins: impl Fn(&[T], &T) -> bool,
        until: impl Fn(&T) -> Option<Instant>,
    ) -> Option<(Turn<'_, T>, Vec<T>)> {
        let mut state = self.lock();
        let first = loop {
            if state.turns > 0
                && let Some(entry) = state.entries.pop_front()
            {
                break entry;
            }
            if state.closed && state.entries.is_empty() {
                return None;
            }
            state.idle += 1;
            state = self.ready.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        };
        state.turns -= 1;
        let until = until(&first);
        let mut taken = vec![first];
        loop {
            let mut refused = false;
            while let Some(next) = state.entries.front() {
                if !joins(&taken, next) {
                    refused = true;
                    break;
                }
                taken.extend(state.entries.pop_front());
            }
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.filter(|left| !left.is_zero() && !state.closed && !refused);
            let Some(left) = left else { break };
            state.gathering += 1;
            state = self.more.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            state.gathering -= 1;
        }
        self.wake(state);
        Some((Turn(self), taken))
    }

    /// Takes nothing any more; what is in the queue can still be popped.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
        self.more.notify_all();
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().entries.len()
    }

    /// Wakes a thread if there is something for it to do.
    fn wake(&self, state: MutexGuard<'_, State<T>>) {
        let due = !state.entries.is_empty() && state.turns > 0 && state.idle > 0;
        // Threads that wait behind closed doors leave only when nothing waits: one tells the next.
        let over = state.closed && state.entries.is_empty() && state.idle > 0;
        drop(state);
        if due || over {
            self.ready.notify_one();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing that can panic runs under the lock, so the state is whole even then.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::time::Duration;

    use super::*;

    fn one<T>(queue: &Queue<T>) -> Option<Vec<T>> {
        queue.pop(|_, _| false, |_| None).map(|(_turn, taken)| taken)
    }

    #[test]
    fn entries_leave_in_order_and_survive_closing() {
        let queue = Queue::new(2, 1);
        assert_eq!((queue.push(1), queue.push(2), queue.push(3)), (Ok(()), Ok(()), Err(Refusal::Full)));
        assert_eq!(one(&queue), Some(vec![1]));
        queue.close();
        assert_eq!(queue.push(4), Err(Refusal::Closed));
        assert_eq!((queue.len(), one(&queue), one(&queue)), (1, Some(vec![2]), None));
    }

    #[test]
    fn what_is_put_back_comes_after_all_others() {
        let queue = Queue::new(2, 1);
        assert_eq!((queue.push(1), queue.push(2)), (Ok(()), Ok(())));
        assert_eq!(one(&queue), Some(vec![1]));
        assert_eq!(queue.push(3), Ok(()));
        queue.close();
        queue.put_back(1);
        assert_eq!(
            [one(&queue), one(&queue), one(&queue), one(&queue)],
            [Some(vec![2]), Some(vec![3]), Some(vec![1]), None]
        );
    }

    #[test]
    fn closing_wakes_those_who_wait() {
        let queue = Queue::<u8>::new(1, 3);
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
        let queue = Queue::new(9, 1);
        for entry in [1, 2, 3, 4, 1] {
            queue.push(entry).unwrap();
        }
        let at_most_six = |taken: &[i32], next: &i32| taken.iter().sum::<i32>() + next <= 6;
        let pop = || queue.pop(at_most_six, |_| None).unwrap().1;
        // The last one would still fit the first batch, but nobody overtakes.
        assert_eq!((pop(), pop()), (vec![1, 2, 3], vec![4, 1]));
    }

    #[test]
    fn others_are_waited_for_until_the_time_is_over() {
        let queue = Queue::new(9, 1);
        let wait = Duration::from_millis(200);
        for tried in 1.. {
            queue.push(1).unwrap();
            let begun = Instant::now();
            let (taken, in_time) = std::thread::scope(|scope| {
                let taken =
                    scope.spawn(|| queue.pop(|taken, _| taken.len() < 2, |_| Some(begun + wait)).unwrap().1);
                std::thread::sleep(wait / 10);
                queue.push(2).unwrap();
                let in_time = begun.elapsed() < wait;
                (taken.join().unwrap(), in_time)
            });
            assert!(begun.elapsed() >= wait, "a third one could have come");
            if in_time {
                assert_eq!(taken, [1, 2]);
                break;
            }
            // This thread was kept from pushing in time: the other may have gone without.
            if taken == [1] {
                assert_eq!(one(&queue), Some(vec![2]));
            }
            assert!(tried < 10, "too busy a machine");
        }
        queue.push(3).unwrap();
        queue.push(4).unwrap();
        queue.push(5).unwrap();
        let far = Instant::now() + Duration::from_secs(600);
        assert_eq!(queue.pop(|taken, _| taken.len() < 2, |_| Some(far)).unwrap().1, [3, 4]);
    }

    #[test]
    fn no_more_compute_at_once_than_there_are_turns() {
        let queue = Queue::new(9, 2);
        let (first, second) = (queue.turn().unwrap(), queue.turn().unwrap());
        assert!(queue.turn().is_none());
        queue.push(1).unwrap();
        std::thread::scope(|scope| {
            let popped = scope.spawn(|| one(&queue));
            std::thread::sleep(Duration::from_millis(20));
            assert!(!popped.is_finished() && queue.len() == 1);
            drop(first);
            assert_eq!(popped.join().unwrap(), Some(vec![1]));
        });
        queue.push(2).unwrap();
        assert!(queue.turn().is_none(), "nobody overtakes what waits");
        queue.close();
        drop(second);
        assert_eq!((one(&queue), one(&queue)), (Some(vec![2]), None));
        assert!(queue.turn().is_none());
    }

    #[test]
    fn threads_and_callers_take_turns_without_losing_an_entry() {
        let queue = Queue::new(10_000, 2);
        let (computing, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let done = AtomicUsize::new(0);
        let compute = |turn: Turn<'_, u32>, n: usize| {
            most.fetch_max(computing.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            std::hint::black_box((0..200).sum::<u32>());
            done.fetch_add(n, Ordering::SeqCst);
            computing.fetch_sub(1, Ordering::SeqCst);
            drop(turn);
        };
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Some((turn, taken)) = queue.pop(|taken, _| taken.len() < 3, |_| None) {
                        compute(turn, taken.len());
                    }
                });
            }
            let callers: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        for entry in 0..2_000 {
                            match queue.turn() {
                                Some(turn) => compute(turn, 1),
                                None => queue.push(entry).unwrap(),
                            }
                        }
                    })
                })
                .collect();
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            queue.close();
        });
        assert_eq!((done.into_inner(), queue.len()), (8_000, 0));
        assert!(most.into_inner() <= 2);
    }
}
