//! Models by name: what protocols without endpoints ask for, answered by whatever is deployed.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use crate::deployed::{DeploymentStatus, Engine};
use crate::in_service::Picked;
use crate::predict::Target;
use crate::{Error, Kind, Platform, Result};

/// The project of a model that is named without one.
pub const DEFAULT_PROJECT: &str = "default";

const DEFAULT_ALIAS: &str = "default";

/// A model's name in a protocol that has no projects: `M`, of the project `default`, or `PROJECT.M`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ModelName {
    /// The project.
    pub project: String,
    /// The model's id.
    pub model: String,
}

impl ModelName {
    /// Takes a name apart. Neither project nor model have dots in their ids.
    pub fn parse(name: &str) -> Self {
        let (project, model) = name.split_once('.').unwrap_or((DEFAULT_PROJECT, name));
        Self { project: project.to_owned(), model: model.to_owned() }
    }
}

impl std::fmt::Display for ModelName {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.project == DEFAULT_PROJECT {
            return f.write_str(&self.model);
        }
        write!(f, "{}.{}", self.project, self.model)
    }
}

/// Which version of a model is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum VersionChoice {
    /// That of the alias `default` if it is deployed, else the newest that is.
    Default,
    /// The one of this number.
    Number(u32),
    /// The one that has this alias.
    Alias(String),
}

/// A model with versions in service or that should be.
#[derive(Debug, Clone)]
pub struct ServedModel {
    /// Its name.
    pub name: ModelName,
    /// Its deployed versions, oldest first.
    pub versions: Vec<ServedVersion>,
}

/// A deployed version.
#[derive(Debug, Clone)]
pub struct ServedVersion {
    /// Its number.
    pub number: u32,
    /// Its aliases.
    pub aliases: Vec<String>,
    /// Its deployments, in service or failed.
    pub deployments: Vec<DeploymentStatus>,
}

impl ServedVersion {
    /// Whether one of its deployments answers. One that is not in memory does, as soon as it is loaded.
    pub fn is_ready(&self) -> bool {
        self.deployments.iter().any(|status| status.error.is_none())
    }

    /// Whether one of its deployments is in memory.
    pub fn is_loaded(&self) -> bool {
        self.deployments.iter().any(|status| status.loaded)
    }
}

/// A model's deployments that answer, by version, and its aliases.
#[derive(Default)]
struct Named {
    versions: BTreeMap<u32, Vec<Picked>>,
    aliases: BTreeMap<String, u32>,
    /// Deals the requests of one version to its deployments in turn.
    turn: AtomicUsize,
}

impl Named {
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

    fn pick(&self, number: u32) -> Option<Picked> {
        let deployments = self.versions.get(&number)?;
        let turn = match deployments.as_slice() {
            [only] => return Some(only.clone()),
            several => self.turn.fetch_add(1, Ordering::Relaxed) % several.len().max(1),
        };
        deployments.get(turn).cloned()
    }
}

/// All models in service by project and id. Replaced a model at a time, so a request sees one state of it.
#[derive(Default)]
pub(crate) struct Names(RwLock<HashMap<ModelName, Arc<Named>>>);

impl Names {
    fn get(&self, name: &ModelName) -> Option<Arc<Named>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn set(&self, name: ModelName, named: Named) {
        let mut names = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if named.versions.is_empty() {
            names.remove(&name);
        } else {
            names.insert(name, Arc::new(named));
        }
    }

    fn all(&self) -> Vec<ModelName> {
        let mut all: Vec<ModelName> =
            self.0.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        all.sort();
        all
    }
}

impl Platform {
    /// Who answers the next question to a model that is named without an endpoint: a deployment of it on whichever
    /// endpoint. Traffic splits are of endpoints and do not count here.
    ///
    /// # Errors
    /// [`Kind::NotFound`] saying what is in service.
    pub fn model_target(&self, name: &ModelName, choice: &VersionChoice) -> Result<Target> {
        let named = self.serving.names().get(name);
        let Some(named) = named else {
            let all = self.serving.names().all();
            // What other projects have is not for everybody to know.
            let own = all.iter().filter(|other| other.project == name.project);
            let all: Vec<String> = own.map(ModelName::to_string).collect();
            let there = if all.is_empty() { "no model is".to_owned() } else { all.join(", ") };
            return Err(Error::new(
                Kind::NotFound,
                format!("model \"{name}\" is not in service; in service: {there}"),
            ));
        };
        let picked = named.number(choice).and_then(|number| named.pick(number));
        picked.map(Target::new).ok_or_else(|| {
            let what = match choice {
                // Where a protocol's numbers go further than ours.
                VersionChoice::Number(0) => "such version".to_owned(),
                VersionChoice::Number(number) => format!("version {number}"),
                VersionChoice::Alias(alias) => format!("a version with the alias \"{alias}\""),
                VersionChoice::Default => "a version".to_owned(),
            };
            let versions: Vec<String> = named.versions.keys().map(u32::to_string).collect();
            let message = format!(
                "model \"{name}\" has no {what} in service; in service: versions {}",
                versions.join(", ")
            );
            Error::new(Kind::NotFound, message)
        })
    }

    /// The only model in service, or the one of `configured`: what a protocol without names asks.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if none is in service; [`Kind::FailedPrecondition`] naming them if several are.
    pub fn only_model(&self) -> Result<ModelName> {
        let all = self.serving.names().all();
        match all.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Error::new(Kind::NotFound, "no model is in service; deploy one first")),
            several => {
                let names: Vec<String> = several.iter().map(ModelName::to_string).collect();
                let message = format!(
                    "several models are in service ({}); say which one answers with `serve --default-model NAME`",
                    names.join(", ")
                );
                Err(Error::new(Kind::FailedPrecondition, message))
            }
        }
    }

    /// All models that are deployed, by name, with those of their deployments that failed.
    pub fn served_models(&self) -> Vec<ServedModel> {
        let mut models: BTreeMap<ModelName, BTreeMap<u32, Vec<DeploymentStatus>>> = BTreeMap::new();
        let answering = |(_, status): &(String, DeploymentStatus)| status.shadow_percent.is_none();
        for (project, status) in self.deployment_statuses().into_iter().filter(answering) {
            let name = ModelName { project, model: status.model.clone() };
            models.entry(name).or_default().entry(status.version).or_default().push(status);
        }
        let served = |(name, versions): (ModelName, BTreeMap<u32, Vec<DeploymentStatus>>)| {
            let named = self.serving.names().get(&name);
            let aliases = |number: u32| {
                let all = named.iter().flat_map(|named| &named.aliases);
                all.filter(|(_, of)| **of == number).map(|(alias, _)| alias.clone()).collect()
            };
            let versions = versions
                .into_iter()
                .map(|(number, deployments)| ServedVersion { number, aliases: aliases(number), deployments })
                .collect();
            ServedModel { name, versions }
        };
        models.into_iter().map(served).collect()
    }

    /// Takes all deployments of a model out of memory; they are loaded again at their next requests, and what they have
    /// taken is still answered.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] naming those that stay in memory; nothing has gone then.
    pub fn unload_model(&self, name: &ModelName) -> Result<()> {
        let mut slots = Vec::new();
        let mut pinned = Vec::new();
        for (deployed, _) in self.serving.deployments_of_model(&name.project, &name.model) {
            match &deployed.engine {
                Engine::OnDemand(slot) => slots.push(slot.key().clone()),
                Engine::Pinned(_) => pinned.push(format!(
                    "`bellwether endpoint resize {0} --deployment {1} --load on-demand` or `bellwether endpoint undeploy \
                     {0} --deployment {1}`",
                    deployed.endpoint, deployed.deployment.id
                )),
            }
        }
        if !pinned.is_empty() {
            let message = format!(
                "model \"{name}\" is deployed to stay in memory; change that with {}",
                pinned.join(", ")
            );
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        for key in slots {
            self.serving.engines().unload(&key);
        }
        Ok(())
    }

    /// Reads again which versions of a model are in service and what they are called; called after each change.
    pub(crate) async fn refresh_name(&self, project: &str, model: &str) -> Result<()> {
        let name = ModelName { project: project.to_owned(), model: model.to_owned() };
        let mut named = Named::default();
        for deployed in self.serving.deployments_of_model(project, model) {
            named.versions.entry(deployed.0.version.version).or_default().push(deployed);
        }
        if !named.versions.is_empty() {
            for version in self.registry.list_versions(project, model).await? {
                let number = version.version;
                named.aliases.extend(version.aliases.into_iter().map(|alias| (alias, number)));
            }
        }
        self.serving.names().set(name, named);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_carry_its_project() {
        for (text, project, model) in
            [("m", "default", "m"), ("p.m", "p", "m"), (".m", "", "m"), ("a.b.c", "a", "b.c")]
        {
            let name = ModelName::parse(text);
            assert_eq!((name.project.as_str(), name.model.as_str()), (project, model));
        }
        assert_eq!(ModelName::parse("default.m").to_string(), "m");
        assert_eq!(ModelName::parse("p.m").to_string(), "p.m");
    }
}
