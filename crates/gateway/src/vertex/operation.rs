//! Operations: the record of a change that is finished by the time its reply is sent, so `done` is always true.
//!
//! A change of what an endpoint serves that was begun and came to nothing (a version that cannot be loaded) is one with an `error`, which
//! the platform has recorded; its caller was told by an error of HTTP, which is what Google's SDK raises. What is refused at once is none.
//!
//! The reply to the change has our fields beside Vertex AI's, which its SDK passes over there. An operation that is asked for
//! again has Vertex AI's alone: what the SDK reads operations with refuses any other.

use axum::Json;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use platform::{Error, Failure, Kind, NewOperation, Operation, OperationOutcome, Paged, Platform};
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::deployment;
use super::error::ApiError;
use super::filter::{Field, Item};
use super::listing::{self, Listing};
use super::path::{Address, Parent};
use super::query::Query;
use crate::router::Gateway;
use crate::status;

/// What Vertex AI's message types are prefixed with in `@type`.
const TYPES: &str = "type.googleapis.com/google.cloud.aiplatform.v1.";
/// The message of a response that says nothing.
pub(crate) const EMPTY: &str = "google.protobuf.Empty";

/// A change that has been made.
#[derive(Debug)]
pub(crate) struct Finished {
    /// What it was made to: `models/x`, `endpoints/y`.
    pub(crate) resource: String,
    /// What it was: `UploadModel`.
    pub(crate) kind: &'static str,
    /// Name of the message the response is: `UploadModelResponse`, or [`EMPTY`].
    pub(crate) message: &'static str,
    /// The message.
    pub(crate) response: Value,
}

/// Makes a change, which goes on to its end even if its caller leaves or times out, so that none is ever half
/// made, and replies with its operation.
pub(crate) async fn reply(
    change: impl Future<Output = Result<Value, ApiError>> + Send + 'static,
) -> Result<Response, ApiError> {
    match tokio::spawn(change.in_current_span()).await {
        Ok(operation) => Ok(Json(operation?).into_response()),
        Err(error) => Err(Error::internal("a change stopped unexpectedly", error).into()),
    }
}

/// Records a finished change and gives its operation as JSON.
pub(crate) async fn finish(
    platform: &Platform,
    parent: &Parent,
    finished: Finished,
) -> Result<Value, ApiError> {
    let Finished { resource, kind, message, mut response } = finished;
    response["@type"] = match message {
        EMPTY => json!(format!("type.googleapis.com/{EMPTY}")),
        _ => json!(format!("{TYPES}{message}")),
    };
    let outcome = OperationOutcome::Response(response);
    let new =
        NewOperation { project: parent.project.clone(), parent: resource, kind: kind.to_owned(), outcome };
    Ok(written(parent, &platform.record_operation(new).await?))
}

/// `GET operations/O`, `POST operations/O:wait`
pub(crate) async fn get(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let operation = found(gateway, address).await?;
    Ok(Json(polled(&address.parent, &operation)).into_response())
}

/// `GET operations`, the newest first; of a resource where the path names one.
pub(crate) async fn list(gateway: &Gateway, address: &Address, query: &Query) -> Result<Response, ApiError> {
    let within = address.nested_under.as_deref().map(|resource| format!("{resource}/")).unwrap_or_default();
    let listing = Listing::parse::<Operation>((&address.parent, &format!("{within}operations")), query, &[])?;
    let mut operations = gateway.platform.list_operations(&address.parent.project).await?;
    if let Some(resource) = &address.nested_under {
        operations.retain(|operation| &operation.parent == resource);
    }
    // The newest first: ids grow with time.
    let newest_first = |operation: &Operation| {
        let number = operation.id.parse::<u64>().unwrap_or_default();
        format!("{:020} {}", u64::MAX - number, operation.id)
    };
    let Paged { items, next_token } = listing.cut(operations, newest_first)?;
    let operations = items.iter().map(|operation| polled(&address.parent, operation)).collect();
    Ok(listing::page("operations", operations, next_token))
}

/// `POST operations/O:cancel`: an operation is finished when it is recorded, so there is nothing left to cancel.
pub(crate) async fn cancel(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    found(gateway, address).await?;
    Ok(Json(json!({})).into_response())
}

/// `DELETE operations/O`: forgets it; what it has changed stays.
pub(crate) async fn delete(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let operation = found(gateway, address).await?;
    gateway.platform.delete_operation(&address.parent.project, &operation.id).await?;
    Ok(Json(json!({})).into_response())
}

async fn found(gateway: &Gateway, address: &Address) -> Result<Operation, ApiError> {
    let operation = gateway.platform.get_operation(&address.parent.project, &address.id).await?;
    if let Some(resource) = &address.nested_under
        && resource != &operation.parent
    {
        let message = format!("{resource} has no operation \"{}\"", address.id);
        return Err(Error::new(Kind::NotFound, message).into());
    }
    Ok(operation)
}

impl Item for Operation {
    const FIELDS: &'static [&'static str] = &["name", "done", "create_time"];

    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "create_time" => Field::Time(self.created_at),
            "done" => Field::Text("true".into()),
            _ => Field::Text(self.id.as_str().into()),
        }
    }

    fn label(&self, _: &str) -> Option<&str> {
        None
    }
}

/// As it is replied with to whoever asks for it again.
fn polled(parent: &Parent, operation: &Operation) -> Value {
    let mut written = written(parent, operation);
    if let Some(response) = written.get_mut("response") {
        deployment::leave_vertex_fields(response);
    }
    written
}

/// The full name of an operation.
pub(crate) fn name(parent: &Parent, resource: &str, id: &str) -> String {
    parent.name(&format!("{resource}/operations/{id}"))
}

/// A failure as `google.rpc.Status`: the code is gRPC's.
pub(crate) fn written_failure(failure: &Failure) -> Value {
    let kind = Kind::named(&failure.kind).unwrap_or(Kind::Internal);
    json!({"code": status::grpc(kind), "message": failure.message})
}

fn written(parent: &Parent, operation: &Operation) -> Value {
    let time = time(operation.created_at);
    let mut written = json!({
        "name": name(parent, &operation.parent, &operation.id),
        "metadata": {
            "@type": format!("{TYPES}{}OperationMetadata", operation.kind),
            "genericMetadata": {"createTime": time, "updateTime": time, "partialFailures": []},
        },
        "done": true,
    });
    match &operation.outcome {
        OperationOutcome::Response(response) => written["response"] = response.clone(),
        OperationOutcome::Failed(failure) => written["error"] = written_failure(failure),
    }
    written
}

/// RFC 3339, to the microsecond, in UTC.
pub(crate) fn time(timestamp: Timestamp) -> String {
    timestamp.to_string()
}
