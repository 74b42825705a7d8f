//! Changes that came to nothing, over the wire: the error that their callers get, their operations, and what the endpoint says of the newest.

use axum::http::Method;
use serde_json::{Value, json};

use crate::fixture::{N, Server};
use crate::vertex_serving::ROW;

/// `tiny-model@2` that cannot be loaded, beside the first, which answers at `endpoints/tiny`.
async fn with_a_damaged_version() -> Server {
    let server = Server::deployed().await;
    let model = json!({"displayName": "tiny", "artifactUri": format!("file://{}", server.bundle.display())});
    let body = json!({"parentModel": format!("{}/models/tiny-model", &N[4..]), "model": model});
    server.post_ok("models:upload", &body.to_string()).await;
    let file = server.platform.data_dir().join("artifacts/default/tiny-model/2/model.onnx");
    std::fs::write(file, b"damaged").unwrap();
    server
}

fn deploy(version: u32, id: &str) -> String {
    json!({
        "deployedModel": {"model": format!("tiny-model@{version}"), "id": id, "cpuCores": 1},
        "trafficSplit": {"0": 100},
    })
    .to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_that_fails_is_an_operation_with_an_error() {
    let server = with_a_damaged_version().await;
    let before = server.get_ok("endpoints/tiny").await;
    assert_eq!(before.get("failedAttempt"), None);
    let operations =
        async || server.get_ok("endpoints/tiny/operations").await["operations"].as_array().unwrap().clone();
    let succeeded = operations().await.len();
    let answer = server.post("endpoints/tiny:deployModel", &deploy(2, "2")).await;
    let reply = answer.json()["error"].clone();
    assert!(answer.status.is_client_error(), "{}", answer.text);

    let listed = operations().await;
    assert_eq!(listed.len(), succeeded + 1);
    let failed = &listed[0];
    assert_eq!((&failed["done"], failed.get("response")), (&json!(true), None));
    assert_eq!(failed["error"]["message"], reply["message"]);
    assert_eq!((&reply["status"], &failed["error"]["code"]), (&json!("INVALID_ARGUMENT"), &json!(3)));
    assert_eq!(failed["error"].as_object().unwrap().len(), 2, "google.rpc.Status alone");
    assert_eq!(
        failed["metadata"]["@type"],
        "type.googleapis.com/google.cloud.aiplatform.v1.DeployModelOperationMetadata"
    );
    let name = failed["name"].as_str().unwrap();
    for prefix in ["/v1", "/ui"] {
        assert_eq!(&server.get(&format!("{prefix}/{name}")).await.json(), failed);
    }
    let waited = server.request(Method::POST, &format!("/v1/{name}:wait"), "{}").await;
    assert_eq!(&waited.json(), failed);

    let shown = server.get_ok("endpoints/tiny").await;
    let attempt = &shown["failedAttempt"];
    assert_eq!((&attempt["kind"], &attempt["operation"]), (&json!("DeployModel"), &failed["name"]));
    assert_eq!((&attempt["deployedModelId"], &attempt["modelVersionId"]), (&json!("2"), &json!("2")));
    assert!(attempt["model"].as_str().unwrap().ends_with("/models/tiny-model"), "{attempt}");
    assert_eq!(attempt["error"], failed["error"]);
    assert_eq!(attempt["time"], failed["metadata"]["genericMetadata"]["createTime"]);
    for unchanged in ["deployedModels", "trafficSplit", "etag", "updateTime"] {
        assert_eq!(shown[unchanged], before[unchanged], "{unchanged}");
    }
    assert_eq!(shown["deployedModels"][0]["status"]["message"], "in service");
    let question = format!("{{\"instances\": [{ROW}]}}");
    assert_eq!(server.post_ok("endpoints/tiny:predict", &question).await["deployedModelId"], "1");

    // A client that sends back what it was given changes nothing by it; a list may be asked for it.
    let path = format!("{N}/endpoints/tiny?updateMask=labels");
    let sent = json!({"labels": {"a": "b"}, "failedAttempt": attempt});
    let patched = server.request(Method::PATCH, &path, &sent.to_string()).await;
    assert_eq!(
        (patched.status.as_u16(), &patched.json()["failedAttempt"]),
        (200, attempt),
        "{}",
        patched.text
    );
    let thinned = server.get_ok("endpoints?readMask=failedAttempt").await;
    assert_eq!(thinned["endpoints"], json!([{"failedAttempt": attempt}]));
    // An operation that is polled has the fields of Vertex AI alone.
    let updated =
        server.post_ok("endpoints/tiny:update", &json!({"endpoint": {"displayName": "T"}}).to_string()).await;
    assert_eq!(&updated["response"]["failedAttempt"], attempt);
    let polled = server.get(&format!("/v1/{}", updated["name"].as_str().unwrap())).await.json();
    assert_eq!(
        (&polled["response"]["displayName"], polled["response"].get("failedAttempt")),
        (&json!("T"), None)
    );

    // It is there after a restart, and goes with the next that succeeds.
    let server = server.restarted().await;
    server.platform.restore_deployments().await.unwrap();
    assert_eq!(&server.get_ok("endpoints/tiny").await["failedAttempt"], attempt);
    assert_eq!(&server.get(&format!("/v1/{name}")).await.json(), failed);
    server.post_ok("endpoints/tiny:deployModel", &deploy(1, "3")).await;
    assert_eq!(server.get_ok("endpoints/tiny").await.get("failedAttempt"), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_place_that_fails_is_one_too_and_what_is_refused_at_once_is_none() {
    let server = Server::deployed().await;
    let refused = [
        ("deployModel", json!({"deployedModel": {"model": "tiny-model", "shadowPercent": 101}})),
        ("deployModel", json!({"deployedModel": {"model": "tiny-model@9"}})),
        ("mutateDeployedModel", json!({"deployedModel": {"id": "1", "memoryGb": -1}})),
    ];
    for (verb, body) in refused {
        let answer = server.post(&format!("endpoints/tiny:{verb}"), &body.to_string()).await;
        assert!(answer.status.is_client_error(), "{}", answer.text);
    }
    assert_eq!(server.get_ok("endpoints/tiny").await.get("failedAttempt"), None);
    let body = json!({"deployedModel": {"id": "1", "memoryGb": 0.000_001}});
    let answer = server.post("endpoints/tiny:mutateDeployedModel", &body.to_string()).await;
    let message = answer.refused(429, "RESOURCE_EXHAUSTED");
    let attempt = server.get_ok("endpoints/tiny").await["failedAttempt"].clone();
    assert_eq!((&attempt["kind"], &attempt["deployedModelId"]), (&json!("MutateDeployedModel"), &json!("1")));
    assert_eq!(attempt["error"], json!({"code": 8, "message": message}));
    let shown = server.get_ok("endpoints/tiny").await["deployedModels"][0]["status"].clone();
    assert_eq!(shown, json!({"availableReplicaCount": 1, "message": "in service"}));
    let failed: Vec<Value> = server.get_ok("operations").await["operations"].as_array().unwrap().clone();
    assert_eq!(failed.iter().filter(|operation| operation.get("error").is_some()).count(), 1);
    // What it may have after all is what it then says.
    let body = json!({"deployedModel": {"id": "1", "memoryGb": 2}});
    server.post_ok("endpoints/tiny:mutateDeployedModel", &body.to_string()).await;
    assert_eq!(server.get_ok("endpoints/tiny").await.get("failedAttempt"), None);
}
