//! Who answered a question, for those who count and log: nothing of the question itself.

use std::sync::Arc;
use std::time::Duration;

use crate::Platform;
use crate::deployed::DeployedModel;

/// The deployment that a question went to.
#[derive(Clone)]
pub struct Answerer(Arc<DeployedModel>);

impl std::fmt::Debug for Answerer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}@{}", self.model(), self.version())
    }
}

impl Answerer {
    pub(crate) fn new(model: Arc<DeployedModel>) -> Self {
        Self(model)
    }

    /// The model's project.
    pub fn project(&self) -> &str {
        &self.0.version.project
    }

    /// The model.
    pub fn model(&self) -> &str {
        &self.0.version.model
    }

    /// Its version.
    pub fn version(&self) -> u32 {
        self.0.version.version
    }

    /// Counts an answer that took `time` for somebody of a lane (see [`LANES`](crate::LANES)).
    pub fn took(&self, platform: &Platform, lane: usize, time: Duration) {
        if let Some(engine) = self.0.in_memory(platform.serving.engines()) {
            engine.took(lane, time);
        }
    }
}
