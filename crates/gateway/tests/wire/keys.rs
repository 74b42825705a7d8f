//! API keys in front of every protocol.

use axum::body::Body;
use axum::http::{Method, Request};
use gateway::GatewayOptions;
use platform::{CreateKey, Scope};
use serde_json::json;

use crate::fixture::{Answer, N, Server};

/// A path of every route there is, of some that are not there, and what asks for no key.
const GUARDED: &[(&str, &str)] = &[
    ("GET", "/metrics"),
    ("GET", "/openapi.json"),
    ("GET", "/bellwether/v1/keys"),
    ("POST", "/bellwether/v1/keys"),
    ("POST", "/bellwether/v1/keys/0123456789ab:revoke"),
    ("GET", "/v1/projects/default/locations/l/models"),
    ("GET", "/v1/projects/default/locations/l/models/m"),
    ("GET", "/v1/projects/default/locations/l/models/m:listVersions"),
    ("POST", "/v1/projects/default/locations/l/models:upload"),
    ("GET", "/v1/projects/default/locations/l/endpoints"),
    ("POST", "/v1/projects/default/locations/l/endpoints"),
    ("GET", "/v1/projects/default/locations/l/endpoints/e"),
    ("POST", "/v1/projects/default/locations/l/endpoints/e:predict"),
    ("POST", "/v1/projects/default/locations/l/endpoints/e:deployModel"),
    ("POST", "/v1/projects/default/locations/l/endpoints/e:undeployModel"),
    ("POST", "/v1/projects/default/locations/l/endpoints/e:mutateDeployedModel"),
    ("POST", "/v1/projects/default/locations/l/endpoints/e:rawPredict"),
    ("POST", "/v1/projects/default/locations/l/endpoints/e:update"),
    ("GET", "/v1/projects/default/locations/l/endpoints/e/shadows"),
    ("GET", "/v1/projects/default/locations/l/operations"),
    ("DELETE", "/v1/projects/default/locations/l/operations/1"),
    ("GET", "/v1/projects/default/locations/l/datasets"),
    ("POST", "/v1/projects/default/locations/l/datasets"),
    ("POST", "/v1/projects/default/locations/l/datasets/d:import"),
    ("GET", "/v1/projects/default/locations/l/customJobs"),
    ("POST", "/v1/projects/default/locations/l/customJobs"),
    ("GET", "/v1/projects/default/locations/l/customJobs/j/logs"),
    ("DELETE", "/v1/projects/default/locations/l/customJobs/j"),
    ("GET", "/v1/projects/default/locations/l/operations/1"),
    ("GET", "/ui/projects/default/locations/l/operations/1"),
    ("GET", "/storage/v1/b/b/o/x"),
    ("GET", "/download/storage/v1/b/b/o/x"),
    ("POST", "/upload/storage/v1/b/b/o"),
    ("GET", "/v1/models"),
    ("GET", "/v1/models/m"),
    ("POST", "/v1/models/m:predict"),
    ("POST", "/v1/Models/m:predict"),
    ("GET", "/v2"),
    ("GET", "/v2/models/m"),
    ("GET", "/v2/models/stats"),
    ("POST", "/v2/models/m/infer"),
    ("POST", "/v2/repository/index"),
    ("POST", "/v2/repository/models/m/unload"),
    ("POST", "/invocations"),
    ("POST", "/endpoints/e/invocations"),
    ("GET", "/version"),
    ("GET", "/no/such/path"),
    ("DELETE", "/healthz"),
];

async fn key(server: &Server, project: Option<&str>, scope: Scope) -> String {
    let request = CreateKey {
        project: project.map(str::to_owned),
        display_name: "test".to_owned(),
        scope,
        expires_at: None,
    };
    server.platform.create_key(request).await.unwrap().secret
}

async fn ask(server: &Server, [method, path, body]: [&str; 3], key: Option<&str>) -> Answer {
    let mut request = Request::builder().method(method).uri(path);
    if let Some(key) = key {
        request = request.header("authorization", format!("Bearer {key}"));
    }
    server.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

#[tokio::test]
async fn every_route_asks_for_a_key() {
    let server = Server::empty(GatewayOptions::default()).await;
    let admin = key(&server, None, Scope::Admin).await;
    for (method, path) in GUARDED {
        for wrong in [None, Some(""), Some("bw-0123456789ab-00"), Some(&admin[..admin.len() - 1])] {
            let answer = ask(&server, [method, path, "{}"], wrong).await;
            assert_eq!(answer.status, 401, "{method} {path} with {wrong:?}: {}", answer.text);
            assert_eq!(answer.header("www-authenticate"), "Bearer");
            assert!(!answer.header("x-request-id").is_empty());
        }
        let answer = ask(&server, [method, path, "{}"], Some(&admin)).await;
        assert!(answer.status != 401 && answer.status != 403, "{method} {path}: {}", answer.text);
    }
    for path in ["/healthz", "/readyz"] {
        assert_eq!(server.get(path).await.status, 200);
    }
}

#[tokio::test]
async fn a_refusal_speaks_the_protocol_that_was_spoken() {
    let server = Server::empty(GatewayOptions::default()).await;
    key(&server, None, Scope::Admin).await;
    let message = server.get(&format!("{N}/models")).await.refused(401, "UNAUTHENTICATED");
    assert!(message.contains("Authorization: Bearer"), "{message}");
    for path in ["/v2/models/m", "/v1/models/m"] {
        let answer = server.get(path).await;
        assert_eq!(answer.json(), json!({"error": message}), "{path}");
    }
    let answer = server.request(Method::POST, "/invocations", "{}").await;
    assert_eq!(answer.json(), json!({"error_code": "UNAUTHENTICATED", "message": message}));
    let request = Request::builder()
        .method("POST")
        .uri("/inference.GRPCInferenceService/ModelInfer")
        .header("content-type", "application/grpc+proto");
    let answer = server.send(request.body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status.as_u16(), answer.header("grpc-status")), (200, "16"));
    assert!(answer.header("grpc-message").starts_with("this%20server%20asks%20for%20an%20API%20key"));
    let answer = server.request(Method::POST, "/endpoints/e/invocations", "{}").await;
    assert_eq!(answer.json(), json!({"error_code": "UNAUTHENTICATED", "message": message}));
    assert_eq!(answer.header("x-amzn-errortype"), "AccessDeniedException");
}

#[tokio::test]
async fn a_key_does_what_its_scope_and_project_say() {
    let server = Server::empty(GatewayOptions::default()).await;
    let predict = key(&server, Some("default"), Scope::Predict).await;
    let train = key(&server, Some("default"), Scope::Train).await;
    let admin = key(&server, Some("default"), Scope::Admin).await;
    let other = key(&server, Some("other"), Scope::Admin).await;
    let endpoint = format!("{N}/endpoints?endpointId=e");
    let body = r#"{"displayName": "E"}"#;
    for key in [&predict, &train] {
        let message =
            ask(&server, ["POST", &endpoint, body], Some(key)).await.refused(403, "PERMISSION_DENIED");
        assert!(message.ends_with("and this needs admin"), "{message}");
    }
    let message =
        ask(&server, ["POST", &endpoint, body], Some(&other)).await.refused(403, "PERMISSION_DENIED");
    assert!(message.ends_with("is for project \"other\" alone"), "{message}");
    assert_eq!(ask(&server, ["POST", &endpoint, body], Some(&admin)).await.status, 200);
    assert_eq!(ask(&server, ["GET", &format!("{N}/endpoints/e"), ""], Some(&predict)).await.status, 200);
    let job = format!("{N}/customJobs");
    ask(&server, ["POST", &job, "{}"], Some(&predict)).await.refused(403, "PERMISSION_DENIED");
    ask(&server, ["POST", &job, "{}"], Some(&train)).await.refused(400, "INVALID_ARGUMENT");
    ask(&server, ["GET", "/metrics", ""], Some(&admin)).await.refused(403, "PERMISSION_DENIED");
}

#[tokio::test]
async fn keys_are_made_listed_and_revoked_over_the_wire() {
    let server = Server::empty(GatewayOptions::default()).await;
    let desk_first = r#"{"scope": "predict", "project": "default"}"#;
    let refused = ask(&server, ["POST", "/bellwether/v1/keys", desk_first], None).await;
    let message = refused.refused(400, "FAILED_PRECONDITION");
    assert!(message.starts_with("the first key has to be one of the scope admin"), "{message}");
    let first = r#"{"scope": "admin", "displayName": "operator"}"#;
    let made = ask(&server, ["POST", "/bellwether/v1/keys", first], None).await.json();
    let admin = made["key"].as_str().unwrap().to_owned();
    let desk = r#"{"scope": "predict", "project": "default", "expireTime": "2024-01-02T03:04:06Z"}"#;
    let desk = ask(&server, ["POST", "/bellwether/v1/keys", desk], Some(&admin)).await.json();
    let listed = ask(&server, ["GET", "/bellwether/v1/keys", ""], Some(&admin)).await;
    assert!(!listed.text.contains(&admin[20..]), "no secret is ever told again: {}", listed.text);
    let listed = listed.json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    assert_eq!(
        (&listed["keys"][0]["displayName"], &listed["keys"][0]["requests"]),
        (&json!("operator"), &json!(2))
    );

    let own = key(&server, Some("default"), Scope::Admin).await;
    let listed = ask(&server, ["GET", "/bellwether/v1/keys", ""], Some(&own)).await.json();
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2, "those of its project");
    let everywhere = ask(&server, ["POST", "/bellwether/v1/keys", first], Some(&own)).await;
    everywhere.refused(403, "PERMISSION_DENIED");
    let operator = format!("/bellwether/v1/keys/{}:revoke", made["id"].as_str().unwrap());
    ask(&server, ["POST", &operator, ""], Some(&own)).await.refused(404, "NOT_FOUND");

    let desk_key = desk["key"].as_str().unwrap();
    let models = format!("{N}/models");
    assert_eq!(ask(&server, ["GET", &models, ""], Some(desk_key)).await.status, 200);
    let revoke = format!("/bellwether/v1/keys/{}:revoke", desk["id"].as_str().unwrap());
    assert!(ask(&server, ["POST", &revoke, ""], Some(&admin)).await.json()["revokeTime"].is_string());
    let message = ask(&server, ["GET", &models, ""], Some(desk_key)).await.refused(401, "UNAUTHENTICATED");
    assert!(message.starts_with("this API key was revoked"), "{message}");
    let past = r#"{"scope": "predict", "expireTime": "2024-01-02T03:04:05Z"}"#;
    ask(&server, ["POST", "/bellwether/v1/keys", past], Some(&admin)).await.refused(400, "INVALID_ARGUMENT");
    let unknown = r#"{"scope": "everything"}"#;
    ask(&server, ["POST", "/bellwether/v1/keys", unknown], Some(&admin))
        .await
        .refused(400, "INVALID_ARGUMENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_project_asks_no_model_however_the_path_is_written() {
    let server = Server::deployed().await;
    let other = key(&server, Some("other"), Scope::Admin).await;
    let own = key(&server, Some("default"), Scope::Predict).await;
    let rows = r#"{"instances": [[1, 2, 3, 4, 5]]}"#;
    for path in [
        "/v1/models/tiny-model:predict",
        "/v1/Models/tiny-model:predict",
        "/v1/MODELS/default.tiny-model/versions/1:predict",
        "/v1/models/tiny%2Dmodel:predict",
        "/endpoints/tiny/invocations",
        "/endpoints/tiny-model/invocations",
        "/invocations",
    ] {
        let send = |key: &str| {
            let headers = [("x-api-key", key.to_owned()), ("content-type", "application/json".to_owned())];
            let mut request = Request::post(path);
            for (name, value) in headers {
                request = request.header(name, value);
            }
            server.send(request.body(Body::from(rows)).unwrap())
        };
        let refused = send(&other).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text);
        assert_eq!(send(&own).await.status, 200, "{path}");
    }
    for (method, path) in [
        ("GET", "/v1/Models/tiny-model"),
        ("GET", "/v1/models/tiny-model/metadata"),
        ("GET", "/v2/models/tiny-model"),
        ("POST", "/v2/models/default.tiny-model/infer"),
        ("POST", "/v2/repository/models/tiny-model/load"),
    ] {
        let refused = ask(&server, [method, path, "{}"], Some(&other)).await;
        assert_eq!(refused.status, 403, "{path}: {}", refused.text);
    }
    let index = ask(&server, ["POST", "/v2/repository/index", ""], Some(&other)).await;
    assert_eq!(index.json(), json!([]));
    let stats = ask(&server, ["GET", "/v2/models/stats", ""], Some(&other)).await;
    assert_eq!(stats.json(), json!({"model_stats": []}));
}
