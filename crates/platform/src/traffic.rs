//! Which deployment of an endpoint answers: by the split alone, or so that callers who belong together meet one version.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::endpoint::DeployedModel;

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
    /// Requests are dealt out in blocks of 100 by the split; those with a key have their place in a block for good.
    pub(crate) fn pick(
        &self,
        deployed: &[(u8, Arc<DeployedModel>)],
        key: Option<&str>,
    ) -> Option<Arc<DeployedModel>> {
        if let [(100, only)] = deployed {
            return Some(Arc::clone(only));
        }
        let ticket = match key {
            Some(key) => place(key),
            // 37 is coprime to 100: within a block each share is spread out, not served in one run.
            None => self.requests.fetch_add(1, Ordering::Relaxed).wrapping_mul(37) % 100,
        };
        at(deployed.iter().map(|(percent, _)| *percent), ticket).map(|index| Arc::clone(&deployed[index].1))
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
    /// The deployment that answers a rebalance: the one it has met, if that is still `deployed`, else what `pick` says.
    pub(crate) fn pick(
        &self,
        rebalance: Rebalance,
        deployed: &[(u8, Arc<DeployedModel>)],
        pick: impl FnOnce() -> Option<Arc<DeployedModel>>,
    ) -> Option<Arc<DeployedModel>> {
        // Held while it is picked, so that two first requests of a rebalance meet one version.
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(id) = met.deployments.get(&rebalance)
            && let Some((_, found)) = deployed.iter().find(|(_, model)| model.deployment.id == *id)
        {
            return Some(Arc::clone(found));
        }
        let picked = pick()?;
        if met.deployments.insert(rebalance.clone(), picked.deployment.id.clone()).is_none() {
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
    fn keys_keep_their_place_and_are_spread_over_all() {
        assert_eq!(place("account-7"), place("account-7"));
        let low = (0..10_000).filter(|n| place(&format!("account-{n}")) < 30).count();
        assert!((2_800..=3_200).contains(&low), "{low}");
    }
}
