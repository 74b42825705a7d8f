//! What there is to ask: the server, a model, its configuration.

use platform::{DataType, Kind, Target, TensorSpec};
use protos::serving::inference::model_instance_group::Kind as InstanceKind;
use protos::serving::inference::model_metadata_response::TensorMetadata;
use protos::serving::inference::model_version_policy::{PolicyChoice, Specific};
use protos::serving::inference::{
    DataType as WireType, ModelConfig, ModelConfigRequest, ModelConfigResponse, ModelInput,
    ModelInstanceGroup, ModelMetadataRequest, ModelMetadataResponse, ModelOutput, ModelReadyRequest,
    ModelReadyResponse, ModelVersionPolicy, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};

use super::tensor::axes;
use crate::grpc::call::Asked;
use crate::grpc::reply::{Answer, By, Refused};
use crate::open_inference::datatype;
use crate::router::Gateway;

const EXTENSIONS: [&str; 5] =
    ["classification", "model_configuration", "model_repository", "parameters", "statistics"];
/// Models are kept as ONNX, whatever they came as.
const PLATFORM: &str = "onnx_onnxv1";

/// The process answers.
pub(super) async fn server_live(
    _: Asked,
    _: ServerLiveRequest,
) -> Result<Answer<ServerLiveResponse>, Refused> {
    Ok(ServerLiveResponse { live: true }.into())
}

/// Everything deployed is in service.
pub(super) async fn server_ready(
    gateway: Asked,
    _: ServerReadyRequest,
) -> Result<Answer<ServerReadyResponse>, Refused> {
    Ok(ServerReadyResponse { ready: gateway.platform.readiness().ready }.into())
}

/// What the server is.
pub(super) async fn server_metadata(
    _: Asked,
    _: ServerMetadataRequest,
) -> Result<Answer<ServerMetadataResponse>, Refused> {
    let message = ServerMetadataResponse {
        name: "bellwether".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        extensions: EXTENSIONS.map(str::to_owned).to_vec(),
    };
    Ok(message.into())
}

/// Whether a model answers; one that is not there, or not yet, does not.
pub(super) async fn ready(
    gateway: Asked,
    request: ModelReadyRequest,
) -> Result<Answer<ModelReadyResponse>, Refused> {
    match super::target(&gateway, &request.name, &request.version) {
        Ok(target) => {
            let message = ModelReadyResponse { ready: true };
            Ok(Answer { message, by: Some(By::target(&target)) })
        }
        Err(error) if matches!(error.kind(), Kind::NotFound | Kind::Unavailable) => {
            Ok(ModelReadyResponse { ready: false }.into())
        }
        Err(error) => Err(error.into()),
    }
}

/// What a model takes and gives.
pub(super) async fn metadata(
    gateway: Asked,
    request: ModelMetadataRequest,
) -> Result<Answer<ModelMetadataResponse>, Refused> {
    let target = super::target(&gateway, &request.name, &request.version)?;
    let tensors = |specs: &[TensorSpec]| specs.iter().map(tensor_metadata).collect();
    let signature = target.signature();
    let message = ModelMetadataResponse {
        versions: versions(&gateway, &request.name).iter().map(u32::to_string).collect(),
        platform: PLATFORM.to_owned(),
        inputs: tensors(&signature.inputs),
        outputs: tensors(&signature.outputs),
        name: request.name,
    };
    Ok(Answer { message, by: Some(By::target(&target)) })
}

/// A model's configuration, as far as Triton's words fit it.
pub(super) async fn config(
    gateway: Asked,
    request: ModelConfigRequest,
) -> Result<Answer<ModelConfigResponse>, Refused> {
    let target = super::target(&gateway, &request.name, &request.version)?;
    let config = configuration(&gateway, request.name, &target);
    Ok(Answer { message: ModelConfigResponse { config: Some(config) }, by: Some(By::target(&target)) })
}

fn configuration(gateway: &Gateway, name: String, target: &Target) -> ModelConfig {
    let signature = target.signature();
    // Without an axis for the batch a model takes what it takes, which Triton writes as 0.
    let batched = signature.inputs.iter().all(|spec| spec.shape.first() == Some(&None));
    let max_rows = i32::try_from(target.max_rows()).unwrap_or(i32::MAX);
    let inner = |spec: &TensorSpec| axes(spec).split_off(usize::from(batched));
    let threads = gateway.platform.serving_counters().into_iter().find_map(|deployment| {
        (deployment.status.deployment == target.deployment_id()).then_some(deployment.status.threads)
    });
    let specific = Specific { versions: versions(gateway, &name).into_iter().map(i64::from).collect() };
    ModelConfig {
        platform: PLATFORM.to_owned(),
        backend: target.engine().to_owned(),
        version_policy: Some(ModelVersionPolicy { policy_choice: Some(PolicyChoice::Specific(specific)) }),
        max_batch_size: if batched { max_rows } else { 0 },
        input: signature
            .inputs
            .iter()
            .map(|spec| ModelInput {
                name: spec.name.clone(),
                data_type: wire_type(spec.dtype).into(),
                dims: inner(spec),
            })
            .collect(),
        output: signature
            .outputs
            .iter()
            .map(|spec| ModelOutput {
                name: spec.name.clone(),
                data_type: wire_type(spec.dtype).into(),
                dims: inner(spec),
            })
            .collect(),
        instance_group: vec![ModelInstanceGroup {
            name: target.deployment_id().to_owned(),
            count: i32::try_from(threads.unwrap_or(1)).unwrap_or(i32::MAX),
            kind: InstanceKind::Cpu.into(),
        }],
        dynamic_batching: None,
        name,
    }
}

fn tensor_metadata(spec: &TensorSpec) -> TensorMetadata {
    TensorMetadata {
        name: spec.name.clone(),
        datatype: datatype::name(spec.dtype).to_owned(),
        shape: axes(spec),
    }
}

/// The versions of a model that answer, oldest first.
fn versions(gateway: &Gateway, name: &str) -> Vec<u32> {
    let name = platform::ModelName::parse(name);
    let model = gateway.platform.served_models().into_iter().find(|model| model.name == name);
    let versions = model.into_iter().flat_map(|model| model.versions);
    versions.filter(platform::ServedVersion::is_ready).map(|version| version.number).collect()
}

fn wire_type(dtype: DataType) -> WireType {
    match dtype {
        DataType::Float32 => WireType::TypeFp32,
        DataType::Float64 => WireType::TypeFp64,
        DataType::Int32 => WireType::TypeInt32,
        DataType::Int64 => WireType::TypeInt64,
        DataType::Bool => WireType::TypeBool,
    }
}
