//! Deployments that are loaded when they are asked: one load however many callers wait for it, and a failure that is
//! remembered for a while, so that a bad model is not loaded again for each of them.

use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};

use crate::deployed::{DeployedModel, Engine};
use crate::loads::{Load, Pace};
use crate::{Error, Kind, Platform, Result};

/// How long a caller who gave no deadline waits for a load.
const WAIT_MAX: Duration = Duration::from_secs(30);
/// How long it is not tried again after a failure.
const FAILURE_KEPT: Duration = Duration::from_secs(5);
/// The same where only room was missing, which others may leave at any time.
const FULL_KEPT: Duration = Duration::from_secs(1);
/// The most callers that wait for one load.
const WAITING_MAX: usize = 1024;

/// The place of a deployment that comes into memory and goes.
pub(crate) struct OnDemand {
    key: serving::Key,
    /// What is known of its engine before it is loaded.
    pinned: String,
    /// Its engine with its version, since it was loaded first.
    named: OnceLock<String>,
    /// Held by whoever loads it.
    loading: Arc<tokio::sync::Mutex<()>>,
    failure: RwLock<Option<Failure>>,
    callers: Mutex<Callers>,
}

/// Those who wait for it.
#[derive(Default)]
struct Callers {
    waiting: usize,
    /// What was loaded for them: it may have to go again before all of them have seen it.
    engine: Option<Arc<serving::Deployment>>,
}

/// Why the newest load failed, and until when that counts.
struct Failure {
    message: String,
    until: Instant,
}

/// A caller who waits, counted while it does.
struct Waiting<'a>(&'a OnDemand);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        let mut callers = self.0.callers();
        callers.waiting -= 1;
        if callers.waiting == 0 {
            callers.engine = None;
        }
    }
}

impl OnDemand {
    /// The place of the deployment of this key, whose engine is called `engine`.
    pub(crate) fn new(key: serving::Key, engine: &str) -> Self {
        Self {
            key,
            pinned: engine.to_owned(),
            named: OnceLock::new(),
            loading: Arc::default(),
            failure: RwLock::default(),
            callers: Mutex::default(),
        }
    }

    pub(crate) fn key(&self) -> &serving::Key {
        &self.key
    }

    pub(crate) fn engine_name(&self) -> &str {
        self.named.get().unwrap_or(&self.pinned)
    }

    pub(crate) fn name_engine(&self, name: &str) {
        // The first name stays: a process has one version of an engine.
        let _ = self.named.set(name.to_owned());
    }

    /// Why it is not tried to load it now.
    fn failed(&self) -> Option<Error> {
        let failure = self.failure.read().unwrap_or_else(PoisonError::into_inner);
        let failure = failure.as_ref().filter(|failure| Instant::now() < failure.until)?;
        Some(Error::new(Kind::Unavailable, failure.message.clone()))
    }

    fn note(&self, outcome: &Result<Arc<serving::Deployment>>) {
        let failure = outcome.as_ref().err().map(|error| {
            let kept = if error.kind() == Kind::ResourceExhausted { FULL_KEPT } else { FAILURE_KEPT };
            let message = format!("deployment {} cannot be loaded now: {error}; try again later", self.key);
            Failure { message, until: Instant::now() + kept }
        });
        *self.failure.write().unwrap_or_else(PoisonError::into_inner) = failure;
        let mut callers = self.callers();
        callers.engine = outcome.as_ref().ok().filter(|_| callers.waiting > 0).cloned();
    }

    fn wait(&self) -> Result<Waiting<'_>> {
        let mut callers = self.callers();
        if callers.waiting < WAITING_MAX {
            callers.waiting += 1;
            return Ok(Waiting(self));
        }
        let message = format!(
            "deployment {} is being loaded and {WAITING_MAX} requests wait for it, the most that may; try again later",
            self.key
        );
        Err(Error::new(Kind::Unavailable, message))
    }

    fn callers(&self) -> MutexGuard<'_, Callers> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Platform {
    /// What computes for a model; one that is not in memory is loaded first.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if it cannot be loaded now or too many wait for it, [`Kind::DeadlineExceeded`] if its caller
    /// does not wait so long.
    pub(crate) async fn engine(
        &self,
        model: &Arc<DeployedModel>,
        deadline: Option<Instant>,
    ) -> Result<Arc<serving::Deployment>> {
        match &model.engine {
            Engine::Pinned(engine) => Ok(Arc::clone(engine)),
            Engine::OnDemand(slot) => match self.serving.engines().get(&slot.key) {
                Some(engine) => Ok(engine),
                None => self.bring_in(model, slot, deadline).await,
            },
        }
    }

    async fn bring_in(
        &self,
        model: &Arc<DeployedModel>,
        slot: &OnDemand,
        deadline: Option<Instant>,
    ) -> Result<Arc<serving::Deployment>> {
        let _waiting = slot.wait()?;
        let longest = Instant::now() + WAIT_MAX;
        let until = deadline.map_or(longest, |deadline| deadline.min(longest));
        loop {
            if let Some(engine) = self.serving.engines().get(&slot.key) {
                return Ok(engine);
            }
            if let Some(failure) = slot.failed() {
                return Err(failure);
            }
            if let Ok(held) = Arc::clone(&slot.loading).try_lock_owned()
                && self.serving.engines().peek(&slot.key).is_none()
            {
                self.start_loading(Arc::clone(model), held)?;
            }
            // Whoever loads holds it until it is done.
            let done = tokio::time::timeout_at(until.into(), slot.loading.lock()).await;
            if done.is_err() {
                let kind = if deadline.is_some_and(|deadline| deadline <= longest) {
                    Kind::DeadlineExceeded
                } else {
                    Kind::Unavailable
                };
                let message = format!("deployment {} is still being loaded; try again later", slot.key);
                return Err(Error::new(kind, message));
            }
            if let Some(engine) = slot.callers().engine.clone() {
                return Ok(engine);
            }
        }
    }

    /// Loads on a task of its own: it goes on if those who wait leave, and the next ones find it loaded.
    fn start_loading(&self, model: Arc<DeployedModel>, held: tokio::sync::OwnedMutexGuard<()>) -> Result<()> {
        let platform = self.this.upgrade();
        let platform = platform.ok_or_else(|| Error::new(Kind::Unavailable, "the server is stopping"))?;
        tokio::spawn(async move {
            if let Engine::OnDemand(slot) = &model.engine {
                let outcome = platform.load_on_demand(&model, slot).await;
                if let Err(error) = &outcome {
                    let (endpoint, deployment) = (&model.endpoint, &model.deployment.id);
                    tracing::error!(endpoint, deployment, %error, "not loaded");
                }
                slot.note(&outcome);
            }
            drop(held);
        });
        Ok(())
    }

    async fn load_on_demand(
        &self,
        model: &DeployedModel,
        slot: &OnDemand,
    ) -> Result<Arc<serving::Deployment>> {
        let (version, deployment) = (&model.version, &model.deployment);
        // Nobody waits for the answers of a shadow.
        let shadow = self.is_shadow(&version.project, &model.endpoint, deployment).await?;
        let pace = if shadow { Pace::Beside } else { Pace::Awaited };
        let load = Load {
            expected_bytes: model.memory_bytes(),
            pace,
            ..Load::awaited(&model.endpoint, deployment, version)
        };
        let (engine, replay, claim) = self.load(load).await?.into_engine();
        let engine = self.serving.engines().insert(slot.key.clone(), engine, serving::Stay::WhileRoom)?;
        drop(claim);
        model.loaded(&engine, &replay);
        // It may have been undeployed or changed meanwhile. Whoever waits for it asked before that and is answered; then it ends.
        if !self.serving.is_routed(&model.version.project, model) {
            self.serving.engines().remove_this(&slot.key, &engine);
        }
        Ok(engine)
    }
}
