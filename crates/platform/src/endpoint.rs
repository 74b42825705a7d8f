//! Endpoints and what serves on them: create, deploy, undeploy, bring back after a restart.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use artifact::bundle::{Bundle, Manifest};
use artifact::engine::EngineKind;
use market::FeatureSet;
use registry::{Deployment, Endpoint, ModelVersion, NewEndpoint};
use serving::{Limits, LoadSpec, Resources};

use crate::background;
use crate::samplers::Samplers;
use crate::served::Names;
use crate::traffic::{Dealer, Rebalances, Together};
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
}

/// How a deployment is doing.
#[derive(Debug, Clone, serde::Serialize)]
pub struct DeploymentStatus {
    /// The endpoint's id.
    pub endpoint: String,
    /// The deployment's id.
    pub deployment: String,
    /// The model.
    pub model: String,
    /// Its version.
    pub version: u32,
    /// Engine name and version; empty if it is not loaded.
    pub engine: String,
    /// Engine threads.
    pub threads: usize,
    /// Measured memory.
    pub memory_bytes: u64,
    /// What replaying the newest training rows through the predict path showed.
    pub replay: String,
    /// Why it is not in service.
    pub error: Option<String>,
}

/// A deployment's counters, with its labels.
#[derive(Debug, Clone)]
pub struct DeploymentCounters {
    /// The project.
    pub project: String,
    /// Where it stands and how it is doing.
    pub status: DeploymentStatus,
    /// What it has done.
    pub counters: serving::Counters,
}

/// Whether the process can answer for all it should serve.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Readiness {
    /// All deployments are in service.
    pub ready: bool,
    /// Why not.
    pub reasons: Vec<String>,
}

/// A version in service, with what answering needs.
pub(crate) struct DeployedModel {
    pub(crate) deployment: Deployment,
    pub(crate) version: ModelVersion,
    pub(crate) manifest: Manifest,
    /// How its features are computed; none if they were computed elsewhere.
    pub(crate) set: Option<FeatureSet>,
    /// Its inputs that take random numbers.
    pub(crate) samplers: Samplers,
    pub(crate) engine: Arc<serving::Deployment>,
    replay: String,
}

/// What an endpoint serves now. Replaced as a whole at every change, so a request sees one state.
struct Route {
    deployed: Vec<(u8, Arc<DeployedModel>)>,
    failed: Vec<DeploymentStatus>,
    dealer: Dealer,
}

type RouteKey = (String, String);

/// All routes, the engines behind them, and whether the registry's deployments are still being brought back.
pub(crate) struct InService {
    routes: RwLock<HashMap<RouteKey, Arc<Route>>>,
    engines: serving::Table,
    names: Names,
    rebalances: Rebalances,
    deployment_ids: AtomicU64,
    restoring: std::sync::atomic::AtomicBool,
}

impl Default for InService {
    fn default() -> Self {
        Self {
            routes: RwLock::default(),
            engines: serving::Table::new(serving::machine_bytes()),
            names: Names::default(),
            rebalances: Rebalances::default(),
            deployment_ids: AtomicU64::new(0),
            restoring: std::sync::atomic::AtomicBool::default(),
        }
    }
}

impl InService {
    fn get(&self, project: &str, endpoint: &str) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(&(project.to_owned(), endpoint.to_owned())).cloned()
    }

    fn set(&self, project: &str, endpoint: &str, route: Route) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.insert((project.to_owned(), endpoint.to_owned()), Arc::new(route));
    }

    fn all(&self) -> Vec<(RouteKey, Arc<Route>)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut all: Vec<_> = routes.iter().map(|(key, route)| (key.clone(), Arc::clone(route))).collect();
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    /// What answers for a model, on whichever endpoint.
    pub(crate) fn deployments_of_model(&self, project: &str, model: &str) -> Vec<Arc<DeployedModel>> {
        let of_route = |((p, _), route): (RouteKey, Arc<Route>)| {
            let deployed = route.deployed.iter().map(|(_, deployed)| Arc::clone(deployed));
            let matching = |deployed: &Arc<DeployedModel>| p == project && deployed.version.model == model;
            deployed.filter(matching).collect::<Vec<_>>()
        };
        self.all().into_iter().flat_map(of_route).collect()
    }

    /// The version that answers the next request.
    pub(crate) fn pick(
        &self,
        project: &str,
        endpoint: &str,
        together: Option<&Together>,
    ) -> Option<Arc<DeployedModel>> {
        let route = self.get(project, endpoint)?;
        let pick = |key| route.dealer.pick(route.deployed.iter().map(|(percent, _)| *percent), key);
        let picked = match together {
            None => pick(None),
            Some(Together::Key(key)) => pick(Some(key)),
            Some(Together::Rebalance(token)) => {
                let rebalance = (project.to_owned(), endpoint.to_owned(), token.clone());
                let ids: Vec<&str> =
                    route.deployed.iter().map(|(_, model)| model.deployment.id.as_str()).collect();
                self.rebalances.pick(rebalance, &ids, || pick(Some(token)))
            }
        };
        picked.map(|index| Arc::clone(&route.deployed[index].1))
    }
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
            created_at: self.now(),
        };
        // The rules are checked before the load, which costs seconds, and again when it is recorded.
        registry::check_deploy(&endpoint, &deployment, request.traffic_split.as_ref())?;
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
            Ok(endpoint) => self.reroute(&endpoint, Some(Arc::new(loaded))).await?,
            Err(error) => {
                self.serving.engines.remove(&key(&request.project, &request.endpoint, &deployment.id));
                return Err(error.into());
            }
        }
        Ok(deployment)
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
        let endpoint =
            self.registry.undeploy(project, endpoint, deployment_id, traffic_split, self.now()).await?;
        self.reroute(&endpoint, None).await
    }

    /// Brings back what the registry says is deployed. A deployment that fails is reported and left out; the
    /// others serve.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the registry cannot be read.
    pub async fn restore_deployments(&self) -> Result<Vec<DeploymentStatus>> {
        self.serving.restoring.store(true, Ordering::Release);
        let restored = self.restore().await;
        self.serving.restoring.store(false, Ordering::Release);
        restored
    }

    async fn restore(&self) -> Result<Vec<DeploymentStatus>> {
        let _changing = self.changes.lock().await;
        let mut statuses = Vec::new();
        for endpoint in self.registry.list_all_endpoints().await? {
            let before = self.serving.get(&endpoint.project, &endpoint.id);
            let mut route = Route { deployed: Vec::new(), failed: Vec::new(), dealer: Dealer::default() };
            for deployment in &endpoint.deployments {
                let percent = endpoint.traffic_split.get(&deployment.id).copied().unwrap_or_default();
                if let Some(loaded) = before.as_ref().and_then(|route| route.loaded(&deployment.id)) {
                    route.deployed.push((percent, loaded));
                    continue;
                }
                match self.load_deployment(&endpoint.project, &endpoint.id, deployment.clone()).await {
                    Ok(loaded) => route.deployed.push((percent, Arc::new(loaded))),
                    Err(error) => {
                        tracing::error!(endpoint = endpoint.id, deployment = deployment.id, %error, "not in service");
                        route.failed.push(failed_status(&endpoint.id, deployment, &error));
                    }
                }
            }
            statuses.extend(route.statuses(&endpoint.id));
            self.serving.set(&endpoint.project, &endpoint.id, route);
            let models: BTreeSet<&str> = endpoint.deployments.iter().map(|one| one.model.as_str()).collect();
            for model in models {
                self.refresh_name(&endpoint.project, model).await?;
            }
        }
        Ok(statuses)
    }

    /// Whether everything deployed is in service.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.serving.restoring.load(Ordering::Acquire) {
            reasons.push("deployments are being brought back".to_owned());
        }
        for (_, route) in self.serving.all() {
            for status in &route.failed {
                let why = status.error.as_deref().unwrap_or_default();
                reasons.push(format!(
                    "endpoint \"{}\" deployment {}: {why}",
                    status.endpoint, status.deployment
                ));
            }
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }

    /// Counters of everything in service, for monitoring.
    pub fn serving_counters(&self) -> Vec<DeploymentCounters> {
        let of_route = |((project, endpoint), route): (RouteKey, Arc<Route>)| {
            let counters = |(_, model): &(u8, Arc<DeployedModel>)| DeploymentCounters {
                project: project.clone(),
                status: model.status(&endpoint),
                counters: model.engine.counters(),
            };
            route.deployed.iter().map(counters).collect::<Vec<_>>()
        };
        self.serving.all().into_iter().flat_map(of_route).collect()
    }

    /// How all deployments are doing, each with its project.
    pub(crate) fn deployment_statuses(&self) -> Vec<(String, DeploymentStatus)> {
        let of_route = |((project, endpoint), route): (RouteKey, Arc<Route>)| {
            route.statuses(&endpoint).into_iter().map(|status| (project.clone(), status)).collect::<Vec<_>>()
        };
        self.serving.all().into_iter().flat_map(of_route).collect()
    }

    /// How one deployment is doing; nothing if it is not known here.
    pub fn deployment_status(
        &self,
        project: &str,
        endpoint: &str,
        deployment: &str,
    ) -> Option<DeploymentStatus> {
        let route = self.serving.get(project, endpoint)?;
        route.statuses(endpoint).into_iter().find(|status| status.deployment == deployment)
    }

    /// Endpoint and deployment ids that serve a version.
    pub fn deployments_of(&self, project: &str, model: &str, version: u32) -> Vec<(String, String)> {
        let of_route = |((p, endpoint), route): (RouteKey, Arc<Route>)| {
            let matching = route
                .statuses(&endpoint)
                .into_iter()
                .filter(|status| p == project && status.model == model && status.version == version);
            matching.map(|status| (endpoint.clone(), status.deployment)).collect::<Vec<_>>()
        };
        self.serving.all().into_iter().flat_map(of_route).collect()
    }

    async fn load_deployment(
        &self,
        project: &str,
        endpoint: &str,
        deployment: Deployment,
    ) -> Result<DeployedModel> {
        let reference = format!("{}@{}", deployment.model, deployment.version);
        let version = self.registry.get_version(project, &reference).await?;
        let bundle = self.open_version(&version).await?;
        let set = feature_set(&bundle)?;
        let replay = match &set {
            Some(set) => self.replay(&bundle.manifest, set).await?,
            None if bundle.manifest.origin.is_some() => "not replayed: the model was imported".to_owned(),
            None => "not replayed: the features were computed elsewhere".to_owned(),
        };
        let name = format!("{endpoint}/{}", deployment.id);
        let resources = Resources { cpu_cores: deployment.cpu_cores, memory_gb: deployment.memory_gb };
        let engine = engine_of(deployment.engine.as_deref())?;
        let load = move || {
            let engine = serving::Deployment::prepare(LoadSpec {
                name,
                bundle: &bundle,
                engine,
                resources,
                limits: Limits::default(),
            });
            engine.map(|engine| (engine, bundle.manifest))
        };
        // What is in service must not feel it.
        let (engine, manifest) = background::run("load", load).await??;
        // Started here, so that its threads do not give way.
        let engine = engine.start()?;
        let engine = self.serving.engines.insert(key(project, endpoint, &deployment.id), engine)?;
        let samplers = Samplers::of(&manifest);
        Ok(DeployedModel { deployment, version, manifest, set, samplers, engine, replay })
    }

    /// An id of at most 10 digits that no deployment here has had: an answer must not be ascribed to another.
    /// Seconds of the clock, pushed on where they repeat.
    fn generated_deployment_id(&self, endpoint: &Endpoint) -> String {
        let now = u64::try_from(self.now().as_second()).unwrap_or_default();
        let taken = endpoint.deployments.iter().filter_map(|deployment| deployment.id.parse::<u64>().ok());
        let least = now.max(taken.max().map_or(0, |id| id + 1));
        let next = |last: u64| Some(least.max(last + 1));
        let ids = &self.serving.deployment_ids;
        let last = ids.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).unwrap_or_default();
        least.max(last + 1).to_string()
    }

    /// Forgets an endpoint that is no more.
    pub(crate) fn forget_route(&self, project: &str, id: &str) {
        let mut routes = self.serving.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.remove(&(project.to_owned(), id.to_owned()));
    }

    /// Rebuilds an endpoint's route from what the registry now says, keeping what is loaded.
    pub(crate) async fn reroute(&self, endpoint: &Endpoint, new: Option<Arc<DeployedModel>>) -> Result<()> {
        let before = self.serving.get(&endpoint.project, &endpoint.id);
        let mut loaded: Vec<Arc<DeployedModel>> = before
            .iter()
            .flat_map(|route| route.deployed.iter().map(|(_, model)| Arc::clone(model)))
            .collect();
        loaded.extend(new);
        let known = |id: &str| endpoint.deployments.iter().any(|deployment| deployment.id == id);
        let percent = |id: &str| endpoint.traffic_split.get(id).copied().unwrap_or_default();
        let route = Route {
            deployed: loaded
                .iter()
                .filter(|model| known(&model.deployment.id))
                .map(|model| (percent(&model.deployment.id), Arc::clone(model)))
                .collect(),
            failed: before
                .iter()
                .flat_map(|route| route.failed.iter().filter(|status| known(&status.deployment)).cloned())
                .collect(),
            dealer: Dealer::default(),
        };
        self.serving.set(&endpoint.project, &endpoint.id, route);
        let models: BTreeSet<&str> = loaded.iter().map(|model| model.version.model.as_str()).collect();
        for model in models {
            self.refresh_name(&endpoint.project, model).await?;
        }
        // Last, so that no request that comes now can meet an engine that takes nothing any more.
        for gone in loaded.iter().filter(|model| !known(&model.deployment.id)) {
            self.serving.engines.remove(&key(&endpoint.project, &endpoint.id, &gone.deployment.id));
        }
        Ok(())
    }
}

impl DeployedModel {
    fn status(&self, endpoint: &str) -> DeploymentStatus {
        DeploymentStatus {
            endpoint: endpoint.to_owned(),
            deployment: self.deployment.id.clone(),
            model: self.deployment.model.clone(),
            version: self.deployment.version,
            engine: self.engine.engine().to_owned(),
            threads: self.engine.threads(),
            memory_bytes: self.engine.memory_bytes(),
            replay: self.replay.clone(),
            error: None,
        }
    }
}

impl Route {
    fn loaded(&self, deployment: &str) -> Option<Arc<DeployedModel>> {
        let found = self.deployed.iter().find(|(_, model)| model.deployment.id == deployment);
        found.map(|(_, model)| Arc::clone(model))
    }

    fn statuses(&self, endpoint: &str) -> Vec<DeploymentStatus> {
        let in_service = self.deployed.iter().map(|(_, model)| model.status(endpoint));
        in_service.chain(self.failed.iter().cloned()).collect()
    }
}

fn key(project: &str, endpoint: &str, deployment: &str) -> serving::Key {
    serving::Key {
        project: project.to_owned(),
        endpoint: endpoint.to_owned(),
        deployment: deployment.to_owned(),
    }
}

fn engine_of(name: Option<&str>) -> Result<Option<EngineKind>> {
    let named = |name: &str| {
        EngineKind::named(name).ok_or_else(|| {
            let known = EngineKind::ALL.map(EngineKind::name).join(", ");
            Error::invalid("engine", format!("\"{name}\" is no engine; there are {known}"))
        })
    };
    name.map(named).transpose()
}

fn failed_status(endpoint: &str, deployment: &Deployment, error: &Error) -> DeploymentStatus {
    DeploymentStatus {
        endpoint: endpoint.to_owned(),
        deployment: deployment.id.clone(),
        model: deployment.model.clone(),
        version: deployment.version,
        engine: String::new(),
        threads: 0,
        memory_bytes: 0,
        replay: String::new(),
        error: Some(error.to_string()),
    }
}

fn feature_set(bundle: &Bundle) -> Result<Option<FeatureSet>> {
    if bundle.manifest.origin.is_some() {
        return Ok(None);
    }
    let contract = &bundle.manifest.features;
    let named = contract.expressions.iter().map(|e| (e.name.clone(), e.expression.clone())).collect();
    let set = if contract.expressions.is_empty() { None } else { Some(FeatureSet::new(named)?) };
    let wide = bundle.manifest.signature.inputs.first().and_then(predictor::TensorSpec::row_elements);
    if wide != Some(contract.names.len()) {
        let message = format!(
            "the bundle names {} features where its model takes {wide:?} numbers a row",
            contract.names.len()
        );
        return Err(Error::new(Kind::FailedPrecondition, message));
    }
    Ok(set)
}
