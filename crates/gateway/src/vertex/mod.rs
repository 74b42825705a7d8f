//! Vertex AI's REST v1: the calls an unmodified `google-cloud-aiplatform` makes to upload, deploy and predict; its data
//! sets and custom jobs.
//!
//! [`path`] turns a method and a URL into a call, one module per resource answers it, [`error`] is what every
//! failure looks like. Deliberately not here: what a call does, which is the facade's.

mod batch_prediction_job;
mod custom_job;
mod dataset;
mod deployment;
mod endpoint;
pub(crate) mod error;
pub(crate) mod fields;
mod filter;
pub(crate) mod instances;
mod lifecycle;
mod limits;
mod listing;
mod model;
mod operation;
mod page_token;
pub(crate) mod path;
mod predict;
pub(crate) mod predictions;
pub(crate) mod query;
mod raw_predict;
mod read_mask;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use platform::Error;

use crate::body;
use crate::observe::Route;
use crate::router::Gateway;
use error::ApiError;
use path::{Address, Call, Parent};
use query::Query;

/// Answers any request under `/v1/projects` and `/ui/projects`.
pub(crate) async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let address = match Address::parse(&parts.method, parts.uri.path()) {
        Ok(address) => address,
        Err(error) => return error.into_response(),
    };
    let route = Route(address.call.route());
    let mut response = match call(&gateway, address, &parts, body).await {
        Ok(response) => response,
        Err(error) => error.into_response(),
    };
    response.extensions_mut().insert(route);
    response
}

async fn call(gateway: &Gateway, address: Address, parts: &Parts, body: Body) -> Result<Response, ApiError> {
    let query = Query::parse(&parts.uri)?;
    let limit = body_bytes_max(address.call, gateway.options.max_body_bytes);
    let body = body::read_decoded(&parts.headers, body, limit).await.map_err(ApiError::no_body)?;
    if address.call == Call::Predict {
        return predict::predict(gateway, &address, parts, &body).await;
    }
    // All others together are a future of many kilobytes, which a question need not carry about.
    Box::pin(other_call(gateway, address, parts, query, body)).await
}

async fn other_call(
    gateway: &Gateway,
    address: Address,
    parts: &Parts,
    query: Query,
    body: Bytes,
) -> Result<Response, ApiError> {
    match address.call {
        Call::UploadModel => model::upload(gateway, address, &body).await,
        Call::GetModel => model::get(gateway, &address).await,
        Call::ListModels => model::list(gateway, &address, &query).await,
        Call::ListModelVersions => model::list_versions(gateway, &address, &query).await,
        Call::UpdateModel => lifecycle::update_model(gateway, &address, &query, &body).await,
        Call::DeleteModel => lifecycle::delete_model(gateway, address, &query).await,
        Call::DeleteModelVersion => lifecycle::delete_model_version(gateway, address, &query).await,
        Call::MergeVersionAliases => lifecycle::merge_version_aliases(gateway, &address, &body).await,
        Call::UpdateEndpoint => lifecycle::update_endpoint(gateway, &address, &query, &body).await,
        Call::DeleteEndpoint => lifecycle::delete_endpoint(gateway, address, &query).await,
        Call::CreateEndpoint => endpoint::create(gateway, address, &query, &body).await,
        Call::UpdateEndpointLongRunning => lifecycle::update_endpoint_later(gateway, address, &body).await,
        Call::GetEndpoint => endpoint::get(gateway, &address, parts).await,
        Call::ListEndpoints => endpoint::list(gateway, &address, &query, parts).await,
        Call::DeployModel => deployment::deploy(gateway, address, &body).await,
        Call::MutateDeployedModel => deployment::mutate(gateway, address, &body).await,
        Call::UndeployModel => deployment::undeploy(gateway, address, &body).await,
        Call::ListShadows => deployment::shadows(gateway, &address).await,
        Call::RawPredict => raw_predict::raw_predict(gateway, &address, parts, &body).await,
        Call::Predict => predict::predict(gateway, &address, parts, &body).await,
        Call::CreateDataset => dataset::create(gateway, address, &query, &parts.headers, body).await,
        Call::GetDataset => dataset::get(gateway, &address).await,
        Call::ListDatasets => dataset::list(gateway, &address, &query).await,
        Call::ImportData => dataset::import(gateway, address, &query, &parts.headers, body).await,
        Call::CreateCustomJob => custom_job::create(gateway, address, &body).await,
        Call::GetCustomJob => custom_job::get(gateway, &address).await,
        Call::ListCustomJobs => custom_job::list(gateway, &address, &query).await,
        Call::CancelCustomJob => custom_job::cancel(gateway, &address).await,
        Call::ResumeCustomJob => custom_job::resume(gateway, &address).await,
        Call::DeleteCustomJob => custom_job::delete(gateway, address).await,
        Call::ReadCustomJobLog => custom_job::logs(gateway, &address, &query).await,
        Call::CreateBatchPredictionJob => batch_prediction_job::create(gateway, address, &body).await,
        Call::GetBatchPredictionJob => batch_prediction_job::get(gateway, &address).await,
        Call::ListBatchPredictionJobs => batch_prediction_job::list(gateway, &address, &query).await,
        Call::CancelBatchPredictionJob => batch_prediction_job::cancel(gateway, &address).await,
        Call::DeleteBatchPredictionJob => batch_prediction_job::delete(gateway, address).await,
        Call::GetOperation => operation::get(gateway, &address).await,
        Call::ListOperations => operation::list(gateway, &address, &query).await,
        Call::CancelOperation => operation::cancel(gateway, &address).await,
        Call::DeleteOperation => operation::delete(gateway, &address).await,
    }
}

/// How long the body of a call may be: questions and data are long, what changes anything else is not.
fn body_bytes_max(call: Call, of_questions: usize) -> usize {
    match call {
        Call::Predict | Call::RawPredict | Call::CreateDataset | Call::ImportData => of_questions,
        _ => of_questions.min(fields::BODY_BYTES_MAX),
    }
}

/// Reads a body within the limit; one that is announced too long is not read at all.
pub(crate) async fn read(headers: &HeaderMap, body: Body, limit: usize) -> Result<Bytes, ApiError> {
    body::read(headers, body, limit).await.map_err(ApiError::no_body)
}

/// The id at the end of a resource name of this project, or a bare id; a version is cut off.
fn resource_id(parent: &Parent, collection: &str, field: &str, name: &str) -> Result<String, Error> {
    let reference = reference(parent, collection, field, name)?;
    Ok(reference.split('@').next().unwrap_or_default().to_owned())
}

/// The same of a model, with its version or alias.
fn model_reference(parent: &Parent, field: &str, name: &str) -> Result<String, Error> {
    reference(parent, "models", field, name).map(str::to_owned)
}

/// Any location will do: it is echoed, never a partition.
fn reference<'a>(parent: &Parent, collection: &str, field: &str, name: &'a str) -> Result<&'a str, Error> {
    let segments: Vec<&str> = name.split('/').collect();
    match segments.as_slice() {
        [id] if !id.is_empty() => Ok(id),
        ["projects", project, "locations", _, kind, id] if *kind == collection && !id.is_empty() => {
            if *project == parent.project {
                return Ok(id);
            }
            let message = format!(
                "{field}: \"{name}\" is of project \"{project}\", the request of \"{}\"",
                parent.project
            );
            Err(Error::invalid(field, message))
        }
        _ => {
            let message = format!("{field}: \"{name}\" is not projects/P/locations/L/{collection}/ID");
            Err(Error::invalid(field, message))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_something_is_short() {
        for (call, bytes) in [
            (Call::Predict, 32 << 20),
            (Call::RawPredict, 32 << 20),
            (Call::ImportData, 32 << 20),
            (Call::UploadModel, 4 << 20),
            (Call::CreateCustomJob, 4 << 20),
            (Call::CreateBatchPredictionJob, 4 << 20),
        ] {
            assert_eq!(body_bytes_max(call, 32 << 20), bytes, "{call:?}");
            assert_eq!(body_bytes_max(call, 1000), 1000, "{call:?}");
        }
    }

    #[tokio::test]
    async fn a_body_over_the_limit_is_told_from_a_broken_one() {
        let none = HeaderMap::new();
        assert_eq!(read(&none, Body::from("12345"), 5).await.unwrap(), "12345");
        let refused = read(&none, Body::from("123456"), 5).await.unwrap_err();
        assert_eq!(refused.into_response().status(), 413);
    }
}
