//! TensorFlow Serving's REST API: predict by rows and by columns, classify, regress, status and metadata, its words for
//! what is wrong, and its numbers, which include bare `NaN` and `Infinity`.
//!
//! Source: the behaviour of its `http_rest_api_handler` and `json_tensor`. Like that server, it does not look at `Content-Type`
//! and answers whatever it does not know with 400. Deliberately not here: `/v1/projects` and what is below it, which is Vertex AI's.

mod decimal;
pub(crate) mod examples;
pub(crate) mod fields;
pub(crate) mod path;
pub(crate) mod reply;
pub(crate) mod request;
mod shown;
mod status;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{Caller, ModelName, PredictReply, Question, Scope, Target, Tensor, VersionChoice};
use serde_json::Value;

use crate::answered;
use crate::asked::Asked;
use crate::body::{accepted, compressed, read_decoded};
use crate::dialect::Dialect;
use crate::named::{Absence, find};
use crate::observe::Route;
use crate::refusal::{Refusal, shown as cut};
use crate::router::Gateway;
use crate::vertex;
use path::{Call, Verb};
use request::PredictRequest;

const JSON: &str = "application/json";

/// Answers any request under `/v1` that is no other protocol's.
pub(crate) async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    // `/v1/projects` itself comes here too, as all that is below `/v1` and has no route of its own.
    if Dialect::of(&request) == Dialect::Vertex {
        return Box::pin(vertex::answer(State(gateway), request)).await;
    }
    let (parts, body) = request.into_parts();
    let (route, answered) = match Call::parse(&parts.method, parts.uri.path()) {
        Ok(call) => (call.verb.route(), answer_call(&gateway, &call, &parts, body).await),
        Err(refusal) => ("tensorflow_serving", Err(refusal)),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused(&refusal));
    response.extensions_mut().insert(Route(route));
    response
}

/// The protocol's error.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let message = Value::from(refusal.message.as_str());
    refusal.reply(JSON, format!("{{ \"error\": {message} }}"))
}

async fn answer_call(gateway: &Gateway, call: &Call, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let platform = &gateway.platform;
    if call.verb == Verb::Status {
        // The check in front of all protocols knows these paths in one case alone.
        let caller = parts.extensions.get::<Caller>().cloned().unwrap_or_default();
        let name = ModelName::parse(&call.model);
        caller.allow(Some(&name.project), Scope::Predict)?;
        let (body, only) = status::status(platform, call)?;
        let mut response = said(body);
        if let Some(number) = only {
            let version = answered::version_text(&name.project, &name.model, number);
            answered::version(response.headers_mut(), version);
        }
        return Ok(response);
    }
    let target = target(gateway, parts, call)?;
    let answered = match call.verb {
        Verb::Metadata => status::metadata(call, &target).map(said),
        _ => infer(gateway, call.verb, &target, parts, body).await,
    };
    let mut response = answered.unwrap_or_else(|refusal| refused(&refusal));
    if !response.headers().contains_key(answered::MODEL_VERSION) {
        answered::by_target(response.headers_mut(), &target);
    }
    Ok(response)
}

async fn infer(
    gateway: &Gateway,
    verb: Verb,
    target: &Target,
    parts: &Parts,
    body: Body,
) -> Result<Response, Refusal> {
    let body = read_decoded(&parts.headers, body, gateway.options.max_body_bytes).await?;
    let max_rows = gateway.options.max_instances.min(target.max_rows());
    let (inputs, layout) = match verb {
        Verb::Predict => {
            let request = target.read(|signature| PredictRequest::parse(&body, signature, max_rows))?;
            (request.inputs, if request.by_row { Layout::Rows } else { Layout::Columns })
        }
        Verb::Regress => (examples(&body, target, max_rows)?, Layout::Values),
        _ => (examples(&body, target, max_rows)?, Layout::Classes),
    };
    drop(body);
    let reply = gateway.platform.answer(target, Question::Tensors(inputs)).await?;
    let body = layout.write(&reply)?;
    let mut response = compressed(body, accepted(&parts.headers)).await;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(JSON));
    answered::by_reply(response.headers_mut(), target, &reply);
    Ok(response)
}

fn examples(body: &Bytes, target: &Target, max_rows: usize) -> Result<Vec<(String, Tensor)>, Refusal> {
    let columns = if target.takes_rows() { target.feature_names() } else { &[] };
    examples::parse(body, examples::Model { signature: target.signature(), columns, max_rows })
}

/// How an answer is laid out.
#[derive(Debug, Clone, Copy)]
enum Layout {
    Rows,
    Columns,
    Classes,
    Values,
}

impl Layout {
    fn write(self, reply: &PredictReply) -> Result<Vec<u8>, Refusal> {
        match self {
            Self::Rows => reply::rows(&reply.outputs),
            Self::Columns => Ok(reply::columns(&reply.outputs)),
            Self::Classes => {
                let (scores, width) = scores(&reply.outputs, "Classify")?;
                Ok(reply::classes(scores, width))
            }
            Self::Values => match scores(&reply.outputs, "Regress")? {
                (values, 1) => Ok(reply::values(values)),
                (_, width) => Err(Refusal::invalid(format!(
                    "Regress needs one number a row, the model gives {width}; use :predict or :classify"
                ))),
            },
        }
    }
}

/// The numbers of the only output, and how many a row has.
fn scores<'a>(outputs: &'a [(String, Tensor)], verb: &str) -> Result<(&'a [f32], usize), Refusal> {
    if let [(_, only)] = outputs
        && let Some(values) = only.as_float32()
        && let Some((rows, inner)) = only.shape().split_first()
        && inner.len() <= 1
    {
        return Ok((values, values.len().checked_div(*rows).unwrap_or_default()));
    }
    Err(Refusal::invalid(format!(
        "{verb} needs a model with one output of float, a row of numbers each; use :predict"
    )))
}

fn target(gateway: &Gateway, parts: &Parts, call: &Call) -> Result<Target, Refusal> {
    let name = ModelName::parse(&call.model);
    let who = Asked::of(&parts.headers, &parts.extensions)?;
    find(&gateway.platform, who, &name, &call.version).map_err(|absence| {
        let model = cut(&call.model);
        let asked = match call.number {
            Some(number) => format!("Specific({model}, {number})"),
            None => format!("Latest({model})"),
        };
        match absence {
            Absence::Refused(error) => error.into(),
            Absence::Unknown(_) => match &call.version {
                VersionChoice::Alias(alias) if is_served(gateway, &name) => {
                    Refusal::invalid(format!("Unrecognized servable version label: {}", cut(alias)))
                }
                _ => Refusal::new(StatusCode::NOT_FOUND, format!("Servable not found for request: {asked}")),
            },
            Absence::Unavailable(reason) => {
                let message = format!("Servable not available for request: {asked}: {reason}");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
            }
        }
    })
}

/// Whether a version of a model is deployed.
pub(crate) fn is_served(gateway: &Gateway, name: &ModelName) -> bool {
    gateway.platform.served_models().iter().any(|model| model.name == *name)
}

fn said(body: Vec<u8>) -> Response {
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}
