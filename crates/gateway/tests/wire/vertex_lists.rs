//! Lists of models, versions, endpoints and operations: filtered, ordered, in pages, thinned out.

use axum::http::Method;
use gateway::GatewayOptions;
use serde_json::{Value, json};

use crate::fixture::{N, Server};

fn ids(page: &Value, collection: &str) -> Vec<String> {
    let id = |item: &Value| item["name"].as_str().unwrap().rsplit('/').next().unwrap().to_owned();
    page[collection].as_array().unwrap().iter().map(id).collect()
}

fn encoded(filter: &str) -> String {
    filter.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn endpoints_are_filtered_ordered_and_cut_into_pages() {
    let server = Server::empty(GatewayOptions::default()).await;
    for (id, name, team) in
        [("e1", "beta", "quant"), ("e2", "alpha", "desk"), ("e3", "alpha", "quant"), ("e4", "gamma", "quant")]
    {
        let body = json!({"displayName": name, "labels": {"team": team}}).to_string();
        server.post_ok(&format!("endpoints?endpointId={id}"), &body).await;
    }
    for (filter, expected) in [
        ("display_name=\"alpha\"", vec!["e2", "e3"]),
        ("displayName=alpha AND labels.team=quant", vec!["e3"]),
        ("labels.team=quant AND NOT display_name=gamma", vec!["e1", "e3"]),
        ("labels:team", vec!["e1", "e2", "e3", "e4"]),
        ("endpoint=e4 OR display_name=beta", vec!["e1", "e4"]),
        ("name=\"projects/default/locations/us-central1/endpoints/e2\"", vec!["e2"]),
        ("create_time>\"2024-01-02T03:04:05Z\"", vec![]),
        ("create_time>=\"2024-01-02T03:04:05Z\"", vec!["e1", "e2", "e3", "e4"]),
    ] {
        let page = server.get_ok(&format!("endpoints?filter={}", encoded(filter))).await;
        assert_eq!(ids(&page, "endpoints"), expected, "{filter}");
    }
    let mut found = Vec::new();
    let mut token = String::new();
    loop {
        let asked = format!("endpoints?orderBy=display_name%20desc&pageSize=1&pageToken={token}");
        let page = server.get_ok(&asked).await;
        found.extend(ids(&page, "endpoints"));
        match page["nextPageToken"].as_str() {
            Some(next) => token = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(found, ["e4", "e1", "e2", "e3"]);
    let page = server.get_ok("endpoints?readMask=name,labels.team&pageSize=1").await;
    let name = "projects/default/locations/us-central1/endpoints/e1";
    assert_eq!(page["endpoints"], json!([{"name": name, "labels": {"team": "quant"}}]));
    for (query, words) in [
        (format!("filter={}", encoded("display_name=")), "at character 14"),
        (format!("filter={}", encoded("state=1")), "one of the fields name, endpoint, display_name"),
        ("orderBy=size".to_owned(), "display_name, create_time, update_time"),
        ("orderBy=display_name&pageToken=e1".to_owned(), "\"e1\" is not one of this server"),
        ("pageToken=zzz".to_owned(), "\"zzz\" is not one of this server"),
        ("pageToken=%21%21".to_owned(), "\"!!\" is not one of this server"),
        ("readMask=bogus".to_owned(), "\"bogus\", which is no field here"),
        ("readMask=name,deployedModels.id".to_owned(), "\"deployedModels.id\", which is no field here"),
    ] {
        let answer = server.get(&format!("{N}/endpoints?{query}")).await;
        assert!(answer.refused(400, "INVALID_ARGUMENT").contains(words), "{}", answer.text);
        let details = &answer.json()["error"]["details"][0];
        assert_eq!(details["@type"], "type.googleapis.com/google.rpc.BadRequest");
    }
}

#[tokio::test]
async fn a_token_of_another_list_is_refused() {
    let server = Server::empty(GatewayOptions::default()).await;
    for id in ["e1", "e2", "e3"] {
        server.post_ok(&format!("endpoints?endpointId={id}"), r#"{"displayName": "x"}"#).await;
    }
    let token = |page: &Value| page["nextPageToken"].as_str().unwrap().to_owned();
    let plain = token(&server.get_ok("endpoints?pageSize=1").await);
    let ordered = token(&server.get_ok("endpoints?pageSize=1&orderBy=display_name").await);
    let operations = token(&server.get_ok("operations?pageSize=1").await);
    let page = server.get_ok(&format!("endpoints?pageSize=1&pageToken={plain}")).await;
    assert_eq!(ids(&page, "endpoints"), ["e2"]);
    for list in [
        format!("models?pageToken={plain}"),
        format!("datasets?pageToken={plain}"),
        format!("customJobs?pageToken={plain}"),
        format!("batchPredictionJobs?pageToken={plain}"),
        format!("operations?pageToken={plain}"),
        format!("endpoints?pageToken={operations}"),
        format!("endpoints/e1/operations?pageToken={operations}"),
        format!("endpoints?pageToken={ordered}"),
        format!("endpoints?orderBy=display_name&pageToken={plain}"),
        "models?pageToken=zzz".to_owned(),
        "customJobs?pageToken=zzz".to_owned(),
    ] {
        let message = server.get(&format!("{N}/{list}")).await.refused(400, "INVALID_ARGUMENT");
        assert!(message.starts_with("page token"), "{list}: {message}");
    }
    let elsewhere = N.replace("projects/default", "projects/desk");
    let asked = format!("{elsewhere}/endpoints?pageToken={plain}");
    server.get(&asked).await.refused(400, "INVALID_ARGUMENT");
    server.get(&format!("{N}/models?readMask=bogus")).await.refused(400, "INVALID_ARGUMENT");
    assert_eq!(
        server.get_ok("models?readMask=versionDescription,metadata.metrics").await,
        json!({"models": []})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn models_and_their_versions_are_filtered_and_ordered() {
    let server = Server::trained().await;
    server.post_ok("models:upload", &server.upload_body()).await;
    let uri = format!("file://{}", server.bundle.display());
    for labels in [json!({"stage": "prod"}), json!({})] {
        let body = json!({"parentModel": "tiny-model",
            "model": {"displayName": "Tiny model", "artifactUri": uri, "labels": labels}});
        server.post_ok("models:upload", &body.to_string()).await;
    }
    let versions = |page: &Value| -> Vec<String> {
        let models = page["models"].as_array().unwrap();
        models.iter().map(|model| model["versionId"].as_str().unwrap().to_owned()).collect()
    };
    for (query, expected) in [
        (format!("filter={}", encoded("labels.stage=prod")), vec!["2"]),
        (format!("filter={}", encoded("version_id>=2")), vec!["2", "3"]),
        (format!("filter={}", encoded("version_aliases:default")), vec!["1"]),
        ("orderBy=version_id%20desc".to_owned(), vec!["3", "2", "1"]),
        ("orderBy=create_time%20desc,version_id%20desc&pageSize=2".to_owned(), vec!["3", "2"]),
    ] {
        let page = server.get_ok(&format!("models/tiny-model:listVersions?{query}")).await;
        assert_eq!(versions(&page), expected, "{query}");
    }
    let filter = encoded("display_name=\"Tiny*\" AND model=tiny-model");
    let page = server.get_ok(&format!("models?filter={filter}&orderBy=update_time")).await;
    assert_eq!(
        (ids(&page, "models"), versions(&page)),
        (vec!["tiny-model".to_owned()], vec!["1".to_owned()])
    );
    let none = server.get_ok(&format!("models?filter={}", encoded("labels.stage=prod"))).await;
    assert_eq!(none, json!({"models": []}), "a model is listed by its default version");
}

#[tokio::test]
async fn operations_are_listed_cancelled_and_deleted() {
    let server = Server::empty(GatewayOptions::default()).await;
    for id in ["e1", "e2", "e3"] {
        server.post_ok(&format!("endpoints?endpointId={id}"), r#"{"displayName": "x"}"#).await;
    }
    let parents = |page: &Value| -> Vec<String> {
        let operations = page["operations"].as_array().unwrap();
        let parent = |one: &Value| one["name"].as_str().unwrap().split('/').nth(5).unwrap().to_owned();
        operations.iter().map(parent).collect()
    };
    let first = server.get_ok("operations?pageSize=2").await;
    assert_eq!(parents(&first), ["e3", "e2"], "the newest first");
    let token = first["nextPageToken"].as_str().unwrap();
    let rest = server.get_ok(&format!("operations?pageSize=2&pageToken={token}")).await;
    assert_eq!((parents(&rest), &rest["nextPageToken"]), (vec!["e1".to_owned()], &Value::Null));
    assert_eq!(parents(&server.get_ok("endpoints/e2/operations").await), ["e2"]);
    let none = server.get_ok(&format!("operations?filter={}", encoded("done=false"))).await;
    assert_eq!(none, json!({"operations": []}));

    let name = first["operations"][1]["name"].as_str().unwrap();
    let cancelled = server.request(Method::POST, &format!("/v1/{name}:cancel"), "{}").await;
    assert_eq!((cancelled.status.as_u16(), cancelled.json()), (200, json!({})));
    assert_eq!(server.get(&format!("/v1/{name}")).await.json()["done"], true, "it had been finished");
    let deleted = server.request(Method::DELETE, &format!("/v1/{name}"), "").await;
    assert_eq!((deleted.status.as_u16(), deleted.json()), (200, json!({})));
    for verb in ["", ":wait", ":cancel"] {
        let method = if verb.is_empty() { Method::DELETE } else { Method::POST };
        server.request(method, &format!("/v1/{name}{verb}"), "").await.refused(404, "NOT_FOUND");
    }
    server.get_ok("endpoints/e2").await;
}
