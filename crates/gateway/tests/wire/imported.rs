//! Somebody else's model, with which nobody agreed on features: each protocol hands it every number that the protocol has.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::types::Float32Type;
use arrow_array::{Float32Array, RecordBatch};
use axum::http::Method;
use gateway::GatewayOptions;
use platform::{
    ArtifactSource, CreateEndpoint, Deploy, ResourceRequest, Standing, UploadModel, UploadTarget,
};
use protos::serving::inference::model_infer_request::InferInputTensor;
use protos::serving::inference::{ModelInferRequest, ModelInferResponse};
use serde_json::{Value, json};

use crate::fixture::Server;
use crate::grpc::call;

/// Numbers of a row of the model.
pub(crate) const COLUMNS: usize = 5;
const STREAM: &str = "application/vnd.apache.arrow.stream";

/// A server with a model that Keras exported, called `net`, on the endpoint `net` of a project.
pub(crate) async fn server_of(project: &str, options: GatewayOptions) -> Server {
    let server = Server::empty(options).await;
    let project = project.to_owned();
    let upload = UploadModel {
        project: project.clone(),
        target: UploadTarget::NewOrVersionOf { id: Some("net".to_owned()) },
        about: platform::ModelTexts::default(),
        description: String::new(),
        source: ArtifactSource::Path(
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../artifact/tests/data/dense"),
        ),
        aliases: Vec::new(),
        labels: BTreeMap::new(),
        signature: None,
    };
    server.platform.upload_model(upload).await.unwrap();
    let endpoint = CreateEndpoint {
        project: project.clone(),
        id: Some("net".to_owned()),
        display_name: "net".to_owned(),
        description: String::new(),
        labels: BTreeMap::new(),
    };
    server.platform.create_endpoint(endpoint).await.unwrap();
    let deploy = Deploy {
        project,
        endpoint: "net".to_owned(),
        model: "net".to_owned(),
        deployment_id: Some("7".to_owned()),
        display_name: None,
        resources: ResourceRequest {
            cpu_cores: Some(1.0),
            memory_gb: Some(1.0),
            ..ResourceRequest::default()
        },
        engine: None,
        traffic_split: Some(BTreeMap::from([("0".to_owned(), 100)])),
        standing: Standing::default(),
    };
    server.platform.deploy(deploy).await.unwrap();
    server
}

/// The name of the model's input.
pub(crate) async fn input_name(server: &Server, model: &str) -> String {
    let metadata = server.get(&format!("/v2/models/{model}")).await.json();
    metadata["inputs"][0]["name"].as_str().unwrap().to_owned()
}

fn little_endian(values: &[f32]) -> Vec<u8> {
    values.iter().flat_map(|value| value.to_le_bytes()).collect()
}

fn floats(raw: &[u8]) -> Vec<f32> {
    raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// The same numbers, whichever NaN they are.
#[track_caller]
fn same(found: &[f32], expected: &[f32], how: &str) {
    assert_eq!(found.len(), expected.len(), "{how}");
    let same = found.iter().zip(expected).all(|(a, b)| a == b || (a.is_nan() && b.is_nan()));
    assert!(same, "{how}: {found:?}, not {expected:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_imported_model_is_asked_with_any_number() {
    let server = server_of("default", GatewayOptions::default()).await;
    let input = input_name(&server, "net").await;
    let row = [f32::NEG_INFINITY, 1.0, f32::NAN, f32::INFINITY, 0.5];

    let question = ModelInferRequest {
        model_name: "net".to_owned(),
        inputs: vec![InferInputTensor {
            name: input.clone(),
            datatype: "FP32".to_owned(),
            shape: vec![1, COLUMNS as i64],
            ..Default::default()
        }],
        raw_input_contents: vec![little_endian(&row).into()],
        ..Default::default()
    };
    let path = "/inference.GRPCInferenceService/ModelInfer";
    let reply: ModelInferResponse = call(&server, path, question).await.unwrap().into_inner();
    let expected = floats(&reply.raw_output_contents[0]);

    let head = json!({
        "inputs": [{"name": input, "shape": [1, COLUMNS], "datatype": "FP32",
                    "parameters": {"binary_data_size": 4 * COLUMNS}}],
        "parameters": {"binary_data_output": true},
    });
    let head = head.to_string();
    let length = head.len().to_string();
    let body = [head.as_bytes(), &little_endian(&row)].concat();
    let headers = [("inference-header-content-length", length.as_str())];
    let answer = server.post_bytes("/v2/models/net/infer", &headers, body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let json_bytes: usize = answer.header("inference-header-content-length").parse().unwrap();
    same(&floats(&answer.bytes[json_bytes..]), &expected, "raw tensors");

    // JSON with the tokens that these servers read besides; a reply may have them too, or null in their place.
    let tokens = "[[-Infinity, 1, NaN, Infinity, 0.5]]";
    let v2 = format!(
        r#"{{"inputs": [{{"name": "{input}", "shape": [1, 5], "datatype": "FP32", "data": {tokens}}}]}}"#
    );
    for (path, body) in [
        ("/v2/models/net/infer", v2),
        ("/v1/models/net:predict", format!(r#"{{"instances": {tokens}}}"#)),
        ("/v1/models/net:predict", format!(r#"{{"inputs": {tokens}}}"#)),
        ("/invocations", format!(r#"{{"inputs": {tokens}}}"#)),
        ("/endpoints/net/invocations", format!(r#"{{"instances": {tokens}}}"#)),
    ] {
        let answer = server.request(Method::POST, path, &body).await;
        assert_eq!(answer.status, 200, "{path} {body}: {}", answer.text);
    }

    let columns = row
        .iter()
        .enumerate()
        .map(|(at, x)| (format!("c{at}"), Arc::new(Float32Array::from(vec![*x])) as arrow_array::ArrayRef));
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(Vec::new(), &batch.schema()).unwrap();
    writer.write(&batch).unwrap();
    let body = writer.into_inner().unwrap();
    let answer = server.post_bytes("/invocations", &[("content-type", STREAM)], body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let mut reader = arrow_ipc::reader::StreamReader::try_new(answer.bytes.as_slice(), None).unwrap();
    let batch = reader.next().unwrap().unwrap();
    let lists = batch.column(0).as_fixed_size_list();
    same(lists.values().as_primitive::<Float32Type>().values(), &expected, "a stream");

    // What is beyond a single is refused by name all the same: nobody wrote an infinity.
    let beyond: Value = json!({"inputs": [[1, 2, 3, 4, 1e39]]});
    let answer = server.request(Method::POST, "/v1/models/net:predict", &beyond.to_string()).await;
    assert!(answer.plainly_refused(400).contains("1e+39"));
}
