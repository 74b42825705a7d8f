//! The model repository extension: what is deployed, and how it does.

use platform::{Error, Kind, ModelName, ServedModel, ServedVersion, VersionState};
use protos::serving::inference::repository_index_response::ModelIndex;
use protos::serving::inference::{
    RepositoryIndexRequest, RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse,
    RepositoryModelUnloadRequest,
};

use crate::grpc::call::Asked;
use crate::grpc::reply::{Answer, Refused};
use crate::open_inference::repository::state;

/// All deployed versions of models that the caller may ask, those that failed with the reason.
pub(super) async fn index(
    gateway: Asked,
    request: RepositoryIndexRequest,
) -> Result<Answer<RepositoryIndexResponse>, Refused> {
    let mut models = Vec::new();
    let allowed = |model: &ServedModel| gateway.allow(&model.name.project).is_ok();
    for model in gateway.platform.served_models().into_iter().filter(allowed) {
        let ready = |version: &&ServedVersion| version.state() == VersionState::Ready;
        for version in model.versions.iter().filter(|version| !request.ready || ready(version)) {
            models.push(entry(&model.name, version));
        }
    }
    Ok(RepositoryIndexResponse { models }.into())
}

/// Brings a model that is loaded on demand into memory; any other is in service, or is told how it becomes so.
pub(super) async fn load(
    gateway: Asked,
    request: RepositoryModelLoadRequest,
) -> Result<Answer<RepositoryModelLoadResponse>, Refused> {
    let name = &request.model_name;
    if let Some(parameter) = request.parameters.keys().next() {
        let message = format!(
            "a model is not loaded with \"{parameter}\"; upload it with `bellwether model upload` and deploy it"
        );
        return Err(Error::new(Kind::Unimplemented, message).into());
    }
    let target = super::target(&gateway, name, "").map_err(|error| match error.kind() {
        Kind::NotFound => {
            let way_out = "deploy it with `bellwether endpoint deploy ENDPOINT --model MODEL`";
            Error::new(Kind::NotFound, format!("failed to load \"{name}\": {error}; {way_out}"))
        }
        _ => error.context(format!("failed to load \"{name}\"")),
    })?;
    target.load(&gateway.platform).await?;
    Ok(RepositoryModelLoadResponse {}.into())
}

/// Takes a model that is loaded on demand out of memory; one that is deployed to stay is refused. The protocol's response
/// is an empty message.
pub(super) async fn unload(
    gateway: Asked,
    request: RepositoryModelUnloadRequest,
) -> Result<Answer<()>, Refused> {
    let name = ModelName::parse(&request.model_name);
    gateway.allow(&name.project)?;
    gateway.platform.unload_model(&name)?;
    Ok(().into())
}

fn entry(name: &ModelName, version: &ServedVersion) -> ModelIndex {
    let (state, reason) = state(version);
    ModelIndex {
        name: name.to_string(),
        version: version.number.to_string(),
        state: state.to_owned(),
        reason: reason.unwrap_or_default().to_owned(),
    }
}
