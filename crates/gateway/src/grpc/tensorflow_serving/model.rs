//! What a model is and how its versions are doing: `GetModelMetadata` and `GetModelStatus`.

use std::collections::BTreeMap;

use platform::{Error, Kind, ModelName, ServedVersion, TensorSpec, VersionChoice, VersionState};
use prost::Message as _;
use protos::Any;
use protos::serving::tensorflow::serving::model_version_status::State;
use protos::serving::tensorflow::serving::{
    GetModelMetadataRequest, GetModelMetadataResponse, GetModelStatusRequest, GetModelStatusResponse,
    ModelVersionStatus, SignatureDefMap, StatusProto,
};
use protos::serving::tensorflow::{SignatureDef, TensorInfo};

use super::tensor::{wire_shape, wire_type};
use super::{SIGNATURE, answered, choice, target, unknown_label};
use crate::grpc::call::Asked;
use crate::grpc::reply::{Answer, By, Refused};

const SIGNATURE_DEF: &str = "signature_def";
const SIGNATURES_TYPE: &str = "type.googleapis.com/tensorflow.serving.SignatureDefMap";
const PREDICT: &str = "tensorflow/serving/predict";

/// The signature of a model.
pub(super) async fn metadata(
    gateway: Asked,
    request: GetModelMetadataRequest,
) -> Result<Answer<GetModelMetadataResponse>, Refused> {
    let target = target(&gateway, &request.model_spec)?;
    let refused = |message: String| Refused::by(&target, Error::invalid("metadata_field", message));
    if request.metadata_field.is_empty() {
        let message =
            "GetModelMetadataRequest must specify at least one metadata_field; there is \"signature_def\"";
        return Err(refused(message.to_owned()));
    }
    if let Some(odd) = request.metadata_field.iter().find(|field| *field != SIGNATURE_DEF) {
        return Err(refused(format!("Metadata field {odd} is not supported; there is \"{SIGNATURE_DEF}\"")));
    }
    let signature = target.signature();
    let definition = SignatureDef {
        inputs: infos(&signature.inputs),
        outputs: infos(&signature.outputs),
        method_name: PREDICT.to_owned(),
    };
    let map = SignatureDefMap { signature_def: BTreeMap::from([(SIGNATURE.to_owned(), definition)]) };
    let any = Any { type_url: SIGNATURES_TYPE.to_owned(), value: map.encode_to_vec() };
    let mut model_spec = answered(request.model_spec, target.version().1);
    if let Some(spec) = &mut model_spec {
        spec.signature_name.clear();
    }
    let message =
        GetModelMetadataResponse { model_spec, metadata: BTreeMap::from([(SIGNATURE_DEF.to_owned(), any)]) };
    Ok(Answer { message, by: Some(By::target(&target)) })
}

/// How the deployed versions of a model are doing, the newest first.
pub(super) async fn status(
    gateway: Asked,
    request: GetModelStatusRequest,
) -> Result<Answer<GetModelStatusResponse>, Refused> {
    let Some(spec) = request.model_spec.filter(|spec| !spec.name.is_empty()) else {
        return Err(Error::invalid("model_spec", "Missing ModelSpec; name a model").into());
    };
    let (choice, named) = choice(&spec);
    let name = ModelName::parse(&spec.name);
    gateway.allow(&name.project)?;
    let model = gateway.platform.served_models().into_iter().find(|model| model.name == name);
    let wanted = |version: &ServedVersion| match &choice {
        VersionChoice::Default => true,
        VersionChoice::Number(number) => version.number == *number,
        VersionChoice::Alias(alias) => version.aliases.contains(alias),
    };
    let versions = model.into_iter().flat_map(|model| model.versions).filter(wanted);
    let mut statuses: Vec<ModelVersionStatus> = versions.map(|version| of(&version)).collect();
    if let (true, VersionChoice::Alias(label)) = (statuses.is_empty(), &choice) {
        return Err(unknown_label(label).into());
    }
    if statuses.is_empty() {
        let message = format!(
            "Could not find any versions of model {named}; deploy one with `bellwether endpoint deploy`"
        );
        return Err(Error::new(Kind::NotFound, message).into());
    }
    statuses.reverse();
    let by = match statuses.as_slice() {
        [only] => u32::try_from(only.version).ok().map(|number| By::version(&name, number)),
        _ => None,
    };
    Ok(Answer { message: GetModelStatusResponse { model_version_status: statuses }, by })
}

fn of(version: &ServedVersion) -> ModelVersionStatus {
    let (state, error_code, error_message) = match version.state() {
        VersionState::Ready | VersionState::Unloaded => (State::Available, tonic::Code::Ok, String::new()),
        VersionState::Announced => (State::Start, tonic::Code::Ok, String::new()),
        VersionState::Loading => (State::Loading, tonic::Code::Ok, String::new()),
        VersionState::Failed(reason) => (State::End, tonic::Code::Unavailable, reason.to_owned()),
    };
    ModelVersionStatus {
        version: version.number.into(),
        state: state.into(),
        status: Some(StatusProto { error_code: error_code as i32, error_message }),
    }
}

fn infos(specs: &[TensorSpec]) -> BTreeMap<String, TensorInfo> {
    let info = |spec: &TensorSpec| TensorInfo {
        // Of a tensor inside the model nobody knows the name: models are kept as ONNX.
        name: format!("{}:0", spec.name),
        dtype: wire_type(spec.dtype).into(),
        tensor_shape: Some(wire_shape(spec.shape.iter().copied())),
    };
    specs.iter().map(|spec| (spec.name.clone(), info(spec))).collect()
}
