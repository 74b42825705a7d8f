//! Shadows that are to answer, and deployments that become shadows. The engine of a shadow gives way to all others, and the system
//! lets no thread return from that: each is loaded anew beside itself, as in every swap.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry::{Deployment, Endpoint, ModelVersion};

use crate::deployed::{Loaded, key};
use crate::{Platform, Result};

/// A shadow that is to answer.
pub(crate) struct Promoted {
    deployment: Deployment,
    version: ModelVersion,
    /// None if it is loaded when it is asked.
    loaded: Option<Loaded>,
}

impl Platform {
    /// Loads those shadows of an endpoint that are to answer once its traffic is divided like this. Until then nothing has
    /// changed.
    ///
    /// # Errors
    /// As [`Platform::deploy`].
    pub(crate) async fn load_promoted(
        &self,
        endpoint: &Endpoint,
        split: &BTreeMap<String, u8>,
    ) -> Result<Vec<Promoted>> {
        let mut promoted = Vec::new();
        let answers = |id: &str| split.get(id).is_some_and(|share| *share > 0);
        for deployment in
            endpoint.deployments.iter().filter(|one| endpoint.is_shadow(one) && answers(&one.id))
        {
            // What is not in service is not loaded by this either.
            let Some(model) = self.deployed_now(endpoint, &deployment.id) else { continue };
            let version = model.version.clone();
            let loaded = match model.in_memory(self.serving.engines()) {
                None => None,
                Some(_) => {
                    let loaded = self.load_to_answer(&endpoint.id, deployment, &version).await;
                    let loaded = loaded.map_err(|error| {
                        error.context(format!("the shadow {} cannot be loaded to answer", deployment.id))
                    })?;
                    let key = key(&endpoint.project, &endpoint.id, &deployment.id);
                    self.serving.engines().make_room(&key, loaded.engine.memory_bytes())?;
                    Some(loaded)
                }
            };
            promoted.push(Promoted { deployment: deployment.clone(), version, loaded });
        }
        Ok(promoted)
    }

    /// Moves the traffic of an endpoint from what it was to what the registry now says, to those that were loaded for it. What
    /// is a shadow from now on is loaded anew afterwards, to give way.
    pub(crate) async fn move_traffic(
        &self,
        before: &Endpoint,
        after: &Endpoint,
        promoted: Vec<Promoted>,
    ) -> Result<()> {
        for Promoted { deployment, version, loaded } in promoted {
            let (project, endpoint, id) = (&after.project, &after.id, deployment.id.clone());
            if !after.deployments.iter().any(|one| one.id == id) {
                continue;
            }
            let model = match loaded {
                Some(loaded) => self.install(endpoint, deployment, version, loaded),
                None => self.unloaded_deployment(project, endpoint, deployment).await,
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
        let answered = |id: &str| before.deployments.iter().any(|one| one.id == id && !before.is_shadow(one));
        let demoted = |one: &&Deployment| after.is_shadow(one) && answered(&one.id);
        for deployment in after.deployments.iter().filter(demoted) {
            if let Err(error) = self.give_way(after, deployment).await {
                let (endpoint, deployment) = (&after.id, &deployment.id);
                tracing::warn!(endpoint, deployment, %error, "it is a shadow that does not give way to what answers");
            }
        }
        Ok(())
    }

    /// Loads what has become a shadow anew. What is not in memory is loaded as one when it is asked.
    async fn give_way(&self, endpoint: &Endpoint, deployment: &Deployment) -> Result<()> {
        let model = self.deployed_now(endpoint, &deployment.id);
        let Some(model) = model.filter(|model| model.in_memory(self.serving.engines()).is_some()) else {
            return Ok(());
        };
        let loaded = self.load(&endpoint.id, deployment, &model.version, 0).await?;
        let model = self.install(&endpoint.id, deployment.clone(), model.version.clone(), loaded)?;
        self.reroute(endpoint, Some(Arc::new(model))).await
    }
}
