//! Who may do what: the one check that stands in front of every protocol.
//!
//! [`need`] says from method and path alone what a request must be allowed; what it does not know needs a key. Where the
//! path does not tell the project, as in gRPC, the handler asks the [`Caller`] in the request's extensions.

use std::borrow::Cow;

use axum::extract::Request;
use axum::http::{HeaderMap, Method, header};
use axum::response::Response;
use percent_encoding::percent_decode_str;
use platform::{Caller, Error, ModelName, Platform, Scope};

use crate::dialect::Dialect;
use crate::named::decoded;

/// No rule looks further into a path.
const SEGMENTS_MAX: usize = 12;

/// What a request must be allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Need<'a> {
    /// Nothing: signs of life, which probes ask without a key.
    Nothing,
    /// A scope; the handler checks the project, or there is none.
    Key(Scope),
    /// A scope in a project.
    In(Cow<'a, str>, Scope),
    /// A scope for all projects.
    Everywhere(Scope),
}

/// What a request must be allowed.
pub(crate) fn need<'a>(method: &Method, path: &'a str) -> Need<'a> {
    let reading = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
    let mut segments = [""; SEGMENTS_MAX];
    let mut count = 0;
    for (place, segment) in segments.iter_mut().zip(path.split('/').skip(1)) {
        *place = segment;
        count += 1;
    }
    let of_model = |name: &'a str, scope: Scope| match decoded(name) {
        Ok(name) => Need::In(ModelName::parse(&name).project.into(), scope),
        Err(_) => Need::Key(scope),
    };
    match &segments[..count] {
        ["healthz" | "readyz" | "ping" | "health"] | ["v2", "health", "live" | "ready"] if reading => {
            Need::Nothing
        }
        ["grpc.health.v1.Health", _] | ["inference.GRPCInferenceService", "ServerLive" | "ServerReady"] => {
            Need::Nothing
        }
        ["v1" | "ui", "projects", project, tail @ ..] => Need::In(lossy(project), vertex(reading, tail)),
        ["v1", "models", name, ..] => of_model(name.split(':').next().unwrap_or_default(), Scope::Predict),
        ["v2", "models", name, ..] if *name != "stats" => of_model(name, Scope::Predict),
        ["v2", "repository", "models", name, ..] => of_model(name, Scope::Admin),
        ["storage", ..] | ["download", "storage", ..] if reading => Need::Everywhere(Scope::Train),
        ["storage", ..] | ["upload", "storage", ..] => Need::Everywhere(Scope::Train),
        ["bellwether", "v1", "keys", ..] => Need::Key(Scope::Admin),
        ["inference.GRPCInferenceService", "RepositoryModelLoad" | "RepositoryModelUnload"]
        | ["tensorflow.serving.ModelService", "HandleReloadConfigRequest"] => Need::Key(Scope::Admin),
        ["metrics"] | ["monitoring", ..] => Need::Everywhere(Scope::Predict),
        _ => Need::Key(Scope::Predict),
    }
}

/// The scope of a call on a project's resources: what follows the project in the path.
fn vertex(reading: bool, tail: &[&str]) -> Scope {
    let verb = tail.last().and_then(|last| last.rsplit_once(':')).map_or("", |(_, verb)| verb);
    let collection = match tail {
        ["locations", _, collection, ..] => collection.split(':').next().unwrap_or_default(),
        _ => "",
    };
    match (collection, verb) {
        ("endpoints", "predict" | "rawPredict" | "directPredict" | "explain" | "streamRawPredict") => {
            Scope::Predict
        }
        ("operations", "wait") => Scope::Predict,
        _ if reading => Scope::Predict,
        ("customJobs" | "datasets" | "batchPredictionJobs", _) => Scope::Train,
        _ => Scope::Admin,
    }
}

/// A segment as text, whatever it is: what is no UTF-8 is the name of nothing.
fn lossy(segment: &str) -> Cow<'_, str> {
    decoded(segment).unwrap_or_else(|_| percent_decode_str(segment).decode_utf8_lossy())
}

/// Puts the [`Caller`] into the request's extensions, or refuses in the words of the protocol that was spoken.
pub(crate) fn check(
    platform: &Platform,
    request: &mut Request,
    dialect: Dialect,
) -> Result<(), Box<Response>> {
    let need = need(request.method(), request.uri().path());
    let caller = match need {
        Need::Nothing => Ok(Caller::default()),
        _ => platform.authenticate(sent(request.headers())).and_then(|caller| allowed(caller, &need)),
    };
    match caller {
        Ok(caller) => {
            request.extensions_mut().insert(caller);
            Ok(())
        }
        Err(error) => Err(Box::new(dialect.refusal(error))),
    }
}

fn allowed(caller: Caller, need: &Need<'_>) -> Result<Caller, Error> {
    match need {
        Need::Nothing => {}
        // A key of one project will do: the handler says of which.
        Need::Key(scope) => caller.allow(caller.project(), *scope)?,
        Need::In(project, scope) => caller.allow(Some(project), *scope)?,
        Need::Everywhere(scope) => caller.allow(None, *scope)?,
    }
    Ok(caller)
}

/// The key of a request, wherever its client puts keys.
fn sent(headers: &HeaderMap) -> Option<&str> {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let bearer = bearer.and_then(|text| {
        let (scheme, key) = text.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
    });
    let named = || ["x-api-key", "x-goog-api-key"].iter().find_map(|name| headers.get(*name)?.to_str().ok());
    bearer.or_else(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_needs_what_it_should() {
        use Need::{Everywhere, In, Key, Nothing};
        use Scope::{Admin, Predict, Train};
        let of = |project: &'static str, scope| In(project.into(), scope);
        let base = "/v1/projects/p/locations/l";
        for (method, path, expected) in [
            ("GET", "/healthz".to_owned(), Nothing),
            ("POST", "/healthz".to_owned(), Key(Predict)),
            ("GET", "/metrics".to_owned(), Everywhere(Predict)),
            ("GET", "/v2/health/live".to_owned(), Nothing),
            ("POST", format!("{base}/endpoints/e:predict"), of("p", Predict)),
            ("POST", format!("{base}/endpoints/e:deployModel"), of("p", Admin)),
            ("POST", format!("{base}/endpoints"), of("p", Admin)),
            ("GET", format!("{base}/endpoints"), of("p", Predict)),
            ("POST", format!("{base}/models:upload"), of("p", Admin)),
            ("POST", format!("{base}/customJobs"), of("p", Train)),
            ("POST", format!("{base}/datasets/d:import"), of("p", Train)),
            ("POST", format!("{base}/operations/o:wait"), of("p", Predict)),
            ("DELETE", format!("{base}/operations/o"), of("p", Admin)),
            ("POST", format!("{base}/endpoints/e:rawPredict"), of("p", Predict)),
            ("POST", format!("{base}/endpoints/e:mutateDeployedModel"), of("p", Admin)),
            ("GET", format!("{base}/endpoints/e/shadows"), of("p", Predict)),
            ("DELETE", format!("{base}/anything/else"), of("p", Admin)),
            ("POST", "/v1/projects/%70/locations/l/endpoints".to_owned(), of("p", Admin)),
            ("POST", "/v1/models/m:predict".to_owned(), of("default", Predict)),
            ("POST", "/v1/models/q.m/versions/2:predict".to_owned(), of("q", Predict)),
            ("GET", "/v1/models/q%2Em".to_owned(), of("q", Predict)),
            ("POST", "/v2/models/q.m/infer".to_owned(), of("q", Predict)),
            ("GET", "/v2/models/stats".to_owned(), Key(Predict)),
            ("POST", "/v2/repository/models/q.m/load".to_owned(), of("q", Admin)),
            ("POST", "/v2/repository/index".to_owned(), Key(Predict)),
            ("POST", "/invocations".to_owned(), Key(Predict)),
            ("POST", "/upload/storage/v1/b/x/o".to_owned(), Everywhere(Train)),
            ("POST", "/bellwether/v1/keys".to_owned(), Key(Admin)),
            ("POST", "/inference.GRPCInferenceService/ModelInfer".to_owned(), Key(Predict)),
            ("POST", "/inference.GRPCInferenceService/ServerLive".to_owned(), Nothing),
            ("POST", "/inference.GRPCInferenceService/RepositoryModelLoad".to_owned(), Key(Admin)),
            ("GET", format!("/v1/projects/p{}", "/x".repeat(99)), of("p", Predict)),
            ("GET", "/no/such/path".to_owned(), Key(Predict)),
            ("GET", "".to_owned(), Key(Predict)),
        ] {
            let method: Method = method.parse().unwrap();
            assert_eq!(need(&method, &path), expected, "{method} {path}");
        }
    }

    #[test]
    fn a_key_is_found_wherever_clients_put_it() {
        let with = |name: &'static str, value: &str| {
            HeaderMap::from_iter([(name.parse().unwrap(), value.parse().unwrap())])
        };
        for headers in [
            with("authorization", "Bearer k"),
            with("authorization", "bearer  k "),
            with("x-api-key", "k"),
            with("x-goog-api-key", "k"),
        ] {
            assert_eq!(sent(&headers), Some("k"), "{headers:?}");
        }
        assert_eq!(sent(&with("authorization", "Basic k")), None);
        assert_eq!(sent(&HeaderMap::new()), None);
    }
}
