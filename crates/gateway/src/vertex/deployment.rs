//! What is deployed on an endpoint, over the wire: `:deployModel`, `:mutateDeployedModel`, `:undeployModel`, and, our own,
//! `shadows`.
//!
//! To Vertex AI's DeployedModel we add, in a request, `engine` (another one than the version's must reproduce the golden
//! sample), `limits` ([`limits`]), `cpuCores` and `memoryGb` (GB of 10^9 bytes; they win over `dedicatedResources.machineSpec.machineType`), `load`
//! (`pinned` or `on-demand`) and `shadowPercent` (it gets copies of so many of a hundred requests, and its answers are kept,
//! never returned), and in a reply these and `resources`: `cpuCores`, `memoryGb`, `machineCores` and `machineCoresAsked` (what
//! this machine has, and what all deployments ask for), and once it is in service `engine`, `threads`, `memoryBytes`, `loads` and
//! `replay`. They are in the reply to the change and in the endpoint, not in an operation that is asked for again. A deployment is
//! one replica: its cores scale it.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use platform::{
    Deploy, Deployment, Endpoint, Error, Platform, Redeploy, Residence, ResourceRequest, ShadowReport,
    Standing, core_count, verb,
};
use serde_json::{Value, json};

use super::endpoint::FAILED_ATTEMPT;
use super::error::ApiError;
use super::fields::{Fields, camel_case};
use super::operation::{self, Finished, time};
use super::path::{Address, Parent};
use super::{limits, model_reference};
use crate::router::Gateway;

/// Fields of Vertex AI's DeployedModel that only it writes, or that mean nothing on a server of one's own.
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

/// What we add to Vertex AI's DeployedModel in a reply.
const OURS: [&str; 4] = ["resources", "load", "shadowPercent", "limits"];

/// `POST endpoints/E:deployModel`
pub(crate) async fn deploy(gateway: &Gateway, address: Address, body: &Bytes) -> Result<Response, ApiError> {
    let request = deploy_request(&address, body)?;
    let (platform, parent) = (Arc::clone(&gateway.platform), address.parent);
    operation::reply(async move {
        let endpoint = request.endpoint.clone();
        let deployment = platform.deploy(request).await?;
        let finished = Finished {
            resource: format!("endpoints/{endpoint}"),
            kind: verb::DEPLOY,
            message: "DeployModelResponse",
            response: json!({"deployedModel": written_on(&platform, &parent, &endpoint, &deployment).await?}),
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
    let shadow_percent = shadow_percent(&mut deployed)?.filter(|percent| *percent > 0);
    let standing = Standing { shadow_percent, residence: residence(&mut deployed)?.unwrap_or_default() };
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
        standing,
    })
}

/// `POST endpoints/E:mutateDeployedModel`
pub(crate) async fn mutate(gateway: &Gateway, address: Address, body: &Bytes) -> Result<Response, ApiError> {
    let Mutate { id, change } = mutate_request(body)?;
    let (platform, Address { parent, id: endpoint, .. }) = (Arc::clone(&gateway.platform), address);
    operation::reply(async move {
        let deployment = platform.redeploy(&parent.project, &endpoint, &id, change).await?;
        let finished = Finished {
            resource: format!("endpoints/{endpoint}"),
            kind: verb::REDEPLOY,
            message: "MutateDeployedModelResponse",
            response: json!({"deployedModel": written_on(&platform, &parent, &endpoint, &deployment).await?}),
        };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

/// A deployment to change.
struct Mutate {
    id: String,
    change: Redeploy,
}

/// What of a deployed model can be changed, by the beginnings of a mask's paths. What Vertex AI lets be changed and means
/// nothing to a single replica is accepted.
const MUTABLE: &[&str] = &[
    "dedicatedResources",
    "automaticResources",
    "disableContainerLogging",
    "cpuCores",
    "memoryGb",
    "load",
    "shadowPercent",
    "limits",
];

fn mutate_request(body: &[u8]) -> Result<Mutate, Error> {
    let mut fields = Fields::parse(body)?;
    let Some(mut deployed) = fields.object("deployedModel")? else {
        return Err(fields.missing("deployedModel", r#"{"id": "1", "cpuCores": 2}"#));
    };
    let Some(id) = deployed.text("id")? else { return Err(deployed.missing("id", "\"1\"")) };
    let mask: Option<Vec<String>> =
        fields.text("updateMask")?.map(|mask| mask.split(',').map(|path| mask_path(path.trim())).collect());
    fields.finish(&["endpoint"])?;
    for path in mask.iter().flatten() {
        let first = path.split('.').next().unwrap_or_default();
        if !MUTABLE.contains(&first) {
            let what = format!("names \"{path}\"; these can be changed: {}", MUTABLE.join(", "));
            return Err(Error::invalid("updateMask", format!("updateMask {what}")));
        }
    }
    let named = |wanted: &str| {
        let covers = |path: &String| {
            path == wanted || wanted.strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        mask.as_ref().is_none_or(|mask| mask.iter().any(covers))
    };
    let resources = resource_request(&mut deployed)?;
    let change = Redeploy {
        resources: ResourceRequest {
            cpu_cores: resources.cpu_cores.filter(|_| named("cpuCores")),
            memory_gb: resources.memory_gb.filter(|_| named("memoryGb")),
            machine_type: resources
                .machine_type
                .filter(|_| named("dedicatedResources.machineSpec.machineType")),
            limits: limits::masked(resources.limits, named),
        },
        shadow_percent: shadow_percent(&mut deployed)?.filter(|_| named("shadowPercent")),
        residence: residence(&mut deployed)?.filter(|_| named("load")),
    };
    // The SDK sends the whole object back.
    let mut meaningless = DEPLOYED_MODEL_MEANINGLESS.to_vec();
    meaningless.extend(["model", "displayName", "engine", "explanationSpec", "checkpointId", "systemLabels"]);
    deployed.finish(&meaningless)?;
    Ok(Mutate { id, change })
}

/// A path of a mask in `camelCase`.
fn mask_path(path: &str) -> String {
    path.split('.').map(camel_case).collect::<Vec<_>>().join(".")
}

fn shadow_percent(deployed: &mut Fields) -> Result<Option<u8>, Error> {
    let Some(percent) = deployed.integer("shadowPercent")? else { return Ok(None) };
    let whole = u8::try_from(percent).ok().filter(|percent| *percent <= 100);
    let what = || format!("must be 0 to 100 percent of the requests, got {percent}");
    whole.map(Some).ok_or_else(|| deployed.invalid("shadowPercent", &what()))
}

fn residence(deployed: &mut Fields) -> Result<Option<Residence>, Error> {
    let Some(word) = deployed.text("load")? else { return Ok(None) };
    let named = Residence::named(&word);
    named.map(Some).ok_or_else(|| {
        deployed.invalid("load", &format!("is {word:?}; it must be \"pinned\" or \"on-demand\""))
    })
}

/// Cores and memory, given directly or by a machine type, and limits.
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
    Ok(ResourceRequest { cpu_cores, memory_gb, machine_type, limits: limits::asked(deployed)? })
}

fn one_replica(mut resources: Fields) -> Result<(), Error> {
    let least = resources.integer("minReplicaCount")?.unwrap_or(1);
    if least < 1 {
        let what = format!(
            "must be at least 1, got {least}; give load \"on-demand\" for a deployment that leaves memory when nobody asks it"
        );
        return Err(resources.invalid("minReplicaCount", &what));
    }
    if least > 1 {
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
            kind: verb::UNDEPLOY,
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

/// A deployment as it is replied with.
async fn written_on(
    platform: &Platform,
    parent: &Parent,
    endpoint: &str,
    deployment: &Deployment,
) -> Result<Value, Error> {
    let endpoint = platform.get_endpoint(&parent.project, endpoint).await?;
    Ok(written(platform, parent, &endpoint, deployment))
}

/// A deployment of an endpoint.
pub(crate) fn written(
    platform: &Platform,
    parent: &Parent,
    endpoint: &Endpoint,
    deployment: &Deployment,
) -> Value {
    let mut resources = json!({
        "cpuCores": deployment.cpu_cores,
        "memoryGb": deployment.memory_gb,
        "machineCores": core_count(),
        "machineCoresAsked": platform.cores_asked(),
    });
    let mut machine = json!({});
    if let Some(machine_type) = &deployment.machine_type {
        machine["machineType"] = json!(machine_type);
    }
    let mut status = json!({"availableReplicaCount": 0});
    match platform.deployment_status(&parent.project, &endpoint.id, &deployment.id) {
        Some(at_work) if at_work.error.is_none() && !at_work.loading => {
            resources["engine"] = json!(at_work.engine);
            resources["threads"] = json!(at_work.threads);
            resources["memoryBytes"] = json!(at_work.memory_bytes);
            resources["replay"] = json!(at_work.replay);
            resources["loads"] = json!(at_work.loads);
            status["availableReplicaCount"] = json!(u8::from(at_work.loaded));
            status["message"] = json!(at_work.state());
        }
        Some(absent) => status["message"] = json!(absent.error.clone().unwrap_or_else(|| absent.state())),
        None => status["message"] = json!("not in service"),
    }
    let mut written = json!({
        "id": deployment.id,
        "model": parent.name_of("models/", &deployment.model),
        "modelVersionId": deployment.version.to_string(),
        "displayName": deployment.display_name,
        "createTime": time(deployment.created_at),
        "dedicatedResources": {"machineSpec": machine, "minReplicaCount": 1, "maxReplicaCount": 1},
        "resources": resources,
        "load": deployment.residence.word(),
        "limits": limits::written(deployment.limits),
        "status": status,
    });
    if let Some(percent) = deployment.shadow_percent {
        written["shadowPercent"] = json!(percent);
    }
    written
}

/// Takes our fields out of the message of an operation, which may hold a deployment or an endpoint with several.
pub(crate) fn leave_vertex_fields(message: &mut Value) {
    let ours_out = |deployed: &mut Value| {
        if let Some(fields) = deployed.as_object_mut() {
            fields.retain(|name, _| !OURS.contains(&name.as_str()));
        }
    };
    if let Some(fields) = message.as_object_mut() {
        fields.remove(FAILED_ATTEMPT);
    }
    if let Some(deployed) = message.get_mut("deployedModel") {
        ours_out(deployed);
    }
    if let Some(several) = message.get_mut("deployedModels").and_then(Value::as_array_mut) {
        several.iter_mut().for_each(ours_out);
    }
}

/// `GET endpoints/E/shadows`
pub(crate) async fn shadows(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let reports = gateway.platform.shadow_reports(&address.parent.project, &address.id).await?;
    let shadows: Vec<Value> = reports.iter().map(written_shadow).collect();
    Ok(Json(json!({"shadows": shadows})).into_response())
}

fn written_shadow(report: &ShadowReport) -> Value {
    let totals = &report.totals;
    let (micros, shadow_micros) = totals.mean_micros().unzip();
    json!({
        "deployedModelId": report.deployment,
        "model": report.model,
        "percent": report.percent,
        "answered": totals.answered,
        "failed": totals.failed,
        "dropped": totals.dropped,
        "tooLarge": totals.too_large,
        "rows": totals.rows,
        "missing": totals.missing,
        "maxAbsoluteDifference": totals.max_absolute_difference,
        "meanAbsoluteDifference": totals.mean_absolute_difference(),
        "agreement": totals.agreement(),
        "meanMicros": micros,
        "shadowMeanMicros": shadow_micros,
        "lastError": totals.last_error,
    })
}

#[cfg(test)]
mod tests;
