//! Models and endpoints after they were made, over the wire.

use axum::http::Method;
use serde_json::json;

use crate::fixture::{Answer, N, Server};

impl Server {
    async fn delete(&self, tail: &str) -> Answer {
        self.request(Method::DELETE, &format!("{N}/{tail}"), "").await
    }

    async fn patch(&self, tail: &str, body: &str) -> Answer {
        self.request(Method::PATCH, &format!("{N}/{tail}"), body).await
    }

    /// A second version of the model, deployed as 2 beside 1, without traffic.
    pub(crate) async fn two_versions() -> Self {
        let server = Self::deployed().await;
        let mut body: serde_json::Value = serde_json::from_str(&server.upload_body()).unwrap();
        body.as_object_mut().unwrap().remove("modelId");
        body["parentModel"] = json!("tiny-model");
        server.post_ok("models:upload", &body.to_string()).await;
        let deploy = r#"{"deployedModel": {"model": "tiny-model@2", "id": "2", "cpuCores": 1}, "trafficSplit": {"0": 0, "1": 100}}"#;
        server.post_ok("endpoints/tiny:deployModel", deploy).await;
        server
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_move_from_version_to_version() {
    let server = Server::two_versions().await;
    let merged = server
        .post_ok("models/tiny-model@2:mergeVersionAliases", r#"{"versionAliases": ["default", "prod"]}"#)
        .await;
    assert_eq!((&merged["versionId"], &merged["versionAliases"]), (&json!("2"), &json!(["default", "prod"])));
    assert_eq!(server.get_ok("models/tiny-model").await["versionId"], "2");
    assert_eq!(server.get_ok("models/tiny-model@1").await["versionAliases"], json!([]));
    let merged = server
        .post_ok("models/tiny-model@prod:mergeVersionAliases", r#"{"versionAliases": ["-prod"]}"#)
        .await;
    assert_eq!(merged["versionAliases"], json!(["default"]));
    for (body, code, status) in [
        (r#"{"versionAliases": ["-default"]}"#, 400, "INVALID_ARGUMENT"),
        (r#"{"versionAliases": ["-gone"]}"#, 404, "NOT_FOUND"),
        (r#"{"versionAliases": ["1"]}"#, 400, "INVALID_ARGUMENT"),
        (r#"{"versionAliases": []}"#, 400, "INVALID_ARGUMENT"),
    ] {
        server.post("models/tiny-model@2:mergeVersionAliases", body).await.refused(code, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn texts_and_traffic_are_changed_as_the_mask_says() {
    let server = Server::two_versions().await;
    let body = r#"{"displayName": "New", "labels": {"desk": "a"}}"#;
    let changed = server.patch("models/tiny-model@1?updateMask=labels", body).await.json();
    assert_eq!((&changed["displayName"], &changed["labels"]), (&json!("Tiny model"), &json!({"desk": "a"})));
    let changed = server.patch("models/tiny-model?updateMask=display_name", body).await.json();
    assert_eq!(changed["displayName"], "New");
    server.patch("models/tiny-model@1?updateMask=artifactUri", body).await.refused(400, "INVALID_ARGUMENT");

    let answered = async || {
        server.post("endpoints/tiny:predict", &vector()).await.header("x-bellwether-model-version").to_owned()
    };
    assert_eq!(answered().await, "tiny-model@1");
    let split = r#"{"trafficSplit": {"1": 0, "2": 100}}"#;
    let changed = server.patch("endpoints/tiny?updateMask=trafficSplit", split).await.json();
    assert_eq!(changed["trafficSplit"]["2"], 100);
    assert_eq!(answered().await, "tiny-model@2");
    server.patch("endpoints/tiny", r#"{"trafficSplit": {"1": 100}}"#).await;
    assert_eq!(answered().await, "tiny-model@1", "and back in one call");
    let wrong = r#"{"trafficSplit": {"1": 50}}"#;
    server.patch("endpoints/tiny", wrong).await.refused(400, "INVALID_ARGUMENT");
    assert_eq!(answered().await, "tiny-model@1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_and_its_versions_are_changed_apart() {
    let server = Server::two_versions().await;
    let created = server.get_ok("models/tiny-model").await["createTime"].clone();
    let names = async |reference: &str| {
        let model = server.get_ok(&format!("models/{reference}")).await;
        let text = |field: &str| model[field].as_str().unwrap().to_owned();
        (text("name").rsplit('/').next().unwrap().to_owned(), text("displayName"), text("versionDescription"))
    };
    let said =
        |name: &str, display: &str, version: &str| (name.to_owned(), display.to_owned(), version.to_owned());
    assert_eq!(names("tiny-model@1").await, said("tiny-model@1", "Tiny model", ""));

    for (reference, to) in [("tiny-model", "A"), ("tiny-model@-", "B")] {
        let body = json!({"displayName": to, "description": to, "labels": {"k": to}}).to_string();
        let changed = server.patch(&format!("models/{reference}"), &body).await.json();
        assert_eq!((&changed["displayName"], &changed["description"]), (&json!(to), &json!(to)));
        assert_eq!((&changed["labels"], &changed["versionId"]), (&json!({"k": to}), &json!("1")));
    }
    let body = json!({"versionDescription": "second", "labels": {"v": "2", "k": "own"}}).to_string();
    let changed =
        server.patch("models/tiny-model@2?updateMask=version_description,labels", &body).await.json();
    assert_eq!((&changed["versionDescription"], &changed["description"]), (&json!("second"), &json!("B")));
    assert_eq!(changed["labels"], json!({"v": "2", "k": "own"}));
    assert_eq!(names("tiny-model@-").await, said("tiny-model", "B", ""));
    assert_eq!(names("tiny-model@2").await, said("tiny-model@2", "B", "second"));
    assert_eq!(server.get_ok("models/tiny-model@1").await["labels"], json!({"k": "B"}));

    // Which version is the default changes nothing of what is the model's.
    server.post_ok("models/tiny-model@2:mergeVersionAliases", r#"{"versionAliases": ["default"]}"#).await;
    let model = server.get_ok("models/tiny-model").await;
    assert_eq!(
        (&model["versionId"], &model["displayName"], &model["createTime"]),
        (&json!("2"), &json!("B"), &created)
    );
    let versions = server.get_ok("models/tiny-model:listVersions").await;
    let name = |at: usize| versions["models"][at]["name"].as_str().unwrap().rsplit('/').next().unwrap();
    assert_eq!((name(0), name(1)), ("tiny-model@1", "tiny-model@2"));

    for (tail, body) in [
        ("tiny-model@1?updateMask=displayName", r#"{"displayName": "C"}"#),
        ("tiny-model@1?updateMask=description", r#"{"description": "C"}"#),
        ("tiny-model@1?updateMask=versionDescription,displayName", r#"{"versionDescription": "C"}"#),
        ("tiny-model@1", r#"{"displayName": "C", "versionDescription": "C"}"#),
        ("tiny-model?updateMask=versionDescription", r#"{"versionDescription": "C"}"#),
        ("tiny-model@-?updateMask=displayName,versionDescription", r#"{"displayName": "C"}"#),
        ("tiny-model", r#"{"displayName": "C", "versionDescription": "C"}"#),
    ] {
        let message = server.patch(&format!("models/{tail}"), body).await.refused(400, "FAILED_PRECONDITION");
        assert!(message.contains("in a request of its own"), "{message}");
    }
    assert_eq!(names("tiny-model@1").await, said("tiny-model@1", "B", ""));
    server.delete("models/tiny-model@-").await.refused(400, "INVALID_ARGUMENT");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_read_an_older_state_does_not_overwrite_it() {
    let server = Server::two_versions().await;
    let etag = async |tail: &str| server.get_ok(tail).await["etag"].as_str().unwrap().to_owned();
    for (tail, field) in [
        ("endpoints/tiny", "displayName"),
        ("models/tiny-model", "displayName"),
        ("models/tiny-model@-", "description"),
        ("models/tiny-model@2", "versionDescription"),
    ] {
        let change = async |etag: &str, to: &str| {
            let body = json!({field: to, "etag": etag}).to_string();
            server.patch(&format!("{tail}?updateMask={field}"), &body).await
        };
        let read = etag(tail).await;
        let first = change(&read, "first").await;
        assert_eq!((first.status.as_u16(), &first.json()[field]), (200, &json!("first")), "{}", first.text);
        for late in [read.as_str(), "0000", "-", "é"] {
            let message = change(late, "lost").await.refused(409, "ABORTED");
            assert!(message.contains("read it again"), "{message}");
        }
        assert_eq!(server.get_ok(tail).await[field], "first");
        let current = first.json()["etag"].as_str().unwrap().to_owned();
        assert_eq!(current, etag(tail).await);
        assert_eq!(change(&current, "second").await.status, 200);
        assert_eq!(change("", "third").await.json()[field], "third", "who sends none overwrites");
    }
    // Whoever has read another version of it may change the model, as Google's SDK does.
    let second = etag("models/tiny-model@2").await;
    let body = json!({"displayName": "renamed", "etag": second}).to_string();
    assert_eq!(
        server.patch("models/tiny-model?updateMask=displayName", &body).await.json()["displayName"],
        "renamed"
    );

    let before = etag("endpoints/tiny").await;
    server.post_ok("endpoints/tiny:undeployModel", r#"{"deployedModelId": "2"}"#).await;
    let body = json!({"endpoint": {"displayName": "lost", "etag": before}}).to_string();
    server.post("endpoints/tiny:update", &body).await.refused(409, "ABORTED");
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_belong_together_meet_one_version() {
    let server = Server::two_versions().await;
    let split = async |first: u8| {
        let body = json!({"trafficSplit": {"1": first, "2": 100 - first}}).to_string();
        assert_eq!(server.patch("endpoints/tiny", &body).await.status, 200);
    };
    let ask = async |name: &'static str, text: &str| {
        let request = axum::http::Request::builder()
            .method("POST")
            .uri(format!("{N}/endpoints/tiny:predict"))
            .header(name, text);
        let answer = server.send(request.body(vector().into()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.text);
        answer.header("x-bellwether-model-version").to_owned()
    };
    split(50).await;
    let mut met = std::collections::BTreeSet::new();
    for account in 0..20 {
        let key = format!("account-{account}");
        let first = ask("x-bellwether-traffic-key", &key).await;
        for _ in 0..3 {
            assert_eq!(ask("x-bellwether-traffic-key", &key).await, first);
        }
        met.insert(first);
    }
    assert_eq!(met.len(), 2, "keys are spread over both versions");
    split(100).await;
    let rebalance = ask("x-bellwether-rebalance", "2024-06").await;
    assert_eq!(rebalance, "tiny-model@1");
    split(0).await;
    assert_eq!(ask("x-bellwether-rebalance", "2024-06").await, "tiny-model@1");
    assert_eq!(ask("x-bellwether-rebalance", "2024-07").await, "tiny-model@2");
    server.post_ok("endpoints/tiny:undeployModel", r#"{"deployedModelId": "1"}"#).await;
    assert_eq!(ask("x-bellwether-rebalance", "2024-06").await, "tiny-model@2", "what is gone cannot answer");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_in_use_is_not_deleted() {
    let server = Server::two_versions().await;
    server.delete("models/tiny-model").await.refused(400, "FAILED_PRECONDITION");
    let message =
        server.delete("models/tiny-model@1:deleteVersion").await.refused(400, "FAILED_PRECONDITION");
    assert!(message.contains("default"), "{message}");
    let message =
        server.delete("models/tiny-model@2:deleteVersion").await.refused(400, "FAILED_PRECONDITION");
    assert!(message.contains("deployed on tiny"), "{message}");
    let message = server.delete("endpoints/tiny").await.refused(400, "FAILED_PRECONDITION");
    assert!(message.contains("(1, 2)"), "{message}");
    assert_eq!(server.post("endpoints/tiny:predict", &vector()).await.status, 200);

    server.post_ok("endpoints/tiny:undeployModel", r#"{"deployedModelId": "2"}"#).await;
    assert_eq!(server.delete("models/tiny-model@2:deleteVersion").await.json()["done"], true);
    server.get(&format!("{N}/models/tiny-model@2")).await.refused(404, "NOT_FOUND");
    assert_eq!(server.delete("endpoints/tiny?force=true").await.json()["done"], true);
    server.post("endpoints/tiny:predict", &vector()).await.refused(404, "NOT_FOUND");
    assert_eq!(server.delete("models/tiny-model").await.json()["done"], true);
    assert_eq!(server.get_ok("models").await["models"], json!([]));
    let artifacts = server.platform.data_dir().join("artifacts/default/tiny-model");
    let left = std::fs::read_dir(&artifacts).map(Iterator::count).unwrap_or_default();
    assert_eq!(left, 0, "files of deleted versions are gone");

    // The numbers go on: 1 and 2 have answered.
    server.post_ok("models:upload", &server.upload_body()).await;
    assert_eq!(server.get_ok("models/tiny-model").await["versionId"], "3");
    server.delete("models/none").await.refused(404, "NOT_FOUND");
    server.delete("models/tiny-model@3").await.refused(400, "INVALID_ARGUMENT");
}

fn vector() -> String {
    json!({"instances": [vec![0.01; width()]]}).to_string()
}

/// Features of the fixture's pipeline: the family ROC of Alpha158.
fn width() -> usize {
    5
}
