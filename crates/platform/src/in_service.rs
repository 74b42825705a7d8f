//! What is in service: the route of each endpoint, the engines behind them, and who answers the next request.

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use registry::Endpoint;

use crate::deployed::{DeployedModel, DeploymentStatus, key, loading_status};
use crate::loads::{Claims, Turns};
use crate::served::Names;
use crate::shadow::{Shadow, Shadows};
use crate::traffic::{Dealer, Rebalances, Together};
use crate::{Platform, Result};

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

/// What an endpoint serves now. Replaced as a whole at every change, so a request sees one state.
pub(crate) struct Route {
    deployed: Vec<(u8, Arc<DeployedModel>)>,
    /// What is deployed and does not answer: not loaded yet, or failed to.
    absent: Vec<DeploymentStatus>,
    dealer: Dealer,
    shadows: Shadows,
}

/// Who answers a request, and who gets copies of it.
pub(crate) type Picked = (Arc<DeployedModel>, Shadows);

type RouteKey = (String, String);

/// All routes, the engines behind them, and whether the registry's deployments are still being brought back.
pub(crate) struct InService {
    /// By project and endpoint.
    routes: RwLock<HashMap<String, HashMap<String, Arc<Route>>>>,
    engines: serving::Table,
    names: Names,
    rebalances: Rebalances,
    deployment_ids: AtomicU64,
    restoring: AtomicBool,
    turns: Arc<Turns>,
    claims: Arc<Claims>,
}

impl Default for InService {
    fn default() -> Self {
        Self {
            routes: RwLock::default(),
            engines: serving::Table::new(serving::machine_bytes()),
            names: Names::default(),
            rebalances: Rebalances::default(),
            deployment_ids: AtomicU64::new(0),
            restoring: AtomicBool::default(),
            turns: Arc::default(),
            claims: Arc::default(),
        }
    }
}

impl InService {
    fn get(&self, project: &str, endpoint: &str) -> Option<Arc<Route>> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        routes.get(project)?.get(endpoint).cloned()
    }

    fn set(&self, project: &str, endpoint: &str, route: Route) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(project.to_owned()).or_default().insert(endpoint.to_owned(), Arc::new(route));
    }

    /// Forgets an endpoint that is no more.
    pub(crate) fn forget(&self, project: &str, endpoint: &str) {
        let mut routes = self.routes.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(of_project) = routes.get_mut(project) {
            of_project.remove(endpoint);
            if of_project.is_empty() {
                routes.remove(project);
            }
        }
    }

    fn all(&self) -> Vec<(RouteKey, Arc<Route>)> {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let mut all = Vec::new();
        for (project, of_project) in &*routes {
            let key = |endpoint: &String| (project.clone(), endpoint.clone());
            all.extend(of_project.iter().map(|(endpoint, route)| (key(endpoint), Arc::clone(route))));
        }
        all.sort_by(|a, b| a.0.cmp(&b.0));
        all
    }

    pub(crate) fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn rebalances(&self) -> &Rebalances {
        &self.rebalances
    }

    /// Whether an endpoint's traffic goes to several deployments.
    pub(crate) fn is_split(&self, project: &str, endpoint: &str) -> bool {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let route = routes.get(project).and_then(|of_project| of_project.get(endpoint));
        route.is_some_and(|route| route.deployed.iter().filter(|(percent, _)| *percent > 0).nth(1).is_some())
    }

    /// Everything in memory.
    pub(crate) fn engines(&self) -> &serving::Table {
        &self.engines
    }

    /// How the deployments of a project's endpoint are doing.
    fn statuses(&self, project: &str, route: &Route) -> Vec<DeploymentStatus> {
        let loading = |status: &DeploymentStatus| {
            self.turns.is_loading(&key(project, &status.endpoint, &status.deployment))
        };
        route.statuses(&self.engines, loading)
    }

    /// Whose turn it is to load a model.
    pub(crate) fn turns(&self) -> &Arc<Turns> {
        &self.turns
    }

    /// The memory of what is not in service yet.
    pub(crate) fn claims(&self) -> &Arc<Claims> {
        &self.claims
    }

    /// Whether anything is in memory that answers, and could feel a load.
    pub(crate) fn answers(&self) -> bool {
        !self.engines.list().is_empty()
    }

    /// The deployment of this id on an endpoint, loaded or loadable.
    pub(crate) fn deployed(&self, project: &str, endpoint: &str, id: &str) -> Option<Arc<DeployedModel>> {
        self.get(project, endpoint)?.deployed(id)
    }

    /// Whether requests still reach this very deployment.
    pub(crate) fn is_routed(&self, project: &str, model: &DeployedModel) -> bool {
        let found = self.deployed(project, &model.endpoint, &model.deployment.id);
        found.is_some_and(|found| std::ptr::eq(&*found, model))
    }

    /// The shadows of an endpoint that are at work.
    pub(crate) fn shadows(&self, project: &str, endpoint: &str) -> Vec<Arc<Shadow>> {
        let route = self.get(project, endpoint);
        route.and_then(|route| route.shadows.clone()).map(|shadows| shadows.to_vec()).unwrap_or_default()
    }

    /// All shadows that are at work, with their projects.
    pub(crate) fn all_shadows(&self) -> Vec<(String, Arc<Shadow>)> {
        let of_route = |((project, _), route): (RouteKey, Arc<Route>)| {
            let shadows = route.shadows.iter().flat_map(|shadows| shadows.iter());
            shadows.map(|shadow| (project.clone(), Arc::clone(shadow))).collect::<Vec<_>>()
        };
        self.all().into_iter().flat_map(of_route).collect()
    }

    /// What is deployed of a model on whichever endpoint, but for shadows: what answers, and what does not.
    pub(crate) fn of_model(&self, project: &str, model: &str) -> (Vec<Picked>, Vec<DeploymentStatus>) {
        let routes = self.routes.read().unwrap_or_else(PoisonError::into_inner);
        let of_project = routes.get(project).into_iter().flatten();
        let mut having: Vec<(&String, &Arc<Route>)> =
            of_project.filter(|(_, route)| route.models().any(|name| name == model)).collect();
        having.sort_by_key(|(endpoint, _)| *endpoint);
        let (mut answering, mut absent) = (Vec::new(), Vec::new());
        for (_, route) in having {
            let of_model = route.deployed.iter().filter(|(_, deployed)| deployed.version.model == model);
            for (_, deployed) in of_model.filter(|(_, deployed)| !route.is_shadow(deployed)) {
                answering.push((Arc::clone(deployed), route.shadows.clone()));
            }
            let of_model = route.absent.iter().filter(|status| status.model == model);
            absent.extend(of_model.filter(|status| status.shadow_percent.is_none()).cloned());
        }
        (answering, absent)
    }

    /// What is deployed on an endpoint and does not answer.
    pub(crate) fn absent(&self, project: &str, endpoint: &str) -> Vec<DeploymentStatus> {
        self.get(project, endpoint).map(|route| route.absent.clone()).unwrap_or_default()
    }

    /// The deployment of this id on an endpoint, if it may answer: no shadow does.
    pub(crate) fn answering(&self, project: &str, endpoint: &str, id: &str) -> Option<Picked> {
        let route = self.get(project, endpoint)?;
        let model = route.deployed(id).filter(|model| !route.is_shadow(model))?;
        Some((model, route.shadows.clone()))
    }

    /// The version that answers the next request.
    pub(crate) fn pick(&self, project: &str, endpoint: &str, together: Option<&Together>) -> Option<Picked> {
        self.pick_of(&*self.get(project, endpoint)?, (project, endpoint), together)
    }

    /// The same, or what is deployed and does not answer. Both of one state: what comes into service between two looks would
    /// be in neither.
    pub(crate) fn pick_or_absent(
        &self,
        project: &str,
        endpoint: &str,
        together: Option<&Together>,
    ) -> std::result::Result<Picked, Vec<DeploymentStatus>> {
        let Some(route) = self.get(project, endpoint) else { return Err(Vec::new()) };
        self.pick_of(&route, (project, endpoint), together).ok_or_else(|| route.absent.clone())
    }

    fn pick_of(
        &self,
        route: &Route,
        (project, endpoint): (&str, &str),
        together: Option<&Together>,
    ) -> Option<Picked> {
        let pick = |key| route.dealer.pick(route.deployed.iter().map(|(percent, _)| *percent), key);
        let picked = match together {
            None => pick(None),
            Some(Together::Key(key)) => pick(Some(key)),
            Some(Together::Rebalance(token)) => {
                let rebalance = (project.to_owned(), endpoint.to_owned(), token.clone());
                // A shadow answers nobody, not even those it has met before it was one.
                let id = |(_, model): &'_ (u8, Arc<DeployedModel>)| {
                    if route.is_shadow(model) { String::new() } else { model.deployment.id.clone() }
                };
                let ids: Vec<String> = route.deployed.iter().map(id).collect();
                let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
                self.rebalances.pick(rebalance, &ids, || pick(Some(token)))
            }
        };
        picked.map(|index| (Arc::clone(&route.deployed[index].1), route.shadows.clone()))
    }

    /// A number for a deployment's id that was not given out before: at least `least`.
    pub(crate) fn next_deployment_number(&self, least: u64) -> u64 {
        let next = |last: u64| Some(least.max(last + 1));
        let last = self.deployment_ids.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next);
        least.max(last.unwrap_or_default() + 1)
    }

    /// Says that the registry's deployments are being brought back, or have been.
    pub(crate) fn set_restoring(&self, restoring: bool) {
        self.restoring.store(restoring, Ordering::Release);
    }
}

impl Route {
    fn deployed(&self, deployment: &str) -> Option<Arc<DeployedModel>> {
        let found = self.deployed.iter().find(|(_, model)| model.deployment.id == deployment);
        found.map(|(_, model)| Arc::clone(model))
    }

    fn is_shadow(&self, model: &DeployedModel) -> bool {
        self.shadows.iter().flat_map(|shadows| shadows.iter()).any(|shadow| shadow.is_of(model))
    }

    /// `loading` says whether a deployment is being loaded now.
    fn statuses(
        &self,
        engines: &serving::Table,
        loading: impl Fn(&DeploymentStatus) -> bool,
    ) -> Vec<DeploymentStatus> {
        let in_service = self.deployed.iter().map(|(_, model)| model.status(engines, self.is_shadow(model)));
        let mut statuses: Vec<DeploymentStatus> = in_service.chain(self.absent.iter().cloned()).collect();
        for status in &mut statuses {
            status.begun = loading(status);
        }
        statuses
    }

    /// Whether all deployments of an endpoint are in it, answering or not.
    fn knows(&self, endpoint: &Endpoint) -> bool {
        let known = |id: &String| {
            self.deployed.iter().any(|(_, model)| model.deployment.id == *id)
                || self.absent.iter().any(|status| status.deployment == *id)
        };
        endpoint.deployments.iter().all(|deployment| known(&deployment.id))
    }

    /// The models of its deployments.
    fn models(&self) -> impl Iterator<Item = &str> {
        let deployed = self.deployed.iter().map(|(_, model)| model.version.model.as_str());
        deployed.chain(self.absent.iter().map(|status| status.model.as_str()))
    }
}

impl Platform {
    /// Whether everything deployed is in service.
    pub fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if self.serving.restoring.load(Ordering::Acquire) {
            reasons.push("deployments are being brought back".to_owned());
        }
        for (_, route) in self.serving.all() {
            for status in &route.absent {
                // Those that are still to be loaded are what is being brought back.
                let Some(why) = &status.error else { continue };
                reasons.push(format!(
                    "endpoint \"{}\" deployment {}: {why}",
                    status.endpoint, status.deployment
                ));
            }
        }
        Readiness { ready: reasons.is_empty(), reasons }
    }

    /// All deployments together may use at most so many GB (10^9 bytes) of memory, or what the machine has, if that is
    /// less. Those that are loaded on demand go, the least recently used first, when another needs the room.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] for what is no amount.
    pub fn limit_memory(&self, gb: f64) -> Result<()> {
        if !(gb.is_finite() && gb > 0.0) {
            let message = format!("max-loaded-gb must be above 0, got {gb}");
            return Err(crate::Error::invalid("max-loaded-gb", message));
        }
        self.serving.engines.limit((gb * 1e9) as u64);
        Ok(())
    }

    /// Cores that all deployments together ask for, those not in memory included.
    pub fn cores_asked(&self) -> f64 {
        let of_route = |(_, route): (RouteKey, Arc<Route>)| {
            route.deployed.iter().map(|(_, model)| model.deployment.cpu_cores).sum::<f64>()
        };
        // An empty sum is -0.0.
        self.serving.all().into_iter().map(of_route).fold(0.0, |all, cores| all + cores)
    }

    /// Counters of everything in memory, for monitoring.
    pub fn serving_counters(&self) -> Vec<DeploymentCounters> {
        let engines = &self.serving.engines;
        let of_route = |((project, _), route): (RouteKey, Arc<Route>)| {
            let counters = |(_, model): &(u8, Arc<DeployedModel>)| {
                let engine = model.in_memory(engines)?;
                let status = model.status(engines, route.is_shadow(model));
                Some(DeploymentCounters { project: project.clone(), status, counters: engine.counters() })
            };
            route.deployed.iter().filter_map(counters).collect::<Vec<_>>()
        };
        self.serving.all().into_iter().flat_map(of_route).collect()
    }

    /// How all deployments are doing, each with its project.
    pub fn deployment_statuses(&self) -> Vec<(String, DeploymentStatus)> {
        let of_route = |((project, _), route): (RouteKey, Arc<Route>)| {
            let statuses = self.serving.statuses(&project, &route).into_iter();
            statuses.map(|status| (project.clone(), status)).collect::<Vec<_>>()
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
        let mut statuses = self.serving.statuses(project, &route).into_iter();
        statuses.find(|status| status.deployment == deployment)
    }

    /// Endpoint and deployment ids that serve a version.
    pub fn deployments_of(&self, project: &str, model: &str, version: u32) -> Vec<(String, String)> {
        let of_version = |(p, status): &(String, DeploymentStatus)| {
            p == project && status.model == model && status.version == version
        };
        let found = self.deployment_statuses().into_iter().filter(of_version);
        found.map(|(_, status)| (status.endpoint, status.deployment)).collect()
    }

    /// Puts into an endpoint's route what the registry says is deployed there and nobody has loaded yet.
    pub(crate) async fn announce(&self, endpoint: &Endpoint) -> Result<()> {
        if self.serving.get(&endpoint.project, &endpoint.id).is_some_and(|route| route.knows(endpoint)) {
            return Ok(());
        }
        let (mut loaded, mut loading) = (Vec::new(), Vec::new());
        for deployment in &endpoint.deployments {
            match self.deployed_now(endpoint, &deployment.id) {
                Some(there) => loaded.push(there),
                None => loading.push(loading_status(&endpoint.id, deployment)),
            }
        }
        self.route(endpoint, loaded, loading).await
    }

    /// Puts an endpoint's route in place as it was brought back: what is loaded, and what is not.
    pub(crate) async fn route(
        &self,
        endpoint: &Endpoint,
        loaded: Vec<Arc<DeployedModel>>,
        mut absent: Vec<DeploymentStatus>,
    ) -> Result<()> {
        let before = self.serving.get(&endpoint.project, &endpoint.id);
        let percent = |id: &str| endpoint.traffic_split.get(id).copied().unwrap_or_default();
        let shadows_before = before.as_ref().and_then(|route| route.shadows.clone());
        let shadows = self.shadows_of(endpoint, &loaded, &shadows_before);
        for status in &mut absent {
            let deployment = endpoint.deployments.iter().find(|one| one.id == status.deployment);
            let shadow = deployment.filter(|deployment| endpoint.is_shadow(deployment));
            status.shadow_percent = shadow.and_then(|deployment| deployment.shadow_percent);
        }
        let deployed = loaded.into_iter().map(|model| (percent(&model.deployment.id), model)).collect();
        let route = Route { deployed, absent, dealer: Dealer::default(), shadows };
        // Those that are served here no more too.
        let models: BTreeSet<String> =
            route.models().chain(before.iter().flat_map(|route| route.models())).map(str::to_owned).collect();
        self.serving.set(&endpoint.project, &endpoint.id, route);
        for model in models {
            self.refresh_name(&endpoint.project, &model).await?;
        }
        Ok(())
    }

    /// Rebuilds an endpoint's route from what the registry now says, keeping what is loaded; `new` is added, in the place of
    /// the deployment that has its id, if there is one.
    pub(crate) async fn reroute(&self, endpoint: &Endpoint, new: Option<Arc<DeployedModel>>) -> Result<()> {
        let before = self.serving.get(&endpoint.project, &endpoint.id);
        let known = |id: &str| endpoint.deployments.iter().any(|deployment| deployment.id == id);
        let replaced = |id: &str| new.as_ref().is_some_and(|new| new.deployment.id == id);
        let loaded: Vec<Arc<DeployedModel>> = before
            .iter()
            .flat_map(|route| route.deployed.iter().map(|(_, model)| Arc::clone(model)))
            .collect();
        let stays = |id: &str| known(id) && !replaced(id);
        let mut staying: Vec<Arc<DeployedModel>> =
            loaded.iter().filter(|model| stays(&model.deployment.id)).cloned().collect();
        staying.extend(new.clone().filter(|new| known(&new.deployment.id)));
        let absent = before.iter().flat_map(|route| &route.absent).filter(|status| stays(&status.deployment));
        self.route(endpoint, staying, absent.cloned().collect()).await?;
        // Last, so that no request that comes now has one loaded again. What was given one before still asks it, and then it ends.
        for gone in loaded.iter().filter(|model| !known(&model.deployment.id)) {
            self.serving.engines.remove(&key(&endpoint.project, &endpoint.id, &gone.deployment.id));
        }
        Ok(())
    }

    /// What an endpoint serves now; those that are still to be brought back are not in it.
    pub(crate) fn deployed_now(&self, endpoint: &Endpoint, deployment: &str) -> Option<Arc<DeployedModel>> {
        self.serving.deployed(&endpoint.project, &endpoint.id, deployment)
    }
}
