//! Models and endpoints after they were made: `PATCH`, `DELETE`, `:deleteVersion`, `:mergeVersionAliases`.
//!
//! `updateMask` names the fields to change; without one those in the body are changed. An `etag` in the body that is not the one there is
//! now is refused: somebody else has changed the resource meanwhile. `DELETE endpoints/E?force=true`
//! takes what is deployed on it out of service first.

use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use platform::{AliasChange, EndpointUpdate, Error, Kind, ModelUpdate, VersionUpdate, verb};
use serde_json::json;

use super::error::ApiError;
use super::fields::{Fields, camel_case};
use super::operation::{self, EMPTY, Finished};
use super::path::Address;
use super::query::Query;
use super::{endpoint, model};
use crate::router::Gateway;

/// `PATCH models/M`, also `M@-`, changes what is said of the model; `PATCH models/M@v` what is said of the version.
pub(crate) async fn update_model(
    gateway: &Gateway,
    address: &Address,
    query: &Query,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let mask = Mask::of(query, &["displayName", "description", "versionDescription", "labels"])?;
    let mut fields = Fields::parse(body)?;
    let display_name = fields.take("displayName")?;
    let description: Option<String> = fields.take("description")?;
    let version_description: Option<String> = fields.take("versionDescription")?;
    let labels = mask.keep("labels", fields.take("labels")?);
    let etag = fields.text("etag")?;
    let (platform, project) = (&gateway.platform, &address.parent.project);
    let of_model = [("displayName", display_name.is_some()), ("description", description.is_some())];
    let of_version = [("versionDescription", version_description.is_some())];
    let mut meaningless = model::MEANINGLESS.to_vec();
    meaningless.extend(["artifactUri", "versionAliases", "explanationSpec", "encryptionSpec"]);
    fields.finish(&meaningless)?;
    let version = if let Some(model) = model::whole_model(&address.id) {
        mask.refuse(&of_version, "a version", &format!("models/{model}@VERSION"))?;
        let display_name = mask.keep("displayName", display_name);
        let description = mask.keep("description", description);
        let update = ModelUpdate { display_name, description, labels, etag };
        platform.update_model(project, model, update).await?
    } else {
        let model = address.id.split('@').next().unwrap_or_default();
        mask.refuse(&of_model, "the model", &format!("models/{model}"))?;
        let description = mask.keep("versionDescription", version_description);
        platform.update_version(project, &address.id, VersionUpdate { description, labels, etag }).await?
    };
    Ok(Json(model::written_as_asked(platform, address, &version)).into_response())
}

/// `POST models/M[@v]:mergeVersionAliases`, where `-alias` takes one away.
pub(crate) async fn merge_version_aliases(
    gateway: &Gateway,
    address: &Address,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let mut fields = Fields::parse(body)?;
    let aliases: Vec<String> = fields.take("versionAliases")?.unwrap_or_default();
    if aliases.is_empty() {
        return Err(fields.missing("versionAliases", "[\"default\", \"-old\"]").into());
    }
    fields.finish(&["name"])?;
    let mut change = AliasChange::default();
    for alias in aliases {
        match alias.strip_prefix('-') {
            Some(gone) => change.remove.push(gone.to_owned()),
            None => change.add.push(alias),
        }
    }
    let platform = &gateway.platform;
    let version = platform.change_aliases(&address.parent.project, &address.id, change).await?;
    Ok(Json(model::written_as_asked(platform, address, &version)).into_response())
}

/// `DELETE models/M`; with `force=true` jobs that need it are cancelled.
pub(crate) async fn delete_model(
    gateway: &Gateway,
    address: Address,
    query: &Query,
) -> Result<Response, ApiError> {
    let force = query.get("force", "force") == Some("true");
    if address.id.contains('@') {
        let message = "a version is deleted with :deleteVersion, a whole model without @version";
        return Err(Error::invalid("name", message).into());
    }
    let (platform, Address { parent, id, .. }) = (Arc::clone(&gateway.platform), address);
    operation::reply(async move {
        match force {
            true => drop(platform.force_delete_model(&parent.project, &id).await?),
            false => platform.delete_model(&parent.project, &id).await?,
        }
        operation::finish(&platform, &parent, deleted(format!("models/{id}"))).await
    })
    .await
}

/// `DELETE models/M@v:deleteVersion`; with `force=true` jobs that need it are cancelled.
pub(crate) async fn delete_model_version(
    gateway: &Gateway,
    address: Address,
    query: &Query,
) -> Result<Response, ApiError> {
    let force = query.get("force", "force") == Some("true");
    let Some((model, _)) = address.id.split_once('@') else {
        return Err(Error::invalid("name", "name the version: models/MODEL@VERSION:deleteVersion").into());
    };
    let resource = format!("models/{model}");
    let (platform, Address { parent, id, .. }) = (Arc::clone(&gateway.platform), address);
    operation::reply(async move {
        match force {
            true => drop(platform.force_delete_model_version(&parent.project, &id).await?),
            false => platform.delete_model_version(&parent.project, &id).await?,
        }
        operation::finish(&platform, &parent, deleted(resource)).await
    })
    .await
}

/// `PATCH endpoints/E`
pub(crate) async fn update_endpoint(
    gateway: &Gateway,
    address: &Address,
    query: &Query,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let mask = Mask::of(query, &["displayName", "description", "labels", "trafficSplit"])?;
    let update = endpoint_update(Fields::parse(body)?, &mask)?;
    let platform = &gateway.platform;
    let endpoint = platform.update_endpoint(&address.parent.project, &address.id, update).await?;
    Ok(Json(endpoint::written(platform, &address.parent, &endpoint)).into_response())
}

/// `POST endpoints/E:update`: the same as an operation.
pub(crate) async fn update_endpoint_later(
    gateway: &Gateway,
    address: Address,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let mut fields = Fields::parse(body)?;
    let Some(inner) = fields.object("endpoint")? else {
        return Err(fields.missing("endpoint", r#"{"displayName": "NAME"}"#).into());
    };
    fields.finish(&[])?;
    let update = endpoint_update(inner, &Mask(None))?;
    let (platform, Address { parent, id, .. }) = (Arc::clone(&gateway.platform), address);
    operation::reply(async move {
        let endpoint = platform.update_endpoint(&parent.project, &id, update).await?;
        let finished = Finished {
            resource: format!("endpoints/{id}"),
            kind: verb::UPDATE,
            message: "Endpoint",
            response: endpoint::written(&platform, &parent, &endpoint),
        };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

fn endpoint_update(mut fields: Fields, mask: &Mask) -> Result<EndpointUpdate, Error> {
    let update = EndpointUpdate {
        display_name: mask.keep("displayName", fields.take("displayName")?),
        description: mask.keep("description", fields.take("description")?),
        labels: mask.keep("labels", fields.take("labels")?),
        traffic_split: mask.keep("trafficSplit", fields.take("trafficSplit")?),
        etag: fields.text("etag")?,
    };
    let mut meaningless = endpoint::ENDPOINT_MEANINGLESS.to_vec();
    meaningless.extend(["deployedModels", "encryptionSpec", "network"]);
    fields.finish(&meaningless)?;
    Ok(update)
}

/// `DELETE endpoints/E[?force=true]`
pub(crate) async fn delete_endpoint(
    gateway: &Gateway,
    address: Address,
    query: &Query,
) -> Result<Response, ApiError> {
    let force = query.get("force", "force") == Some("true");
    let (platform, Address { parent, id, .. }) = (Arc::clone(&gateway.platform), address);
    operation::reply(async move {
        platform.delete_endpoint(&parent.project, &id, force).await?;
        operation::finish(&platform, &parent, deleted(format!("endpoints/{id}"))).await
    })
    .await
}

fn deleted(resource: String) -> Finished {
    Finished { resource, kind: "Delete", message: EMPTY, response: json!({}) }
}

/// Which fields are to be changed.
#[derive(Debug)]
struct Mask(Option<Vec<String>>);

impl Mask {
    fn of(query: &Query, known: &[&str]) -> Result<Self, Error> {
        let Some(text) = query.get("updateMask", "update_mask") else { return Ok(Self(None)) };
        let names: Vec<String> = text.split(',').map(|name| camel_case(name.trim())).collect();
        if let Some(unknown) = names.iter().find(|name| !known.contains(&name.as_str())) {
            let message =
                format!("updateMask names \"{unknown}\"; these can be changed: {}", known.join(", "));
            return Err(Error::invalid("updateMask", message));
        }
        Ok(Self(Some(names)))
    }

    fn keep<T>(&self, name: &str, value: Option<T>) -> Option<T> {
        value.filter(|_| self.names(name).unwrap_or(true))
    }

    /// Whether it names a field, if there is one.
    fn names(&self, name: &str) -> Option<bool> {
        self.0.as_ref().map(|names| names.iter().any(|named| named == name))
    }

    /// Refuses fields (and whether the body has them) that belong to something else than the request names: the model and its versions are
    /// changed in requests of their own.
    fn refuse(&self, fields: &[(&str, bool)], owner: &str, name: &str) -> Result<(), Error> {
        let wanted = |(field, given): &&(&str, bool)| self.names(field).unwrap_or(*given);
        let Some((field, _)) = fields.iter().find(wanted) else { return Ok(()) };
        let message = format!(
            "{field} is a field of {owner}; change it in a request of its own, to {name} with updateMask={field}"
        );
        Err(Error::new(Kind::FailedPrecondition, message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_keeps_what_it_names() {
        let mask = Mask(Some(vec!["labels".to_owned()]));
        assert_eq!((mask.keep("labels", Some(1)), mask.keep("displayName", Some(1))), (Some(1), None));
        assert_eq!(Mask(None).keep("displayName", Some(1)), Some(1));
    }
}
