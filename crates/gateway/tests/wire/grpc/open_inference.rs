//! The Open Inference Protocol: every method, and every way a question can be wrong.

use axum::http::uri::PathAndQuery;
use futures::StreamExt as _;
use protos::serving::inference::infer_parameter::ParameterChoice;
use protos::serving::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use protos::serving::inference::*;
use tonic::{Code, Request};
use tonic_prost::ProstCodec;

use super::{call, call_with, client, metadata, rows_and_answers};
use crate::fixture::{FEATURES, Server};

const INFER: &str = "/inference.GRPCInferenceService/ModelInfer";

fn little_endian(values: &[f32]) -> bytes::Bytes {
    values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>().into()
}

fn floats(raw: &[u8]) -> Vec<f32> {
    raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

pub(crate) fn question(rows: &[f32]) -> ModelInferRequest {
    let input = InferInputTensor {
        name: "features".to_owned(),
        datatype: "FP32".to_owned(),
        shape: vec![(rows.len() / FEATURES) as i64, FEATURES as i64],
        ..Default::default()
    };
    ModelInferRequest {
        model_name: "tiny-model".to_owned(),
        id: "question 1".to_owned(),
        inputs: vec![input],
        raw_input_contents: vec![little_endian(rows)],
        ..Default::default()
    }
}

fn parameter(choice: ParameterChoice) -> InferParameter {
    InferParameter { parameter_choice: Some(choice) }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_is_the_one_over_http() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let mut request = Request::new(question(&rows));
    request.metadata_mut().insert("x-request-id", "mine-7".parse().unwrap());
    let response: tonic::Response<ModelInferResponse> =
        call_with(client(&server), INFER, request).await.unwrap();
    assert_eq!(metadata(&response, "x-bellwether-model-version"), "tiny-model@1");
    assert_eq!(metadata(&response, "x-request-id"), "mine-7");
    let timing = metadata(&response, "server-timing");
    assert!(timing.starts_with("queue;dur=") && timing.contains(", compute;dur="), "{timing}");
    let reply = response.into_inner();
    assert_eq!((reply.model_name.as_str(), reply.model_version.as_str()), ("tiny-model", "1"));
    assert_eq!(reply.id, "question 1");
    assert_eq!((reply.outputs.len(), reply.outputs[0].datatype.as_str()), (1, "FP32"));
    assert_eq!(reply.outputs[0].shape, [2, 3]);
    assert_eq!(floats(&reply.raw_output_contents[0]), expected);

    let mut typed = question(&rows);
    typed.raw_input_contents.clear();
    typed.inputs[0].contents =
        Some(InferTensorContents { fp32_contents: rows.clone(), ..Default::default() });
    for name in ["tiny-model", "default.tiny-model"] {
        for version in ["", "1", "default"] {
            let named = ModelInferRequest {
                model_name: name.to_owned(),
                model_version: version.to_owned(),
                ..typed.clone()
            };
            let reply: ModelInferResponse = call(&server, INFER, named).await.unwrap().into_inner();
            assert_eq!(floats(&reply.raw_output_contents[0]), expected, "{name} {version}");
            assert_eq!((reply.model_name.as_str(), reply.model_version.as_str()), (name, "1"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn outputs_are_chosen_and_classified() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let name = model_metadata(&server).await.outputs[0].name.clone();
    let mut request = question(&rows);
    let mut asked = InferRequestedOutputTensor { name: name.clone(), ..Default::default() };
    request.outputs = vec![asked.clone()];
    let reply: ModelInferResponse = call(&server, INFER, request.clone()).await.unwrap().into_inner();
    assert_eq!(floats(&reply.raw_output_contents[0]), expected);

    asked.parameters.insert("classification".to_owned(), parameter(ParameterChoice::Int64Param(2)));
    request.outputs = vec![asked];
    let reply: ModelInferResponse = call(&server, INFER, request.clone()).await.unwrap().into_inner();
    assert_eq!((reply.outputs[0].datatype.as_str(), &reply.outputs[0].shape[..]), ("BYTES", &[2, 2][..]));
    let raw = &reply.raw_output_contents[0];
    let length = u32::from_le_bytes(raw[..4].try_into().unwrap()) as usize;
    let largest = (0..3).max_by(|a, b| expected[*a].total_cmp(&expected[*b])).unwrap();
    assert_eq!(raw[4..4 + length], *format!("{:.6}:{largest}", expected[largest]).as_bytes());

    request.outputs[0].name = "nothing".to_owned();
    let refused = call::<_, ModelInferResponse>(&server, INFER, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains(&format!("\"nothing\"; the model gives {name}")), "{refused}");
}

async fn model_metadata(server: &Server) -> ModelMetadataResponse {
    let request = ModelMetadataRequest { name: "tiny-model".to_owned(), version: String::new() };
    let path = "/inference.GRPCInferenceService/ModelMetadata";
    let response: tonic::Response<ModelMetadataResponse> = call(server, path, request).await.unwrap();
    assert_eq!(metadata(&response, "x-bellwether-model-version"), "tiny-model@1");
    response.into_inner()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_there_is_can_be_asked() {
    let server = Server::deployed().await;
    let path = "/inference.GRPCInferenceService/ServerLive";
    assert!(
        call::<_, ServerLiveResponse>(&server, path, ServerLiveRequest {}).await.unwrap().into_inner().live
    );
    let path = "/inference.GRPCInferenceService/ServerReady";
    assert!(
        call::<_, ServerReadyResponse>(&server, path, ServerReadyRequest {})
            .await
            .unwrap()
            .into_inner()
            .ready
    );
    let path = "/inference.GRPCInferenceService/ServerMetadata";
    let of_server: ServerMetadataResponse =
        call(&server, path, ServerMetadataRequest {}).await.unwrap().into_inner();
    assert_eq!(of_server.name, "bellwether");
    assert!(of_server.extensions.contains(&"statistics".to_owned()));

    let ready = async |name: &str, version: &str| {
        let request = ModelReadyRequest { name: name.to_owned(), version: version.to_owned() };
        let path = "/inference.GRPCInferenceService/ModelReady";
        call::<_, ModelReadyResponse>(&server, path, request).await.unwrap().into_inner().ready
    };
    assert!(ready("tiny-model", "").await && ready("tiny-model", "1").await);
    assert!(!ready("tiny-model", "2").await && !ready("other", "").await);

    let of_model = model_metadata(&server).await;
    assert_eq!((of_model.name.as_str(), &of_model.versions[..]), ("tiny-model", &["1".to_owned()][..]));
    let input = &of_model.inputs[0];
    assert_eq!((input.name.as_str(), input.datatype.as_str()), ("features", "FP32"));
    assert_eq!(input.shape, [-1, FEATURES as i64]);

    let request = ModelConfigRequest { name: "tiny-model".to_owned(), version: String::new() };
    let path = "/inference.GRPCInferenceService/ModelConfig";
    let config: ModelConfigResponse = call(&server, path, request).await.unwrap().into_inner();
    let config = config.config.unwrap();
    assert!(config.max_batch_size > 0 && config.backend.starts_with("rten"), "{config:?}");
    assert_eq!(
        (config.input[0].dims.as_slice(), config.input[0].data_type()),
        (&[5][..], DataType::TypeFp32)
    );
    assert_eq!((config.output[0].dims.as_slice(), config.instance_group[0].count), (&[3][..], 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_and_runs_are_counted() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    let statistics = async || {
        let request = ModelStatisticsRequest { name: "tiny-model".to_owned(), version: "1".to_owned() };
        let path = "/inference.GRPCInferenceService/ModelStatistics";
        let reply: ModelStatisticsResponse = call(&server, path, request).await.unwrap().into_inner();
        assert_eq!(reply.model_stats.len(), 1);
        reply.model_stats.into_iter().next().unwrap()
    };
    let before = statistics().await;
    for _ in 0..3 {
        call::<_, ModelInferResponse>(&server, INFER, question(&rows)).await.unwrap();
    }
    let after = statistics().await;
    assert_eq!((after.name.as_str(), after.version.as_str()), ("tiny-model", "1"));
    assert_eq!(after.inference_count - before.inference_count, 6);
    assert_eq!(after.execution_count - before.execution_count, 3);
    let (now, then) = (after.inference_stats.unwrap(), before.inference_stats.unwrap());
    assert_eq!(now.success.unwrap().count - then.success.unwrap().count, 3);
    assert!(now.compute_infer.unwrap().ns > then.compute_infer.unwrap().ns);
    assert!(after.memory_usage[0].byte_size > 0);
    let path = "/inference.GRPCInferenceService/ModelStatistics";
    let all: ModelStatisticsResponse =
        call(&server, path, ModelStatisticsRequest::default()).await.unwrap().into_inner();
    assert_eq!(all.model_stats.len(), 1);
    let request = ModelStatisticsRequest { name: "other".to_owned(), ..Default::default() };
    let refused = call::<_, ModelStatisticsResponse>(&server, path, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_repository_shows_what_is_deployed() {
    let server = Server::deployed().await;
    let path = "/inference.GRPCInferenceService/RepositoryIndex";
    let index: RepositoryIndexResponse =
        call(&server, path, RepositoryIndexRequest::default()).await.unwrap().into_inner();
    let shown: Vec<_> =
        index.models.iter().map(|m| (m.name.as_str(), m.version.as_str(), m.state.as_str())).collect();
    assert_eq!(shown, [("tiny-model", "1", "READY")]);

    let load = async |name: &str, parameters: &[&str]| {
        let parameters = parameters.iter().map(|name| ((*name).to_owned(), Default::default())).collect();
        let request =
            RepositoryModelLoadRequest { model_name: name.to_owned(), parameters, ..Default::default() };
        let path = "/inference.GRPCInferenceService/RepositoryModelLoad";
        call::<_, RepositoryModelLoadResponse>(&server, path, request).await.map_err(|status| status.code())
    };
    assert!(load("tiny-model", &[]).await.is_ok());
    assert_eq!(load("other", &[]).await.unwrap_err(), Code::NotFound);
    assert_eq!(load("tiny-model", &["config"]).await.unwrap_err(), Code::Unimplemented);
    let unload = async |name: &str| {
        let request = RepositoryModelUnloadRequest { model_name: name.to_owned(), ..Default::default() };
        let path = "/inference.GRPCInferenceService/RepositoryModelUnload";
        call::<_, ()>(&server, path, request).await.map_err(|status| status.code())
    };
    assert_eq!(unload("tiny-model").await.unwrap_err(), Code::FailedPrecondition, "it is deployed to stay");
    assert!(unload("other").await.is_ok());
    for method in [
        "/inference.GRPCInferenceService/TraceSetting",
        "/inference.GRPCInferenceService/LogSettings",
        "/inference.GRPCInferenceService/SystemSharedMemoryStatus",
        "/inference.GRPCInferenceService/CudaSharedMemoryRegister",
        "/inference.GRPCInferenceService/NoSuchMethod",
    ] {
        let refused = call::<_, ()>(&server, method, ()).await.unwrap_err();
        assert_eq!(refused.code(), Code::Unimplemented, "{method}");
        assert!(refused.message().len() > 20, "{method}: {refused}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_question_is_answered_with_what_is_wrong() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    type Change = fn(&mut ModelInferRequest);
    let cases: [(Change, Code, &str); 7] =
        [
            (|q| q.model_name = "tinny".to_owned(), Code::NotFound, "is not deployed; deployed: tiny-model"),
            (
                |q| q.model_version = "7".to_owned(),
                Code::NotFound,
                "has no version 7 deployed; deployed: versions 1",
            ),
            (
                |q| q.model_version = "latest".to_owned(),
                Code::NotFound,
                "has no version with the alias \"latest\"",
            ),
            (|q| q.inputs[0].datatype = "FP64".to_owned(), Code::InvalidArgument, "must be FP32, got FP64"),
            (|q| q.inputs.clear(), Code::InvalidArgument, "0 inputs and 1 raw input contents"),
            (|q| q.inputs[0].shape = vec![1 << 40, 5], Code::InvalidArgument, "its raw contents are 40"),
            (
                |q| {
                    drop(q.parameters.insert(
                        "timeout".to_owned(),
                        parameter(ParameterChoice::StringParam("x".to_owned())),
                    ));
                },
                Code::InvalidArgument,
                "timeout",
            ),
        ];
    for (change, code, part) in cases {
        let mut request = question(&rows);
        change(&mut request);
        let named = request.model_name == "tiny-model" && request.model_version.is_empty();
        let refused = call::<_, ModelInferResponse>(&server, INFER, request).await.unwrap_err();
        assert_eq!(refused.code(), code, "{refused}");
        assert!(refused.message().contains(part), "{refused}");
        let version = refused.metadata().get("x-bellwether-model-version");
        assert_eq!(version.map(|version| version == "tiny-model@1"), named.then_some(true), "{refused}");
        assert!(refused.metadata().get("x-request-id").is_some());
    }
    let many: Vec<f32> = rows.iter().copied().cycle().take(9 * FEATURES).collect();
    let refused = call::<_, ModelInferResponse>(&server, INFER, question(&many)).await.unwrap_err();
    assert!(refused.message().contains("has 9 rows, more than the 8"), "{refused}");
    let none: ModelInferResponse = call(&server, INFER, question(&[])).await.unwrap().into_inner();
    assert_eq!((none.outputs[0].shape.as_slice(), none.raw_output_contents[0].len()), (&[0, 3][..], 0));
}

/// A text among the parameters of a reply.
fn said<'a>(reply: &'a ModelInferResponse, name: &str) -> Option<&'a str> {
    match reply.parameters.get(name)?.parameter_choice.as_ref()? {
        ParameterChoice::StringParam(text) => Some(text),
        other => panic!("{name} is {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_of_a_time_counts_over_grpc_too() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    for (millis, code, part) in [
        ("abc", Code::InvalidArgument, "x-bellwether-timeout-ms \"abc\" is not a whole number"),
        ("-1", Code::InvalidArgument, "is not a whole number of milliseconds"),
        ("0", Code::DeadlineExceeded, "the deadline of the call"),
    ] {
        let mut request = Request::new(question(&rows));
        request.metadata_mut().insert("x-bellwether-timeout-ms", millis.parse().unwrap());
        let refused = call_with::<_, ModelInferResponse>(client(&server), INFER, request).await.unwrap_err();
        assert_eq!((refused.code(), refused.message().contains(part)), (code, true), "{millis}: {refused}");
    }
    let mut request = Request::new(question(&rows));
    request.metadata_mut().insert("x-bellwether-timeout-ms", "60000".parse().unwrap());
    assert!(call_with::<_, ModelInferResponse>(client(&server), INFER, request).await.is_ok());

    // Of a stream it is the time of each answer.
    let streamed = async |millis: &str| {
        let mut client = client(&server);
        client.ready().await.unwrap();
        let mut request = Request::new(futures::stream::iter([question(&rows)]));
        request.metadata_mut().insert("x-bellwether-timeout-ms", millis.parse().unwrap());
        let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
        let codec: ProstCodec<ModelInferRequest, ModelStreamInferResponse> = ProstCodec::default();
        let response = client.streaming(request, path, codec).await?;
        response.into_inner().map(|reply| reply.unwrap()).next().await.ok_or(tonic::Status::aborted("none"))
    };
    assert_eq!(streamed("abc").await.unwrap_err().code(), Code::InvalidArgument);
    let late = streamed("0").await.unwrap();
    assert!(late.error_message.starts_with("[DEADLINE_EXCEEDED]"), "{}", late.error_message);
    assert_eq!(said(&late.infer_response.unwrap(), "x-bellwether-model-version"), Some("tiny-model@1"));
    assert_eq!(streamed("60000").await.unwrap().error_message, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_asked_for_twice_is_refused_as_over_http() {
    let server = Server::deployed().await;
    let (rows, _) = rows_and_answers(&server).await;
    let output = model_metadata(&server).await.outputs[0].name.clone();
    let twice = vec![InferRequestedOutputTensor { name: output.clone(), ..Default::default() }; 2];
    let request = ModelInferRequest { outputs: twice, ..question(&rows) };
    let refused = call::<_, ModelInferResponse>(&server, INFER, request).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    assert!(refused.message().contains(&format!("\"{output}\" is requested twice")), "{refused}");
    let body = serde_json::json!({
        "inputs": [{"name": "features", "shape": [2, FEATURES], "datatype": "FP32", "data": rows}],
        "outputs": [{"name": output}, {"name": output}],
    });
    let path = "/v2/models/tiny-model/infer";
    let answer = server.request(axum::http::Method::POST, path, &body.to_string()).await;
    assert!(answer.plainly_refused(400).contains(&format!("'{output}' is requested twice")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_answers_in_order_and_survives_a_refusal() {
    let server = Server::deployed().await;
    let (rows, expected) = rows_and_answers(&server).await;
    let requests: Vec<ModelInferRequest> = (0..40)
        .map(|n| {
            let mut request = ModelInferRequest { id: n.to_string(), ..question(&rows) };
            if n == 3 {
                request.model_name = "other".to_owned();
            }
            if n == 5 {
                request.inputs[0].datatype = "FP64".to_owned();
            }
            if n == 4 {
                let ask = parameter(ParameterChoice::BoolParam(true));
                request.parameters.insert("triton_enable_empty_final_response".to_owned(), ask);
            }
            request
        })
        .collect();
    let mut client = client(&server);
    client.ready().await.unwrap();
    let codec: ProstCodec<ModelInferRequest, ModelStreamInferResponse> = ProstCodec::default();
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    let request = Request::new(futures::stream::iter(requests));
    let response = client.streaming(request, path, codec).await.unwrap();
    assert!(!metadata(&response, "x-request-id").is_empty());
    let replies: Vec<ModelStreamInferResponse> =
        response.into_inner().map(|reply| reply.unwrap()).collect().await;
    assert_eq!(replies.len(), 40);
    for (n, reply) in replies.iter().enumerate() {
        let answer = reply.infer_response.as_ref().unwrap();
        assert_eq!(answer.id, n.to_string());
        assert_eq!(answer.parameters.contains_key("triton_final_response"), n == 4);
        let version = said(answer, "x-bellwether-model-version");
        assert_eq!(version, (n != 3).then_some("tiny-model@1"), "{n}");
        let timing = said(answer, "server-timing").unwrap();
        assert!(timing.starts_with(if matches!(n, 3 | 5) { "total;dur=" } else { "queue;dur=" }), "{timing}");
        if n == 5 {
            assert!(reply.error_message.contains("must be FP32, got FP64"), "{}", reply.error_message);
        } else if n == 3 {
            assert!(
                reply.error_message.starts_with("[NOT_FOUND] model \"other\""),
                "{}",
                reply.error_message
            );
            assert_eq!((answer.model_name.as_str(), answer.outputs.len()), ("other", 0));
        } else {
            assert_eq!(reply.error_message, "");
            assert_eq!(floats(&answer.raw_output_contents[0]), expected);
        }
    }
}
