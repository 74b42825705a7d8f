//! The turn to change an endpoint, with what the change needs in memory: shadows that are to answer, and deployments that become
//! shadows. The engine of a shadow gives way to all others, and the system lets no thread return from that: each is loaded anew beside
//! itself, as in every swap.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry::{Deployment, Endpoint, TrafficSplit, verb};
use tokio::sync::MutexGuard;

use crate::attempt::Attempt;
use crate::deployed::{DeployedModel, Loaded, key};
use crate::loads::Load;
use crate::{Error, Kind, Platform, Result};

/// How often a change is begun again because of others that were made while it was loading.
pub(crate) const CHANGE_TRIES: usize = 5;

/// The turn to change an endpoint. Nothing else changes while this lives.
pub(crate) struct Turn<'a> {
    before: Endpoint,
    promoted: Vec<Promoted>,
    changing: MutexGuard<'a, ()>,
}

/// Why there is no turn for a change.
pub(crate) enum NoTurn {
    /// It may not be made.
    Refused(Error),
    /// A shadow that was to answer cannot.
    Failed(Box<Deployment>, Error),
}

impl From<Error> for NoTurn {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<registry::Error> for NoTurn {
    fn from(error: registry::Error) -> Self {
        Self::Refused(error.into())
    }
}

impl From<NoTurn> for Error {
    fn from(none: NoTurn) -> Self {
        match none {
            NoTurn::Refused(error) | NoTurn::Failed(_, error) => error,
        }
    }
}

impl Turn<'_> {
    /// The endpoint as it is.
    pub(crate) fn before(&self) -> &Endpoint {
        &self.before
    }
}

/// A shadow that is to answer.
struct Promoted {
    /// As it is in service.
    shadow: Arc<DeployedModel>,
    ready: Ready,
}

/// What answers in its place.
enum Ready {
    Loaded(Box<Loaded>),
    /// It is loaded when it is asked.
    OnDemand(Box<DeployedModel>),
}

impl Promoted {
    fn is_of(&self, shadow: &Arc<DeployedModel>) -> bool {
        Arc::ptr_eq(&self.shadow, shadow)
    }
}

fn failed(shadow: &DeployedModel, error: Error) -> NoTurn {
    NoTurn::Failed(Box::new(shadow.deployment.clone()), error)
}

/// That a change was begun again and again because of others.
pub(crate) fn changed_too_often(endpoint: &str) -> Error {
    let message = format!(
        "endpoint \"{endpoint}\" was changed {CHANGE_TRIES} times while this change was loading; try it again"
    );
    Error::new(Kind::Unavailable, message)
}

impl Platform {
    /// Waits for the turn to change an endpoint so that its traffic is divided as `split_of` says of it. Those of its shadows that are
    /// to answer then are loaded before, while others have their turns. Nothing has changed yet. That one of them cannot is kept.
    ///
    /// # Errors
    /// Those of `split_of`, and as [`Platform::deploy`].
    pub(crate) async fn turn(
        &self,
        project: &str,
        endpoint: &str,
        split_of: impl Fn(&Endpoint) -> registry::Result<TrafficSplit>,
    ) -> Result<Turn<'_>> {
        self.turn_for(verb::UPDATE, (project, endpoint), split_of).await
    }

    /// The same for a change of this verb.
    pub(crate) async fn turn_for(
        &self,
        kind: &'static str,
        (project, endpoint): (&str, &str),
        split_of: impl Fn(&Endpoint) -> registry::Result<TrafficSplit>,
    ) -> Result<Turn<'_>> {
        match self.begin_turn(project, endpoint, split_of).await {
            Ok(turn) => Ok(turn),
            Err(NoTurn::Refused(error)) => Err(error),
            Err(NoTurn::Failed(deployment, error)) => {
                let attempt = Attempt { kind, project, endpoint, deployment: &deployment };
                self.kept(attempt, Err(error)).await
            }
        }
    }

    /// The same, where the caller keeps what fails.
    pub(crate) async fn begin_turn(
        &self,
        project: &str,
        endpoint: &str,
        split_of: impl Fn(&Endpoint) -> registry::Result<TrafficSplit>,
    ) -> Result<Turn<'_>, NoTurn> {
        let mut promoted: Vec<Promoted> = Vec::new();
        for _ in 0..CHANGE_TRIES {
            let changing = self.changes.lock().await;
            let before = self.registry.get_endpoint(project, endpoint).await?;
            let split = split_of(&before)?;
            self.check_split(&before, &split, None).await?;
            let shadows = self.to_answer(&before, &split);
            promoted.retain(|one| shadows.iter().any(|shadow| one.is_of(shadow)));
            let missing: Vec<_> =
                shadows.into_iter().filter(|shadow| !self.is_ready(&promoted, shadow)).collect();
            if missing.is_empty() {
                self.make_room_for(&before, &promoted)?;
                return Ok(Turn { before, promoted, changing });
            }
            drop(changing);
            for shadow in missing {
                promoted.retain(|one| !one.is_of(&shadow));
                let ready = self.load_promoted(project, &shadow).await;
                let ready = ready.map_err(|error| failed(&shadow, error))?;
                promoted.push(Promoted { shadow, ready });
            }
        }
        Err(changed_too_often(endpoint).into())
    }

    /// Shadows of an endpoint that answer once its traffic is divided like this. What is not in service is not among them.
    fn to_answer(&self, endpoint: &Endpoint, split: &BTreeMap<String, u8>) -> Vec<Arc<DeployedModel>> {
        let answers = |id: &str| split.get(id).is_some_and(|share| *share > 0);
        let shadows = endpoint.deployments.iter().filter(|one| endpoint.is_shadow(one) && answers(&one.id));
        shadows.filter_map(|one| self.deployed_now(endpoint, &one.id)).collect()
    }

    fn is_ready(&self, promoted: &[Promoted], shadow: &Arc<DeployedModel>) -> bool {
        let found = promoted.iter().find(|one| one.is_of(shadow));
        found.is_some_and(|one| match one.ready {
            Ready::Loaded(_) => true,
            // It may have been loaded meanwhile, as a shadow.
            Ready::OnDemand(_) => shadow.in_memory(self.serving.engines()).is_none(),
        })
    }

    fn make_room_for(&self, endpoint: &Endpoint, promoted: &[Promoted]) -> Result<(), NoTurn> {
        for Promoted { shadow, ready } in promoted {
            if let Ready::Loaded(loaded) = ready {
                let key = key(&endpoint.project, &endpoint.id, &shadow.deployment.id);
                let room = self.serving.engines().make_room(&key, loaded.engine.memory_bytes());
                room.map_err(|error| failed(shadow, error.into()))?;
            }
        }
        Ok(())
    }

    async fn load_promoted(&self, project: &str, shadow: &DeployedModel) -> Result<Ready> {
        let DeployedModel { endpoint, deployment, version, .. } = shadow;
        if shadow.in_memory(self.serving.engines()).is_none() {
            let model = self.unloaded_deployment(project, endpoint, deployment.clone()).await?;
            return Ok(Ready::OnDemand(Box::new(model)));
        }
        let loaded = self.load_to_answer(endpoint, deployment, version).await.map_err(|error| {
            error.context(format!("the shadow {} cannot be loaded to answer", deployment.id))
        })?;
        Ok(Ready::Loaded(Box::new(loaded)))
    }

    /// Moves the traffic of an endpoint from what it was to what the registry now says, to those that were loaded for it, and ends the
    /// turn. What is a shadow from now on is loaded anew afterwards, to give way; nobody waits for that.
    pub(crate) async fn move_traffic(&self, turn: Turn<'_>, after: &Endpoint) -> Result<()> {
        let Turn { before, promoted, changing } = turn;
        for Promoted { shadow, ready } in promoted {
            let (endpoint, deployment) = (&after.id, shadow.deployment.clone());
            let id = deployment.id.clone();
            if !after.deployments.iter().any(|one| one.id == id) {
                continue;
            }
            let model = match ready {
                Ready::Loaded(loaded) => self.install(endpoint, deployment, shadow.version.clone(), *loaded),
                Ready::OnDemand(model) => Ok(*model),
            };
            match model {
                Ok(model) => self.reroute(after, Some(Arc::new(model))).await?,
                // The traffic is recorded and moves all the same.
                Err(error) => {
                    tracing::warn!(endpoint, deployment = id, %error, "it answers, and still gives way to all others");
                }
            }
        }
        self.reroute(after, None).await?;
        drop(changing);
        let answered = |id: &str| before.deployments.iter().any(|one| one.id == id && !before.is_shadow(one));
        let demoted = |one: &&Deployment| after.is_shadow(one) && answered(&one.id);
        for deployment in after.deployments.iter().filter(demoted) {
            self.start_giving_way(after, deployment);
        }
        Ok(())
    }

    /// Loads what has become a shadow anew. What is not in memory is loaded as one when it is asked.
    fn start_giving_way(&self, endpoint: &Endpoint, deployment: &Deployment) {
        let model = self.deployed_now(endpoint, &deployment.id);
        let model = model.filter(|model| model.in_memory(self.serving.engines()).is_some());
        let (Some(model), Some(platform)) = (model, self.this.upgrade()) else { return };
        tokio::spawn(async move {
            if let Err(error) = platform.give_way(&model).await {
                let (endpoint, deployment) = (&model.endpoint, &model.deployment.id);
                tracing::warn!(endpoint, deployment, %error, "it is a shadow that does not give way to what answers");
            }
        });
    }

    async fn give_way(&self, model: &DeployedModel) -> Result<()> {
        let DeployedModel { endpoint, deployment, version, .. } = model;
        let loaded = self.load(Load::beside(endpoint, deployment, version)).await?;
        let _changing = self.changes.lock().await;
        // Whoever has changed it meanwhile has seen to its priority, too.
        if !self.serving.is_routed(&version.project, model) {
            return Ok(());
        }
        let endpoint = self.registry.get_endpoint(&version.project, endpoint).await?;
        if !loaded.gives_way || !endpoint.is_shadow(deployment) {
            return Ok(());
        }
        let shadow = self.install(&endpoint.id, deployment.clone(), version.clone(), loaded)?;
        self.reroute(&endpoint, Some(Arc::new(shadow))).await
    }
}
