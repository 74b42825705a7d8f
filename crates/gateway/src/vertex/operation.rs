//! Operations: the record of a change that is finished by the time its reply is sent, so `done` is always true.

use axum::Json;
use axum::response::{IntoResponse, Response};
use jiff::Timestamp;
use platform::{Error, Kind, NewOperation, Operation, Platform};
use serde_json::{Value, json};
use tracing::Instrument as _;

use super::error::ApiError;
use super::path::{Address, Parent};
use crate::router::Gateway;

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
    let new =
        NewOperation { project: parent.project.clone(), parent: resource, kind: kind.to_owned(), response };
    Ok(written(parent, &platform.record_operation(new).await?))
}

/// `GET operations/O`
pub(crate) async fn get(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let operation = gateway.platform.get_operation(&address.parent.project, &address.id).await?;
    if let Some(resource) = &address.nested_under
        && resource != &operation.parent
    {
        let message = format!("{resource} has no operation \"{}\"", address.id);
        return Err(Error::new(Kind::NotFound, message).into());
    }
    Ok(Json(written(&address.parent, &operation)).into_response())
}

fn written(parent: &Parent, operation: &Operation) -> Value {
    let time = time(operation.created_at);
    json!({
        "name": parent.name(&format!("{}/operations/{}", operation.parent, operation.id)),
        "metadata": {
            "@type": format!("{TYPES}{}OperationMetadata", operation.kind),
            "genericMetadata": {"createTime": time, "updateTime": time, "partialFailures": []},
        },
        "done": true,
        "response": operation.response,
    })
}

/// RFC 3339, to the microsecond, in UTC.
pub(crate) fn time(timestamp: Timestamp) -> String {
    timestamp.to_string()
}
