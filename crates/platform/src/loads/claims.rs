//! Memory of what is being loaded, or has been and is not in service yet. It is claimed before it is taken and again when it has been
//! measured, so that of several loads that fit alone and not together those that came later are refused.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::Result;

/// How long a load waits for those to finish that had to go for it.
const DRAIN_MAX: Duration = Duration::from_secs(10);
const DRAIN_LOOK: Duration = Duration::from_millis(2);
/// How long it waits for those to come into memory that may go for it then.
const PASSING_MAX: Duration = Duration::from_secs(10);

/// What the memory is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// A deployment that is asked and not in memory: others wait for it to get there, where it may go for them. It waits for nobody
    /// who waits.
    Passing,
    /// Anything else: it comes into service as others let it, maybe in minutes, and is taken to stay.
    Staying,
}

/// All claims.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    open: Mutex<Open>,
    /// Told when one has gone.
    gone: Notify,
}

#[derive(Debug, Default)]
struct Open {
    newest: u64,
    by_number: BTreeMap<u64, Entry>,
}

#[derive(Debug, Clone, Copy)]
struct Entry {
    bytes: u64,
    purpose: Purpose,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Asking,
    Expected,
    /// What was measured; it comes into service next.
    Measured,
}

/// Memory for one deployment, until this is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Arc<Claims>,
    key: serving::Key,
    number: u64,
}

impl Claims {
    /// A claim of nothing yet.
    pub(crate) fn open(self: &Arc<Self>, key: &serving::Key, purpose: Purpose) -> Claim {
        let mut open = self.lock();
        open.newest += 1;
        let number = open.newest;
        open.by_number.insert(number, Entry { bytes: 0, purpose, stage: Stage::Asking });
        drop(open);
        Claim { claims: Arc::clone(self), key: key.clone(), number }
    }

    fn bytes(&self) -> u64 {
        self.lock().bytes()
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn bytes(&self) -> u64 {
        self.by_number.values().map(|entry| entry.bytes).sum()
    }

    /// Whether some of the others get into memory soon, where they may go, without waiting for this one.
    fn others_pass(&self, number: u64) -> bool {
        let Some(own) = self.by_number.get(&number) else { return false };
        // Of two that have memory and want more, each would wait for the other.
        let may_wait = own.purpose == Purpose::Staying || own.stage == Stage::Asking;
        let passes = |other: &Entry| match other.stage {
            Stage::Asking => false,
            Stage::Expected => may_wait,
            Stage::Measured => true,
        };
        let mut others = self.by_number.iter().filter(|(other, _)| **other != number);
        others.any(|(_, other)| other.purpose == Purpose::Passing && passes(other))
    }
}

impl Claim {
    /// Claims what a load is expected to take: makes room for it, and waits for those that go to finish what they had taken.
    ///
    /// # Errors
    /// [`Kind::ResourceExhausted`](crate::Kind::ResourceExhausted) with the numbers if it does not fit beside all others.
    pub(crate) async fn expect(&self, engines: &serving::Table, bytes: u64) -> Result<()> {
        self.fit(engines, bytes, Stage::Expected).await?;
        let fits = || {
            engines.memory_bytes().saturating_add(self.claims.bytes()) <= engines.limit_bytes()
                || !engines.are_leaving()
        };
        let drained = async {
            while !fits() {
                tokio::time::sleep(DRAIN_LOOK).await;
            }
        };
        if tokio::time::timeout(DRAIN_MAX, drained).await.is_err() {
            let key = &self.key;
            tracing::warn!(%key, "what had to go for it is still at work; it is loaded all the same");
        }
        Ok(())
    }

    /// Claims what was measured, in the place of what was expected.
    ///
    /// # Errors
    /// As [`Claim::expect`].
    pub(crate) async fn measure(&self, engines: &serving::Table, bytes: u64) -> Result<()> {
        self.fit(engines, bytes, Stage::Measured).await
    }

    async fn fit(&self, engines: &serving::Table, bytes: u64, stage: Stage) -> Result<()> {
        let until = Instant::now() + PASSING_MAX;
        loop {
            // Before the look: nobody may go unseen in between.
            let gone = self.claims.gone.notified();
            let refused = {
                let mut open = self.claims.lock();
                let own = open.by_number.get(&self.number).map_or(0, |entry| entry.bytes);
                let others = open.bytes() - own;
                match engines.make_room_beside(&self.key, bytes, others) {
                    Ok(()) => {
                        if let Some(entry) = open.by_number.get_mut(&self.number) {
                            (entry.bytes, entry.stage) = (bytes, stage);
                        }
                        return Ok(());
                    }
                    Err(refused) if !open.others_pass(self.number) => return Err(refused.into()),
                    Err(refused) => refused,
                }
            };
            if tokio::time::timeout_at(until, gone).await.is_err() {
                return Err(refused.into());
            }
        }
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.lock().by_number.remove(&self.number);
        self.claims.gone.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::Poll;

    use crate::Kind;
    use crate::loads::tests::polled;

    use super::*;

    fn claim(claims: &Arc<Claims>, name: &str, purpose: Purpose) -> Claim {
        claims.open(&crate::deployed::key("p", "e", name), purpose)
    }

    const MB: u64 = 1_000_000;

    #[tokio::test]
    async fn two_that_fit_alone_and_not_together_are_not_both_loaded() {
        let (engines, claims) = (serving::Table::new(Some(100 * MB)), Arc::<Claims>::default());
        let one = claim(&claims, "1", Purpose::Staying);
        one.expect(&engines, 60 * MB).await.unwrap();
        let two = claim(&claims, "2", Purpose::Staying);
        let refused = two.expect(&engines, 50 * MB).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::ResourceExhausted);
        let said = "deployment 2 of endpoint \"e\" in project \"p\" needs 50.0 MB of memory, the others use 60.0 MB, \
                    and all together may use 100.0 MB";
        assert!(refused.to_string().starts_with(said), "{refused}");
        // Nor if it shows when they are measured; what was expected stays claimed meanwhile.
        two.expect(&engines, 40 * MB).await.unwrap();
        let refused = two.measure(&engines, 41 * MB).await.unwrap_err();
        assert!(refused.to_string().contains("needs 41.0 MB of memory, the others use 60.0 MB"), "{refused}");
        assert_eq!(claims.bytes(), 100 * MB);
        one.measure(&engines, 30 * MB).await.unwrap();
        two.measure(&engines, 70 * MB).await.unwrap();
        drop((one, two));
        assert_eq!(claims.bytes(), 0);
    }

    #[tokio::test]
    async fn what_may_go_once_it_is_in_memory_is_waited_for() {
        let (engines, claims) = (serving::Table::new(Some(100 * MB)), Arc::<Claims>::default());
        let passing = claim(&claims, "1", Purpose::Passing);
        passing.expect(&engines, 60 * MB).await.unwrap();
        for purpose in [Purpose::Passing, Purpose::Staying] {
            let next = claim(&claims, "2", purpose);
            assert!(polled(pin!(next.expect(&engines, 50 * MB))).is_pending());
        }
        let next = claim(&claims, "2", Purpose::Passing);
        let mut waiting = pin!(next.expect(&engines, 50 * MB));
        assert!(polled(waiting.as_mut()).is_pending());
        // It grows without waiting for those that wait for it.
        assert!(matches!(polled(pin!(passing.measure(&engines, 90 * MB))), Poll::Ready(Ok(()))));
        assert!(polled(waiting.as_mut()).is_pending());
        drop(passing);
        waiting.await.unwrap();
    }

    #[tokio::test]
    async fn what_may_last_minutes_is_not_waited_for() {
        let (engines, claims) = (serving::Table::new(Some(100 * MB)), Arc::<Claims>::default());
        let staying = claim(&claims, "3", Purpose::Staying);
        staying.expect(&engines, 60 * MB).await.unwrap();
        let next = claim(&claims, "4", Purpose::Passing);
        let Poll::Ready(Err(refused)) = polled(pin!(next.expect(&engines, 50 * MB))) else {
            panic!("it waits for what may last minutes")
        };
        assert_eq!(refused.kind(), Kind::ResourceExhausted);
    }

    #[tokio::test]
    async fn two_that_turn_out_larger_do_not_wait_for_each_other() {
        let (engines, claims) = (serving::Table::new(Some(100 * MB)), Arc::<Claims>::default());
        let (one, two) = (claim(&claims, "1", Purpose::Passing), claim(&claims, "2", Purpose::Passing));
        for claim in [&one, &two] {
            claim.expect(&engines, 50 * MB).await.unwrap();
        }
        for claim in [&one, &two] {
            assert!(matches!(polled(pin!(claim.measure(&engines, 60 * MB))), Poll::Ready(Err(_))));
        }
        // One that has been measured is in memory soon.
        one.measure(&engines, 50 * MB).await.unwrap();
        let mut larger = pin!(two.measure(&engines, 60 * MB));
        assert!(polled(larger.as_mut()).is_pending());
        drop(one);
        larger.await.unwrap();
    }
}
