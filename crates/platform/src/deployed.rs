//! A version on an endpoint: what answering needs of it, how it is loaded, and whether it is in memory.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use artifact::bundle::{Bundle, Manifest, ONNX_MODEL};
use artifact::engine::EngineKind;
use market::FeatureSet;
use predictor::{DataType, Signature};
use registry::{Deployment, ModelVersion, Residence};
use serving::{LoadSpec, Resources, Stay};

use crate::background::GivingWay;
use crate::loads::{Claim, Load, Pace, Turn};
use crate::on_demand::OnDemand;
use crate::samplers::Samplers;
use crate::{Error, Kind, Platform, Result, background, limits, pinned_engine};

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
    /// Engine name and version; empty if it has not been loaded.
    pub engine: String,
    /// Engine threads; 0 if it is not in memory.
    pub threads: usize,
    /// Measured memory; 0 if it is not in memory.
    pub memory_bytes: u64,
    /// What replaying the newest training rows through the predict path showed.
    pub replay: String,
    /// Why it did not come into service.
    pub error: Option<String>,
    /// Whether it is still to come into service: it is deployed, and brought back after a start.
    pub loading: bool,
    /// Whether it is being loaded now.
    pub begun: bool,
    /// When it is in memory.
    pub residence: Residence,
    /// Whether it is now. One that is loaded on demand answers all the same.
    pub loaded: bool,
    /// How often it has been loaded.
    pub loads: u64,
    /// The percent of the requests it gets copies of, if it is a shadow now.
    pub shadow_percent: Option<u8>,
}

impl DeploymentStatus {
    /// `in service`, `shadow`, `unloaded`, `loading`, or `failed: ...`.
    pub fn state(&self) -> String {
        match (&self.error, self.loaded, self.shadow_percent) {
            (Some(error), _, _) => format!("failed: {error}"),
            (None, _, _) if self.loading => "loading".to_owned(),
            (None, false, _) => "unloaded".to_owned(),
            (None, true, Some(percent)) => format!("shadow of {percent} %"),
            (None, true, None) => "in service".to_owned(),
        }
    }

    /// Why it does not answer; nothing if it does, be it that it is loaded first.
    pub(crate) fn why_absent(&self) -> Option<&str> {
        if self.loading { Some("it is being loaded; try again later") } else { self.error.as_deref() }
    }
}

/// A version in service, with what answering needs.
pub(crate) struct DeployedModel {
    pub(crate) endpoint: String,
    pub(crate) deployment: Deployment,
    pub(crate) version: ModelVersion,
    pub(crate) manifest: Manifest,
    /// How its features are computed; none if they were computed elsewhere.
    pub(crate) set: Option<FeatureSet>,
    /// Its inputs that take random numbers.
    pub(crate) samplers: Samplers,
    pub(crate) engine: Engine,
    loads: AtomicU64,
    known: RwLock<Known>,
}

/// What computes for it.
pub(crate) enum Engine {
    /// Always in memory.
    Pinned(Arc<serving::Deployment>),
    /// In memory if it was asked not long ago.
    OnDemand(Box<OnDemand>),
}

/// What the last load showed.
#[derive(Clone, Default)]
struct Known {
    replay: String,
    memory_bytes: u64,
}

/// A model that is loaded and proven, and not in service yet.
pub(crate) struct Loaded {
    pub(crate) engine: serving::Deployment,
    manifest: Manifest,
    set: Option<FeatureSet>,
    replay: String,
    /// Whether its threads give way to all others.
    pub(crate) gives_way: bool,
    /// Its memory, as long as it is not counted with what is in service.
    claim: Claim,
}

impl DeployedModel {
    /// `MODEL@VERSION`
    pub(crate) fn reference(&self) -> String {
        format!("{}@{}", self.version.model, self.version.version)
    }

    /// What is asked of callers, and what the model gives.
    pub(crate) fn asked_signature(&self) -> &Signature {
        self.samplers.asked().unwrap_or(&self.manifest.signature)
    }

    /// Whether it takes one number a feature.
    pub(crate) fn takes_rows(&self) -> bool {
        is_of_rows(self.asked_signature())
    }

    /// What computes for it, if it is in memory. This is no use of it.
    pub(crate) fn in_memory(&self, engines: &serving::Table) -> Option<Arc<serving::Deployment>> {
        match &self.engine {
            Engine::Pinned(engine) => Some(Arc::clone(engine)),
            Engine::OnDemand(slot) => engines.peek(slot.key()),
        }
    }

    /// The name of the engine it runs on, with its version once it has been loaded.
    pub(crate) fn engine_name(&self) -> &str {
        match &self.engine {
            Engine::Pinned(engine) => engine.engine(),
            Engine::OnDemand(slot) => slot.engine_name(),
        }
    }

    /// The most rows of one question.
    pub(crate) fn max_rows(&self) -> usize {
        match &self.engine {
            Engine::Pinned(engine) => engine.limits().max_rows_per_request,
            Engine::OnDemand(_) => limits::of_engine(self.deployment.limits).max_rows_per_request,
        }
    }

    /// Bytes it took when it was loaded last; before that, 0.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.known.read().unwrap_or_else(PoisonError::into_inner).memory_bytes
    }

    /// How it is doing; `shadow` says whether it is one now.
    pub(crate) fn status(&self, engines: &serving::Table, shadow: bool) -> DeploymentStatus {
        let in_memory = self.in_memory(engines);
        DeploymentStatus {
            engine: self.engine_name().to_owned(),
            threads: in_memory.as_ref().map_or(0, |engine| engine.threads()),
            memory_bytes: in_memory.as_ref().map_or(0, |engine| engine.memory_bytes()),
            replay: self.known.read().unwrap_or_else(PoisonError::into_inner).replay.clone(),
            loaded: in_memory.is_some(),
            loads: self.loads.load(Ordering::Relaxed),
            shadow_percent: self.deployment.shadow_percent.filter(|_| shadow),
            ..blank_status(&self.endpoint, &self.deployment)
        }
    }

    /// Remembers what a load showed.
    pub(crate) fn loaded(&self, engine: &serving::Deployment, replay: &str) {
        self.loads.fetch_add(1, Ordering::Relaxed);
        if let Engine::OnDemand(slot) = &self.engine {
            slot.name_engine(engine.engine());
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        *known = Known { replay: replay.to_owned(), memory_bytes: engine.memory_bytes() };
    }
}

/// How a deployment that did not come into service is doing.
pub(crate) fn failed_status(endpoint: &str, deployment: &Deployment, error: &Error) -> DeploymentStatus {
    DeploymentStatus { error: Some(error.to_string()), ..blank_status(endpoint, deployment) }
}

/// How a deployment that is still to come into service is doing.
pub(crate) fn loading_status(endpoint: &str, deployment: &Deployment) -> DeploymentStatus {
    DeploymentStatus { loading: true, ..blank_status(endpoint, deployment) }
}

fn blank_status(endpoint: &str, deployment: &Deployment) -> DeploymentStatus {
    DeploymentStatus {
        endpoint: endpoint.to_owned(),
        deployment: deployment.id.clone(),
        model: deployment.model.clone(),
        version: deployment.version,
        engine: String::new(),
        threads: 0,
        memory_bytes: 0,
        replay: String::new(),
        error: None,
        loading: false,
        begun: false,
        residence: deployment.residence,
        loaded: false,
        loads: 0,
        shadow_percent: None,
    }
}

impl Platform {
    /// Puts what was loaded into service, in the place of the engine of the deployment that has its id, if there is one.
    pub(crate) fn install(
        &self,
        endpoint: &str,
        deployment: Deployment,
        version: ModelVersion,
        loaded: Loaded,
    ) -> Result<DeployedModel> {
        let Loaded { engine, manifest, set, replay, claim, .. } = loaded;
        let key = key(&version.project, endpoint, &deployment.id);
        let (engine, _) = self.serving.engines().replace(key.clone(), engine, stay(deployment.residence))?;
        drop(claim);
        let slot = match deployment.residence {
            Residence::Pinned => Engine::Pinned(Arc::clone(&engine)),
            Residence::OnDemand => Engine::OnDemand(Box::new(OnDemand::new(key, engine.engine()))),
        };
        let deployed = deployed(endpoint, deployment, version, (manifest, set), slot);
        deployed.loaded(&engine, &replay);
        Ok(deployed)
    }

    /// What answering needs of a deployment that is loaded when it is first asked: its bundle is read and checked now.
    pub(crate) async fn unloaded_deployment(
        &self,
        project: &str,
        endpoint: &str,
        deployment: Deployment,
    ) -> Result<DeployedModel> {
        let version = self.version_of(project, &deployment).await?;
        let bundle = self.open_version(&version).await?;
        let set = feature_set(&bundle)?;
        let engine = deployment.engine.clone().unwrap_or_else(|| pinned_engine(&version.summary));
        let slot = Engine::OnDemand(Box::new(OnDemand::new(key(project, endpoint, &deployment.id), &engine)));
        Ok(deployed(endpoint, deployment, version, (bundle.manifest, set), slot))
    }

    pub(crate) async fn version_of(&self, project: &str, deployment: &Deployment) -> Result<ModelVersion> {
        let reference = format!("{}@{}", deployment.model, deployment.version);
        Ok(self.registry.get_version(project, &reference).await?)
    }

    /// Loads a version, proves it on its golden sample and replays its newest training rows. What it takes is claimed before, and again
    /// when it is known.
    pub(crate) async fn load_in_turn(&self, load: Load<'_>, turn: Turn) -> Result<Loaded> {
        let Load { endpoint, deployment, version, expected_bytes, .. } = load;
        let bundle = self.open_version(version).await?;
        let set = feature_set(&bundle)?;
        let weights_bytes = bundle.file(ONNX_MODEL).map_or(0, |model| model.len() as u64);
        let claim = self.serving.claims().open(&load.key(), load.purpose());
        claim.expect(self.serving.engines(), expected_bytes.max(weights_bytes)).await?;
        let replay = match &set {
            Some(set) => self.replay(&bundle.manifest, set).await?,
            None if bundle.manifest.origin.is_some() => "not replayed: the model was imported".to_owned(),
            None => "not replayed: the features were computed elsewhere".to_owned(),
        };
        let preparation = Preparation {
            name: format!("{endpoint}/{}", deployment.id),
            bundle: Arc::new(bundle),
            engine: engine_of(deployment.engine.as_deref())?,
            resources: Resources { cpu_cores: deployment.cpu_cores, memory_gb: deployment.memory_gb },
            limits: limits::of_engine(deployment.limits),
        };
        let bundle = Arc::clone(&preparation.bundle);
        let load = Load { expected_bytes: expected_bytes.max(weights_bytes), ..load };
        let Ready { prepared, claim, turn } = self.prepare(load, preparation, claim, turn).await?;
        let manifest =
            Arc::try_unwrap(bundle).map_or_else(|shared| shared.manifest.clone(), |own| own.manifest);
        // Its threads have the priority of the one that starts them.
        let start = move || prepared.start();
        let gives_way = self.is_shadow(&version.project, endpoint, deployment).await?;
        let engine = match gives_way {
            true => background::run("shadow", start).await??,
            false => background::run_apart("start", start).await??,
        };
        claim.measure(self.serving.engines(), engine.memory_bytes()).await?;
        drop(turn);
        Ok(Loaded { engine, manifest, set, replay, gives_way, claim })
    }

    /// Has a model made ready on a thread of the load's pace, and on a second one if the first one starves.
    async fn prepare(
        &self,
        load: Load<'_>,
        preparation: Preparation,
        claim: Claim,
        turn: Turn,
    ) -> Result<Ready> {
        let turn = Arc::new(turn);
        match load.pace {
            // What is in service must not feel it; without it, whoever waits would do so for nobody's good.
            Pace::Beside if self.serving.answers() => {}
            Pace::Beside | Pace::Awaited => {
                return Ok(background::run_apart("load", || preparation.run(claim, turn)).await??);
            }
            Pace::Pressed => {
                return Ok(background::run_pressed("load", || preparation.run(claim, turn)).await??);
            }
        }
        let (first, its_turn) = (preparation.clone(), Arc::clone(&turn));
        let mut giving_way = GivingWay::begin("load", move |runs| {
            serving::run_as_worker(|| {
                runs.here();
                first.run(claim, its_turn)
            })
        })?;
        // Of two that are measured by how the process grows each would be said to take what the other does.
        if turn.is_by_growth() {
            return Ok(giving_way.result().await??);
        }
        if let Some(ready) = giving_way.result_unless_starved().await {
            return Ok(ready??);
        }
        turn.give_back();
        match self.press(load, giving_way.runs()).await {
            Ok((claim, turn)) => {
                let turn = Arc::new(turn);
                Ok(background::run_pressed("load", || preparation.run(claim, turn)).await??)
            }
            // There is memory for one, which the first has.
            Err(refused) if refused.kind() == Kind::ResourceExhausted => Ok(giving_way.result().await??),
            Err(error) => Err(error),
        }
    }
}

/// What makes a model ready.
#[derive(Clone)]
struct Preparation {
    name: String,
    bundle: Arc<Bundle>,
    engine: Option<EngineKind>,
    resources: Resources,
    limits: serving::Limits,
}

/// A model that is made ready. Its claim and its turn go with the thread that makes it so, which goes on if whoever waits for it leaves.
struct Ready {
    prepared: serving::Prepared,
    claim: Claim,
    turn: Arc<Turn>,
}

impl Preparation {
    fn run(self, claim: Claim, turn: Arc<Turn>) -> serving::Result<Ready> {
        let Self { name, bundle, engine, resources, limits } = self;
        let spec = LoadSpec { name, bundle: &bundle, engine, resources, limits };
        Ok(Ready { prepared: serving::Deployment::prepare(spec)?, claim, turn })
    }
}

impl Loaded {
    /// The engine, what the replay showed, and what counts its memory until something else does.
    pub(crate) fn into_engine(self) -> (serving::Deployment, String, Claim) {
        (self.engine, self.replay, self.claim)
    }
}

/// Whether a model of this signature takes one number a feature.
pub(crate) fn is_of_rows(signature: &Signature) -> bool {
    let inputs = &signature.inputs;
    matches!(inputs.as_slice(), [only] if only.dtype == DataType::Float32 && only.shape.len() == 2 && only.row_elements().is_some())
}

fn deployed(
    endpoint: &str,
    deployment: Deployment,
    version: ModelVersion,
    (manifest, set): (Manifest, Option<FeatureSet>),
    engine: Engine,
) -> DeployedModel {
    DeployedModel {
        endpoint: endpoint.to_owned(),
        deployment,
        version,
        samplers: Samplers::of(&manifest),
        manifest,
        set,
        engine,
        loads: AtomicU64::new(0),
        known: RwLock::default(),
    }
}

fn stay(residence: Residence) -> Stay {
    match residence {
        Residence::Pinned => Stay::Always,
        Residence::OnDemand => Stay::WhileRoom,
    }
}

pub(crate) fn key(project: &str, endpoint: &str, deployment: &str) -> serving::Key {
    serving::Key {
        project: project.to_owned(),
        endpoint: endpoint.to_owned(),
        deployment: deployment.to_owned(),
    }
}

pub(crate) fn engine_of(name: Option<&str>) -> Result<Option<EngineKind>> {
    let named = |name: &str| {
        EngineKind::named(name).ok_or_else(|| {
            let known = EngineKind::ALL.map(EngineKind::name).join(", ");
            Error::invalid("engine", format!("\"{name}\" is no engine; there are {known}"))
        })
    };
    name.map(named).transpose()
}

pub(crate) fn feature_set(bundle: &Bundle) -> Result<Option<FeatureSet>> {
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
