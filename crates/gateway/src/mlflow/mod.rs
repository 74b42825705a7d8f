//! The scoring protocol of MLflow's model server, and SageMaker's path to it: `POST /invocations`, `POST
//! /endpoints/NAME/invocations`, `GET /ping`, `/health`, `/version`.
//!
//! A body is a table or tensors as JSON in one of four forms, CSV, or an Arrow IPC stream; the reply is JSON, or a stream for who
//! sent one or asks for one. Source: the behaviour of MLflow's `pyfunc/scoring_server`. Deliberately not here: MLflow's
//! registry and tracking.

pub(crate) mod arrow;
pub(crate) mod csv;
pub(crate) mod json;
pub(crate) mod table;

use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{DEFAULT_PROJECT, Error, Kind, ModelName, Question, Target, TensorSpec, VersionChoice};
use serde_json::json;

use crate::answered;
use crate::asked::Asked;
use crate::body::{accepted, compressed, is_refused, name_of, read_decoded};
use crate::named::{Absence, find, segment};
use crate::observe::Route;
use crate::refusal::{Refusal, shown};
use crate::router::Gateway;
use crate::tensorflow_serving::request::Inputs;
use crate::vertex::predictions;
use table::Model;

const JSON: &str = "application/json";
/// What botocore calls an error by.
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
/// Which deployment answered, to SageMaker's clients.
const VARIANT: HeaderName = HeaderName::from_static("x-amzn-invoked-production-variant");
/// Which deployment is to answer, whatever the traffic split says.
const TARGET_VARIANT: HeaderName = HeaderName::from_static("x-amzn-sagemaker-target-variant");

/// Answers `/invocations`: asks the model of `serve --default-model`, or the only one that is deployed.
pub(crate) async fn invocations(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let mut response = match default_target(&gateway, &parts) {
        Ok(target) => ask(&gateway, &target, &parts, body).await,
        Err(refusal) => refused(&checked(&parts).err().unwrap_or(refusal)),
    };
    response.extensions_mut().insert(Route("mlflow.invocations"));
    response
}

/// Answers `/endpoints/NAME/invocations`: asks an endpoint of the project `default`, or else a model of that name.
pub(crate) async fn endpoint_invocations(State(gateway): State<Arc<Gateway>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let raw = parts.uri.path().strip_prefix("/endpoints/").and_then(|rest| rest.strip_suffix("/invocations"));
    let target = match raw.and_then(segment) {
        Some(name) => endpoint_target(&gateway, &parts, &name).await,
        None => Err(Refusal::invalid("the endpoint's name is no UTF-8, or holds control characters")),
    };
    let mut response = match target {
        Ok(target) => {
            let mut response = ask(&gateway, &target, &parts, body).await;
            if let Ok(variant) = HeaderValue::from_str(target.deployment_id()) {
                response.headers_mut().insert(VARIANT, variant);
            }
            response
        }
        Err(refusal) => refused(&checked(&parts).err().unwrap_or(refusal)),
    };
    response.extensions_mut().insert(Route("sagemaker.invocations"));
    with_error_type(response)
}

/// A reply to SageMaker's clients, an error with the name they know it by.
pub(crate) fn with_error_type(mut response: Response) -> Response {
    let kind = match response.status().as_u16() {
        200..=299 => None,
        401 | 403 => Some("AccessDeniedException"),
        429 => Some("ThrottlingException"),
        503 => Some("ServiceUnavailable"),
        500.. => Some("InternalFailure"),
        _ => Some("ValidationError"),
    };
    if let Some(kind) = kind {
        response.headers_mut().insert(ERROR_TYPE, HeaderValue::from_static(kind));
    }
    response
}

/// Answers `/ping` and `/health`: 200 if `/invocations` would be answered, else 404, as MLflow does.
pub(crate) async fn health(State(gateway): State<Arc<Gateway>>, method: Method) -> Response {
    let found = default_name(&gateway)
        .is_ok_and(|name| gateway.platform.model_target(&name, &VersionChoice::Default).is_ok());
    let status = if found { StatusCode::OK } else { StatusCode::NOT_FOUND };
    read_only(&method, "mlflow.health", (status, [(header::CONTENT_TYPE, JSON)], "\n").into_response())
}

/// Answers `/version`.
pub(crate) async fn version(method: Method) -> Response {
    read_only(&method, "mlflow.version", env!("CARGO_PKG_VERSION").into_response())
}

fn read_only(method: &Method, route: &'static str, reply: Response) -> Response {
    let mut response = match *method {
        Method::GET | Method::HEAD => reply,
        _ => {
            refused(&Refusal::wrong_method(format!("this path does not take {method}; use GET"), "GET, HEAD"))
        }
    };
    response.extensions_mut().insert(Route(route));
    response
}

/// The protocol's error.
pub(crate) fn refused(refusal: &Refusal) -> Response {
    let code = match refusal.code.as_u16() {
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "RESOURCE_DOES_NOT_EXIST",
        429 => "REQUEST_LIMIT_EXCEEDED",
        501 => "NOT_IMPLEMENTED",
        503 | 504 => "TEMPORARILY_UNAVAILABLE",
        500.. => "INTERNAL_ERROR",
        _ => "BAD_REQUEST",
    };
    if refusal.code == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        return refusal.reply("text/plain; charset=utf-8", refusal.message.clone());
    }
    refusal.reply(JSON, json!({"error_code": code, "message": refusal.message}).to_string())
}

fn default_name(gateway: &Gateway) -> Result<ModelName, Error> {
    match &gateway.options.default_model {
        Some(name) => Ok(ModelName::parse(name)),
        None => gateway.platform.only_model(),
    }
}

fn default_target(gateway: &Gateway, parts: &Parts) -> Result<Target, Refusal> {
    model_target(gateway, parts, &default_name(gateway)?)
}

async fn endpoint_target(gateway: &Gateway, parts: &Parts, name: &str) -> Result<Target, Refusal> {
    let asked = Asked::of(&parts.headers, &parts.extensions)?;
    if let Some(variant) = parts.headers.get(&TARGET_VARIANT) {
        let variant = shown(&String::from_utf8_lossy(variant.as_bytes()));
        let target = asked.of_deployment(&gateway.platform, DEFAULT_PROJECT, (name, &variant)).await;
        return target.map_err(|error| error.context(TARGET_VARIANT).into());
    }
    match asked.of_endpoint(&gateway.platform, DEFAULT_PROJECT, name).await {
        Ok(target) => Ok(target),
        Err(error) if error.kind() == Kind::NotFound => model_target(gateway, parts, &ModelName::parse(name))
            .map_err(|refusal| match refusal.code {
                StatusCode::NOT_FOUND => {
                    let said =
                        format!("no endpoint and no deployed model is called \"{}\"; {error}", shown(name));
                    Refusal::from(Error::new(Kind::NotFound, said))
                }
                _ => refusal,
            }),
        Err(error) => Err(error.into()),
    }
}

fn model_target(gateway: &Gateway, parts: &Parts, name: &ModelName) -> Result<Target, Refusal> {
    let asked = Asked::of(&parts.headers, &parts.extensions)?;
    find(&gateway.platform, asked, name, &VersionChoice::Default).map_err(|absence| match absence {
        Absence::Refused(error) => error.into(),
        Absence::Unknown(message) => Refusal::new(StatusCode::NOT_FOUND, message),
        Absence::Unavailable(message) => Refusal::new(StatusCode::SERVICE_UNAVAILABLE, message),
    })
}

/// What a body is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    Csv,
    Arrow,
}

/// Whether the method and the type of the body will do.
pub(crate) fn checked(parts: &Parts) -> Result<Form, Refusal> {
    if parts.method != Method::POST {
        let message = format!("{} does not take {}; use POST", shown(parts.uri.path()), parts.method);
        return Err(Refusal::wrong_method(message, "POST"));
    }
    let given =
        parts.headers.get(header::CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let given = given.as_deref().unwrap_or("None");
    let mut fields = given.split(';');
    let form = match fields.next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
        "application/json" => Form::Json,
        "text/csv" => Form::Csv,
        arrow::STREAM => Form::Arrow,
        _ => return Err(unsupported(given)),
    };
    let charset = fields
        .find_map(|field| field.trim().to_ascii_lowercase().strip_prefix("charset=").map(str::to_owned));
    match charset.as_deref().map(|name| name.trim_matches('"')) {
        None | Some("utf-8" | "utf8" | "us-ascii") => Ok(form),
        Some(_) => Err(unsupported(given)),
    }
}

fn unsupported(given: &str) -> Refusal {
    Refusal::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "This predictor only supports the following content types: Types: ['application/json', 'text/csv', '{}'], in UTF-8. Got '{}'.",
            arrow::STREAM,
            shown(given)
        ),
    )
}

async fn ask(gateway: &Gateway, target: &Target, parts: &Parts, body: Body) -> Response {
    let answered = async {
        let form = checked(parts)?;
        let body = read_decoded(&parts.headers, body, gateway.options.max_body_bytes).await?;
        answer(gateway, target, &parts.headers, (form, body)).await
    };
    answered.await.unwrap_or_else(|refusal| {
        let mut response = refused(&refusal);
        answered::by_target(response.headers_mut(), target);
        response
    })
}

/// Answers a question in one of the forms of `/invocations`.
///
/// # Errors
/// For a body that is not of its form, and those of [`platform::Platform::answer`].
pub(crate) async fn answer(
    gateway: &Gateway,
    target: &Target,
    headers: &HeaderMap,
    (form, body): (Form, Bytes),
) -> Result<Response, Refusal> {
    let inputs = read(gateway, target, form, body)?;
    let reply = gateway.platform.answer(target, Question::Tensors(inputs)).await?;
    let as_stream = wants_stream(headers, form);
    let body = if as_stream { arrow::write(&reply.outputs)? } else { predictions::alone(&reply.outputs)? };
    let mut response = compressed(body, accepted(headers)).await;
    let kind = HeaderValue::from_static(if as_stream { arrow::STREAM } else { JSON });
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    answered::by_reply(response.headers_mut(), target, &reply);
    Ok(response)
}

fn read(gateway: &Gateway, target: &Target, form: Form, body: Bytes) -> Result<Inputs, Refusal> {
    let model = Model {
        signature: target.signature(),
        row_width: match target.signature().inputs.as_slice() {
            [only] if target.takes_rows() => TensorSpec::row_elements(only),
            _ => None,
        },
        features: if target.takes_rows() { target.feature_names() } else { &[] },
        max_rows: gateway.options.max_instances.min(target.max_rows()),
    };
    match form {
        Form::Json => json::parse(&body, model),
        Form::Csv => csv::parse(&body, model),
        Form::Arrow => arrow::parse(body.into(), model),
    }
}

/// A stream is answered with a stream, unless the client names something else or gives it the weight 0; and to whoever names it.
fn wants_stream(headers: &HeaderMap, form: Form) -> bool {
    let listed = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (refused, taken): (Vec<&str>, Vec<&str>) =
        listed.flat_map(|list| list.split(',')).partition(|one| is_refused(one));
    let in_list = |list: &[&str], name: &str| list.iter().any(|one| name_of(one).eq_ignore_ascii_case(name));
    in_list(&taken, arrow::STREAM)
        || (form == Form::Arrow && !in_list(&taken, JSON) && !in_list(&refused, arrow::STREAM))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(kind: Option<&str>) -> Result<Form, u16> {
        let mut request = Request::post("/invocations");
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        checked(&request.body(()).unwrap().into_parts().0).map_err(|refusal| refusal.code.as_u16())
    }

    #[test]
    fn the_type_says_what_a_body_is() {
        assert_eq!(form(Some("application/json")), Ok(Form::Json));
        assert_eq!(form(Some("Text/CSV; charset=\"UTF-8\"")), Ok(Form::Csv));
        assert_eq!(form(Some(arrow::STREAM)), Ok(Form::Arrow));
        for kind in [
            None,
            Some("text/plain"),
            Some("text/csv; charset=latin-1"),
            Some("application/x-www-form-urlencoded"),
        ] {
            assert_eq!(form(kind), Err(415), "{kind:?}");
        }
    }

    #[test]
    fn a_stream_is_for_who_sent_or_asks_for_one() {
        let accept = |value: &str| HeaderMap::from_iter([(header::ACCEPT, value.parse().unwrap())]);
        assert!(wants_stream(&HeaderMap::new(), Form::Arrow));
        assert!(!wants_stream(&HeaderMap::new(), Form::Csv));
        assert!(wants_stream(&accept("*/*"), Form::Arrow));
        assert!(!wants_stream(&accept("application/json"), Form::Arrow));
        for none in ["q=0", "Q=0.000", "x=y; q=0"] {
            let refused = format!("*/*, {}; {none}", arrow::STREAM);
            assert!(!wants_stream(&accept(&refused), Form::Arrow), "{refused}");
            assert!(!wants_stream(&accept(&refused), Form::Json), "{refused}");
        }
        assert!(wants_stream(&accept("application/json;q=0"), Form::Arrow));
        assert!(wants_stream(
            &accept("application/json;q=0.5, application/vnd.apache.arrow.stream"),
            Form::Json
        ));
    }
}
