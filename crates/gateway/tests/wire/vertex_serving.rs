//! What is deployed, over the wire: raw questions, changes in place, shadows, loading on demand.

use std::io::Write as _;

use axum::http::Method;
use gateway::GatewayOptions;
use serde_json::{Value, json};

use crate::fixture::{N, Server};

pub(crate) const ROW: &str = "[0.1, -0.2, 0.3, 0.0, 0.05]";

#[tokio::test(flavor = "multi_thread")]
async fn a_raw_question_may_have_any_form_and_says_who_answered() {
    let server = Server::deployed().await;
    let expected =
        server.post_ok("endpoints/tiny:predict", &format!("{{\"instances\": [{ROW}]}}")).await["predictions"]
            .clone();
    let path = format!("{N}/endpoints/tiny:rawPredict");
    let csv = "ROC5,ROC10,ROC20,ROC30,ROC60\n0.1,-0.2,0.3,0.0,0.05\n";
    for (kind, body) in [
        ("application/json", format!("{{\"instances\": [{ROW}]}}")),
        ("application/json; charset=utf-8", format!("{{\"instances\": [{{\"features\": {ROW}}}]}}")),
        ("application/json", format!("{{\"inputs\": [{ROW}]}}")),
        ("text/csv", csv.to_owned()),
    ] {
        let answer = server.post_bytes(&path, &[("content-type", kind)], body.clone()).await;
        assert_eq!(answer.status, 200, "{kind} {body}: {}", answer.text);
        assert_eq!(answer.json(), json!({"predictions": expected}), "{kind} {body}");
        assert_eq!(answer.header("x-vertex-ai-deployed-model-id"), "1");
        assert_eq!(answer.header("x-vertex-ai-model-version-id"), "1");
        assert!(answer.header("x-vertex-ai-model").ends_with("/models/tiny-model"));
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
    }
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(csv.as_bytes()).unwrap();
    let headers = [("content-type", "text/csv"), ("content-encoding", "gzip")];
    let packed = server.post_bytes(&path, &headers, gzip.finish().unwrap()).await;
    assert_eq!(packed.json(), json!({"predictions": expected}), "{}", packed.text);
    for (kind, body, code) in [
        ("application/json", "{\"instances\": [[1]]}", 400),
        ("application/json", "{", 400),
        ("application/octet-stream", "x", 400),
    ] {
        let answer = server.post_bytes(&path, &[("content-type", kind)], body).await;
        answer.refused(code, "INVALID_ARGUMENT");
        assert_eq!(answer.header("x-vertex-ai-deployed-model-id"), "1", "{kind}");
    }
    let nobody = format!("{N}/endpoints/nobody:rawPredict");
    server.request(Method::POST, &nobody, "{}").await.refused(404, "NOT_FOUND");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployment_is_changed_in_its_place() {
    let server = Server::deployed().await;
    assert_eq!(server.platform.cores_asked(), 1.0);
    let before = server.post_ok("endpoints/tiny:predict", &format!("{{\"instances\": [{ROW}]}}")).await;
    let body = json!({
        "deployedModel": {"id": "1", "dedicatedResources": {"machineSpec": {"machineType": "n1-standard-2"},
            "minReplicaCount": 1}},
        "updateMask": "dedicatedResources.machineSpec,dedicatedResources.minReplicaCount",
    });
    let operation = server.post_ok("endpoints/tiny:mutateDeployedModel", &body.to_string()).await;
    assert_eq!(
        operation["metadata"]["@type"],
        "type.googleapis.com/google.cloud.aiplatform.v1.MutateDeployedModelOperationMetadata"
    );
    let deployed = &operation["response"]["deployedModel"];
    assert_eq!((&deployed["id"], &deployed["modelVersionId"]), (&json!("1"), &json!("1")));
    assert_eq!(deployed["dedicatedResources"]["machineSpec"]["machineType"], "n1-standard-2");
    let resources = &deployed["resources"];
    assert_eq!((&resources["cpuCores"], &resources["memoryGb"]), (&json!(2.0), &json!(7.5)));
    assert_eq!((&resources["threads"], &resources["machineCoresAsked"]), (&json!(2), &json!(2.0)));
    assert!(resources["machineCores"].as_u64().unwrap() > 0);
    let after = server.post_ok("endpoints/tiny:predict", &format!("{{\"instances\": [{ROW}]}}")).await;
    assert_eq!(after, before);
    assert_eq!(server.get_ok("endpoints/tiny").await["trafficSplit"], json!({"1": 100}));

    for (body, words) in [
        (json!({"deployedModel": {"id": "9"}}), "deployed: 1"),
        (json!({"deployedModel": {"id": "1", "memoryGb": 0.000001}}), "raise memory_gb"),
        (json!({"deployedModel": {"id": "1", "memoryGb": 1e300}}), "memory_gb must be at most 1000000"),
        (json!({"deployedModel": {"id": "1"}, "updateMask": "explanationSpec"}), "these can be changed"),
    ] {
        let answer = server.post("endpoints/tiny:mutateDeployedModel", &body.to_string()).await;
        assert!(answer.status.is_client_error() && answer.text.contains(words), "{}", answer.text);
    }
    assert_eq!(server.get_ok("endpoints/tiny").await["deployedModels"][0]["resources"]["threads"], 2);
    let renamed = json!({"endpoint": {"displayName": "Renamed", "labels": {"a": "b"}}});
    let operation = server.post_ok("endpoints/tiny:update", &renamed.to_string()).await;
    assert_eq!(operation["response"]["displayName"], "Renamed");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shadow_is_shown_and_counted_and_answers_nobody() {
    let server = Server::deployed().await;
    let body =
        json!({"deployedModel": {"model": "tiny-model", "id": "2", "shadowPercent": 100, "cpuCores": 1}});
    let greedy = json!({"deployedModel": body["deployedModel"], "trafficSplit": {"0": 10, "1": 90}});
    let refused = server.post("endpoints/tiny:deployModel", &greedy.to_string()).await;
    assert!(refused.refused(400, "INVALID_ARGUMENT").contains("no traffic"), "{}", refused.text);
    let deployed = server.post_ok("endpoints/tiny:deployModel", &body.to_string()).await;
    let deployed = &deployed["response"]["deployedModel"];
    assert_eq!((&deployed["shadowPercent"], &deployed["load"]), (&json!(100), &json!("pinned")));
    assert_eq!(deployed["status"]["message"], "shadow of 100 %");
    for _ in 0..5 {
        let question = format!("{{\"instances\": [{ROW}]}}");
        assert_eq!(server.post_ok("endpoints/tiny:predict", &question).await["deployedModelId"], "1");
        let named = format!("{{\"instances\": [{ROW}]}}");
        let answer = server.request(Method::POST, "/v1/models/tiny-model:predict", &named).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
    }
    let mut shadow = Value::Null;
    // They are computed when nothing else is to be done.
    for _ in 0..6000 {
        shadow = server.get_ok("endpoints/tiny/shadows").await["shadows"][0].clone();
        if shadow["answered"] == json!(10) {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    assert_eq!((&shadow["answered"], &shadow["rows"]), (&json!(10), &json!(10)), "both protocols: {shadow}");
    assert_eq!((&shadow["deployedModelId"], &shadow["model"]), (&json!("2"), &json!("tiny-model@1")));
    assert_eq!(shadow["maxAbsoluteDifference"], json!(0.0), "it is the same version");
    assert_eq!((&shadow["agreement"], &shadow["percent"]), (&json!(1.0), &json!(100)));
    let metrics = server.get("/metrics").await.text;
    let line = "bellwether_shadow_copies_total{project=\"default\",endpoint=\"tiny\",deployment=\"2\",outcome=\"answered\"} 10";
    assert!(metrics.lines().any(|found| found == line), "{metrics}");
    // The request's id is in what is kept.
    let folder = server.platform.data_dir().join("shadow/default/tiny/2");
    let file = std::fs::read_dir(folder).unwrap().next().unwrap().unwrap().path();
    let first = std::fs::read_to_string(file).unwrap().lines().next().unwrap().to_owned();
    let record: Value = serde_json::from_str(&first).unwrap();
    assert!(!record["request_id"].as_str().unwrap().is_empty(), "{record}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_operation_that_is_polled_has_the_fields_of_vertex_alone() {
    let server = Server::deployed().await;
    let body =
        json!({"deployedModel": {"model": "tiny-model", "id": "2", "shadowPercent": 10, "cpuCores": 1}});
    let deployed = server.post_ok("endpoints/tiny:deployModel", &body.to_string()).await;
    let renamed = json!({"endpoint": {"displayName": "Renamed"}});
    let updated = server.post_ok("endpoints/tiny:update", &renamed.to_string()).await;
    let without_ours = |deployed: &Value| {
        let mut deployed = deployed.clone();
        for ours in ["resources", "load", "limits", "shadowPercent"] {
            let field = deployed.as_object_mut().unwrap().remove(ours);
            assert!(
                field.is_some() || ours == "shadowPercent",
                "the reply to the change has {ours}: {deployed}"
            );
        }
        deployed
    };
    let expected = without_ours(&deployed["response"]["deployedModel"]);
    let all: Vec<Value> =
        updated["response"]["deployedModels"].as_array().unwrap().iter().map(without_ours).collect();
    for prefix in ["/v1", "/ui"] {
        let poll = async |operation: &Value| {
            let path = format!("{prefix}/{}", operation["name"].as_str().unwrap());
            server.get(&path).await.json()["response"].clone()
        };
        assert_eq!(poll(&deployed).await["deployedModel"], expected);
        assert_eq!(poll(&updated).await["deployedModels"], json!(all));
        let path = format!("{prefix}/projects/default/locations/us-central1/operations");
        let listed = server.get(&path).await.json();
        let listed = listed["operations"].as_array().unwrap().clone();
        let found = listed.iter().find(|operation| operation["name"] == deployed["name"]).unwrap();
        assert_eq!(found["response"]["deployedModel"], expected);
    }
    let shown = server.get_ok("endpoints/tiny").await["deployedModels"][1].clone();
    assert_eq!((&shown["shadowPercent"], &shown["resources"]["cpuCores"]), (&json!(10), &json!(1.0)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_loads_and_unloads_what_is_on_demand() {
    let server = Server::deployed().await;
    let body = json!({"deployedModel": {"id": "1", "load": "on-demand"}, "updateMask": "load"});
    server.post_ok("endpoints/tiny:mutateDeployedModel", &body.to_string()).await;
    let index = async || server.request(Method::POST, "/v2/repository/index", "").await.json();
    let turn = async |verb: &str| {
        let path = format!("/v2/repository/models/tiny-model/{verb}");
        server.request(Method::POST, &path, "{}").await.status.as_u16()
    };
    assert_eq!(index().await[0]["state"], "READY");
    assert_eq!(turn("unload").await, 200);
    assert_eq!(
        index().await,
        json!([{"name": "tiny-model", "version": "1", "state": "UNAVAILABLE", "reason": "unloaded"}])
    );
    let ready = server.request(Method::POST, "/v2/repository/index", "{\"ready\": true}").await.json();
    assert_eq!(ready, json!([]));
    let shown = server.get_ok("endpoints/tiny").await["deployedModels"][0].clone();
    assert_eq!((&shown["status"]["message"], &shown["load"]), (&json!("unloaded"), &json!("on-demand")));
    assert_eq!(turn("load").await, 200);
    assert_eq!(index().await[0]["state"], "READY");
    assert_eq!(turn("unload").await, 200);
    // Asked, it comes back by itself.
    assert_eq!(server.get("/v2/models/tiny-model/ready").await.status, 200);
    server.post_ok("endpoints/tiny:predict", &format!("{{\"instances\": [{ROW}]}}")).await;
    assert_eq!(index().await[0]["state"], "READY");
    let metrics = server.get("/metrics").await.text;
    let labels =
        "{project=\"default\",endpoint=\"tiny\",deployment=\"1\",model=\"tiny-model\",version=\"1\"}";
    for line in [
        format!("bellwether_deployment_loaded{labels} 1"),
        format!("bellwether_deployment_loads_total{labels} 3"),
    ] {
        assert!(metrics.lines().any(|found| found == line), "{line}: {metrics}");
    }
    // What cannot be loaded is to be asked for again later.
    assert_eq!(turn("unload").await, 200);
    let file = server.platform.data_dir().join("artifacts/default/tiny-model/1/model.onnx");
    std::fs::write(file, b"damaged").unwrap();
    let answer = server.post("endpoints/tiny:predict", &format!("{{\"instances\": [{ROW}]}}")).await;
    assert!(answer.refused(503, "UNAVAILABLE").contains("try again later"), "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_behind_tls_says_where_it_is() {
    let server = Server::deployed().await;
    let get = async |server: &Server| {
        let request = axum::http::Request::get(format!("{N}/endpoints/tiny")).header("host", "here:8443");
        server.send(request.body(axum::body::Body::empty()).unwrap()).await.json()
    };
    assert_eq!(get(&server).await["dedicatedEndpointDns"], Value::Null);
    let tls = server.with(GatewayOptions { tls: true, ..GatewayOptions::default() });
    let shown = get(&tls).await;
    assert_eq!(
        (&shown["dedicatedEndpointEnabled"], &shown["dedicatedEndpointDns"]),
        (&json!(true), &json!("here:8443"))
    );
}
