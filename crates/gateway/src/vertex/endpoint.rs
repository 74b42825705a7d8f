//! Endpoints over the wire: create, get, list; what is deployed on them is in `deployment`.
//!
//! `dedicatedEndpointDns` of an endpoint that is reached over TLS is where it is reached: Google's SDK then asks it there, which
//! it must for `rawPredict`.
//!
//! To Vertex AI's Endpoint we add `failedAttempt`: the newest change of what it serves that came to nothing (a version that could not be
//! loaded), until one succeeds: `kind` (the verb of its operation), `operation`, `time`, `deployedModelId`, `model`, `modelVersionId` and `error`
//! (`google.rpc.Status`). It is in the endpoint, not in an operation that is asked for again.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use platform::{CreateEndpoint, Endpoint, Error, FailedAttempt, PAGE_SIZE_MAX, Page, Paged, Platform};
use serde_json::{Value, json};

use super::deployment;
use super::error::ApiError;
use super::fields::Fields;
use super::filter::{Field, Item};
use super::listing::{self, Listing};
use super::operation::{self, Finished, time};
use super::path::{Address, Parent};
use super::query::Query;
use super::read_mask;
use crate::origin;
use crate::router::Gateway;

/// What we add to Vertex AI's Endpoint in a reply.
pub(crate) const FAILED_ATTEMPT: &str = "failedAttempt";

/// Fields of an endpoint that only the server writes, or that mean nothing on a server of one's own.
pub(crate) const ENDPOINT_MEANINGLESS: &[&str] = &[
    "name",
    FAILED_ATTEMPT,
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

/// The others.
const ENDPOINT_MEANINGFUL: &[&str] = &[
    "displayName",
    "description",
    "deployedModels",
    "trafficSplit",
    "labels",
    "encryptionSpec",
    "network",
    "enablePrivateServiceConnect",
    "privateServiceConnectConfig",
    "predictRequestResponseLoggingConfig",
    "genAiAdvancedFeaturesConfig",
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
    let description = fields.text("description")?.unwrap_or_default();
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
    Ok(CreateEndpoint { project: parent.project.clone(), id, display_name, description, labels })
}

/// `GET endpoints/E`
pub(crate) async fn get(gateway: &Gateway, address: &Address, parts: &Parts) -> Result<Response, ApiError> {
    let endpoint = gateway.platform.get_endpoint(&address.parent.project, &address.id).await?;
    let mut written = written(&gateway.platform, &address.parent, &endpoint);
    dedicate(gateway, parts, &mut written);
    Ok(Json(written).into_response())
}

/// `GET endpoints`
pub(crate) async fn list(
    gateway: &Gateway,
    address: &Address,
    query: &Query,
    parts: &Parts,
) -> Result<Response, ApiError> {
    let (platform, project) = (&gateway.platform, &address.parent.project);
    let orderable = ["display_name", "create_time", "update_time"];
    let listing = Listing::parse::<Endpoint>((&address.parent, "endpoints"), query, &orderable)?;
    let listed = if listing.is_plain() {
        listing.continued(platform.list_endpoints(project, &listing.page()).await?)?
    } else {
        listing.cut(all(platform, project).await?, |endpoint| endpoint.id.clone())?
    };
    let written = |endpoint: &Endpoint| {
        let mut written = written(platform, &address.parent, endpoint);
        dedicate(gateway, parts, &mut written);
        written
    };
    let mut endpoints: Vec<Value> = listed.items.iter().map(written).collect();
    read_mask::apply(query, &[ENDPOINT_MEANINGLESS, ENDPOINT_MEANINGFUL], &mut endpoints)?;
    Ok(listing::page("endpoints", endpoints, listed.next_token))
}

async fn all(platform: &Platform, project: &str) -> Result<Vec<Endpoint>, Error> {
    let mut page = Page { size: PAGE_SIZE_MAX, token: None };
    let mut all = Vec::new();
    loop {
        let Paged { items, next_token } = platform.list_endpoints(project, &page).await?;
        all.extend(items);
        match next_token {
            Some(token) => page.token = Some(token),
            None => return Ok(all),
        }
    }
}

impl Item for Endpoint {
    const FIELDS: &'static [&'static str] =
        &["name", "endpoint", "display_name", "create_time", "update_time", "labels"];

    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "display_name" => Field::Text(self.display_name.as_str().into()),
            "create_time" => Field::Time(self.created_at),
            "update_time" => Field::Time(self.updated_at),
            _ => Field::Text(self.id.as_str().into()),
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).map(String::as_str)
    }
}

/// Says where the endpoint is reached over TLS, by the name the client has reached it with.
fn dedicate(gateway: &Gateway, parts: &Parts, endpoint: &mut Value) {
    if let Some(host) = origin::host(parts).filter(|_| gateway.options.tls) {
        endpoint["dedicatedEndpointEnabled"] = json!(true);
        endpoint["dedicatedEndpointDns"] = json!(host);
    }
}

pub(crate) fn written(platform: &Platform, parent: &Parent, endpoint: &Endpoint) -> Value {
    let deployed: Vec<Value> = endpoint
        .deployments
        .iter()
        .map(|deployment| deployment::written(platform, parent, endpoint, deployment))
        .collect();
    let mut written = json!({
        "name": parent.name_of("endpoints/", &endpoint.id),
        "displayName": endpoint.display_name,
        "description": endpoint.description,
        "deployedModels": deployed,
        "trafficSplit": endpoint.traffic_split,
        "labels": endpoint.labels,
        "etag": endpoint.etag(),
        "createTime": time(endpoint.created_at),
        "updateTime": time(endpoint.updated_at),
    });
    if let Some(attempt) = &endpoint.failed_attempt {
        written[FAILED_ATTEMPT] = written_attempt(parent, &endpoint.id, attempt);
    }
    written
}

fn written_attempt(parent: &Parent, endpoint: &str, attempt: &FailedAttempt) -> Value {
    json!({
        "kind": attempt.kind,
        "operation": operation::name(parent, &format!("endpoints/{endpoint}"), &attempt.operation),
        "time": time(attempt.failed_at),
        "deployedModelId": attempt.deployment,
        "model": parent.name_of("models/", &attempt.model),
        "modelVersionId": attempt.version.to_string(),
        "error": operation::written_failure(&attempt.failure),
    })
}

#[cfg(test)]
mod tests;
