//! The table of names: every model that is deployed, its versions, which of them answer, and its aliases. In memory, so that a
//! question costs no look into the registry. Deliberately not here: how it is filled, which follows every change.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::{ModelName, VersionChoice};
use crate::deployed::DeploymentStatus;
use crate::in_service::Picked;
use crate::{Error, Kind, Result};

const DEFAULT_ALIAS: &str = "default";

/// The deployments of one version.
#[derive(Default)]
struct Deployed {
    /// Those that answer, be it that they are loaded first.
    answering: Vec<Picked>,
    /// Why nothing else does: what is still to come counts more than what failed.
    absent: Option<DeploymentStatus>,
}

/// A model's deployments by version, and its aliases. It holds whatever is deployed, so that which version is meant does not
/// depend on what is loaded.
#[derive(Default)]
pub(crate) struct Named {
    versions: BTreeMap<u32, Deployed>,
    aliases: BTreeMap<String, u32>,
    /// Deals the requests of one version to its deployments in turn.
    turn: AtomicUsize,
}

impl Named {
    /// A model with these deployments, none of them a shadow.
    pub(crate) fn new(answering: Vec<Picked>, absent: Vec<DeploymentStatus>) -> Self {
        let mut named = Self::default();
        for picked in answering {
            named.versions.entry(picked.0.version.version).or_default().answering.push(picked);
        }
        for status in absent {
            let deployed = named.versions.entry(status.version).or_default();
            if status.loading || deployed.absent.is_none() {
                deployed.absent = Some(status);
            }
        }
        named
    }

    /// The same, its versions called like this.
    pub(crate) fn called(self, aliases: BTreeMap<String, u32>) -> Self {
        Self { aliases, ..self }
    }

    /// Whether nothing of it is deployed.
    pub(crate) fn is_empty(&self) -> bool {
        self.versions.is_empty()
    }

    /// What a version is called.
    pub(crate) fn aliases_of(&self, number: u32) -> Vec<String> {
        let all = self.aliases.iter().filter(|(_, of)| **of == number);
        all.map(|(alias, _)| alias.clone()).collect()
    }

    /// Who answers the next question.
    ///
    /// # Errors
    /// [`Kind::NotFound`] naming what is deployed, [`Kind::Unavailable`] if the version asked for is and does not answer.
    pub(crate) fn pick(&self, name: &ModelName, choice: &VersionChoice) -> Result<Picked> {
        let found = self.number(choice).and_then(|number| Some((number, self.versions.get(&number)?)));
        let Some((number, deployed)) = found else { return Err(self.not_deployed(name, choice)) };
        let answering = &deployed.answering;
        let turn = match answering.as_slice() {
            [only] => return Ok(only.clone()),
            several => self.turn.fetch_add(1, Ordering::Relaxed) % several.len().max(1),
        };
        answering.get(turn).cloned().ok_or_else(|| {
            let why = deployed.absent.as_ref().and_then(DeploymentStatus::why_absent).unwrap_or_default();
            Error::new(
                Kind::Unavailable,
                format!("version {number} of model \"{name}\" is deployed and not in service: {why}"),
            )
        })
    }

    fn number(&self, choice: &VersionChoice) -> Option<u32> {
        let deployed = |number: &u32| self.versions.contains_key(number);
        match choice {
            VersionChoice::Number(number) => Some(*number).filter(deployed),
            VersionChoice::Alias(alias) => self.aliases.get(alias).copied().filter(deployed),
            VersionChoice::Default => {
                let default = self.aliases.get(DEFAULT_ALIAS).copied().filter(deployed);
                default.or_else(|| self.versions.keys().next_back().copied())
            }
        }
    }

    fn not_deployed(&self, name: &ModelName, choice: &VersionChoice) -> Error {
        let what = match choice {
            // Where a protocol's numbers go further than ours.
            VersionChoice::Number(0) => "such version".to_owned(),
            VersionChoice::Number(number) => format!("version {number}"),
            VersionChoice::Alias(alias) => format!("version with the alias \"{alias}\""),
            VersionChoice::Default => "version".to_owned(),
        };
        let versions: Vec<String> = self.versions.keys().map(u32::to_string).collect();
        let message =
            format!("model \"{name}\" has no {what} deployed; deployed: versions {}", versions.join(", "));
        Error::new(Kind::NotFound, message)
    }
}

/// All models that are deployed, by project and id. Replaced a model at a time, so a request sees one state of it.
#[derive(Default)]
pub(crate) struct Names(RwLock<HashMap<ModelName, Arc<Named>>>);

impl Names {
    /// A model that is deployed.
    pub(crate) fn get(&self, name: &ModelName) -> Option<Arc<Named>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Replaces a model; one of which nothing is deployed is forgotten.
    pub(crate) fn set(&self, name: ModelName, named: Named) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if named.is_empty() {
            names.remove(&name);
        } else {
            names.insert(name, Arc::new(named));
        }
    }

    /// The names of all, in order.
    pub(crate) fn all(&self) -> Vec<ModelName> {
        let mut all: Vec<ModelName> =
            self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        all.sort();
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(version: u32, error: Option<&str>) -> DeploymentStatus {
        DeploymentStatus {
            endpoint: "e".to_owned(),
            deployment: "1".to_owned(),
            model: "m".to_owned(),
            version,
            engine: String::new(),
            threads: 0,
            memory_bytes: 0,
            replay: String::new(),
            error: error.map(str::to_owned),
            loading: error.is_none(),
            begun: false,
            residence: registry::Residence::Pinned,
            loaded: false,
            loads: 0,
            shadow_percent: None,
        }
    }

    fn refusal(named: &Named, choice: &VersionChoice) -> (Kind, String) {
        match named.pick(&ModelName::parse("m"), choice) {
            Ok((model, _)) => panic!("{} answers", model.reference()),
            Err(error) => (error.kind(), error.to_string()),
        }
    }

    #[test]
    fn the_version_meant_is_one_that_is_deployed_loaded_or_not() {
        let deployed =
            || Named::new(Vec::new(), vec![status(1, Some("its file is damaged")), status(3, None)]);
        let alias = |alias: &str, number| BTreeMap::from([(alias.to_owned(), number)]);
        let damaged = "version 1 of model \"m\" is deployed and not in service: its file is damaged";
        let loading =
            "version 3 of model \"m\" is deployed and not in service: it is being loaded; try again later";
        for (aliases, choice, kind, said) in [
            (alias("default", 1), VersionChoice::Default, Kind::Unavailable, damaged),
            // The default is not deployed: the newest that is.
            (alias("default", 2), VersionChoice::Default, Kind::Unavailable, loading),
            (alias("prod", 3), VersionChoice::Alias("prod".to_owned()), Kind::Unavailable, loading),
            (alias("x", 1), VersionChoice::Number(1), Kind::Unavailable, damaged),
            (
                alias("prod", 2),
                VersionChoice::Alias("prod".to_owned()),
                Kind::NotFound,
                "model \"m\" has no version with the alias \"prod\" deployed; deployed: versions 1, 3",
            ),
            (
                alias("x", 1),
                VersionChoice::Number(2),
                Kind::NotFound,
                "model \"m\" has no version 2 deployed; deployed: versions 1, 3",
            ),
        ] {
            assert_eq!(refusal(&deployed().called(aliases), &choice), (kind, said.to_owned()), "{choice:?}");
        }
    }

    #[test]
    fn what_is_still_to_come_counts_more_than_what_failed() {
        for order in [
            vec![status(1, None), status(1, Some("damaged"))],
            vec![status(1, Some("damaged")), status(1, None)],
        ] {
            let (_, said) = refusal(&Named::new(Vec::new(), order), &VersionChoice::Default);
            assert!(said.ends_with("try again later"), "{said}");
        }
    }
}
