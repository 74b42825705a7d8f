//! Upload, deploy, poll, undeploy: what each call answers and what can be read back after it.

use serde_json::{Value, json};

use crate::fixture::{N, Server};

const SDK: &str = "%24alt=json%3Benum-encoding%3Dint";
const PARENT: &str = "projects/default/locations/us-central1";

/// Reads an operation back under every path a client may poll: as it was, but for fields that are ours.
async fn poll(server: &Server, operation: &Value) {
    let mut polled = operation.clone();
    if let Some(deployed) = polled.pointer_mut("/response/deployedModel").and_then(Value::as_object_mut) {
        deployed.retain(|name, _| !["resources", "load", "limits"].contains(&name.as_str()));
    }
    let name = operation["name"].as_str().unwrap();
    let id = name.rsplit('/').next().unwrap();
    for path in [format!("/v1/{name}"), format!("/ui/{name}"), format!("/ui/{PARENT}/operations/{id}?{SDK}")]
    {
        let answer = server.get(&path).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.text);
        assert_eq!(answer.json(), polled, "{path}");
    }
    let waited = server.request(axum::http::Method::POST, &format!("/v1/{name}:wait"), "{}").await;
    assert_eq!(waited.json(), polled);
    server.get(&format!("{N}/models/other/operations/{id}")).await.refused(404, "NOT_FOUND");
}

#[track_caller]
fn finished<'a>(operation: &'a Value, kind: &str, message: &str) -> &'a Value {
    let types = "type.googleapis.com/google.cloud.aiplatform.v1.";
    assert_eq!(operation["done"], true);
    assert_eq!(operation["metadata"]["@type"], format!("{types}{kind}OperationMetadata"));
    assert_eq!(operation["metadata"]["genericMetadata"]["createTime"], "2024-01-02T03:04:05Z");
    assert_eq!(operation["response"]["@type"], format!("{types}{message}"));
    &operation["response"]
}

#[tokio::test(flavor = "multi_thread")]
async fn models_are_uploaded_and_read_back() {
    let server = Server::trained().await;
    let operation = server.post_ok(&format!("models:upload?{SDK}"), &server.upload_body()).await;
    let response = finished(&operation, "UploadModel", "UploadModelResponse");
    assert_eq!(response["model"], format!("{PARENT}/models/tiny-model"));
    assert_eq!(response["modelVersionId"], "1");
    poll(&server, &operation).await;

    let model = server.get_ok("models/tiny-model%401").await;
    assert_eq!(model["name"], format!("{PARENT}/models/tiny-model@1"));
    assert_eq!((&model["versionId"], &model["versionAliases"]), (&json!("1"), &json!(["default"])));
    assert_eq!(model["displayName"], "Tiny model");
    assert_eq!(model["supportedDeploymentResourcesTypes"], json!([1]));
    assert_eq!(
        (&model["createTime"], &model["deployedModels"]),
        (&json!("2024-01-02T03:04:05Z"), &json!([]))
    );
    assert!(model["artifactUri"].as_str().unwrap().ends_with("/artifacts/default/tiny-model/1"));
    let metadata = &model["metadata"];
    assert_eq!(metadata["bundleDigest"].as_str().unwrap().len(), 64);
    assert_eq!(metadata["signature"]["outputs"][0]["shape"], json!([null, 3]));
    assert_eq!(metadata["dataset"]["name"], "made-up");

    server.post("models:upload", &server.upload_body()).await.refused(409, "ALREADY_EXISTS");
    let uri = format!("file://{}", server.bundle.display());
    let second = json!({"parentModel": format!("{PARENT}/models/tiny-model"),
        "model": {"displayName": "Tiny model", "artifactUri": uri, "versionAliases": ["challenger"]}});
    let operation = server.post_ok("models:upload", &second.to_string()).await;
    assert_eq!(operation["response"]["modelVersionId"], "2");
    assert_eq!(server.get_ok("models/tiny-model").await["versionId"], "1", "the default stays");
    assert_eq!(server.get_ok("models/tiny-model@challenger").await["versionId"], "2");

    let ids = |page: &Value| -> Vec<String> {
        page["models"]
            .as_array()
            .unwrap()
            .iter()
            .map(|m| m["versionId"].as_str().unwrap().to_owned())
            .collect()
    };
    let all = server.get_ok("models/tiny-model:listVersions").await;
    assert_eq!((ids(&all), &all["nextPageToken"]), (vec!["1".to_owned(), "2".to_owned()], &Value::Null));
    let first = server.get_ok("models/tiny-model:listVersions?pageSize=1").await;
    let token = first["nextPageToken"].as_str().unwrap();
    let rest = server.get_ok(&format!("models/tiny-model:listVersions?pageSize=1&pageToken={token}")).await;
    assert_eq!((ids(&first), ids(&rest)), (vec!["1".to_owned()], vec!["2".to_owned()]));
    assert!(rest["nextPageToken"].is_null());
    assert_eq!(ids(&server.get_ok(&format!("models?{SDK}")).await), ["1"]);

    let message = server.get(&format!("{N}/models/tiny-model@7")).await.refused(404, "NOT_FOUND");
    assert!(message.contains('7') && message.contains("tiny-model"), "{message}");
    let elsewhere = server.get("/v1/projects/default/locations/anywhere/models/tiny-model").await.json();
    assert_eq!(elsewhere["name"], "projects/default/locations/anywhere/models/tiny-model");
}

#[tokio::test(flavor = "multi_thread")]
async fn endpoints_are_made_deployed_to_and_emptied() {
    let server = Server::trained().await;
    server.post_ok("models:upload", &server.upload_body()).await;
    let operation =
        server.post_ok("endpoints?endpointId=tiny", r#"{"displayName": "Tiny", "labels": {"a": "b"}}"#).await;
    assert_eq!(
        finished(&operation, "CreateEndpoint", "Endpoint")["name"],
        format!("{PARENT}/endpoints/tiny")
    );
    poll(&server, &operation).await;
    let empty = server.get_ok("endpoints/tiny").await;
    assert_eq!((&empty["displayName"], &empty["labels"]), (&json!("Tiny"), &json!({"a": "b"})));
    assert_eq!((&empty["deployedModels"], &empty["trafficSplit"]), (&json!([]), &json!({})));

    let deploy = json!({
        "deployedModel": {
            "model": format!("{PARENT}/models/tiny-model@1"),
            "dedicatedResources": {"machineSpec": {"machineType": "n1-standard-2"}, "minReplicaCount": 1, "maxReplicaCount": 1},
        },
        "trafficSplit": {"0": 100},
    });
    let operation = server.post_ok("endpoints/tiny:deployModel", &deploy.to_string()).await;
    let deployed = &finished(&operation, "DeployModel", "DeployModelResponse")["deployedModel"];
    let id = deployed["id"].as_str().unwrap();
    poll(&server, &operation).await;
    let endpoint = server.get_ok(&format!("endpoints/tiny?{SDK}")).await;
    assert_eq!(&endpoint["deployedModels"][0], deployed);
    assert_eq!(endpoint["trafficSplit"], json!({id: 100}));
    assert_eq!(deployed["model"], format!("{PARENT}/models/tiny-model"));
    assert_eq!(deployed["modelVersionId"], "1");
    assert_eq!(deployed["dedicatedResources"]["machineSpec"]["machineType"], "n1-standard-2");
    assert_eq!(
        (&deployed["resources"]["cpuCores"], &deployed["resources"]["memoryGb"]),
        (&json!(2.0), &json!(7.5))
    );
    assert_eq!(
        (&deployed["resources"]["threads"], &deployed["status"]["availableReplicaCount"]),
        (&json!(2), &json!(1))
    );
    let model = server.get_ok("models/tiny-model").await;
    assert_eq!(
        model["deployedModels"],
        json!([{"endpoint": format!("{PARENT}/endpoints/tiny"), "deployedModelId": id}])
    );
    assert_eq!(server.get_ok("endpoints").await["endpoints"][0]["name"], endpoint["name"]);

    // A second deployment that leaves the traffic as it is: the first has all of it and may not go.
    let second = json!({"deployedModel": {"model": "tiny-model", "id": "77", "cpuCores": 1, "memoryGb": 1}});
    server.post_ok("endpoints/tiny:deployModel", &second.to_string()).await;
    assert_eq!(server.get_ok("endpoints/tiny").await["trafficSplit"][id], 100);
    let first = json!({"deployedModelId": id}).to_string();
    server.post("endpoints/tiny:undeployModel", &first).await.refused(400, "FAILED_PRECONDITION");
    server.post_ok("endpoints/tiny:undeployModel", r#"{"deployedModelId": "77"}"#).await;
    server
        .post("endpoints/tiny:undeployModel", r#"{"deployedModelId": "77"}"#)
        .await
        .refused(404, "NOT_FOUND");
    let operation = server.post_ok("endpoints/tiny:undeployModel", &first).await;
    finished(&operation, "UndeployModel", "UndeployModelResponse");
    poll(&server, &operation).await;
    assert_eq!(server.get_ok("endpoints/tiny").await["deployedModels"], json!([]));
    assert!(server.platform.cores_asked().is_sign_positive(), "none are asked for, which is 0 and not -0");
    let message = server
        .post("endpoints/tiny:predict", r#"{"instances": [[1]]}"#)
        .await
        .refused(400, "FAILED_PRECONDITION");
    assert!(message.contains("no model deployed"), "{message}");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_metrics_tell_what_was_served() {
    let server = Server::deployed().await;
    let alive = server.get("/healthz").await;
    assert_eq!((alive.status.as_u16(), alive.text.as_str()), (200, "ok"));
    let ready = server.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), ready.json()), (200, json!({"ready": true, "reasons": []})));
    server
        .post_ok("endpoints/tiny:predict", r#"{"instances": [{"symbol": "S01"}, {"symbol": "S02"}]}"#)
        .await;
    server.post("endpoints/tiny:predict", r#"{"instances": []}"#).await.refused(400, "INVALID_ARGUMENT");

    let metrics = server.get("/metrics").await;
    assert!(metrics.header("content-type").starts_with("text/plain; version=0.0.4"));
    let deployment =
        "project=\"default\",endpoint=\"tiny\",deployment=\"1\",model=\"tiny-model\",version=\"1\"";
    for start in [
        "bellwether_http_requests_total{route=\"vertex.Predict\",code=\"200\"} 1".to_owned(),
        "bellwether_http_requests_total{route=\"vertex.Predict\",code=\"400\"} 1".to_owned(),
        "bellwether_request_duration_seconds_count{route=\"vertex.Predict\"} 2".to_owned(),
        format!("bellwether_deployment_answer_seconds_count{{{deployment},protocol=\"vertex\"}} 1"),
        format!("bellwether_deployment_batch_rows_bucket{{{deployment},le=\"2\"}} 1"),
        format!("bellwether_deployment_engine_info{{{deployment},engine=\"rten\","),
        "bellwether_swaps_total{outcome=\"loaded\"} 1".to_owned(),
        "bellwether_ready 1".to_owned(),
        format!("bellwether_deployment_rows_total{{{deployment}}}"),
        format!("bellwether_deployment_compute_seconds_bucket{{{deployment},"),
    ] {
        assert!(
            metrics.text.lines().any(|line| line.starts_with(&start)),
            "{start} is not in\n{}",
            metrics.text
        );
    }
    let rows =
        metrics.text.lines().find(|line| line.starts_with("bellwether_deployment_rows_total{")).unwrap();
    assert!(rows.ends_with(" 2"), "{rows}");
    for line in metrics.text.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(['{', ' ']).next().unwrap();
        let family =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
        assert!(metrics.text.contains(&format!("# TYPE {family} ")), "{line} has no type");
        assert!(line.rsplit(' ').next().unwrap().parse::<f64>().is_ok(), "{line}");
    }
}
