//! The error body of Google's APIs, which every error of this server has.

use axum::Json;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use platform::{Error, FieldViolation, Kind};
use serde_json::{Value, json};

use crate::body::BodyError;
use crate::refusal::Refusal;
use crate::status;

/// A message never grows with what a hostile client sent.
const MESSAGE_CHARS_MAX: usize = 2000;
const BAD_REQUEST_TYPE: &str = "type.googleapis.com/google.rpc.BadRequest";

/// An error on its way to the client.
#[derive(Debug)]
pub(crate) struct ApiError {
    code: StatusCode,
    status: &'static str,
    message: String,
    violations: Vec<FieldViolation>,
    allow: Option<String>,
    /// A word of Cloud Storage's for what a status alone does not say.
    reason: Option<&'static str>,
}

impl ApiError {
    /// A path that names nothing this server has.
    pub(crate) fn unknown_path(path: &str, hint: &str) -> Self {
        Error::new(Kind::NotFound, format!("unknown path {path}; {hint}")).into()
    }

    /// A path that exists, asked with a method it does not have.
    pub(crate) fn wrong_method(method: &Method, path: &str, allowed: &str) -> Self {
        let error =
            Error::new(Kind::InvalidArgument, format!("{path} does not take {method}; use {allowed}"));
        Self { code: StatusCode::METHOD_NOT_ALLOWED, allow: Some(allowed.to_owned()), ..error.into() }
    }

    /// A body that cannot be had.
    pub(crate) fn no_body(error: BodyError) -> Self {
        let kind = match error {
            BodyError::Slow => Kind::DeadlineExceeded,
            BodyError::Cut => Kind::Cancelled,
            _ => Kind::InvalidArgument,
        };
        let Refusal { code, message, .. } = Refusal::from(error);
        Self { code, ..Error::new(kind, message).into() }
    }

    /// An object is not the one that the client meant.
    pub(crate) fn condition_not_met(error: Error) -> Self {
        Self { code: StatusCode::PRECONDITION_FAILED, reason: Some("conditionNotMet"), ..error.into() }
    }

    /// A fault of ours, of which the log has the detail.
    pub(crate) fn internal() -> Self {
        let message = "internal error; the server's log says more under this reply's x-request-id";
        let (code, status) = status::of(Kind::Internal);
        Self { code, status, message: message.to_owned(), violations: Vec::new(), allow: None, reason: None }
    }

    fn body(&self) -> Value {
        let mut error = json!({"code": self.code.as_u16(), "message": self.message, "status": self.status});
        if !self.violations.is_empty() {
            let violations: Vec<Value> = self
                .violations
                .iter()
                .map(|v| json!({"field": shortened(&v.field), "description": shortened(&v.description)}))
                .collect();
            error["details"] = json!([{"@type": BAD_REQUEST_TYPE, "fieldViolations": violations}]);
        }
        if let Some(reason) = self.reason {
            error["errors"] = json!([{"domain": "global", "reason": reason, "message": self.message}]);
        }
        json!({"error": error})
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> Self {
        if error.kind() == Kind::Internal {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, source, "internal error");
            return Self::internal();
        }
        let (code, status) = status::of(error.kind());
        let violations = error.violations().to_vec();
        Self { code, status, message: shortened(&error.to_string()), violations, allow: None, reason: None }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.code, Json(self.body())).into_response();
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            response.headers_mut().insert(header::ALLOW, allow);
        }
        response
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_that_of_googles_apis() {
        let error = ApiError::from(Error::invalid("instances[0]", "instance 0 is wrong"));
        assert_eq!(
            error.body(),
            json!({"error": {
                "code": 400,
                "message": "instance 0 is wrong",
                "status": "INVALID_ARGUMENT",
                "details": [{
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "instances[0]", "description": "instance 0 is wrong"}],
                }],
            }})
        );
        let error = ApiError::from(Error::new(Kind::NotFound, "no such"));
        assert_eq!(
            error.body(),
            json!({"error": {"code": 404, "message": "no such", "status": "NOT_FOUND"}})
        );
    }

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let body = ApiError::from(Error::internal("cannot write /srv/registry", "disk sda1 is full")).body();
        assert_eq!((&body["error"]["code"], &body["error"]["status"]), (&json!(500), &json!("INTERNAL")));
        assert!(!body.to_string().contains("registry") && !body.to_string().contains("sda1"), "{body}");
    }

    #[test]
    fn a_wrong_method_says_which_are_right() {
        let response = ApiError::wrong_method(&Method::PUT, "/healthz", "GET").into_response();
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()[header::ALLOW], "GET");
    }

    #[test]
    fn a_long_message_is_cut() {
        let error = ApiError::from(Error::new(Kind::NotFound, "é".repeat(5000)));
        assert_eq!(error.message.chars().count(), MESSAGE_CHARS_MAX + 3);
    }
}
