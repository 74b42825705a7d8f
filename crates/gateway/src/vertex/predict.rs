//! `POST endpoints/E:predict`: ask an endpoint.
//!
//! An instance is a feature vector `[0.1, null, ...]`, a named one `{"features": [...]}`, or `{"symbol": "AAPL"}`,
//! for which the server computes the features from its data as of `parameters.as_of` (default: the newest bar). A model
//! that takes tensors of any other kind is asked as [`tensors`] says.
//! The reply's `metadata` carries `warnings`, `as_of` (the date of the bar used) and `dataset`, where there are any.

use axum::body::{Body, Bytes};
use axum::http::request::Parts;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use platform::{DatasetUse, PredictReply, Question, Target};
use serde::Serialize;

use super::error::ApiError;
use super::instances::{PredictBody, tensors, traffic_key};
use super::path::Address;
use super::predictions::Predictions;
use crate::answered;
use crate::asked::Asked;
use crate::router::Gateway;

/// What a number of a reply takes, about.
const NUMBER_BYTES: usize = 12;
/// What the rest of a reply takes, seldom more.
const BESIDE_NUMBERS: usize = 256;

/// The reply, in the names of Vertex AI.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    predictions: Predictions<'a>,
    deployed_model_id: &'a str,
    model: String,
    model_version_id: &'a str,
    model_display_name: &'a str,
    #[serde(skip_serializing_if = "Metadata::is_empty")]
    metadata: Metadata<'a>,
}

/// What we add to it; the names are those of the request's parameters.
#[derive(Debug, Serialize)]
struct Metadata<'a> {
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    warnings: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    as_of: Option<Date>,
    #[serde(skip_serializing_if = "Option::is_none")]
    dataset: Option<&'a DatasetUse>,
}

impl Metadata<'_> {
    fn is_empty(&self) -> bool {
        self.warnings.is_empty() && self.as_of.is_none() && self.dataset.is_none()
    }
}

/// Answers a predict request.
pub(crate) async fn predict(
    gateway: &Gateway,
    address: &Address,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response, ApiError> {
    let platform = &gateway.platform;
    let asked = Asked::of(&parts.headers, &parts.extensions)?;
    let (project, endpoint) = (&address.parent.project, &address.id);
    let asked = asked.with_key(platform, (project, endpoint), || traffic_key::of(body));
    let target = asked.of_endpoint(platform, project, endpoint).await?;
    let answered = match question(&target, body, gateway.options.max_instances) {
        Ok(question) => platform.answer(&target, question).await,
        Err(error) => Err(error),
    };
    match answered {
        Ok(reply) => written(address, &reply),
        Err(error) => {
            let mut response = ApiError::from(error).into_response();
            answered::by_target_of_project(response.headers_mut(), &target);
            Ok(response)
        }
    }
}

/// What a body asks.
pub(crate) fn question(
    target: &Target,
    body: &[u8],
    max_instances: usize,
) -> Result<Question, platform::Error> {
    target.read(|signature| {
        if !Target::is_of_rows(signature) {
            return Ok(Question::Tensors(tensors::parse(body, signature, max_instances)?));
        }
        let PredictBody { instances, as_of } = PredictBody::parse(body, max_instances)?;
        Ok(Question::Rows { instances, as_of })
    })
}

fn written(address: &Address, reply: &PredictReply) -> Result<Response, ApiError> {
    let numbers: usize = reply.outputs.iter().map(|(_, tensor)| tensor.data().len()).sum();
    let mut json = Vec::with_capacity(BESIDE_NUMBERS + numbers * NUMBER_BYTES);
    let written = serde_json::to_writer(
        &mut json,
        &Reply {
            predictions: Predictions(&reply.outputs),
            deployed_model_id: &reply.deployment_id,
            model: address.parent.name_of("models/", &reply.model),
            model_version_id: itoa::Buffer::new().format(reply.version),
            model_display_name: &reply.model_display_name,
            metadata: Metadata {
                warnings: &reply.warnings,
                as_of: reply.as_of,
                dataset: reply.dataset.as_ref(),
            },
        },
    );
    written.map_err(|error| platform::Error::internal("cannot write the reply", error))?;
    let mut response = Response::new(Body::from(json));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answered::by_reply_of_project(headers, reply);
    Ok(response)
}

#[cfg(test)]
mod tests {
    use axum::http::Method;
    use platform::Tensor;

    use super::*;

    async fn written_as(reply: &PredictReply) -> (Response, String) {
        let path = "/v1/projects/p/locations/l/endpoints/e:predict";
        let address = Address::parse(&Method::POST, path).unwrap();
        let (parts, body) = written(&address, reply).unwrap().into_parts();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        (Response::from_parts(parts, Body::empty()), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_reply_has_vertex_names_and_is_always_json() {
        let row = Tensor::float32(vec![1, 3], vec![0.1, f32::NAN, f32::INFINITY]).unwrap();
        let mut reply = PredictReply {
            outputs: vec![("p".to_owned(), row)],
            deployment_id: "7".to_owned(),
            model: "m".to_owned(),
            version: 2,
            model_display_name: "M".to_owned(),
            warnings: Vec::new(),
            as_of: None,
            dataset: None,
            queue_us: 12,
            compute_us: 3456,
        };
        let (response, body) = written_as(&reply).await;
        assert_eq!(
            body,
            r#"{"predictions":[[0.1,null,null]],"deployedModelId":"7","model":"projects/p/locations/l/models/m","modelVersionId":"2","modelDisplayName":"M"}"#
        );
        assert_eq!(response.headers()["x-bellwether-model-version"], "m@2");
        assert_eq!(response.headers()["server-timing"], "queue;dur=0.012, compute;dur=3.456");
        assert_eq!(response.headers()["content-type"], "application/json");

        reply.warnings = vec!["w".to_owned()];
        reply.as_of = Some(jiff::civil::date(2022, 12, 28));
        let body = written_as(&reply).await.1;
        assert!(body.ends_with(r#""metadata":{"warnings":["w"],"as_of":"2022-12-28"}}"#), "{body}");
    }
}
