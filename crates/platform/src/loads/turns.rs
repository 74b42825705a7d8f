//! Who may load a model now. What callers wait for does not wait for what gives way to them: a load on threads that run only when no other
//! does may last minutes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use super::Pace;

/// Loads at once that give way: what is left of the cores is little enough for one.
const BESIDE_MAX: usize = 1;
/// Loads at once that somebody waits for: a second one, so that what is asked for does not wait for all that is brought back at a start.
const AWAITED_MAX: usize = 2;

/// How it is measured what a load takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// It is counted where it is allocated, whatever goes on beside it.
    Counted,
    /// By how the process grows. Two of these never load at once. What is counted loads beside them, so that nobody waits for them
    /// either: they are then said to take more than they do, never less.
    Grown,
}

/// Hands out turns.
#[derive(Debug)]
pub(crate) struct Turns {
    beside: Arc<Semaphore>,
    awaited: Arc<Semaphore>,
    /// Held by whoever is measured by the growth of the process.
    growth: Arc<tokio::sync::Mutex<()>>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    /// The number of the newest.
    begun: u64,
    loads: BTreeMap<u64, serving::Key>,
}

/// A turn to load, until it is given back or dropped: by the thread that loads, which goes on if its caller leaves.
#[derive(Debug)]
pub(crate) struct Turn {
    others: Others,
    held: Mutex<Option<Held>>,
}

#[derive(Debug)]
struct Held {
    _place: OwnedSemaphorePermit,
    _growth: Option<OwnedMutexGuard<()>>,
}

/// What else was loaded during a turn.
#[derive(Debug, Clone)]
pub(crate) struct Others {
    turns: Arc<Turns>,
    number: u64,
    measure: Measure,
    were_there: bool,
}

impl Default for Turns {
    fn default() -> Self {
        Self {
            beside: Arc::new(Semaphore::new(BESIDE_MAX)),
            awaited: Arc::new(Semaphore::new(AWAITED_MAX)),
            growth: Arc::default(),
            running: Mutex::default(),
        }
    }
}

impl Turns {
    /// Waits for the turn to load what will have this key.
    pub(crate) async fn take(self: &Arc<Self>, key: &serving::Key, pace: Pace, measure: Measure) -> Turn {
        // In an order in which what is awaited never waits for one that has begun to give way and waits itself.
        let (place, growth) = match pace {
            Pace::Beside => {
                let place = place(&self.beside).await;
                (place, self.growth(measure).await)
            }
            Pace::Awaited | Pace::Pressed => {
                let growth = self.growth(measure).await;
                (place(&self.awaited).await, growth)
            }
        };
        let mut running = self.running();
        let were_there = !running.loads.is_empty();
        running.begun += 1;
        let number = running.begun;
        running.loads.insert(number, key.clone());
        drop(running);
        let others = Others { turns: Arc::clone(self), number, measure, were_there };
        Turn { others, held: Mutex::new(Some(Held { _place: place, _growth: growth })) }
    }

    /// Whether this is being loaded now.
    pub(crate) fn is_loading(&self, key: &serving::Key) -> bool {
        self.running().loads.values().any(|loading| loading == key)
    }

    async fn growth(&self, measure: Measure) -> Option<OwnedMutexGuard<()>> {
        match measure {
            Measure::Counted => None,
            Measure::Grown => Some(Arc::clone(&self.growth).lock_owned().await),
        }
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn place(places: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    Arc::clone(places).acquire_owned().await.expect("nobody closes it")
}

impl Turn {
    /// Tells later what was loaded meanwhile.
    pub(crate) fn others(&self) -> Others {
        self.others.clone()
    }

    /// Whether what is loaded in it is measured by how the process grows.
    pub(crate) fn is_by_growth(&self) -> bool {
        self.others.measure == Measure::Grown
    }

    /// Lets others have their turn.
    pub(crate) fn give_back(&self) {
        self.others.turns.running().loads.remove(&self.others.number);
        self.held.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl Others {
    /// Whether what others took may have been taken for what was loaded in this turn.
    pub(crate) fn may_be_counted(&self) -> bool {
        let begun_since = || self.turns.running().begun != self.number;
        self.measure == Measure::Grown && (self.were_there || begun_since())
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use crate::loads::tests::polled;

    use super::*;

    fn key(deployment: &str) -> serving::Key {
        crate::deployed::key("p", "e", deployment)
    }

    fn take(turns: &Arc<Turns>, name: &str, pace: Pace, measure: Measure) -> Option<Turn> {
        match polled(pin!(turns.take(&key(name), pace, measure))) {
            Poll::Ready(turn) => Some(turn),
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_awaited_waits_for_nothing_that_gives_way() {
        let turns = Arc::<Turns>::default();
        let slow = take(&turns, "slow", Pace::Beside, Measure::Counted).unwrap();
        assert!(take(&turns, "second", Pace::Beside, Measure::Counted).is_none(), "one at a time");
        let one = take(&turns, "one", Pace::Awaited, Measure::Counted).unwrap();
        let _two = take(&turns, "two", Pace::Awaited, Measure::Counted).unwrap();
        assert!(take(&turns, "three", Pace::Awaited, Measure::Counted).is_none(), "two at a time");
        assert!(turns.is_loading(&key("slow")) && turns.is_loading(&key("two")));
        assert!(!turns.is_loading(&key("second")) && !turns.is_loading(&key("three")));
        slow.give_back();
        drop(one);
        assert!(!turns.is_loading(&key("slow")));
        assert!(take(&turns, "second", Pace::Beside, Measure::Counted).is_some());
        assert!(take(&turns, "three", Pace::Awaited, Measure::Counted).is_some());
    }

    #[test]
    fn what_is_measured_by_growth_is_so_alone_or_known_not_to_be() {
        let turns = Arc::<Turns>::default();
        let grown = take(&turns, "grown", Pace::Beside, Measure::Grown).unwrap();
        let others = grown.others();
        assert!(take(&turns, "awaited", Pace::Awaited, Measure::Grown).is_none());
        assert!(!others.may_be_counted());
        let counted = take(&turns, "counted", Pace::Awaited, Measure::Counted).unwrap();
        assert!(others.may_be_counted() && !counted.others().may_be_counted());
        drop(grown);
        let beside = take(&turns, "awaited", Pace::Awaited, Measure::Grown).unwrap();
        assert!(beside.others().may_be_counted());
        drop((beside, counted));
        let alone = take(&turns, "awaited", Pace::Awaited, Measure::Grown).unwrap();
        assert!(!alone.others().may_be_counted());
    }

    #[test]
    fn one_that_waits_to_be_measured_keeps_nobody_waiting_who_is_awaited() {
        let turns = Arc::<Turns>::default();
        let _slow = take(&turns, "slow", Pace::Beside, Measure::Grown).unwrap();
        let name = key("grown");
        let mut waiting = pin!(turns.take(&name, Pace::Awaited, Measure::Grown));
        assert!(polled(waiting.as_mut()).is_pending());
        let one = take(&turns, "one", Pace::Awaited, Measure::Counted);
        let two = take(&turns, "two", Pace::Awaited, Measure::Counted);
        assert!(one.is_some() && two.is_some());
    }
}
