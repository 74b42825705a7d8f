//! Which call a method and a path below `/v2` are.

use axum::http::{Method, StatusCode};
use platform::VersionChoice;

use crate::named::segment;
use crate::refusal::Refusal;

/// A model and the version that is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    /// As it is in the path, unescaped.
    pub(crate) model: String,
    /// A version by its number or, which is ours, by an alias.
    pub(crate) version: VersionChoice,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Call {
    Live,
    Ready,
    ServerMetadata,
    ModelReady(Asked),
    ModelMetadata(Asked),
    ModelConfig(Asked),
    Infer(Asked),
    AllStatistics,
    Statistics(Asked),
    RepositoryIndex,
    Load(String),
    Unload(String),
    /// A part of the protocol that this server does not have.
    NotOffered(&'static str),
}

impl Call {
    /// The name it is counted under.
    pub(crate) fn route(&self) -> &'static str {
        match self {
            Self::Live => "v2.health.live",
            Self::Ready => "v2.health.ready",
            Self::ServerMetadata => "v2.metadata",
            Self::ModelReady(_) => "v2.model.ready",
            Self::ModelMetadata(_) => "v2.model.metadata",
            Self::ModelConfig(_) => "v2.model.config",
            Self::Infer(_) => "v2.model.infer",
            Self::AllStatistics | Self::Statistics(_) => "v2.model.stats",
            Self::RepositoryIndex => "v2.repository.index",
            Self::Load(_) => "v2.repository.load",
            Self::Unload(_) => "v2.repository.unload",
            Self::NotOffered(_) => "v2.not_offered",
        }
    }

    fn takes(&self) -> &'static str {
        match self {
            Self::Infer(_) | Self::RepositoryIndex | Self::Load(_) | Self::Unload(_) => "POST",
            Self::NotOffered(_) => "GET, POST",
            _ => "GET, HEAD",
        }
    }

    /// Reads a method and a path.
    ///
    /// # Errors
    /// 400 for names that are no text, 404 for a path that names nothing, 405 with the methods it takes.
    pub(crate) fn parse(method: &Method, path: &str) -> Result<Self, Refusal> {
        let rest = path.strip_prefix("/v2").unwrap_or_default();
        let rest = rest.strip_prefix('/').unwrap_or(rest);
        let call = if rest.is_empty() {
            Self::ServerMetadata
        } else {
            let decoded: Option<Vec<String>> = rest.split('/').map(segment).collect();
            let segments = decoded.ok_or_else(|| {
                Refusal::invalid("a segment of the path is empty, no UTF-8, or holds control characters")
            })?;
            let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
            Self::of(&segments)?.ok_or_else(|| {
                let message = format!("unknown path {path}; see /v2/models/MODEL/infer");
                Refusal::new(StatusCode::NOT_FOUND, message)
            })?
        };
        let takes = call.takes();
        if !takes.split(", ").any(|one| one == method.as_str()) {
            return Err(Refusal::wrong_method(format!("{path} does not take {method}; use {takes}"), takes));
        }
        Ok(call)
    }

    fn of(segments: &[&str]) -> Result<Option<Self>, Refusal> {
        let newest = |model: &str| Asked { model: model.to_owned(), version: VersionChoice::Default };
        Ok(Some(match segments {
            ["health", "live"] => Self::Live,
            ["health", "ready"] => Self::Ready,
            ["models", "stats"] => Self::AllStatistics,
            ["repository", "index"] => Self::RepositoryIndex,
            ["repository", "models", model, "load"] => Self::Load((*model).to_owned()),
            ["repository", "models", model, "unload"] => Self::Unload((*model).to_owned()),
            ["logging"] => Self::NotOffered("changing what is logged"),
            ["trace", "setting"] | ["models", _, "trace", "setting"] => Self::NotOffered("tracing"),
            ["systemsharedmemory" | "cudasharedmemory", ..] => Self::NotOffered("shared memory"),
            ["models", _, "generate" | "generate_stream"] => Self::NotOffered("generating text"),
            ["models", model, "versions", version, rest @ ..] => {
                let asked = Asked { model: (*model).to_owned(), version: choice(version)? };
                return Ok(Self::of_model(asked, rest));
            }
            ["models", model, rest @ ..] => return Ok(Self::of_model(newest(model), rest)),
            _ => return Ok(None),
        }))
    }

    fn of_model(asked: Asked, rest: &[&str]) -> Option<Self> {
        match rest {
            [] => Some(Self::ModelMetadata(asked)),
            ["ready"] => Some(Self::ModelReady(asked)),
            ["config"] => Some(Self::ModelConfig(asked)),
            ["stats"] => Some(Self::Statistics(asked)),
            ["infer"] => Some(Self::Infer(asked)),
            _ => None,
        }
    }
}

fn choice(version: &str) -> Result<VersionChoice, Refusal> {
    if !version.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok(VersionChoice::Alias(version.to_owned()));
    }
    version
        .parse()
        .map(VersionChoice::Number)
        .map_err(|_| Refusal::invalid(format!("version {version} is larger than any version is")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(model: &str, version: VersionChoice) -> Asked {
        Asked { model: model.to_owned(), version }
    }

    #[test]
    fn paths_are_calls() {
        let get = |path: &str| Call::parse(&Method::GET, path).unwrap();
        let post = |path: &str| Call::parse(&Method::POST, path).unwrap();
        let default = || asked("m", VersionChoice::Default);
        assert_eq!((get("/v2"), get("/v2/")), (Call::ServerMetadata, Call::ServerMetadata));
        assert_eq!(get("/v2/health/live"), Call::Live);
        assert_eq!(get("/v2/models/m"), Call::ModelMetadata(default()));
        assert_eq!(
            get("/v2/models/a%20b/versions/3/ready"),
            Call::ModelReady(asked("a b", VersionChoice::Number(3)))
        );
        assert_eq!(
            post("/v2/models/m/versions/champion/infer"),
            Call::Infer(asked("m", VersionChoice::Alias("champion".to_owned())))
        );
        assert_eq!(get("/v2/models/stats"), Call::AllStatistics);
        assert_eq!(get("/v2/models/m/stats"), Call::Statistics(default()));
        assert_eq!(post("/v2/repository/models/m/unload"), Call::Unload("m".to_owned()));
        assert_eq!(get("/v2/systemsharedmemory/status"), Call::NotOffered("shared memory"));
    }

    #[test]
    fn what_is_no_call_is_told_apart() {
        let code = |method: Method, path: &str| Call::parse(&method, path).unwrap_err().code.as_u16();
        for path in ["/v2/models", "/v2/models/m/x", "/v2/x", "/v2/models/m/infer/x"] {
            assert_eq!(code(Method::GET, path), 404, "{path}");
        }
        for path in ["/v2/models/", "/v2/models//infer", "/v2/models/%ff/infer", "/v2/models/a%00/infer"] {
            assert_eq!(code(Method::POST, path), 400, "{path}");
        }
        assert_eq!(code(Method::POST, "/v2/models/m/versions/99999999999/infer"), 400);
        assert_eq!(code(Method::GET, "/v2/models/m/infer"), 405);
        assert_eq!(code(Method::DELETE, "/v2/models/m"), 405);
    }
}
