//! Endpoints over the wire: create, get, list, `:deployModel`, `:undeployModel`.
//!
//! To Vertex AI's DeployedModel we add, in a request, `engine` (another one than the version's must reproduce the golden sample), `cpuCores` and `memoryGb` (GB of 10^9 bytes; they win over
//! `dedicatedResources.machineSpec.machineType`), and in a reply `resources`: `cpuCores`, `memoryGb`, and once
//! it is in service `engine`, `threads`, `memoryBytes` and `replay`. A deployment is one replica: its cores scale it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use platform::{CreateEndpoint, Deploy, Deployment, Endpoint, Error, Platform, ResourceRequest};
use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::Fields;
use super::model_reference;
use super::operation::{self, Finished, time};
use super::path::{Address, Parent};
use super::query::Query;
use crate::router::Gateway;

/// Fields of Vertex AI's Endpoint that only it writes, or that mean nothing on a server of one's own.
pub(crate) const ENDPOINT_MEANINGLESS: &[&str] = &[
    "name",
    "description",
    "etag",
    "createTime",
    "updateTime",
    "dedicatedEndpointEnabled",
    "dedicatedEndpointDns",
    "clientConnectionConfig",
    "modelDeploymentMonitoringJob",
    "satisfiesPzs",
    "satisfiesPzi",
];

/// The same of its DeployedModel.
const DEPLOYED_MODEL_MEANINGLESS: &[&str] = &[
    "modelVersionId",
    "createTime",
    "disableExplanations",
    "serviceAccount",
    "disableContainerLogging",
    "enableAccessLogging",
    "privateEndpoints",
    "status",
    "resources",
];

/// `POST endpoints[?endpointId=ID]`
pub(crate) async fn create(
    gateway: &Gateway,
    address: Address,
    query: &Query,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let id = query.get("endpointId", "endpoint_id").map(str::to_owned);
    let request = create_request(&address.parent, id, body)?;
    let (platform, parent) = (Arc::clone(&gateway.platform), address.parent);
    operation::reply(async move {
        let endpoint = platform.create_endpoint(request).await?;
        let finished = Finished {
            resource: format!("endpoints/{}", endpoint.id),
            kind: "CreateEndpoint",
            message: "Endpoint",
            response: written(&platform, &parent, &endpoint),
        };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

fn create_request(parent: &Parent, id: Option<String>, body: &[u8]) -> Result<CreateEndpoint, Error> {
    let mut fields = Fields::parse(body)?;
    let display_name = fields.text("displayName")?;
    let labels = fields.take("labels")?.unwrap_or_default();
    fields.refuse("deployedModels", "create the endpoint, then call :deployModel")?;
    fields.refuse("trafficSplit", "create the endpoint, then call :deployModel")?;
    fields.refuse("encryptionSpec", "the data directory is encrypted by whoever runs it")?;
    fields.refuse("network", "the server listens where it was started")?;
    fields.refuse("enablePrivateServiceConnect", "the server listens where it was started")?;
    fields.refuse("privateServiceConnectConfig", "the server listens where it was started")?;
    fields.refuse("predictRequestResponseLoggingConfig", "requests are not recorded")?;
    let Some(display_name) = display_name.or_else(|| id.clone()) else {
        return Err(fields.missing("displayName", "{\"displayName\": \"NAME\"}"));
    };
    fields.finish(ENDPOINT_MEANINGLESS)?;
    Ok(CreateEndpoint { project: parent.project.clone(), id, display_name, labels })
}

/// `GET endpoints/E`
pub(crate) async fn get(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let endpoint = gateway.platform.get_endpoint(&address.parent.project, &address.id).await?;
    Ok(Json(written(&gateway.platform, &address.parent, &endpoint)).into_response())
}

/// `GET endpoints`
pub(crate) async fn list(gateway: &Gateway, address: &Address, query: &Query) -> Result<Response, ApiError> {
    let listed = gateway.platform.list_endpoints(&address.parent.project, &query.page()?).await?;
    let endpoints: Vec<Value> =
        listed.items.iter().map(|endpoint| written(&gateway.platform, &address.parent, endpoint)).collect();
    let mut page = json!({"endpoints": endpoints});
    if let Some(next) = listed.next_token {
        page["nextPageToken"] = json!(next);
    }
    Ok(Json(page).into_response())
}

/// `POST endpoints/E:deployModel`
pub(crate) async fn deploy(gateway: &Gateway, address: Address, body: &Bytes) -> Result<Response, ApiError> {
    let request = deploy_request(&address, body)?;
    let (platform, parent) = (Arc::clone(&gateway.platform), address.parent);
    operation::reply(async move {
        let endpoint = request.endpoint.clone();
        let deployment = platform.deploy(request).await?;
        let finished = Finished {
            resource: format!("endpoints/{endpoint}"),
            kind: "DeployModel",
            message: "DeployModelResponse",
            response: json!({"deployedModel": deployed_model(&platform, &parent, &endpoint, &deployment)}),
        };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

fn deploy_request(address: &Address, body: &[u8]) -> Result<Deploy, Error> {
    let mut fields = Fields::parse(body)?;
    let Some(mut deployed) = fields.object("deployedModel")? else {
        return Err(fields.missing("deployedModel", r#"{"model": "projects/P/locations/L/models/M@1"}"#));
    };
    let Some(model) = deployed.text("model")? else {
        return Err(deployed.missing("model", "\"projects/P/locations/L/models/M@1\""));
    };
    let model = model_reference(&address.parent, "deployedModel.model", &model)?;
    let deployment_id = deployed.text("id")?;
    let display_name = deployed.text("displayName")?;
    let resources = resource_request(&mut deployed)?;
    let engine = deployed.text("engine")?;
    deployed.refuse("explanationSpec", "deploy the model without it")?;
    deployed.refuse("sharedResources", "give dedicatedResources, or cpuCores and memoryGb")?;
    deployed.finish(DEPLOYED_MODEL_MEANINGLESS)?;
    let traffic_split = traffic_split(&mut fields)?;
    fields.finish(&["endpoint"])?;
    Ok(Deploy {
        project: address.parent.project.clone(),
        endpoint: address.id.clone(),
        model,
        deployment_id,
        display_name,
        resources,
        engine,
        traffic_split,
    })
}

/// Cores and memory, given directly or by a machine type.
fn resource_request(deployed: &mut Fields) -> Result<ResourceRequest, Error> {
    let cpu_cores = deployed.take("cpuCores")?;
    let memory_gb = deployed.take("memoryGb")?;
    let dedicated = deployed.object("dedicatedResources")?;
    if let Some(automatic) = deployed.object("automaticResources")? {
        one_replica(automatic)?;
    }
    let mut machine_type = None;
    if let Some(mut dedicated) = dedicated {
        if let Some(mut machine) = dedicated.object("machineSpec")? {
            machine_type = machine.text("machineType")?;
            no_accelerator(machine)?;
        }
        dedicated.refuse("autoscalingMetricSpecs", "a deployment is one replica")?;
        one_replica(dedicated)?;
    }
    Ok(ResourceRequest { cpu_cores, memory_gb, machine_type })
}

fn one_replica(mut resources: Fields) -> Result<(), Error> {
    let least = resources.integer("minReplicaCount")?.unwrap_or(1);
    if !(0..=1).contains(&least) {
        let what = format!(
            "a deployment is one replica here, so {least} cannot be kept up; give 1, and cpuCores for more threads"
        );
        return Err(resources.invalid("minReplicaCount", &what));
    }
    // What a deployment may grow to is a permission, not a demand: one replica stays within it.
    if let Some(most) = resources.integer("maxReplicaCount")?
        && most < 0
    {
        return Err(resources.invalid("maxReplicaCount", &format!("must not be negative, got {most}")));
    }
    resources.finish(&["requiredReplicaCount", "spot"])
}

/// Enumerations arrive as numbers or names.
fn no_accelerator(mut machine: Fields) -> Result<(), Error> {
    let kind: Option<Value> = machine.take("acceleratorType")?;
    let none =
        kind.as_ref().is_none_or(|kind| kind == &json!(0) || kind == &json!("ACCELERATOR_TYPE_UNSPECIFIED"));
    if !none {
        return Err(machine.invalid("acceleratorType", "this version computes on CPUs; leave it out"));
    }
    machine.refuse("acceleratorCount", "this version computes on CPUs")?;
    machine.finish(&["tpuTopology", "reservationAffinity"])
}

/// Percent by deployment; an empty map means "leave it as it is".
fn traffic_split(fields: &mut Fields) -> Result<Option<BTreeMap<String, u8>>, Error> {
    let Some(asked) = fields.take::<BTreeMap<String, i64>>("trafficSplit")? else {
        return Ok(None);
    };
    let mut split = BTreeMap::new();
    for (id, percent) in asked {
        let Some(percent) = u8::try_from(percent).ok().filter(|percent| *percent <= 100) else {
            let what = format!("deployment \"{id}\" has {percent} percent; give 0 to 100");
            return Err(fields.invalid("trafficSplit", &what));
        };
        split.insert(id, percent);
    }
    Ok(Some(split).filter(|split| !split.is_empty()))
}

/// `POST endpoints/E:undeployModel`
pub(crate) async fn undeploy(
    gateway: &Gateway,
    address: Address,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let request = undeploy_request(body)?;
    let platform = Arc::clone(&gateway.platform);
    operation::reply(async move {
        let Undeploy { id, traffic_split } = request;
        platform.undeploy(&address.parent.project, &address.id, &id, traffic_split).await?;
        let finished = Finished {
            resource: format!("endpoints/{}", address.id),
            kind: "UndeployModel",
            message: "UndeployModelResponse",
            response: json!({}),
        };
        operation::finish(&platform, &address.parent, finished).await
    })
    .await
}

/// A deployment to take out of service.
struct Undeploy {
    id: String,
    traffic_split: Option<BTreeMap<String, u8>>,
}

fn undeploy_request(body: &[u8]) -> Result<Undeploy, Error> {
    let mut fields = Fields::parse(body)?;
    let Some(id) = fields.text("deployedModelId")? else {
        return Err(fields.missing("deployedModelId", "\"1\""));
    };
    let traffic_split = traffic_split(&mut fields)?;
    fields.finish(&["endpoint"])?;
    Ok(Undeploy { id, traffic_split })
}

pub(crate) fn written(platform: &Platform, parent: &Parent, endpoint: &Endpoint) -> Value {
    let deployed: Vec<Value> = endpoint
        .deployments
        .iter()
        .map(|deployment| deployed_model(platform, parent, &endpoint.id, deployment))
        .collect();
    json!({
        "name": parent.name(&format!("endpoints/{}", endpoint.id)),
        "displayName": endpoint.display_name,
        "deployedModels": deployed,
        "trafficSplit": endpoint.traffic_split,
        "labels": endpoint.labels,
        "etag": super::etag(endpoint.updated_at),
        "createTime": time(endpoint.created_at),
        "updateTime": time(endpoint.updated_at),
    })
}

fn deployed_model(platform: &Platform, parent: &Parent, endpoint: &str, deployment: &Deployment) -> Value {
    let mut resources = json!({"cpuCores": deployment.cpu_cores, "memoryGb": deployment.memory_gb});
    if let Some(asked) = &deployment.engine {
        resources["engine"] = json!(asked);
    }
    let mut machine = json!({});
    if let Some(machine_type) = &deployment.machine_type {
        machine["machineType"] = json!(machine_type);
    }
    let mut status = json!({"availableReplicaCount": 0});
    match platform.deployment_status(&parent.project, endpoint, &deployment.id) {
        Some(at_work) if at_work.error.is_none() => {
            resources["engine"] = json!(at_work.engine);
            resources["threads"] = json!(at_work.threads);
            resources["memoryBytes"] = json!(at_work.memory_bytes);
            resources["replay"] = json!(at_work.replay);
            status["availableReplicaCount"] = json!(1);
        }
        Some(failed) => status["message"] = json!(failed.error),
        None => status["message"] = json!("not in service"),
    }
    json!({
        "id": deployment.id,
        "model": parent.name(&format!("models/{}", deployment.model)),
        "modelVersionId": deployment.version.to_string(),
        "displayName": deployment.display_name,
        "createTime": time(deployment.created_at),
        "dedicatedResources": {"machineSpec": machine, "minReplicaCount": 1, "maxReplicaCount": 1},
        "resources": resources,
        "status": status,
    })
}

#[cfg(test)]
mod tests;
