//! Endpoints and what serves on them: create, deploy, change, undeploy. Loads take seconds to minutes and hold no lock that others
//! need: each change is made after its loads, in one step, if it may still be made then.

use std::collections::BTreeMap;
use std::sync::Arc;

use registry::{Deployment, Endpoint, ModelVersion, NewEndpoint, Residence, verb};

use crate::attempt::Attempt;
use crate::deployed::{engine_of, key};
use crate::loads::Load;
use crate::shadow::{CHANGE_TRIES, changed_too_often};
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
    /// What people say of it.
    pub description: String,
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
    /// Cores, memory and limits.
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
    /// Cores, memory and limits. A machine type given anew counts for both, unless they are given too.
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
        let CreateEndpoint { project, id, display_name, description, labels } = request;
        let id = id.unwrap_or_else(|| self.generated_id());
        let _changing = self.changes.lock().await;
        let new = NewEndpoint { project, id, display_name, description, labels };
        Ok(self.registry.create_endpoint(new, self.now()).await?)
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
    /// service. What served before goes on until the new one is ready, and stays if it fails. Other changes happen
    /// meanwhile, and what they left is what counts in the end. That it fails once it has begun to load is kept.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a shadow, or a share of the traffic, beside what takes other inputs; [`Kind::NotFound`], [`Kind::AlreadyExists`], [`Kind::ResourceExhausted`] if the measured memory is over the budget, and
    /// [`Kind::FailedPrecondition`] if serving would not give what training gave.
    pub async fn deploy(&self, request: Deploy) -> Result<Deployment> {
        let (deployment, version) = self.to_deploy(&request).await?;
        let (project, endpoint) = (&request.project, &request.endpoint);
        let outcome = self.bring_in_new(&request, &deployment, version).await;
        self.kept(Attempt { kind: verb::DEPLOY, project, endpoint, deployment: &deployment }, outcome)
            .await?;
        Ok(deployment)
    }

    async fn bring_in_new(
        &self,
        request: &Deploy,
        deployment: &Deployment,
        version: ModelVersion,
    ) -> Result<()> {
        let Deploy { project, endpoint, traffic_split, .. } = request;
        let loaded = self.load(Load::beside(endpoint, deployment, &version)).await?;
        let split_of = |now: &Endpoint| registry::check_deploy(now, deployment, traffic_split.as_ref());
        let turn = self.begin_turn(project, endpoint, split_of).await?;
        self.check_alike(turn.before(), deployment, &version, &split_of(turn.before())?).await?;
        let model = self.install(endpoint, deployment.clone(), version, loaded)?;
        let (new, split, now) = (deployment.clone(), traffic_split.clone(), self.now());
        match self.registry.deploy(project, endpoint, new, split, now).await {
            Ok(after) => {
                self.reroute(&after, Some(Arc::new(model))).await?;
                self.move_traffic(turn, &after).await
            }
            // The version may have been deleted meanwhile.
            Err(error) => {
                self.serving.engines().remove(&key(project, endpoint, &deployment.id));
                Err(error.into())
            }
        }
    }

    /// Refuses what does not take the questions that the others of its endpoint take.
    async fn check_alike(
        &self,
        endpoint: &Endpoint,
        new: &Deployment,
        version: &ModelVersion,
        split: &BTreeMap<String, u8>,
    ) -> Result<()> {
        self.check_shadow(endpoint, new, version).await?;
        self.check_split(endpoint, split, Some(new)).await
    }

    /// What is to be deployed. The rules are checked before the load, which costs seconds, and again after it.
    async fn to_deploy(&self, request: &Deploy) -> Result<(Deployment, ModelVersion)> {
        let endpoint = self.registry.get_endpoint(&request.project, &request.endpoint).await?;
        let version = self.registry.get_version(&request.project, &request.model).await?;
        let (cpu_cores, memory_gb) = request.resources.resolve()?;
        engine_of(request.engine.as_deref())?;
        let id = match &request.deployment_id {
            Some(id) => id.clone(),
            None => self.generated_deployment_id(&endpoint),
        };
        let deployment = Deployment {
            display_name: request.display_name.clone().unwrap_or_else(|| version.about.display_name.clone()),
            id,
            model: version.model.clone(),
            version: version.version,
            cpu_cores,
            memory_gb,
            machine_type: request.resources.machine_type.clone(),
            engine: request.engine.clone(),
            shadow_percent: request.standing.shadow_percent,
            residence: request.standing.residence,
            limits: request.resources.limits,
            created_at: self.now(),
        };
        shadow_without_traffic(&deployment, request.traffic_split.as_ref())?;
        let split = registry::check_deploy(&endpoint, &deployment, request.traffic_split.as_ref())?;
        self.check_alike(&endpoint, &deployment, &version, &split).await?;
        Ok((deployment, version))
    }

    /// Changes what a deployment may use, whether it is a shadow, or when it is in memory. It is loaded anew beside the
    /// one in service, proven, and put in its place at once; what was asked before is still answered. If that fails,
    /// nothing has changed, and it is kept that it did. If somebody else changes it meanwhile, it is loaded once more.
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
        for _ in 0..CHANGE_TRIES {
            let before = self.registry.get_endpoint(project, endpoint).await?;
            let deployed = deployed_on(&before, deployment_id)?;
            let changed = change.clone().of(deployed)?;
            registry::check_redeploy(&before, &changed)?;
            let version = self.version_of(project, &changed).await?;
            if change.shadow_percent.is_some() {
                self.check_shadow(&before, &changed, &version).await?;
            }
            let outcome = self.bring_in_changed((project, endpoint), deployed, &changed, version).await;
            let attempt = Attempt { kind: verb::REDEPLOY, project, endpoint, deployment: &changed };
            if self.kept(attempt, outcome).await? {
                return Ok(changed);
            }
        }
        Err(changed_too_often(endpoint))
    }

    /// Whether a deployment has become what it is to be; it has not if somebody else has changed it meanwhile.
    async fn bring_in_changed(
        &self,
        (project, endpoint): (&str, &str),
        before: &Deployment,
        changed: &Deployment,
        version: ModelVersion,
    ) -> Result<bool> {
        let loaded = self.load(Load::beside(endpoint, changed, &version)).await?;
        let _changing = self.changes.lock().await;
        let now = self.registry.get_endpoint(project, endpoint).await?;
        if deployed_on(&now, &changed.id)? != before || now.is_shadow(changed) != loaded.gives_way {
            return Ok(false);
        }
        // What would not fit is refused before anything is recorded.
        let key = key(project, endpoint, &changed.id);
        self.serving.engines().make_room(&key, loaded.engine.memory_bytes())?;
        let time = self.now();
        let recorded = self.registry.redeploy(project, endpoint, changed.clone(), time).await?;
        let model = self.install(endpoint, changed.clone(), version, loaded)?;
        self.reroute(&recorded, Some(Arc::new(model))).await?;
        Ok(true)
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
        let may_go = |now: &Endpoint| registry::check_undeploy(now, deployment_id, traffic_split.as_ref());
        let turn = self.turn_for(verb::UNDEPLOY, (project, endpoint), may_go).await?;
        let (split, now) = (traffic_split, self.now());
        let after = self.registry.undeploy(project, endpoint, deployment_id, split, now).await?;
        self.move_traffic(turn, &after).await
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
            limits: resources.limits.or(before.limits),
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
            limits: asked.limits,
            ..before.clone()
        })
    }
}

/// The deployment of this id.
fn deployed_on<'a>(endpoint: &'a Endpoint, id: &str) -> Result<&'a Deployment> {
    endpoint.deployments.iter().find(|deployment| deployment.id == id).ok_or_else(|| {
        let ids: Vec<&str> = endpoint.deployments.iter().map(|one| one.id.as_str()).collect();
        let there = if ids.is_empty() { "nothing".to_owned() } else { ids.join(", ") };
        let message = format!("endpoint \"{}\" has no deployment \"{id}\"; deployed: {there}", endpoint.id);
        Error::new(Kind::NotFound, message)
    })
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
    use registry::DeploymentLimits;

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
            limits: DeploymentLimits { max_batch_rows: Some(8), ..DeploymentLimits::default() },
            created_at: Timestamp::UNIX_EPOCH,
        };
        let after = |change: Redeploy| change.of(&before).unwrap();
        assert_eq!(after(Redeploy::default()), before);
        let resources = ResourceRequest { cpu_cores: Some(1.0), ..ResourceRequest::default() };
        let smaller = after(Redeploy { resources, ..Redeploy::default() });
        assert_eq!((smaller.cpu_cores, smaller.memory_gb, smaller.machine_type), (1.0, 7.5, None));
        let limits = DeploymentLimits { max_delay_us: Some(100), ..DeploymentLimits::default() };
        let resources = ResourceRequest { limits, ..ResourceRequest::default() };
        let patient = after(Redeploy { resources, ..Redeploy::default() });
        assert_eq!((patient.limits.max_batch_rows, patient.limits.max_delay_us), (Some(8), Some(100)));
        let machine_type = Some("n1-standard-4".to_owned());
        let resources = ResourceRequest { machine_type: machine_type.clone(), ..ResourceRequest::default() };
        let larger = after(Redeploy { resources, ..Redeploy::default() });
        assert_eq!((larger.cpu_cores, larger.memory_gb, larger.machine_type), (4.0, 15.0, machine_type));
        let plain = after(Redeploy { shadow_percent: Some(0), ..Redeploy::default() });
        assert_eq!((plain.shadow_percent, after(Redeploy::default()).shadow_percent), (None, Some(10)));
    }
}
