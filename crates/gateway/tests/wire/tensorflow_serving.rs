//! TensorFlow Serving's REST API: rows, columns and examples agree with `:predict`, and what is wrong is said in that server's words.

use axum::http::Method;
use serde_json::{Value, json};

use crate::fixture::{Answer, N, Server};

const MODEL: &str = "/v1/models/tiny-model";

async fn ask(server: &Server, verb: &str, body: &Value) -> Answer {
    server.request(Method::POST, &format!("{MODEL}:{verb}"), &body.to_string()).await
}

fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

/// The newest rows, and what `:predict` of Vertex AI says to them.
async fn rows_and_answers(server: &Server) -> (Vec<Vec<f32>>, Vec<f32>) {
    let rows: Vec<Vec<f32>> = server.newest.iter().map(|row| row.features.clone()).collect();
    let reply = server.post_ok("endpoints/tiny:predict", &json!({"instances": rows}).to_string()).await;
    let answers = floats(&reply["predictions"]);
    (rows, answers)
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_columns_and_examples_get_the_answer_of_predict() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let answer = ask(&server, "predict", &json!({"instances": rows})).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
    assert!(answer.header("server-timing").contains("compute;dur="));
    assert!(answer.text.starts_with("{\n    \"predictions\": [[0."), "{}", answer.text);
    assert_eq!(floats(&answer.json()["predictions"]), expected);

    let metadata = server.get(&format!("{MODEL}/metadata")).await.json();
    let signature = &metadata["metadata"]["signature_def"]["signature_def"]["serving_default"];
    let input = signature["inputs"].as_object().unwrap().keys().next().unwrap().clone();
    for inputs in [json!(rows), json!({input.as_str(): rows})] {
        let answer =
            ask(&server, "predict", &json!({"signature_name": "serving_default", "inputs": inputs})).await;
        assert_eq!(floats(&answer.json()["outputs"]), expected, "{}", answer.text);
    }
    let named: Vec<Value> = rows.iter().map(|row| json!({input.as_str(): row})).collect();
    let answer = ask(&server, "predict", &json!({"instances": named})).await;
    assert_eq!(floats(&answer.json()["predictions"]), expected);

    let names = ["ROC5", "ROC10", "ROC20", "ROC30", "ROC60"];
    let example = |row: &Vec<f32>| {
        Value::Object(names.iter().map(|name| (*name).to_owned()).zip(row.iter().map(|x| json!(x))).collect())
    };
    let examples: Vec<Value> = rows.iter().map(example).collect();
    let results = ask(&server, "classify", &json!({"examples": examples})).await.json();
    let scores: Vec<Value> = results["results"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|row| row.as_array().unwrap().iter().map(|pair| pair[1].clone()))
        .collect();
    assert_eq!(floats(&Value::Array(scores)), expected);
    assert_eq!(results["results"][0][2][0], "2");
    let regress = ask(&server, "regress", &json!({"examples": examples})).await;
    assert!(regress.plainly_refused(400).contains("Regress needs one number a row, the model gives 3"));
}

#[tokio::test(flavor = "multi_thread")]
async fn status_and_metadata_have_the_servers_form() {
    let server = Server::deployed().await;
    let status = json!({"model_version_status": [
        {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}]});
    for path in ["", "/versions/1", "/labels/default"] {
        let answer = server.get(&format!("{MODEL}{path}")).await;
        assert_eq!(answer.json(), status, "{path}");
    }
    let answer = server.get("/v1/Models/default.tiny-model/VERSIONS/1/metadata").await;
    assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
    let metadata = answer.json();
    assert_eq!(
        metadata["model_spec"],
        json!({"name": "default.tiny-model", "signature_name": "", "version": "1"})
    );
    let signature = &metadata["metadata"]["signature_def"]["signature_def"]["serving_default"];
    assert_eq!(signature["method_name"], "tensorflow/serving/predict");
    let (name, input) = signature["inputs"].as_object().unwrap().iter().next().unwrap();
    assert_eq!(input["dtype"], "DT_FLOAT");
    assert_eq!(input["tensor_shape"]["dim"][1], json!({"size": "5", "name": ""}));
    assert_eq!(input["name"], format!("serving_default_{name}:0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_said_in_the_servers_words() {
    let server = Server::deployed().await;
    let element = "Failed to process element: 0 of 'instances' list. Error: INVALID_ARGUMENT: ";
    for (body, said) in [
        ("", "JSON Parse error: The document is empty".to_owned()),
        (
            "{\"instances\": [[1,2",
            "JSON Parse error: Missing a comma or ] after an array element. at offset: 19".to_owned(),
        ),
        ("{}", "Missing 'inputs' or 'instances' key".to_owned()),
        (
            r#"{"instances": [[1,2,3,4,"a"]]}"#,
            format!("{element}JSON Value: \"a\" Type: String is not of expected type: float"),
        ),
        (
            r#"{"instances": [[1,2,3,4,1e39]]}"#,
            format!("{element}Cannot convert JSON value: 1e+39 to float without loss of precision."),
        ),
        (r#"{"instances": [[1,2]]}"#, "input \"features\" must have shape [batch, 5], got [1, 2]".to_owned()),
        (
            r#"{"instances": [[1,2,3,4,Infinity]]}"#,
            "instance 0 feature \"ROC60\" is infinite; use null or NaN for a missing value".to_owned(),
        ),
        (
            r#"{"instances": [[1,2,3,4,5],[1,2,3,4]]}"#,
            element.replace('0', "1") + "Expecting tensor size: 5 but got: 4",
        ),
        (
            r#"{"instances": [1], "signature_name": "foo"}"#,
            "Serving signature name: \"foo\" not found in signature def".to_owned(),
        ),
    ] {
        let answer = server.request(Method::POST, &format!("{MODEL}:predict"), body).await;
        assert_eq!(answer.plainly_refused(400), said, "{body}");
        assert!(answer.text.starts_with("{ \"error\": \""), "{}", answer.text);
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
    }
    let missing =
        server.request(Method::POST, &format!("{MODEL}:predict"), r#"{"instances": [[NaN,1,2,3,4]]}"#).await;
    assert_eq!(missing.status, 200, "{}", missing.text);
    let invalid = [b"{\"x\": \"\xff\"}".as_slice()].concat();
    let answer = server.post_bytes(&format!("{MODEL}:predict"), &[], invalid).await;
    assert_eq!(answer.plainly_refused(400), "JSON Parse error: Invalid encoding in string. at offset: 7");
    let many = json!({"instances": vec![json!([1, 2, 3, 4, 5]); 9]});
    assert!(ask(&server, "predict", &many).await.plainly_refused(400).starts_with("more than 8 instances"));
    let huge = format!("{{\"instances\": {}", "[".repeat(10_000));
    let answer = server.request(Method::POST, &format!("{MODEL}:predict"), &huge).await;
    assert!(answer.plainly_refused(400).starts_with("JSON Parse error: Nested too deeply."));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_and_what_is_malformed() {
    let server = Server::deployed().await;
    for (method, path, code, said) in [
        (Method::POST, "/v1/models/half:predict", 404, "Servable not found for request: Latest(half)"),
        (
            Method::POST,
            "/v1/models/half/versions/7:predict",
            404,
            "Servable not found for request: Specific(half, 7)",
        ),
        (
            Method::POST,
            "/v1/models/tiny-model/versions/7:predict",
            404,
            "Servable not found for request: Specific(tiny-model, 7)",
        ),
        (
            Method::POST,
            "/v1/models/tiny-model/labels/x:predict",
            400,
            "Unrecognized servable version label: x",
        ),
        (
            Method::POST,
            "/v1/models/..%2F..%2Fetc:predict",
            404,
            "Servable not found for request: Latest(../../etc)",
        ),
        (Method::GET, "/v1/models/half", 404, "Could not find any versions of model half"),
        (
            Method::GET,
            "/v1/models/tiny-model/versions/8589934593",
            404,
            "Could not find version 8589934593 of model tiny-model",
        ),
        (Method::GET, "/v1/models/half/metadata", 404, "Servable not found for request: Latest(half)"),
        (Method::GET, "/v1/models", 400, "Missing model name in request."),
        (
            Method::GET,
            "/v1/models/tiny-model:predict",
            400,
            "Malformed request: GET /v1/models/tiny-model:predict",
        ),
        (
            Method::POST,
            "/v1/models/tiny-model:explain",
            400,
            "Malformed request: POST /v1/models/tiny-model:explain",
        ),
        (Method::DELETE, "/v1/anything", 400, "Malformed request: DELETE /v1/anything"),
        (Method::GET, "/v1/", 400, "Malformed request: GET /v1/"),
        (Method::POST, "/v1/models/%00:predict", 400, "Malformed request: POST /v1/models/%00:predict"),
    ] {
        let answer = server.request(method, path, r#"{"instances": [[1,2,3,4,5]]}"#).await;
        assert_eq!(answer.plainly_refused(code), said, "{path}");
    }
    // What is Vertex AI's has the errors of Vertex AI.
    server.get("/v1/projects").await.refused(404, "NOT_FOUND");
    server.get("/v1/projects/").await.refused(404, "NOT_FOUND");
    server.get(&format!("{N}/models/none")).await.refused(404, "NOT_FOUND");
}
