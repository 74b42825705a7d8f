//! Data sets over the wire: created, appended to, listed, and what a prediction makes of a later day.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::fixture::{Answer, N, Server};

const CSV: &str = "date,symbol,close,volume\n2020-01-02,A,10,100\n2020-01-03,A,11,100\n2020-01-02,B,20,100\n";

async fn content(server: &Server, tail: &str, kind: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = Request::post(format!("{N}/{tail}")).header("content-type", kind);
    server.send(request.body(Body::from(body.into())).unwrap()).await
}

async fn imported(server: &Server, tail: &str, body: impl Into<Vec<u8>>) -> Value {
    let answer = content(server, tail, "text/csv", body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["response"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn content_creates_a_data_set_and_appends_to_it() {
    let server = Server::empty(gateway::GatewayOptions::default()).await;
    let created = imported(&server, "datasets?datasetId=us-stocks", CSV).await;
    assert_eq!(created["name"], "projects/default/locations/us-central1/datasets/us-stocks");
    assert_eq!((&created["dataItemCount"], &created["metadata"]["snapshot"]), (&json!("3"), &json!(1)));
    content(&server, "datasets?datasetId=us-stocks", "text/csv", CSV).await.refused(409, "ALREADY_EXISTS");

    let more = "date,symbol,close,volume\n2020-01-03,A,11.5,100\n2020-01-06,A,12,100\n2020-01-02,B,20,100\n";
    let appended = imported(&server, "datasets/us-stocks:import", more).await;
    let counts = &appended["metadata"]["appended"];
    assert_eq!(
        (&counts["added"], &counts["corrected"], &counts["unchanged"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_eq!(appended["metadata"]["snapshot"], 2);
    let again = imported(&server, "datasets/us-stocks:import", more).await;
    assert_eq!((&again["metadata"]["created"], &again["metadata"]["snapshot"]), (&json!(false), &json!(2)));

    let members = "symbol,from,to\nA,2020-01-01,\nGONE,2020-01-01,2020-01-31\n";
    imported(&server, "datasets/us-stocks:import?table=members:top", members).await;
    let shown = server.get_ok("datasets/us-stocks").await;
    assert_eq!(shown["metadata"]["universes"], json!(["top"]));
    assert_eq!(shown["metadata"]["lastDate"], "2020-01-06");
    // The server's clock stands at 2024-01-02.
    assert_eq!(shown["metadata"]["ageDays"], 1457);
    assert_eq!(shown["metadata"]["quality"]["survivorship"][0]["without_prices"], 1);

    imported(
        &server,
        "datasets?datasetId=other&column=Preis%3Dclose&timeZone=Europe/Berlin",
        "date,Preis\n2020-01-02,1\n",
    )
    .await;
    let listed = server.get_ok("datasets?pageSize=1").await;
    assert_eq!(listed["datasets"][0]["displayName"], "other");
    let rest =
        server.get_ok(&format!("datasets?pageToken={}", listed["nextPageToken"].as_str().unwrap())).await;
    assert_eq!(
        (rest["datasets"].as_array().unwrap().len(), &rest["datasets"][0]["displayName"]),
        (1, &json!("us-stocks"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn files_under_an_allowed_root_are_named_by_uri() {
    let server = Server::empty(gateway::GatewayOptions::default()).await;
    let folder = server.bundle.parent().unwrap().join("prices");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("A.csv"), "date,close\n2020-01-02,1\n").unwrap();
    let uri = format!("file://{}", folder.display());
    let create = json!({"displayName": "named", "metadata": {"inputConfig": {"gcsSource": {"uri": [uri]}}}});
    let created = server.post_ok("datasets", &create.to_string()).await;
    assert_eq!(
        created["metadata"]["@type"],
        "type.googleapis.com/google.cloud.aiplatform.v1.CreateDatasetOperationMetadata"
    );
    std::fs::write(folder.join("A.csv"), "date,close\n2020-01-02,1\n2020-01-03,1\n").unwrap();
    let import = json!({"importConfigs": [{"gcsSource": {"uris": [format!("{uri}/A.csv")]}}]});
    let grown = server.post_ok("datasets/named:import", &import.to_string()).await;
    assert_eq!(grown["response"]["metadata"]["appended"]["added"], 1);

    let outside = json!({"importConfigs": [{"gcsSource": {"uris": ["file:///etc/passwd"]}}]});
    let refused =
        server.post("datasets/named:import", &outside.to_string()).await.refused(403, "PERMISSION_DENIED");
    assert!(refused.contains("--allow-root"), "{refused}");
    let tables = json!({"importConfigs": [], "importSettings": {"actions": "/etc/passwd"}});
    let refused =
        server.post("datasets/named:import", &tables.to_string()).await.refused(400, "INVALID_ARGUMENT");
    assert!(refused.contains("?table=actions"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_imported_is_refused_with_the_place() {
    let server = Server::empty(gateway::GatewayOptions::default()).await;
    let refused = |tail: &'static str, body: &'static str| {
        let server = &server;
        async move { content(server, tail, "text/csv", body).await.refused(400, "INVALID_ARGUMENT") }
    };
    assert!(refused("datasets", CSV).await.contains("?datasetId=NAME"));
    let message = refused("datasets?datasetId=x&fileName=x.csv", "date,close\n2020-01-02,abc\n").await;
    assert_eq!(message, "x.csv, line 2, column \"close\": \"abc\" is not a number");
    assert!(refused("datasets?datasetId=x", "").await.contains("empty"));
    assert!(refused("datasets?datasetId=X!", CSV).await.contains("dataset name \"X!\""));
    assert!(refused("datasets?datasetId=x&knownAt=soon", CSV).await.contains("knownAt"));
    assert!(refused("datasets?datasetId=x&timeZone=Mars/Base", CSV).await.contains("unknown time zone"));
    content(&server, "datasets/none:import", "text/csv", CSV).await.refused(404, "NOT_FOUND");
    let listed = server.get_ok("datasets").await;
    assert_eq!(listed["datasets"], json!([]), "nothing was stored");
}
