//! `POST endpoints/E:predict`: ask an endpoint.
//!
//! An instance is a feature vector `[0.1, null, ...]`, a named one `{"features": [...]}`, or `{"symbol": "AAPL"}`,
//! for which the server computes the features from its data as of `parameters.as_of` (default: the newest bar).
//! The reply's `metadata` carries `warnings`, `as_of` (the date of the bar used) and `dataset`, where there are any.
//! The header `x-bellwether-model-version` says which version answered, `server-timing` how long it took.

use axum::body::Bytes;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use jiff::civil::Date;
use platform::{DatasetUse, PredictReply, PredictRequest};
use serde::Serialize;

use super::error::ApiError;
use super::instances::PredictBody;
use super::path::Address;
use crate::router::Gateway;

/// The header that says which version answered: `MODEL@VERSION`.
const MODEL_VERSION: HeaderName = HeaderName::from_static("x-bellwether-model-version");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// The reply, in the names of Vertex AI.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Reply<'a> {
    predictions: &'a [Vec<f32>],
    deployed_model_id: &'a str,
    model: String,
    model_version_id: String,
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
    body: &Bytes,
) -> Result<Response, ApiError> {
    let PredictBody { instances, as_of } = PredictBody::parse(body, gateway.options.max_instances)?;
    let project = address.parent.project.clone();
    let request = PredictRequest { project, endpoint: address.id.clone(), instances, as_of };
    match gateway.platform.predict(request).await {
        Ok(reply) => written(address, &reply),
        Err(error) => {
            let mut response = ApiError::from(error).into_response();
            if let Some(version) = only_version(gateway, address).await {
                response.headers_mut().insert(MODEL_VERSION, version);
            }
            Ok(response)
        }
    }
}

fn written(address: &Address, reply: &PredictReply) -> Result<Response, ApiError> {
    let json = serde_json::to_vec(&Reply {
        predictions: &reply.predictions,
        deployed_model_id: &reply.deployment_id,
        model: address.parent.name(&format!("models/{}", reply.model)),
        model_version_id: reply.version.to_string(),
        model_display_name: &reply.model_display_name,
        metadata: Metadata { warnings: &reply.warnings, as_of: reply.as_of, dataset: reply.dataset.as_ref() },
    });
    let json = json.map_err(|error| platform::Error::internal("cannot write the reply", error))?;
    let mut response = ([(header::CONTENT_TYPE, "application/json")], json).into_response();
    let headers = response.headers_mut();
    if let Some(version) = version_header(&reply.model, reply.version) {
        headers.insert(MODEL_VERSION, version);
    }
    let timing =
        format!("queue;dur={:.3}, compute;dur={:.3}", millis(reply.queue_us), millis(reply.compute_us));
    if let Ok(timing) = HeaderValue::try_from(timing) {
        headers.insert(SERVER_TIMING, timing);
    }
    Ok(response)
}

/// The version all of an endpoint's traffic goes to, which is then the one that refused.
async fn only_version(gateway: &Gateway, address: &Address) -> Option<HeaderValue> {
    let endpoint = gateway.platform.get_endpoint(&address.parent.project, &address.id).await.ok()?;
    let (id, _) = endpoint.traffic_split.iter().find(|(_, percent)| **percent == 100)?;
    let deployment = endpoint.deployments.iter().find(|deployment| &deployment.id == id)?;
    version_header(&deployment.model, deployment.version)
}

fn version_header(model: &str, version: u32) -> Option<HeaderValue> {
    HeaderValue::try_from(format!("{model}@{version}")).ok()
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1000.0
}

#[cfg(test)]
mod tests {
    use axum::http::Method;

    use super::*;

    async fn written_as(reply: &PredictReply) -> (Response, String) {
        let path = "/v1/projects/p/locations/l/endpoints/e:predict";
        let address = Address::parse(&Method::POST, path).unwrap();
        let (parts, body) = written(&address, reply).unwrap().into_parts();
        let body = axum::body::to_bytes(body, 10_000).await.unwrap();
        (Response::from_parts(parts, axum::body::Body::empty()), String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn a_reply_has_vertex_names_and_is_always_json() {
        let mut reply = PredictReply {
            predictions: vec![vec![0.1, f32::NAN, f32::INFINITY]],
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
