//! Who belongs together meets one version, in every protocol, whatever changes meanwhile.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::{Method, Request};
use protos::serving::inference::ModelInferResponse;
use serde_json::json;

use crate::fixture::{N, Server};
use crate::grpc::open_inference::question;
use crate::grpc::{call_with, client, metadata, rows_and_answers};
use crate::vertex_serving::ROW;

const REBALANCE: &str = "x-bellwether-rebalance";

async fn answered_by(server: &Server, path: &str, token: Option<&str>, body: &str) -> String {
    let mut request = Request::post(path).header("content-type", "application/json");
    if let Some(token) = token {
        request = request.header(REBALANCE, token);
    }
    let answer = server.send(request.body(Body::from(body.to_owned())).unwrap()).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.header("x-bellwether-model-version").to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rebalance_meets_one_version_of_a_model_that_it_names() {
    let server = Server::two_versions().await;
    let (rows, _) = rows_and_answers(&server).await;
    let instances = format!("{{\"instances\": [{ROW}]}}");
    let inputs = json!({"inputs": [{"name": "features", "shape": [1, rows.len() / 2], "datatype": "FP32",
        "data": &rows[..rows.len() / 2]}]})
    .to_string();
    let alias = "models/tiny-model@1:mergeVersionAliases";
    server.post_ok(alias, r#"{"versionAliases": ["live"]}"#).await;
    let ways = [
        ("/v2/models/tiny-model/infer", &inputs),
        ("/v1/models/tiny-model:predict", &instances),
        ("/v1/models/tiny-model/labels/live:predict", &instances),
        ("/invocations", &instances),
    ];
    let grpc = async |token: &'static str| {
        let mut request = tonic::Request::new(question(&rows));
        request.metadata_mut().insert(REBALANCE, token.parse().unwrap());
        let path = "/inference.GRPCInferenceService/ModelInfer";
        let response: tonic::Response<ModelInferResponse> =
            call_with(client(&server), path, request).await.unwrap();
        metadata(&response, "x-bellwether-model-version").to_owned()
    };
    for (path, body) in ways {
        assert_eq!(answered_by(&server, path, Some("q1"), body).await, "tiny-model@1", "{path}");
    }
    assert_eq!(grpc("q1").await, "tiny-model@1");
    let alias = "models/tiny-model@2:mergeVersionAliases";
    server.post_ok(alias, r#"{"versionAliases": ["default", "live"]}"#).await;
    for (path, body) in ways {
        assert_eq!(answered_by(&server, path, Some("q1"), body).await, "tiny-model@1", "{path}");
        assert_eq!(answered_by(&server, path, Some("q2"), body).await, "tiny-model@2", "{path}");
        assert_eq!(answered_by(&server, path, None, body).await, "tiny-model@2", "{path}");
    }
    assert_eq!((grpc("q1").await.as_str(), grpc("q2").await.as_str()), ("tiny-model@1", "tiny-model@2"));
    // Who names a number gets it, and what is gone cannot answer.
    let numbered = answered_by(&server, "/v1/models/tiny-model/versions/2:predict", Some("q1"), &instances);
    assert_eq!(numbered.await, "tiny-model@2");
    server
        .post_ok("endpoints/tiny:undeployModel", r#"{"deployedModelId": "1", "trafficSplit": {"2": 100}}"#)
        .await;
    assert_eq!(answered_by(&server, ways[0].0, Some("q1"), ways[0].1).await, "tiny-model@2");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strategy_or_an_account_in_the_parameters_is_a_traffic_key() {
    let server = Server::two_versions().await;
    let path = format!("{N}/endpoints/tiny");
    let halves = server.request(Method::PATCH, &path, r#"{"trafficSplit": {"1": 50, "2": 50}}"#).await;
    assert_eq!(halves.status, 200, "{}", halves.text);
    let mut met = BTreeSet::new();
    for account in 0..20 {
        let of = |parameters: serde_json::Value| {
            let row: serde_json::Value = serde_json::from_str(ROW).unwrap();
            json!({"instances": [row], "parameters": parameters}).to_string()
        };
        let path = format!("{N}/endpoints/tiny:predict");
        let key = format!("account-{account}");
        let keyed = Request::post(&path)
            .header("content-type", "application/json")
            .header("x-bellwether-traffic-key", &key)
            .body(Body::from(of(json!({}))))
            .unwrap();
        let by_header = server.send(keyed).await.header("x-bellwether-model-version").to_owned();
        for parameters in [json!({"account": key}), json!({"strategy": key}), json!({"account": key})] {
            assert_eq!(
                answered_by(&server, &path, None, &of(parameters.clone())).await,
                by_header,
                "{parameters}"
            );
            let raw = format!("{N}/endpoints/tiny:rawPredict");
            assert_eq!(answered_by(&server, &raw, None, &of(parameters)).await, by_header);
        }
        met.insert(by_header);
    }
    assert_eq!(met.len(), 2, "both versions have accounts");
    let wrong =
        server.post("endpoints/tiny:predict", r#"{"instances": [[1]], "parameters": {"account": 7}}"#).await;
    assert!(
        wrong.refused(400, "INVALID_ARGUMENT").contains("parameters.account must be text"),
        "{}",
        wrong.text
    );
}
