//! The Open Inference Protocol v2 over HTTP, as Triton speaks it: health, metadata, inference with JSON and raw tensors,
//! statistics, the repository.
//!
//! Sources: the protocol's `rest_predict_v2`, Triton's extensions of it (binary tensors, classification, statistics, model
//! repository, model configuration), and what `tritonclient.http` sends. [`path`] turns a URL into a call, `request` a body
//! into tensors, `reply` tensors into a body. Like Triton, it does not look at `Content-Type`.
//! Deliberately not here: what models are deployed, which is the facade's.

pub(crate) mod classification;
pub(crate) mod datatype;
mod metadata;
pub(crate) mod path;
pub(crate) mod reply;
pub(crate) mod repository;
pub(crate) mod request;
pub(crate) mod statistics;

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{Caller, ModelName, Question, Scope, Target, VersionChoice};
use serde_json::{Value, json};

use crate::answered;
use crate::asked;
use crate::body::{accepted, compressed, read_decoded};
use crate::named::{Absence, find};
use crate::observe::Route;
use crate::refusal::{Refusal, shown};
use crate::router::Gateway;
use path::{Asked, Call};
use request::{InferRequest, Model};

const JSON: &str = "application/json";
/// The length of the JSON before raw tensors.
const JSON_LENGTH: HeaderName = HeaderName::from_static("inference-header-content-length");

/// Whether raw tensors follow the JSON of a request.
pub(crate) fn has_raw_tensors(headers: &HeaderMap) -> bool {
    headers.contains_key(JSON_LENGTH)
}

/// Answers any request under `/v2`.
pub(crate) async fn answer(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let (route, answered) = match Call::parse(&parts.method, parts.uri.path()) {
        Ok(call) => (call.route(), answer_call(&gateway, call, &parts, body).await),
        Err(refusal) => ("v2", Err(refusal)),
    };
    let mut response = answered.unwrap_or_else(|refusal| refused(&refusal));
    response.extensions_mut().insert(Route(route));
    response
}

/// The protocol's error.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    refusal.reply(JSON, json!({"error": refusal.message}).to_string())
}

async fn answer_call(gateway: &Gateway, call: Call, parts: &Parts, body: Body) -> Result<Response, Refusal> {
    let platform = &gateway.platform;
    let body = read_decoded(&parts.headers, body, gateway.options.max_body_bytes).await?;
    match call {
        Call::Live => Ok(empty(StatusCode::OK)),
        Call::Ready => {
            let ready = platform.readiness().ready;
            Ok(empty(if ready { StatusCode::OK } else { StatusCode::BAD_REQUEST }))
        }
        Call::ServerMetadata => Ok(said(&metadata::server())),
        Call::ModelReady(asked) => match target(gateway, parts, &asked) {
            Ok(target) => Ok(of_target(empty(StatusCode::OK), &target)),
            Err(refusal) => Err(Refusal::invalid(refusal.message)),
        },
        Call::ModelMetadata(asked) => {
            let target = target(gateway, parts, &asked)?;
            Ok(of_target(said(&metadata::model(platform, &asked.model, &target)), &target))
        }
        Call::ModelConfig(asked) => {
            let target = target(gateway, parts, &asked)?;
            Ok(of_target(said(&metadata::config(&asked.model, &target)), &target))
        }
        Call::AllStatistics => {
            let caller = caller(parts);
            let allowed = |name: &ModelName, _| caller.allow(Some(&name.project), Scope::Predict).is_ok();
            Ok(said(&statistics::json(&statistics::of(platform, allowed))))
        }
        Call::Statistics(asked) => {
            let target = target(gateway, parts, &asked)?;
            let name = ModelName::parse(&asked.model);
            let number = (asked.version != VersionChoice::Default).then_some(target.version().1);
            let wanted =
                |found: &ModelName, version: u32| *found == name && number.is_none_or(|n| n == version);
            Ok(of_target(said(&statistics::json(&statistics::of(platform, wanted))), &target))
        }
        Call::RepositoryIndex => Ok(said(&repository::index(platform, &caller(parts), &body)?)),
        Call::Load(name) => repository::load(platform, &name, &body).await.map(|()| empty(StatusCode::OK)),
        Call::Unload(name) => repository::unload(platform, &name, &body).map(|()| empty(StatusCode::OK)),
        Call::Infer(asked) => {
            let target = target(gateway, parts, &asked)?;
            match infer(gateway, &asked, &target, &parts.headers, &body).await {
                Ok(response) => Ok(response),
                Err(refusal) => Ok(of_target(refused(&refusal), &target)),
            }
        }
        Call::NotOffered(what) => {
            Err(Refusal::new(StatusCode::NOT_IMPLEMENTED, format!("{what} is not offered by this server")))
        }
    }
}

async fn infer(
    gateway: &Gateway,
    asked: &Asked,
    target: &Target,
    headers: &HeaderMap,
    body: &Bytes,
) -> Result<Response, Refusal> {
    let max_rows = gateway.options.max_instances.min(target.max_rows());
    let name = &asked.model;
    let parse = |json: &[u8], raw: &[u8]| {
        target.read(|signature| InferRequest::parse(json, raw, Model { name, signature, max_rows }))
    };
    let mut request = match json_length(headers)? {
        Some(0) => InferRequest::raw(body, Model { name, signature: target.signature(), max_rows })?,
        Some(length) => {
            let (json, raw) = body.split_at_checked(length).ok_or_else(|| {
                let message = format!("{JSON_LENGTH} is {length}, but the body has {} bytes", body.len());
                Refusal::invalid(message)
            })?;
            parse(json, raw)?
        }
        None => parse(body, &[])?,
    };
    let question = Question::Tensors(std::mem::take(&mut request.inputs));
    // What the body says counts for more than the header.
    let target = match request.timeout_us {
        Some(us) => target.clone().until(Instant::now().checked_add(Duration::from_micros(us))),
        None => target.clone(),
    };
    let reply = gateway.platform.answer(&target, question).await?;
    let body = reply::write(&asked.model, &request, &reply)?;
    let mut response = compressed(body.bytes, accepted(headers)).await;
    let headers = response.headers_mut();
    let kind = match body.json_bytes {
        Some(length) => {
            headers.insert(JSON_LENGTH, HeaderValue::from(length));
            "application/octet-stream"
        }
        None => JSON,
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answered::by_reply(headers, &target, &reply);
    Ok(response)
}

fn caller(parts: &Parts) -> Caller {
    parts.extensions.get::<Caller>().cloned().unwrap_or_default()
}

fn json_length(headers: &HeaderMap) -> Result<Option<usize>, Refusal> {
    let Some(value) = headers.get(&JSON_LENGTH) else { return Ok(None) };
    let text = value.to_str().unwrap_or_default();
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(length) if digits => Ok(Some(length)),
        _ => {
            Err(Refusal::invalid(format!("{JSON_LENGTH} must be a number of bytes, got \"{}\"", shown(text))))
        }
    }
}

fn target(gateway: &Gateway, parts: &Parts, asked: &Asked) -> Result<Target, Refusal> {
    let name = ModelName::parse(&asked.model);
    let who = asked::Asked::of(&parts.headers, &parts.extensions)?;
    find(&gateway.platform, who, &name, &asked.version).map_err(|absence| {
        let model = shown(&asked.model);
        let version = match &asked.version {
            VersionChoice::Default => String::new(),
            VersionChoice::Number(number) => format!(" version {number}"),
            VersionChoice::Alias(alias) => format!(" version {}", shown(alias)),
        };
        match absence {
            Absence::Refused(error) => error.into(),
            Absence::Unknown(way_out) => {
                let message =
                    format!("Request for unknown model: '{model}'{version} is not found; {way_out}");
                Refusal::new(StatusCode::NOT_FOUND, message)
            }
            Absence::Unavailable(reason) => {
                let message = format!("Request for unavailable model: '{model}'{version}; {reason}");
                Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message)
            }
        }
    })
}

fn of_target(mut response: Response, target: &Target) -> Response {
    answered::by_target(response.headers_mut(), target);
    response
}

fn empty(status: StatusCode) -> Response {
    status.into_response()
}

fn said(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, JSON)], value.to_string()).into_response()
}
