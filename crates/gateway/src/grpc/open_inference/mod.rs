//! `inference.GRPCInferenceService`: the Open Inference Protocol version 2 and Triton's extensions.
//!
//! A model is named `M` (project `default`) or `PROJECT.M`; a version is a number or an alias, and by default the one
//! with the alias `default`, else the newest in service. Deliberately not here: shared memory, traces and log settings,
//! which are refused, and loading models, which deployments do.

mod infer;
mod model;
mod repository;
mod statistics;
mod tensor;

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::response::Response;
use platform::{ModelName, VersionChoice};
use protos::serving::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use protos::serving::inference::{InferParameter, InferTensorContents};

pub(super) use tensor::inputs;

use super::call::{self, Asked, Call, Method, Streams};
use super::cost::Cost;
use crate::router::Gateway;

const SERVICE: &str = "inference.GRPCInferenceService";

/// What the parts of a `ModelInferRequest` cost.
pub(super) const INFER: &[Cost] = &[
    Cost::entries::<InferParameter>(4, &[]),
    Cost::messages::<InferInputTensor>(
        5,
        &[
            Cost::numbers(3, size_of::<i64>()),
            Cost::entries::<InferParameter>(4, &[]),
            Cost::messages::<InferTensorContents>(
                5,
                &[
                    Cost::numbers(2, size_of::<i32>()),
                    Cost::numbers(3, size_of::<i64>()),
                    Cost::numbers(4, size_of::<u32>()),
                    Cost::numbers(5, size_of::<u64>()),
                    Cost::value(8),
                ],
            ),
        ],
    ),
    Cost::messages::<InferRequestedOutputTensor>(6, &[Cost::entries::<InferParameter>(2, &[])]),
    Cost::value(7),
];
const REPOSITORY: &[Cost] = &[Cost::entries::<InferParameter>(3, &[])];

const SERVER_LIVE: Method = Method::uncounted("grpc.inference.ServerLive");
const SERVER_READY: Method = Method::uncounted("grpc.inference.ServerReady");
const MODEL_READY: Method = Method::uncounted("grpc.inference.ModelReady");
const SERVER_METADATA: Method = Method::uncounted("grpc.inference.ServerMetadata");
const MODEL_METADATA: Method = Method::new("grpc.inference.ModelMetadata", &[]);
const MODEL_CONFIG: Method = Method::new("grpc.inference.ModelConfig", &[]);
const MODEL_STATISTICS: Method = Method::new("grpc.inference.ModelStatistics", &[]);
const MODEL_INFER: Method = Method::new("grpc.inference.ModelInfer", INFER);
const MODEL_STREAM_INFER: Method = Method::new("grpc.inference.ModelStreamInfer", INFER);
const REPOSITORY_INDEX: Method = Method::new("grpc.inference.RepositoryIndex", &[]);
const REPOSITORY_LOAD: Method = Method::new("grpc.inference.RepositoryModelLoad", REPOSITORY);
const REPOSITORY_UNLOAD: Method = Method::new("grpc.inference.RepositoryModelUnload", REPOSITORY);

/// Answers the service's methods.
pub(super) async fn answer(
    State(gateway): State<Arc<Gateway>>,
    Path(method): Path<String>,
    Extension(streams): Extension<Streams>,
    request: Request,
) -> Response {
    let call = Call::new(gateway, request);
    match method.as_str() {
        "ModelInfer" => call.unary(&MODEL_INFER, |asked, request| infer::infer(asked, request, None)).await,
        "ModelStreamInfer" => call.stream(&MODEL_STREAM_INFER, &streams, infer::stream).await,
        "ServerLive" => call.unary(&SERVER_LIVE, model::server_live).await,
        "ServerReady" => call.unary(&SERVER_READY, model::server_ready).await,
        "ServerMetadata" => call.unary(&SERVER_METADATA, model::server_metadata).await,
        "ModelReady" => call.unary(&MODEL_READY, model::ready).await,
        "ModelMetadata" => call.unary(&MODEL_METADATA, model::metadata).await,
        "ModelConfig" => call.unary(&MODEL_CONFIG, model::config).await,
        "ModelStatistics" => call.unary(&MODEL_STATISTICS, statistics::statistics).await,
        "RepositoryIndex" => call.unary(&REPOSITORY_INDEX, repository::index).await,
        "RepositoryModelLoad" => call.unary(&REPOSITORY_LOAD, repository::load).await,
        "RepositoryModelUnload" => call.unary(&REPOSITORY_UNLOAD, repository::unload).await,
        "TraceSetting" => call::not_offered("trace settings are not offered; metrics are at /metrics"),
        "LogSettings" => {
            call::not_offered("log settings are not offered; `serve --log` chooses what is logged")
        }
        "SystemSharedMemoryStatus"
        | "SystemSharedMemoryRegister"
        | "SystemSharedMemoryUnregister"
        | "CudaSharedMemoryStatus"
        | "CudaSharedMemoryRegister"
        | "CudaSharedMemoryUnregister" => {
            call::not_offered("shared memory is not offered; send tensors as raw contents")
        }
        other => call::no_method(SERVICE, other),
    }
}

/// A version as the protocol's requests name it; empty: the default.
fn version(text: &str) -> VersionChoice {
    match text.parse() {
        Ok(number) => VersionChoice::Number(number),
        Err(_) if text.is_empty() => VersionChoice::Default,
        Err(_) => VersionChoice::Alias(text.to_owned()),
    }
}

/// Who answers for a model named as the protocol does.
fn target(gateway: &Asked, name: &str, of_version: &str) -> platform::Result<platform::Target> {
    gateway.target(&ModelName::parse(name), &version(of_version))
}
