//! Which call a method and a path below `/v1` are, by the server's two regular expressions, which ignore case:
//!
//! `POST /v1/models/NAME[/versions/N|/labels/L]:(classify|regress|predict)` and
//! `GET /v1/models[/NAME][/versions/N|/labels/L][/metadata]`. Anything else is malformed.

use axum::http::{Method, StatusCode};
use platform::VersionChoice;

use crate::named::segment;
use crate::refusal::{Refusal, shown};

/// What is done with a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verb {
    Predict,
    Classify,
    Regress,
    Status,
    Metadata,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) verb: Verb,
    /// The model's name, unescaped.
    pub(crate) model: String,
    pub(crate) version: VersionChoice,
    /// The number that was asked for, which may be larger than any version's.
    pub(crate) number: Option<i64>,
}

impl Verb {
    /// The name it is counted under.
    pub(crate) fn route(self) -> &'static str {
        match self {
            Self::Predict => "tensorflow_serving.predict",
            Self::Classify => "tensorflow_serving.classify",
            Self::Regress => "tensorflow_serving.regress",
            Self::Status => "tensorflow_serving.status",
            Self::Metadata => "tensorflow_serving.metadata",
        }
    }
}

impl Call {
    /// Reads a method and a path.
    ///
    /// # Errors
    /// 400 in the server's words.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, Refusal> {
        let malformed = || Refusal::invalid(format!("Malformed request: {method} {}", shown(path)));
        let rest = after(path, "/v1/models").ok_or_else(malformed)?;
        if method == Method::POST {
            let (rest, verb) = rest.rsplit_once(':').ok_or_else(malformed)?;
            let verb = match verb.to_ascii_lowercase().as_str() {
                "predict" => Verb::Predict,
                "classify" => Verb::Classify,
                "regress" => Verb::Regress,
                _ => return Err(malformed()),
            };
            let rest = rest.strip_prefix('/').ok_or_else(malformed)?;
            return Self::of(verb, rest, malformed);
        }
        if method != Method::GET && method != Method::HEAD {
            return Err(malformed());
        }
        if rest.is_empty() {
            return Err(Refusal::new(StatusCode::BAD_REQUEST, "Missing model name in request."));
        }
        let rest = rest.strip_prefix('/').ok_or_else(malformed)?;
        match before(rest, "/metadata") {
            Some(rest) => Self::of(Verb::Metadata, rest, malformed),
            None => Self::of(Verb::Status, rest, malformed),
        }
    }

    fn of(verb: Verb, rest: &str, malformed: impl Fn() -> Refusal) -> Result<Self, Refusal> {
        let part = |raw: &str| if raw.contains(':') { None } else { segment(raw) }.ok_or_else(&malformed);
        let segments: Vec<&str> = rest.split('/').collect();
        let (model, version, number) = match segments.as_slice() {
            [model] => (model, VersionChoice::Default, None),
            [model, kind, number] if kind.eq_ignore_ascii_case("versions") => {
                if number.is_empty() || !number.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(malformed());
                }
                let Ok(asked) = number.parse::<i64>() else {
                    let message = format!("Failed to convert version: {} to numeric.", shown(number));
                    return Err(Refusal::invalid(message));
                };
                // No version has the number 0 or one of more than 32 bits.
                (model, VersionChoice::Number(u32::try_from(asked).unwrap_or_default()), Some(asked))
            }
            [model, kind, label] if kind.eq_ignore_ascii_case("labels") => {
                (model, VersionChoice::Alias(part(label)?), None)
            }
            _ => return Err(malformed()),
        };
        Ok(Self { verb, model: part(model)?, version, number })
    }
}

fn after<'a>(path: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = path.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

fn before<'a>(path: &'a str, suffix: &str) -> Option<&'a str> {
    let (rest, end) = path.split_at_checked(path.len().checked_sub(suffix.len())?)?;
    end.eq_ignore_ascii_case(suffix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(method: &Method, path: &str) -> Result<(Verb, String, VersionChoice), String> {
        Call::parse(method, path)
            .map(|call| (call.verb, call.model, call.version))
            .map_err(|refusal| refusal.message)
    }

    #[test]
    fn paths_are_calls_whatever_their_case() {
        let model = |name: &str| name.to_owned();
        let alias = VersionChoice::Alias("canary".to_owned());
        for (method, path, verb, name, version) in [
            (Method::POST, "/v1/models/half:predict", Verb::Predict, "half", VersionChoice::Default),
            (
                Method::POST,
                "/v1/Models/a%20b/Versions/7:CLASSIFY",
                Verb::Classify,
                "a b",
                VersionChoice::Number(7),
            ),
            (Method::POST, "/v1/models/m/labels/canary:regress", Verb::Regress, "m", alias.clone()),
            (Method::GET, "/v1/models/m", Verb::Status, "m", VersionChoice::Default),
            (Method::GET, "/v1/models/metadata", Verb::Status, "metadata", VersionChoice::Default),
            (Method::GET, "/v1/models/m/labels/canary/metadata", Verb::Metadata, "m", alias),
            (Method::GET, "/v1/models/m/versions/99999999999", Verb::Status, "m", VersionChoice::Number(0)),
        ] {
            assert_eq!(parse(&method, path).unwrap(), (verb, model(name), version), "{path}");
        }
    }

    #[test]
    fn anything_else_is_malformed() {
        for (method, path) in [
            (Method::GET, "/v1/models/m:predict"),
            (Method::POST, "/v1/models/m"),
            (Method::POST, "/v1/models/:predict"),
            (Method::POST, "/v1/models/m:explain"),
            (Method::POST, "/v1/models/a:b:predict"),
            (Method::POST, "/v1/models/m/versions/1.5:predict"),
            (Method::POST, "/v1/models/m/versions/:predict"),
            (Method::POST, "/v1/models/%ff:predict"),
            (Method::DELETE, "/v1/models/m"),
            (Method::GET, "/v1/modelsm"),
            (Method::GET, "/v1/models//metadata"),
            (Method::GET, "/v1/é/models"),
        ] {
            let message = parse(&method, path).unwrap_err();
            assert_eq!(message, format!("Malformed request: {method} {path}"));
        }
        assert_eq!(parse(&Method::GET, "/v1/models").unwrap_err(), "Missing model name in request.");
        let huge = "/v1/models/m/versions/99999999999999999999:predict";
        assert_eq!(
            parse(&Method::POST, huge).unwrap_err(),
            "Failed to convert version: 99999999999999999999 to numeric."
        );
    }
}
