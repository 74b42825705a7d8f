//! `POST endpoints/E:rawPredict`: ask an endpoint with a body of any form that has a meaning here, and get the bare answer.
//!
//! JSON with `instances` is a body of `:predict`, and its reply is that of a container on Vertex AI: `predictions` alone. Any
//! other body is read as `/invocations` reads it, by its content type: a table or tensors as JSON, CSV, an Arrow stream. Which
//! version answered is in Vertex AI's headers.

use axum::body::Bytes;
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{Error, Kind, PredictReply, Target};

use super::error::ApiError;
use super::instances::traffic_key;
use super::path::Address;
use super::predict::question;
use super::predictions;
use crate::answered;
use crate::asked::Asked;
use crate::mlflow;
use crate::refusal::Refusal;
use crate::router::Gateway;

const DEPLOYED_MODEL_ID: HeaderName = HeaderName::from_static("x-vertex-ai-deployed-model-id");
const MODEL: HeaderName = HeaderName::from_static("x-vertex-ai-model");
const MODEL_VERSION_ID: HeaderName = HeaderName::from_static("x-vertex-ai-model-version-id");

/// Answers a raw request.
pub(crate) async fn raw_predict(
    gateway: &Gateway,
    address: &Address,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let asked = Asked::of(&parts.headers, &parts.extensions)?;
    let (platform, project, endpoint) = (&gateway.platform, &address.parent.project, &address.id);
    let asked = asked.with_key(platform, (project, endpoint), || traffic_key::of(body));
    let target = asked.of_endpoint(platform, project, endpoint).await?;
    let answered = answer(gateway, &target, parts, body).await;
    let mut response = answered.unwrap_or_else(IntoResponse::into_response);
    answered::by_target_of_project(response.headers_mut(), &target);
    let (model, version) = target.version();
    let model = address.parent.name_of("models/", model);
    for (name, value) in [
        (DEPLOYED_MODEL_ID, target.deployment_id().to_owned()),
        (MODEL, model),
        (MODEL_VERSION_ID, version.to_string()),
    ] {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

async fn answer(
    gateway: &Gateway,
    target: &Target,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response, ApiError> {
    if is_json(parts) && has_instances(body) {
        let question = question(target, body, gateway.options.max_instances)?;
        return Ok(written(&gateway.platform.answer(target, question).await?)?);
    }
    // The body is unpacked already.
    let answered = match mlflow::checked(parts) {
        Ok(form) => mlflow::answer(gateway, target, &parts.headers, (form, body.clone())).await,
        Err(refusal) => Err(refusal),
    };
    answered.map_err(|refusal| refused(&refusal))
}

fn is_json(parts: &Parts) -> bool {
    let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_none_or(|kind| kind.trim_start().to_ascii_lowercase().starts_with("application/json"))
}

/// Whether a body has the member `instances`; what is wrong with it otherwise is said by whoever reads it.
fn has_instances(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Members {
        instances: Option<serde::de::IgnoredAny>,
    }
    // An array of members would be read as an object as well.
    let is_object = body.iter().find(|byte| !byte.is_ascii_whitespace()) == Some(&b'{');
    is_object && serde_json::from_slice::<Members>(body).is_ok_and(|members| members.instances.is_some())
}

fn written(reply: &PredictReply) -> Result<Response, Error> {
    let json = predictions::alone(&reply.outputs)?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    answered::by_reply_of_project(response.headers_mut(), reply);
    Ok(response)
}

/// Another protocol's refusal in the shape of this one.
fn refused(refusal: &Refusal) -> ApiError {
    let kind = match refusal.code {
        StatusCode::TOO_MANY_REQUESTS => Kind::ResourceExhausted,
        StatusCode::SERVICE_UNAVAILABLE => Kind::Unavailable,
        StatusCode::GATEWAY_TIMEOUT => Kind::DeadlineExceeded,
        StatusCode::INTERNAL_SERVER_ERROR => return ApiError::internal(),
        _ => Kind::InvalidArgument,
    };
    Error::new(kind, refusal.message.clone()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_are_found_wherever_they_stand() {
        for (body, expected) in [
            (r#"{"instances": [[1]]}"#, true),
            (r#"{"parameters": {"instances": 1}, "instances": []}"#, true),
            (r#"{"parameters": {"instances": 1}}"#, false),
            (r#"{"dataframe_records": []}"#, false),
            ("[1]", false),
            ("{", false),
        ] {
            assert_eq!(has_instances(body.as_bytes()), expected, "{body}");
        }
    }
}
