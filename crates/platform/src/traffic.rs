//! Which deployment of an endpoint answers: by the split alone, or so that callers who belong together meet one version.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

/// The most rebalances that are remembered; the oldest is forgotten for a new one.
const REBALANCES_MAX: usize = 10_000;

/// What callers have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Together {
    /// A strategy, an account: as long as the split stays, whoever has the same key meets the same version.
    Key(String),
    /// One rebalance: all its requests meet the version that answered its first, even if the split changes meanwhile,
    /// until that version goes out of service.
    Rebalance(String),
}

/// Deals the requests of one endpoint to its deployments.
#[derive(Default)]
pub(crate) struct Dealer {
    requests: AtomicU64,
}

impl Dealer {
    /// The place of the deployment that answers, by the percent of each. Requests are dealt out in blocks of 100; those with
    /// a key have their place in a block for good.
    pub(crate) fn pick(
        &self,
        mut shares: impl ExactSizeIterator<Item = u8> + Clone,
        key: Option<&str>,
    ) -> Option<usize> {
        if shares.len() == 1 && shares.clone().next() == Some(100) {
            return Some(0);
        }
        let ticket = match key {
            Some(key) => place(key),
            // 37 is coprime to 100: within a block each share is spread out, not served in one run.
            None => self.requests.fetch_add(1, Ordering::Relaxed).wrapping_mul(37) % 100,
        };
        at(&mut shares, ticket)
    }
}

/// The place of a key in a block of 100.
fn place(key: &str) -> u64 {
    // Its keys are constants, so that a restart changes nothing.
    let mut hasher = DefaultHasher::new();
    key.hash(&mut hasher);
    hasher.finish() % 100
}

/// Whose share a place lies in.
fn at(shares: impl Iterator<Item = u8>, place: u64) -> Option<usize> {
    let mut upper = 0;
    shares.enumerate().find_map(|(index, percent)| {
        upper += u64::from(percent);
        (place < upper).then_some(index)
    })
}

/// An endpoint's rebalance: project, endpoint, token.
type Rebalance = (String, String, String);

/// Which deployment each rebalance has met.
#[derive(Default)]
pub(crate) struct Rebalances(Mutex<Met>);

#[derive(Default)]
struct Met {
    deployments: HashMap<Rebalance, String>,
    /// The oldest first.
    order: VecDeque<Rebalance>,
}

impl Rebalances {
    /// The place of the deployment that answers a rebalance: the one it has met, if that is still among the `ids`, else
    /// what `pick` says.
    pub(crate) fn pick(
        &self,
        rebalance: Rebalance,
        ids: &[&str],
        pick: impl FnOnce() -> Option<usize>,
    ) -> Option<usize> {
        // Held while it is picked, so that two first requests of a rebalance meet one version.
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(before) = met.deployments.get(&rebalance)
            && let Some(found) = ids.iter().position(|id| id == before)
        {
            return Some(found);
        }
        let picked = pick()?;
        let id = (*ids.get(picked)?).to_owned();
        if met.deployments.insert(rebalance.clone(), id).is_none() {
            met.order.push_back(rebalance);
            if met.order.len() > REBALANCES_MAX
                && let Some(oldest) = met.order.pop_front()
            {
                met.deployments.remove(&oldest);
            }
        }
        Some(picked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_lie_in_the_shares_of_the_split() {
        let split = [0, 30, 70];
        let of = |place| at(split.into_iter(), place);
        assert_eq!((of(0), of(29), of(30), of(99)), (Some(1), Some(1), Some(2), Some(2)));
        assert_eq!(at([].into_iter(), 0), None);
        assert_eq!(at([0, 0].into_iter(), 0), None);
    }

    #[test]
    fn a_rebalance_keeps_what_it_met_while_it_is_there() {
        let rebalances = Rebalances::default();
        let token = |name: &str| ("p".to_owned(), "e".to_owned(), name.to_owned());
        assert_eq!(rebalances.pick(token("a"), &["1", "2"], || Some(1)), Some(1));
        assert_eq!(rebalances.pick(token("a"), &["2", "1"], || panic!("it has met one")), Some(0));
        assert_eq!(rebalances.pick(token("a"), &["1"], || Some(0)), Some(0), "2 is gone");
        assert_eq!(rebalances.pick(token("b"), &[], || None), None);
        for other in 0..REBALANCES_MAX {
            rebalances.pick(token(&format!("t{other}")), &["1"], || Some(0));
        }
        let met = rebalances.0.lock().unwrap();
        assert_eq!((met.deployments.len(), met.order.len()), (REBALANCES_MAX, REBALANCES_MAX));
        assert!(!met.deployments.contains_key(&token("a")), "the oldest is forgotten");
    }

    #[test]
    fn keys_keep_their_place_and_are_spread_over_all() {
        assert_eq!(place("account-7"), place("account-7"));
        let low = (0..10_000).filter(|n| place(&format!("account-{n}")) < 30).count();
        assert!((2_800..=3_200).contains(&low), "{low}");
    }
}
