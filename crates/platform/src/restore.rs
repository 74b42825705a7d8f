//! What is deployed, brought back after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry::{Deployment, Endpoint, ModelVersion, Residence};

use crate::deployed::{DeployedModel, DeploymentStatus, Loaded, failed_status};
use crate::loads::Load;
use crate::{Platform, Result};

/// A deployment as it was when it was brought back, and what came of it.
struct Back {
    deployment: Deployment,
    outcome: Result<Ready>,
}

/// What only has to be put into service.
enum Ready {
    Loaded(Box<(ModelVersion, Loaded)>),
    OnDemand(Box<DeployedModel>),
}

impl Back {
    /// Whether it is what the endpoint has.
    fn is_of(&self, endpoint: &Endpoint, deployment: &Deployment) -> bool {
        let fits = match &self.outcome {
            Ok(Ready::Loaded(ready)) => ready.1.gives_way == endpoint.is_shadow(deployment),
            Ok(Ready::OnDemand(_)) | Err(_) => true,
        };
        fits && self.deployment == *deployment
    }
}

impl Platform {
    /// Makes known what the registry says is deployed, before any of it is loaded: whoever asks for it is told to come again,
    /// and nobody else answers in its place. To be followed by [`Platform::restore_deployments`].
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) if the registry cannot be read.
    pub async fn announce_deployments(&self) -> Result<()> {
        self.serving.set_restoring(true);
        self.announce_all().await?;
        Ok(())
    }

    async fn announce_all(&self) -> Result<Vec<Endpoint>> {
        let _changing = self.changes.lock().await;
        let endpoints = self.registry.list_all_endpoints().await?;
        for endpoint in &endpoints {
            self.announce(endpoint).await?;
        }
        Ok(endpoints)
    }

    /// Brings back what the registry says is deployed. A deployment that fails is reported and left out; the
    /// others serve. Changes that are made meanwhile hold.
    ///
    /// # Errors
    /// [`Kind::Internal`](crate::Kind::Internal) if the registry cannot be read.
    pub async fn restore_deployments(&self) -> Result<Vec<DeploymentStatus>> {
        self.serving.set_restoring(true);
        let restored = self.restore().await;
        self.serving.set_restoring(false);
        restored
    }

    async fn restore(&self) -> Result<Vec<DeploymentStatus>> {
        let mut endpoints = self.announce_all().await?;
        // What is loaded when it is asked does not wait for what is loaded now.
        endpoints.sort_by_key(|endpoint| {
            endpoint.deployments.iter().any(|deployment| deployment.residence == Residence::Pinned)
        });
        for endpoint in endpoints {
            self.restore_endpoint(endpoint).await?;
        }
        Ok(self.deployment_statuses().into_iter().map(|(_, status)| status).collect())
    }

    /// All of an endpoint at once: a part of its deployments would get the traffic of all.
    async fn restore_endpoint(&self, mut endpoint: Endpoint) -> Result<()> {
        let mut all: BTreeMap<String, Back> = BTreeMap::new();
        // Once, and again after each change that was made meanwhile.
        loop {
            for deployment in self.missing(&endpoint, &all) {
                let outcome = self.bring_back(&endpoint, &deployment).await;
                all.insert(deployment.id.clone(), Back { deployment, outcome });
            }
            let _changing = self.changes.lock().await;
            endpoint = match self.registry.get_endpoint(&endpoint.project, &endpoint.id).await {
                Ok(endpoint) => endpoint,
                Err(registry::Error::NotFound(_)) => return Ok(()),
                Err(error) => return Err(error.into()),
            };
            if self.missing(&endpoint, &all).is_empty() {
                return self.put_back(&endpoint, all).await;
            }
        }
    }

    /// What is neither in service nor ready for it.
    fn missing(&self, endpoint: &Endpoint, all: &BTreeMap<String, Back>) -> Vec<Deployment> {
        let ready = |one: &Deployment| all.get(&one.id).is_some_and(|back| back.is_of(endpoint, one));
        let missing = |one: &&Deployment| self.deployed_now(endpoint, &one.id).is_none() && !ready(one);
        endpoint.deployments.iter().filter(missing).cloned().collect()
    }

    async fn bring_back(&self, endpoint: &Endpoint, deployment: &Deployment) -> Result<Ready> {
        let (project, id) = (&endpoint.project, &endpoint.id);
        if deployment.residence == Residence::OnDemand {
            let model = self.unloaded_deployment(project, id, deployment.clone()).await?;
            return Ok(Ready::OnDemand(Box::new(model)));
        }
        let version = self.version_of(project, deployment).await?;
        let loaded = self.load(Load::awaited(id, deployment, &version)).await?;
        Ok(Ready::Loaded(Box::new((version, loaded))))
    }

    async fn put_back(&self, endpoint: &Endpoint, mut all: BTreeMap<String, Back>) -> Result<()> {
        let (mut loaded, mut failed) = (Vec::new(), Vec::new());
        for deployment in &endpoint.deployments {
            // Somebody may have deployed it meanwhile.
            if let Some(there) = self.deployed_now(endpoint, &deployment.id) {
                loaded.push(there);
                continue;
            }
            let Some(Back { outcome, .. }) = all.remove(&deployment.id) else { continue };
            let model = match outcome {
                Ok(Ready::OnDemand(model)) => Ok(*model),
                Ok(Ready::Loaded(ready)) => {
                    let (version, loaded) = *ready;
                    self.install(&endpoint.id, deployment.clone(), version, loaded)
                }
                Err(error) => Err(error),
            };
            match model {
                Ok(model) => loaded.push(Arc::new(model)),
                Err(error) => {
                    tracing::error!(endpoint = endpoint.id, deployment = deployment.id, %error, "not in service");
                    failed.push(failed_status(&endpoint.id, deployment, &error));
                }
            }
        }
        self.route(endpoint, loaded, failed).await
    }
}
