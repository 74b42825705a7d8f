//! Endpoints and what serves on them: create, deploy, change, undeploy, bring back after a restart.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry::{Deployment, Endpoint, NewEndpoint, Residence};

use crate::deployed::{DeployedModel, DeploymentStatus, engine_of, failed_status, key};
use crate::{Error, Kind, Page, Paged, Platform, ResourceRequest, Result};

/// An endpoint to make.
#[derive(Debug, Clone)]
pub struct CreateEndpoint {
    /// The project it belongs to.
    pub project: String,
    /// Its id; absent: one is made.
    pub id: Option<String>,
    /// What people call it.
    pub display_name: String,
    /// Free labels.
    pub labels: BTreeMap<String, String>,
}

/// A version to put into service.
#[derive(Debug, Clone)]
pub struct Deploy {
    /// The project of endpoint and model.
    pub project: String,
    /// The endpoint's id.
    pub endpoint: String,
    /// `id`, `id@number` or `id@alias`.
    pub model: String,
    /// The deployment's id; absent: one is made.
    pub deployment_id: Option<String>,
    /// What people call the deployment.
    pub display_name: Option<String>,
    /// Cores and memory.
    pub resources: ResourceRequest,
    /// The engine to run it on, `rten`, `trees` or `onnxruntime`; absent: the one the version is pinned to. Another one must
    /// reproduce the golden sample.
    pub engine: Option<String>,
    /// Percent of the traffic by deployment id; `0` stands for the new one. Absent: unchanged.
    pub traffic_split: Option<BTreeMap<String, u8>>,
    /// Whether it answers or only gets copies, and when it is in memory.
    pub standing: Standing,
}

/// What a deployment is for, and when it is in memory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Standing {
    /// The percent of the requests, 1 to 100, that it gets copies of while it has no traffic: its answers are kept, never
    /// returned. Absent: none.
    pub shadow_percent: Option<u8>,
    /// When it is in memory.
    pub residence: Residence,
}

/// What to change of a deployment; what is absent stays.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Redeploy {
    /// Cores and memory. A machine type given anew counts for both, unless they are given too.
    pub resources: ResourceRequest,
    /// The percent of the requests it gets copies of; 0: none.
    pub shadow_percent: Option<u8>,
    /// When it is in memory.
    pub residence: Option<Residence>,
}

impl Platform {
    /// Makes an endpoint.
    ///
    /// # Errors
    /// [`Kind::AlreadyExists`], or [`Kind::InvalidArgument`] for an id that cannot be one.
    pub async fn create_endpoint(&self, request: CreateEndpoint) -> Result<Endpoint> {
        let CreateEndpoint { project, id, display_name, labels } = request;
        let id = id.unwrap_or_else(|| self.generated_id());
        let _changing = self.changes.lock().await;
        Ok(self
            .registry
            .create_endpoint(NewEndpoint { project, id, display_name, labels }, self.now())
            .await?)
    }

    /// An endpoint by id.
    ///
    /// # Errors
    /// [`Kind::NotFound`] naming those there are.
    pub async fn get_endpoint(&self, project: &str, id: &str) -> Result<Endpoint> {
        Ok(self.registry.get_endpoint(project, id).await?)
    }

    /// Endpoints by id.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a page token that is not ours.
    pub async fn list_endpoints(&self, project: &str, page: &Page) -> Result<Paged<Endpoint>> {
        let after = page.token.as_deref();
        let items = self.registry.list_endpoints(project, after, page.limit()? + 1).await?;
        Ok(page.cut(items, |endpoint| endpoint.id.clone()))
    }

    /// Loads a version, proves it on its golden rows, replays its newest training rows, and puts it into
    /// service. What served before goes on until the new one is ready, and stays if it fails.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::ResourceExhausted`] if the measured memory is over the budget, and
    /// [`Kind::FailedPrecondition`] if serving would not give what training gave.
    pub async fn deploy(&self, request: Deploy) -> Result<Deployment> {
        let _changing = self.changes.lock().await;
        let endpoint = self.registry.get_endpoint(&request.project, &request.endpoint).await?;
        let version = self.registry.get_version(&request.project, &request.model).await?;
        let (cpu_cores, memory_gb) = request.resources.resolve()?;
        engine_of(request.engine.as_deref())?;
        let id = match request.deployment_id {
            Some(id) => id,
            None => self.generated_deployment_id(&endpoint),
        };
        let deployment = Deployment {
            display_name: request.display_name.unwrap_or_else(|| version.display_name.clone()),
            id,
            model: version.model.clone(),
            version: version.version,
            cpu_cores,
            memory_gb,
            machine_type: request.resources.machine_type,
            engine: request.engine,
            shadow_percent: request.standing.shadow_percent,
            residence: request.standing.residence,
            created_at: self.now(),
        };
        shadow_without_traffic(&deployment, request.traffic_split.as_ref())?;
        // The rules are checked before the load, which costs seconds, and again when it is recorded.
        let split = registry::check_deploy(&endpoint, &deployment, request.traffic_split.as_ref())?;
        let promoted = self.load_promoted(&endpoint, &split).await?;
        let before = endpoint;
        let loaded = self.load_deployment(&request.project, &request.endpoint, deployment.clone()).await?;
        let recorded = self
            .registry
            .deploy(
                &request.project,
                &request.endpoint,
                deployment.clone(),
                request.traffic_split,
                self.now(),
            )
            .await;
        match recorded {
            Ok(endpoint) => {
                self.reroute(&endpoint, Some(Arc::new(loaded))).await?;
                self.move_traffic(&before, &endpoint, promoted).await?;
            }
            Err(error) => {
                self.serving.engines().remove(&key(&request.project, &request.endpoint, &deployment.id));
                return Err(error.into());
            }
        }
        Ok(deployment)
    }

    /// Changes what a deployment may use, whether it is a shadow, or when it is in memory. It is loaded anew beside the
    /// one in service, proven, and put in its place at once; what was asked before is still answered. If that fails,
    /// nothing has changed.
    ///
    /// # Errors
    /// As [`Platform::deploy`]; [`Kind::NotFound`] naming the deployments there are.
    pub async fn redeploy(
        &self,
        project: &str,
        endpoint: &str,
        deployment_id: &str,
        change: Redeploy,
    ) -> Result<Deployment> {
        let _changing = self.changes.lock().await;
        let before = self.registry.get_endpoint(project, endpoint).await?;
        let deployed = before.deployments.iter().find(|deployment| deployment.id == deployment_id);
        let changed = match deployed {
            Some(deployed) => change.of(deployed)?,
            None => {
                let ids: Vec<&str> = before.deployments.iter().map(|one| one.id.as_str()).collect();
                let there = if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") };
                let message = format!(
                    "endpoint \"{endpoint}\" has no deployment \"{deployment_id}\"; deployed: {there}"
                );
                return Err(Error::new(Kind::NotFound, message));
            }
        };
        registry::check_redeploy(&before, &changed)?;
        let version = self.version_of(project, &changed).await?;
        let loaded = self.load(endpoint, &changed, &version, 0).await?;
        // What would not fit is refused before anything is recorded.
        let key = key(project, endpoint, deployment_id);
        self.serving.engines().make_room(&key, loaded.engine.memory_bytes())?;
        let now = self.now();
        let recorded = self.registry.redeploy(project, endpoint, changed.clone(), now).await?;
        let model = self.install(endpoint, changed.clone(), version, loaded)?;
        self.reroute(&recorded, Some(Arc::new(model))).await?;
        Ok(changed)
    }

    /// Takes a deployment out of service; requests it has accepted are still answered.
    ///
    /// # Errors
    /// [`Kind::NotFound`], or [`Kind::FailedPrecondition`] if it has traffic and the split given leaves it any.
    pub async fn undeploy(
        &self,
        project: &str,
        endpoint: &str,
        deployment_id: &str,
        traffic_split: Option<BTreeMap<String, u8>>,
    ) -> Result<()> {
        let _changing = self.changes.lock().await;
        let before = self.registry.get_endpoint(project, endpoint).await?;
        let split = registry::check_undeploy(&before, deployment_id, traffic_split.as_ref())?;
        let promoted = self.load_promoted(&before, &split).await?;
        let after =
            self.registry.undeploy(project, endpoint, deployment_id, traffic_split, self.now()).await?;
        self.move_traffic(&before, &after, promoted).await
    }

    /// Makes known what the registry says is deployed, before any of it is loaded: whoever asks for it is told to come again,
    /// and nobody else answers in its place. To be followed by [`Platform::restore_deployments`].
    ///
    /// # Errors
    /// [`Kind::Internal`] if the registry cannot be read.
    pub async fn announce_deployments(&self) -> Result<()> {
        self.serving.set_restoring(true);
        let _changing = self.changes.lock().await;
        for endpoint in self.registry.list_all_endpoints().await? {
            self.announce(&endpoint).await?;
        }
        Ok(())
    }

    /// Brings back what the registry says is deployed. A deployment that fails is reported and left out; the
    /// others serve.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the registry cannot be read.
    pub async fn restore_deployments(&self) -> Result<Vec<DeploymentStatus>> {
        self.serving.set_restoring(true);
        let restored = self.restore().await;
        self.serving.set_restoring(false);
        restored
    }

    async fn restore(&self) -> Result<Vec<DeploymentStatus>> {
        let _changing = self.changes.lock().await;
        let mut endpoints = self.registry.list_all_endpoints().await?;
        for endpoint in &endpoints {
            self.announce(endpoint).await?;
        }
        // What is loaded when it is asked does not wait for what is loaded now.
        endpoints.sort_by_key(|endpoint| {
            endpoint.deployments.iter().any(|deployment| deployment.residence == Residence::Pinned)
        });
        for endpoint in endpoints {
            let (mut loaded, mut failed) = (Vec::new(), Vec::new());
            for deployment in &endpoint.deployments {
                match self.bring_back(&endpoint, deployment).await {
                    Ok(model) => loaded.push(model),
                    Err(error) => {
                        tracing::error!(endpoint = endpoint.id, deployment = deployment.id, %error, "not in service");
                        failed.push(failed_status(&endpoint.id, deployment, &error));
                    }
                }
            }
            self.route(&endpoint, loaded, failed).await?;
        }
        Ok(self.deployment_statuses().into_iter().map(|(_, status)| status).collect())
    }

    async fn bring_back(&self, endpoint: &Endpoint, deployment: &Deployment) -> Result<Arc<DeployedModel>> {
        if let Some(there) = self.deployed_now(endpoint, &deployment.id) {
            return Ok(there);
        }
        let (project, id, deployment) = (&endpoint.project, &endpoint.id, deployment.clone());
        let model = match deployment.residence {
            Residence::Pinned => self.load_deployment(project, id, deployment).await?,
            Residence::OnDemand => self.unloaded_deployment(project, id, deployment).await?,
        };
        Ok(Arc::new(model))
    }

    /// An id of at most 10 digits that no deployment here has had: an answer must not be ascribed to another.
    /// Seconds of the clock, pushed on where they repeat.
    fn generated_deployment_id(&self, endpoint: &Endpoint) -> String {
        let now = u64::try_from(self.now().as_second()).unwrap_or_default();
        let taken = endpoint.deployments.iter().filter_map(|deployment| deployment.id.parse::<u64>().ok());
        let least = now.max(taken.max().map_or(0, |id| id + 1));
        self.serving.next_deployment_number(least).to_string()
    }
}

impl Redeploy {
    /// The deployment as it is to be.
    fn of(self, before: &Deployment) -> Result<Deployment> {
        let Self { resources, shadow_percent, residence } = self;
        let given_anew = resources.machine_type.is_some();
        let kept = |value: f64| if given_anew { None } else { Some(value) };
        let asked = ResourceRequest {
            cpu_cores: resources.cpu_cores.or(kept(before.cpu_cores)),
            memory_gb: resources.memory_gb.or(kept(before.memory_gb)),
            machine_type: resources.machine_type,
        };
        let (cpu_cores, memory_gb) = asked.resolve()?;
        let same_size = (cpu_cores, memory_gb) == (before.cpu_cores, before.memory_gb);
        // A machine type that is no more what the deployment has is not said of it.
        let machine_type = asked.machine_type.or_else(|| before.machine_type.clone().filter(|_| same_size));
        Ok(Deployment {
            cpu_cores,
            memory_gb,
            machine_type,
            shadow_percent: match shadow_percent {
                None => before.shadow_percent,
                Some(0) => None,
                percent => percent,
            },
            residence: residence.unwrap_or(before.residence),
            ..before.clone()
        })
    }
}

/// A shadow is not given traffic in the same breath.
fn shadow_without_traffic(deployment: &Deployment, split: Option<&BTreeMap<String, u8>>) -> Result<()> {
    let share = split.and_then(|split| split.get(registry::NEW_DEPLOYMENT)).copied().unwrap_or_default();
    if deployment.shadow_percent.is_none() || share == 0 {
        return Ok(());
    }
    let message = format!(
        "a shadow gets copies and no traffic, and {share} % is given to it; leave the split out, and change it later \
         to promote the shadow"
    );
    Err(Error::invalid("trafficSplit", message))
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;

    #[test]
    fn a_change_keeps_what_it_does_not_name() {
        let before = Deployment {
            id: "1".to_owned(),
            model: "m".to_owned(),
            version: 1,
            display_name: String::new(),
            cpu_cores: 2.0,
            memory_gb: 7.5,
            machine_type: Some("n1-standard-2".to_owned()),
            engine: None,
            shadow_percent: Some(10),
            residence: Residence::Pinned,
            created_at: Timestamp::UNIX_EPOCH,
        };
        let after = |change: Redeploy| change.of(&before).unwrap();
        assert_eq!(after(Redeploy::default()), before);
        let resources = ResourceRequest { cpu_cores: Some(1.0), ..ResourceRequest::default() };
        let smaller = after(Redeploy { resources, ..Redeploy::default() });
        assert_eq!((smaller.cpu_cores, smaller.memory_gb, smaller.machine_type), (1.0, 7.5, None));
        let machine_type = Some("n1-standard-4".to_owned());
        let resources = ResourceRequest { machine_type: machine_type.clone(), ..ResourceRequest::default() };
        let larger = after(Redeploy { resources, ..Redeploy::default() });
        assert_eq!((larger.cpu_cores, larger.memory_gb, larger.machine_type), (4.0, 15.0, machine_type));
        let plain = after(Redeploy { shadow_percent: Some(0), ..Redeploy::default() });
        assert_eq!((plain.shadow_percent, after(Redeploy::default()).shadow_percent), (None, Some(10)));
    }
}
