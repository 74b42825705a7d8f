//! The JSON resources of the network API, as far as the client reads them.

use std::collections::BTreeMap;

use jiff::civil::Date;
use platform::{DatasetUse, DeploymentLimits};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A model version.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ModelResource {
    /// `projects/P/locations/L/models/ID`, perhaps with `@VERSION`.
    pub(crate) name: String,
    /// Its version, a decimal string.
    pub(crate) version_id: String,
    /// Its aliases.
    #[serde(default)]
    pub(crate) version_aliases: Vec<String>,
    /// What people call the model.
    #[serde(default)]
    pub(crate) display_name: String,
    /// What the model is; free text.
    #[serde(default)]
    pub(crate) description: String,
    /// What the version is; free text.
    #[serde(default)]
    pub(crate) version_description: String,
    /// Where its bundle lies.
    #[serde(default)]
    pub(crate) artifact_uri: String,
    /// When the version was made, RFC 3339.
    #[serde(default)]
    pub(crate) version_create_time: String,
    /// Where it is deployed.
    #[serde(default)]
    pub(crate) deployed_models: Vec<Value>,
    /// What we add to Vertex AI's model: digest, signature, metrics.
    #[serde(default)]
    pub(crate) metadata: Value,
}

/// An endpoint.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct EndpointResource {
    /// `projects/P/locations/L/endpoints/ID`
    pub(crate) name: String,
    /// What people call it.
    #[serde(default)]
    pub(crate) display_name: String,
    /// What is deployed to it.
    #[serde(default)]
    pub(crate) deployed_models: Vec<DeployedModelResource>,
    /// Percent of the traffic by deployment.
    #[serde(default)]
    pub(crate) traffic_split: BTreeMap<String, u8>,
    /// When it was made, RFC 3339.
    #[serde(default)]
    pub(crate) create_time: String,
    /// The newest change of what it serves that came to nothing, unless one has succeeded since.
    #[serde(default)]
    pub(crate) failed_attempt: Option<FailedAttemptResource>,
}

/// A change of what an endpoint serves that came to nothing.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct FailedAttemptResource {
    /// The verb of its operation: `DeployModel`, ...
    pub(crate) kind: String,
    /// `projects/P/locations/L/endpoints/E/operations/ID`
    pub(crate) operation: String,
    /// When it failed, RFC 3339.
    pub(crate) time: String,
    /// The deployment that did not come into service.
    pub(crate) deployed_model_id: String,
    /// Its model's resource name.
    pub(crate) model: String,
    /// Its version.
    pub(crate) model_version_id: String,
    /// Why.
    pub(crate) error: StatusResource,
}

/// A deployment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct DeployedModelResource {
    /// Its id.
    pub(crate) id: String,
    /// The model's resource name.
    pub(crate) model: String,
    /// The version deployed.
    #[serde(default)]
    pub(crate) model_version_id: String,
    /// Cores and memory.
    #[serde(default)]
    pub(crate) resources: Option<ResourcesResource>,
    /// When it is in memory.
    #[serde(default)]
    pub(crate) load: String,
    /// The percent of the requests it gets copies of while it has no traffic.
    #[serde(default)]
    pub(crate) shadow_percent: Option<u8>,
    /// What it takes at once.
    #[serde(default)]
    pub(crate) limits: LimitsResource,
    /// How it is doing.
    #[serde(default)]
    pub(crate) status: StatusResource,
}

/// What a deployment takes at once.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct LimitsResource {
    max_batch_rows: Option<u32>,
    max_delay_us: Option<u32>,
    max_queued_requests: Option<u32>,
    max_rows_per_request: Option<u32>,
}

impl From<LimitsResource> for DeploymentLimits {
    fn from(limits: LimitsResource) -> Self {
        let LimitsResource { max_batch_rows, max_delay_us, max_queued_requests, max_rows_per_request } =
            limits;
        Self { max_batch_rows, max_delay_us, max_queued_requests, max_rows_per_request }
    }
}

/// How a deployment is doing, or why a change failed.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct StatusResource {
    /// `in service`, `unloaded`, `shadow of N %`, or why not.
    #[serde(default)]
    pub(crate) message: String,
}

/// What a shadow has shown.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all(deserialize = "camelCase"))]
pub(crate) struct ShadowResource {
    /// The shadow's id.
    #[serde(rename(serialize = "deployment"))]
    pub(crate) deployed_model_id: String,
    /// Its model and version; absent if it is deployed no more.
    pub(crate) model: Option<String>,
    /// The percent of the requests it gets copies of; absent if it is no shadow any more.
    pub(crate) percent: Option<u8>,
    /// Copies that both have answered.
    pub(crate) answered: u64,
    /// Copies it could not answer.
    pub(crate) failed: u64,
    /// Copies for which its queue had no room.
    pub(crate) dropped: u64,
    /// Questions and answers that are too large to be copied.
    pub(crate) too_large: u64,
    /// Rows that both have answered.
    pub(crate) rows: u64,
    /// Pairs of numbers of which one is missing.
    pub(crate) missing: u64,
    /// The largest absolute difference of two numbers.
    pub(crate) max_absolute_difference: f64,
    /// The mean of all.
    pub(crate) mean_absolute_difference: Option<f64>,
    /// The share of rows that both put into the same class.
    pub(crate) agreement: Option<f64>,
    /// Mean microseconds of the answers given.
    pub(crate) mean_micros: Option<f64>,
    /// Mean microseconds of the shadow's.
    pub(crate) shadow_mean_micros: Option<f64>,
    /// Why the newest copy that failed did.
    pub(crate) last_error: Option<String>,
}

/// The resources of a deployment.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResourcesResource {
    /// Engine threads.
    pub(crate) cpu_cores: f64,
    /// Memory budget in GB (10^9 bytes).
    pub(crate) memory_gb: f64,
    /// Cores of the server's machine.
    #[serde(default)]
    pub(crate) machine_cores: usize,
    /// Cores that all deployments there ask for.
    #[serde(default)]
    pub(crate) machine_cores_asked: f64,
    /// The engine in service with its version, or the one that was asked for.
    #[serde(default)]
    pub(crate) engine: Option<String>,
}

/// An answer.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct PredictionResource {
    /// The model's outputs, one row per instance.
    pub(crate) predictions: Vec<Vec<f32>>,
    /// The deployment that answered.
    pub(crate) deployed_model_id: String,
    /// The model's resource name.
    pub(crate) model: String,
    /// The version that answered.
    pub(crate) model_version_id: String,
    /// What else there is to know.
    #[serde(default)]
    pub(crate) metadata: PredictionMetadata,
}

/// What an answer rests on.
#[derive(Debug, Clone, Default, Deserialize)]
pub(crate) struct PredictionMetadata {
    /// What the reader should know before using it.
    #[serde(default)]
    pub(crate) warnings: Vec<String>,
    /// The date of the newest bar used.
    #[serde(default)]
    pub(crate) as_of: Option<Date>,
    /// The data used.
    #[serde(default)]
    pub(crate) dataset: Option<DatasetUse>,
}

/// The id at the end of a resource name, without a version.
pub(crate) fn last_segment(name: &str) -> &str {
    let id = name.rsplit('/').next().unwrap_or(name);
    id.split('@').next().unwrap_or(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_is_taken_from_a_name() {
        assert_eq!(last_segment("projects/p/locations/l/models/m@3"), "m");
        assert_eq!(last_segment("m"), "m");
    }
}
