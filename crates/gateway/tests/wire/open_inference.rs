//! The Open Inference Protocol: JSON and raw tensors agree with `:predict`, and every wrong request has the protocol's error.

use std::io::{Read as _, Write as _};

use axum::http::Method;
use serde_json::{Value, json};

use crate::fixture::{Answer, Server};

const INFER: &str = "/v2/models/tiny-model/infer";
const LENGTH: &str = "inference-header-content-length";

/// The newest rows of all instruments.
fn rows(server: &Server) -> Vec<Vec<f32>> {
    server.newest.iter().map(|row| row.features.clone()).collect()
}

fn bytes(rows: &[Vec<f32>]) -> Vec<u8> {
    rows.iter().flatten().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|four| f32::from_le_bytes(four.try_into().unwrap())).collect()
}

/// Names of the model's input and output.
async fn names(server: &Server) -> (String, String) {
    let metadata = server.get("/v2/models/tiny-model").await.json();
    let name = |side: &str| metadata[side][0]["name"].as_str().unwrap().to_owned();
    (name("inputs"), name("outputs"))
}

async fn infer(server: &Server, body: &Value) -> Answer {
    server.request(Method::POST, INFER, &body.to_string()).await
}

/// What `:predict` says to the same rows.
async fn expected(server: &Server) -> Vec<f32> {
    let reply =
        server.post_ok("endpoints/tiny:predict", &json!({"instances": rows(server)}).to_string()).await;
    let rows = reply["predictions"].as_array().unwrap();
    rows.iter().flat_map(|row| row.as_array().unwrap()).map(|p| p.as_f64().unwrap() as f32).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_and_models_describe_themselves() {
    let server = Server::deployed().await;
    for path in ["/v2/health/live", "/v2/health/ready", "/v2/models/tiny-model/ready"] {
        let answer = server.get(path).await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, ""), "{path}");
    }
    let answer = server.get("/v2/models/tiny-model/versions/1/ready").await;
    assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
    let metadata = server.get("/v2").await.json();
    assert_eq!(metadata["name"], "bellwether");
    assert!(metadata["extensions"].as_array().unwrap().contains(&json!("binary_tensor_data")));
    assert_eq!(server.get("/v2/").await.json(), metadata);

    let model = server.get("/v2/models/default.tiny-model/versions/1").await.json();
    assert_eq!((&model["versions"], &model["platform"]), (&json!(["1"]), &json!("onnx_onnxv1")));
    assert_eq!(model["inputs"][0]["datatype"], "FP32");
    assert_eq!(model["inputs"][0]["shape"], json!([-1, 5]));
    assert_eq!(model["outputs"][0]["shape"], json!([-1, 3]));
    let config = server.get("/v2/models/tiny-model/config").await.json();
    assert_eq!(config["input"][0]["data_type"], "TYPE_FP32");
    assert_eq!((&config["input"][0]["dims"], &config["max_batch_size"]), (&json!([5]), &json!(65_536)));

    let index = server.request(Method::POST, "/v2/repository/index", "").await.json();
    assert_eq!(index, json!([{"name": "tiny-model", "version": "1", "state": "READY"}]));
    let load = server.request(Method::POST, "/v2/repository/models/tiny-model/load", "{}").await;
    assert_eq!((load.status.as_u16(), load.text.as_str()), (200, ""));
    let body = r#"{"parameters": {"unload_dependents": false}}"#;
    let unload = server.request(Method::POST, "/v2/repository/models/tiny-model/unload", body).await;
    assert!(
        unload.plainly_refused(400).contains("bellwether endpoint undeploy tiny --deployment 1"),
        "{}",
        unload.text
    );
    let unload = server.request(Method::POST, "/v2/repository/models/nobody/unload", "").await;
    assert_eq!(unload.status, 200, "what is not there need not be unloaded");
}

#[tokio::test(flavor = "multi_thread")]
async fn json_and_raw_tensors_get_the_answer_of_predict() {
    let server = Server::deployed().await;
    let (input, output) = names(&server).await;
    let (rows, expected) = (rows(&server), expected(&server).await);
    let count = rows.len();
    for data in [json!(rows), json!(rows.concat())] {
        let body = json!({"id": "q7", "inputs": [{"name": input, "shape": [count, 5], "datatype": "FP32", "data": data}]});
        let answer = infer(&server, &body).await;
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
        assert!(answer.header("server-timing").contains("compute;dur="));
        let reply = answer.json();
        assert_eq!((&reply["model_name"], &reply["model_version"]), (&json!("tiny-model"), &json!("1")));
        assert_eq!((&reply["id"], &reply["outputs"][0]["shape"]), (&json!("q7"), &json!([count, 3])));
        let data = reply["outputs"][0]["data"].as_array().unwrap();
        let data: Vec<f32> = data.iter().map(|p| p.as_f64().unwrap() as f32).collect();
        assert_eq!(data, expected);
    }

    // What `tritonclient` sends if it is told nothing: no content type, raw tensors both ways.
    let head = json!({"inputs": [{"name": input, "shape": [count, 5], "datatype": "FP32",
        "parameters": {"binary_data_size": count * 20}}], "parameters": {"binary_data_output": true}})
    .to_string();
    let body = [head.as_bytes(), &bytes(&rows)].concat();
    let length = head.len().to_string();
    let answer = server.post_bytes(INFER, &[(LENGTH, &length)], body.clone()).await;
    assert_eq!(answer.header("content-type"), "application/octet-stream");
    let (json, raw) = answer.bytes.split_at(answer.header(LENGTH).parse().unwrap());
    let json: Value = serde_json::from_slice(json).unwrap();
    assert_eq!(json["outputs"][0]["name"], output.as_str());
    assert_eq!(json["outputs"][0]["parameters"]["binary_data_size"], raw.len());
    assert_eq!(floats(raw), expected);

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&body).unwrap();
    let headers = [(LENGTH, length.as_str()), ("content-encoding", "gzip"), ("accept-encoding", "gzip")];
    let packed = server.post_bytes(INFER, &headers, gzip.finish().unwrap()).await;
    assert_eq!(packed.bytes, answer.bytes, "small replies are not compressed");

    let raw = server.post_bytes(INFER, &[(LENGTH, "0")], bytes(&rows[..1])).await;
    let at: usize = raw.header(LENGTH).parse().unwrap();
    assert_eq!(floats(&raw.bytes[at..]), expected[..3]);

    let body = json!({"inputs": [{"name": input, "shape": [count, 5], "datatype": "FP32", "data": rows}],
        "outputs": [{"name": output, "parameters": {"classification": 1}}]});
    let classes = infer(&server, &body).await.json();
    assert_eq!(classes["outputs"][0]["datatype"], "BYTES");
    assert_eq!(classes["outputs"][0]["shape"], json!([count, 1]));
    let row = &expected[..3];
    let best = (0..3).max_by(|a, b| row[*a].total_cmp(&row[*b])).unwrap();
    assert_eq!(classes["outputs"][0]["data"][0], format!("{:.6}:{best}", row[best]));

    let stats = server.get("/v2/models/tiny-model/stats").await.json();
    let stats = &stats["model_stats"][0];
    // Six requests of `count` rows, one of them to `:predict`, and one of a single row.
    assert_eq!(stats["inference_count"], 6 * count + 1);
    assert_eq!(stats["inference_stats"]["success"]["count"], 7);
    assert!(stats["execution_count"].as_u64().unwrap() <= 7);
    assert_eq!(server.get("/v2/models/stats").await.json()["model_stats"][0], *stats);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_reply_is_compressed_for_who_asks() {
    let server = Server::deployed().await;
    let (input, _) = names(&server).await;
    let rows = vec![vec![0.5f32; 5]; 8];
    let id = "x".repeat(2000);
    let body =
        json!({"id": id, "inputs": [{"name": input, "shape": [8, 5], "datatype": "FP32", "data": rows}]});
    let plain = infer(&server, &body).await;
    assert_eq!(plain.header("content-encoding"), "");
    let answer = server.post_bytes(INFER, &[("accept-encoding", "gzip, deflate")], body.to_string()).await;
    assert_eq!(answer.header("content-encoding"), "gzip");
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(answer.bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.bytes);
    let answer = server.post_bytes(INFER, &[("accept-encoding", "deflate")], body.to_string()).await;
    let mut unpacked = Vec::new();
    flate2::read::ZlibDecoder::new(answer.bytes.as_slice()).read_to_end(&mut unpacked).unwrap();
    assert_eq!(unpacked, plain.bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_has_the_protocols_error() {
    let server = Server::deployed().await;
    let (input, _) = names(&server).await;
    let good =
        json!({"inputs": [{"name": input, "shape": [1, 5], "datatype": "FP32", "data": [1, 2, 3, 4, 5]}]});
    assert_eq!(infer(&server, &good).await.status, 200);
    let with = |from: &str, to: &str| {
        let text = good.to_string();
        assert!(text.contains(from), "{from}");
        text.replace(from, to)
    };
    let cases = [
        (with("[1,5]", "[2,5]"), "has 5 elements, where shape [2, 5] has 10"),
        (with("[1,5]", "[9,5]"), "at most 8 are taken at a time"),
        (with("[1,5]", "[1,9223372036854775807]"), "unexpected shape"),
        (with("[1,2,3,4,5]", "[1,2,3,4,1e39]"), "does not fit FP32"),
        (with("[1,2,3,4,5]", "[1,2,3,4,Infinity]"), "is infinite"),
        (with("[1,2,3,4,5]", "[[1,2],[3,4,5]]"), "ragged"),
        (with("\"FP32\"", "\"FP64\""), "expects 'FP32'"),
        (with(&input, "nobody"), "unexpected inference input 'nobody'"),
        (with("\"inputs\"", "\"input\""), "inputs"),
        ("{\"inputs\":[]}".to_owned(), "is missing"),
        ("[".repeat(10_000), "nested too deeply"),
        ("[]".to_owned(), "must be a JSON object"),
        (format!("{{\"x\":{}", "[".repeat(10_000)), "nested too deeply"),
        (good.to_string()[..40].to_owned(), "not JSON"),
        (String::new(), "the document is empty"),
    ];
    for (body, said) in cases {
        let answer = server.request(Method::POST, INFER, &body).await;
        let message = answer.plainly_refused(400);
        assert!(message.contains(said), "{body:.200}: {message}");
        assert_eq!(answer.header("x-bellwether-model-version"), "tiny-model@1");
        assert!(!answer.header("x-request-id").is_empty());
    }
    let utf8 = [b"{\"id\": \"\xff\", ".as_slice(), &good.to_string().as_bytes()[1..]].concat();
    assert!(server.post_bytes(INFER, &[], utf8).await.plainly_refused(400).contains("invalid encoding"));

    for (headers, body, code, said) in [
        ([(LENGTH, "999")], b"{}".to_vec(), 400, "but the body has 2 bytes"),
        ([(LENGTH, "-1")], b"{}".to_vec(), 400, "must be a number of bytes"),
        ([(LENGTH, "0")], vec![0; 21], 400, "expecting one row of [-1,5]"),
        ([("content-encoding", "gzip")], b"{}".to_vec(), 400, "is not gzip"),
        ([("content-encoding", "br")], b"{}".to_vec(), 415, "\"br\" is not offered"),
    ] {
        let message = server.post_bytes(INFER, &headers, body).await.plainly_refused(code);
        assert!(message.contains(said), "{headers:?}: {message}");
    }
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    bomb.write_all(&vec![b' '; 64 << 20]).unwrap();
    let answer = server.post_bytes(INFER, &[("content-encoding", "gzip")], bomb.finish().unwrap()).await;
    assert!(answer.plainly_refused(413).contains("over the limit of 33554432 bytes"));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_there_is_not_found() {
    let server = Server::deployed().await;
    for (method, path, code, said) in [
        (Method::POST, "/v2/models/none/infer", 404, "Request for unknown model: 'none' is not found; "),
        (Method::POST, "/v2/models/tiny-model/versions/9/infer", 404, "'tiny-model' version 9 is not found"),
        (Method::POST, "/v2/models/tiny-model/versions/champion/infer", 404, "version champion is not found"),
        (Method::GET, "/v2/models/other.tiny-model", 404, "'other.tiny-model'"),
        (Method::GET, "/v2/models/..%2F..%2Fetc%2Fpasswd", 404, "'../../etc/passwd'"),
        (Method::GET, "/v2/models/tiny-model%00", 400, "control characters"),
        (Method::GET, "/v2/models/%ff", 400, "no UTF-8"),
        (Method::GET, "/v2/models/none/ready", 400, "unknown model"),
        (Method::GET, "/v2/models/none/stats", 404, "unknown model"),
        (Method::GET, "/v2/nothing", 404, "unknown path"),
        (Method::GET, "/v2/models/tiny-model/infer", 405, "use POST"),
        (Method::DELETE, "/v2/models/tiny-model", 405, "use GET"),
        (Method::POST, "/v2/repository/models/none/load", 404, "bellwether endpoint deploy"),
        (Method::GET, "/v2/cudasharedmemory/status", 501, "shared memory is not offered"),
        (Method::GET, "/v2/trace/setting", 501, "tracing is not offered"),
    ] {
        let answer = server.request(method, path, "{}").await;
        let message = answer.plainly_refused(code);
        assert!(message.contains(said), "{path}: {message}");
        assert_eq!(answer.header("allow").is_empty(), code != 405);
    }
    let body = r#"{"parameters": {"config": "{}"}}"#;
    let load = server.request(Method::POST, "/v2/repository/models/tiny-model/load", body).await;
    assert!(load.plainly_refused(400).contains("load takes no \"config\" here"));
    let index = server.request(Method::POST, "/v2/repository/index", r#"{"ready": 7}"#).await;
    index.plainly_refused(400);
    let metrics = server.get("/metrics").await.text;
    assert!(metrics.contains("route=\"v2.model.infer\",code=\"404\"} 3"), "{metrics}");
}
