//! Which deployment of an endpoint answers: by the split alone, or so that callers who belong together meet one version.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::predict::Target;
use crate::{Kind, ModelName, Platform, Result, VersionChoice};

/// The most rebalances that are remembered; the one that asked nothing for longest is forgotten for a new one.
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

/// A rebalance: project, what it asks (an endpoint, or a model without one), token.
type Rebalance = (String, String, String);

/// Which deployment, or version of a model, each rebalance has met.
#[derive(Default)]
pub(crate) struct Rebalances(Mutex<Met>);

#[derive(Default)]
struct Met {
    /// With the turn in which it asked last.
    answered: HashMap<Arc<Rebalance>, (String, u64)>,
    /// By that turn: who asked nothing for longest is the first.
    turns: BTreeMap<u64, Arc<Rebalance>>,
    turn: u64,
}

impl Met {
    /// What a rebalance has met; this counts as its newest question.
    fn get(&mut self, rebalance: &Rebalance) -> Option<&str> {
        self.turn += 1;
        let (met, turn) = self.answered.get_mut(rebalance)?;
        if let Some(known) = self.turns.remove(turn) {
            self.turns.insert(self.turn, known);
        }
        *turn = self.turn;
        Some(met.as_str())
    }

    fn set(&mut self, rebalance: Rebalance, met: String) {
        self.turn += 1;
        let rebalance = Arc::new(rebalance);
        if let Some((_, before)) = self.answered.insert(Arc::clone(&rebalance), (met, self.turn)) {
            self.turns.remove(&before);
        }
        self.turns.insert(self.turn, rebalance);
        if self.turns.len() > REBALANCES_MAX
            && let Some((_, oldest)) = self.turns.pop_first()
        {
            self.answered.remove(&oldest);
        }
    }
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
        if let Some(before) = met.get(&rebalance)
            && let Some(found) = ids.iter().position(|id| *id == before)
        {
            return Some(found);
        }
        let picked = pick()?;
        let id = (*ids.get(picked)?).to_owned();
        met.set(rebalance, id);
        Some(picked)
    }

    /// Who answers a rebalance that names a model: the version it has met, if `of_version` still has it, else whom `first`
    /// finds.
    fn of_model(
        &self,
        rebalance: Rebalance,
        of_version: impl FnOnce(u32) -> Result<Target>,
        first: impl FnOnce() -> Result<Target>,
    ) -> Result<Target> {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = met.get(&rebalance).and_then(|version| version.parse().ok());
        // One that has gone for good is forgotten, one that is only being loaded is not.
        let gone = |met: &Result<Target>| met.as_ref().is_err_and(|error| error.kind() == Kind::NotFound);
        if let Some(met) = before.map(of_version).filter(|met| !gone(met)) {
            return met;
        }
        let target = first()?;
        met.set(rebalance, target.version().1.to_string());
        Ok(target)
    }
}

impl Platform {
    /// [`Platform::model_target`] for callers who may belong together: all questions of a rebalance meet the version that
    /// answered its first, whatever an alias or the newest version is meanwhile, until that goes out of service. Who names a
    /// version by its number gets that one.
    ///
    /// # Errors
    /// Those of [`Platform::model_target`].
    pub fn model_target_for(
        &self,
        name: &ModelName,
        choice: &VersionChoice,
        together: Option<&Together>,
    ) -> Result<Target> {
        let token = match (together, choice) {
            (Some(Together::Rebalance(token)), VersionChoice::Default | VersionChoice::Alias(_)) => token,
            _ => return self.model_target(name, choice),
        };
        // No endpoint's id has a slash or an at sign.
        let asked = match choice {
            VersionChoice::Alias(alias) => format!("models/{}@{alias}", name.model),
            _ => format!("models/{}", name.model),
        };
        self.serving.rebalances().of_model(
            (name.project.clone(), asked, token.clone()),
            |version| self.model_target(name, &VersionChoice::Number(version)),
            || self.model_target(name, choice),
        )
    }

    /// Whether an endpoint's traffic goes to several deployments, so that it matters who belongs together.
    pub fn is_split(&self, project: &str, endpoint: &str) -> bool {
        self.serving.is_split(project, endpoint)
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
        assert_eq!((met.answered.len(), met.turns.len()), (REBALANCES_MAX, REBALANCES_MAX));
        assert!(!met.answered.contains_key(&token("a")), "the oldest is forgotten");
    }

    #[test]
    fn a_rebalance_that_goes_on_asking_is_not_forgotten() {
        let rebalances = Rebalances::default();
        let token = |name: &str| ("p".to_owned(), "e".to_owned(), name.to_owned());
        let ids = ["1", "2"];
        assert_eq!(rebalances.pick(token("at work"), &ids, || Some(1)), Some(1));
        assert_eq!(rebalances.pick(token("at rest"), &ids, || Some(1)), Some(1));
        for other in 0..REBALANCES_MAX + 1 {
            rebalances.pick(token(&format!("t{other}")), &ids, || Some(0));
            if other % 5000 == 0 {
                assert_eq!(rebalances.pick(token("at work"), &ids, || panic!("it has met one")), Some(1));
            }
        }
        assert_eq!(rebalances.pick(token("at work"), &ids, || panic!("it has met one")), Some(1));
        assert_eq!(rebalances.pick(token("at rest"), &ids, || Some(0)), Some(0), "it was forgotten");
        let met = rebalances.0.lock().unwrap();
        assert_eq!((met.answered.len(), met.turns.len()), (REBALANCES_MAX, REBALANCES_MAX));
    }

    #[test]
    fn keys_keep_their_place_and_are_spread_over_all() {
        assert_eq!(place("account-7"), place("account-7"));
        let low = (0..10_000).filter(|n| place(&format!("account-{n}")) < 30).count();
        assert!((2_800..=3_200).contains(&low), "{low}");
    }
}
