//! The document against the router: each of its operations is answered, and whatever a protocol takes is in it.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::{Method, Request};
use platform::{Options, Platform};
use tower::ServiceExt as _;

use super::operation::{Operation, example};
use super::{document, operations};
use crate::observe::Route;
use crate::router::{ROUTES, Service};
use crate::stopping::Stopping;
use crate::{GatewayOptions, open_inference, tensorflow_serving, vertex};

async fn server() -> (tempfile::TempDir, Router) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        data_dir: dir.path().join("data"),
        artifact_root: None,
        artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
        allowed_roots: Vec::new(),
        holder: "test".to_owned(),
        clock: Arc::new(jiff::Timestamp::now),
    };
    let platform = Platform::open(options).await.unwrap();
    (dir, Service::new(platform, GatewayOptions::default(), Stopping::default()).router())
}

/// A path of a template.
fn concrete(template: &str) -> String {
    let mut path = template.to_owned();
    while let Some((before, rest)) = path.split_once('{') {
        let (name, after) = rest.split_once('}').unwrap();
        let value = example(name);
        let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        path = format!("{before}{value}{after}");
    }
    path
}

/// Whether a path is one of a template, whose variables hold no colon.
fn is_of(template: &str, path: &str) -> bool {
    let (template, path): (Vec<&str>, Vec<&str>) = (template.split('/').collect(), path.split('/').collect());
    let fits =
        |(template, segment): (&&str, &&str)| match (template.split_once('{'), template.split_once('}')) {
            (Some((before, _)), Some((_, after))) => {
                let inner = segment.strip_prefix(before).and_then(|rest| rest.strip_suffix(after));
                inner.is_some_and(|inner| !inner.is_empty() && !inner.contains(':'))
            }
            _ => template == segment,
        };
    template.len() == path.len() && template.iter().zip(&path).all(fits)
}

fn documented(all: &[Operation], method: &Method, path: &str, route: &str) -> bool {
    all.iter().any(|operation| {
        operation.method.eq_ignore_ascii_case(method.as_str())
            && operation.route == route
            && is_of(&operation.path, path)
    })
}

/// All paths of up to `length` segments of an alphabet.
fn paths(alphabet: &[&str], length: usize) -> Vec<String> {
    let mut all = vec![String::new()];
    let mut last = all.clone();
    for _ in 0..length {
        last = last.iter().flat_map(|path| alphabet.iter().map(move |one| format!("{path}/{one}"))).collect();
        all.extend_from_slice(&last);
    }
    all
}

#[tokio::test]
async fn every_operation_is_answered() {
    let (_dir, router) = server().await;
    for operation in operations() {
        let mut path = concrete(&operation.path);
        if operation.route == "storage.upload" && operation.method != "post" {
            path += "?upload_id=1";
        }
        let method: Method = operation.method.to_ascii_uppercase().parse().unwrap();
        let request =
            Request::builder().method(&method).uri(&path).header("content-type", "application/json");
        let response = router.clone().oneshot(request.body(Body::from("{}")).unwrap()).await.unwrap();
        let route = response.extensions().get::<Route>().copied();
        assert_eq!(route, Some(Route(operation.route)), "{method} {path}");
        assert_ne!(response.status(), 405, "{method} {path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let (_dir, router) = server().await;
    let all = operations();
    for operation in &all {
        let path = concrete(&operation.path);
        for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE] {
            let here = |other: &Operation| {
                other.method.eq_ignore_ascii_case(method.as_str()) && is_of(&other.path, &path)
            };
            if all.iter().any(here) {
                continue;
            }
            let request = Request::builder().method(&method).uri(&path).body(Body::empty()).unwrap();
            let response = router.clone().oneshot(request).await.unwrap();
            let code = response.status().as_u16();
            let body = axum::body::to_bytes(response.into_body(), 10_000).await.unwrap();
            let malformed = code == 400 && String::from_utf8_lossy(&body).contains("Malformed request");
            // Vertex AI's calls that are not offered have no place in the document.
            assert!(matches!(code, 404 | 405 | 501) || malformed, "{method} {path}: {code}");
        }
    }
}

#[test]
fn every_mount_of_the_router_is_documented() {
    // What is under the one is always refused; the other is the same as `/v2`.
    const NOT_THERE: [&str; 2] = ["/v1/", "/v2/"];
    let all = operations();
    for (mount, ..) in ROUTES {
        let here = |operation: &Operation| match mount.split_once("{*") {
            Some((before, _)) => operation.path.starts_with(before),
            None => is_of(mount, &concrete(&operation.path).replace(':', ".")),
        };
        assert!(NOT_THERE.contains(mount) || all.iter().any(here), "{mount} is not documented");
    }
}

#[test]
fn what_open_inference_takes_is_documented() {
    use open_inference::path::Call;
    let all = operations();
    let alphabet = [
        "health",
        "live",
        "ready",
        "models",
        "m",
        "versions",
        "1",
        "config",
        "infer",
        "stats",
        "repository",
        "index",
        "load",
        "unload",
    ];
    let mut found = 0;
    for rest in paths(&alphabet, 5) {
        let path = format!("/v2{rest}");
        for method in [Method::GET, Method::POST] {
            let Ok(call) = Call::parse(&method, &path) else { continue };
            assert!(documented(&all, &method, &path, call.route()), "{method} {path} is not documented");
            found += 1;
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn what_tensorflow_serving_takes_is_documented() {
    use tensorflow_serving::path::Call;
    let all = operations();
    let mut found = 0;
    for rest in paths(&["models", "m", "versions", "1", "labels", "metadata"], 5) {
        for verb in ["", ":predict", ":classify", ":regress", ":explain"] {
            let path = format!("/v1{rest}{verb}");
            for method in [Method::GET, Method::POST, Method::PUT] {
                let Ok(call) = Call::parse(&method, &path) else { continue };
                let route = call.verb.route();
                assert!(documented(&all, &method, &path, route), "{method} {path} is not documented");
                found += 1;
            }
        }
    }
    assert!(found > 50, "{found}");
}

#[test]
fn what_vertex_takes_is_documented() {
    use vertex::path::Address;
    let all = operations();
    let alphabet = ["models", "endpoints", "datasets", "customJobs", "operations", "logs", "x"];
    let verbs = [
        "",
        ":upload",
        ":listVersions",
        ":deleteVersion",
        ":mergeVersionAliases",
        ":deployModel",
        ":undeployModel",
        ":predict",
        ":import",
        ":cancel",
        ":resume",
        ":wait",
        ":rawPredict",
        ":mutateDeployedModel",
        ":explain",
    ];
    let mut found = 0;
    for prefix in ["/v1", "/ui"] {
        for rest in paths(&alphabet, 4) {
            for verb in verbs {
                let path = format!("{prefix}/projects/p/locations/l{rest}{verb}");
                for method in [Method::GET, Method::POST, Method::PATCH, Method::DELETE] {
                    let Ok(address) = Address::parse(&method, &path) else { continue };
                    let route = address.call.route();
                    assert!(documented(&all, &method, &path, route), "{method} {path} is not documented");
                    found += 1;
                }
            }
        }
    }
    assert!(found > 100, "{found}");
}

#[test]
fn the_document_is_whole() {
    let document = document();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    for reference in text.split("#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(schemas.contains_key(name), "{name} is not described");
    }
    for name in schemas.keys() {
        assert!(text.contains(&format!("#/components/schemas/{name}\"")), "nothing is a {name}");
    }
    let mut ids: Vec<&str> =
        text.split("\"operationId\":\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!((ids.len(), count), (count, operations().len()));
    assert!(document["paths"]["/v2/models/{model}/infer"]["post"]["requestBody"].is_object());
}
