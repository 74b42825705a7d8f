//! `:predict`: the three forms of an instance agree, and every wrong one is named.

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};

use crate::fixture::{N, Server, business_days};

async fn ask(server: &Server, body: &Value) -> crate::fixture::Answer {
    server.post("endpoints/tiny:predict", &body.to_string()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_symbol_a_vector_and_named_features_get_one_answer() {
    let server = Server::deployed().await;
    let by_symbol = ask(&server, &json!({"instances": [{"symbol": "S03"}]})).await;
    assert_eq!(by_symbol.status, 200, "{}", by_symbol.text);
    assert_eq!(by_symbol.header("x-bellwether-model-version"), "tiny-model@1");
    assert!(by_symbol.header("server-timing").starts_with("queue;dur="), "{:?}", by_symbol.headers);
    assert!(by_symbol.header("server-timing").contains(", compute;dur="));
    let reply = by_symbol.json();
    assert_eq!(reply["model"], "projects/default/locations/us-central1/models/tiny-model");
    assert_eq!((&reply["deployedModelId"], &reply["modelVersionId"]), (&json!("1"), &json!("1")));
    assert_eq!(reply["modelDisplayName"], "Tiny model");
    assert_eq!(reply["metadata"]["as_of"], business_days().last().unwrap().to_string());
    assert_eq!(reply["metadata"]["dataset"]["name"], "made-up");
    assert!(reply["metadata"]["warnings"].is_null());
    let probabilities: Vec<f64> =
        reply["predictions"][0].as_array().unwrap().iter().map(|p| p.as_f64().unwrap()).collect();
    assert_eq!(probabilities.len(), 3);
    assert!((probabilities.iter().sum::<f64>() - 1.0).abs() < 1e-5);

    let row = server.newest.iter().find(|row| row.symbol == "S03").unwrap();
    for instance in [json!(row.features), json!({"features": row.features})] {
        let by_vector = ask(&server, &json!({"instances": [instance]})).await.json();
        assert_eq!(by_vector["predictions"], reply["predictions"], "{instance}");
        assert!(by_vector["metadata"].is_null(), "{by_vector}");
    }
    let mixed = json!({"instances": [{"symbol": "S03"}, row.features, {"symbol": "S03"}]});
    let mixed = ask(&server, &mixed).await.json();
    assert_eq!(mixed["predictions"][0], mixed["predictions"][1]);
    assert_eq!(mixed["predictions"].as_array().unwrap().len(), 3);

    let gaps: Vec<Value> = row.features.iter().map(|_| Value::Null).collect();
    let missing = ask(&server, &json!({"instances": [gaps], "parameters": {}, "labels": {"a": "b"}})).await;
    assert_eq!(missing.status, 200, "{}", missing.text);

    let inside = json!({"instances": [{"symbol": "S03"}], "parameters": {"as_of": "2020-05-04"}});
    let warned = ask(&server, &inside).await.json();
    assert_eq!(warned["metadata"]["as_of"], "2020-05-04");
    assert!(warned["metadata"]["warnings"][0].as_str().unwrap().contains("training window"), "{warned}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_answered_with_what_is_wrong() {
    let server = Server::deployed().await;
    let symbol = |as_of: &str| json!({"instances": [{"symbol": "S01"}], "parameters": {"as_of": as_of}});
    let cases = [
        (
            json!({"instances": [[1.0, 2.0]]}),
            400,
            "INVALID_ARGUMENT",
            "instance 0 has 2 values where model tiny-model@1 takes 5",
        ),
        (json!({"instances": [[1, 2, 3, 4, 1e39]]}), 400, "INVALID_ARGUMENT", "instance 0 place 4"),
        (json!({"instances": [{"symbol": "S0l"}]}), 404, "NOT_FOUND", "S01"),
        (symbol("2019-01-01"), 400, "OUT_OF_RANGE", "before the data"),
        (symbol("2020-01-03"), 400, "FAILED_PRECONDITION", "S01"),
        (
            json!({"instances": vec![json!({"symbol": "S01"}); 9]}),
            400,
            "INVALID_ARGUMENT",
            "more than 8 instances",
        ),
    ];
    for (body, code, status, part) in cases {
        let answer = ask(&server, &body).await;
        let message = answer.refused(code, status);
        assert!(message.contains(part), "{body}: {message}");
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1", "{message}");
    }
    let message =
        server.post("endpoints/tinny:predict", r#"{"instances": [[1]]}"#).await.refused(404, "NOT_FOUND");
    assert!(message.contains("tinny") && message.contains("tiny"), "{message}");
    let broken = server.post("endpoints/tiny:predict", "{\"instances\": [[1,\n2]").await;
    assert!(broken.refused(400, "INVALID_ARGUMENT").contains("line 2 column 3"), "{}", broken.text);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_keeps_its_id() {
    let server = Server::deployed().await;
    let send = |id: &'static str| {
        let request = Request::post(format!("{N}/endpoints/tiny:predict")).header("x-request-id", id);
        server.send(request.body(Body::from(r#"{"instances": [{"symbol": "S01"}]}"#)).unwrap())
    };
    assert_eq!(send("my-id.1").await.header("x-request-id"), "my-id.1");
    let made = send("not sane").await.header("x-request-id").to_owned();
    assert!(!made.is_empty() && made != "not sane");
    assert_ne!(server.get("/nowhere").await.header("x-request-id"), made);
}
