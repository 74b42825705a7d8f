//! MLflow's scoring and SageMaker's path to it: every form of a body agrees with `:predict`; wrong ones have the protocol's error.

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{ArrayRef, Float32Array, RecordBatch};
use axum::http::Method;
use gateway::GatewayOptions;
use serde_json::{Value, json};

use crate::fixture::{Answer, Server};

const NAMES: [&str; 5] = ["ROC5", "ROC10", "ROC20", "ROC30", "ROC60"];
const STREAM: &str = "application/vnd.apache.arrow.stream";

fn floats(value: &Value) -> Vec<f32> {
    match value {
        Value::Array(items) => items.iter().flat_map(floats).collect(),
        other => vec![other.as_f64().unwrap() as f32],
    }
}

async fn rows_and_answers(server: &Server) -> (Vec<Vec<f32>>, Vec<f32>) {
    let rows: Vec<Vec<f32>> = server.newest.iter().map(|row| row.features.clone()).collect();
    let reply = server.post_ok("endpoints/tiny:predict", &json!({"instances": rows}).to_string()).await;
    let answers = floats(&reply["predictions"]);
    (rows, answers)
}

async fn invoke(server: &Server, body: &Value) -> Answer {
    server.request(Method::POST, "/invocations", &body.to_string()).await
}

impl Answer {
    /// Checks that this is an error as MLflow's server gives it, and gives its message.
    #[track_caller]
    fn refused_by_mlflow(&self, code: u16, name: &str) -> String {
        assert_eq!(self.status.as_u16(), code, "{}", self.text);
        assert_eq!(self.json()["error_code"], name, "{}", self.text);
        self.json()["message"].as_str().expect("an error has a message").to_owned()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_form_gets_the_answer_of_predict() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let reversed: Vec<Vec<f32>> = rows.iter().map(|row| row.iter().rev().copied().collect()).collect();
    let names: Vec<&str> = NAMES.into_iter().rev().collect();
    let record = |row: &Vec<f32>| {
        Value::Object(NAMES.iter().zip(row).map(|(name, x)| ((*name).to_owned(), json!(x))).collect())
    };
    for body in [
        json!({"dataframe_split": {"columns": names, "index": [0, 1, 2, 3, 4, 5], "data": reversed}}),
        json!({"dataframe_records": rows.iter().map(record).collect::<Vec<_>>()}),
        json!({"instances": rows, "params": {}}),
        json!({"inputs": rows}),
    ] {
        let answer = invoke(&server, &body).await;
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1", "{}", answer.text);
        assert!(answer.header("server-timing").contains("queue;dur="));
        assert_eq!(floats(&answer.json()["predictions"]), expected);
    }
    let mut csv = NAMES.join(",");
    for row in &rows {
        let cells: Vec<String> = row.iter().map(f32::to_string).collect();
        csv += &format!("\n{}", cells.join(","));
    }
    let answer = server.post_bytes("/invocations", &[("content-type", "text/csv")], csv).await;
    assert_eq!(floats(&answer.json()["predictions"]), expected);

    // SageMaker's clients name an endpoint; a model will do as well.
    for name in ["tiny", "tiny-model", "default.tiny-model"] {
        let path = format!("/endpoints/{name}/invocations");
        let answer = server.request(Method::POST, &path, &json!({"inputs": rows}).to_string()).await;
        assert_eq!(floats(&answer.json()["predictions"]), expected, "{name}");
        assert_eq!(answer.header("x-amzn-invoked-production-variant"), "1");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_is_answered_with_a_stream() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let column = |at: usize| Arc::new(rows.iter().map(|row| row[at]).collect::<Float32Array>()) as ArrayRef;
    let batch = RecordBatch::try_from_iter([4, 2, 0, 1, 3].map(|at| (NAMES[at], column(at)))).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let body = writer.into_inner().unwrap();
    let answer = server.post_bytes("/invocations", &[("content-type", STREAM)], body.clone()).await;
    assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, STREAM), "{}", answer.text);
    let mut reader = arrow_ipc::reader::StreamReader::try_new(answer.bytes.as_slice(), None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    let lists = batch.column(0).as_fixed_size_list();
    assert_eq!(lists.value_length(), 3);
    assert_eq!(lists.values().as_primitive::<Float32Type>().values(), expected.as_slice());

    let headers = [("content-type", STREAM), ("accept", "application/json")];
    let answer = server.post_bytes("/invocations", &headers, body.clone()).await;
    assert_eq!(floats(&answer.json()["predictions"]), expected);
    let answer = server.post_bytes("/invocations", &[("content-type", STREAM)], body[..100].to_vec()).await;
    assert!(answer.refused_by_mlflow(400, "BAD_REQUEST").contains("not an Arrow IPC stream"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_has_mlflows_error() {
    let server = Server::deployed().await;
    for (body, said) in [
        ("{\"instances\": [[1,2", "not JSON: missing a comma or ]"),
        ("", "not JSON: the document is empty"),
        ("{}", "exactly one of the input fields"),
        (r#"{"instances": [[1,2,3,4,5]], "inputs": [[1,2,3,4,5]]}"#, "['instances', 'inputs']"),
        (r#"{"instances": [[1,2,3,4]]}"#, "must have shape [batch, 5]"),
        (r#"{"instances": [[1,2,3,4,5],[1,2]]}"#, "Expecting tensor size: 5 but got: 2"),
        (
            r#"{"dataframe_split": {"columns": ["ROC5"], "data": [[1]]}}"#,
            "Model is missing inputs ['ROC10', 'ROC20', 'ROC30', 'ROC60'].",
        ),
        (r#"{"dataframe_split": {"data": [[1,2,3,4,1e39]]}}"#, "row 0 column \"ROC60\" has 1e39"),
        (r#"{"inputs": [[1,2,3,4,Infinity]]}"#, "is infinite"),
    ] {
        let answer = server.request(Method::POST, "/invocations", body).await;
        let message = answer.refused_by_mlflow(400, "BAD_REQUEST");
        assert!(message.contains(said), "{body}: {message}");
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
    }
    let deep = format!("{{\"inputs\": {}", "[".repeat(10_000));
    let answer = server.request(Method::POST, "/invocations", &deep).await;
    assert!(answer.refused_by_mlflow(400, "BAD_REQUEST").contains("nested too deeply"));
    let invalid = [b"{\"x\": \"\xff\"}".as_slice()].concat();
    let answer = server.post_bytes("/invocations", &[("content-type", "application/json")], invalid).await;
    assert!(answer.refused_by_mlflow(400, "BAD_REQUEST").contains("invalid encoding"));

    for kind in ["text/plain", "application/x-www-form-urlencoded", "text/csv; charset=latin-1"] {
        let answer = server.post_bytes("/invocations", &[("content-type", kind)], "1").await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (415, "text/plain; charset=utf-8")
        );
        assert!(answer.text.contains(&format!("Got '{kind}'")), "{}", answer.text);
    }
    let answer = server.get("/invocations").await;
    answer.refused_by_mlflow(405, "BAD_REQUEST");
    assert_eq!(answer.header("allow"), "POST");
    server.request(Method::POST, "/ping", "").await.refused_by_mlflow(405, "BAD_REQUEST");

    // A variant is a deployment; one that there is not is nobody else's question.
    let invoke = async |endpoint: &str, variant: &str| {
        let headers = [("content-type", "application/json"), ("x-amzn-sagemaker-target-variant", variant)];
        server
            .post_bytes(
                &format!("/endpoints/{endpoint}/invocations"),
                &headers,
                r#"{"inputs": [[1,2,3,4,5]]}"#,
            )
            .await
    };
    let answer = invoke("tiny", "1").await;
    assert_eq!((answer.status.as_u16(), answer.header("x-amzn-invoked-production-variant")), (200, "1"));
    let answer = invoke("tiny", "nope").await;
    let message = answer.refused_by_mlflow(400, "BAD_REQUEST");
    assert!(
        message.contains("endpoint \"tiny\" has no deployment \"nope\" that answers; there are: 1"),
        "{message}"
    );
    assert_eq!(answer.header("x-amzn-errortype"), "ValidationError");
    invoke("none", "1").await.refused_by_mlflow(404, "RESOURCE_DOES_NOT_EXIST");

    for name in ["none", "..%2F..%2Fetc"] {
        let answer = server.request(Method::POST, &format!("/endpoints/{name}/invocations"), "{}").await;
        answer.refused_by_mlflow(404, "RESOURCE_DOES_NOT_EXIST");
        assert_eq!(answer.header("x-amzn-errortype"), "ValidationError");
    }
    for name in ["%ff", "a%00b"] {
        let answer = server.request(Method::POST, &format!("/endpoints/{name}/invocations"), "{}").await;
        answer.refused_by_mlflow(400, "BAD_REQUEST");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_that_of_the_model_that_answers() {
    let server = Server::deployed().await;
    for path in ["/ping", "/health"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "\n"));
    }
    assert_eq!(server.get("/version").await.text, env!("CARGO_PKG_VERSION"));

    let empty = Server::empty(GatewayOptions::default()).await;
    assert_eq!(empty.get("/ping").await.status, 404);
    let answer = invoke(&empty, &json!({"inputs": [[1]]})).await;
    assert!(answer.refused_by_mlflow(404, "RESOURCE_DOES_NOT_EXIST").contains("no model is deployed"));

    // Two models in service: which one answers must be said.
    server.post_ok("models:upload", &server.upload_body().replace("tiny-model", "other")).await;
    let body = r#"{"deployedModel": {"model": "other", "id": "2", "cpuCores": 1}, "trafficSplit": {"0": 0, "1": 100}}"#;
    server.post_ok("endpoints/tiny:deployModel", body).await;
    let rows = json!({"inputs": [[1, 2, 3, 4, 5]]});
    let message = invoke(&server, &rows).await.refused_by_mlflow(400, "BAD_REQUEST");
    assert!(message.contains("other, tiny-model") && message.contains("serve --default-model"), "{message}");
    for name in ["other", "default.tiny-model"] {
        let options = GatewayOptions { default_model: Some(name.to_owned()), ..GatewayOptions::default() };
        let chosen = server.with(options);
        let answer = invoke(&chosen, &rows).await;
        let expected = format!("{}@1", name.trim_start_matches("default."));
        assert_eq!(answer.header("x-bellwether-model-version"), expected, "{}", answer.text);
    }
}
