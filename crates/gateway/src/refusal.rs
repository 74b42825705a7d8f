//! A refusal before a protocol has put it into its own shape: a status and a message for the user.

use axum::body::Body;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use platform::{Error, Kind};

use crate::body::BodyError;
use crate::json::Fault;
use crate::status;

/// A message never grows with what a hostile client sent.
const MESSAGE_CHARS_MAX: usize = 2000;

/// What a client hears whose body did not come in time.
pub(crate) const SLOW_BODY: &str =
    "the request body comes too slowly; send it without pauses, or in smaller requests";

/// Why a request is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The HTTP status.
    pub(crate) code: StatusCode,
    /// For the user; nothing of our insides.
    pub(crate) message: String,
    /// The methods that would do, where the method was wrong.
    allow: Option<&'static str>,
}

impl Refusal {
    /// With a status and a message.
    pub(crate) fn new(code: StatusCode, message: impl Into<String>) -> Self {
        Self { code, message: shortened(message.into()), allow: None }
    }

    /// The request itself is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, message)
    }

    /// A path that exists, asked with a method it does not have.
    pub(crate) fn wrong_method(message: impl Into<String>, allowed: &'static str) -> Self {
        Self { allow: Some(allowed), ..Self::new(StatusCode::METHOD_NOT_ALLOWED, message) }
    }

    /// The reply, with the body that the protocol gives it.
    pub(crate) fn reply(&self, content_type: &'static str, body: impl Into<Body>) -> Response {
        let mut response = Response::new(body.into());
        *response.status_mut() = self.code;
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        if let Some(allow) = self.allow {
            headers.insert(header::ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let (code, _) = status::of(error.kind());
        if error.kind() == Kind::Internal {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            tracing::error!(%error, source, "internal error");
            let message = "internal error; the server's log says more under this reply's x-request-id";
            return Self::new(code, message);
        }
        Self::new(code, error.to_string())
    }
}

impl From<BodyError> for Refusal {
    fn from(error: BodyError) -> Self {
        match error {
            BodyError::TooLarge(limit) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                format!("the request body is over the limit of {limit} bytes; send less at a time"),
            ),
            BodyError::Cut => Self::new(status::of(Kind::Cancelled).0, "the request body ended early"),
            BodyError::Misframed => Self::invalid(
                "the request body is not chunked as its transfer-encoding says: sizes in hexadecimal, lines that end with CR LF",
            ),
            BodyError::Slow => Self::new(StatusCode::REQUEST_TIMEOUT, SLOW_BODY),
            BodyError::Coding(name) => Self::new(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                format!("content encoding \"{name}\" is not offered; send gzip, deflate or no encoding"),
            ),
            BodyError::Corrupt(name) => {
                Self::invalid(format!("the request body is not {name}, as its content encoding says"))
            }
        }
    }
}

impl From<Fault> for Refusal {
    fn from(fault: Fault) -> Self {
        Self::invalid(format!("the request body is not JSON: {fault}"))
    }
}

fn shortened(text: String) -> String {
    match text.char_indices().nth(MESSAGE_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text,
    }
}

/// As much of a client's text as an error message repeats.
pub(crate) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 60;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_wrong_inside_stays_inside() {
        let refusal = Refusal::from(Error::internal("cannot write /srv/registry", "disk sda1 is full"));
        assert_eq!(refusal.code, 500);
        assert!(!refusal.message.contains("registry") && !refusal.message.contains("sda1"));
        assert_eq!(Refusal::from(Error::new(Kind::Unavailable, "later")).code, 503);
        let long = Refusal::invalid("é".repeat(5000));
        assert_eq!(long.message.chars().count(), MESSAGE_CHARS_MAX + 3);
    }

    #[test]
    fn a_wrong_method_says_which_is_right() {
        let response = Refusal::wrong_method("no", "GET, POST").reply("application/json", "{}");
        assert_eq!(
            (response.status().as_u16(), &response.headers()["allow"]),
            (405, &"GET, POST".parse().unwrap())
        );
    }
}
