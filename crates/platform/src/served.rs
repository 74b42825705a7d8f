//! Models by name: what protocols without endpoints ask for, answered by whatever is deployed.

mod names;

use std::collections::BTreeMap;

use registry::Residence;

use crate::deployed::{DeploymentStatus, Engine};
use crate::predict::Target;
use crate::{Error, Kind, Platform, Result};

use names::Named;
pub(crate) use names::Names;

/// The project of a model that is named without one.
pub const DEFAULT_PROJECT: &str = "default";

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

/// A model that is deployed, with the versions that are.
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
    /// Its deployments, in service or not.
    pub deployments: Vec<DeploymentStatus>,
}

/// How a version does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum VersionState<'a> {
    /// It is in memory and answers.
    Ready,
    /// It is not in memory and answers, as soon as it is loaded.
    Unloaded,
    /// It is to be brought back after a start, and others are loaded before.
    Announced,
    /// It is brought back after a start, and answers then.
    Loading,
    /// It did not come into service, for this reason.
    Failed(&'a str),
}

impl ServedVersion {
    /// How it does, by that of its deployments that does best.
    pub fn state(&self) -> VersionState<'_> {
        let answering = || self.deployments.iter().filter(|status| status.why_absent().is_none());
        if answering().any(|status| status.loaded) {
            VersionState::Ready
        } else if answering().next().is_some() {
            VersionState::Unloaded
        } else if self.deployments.iter().any(|status| status.loading && status.begun) {
            VersionState::Loading
        } else if self.deployments.iter().any(|status| status.loading) {
            VersionState::Announced
        } else {
            let failed = self.deployments.iter().find_map(|status| status.error.as_deref());
            VersionState::Failed(failed.unwrap_or_default())
        }
    }

    /// Whether one of its deployments answers. One that is not in memory does, as soon as it is loaded.
    pub fn is_ready(&self) -> bool {
        matches!(self.state(), VersionState::Ready | VersionState::Unloaded)
    }
}

impl Platform {
    /// Who answers the next question to a model that is named without an endpoint: a deployment of it on whichever
    /// endpoint. Traffic splits are of endpoints and do not count here; which version is meant depends on what is deployed,
    /// not on what of it is loaded.
    ///
    /// # Errors
    /// [`Kind::NotFound`] saying what is deployed; [`Kind::Unavailable`] if the version that was asked for is, and has not been
    /// loaded yet or failed to.
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
                format!("model \"{name}\" is not deployed; deployed: {there}"),
            ));
        };
        named.pick(name, choice).map(Target::new)
    }

    /// Who answers if it is to be this deployment of an endpoint, whatever the endpoint's traffic split gives it.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for an unknown endpoint, [`Kind::InvalidArgument`] naming the deployments there are for one that is not
    /// among them or is a shadow, [`Kind::Unavailable`] if it has not been loaded yet or failed to.
    pub async fn deployment_target(&self, project: &str, endpoint: &str, deployment: &str) -> Result<Target> {
        if let Some(picked) = self.serving.answering(project, endpoint, deployment) {
            return Ok(Target::new(picked));
        }
        let found = self.registry.get_endpoint(project, endpoint).await?;
        // It may have come into service while the registry was read.
        if let Some(picked) = self.serving.answering(project, endpoint, deployment) {
            return Ok(Target::new(picked));
        }
        let answering = found.deployments.iter().filter(|deployment| !found.is_shadow(deployment));
        let ids: Vec<&str> = answering.map(|deployment| deployment.id.as_str()).collect();
        if !ids.contains(&deployment) {
            let there = if ids.is_empty() { "none".to_owned() } else { ids.join(", ") };
            let message = format!(
                "endpoint \"{endpoint}\" has no deployment \"{}\" that answers; there are: {there}",
                deployment.escape_debug()
            );
            return Err(Error::invalid("deployment", message));
        }
        let absent = self.serving.absent(project, endpoint);
        let status = absent.iter().find(|status| status.deployment == deployment);
        let why =
            status.and_then(DeploymentStatus::why_absent).unwrap_or("it is being changed; try again later");
        let message = format!("deployment {deployment} of endpoint \"{endpoint}\" is not in service: {why}");
        Err(Error::new(Kind::Unavailable, message))
    }

    /// The only model that is deployed: what a protocol without names asks.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if none is; [`Kind::FailedPrecondition`] naming them if several are.
    pub fn only_model(&self) -> Result<ModelName> {
        let all = self.serving.names().all();
        match all.as_slice() {
            [only] => Ok(only.clone()),
            [] => Err(Error::new(Kind::NotFound, "no model is deployed; deploy one first")),
            several => {
                let names: Vec<String> = several.iter().map(ModelName::to_string).collect();
                let message = format!(
                    "several models are deployed ({}); say which one answers with `serve --default-model NAME`",
                    names.join(", ")
                );
                Err(Error::new(Kind::FailedPrecondition, message))
            }
        }
    }

    /// All models that are deployed, by name, with those of their deployments that do not answer.
    pub fn served_models(&self) -> Vec<ServedModel> {
        let mut models: BTreeMap<ModelName, BTreeMap<u32, Vec<DeploymentStatus>>> = BTreeMap::new();
        let answering = |(_, status): &(String, DeploymentStatus)| status.shadow_percent.is_none();
        for (project, status) in self.deployment_statuses().into_iter().filter(answering) {
            let name = ModelName { project, model: status.model.clone() };
            models.entry(name).or_default().entry(status.version).or_default().push(status);
        }
        let served = |(name, versions): (ModelName, BTreeMap<u32, Vec<DeploymentStatus>>)| {
            let named = self.serving.names().get(&name);
            let aliases =
                |number: u32| named.as_ref().map(|named| named.aliases_of(number)).unwrap_or_default();
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
        let way_out = |endpoint: &str, deployment: &str| {
            format!(
                "`bellwether endpoint resize {endpoint} --deployment {deployment} --load on-demand` or `bellwether endpoint \
                 undeploy {endpoint} --deployment {deployment}`"
            )
        };
        let (answering, absent) = self.serving.of_model(&name.project, &name.model);
        for (deployed, _) in answering {
            match &deployed.engine {
                Engine::OnDemand(slot) => slots.push(slot.key().clone()),
                Engine::Pinned(_) => pinned.push(way_out(&deployed.endpoint, &deployed.deployment.id)),
            }
        }
        for status in absent.iter().filter(|status| status.residence == Residence::Pinned) {
            pinned.push(way_out(&status.endpoint, &status.deployment));
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

    /// Reads again which versions of a model are deployed, which of them answer and what they are called; called after each
    /// change.
    pub(crate) async fn refresh_name(&self, project: &str, model: &str) -> Result<()> {
        let name = ModelName { project: project.to_owned(), model: model.to_owned() };
        let (answering, absent) = self.serving.of_model(project, model);
        let mut named = Named::new(answering, absent);
        if !named.is_empty() {
            let mut aliases = BTreeMap::new();
            for version in self.registry.list_versions(project, model).await? {
                let number = version.version;
                aliases.extend(version.aliases.into_iter().map(|alias| (alias, number)));
            }
            named = named.called(aliases);
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
