//! Models over the wire: `models:upload`, get, list, `:listVersions`.
//!
//! What is said of a model (`displayName`, `description`, labels) is said with each of its versions; a version has a description and
//! labels of its own, and `labels` of a reply are both. Who asks for a version, or lists them, gets names with `@VERSION`, by which
//! Google's SDK changes a version.
//!
//! To Vertex AI's Model we add, in `metadata`: `bundleDigest`, `signature`, and what the bundle says of itself
//! (`metrics`, `dataset`, `formats`, ...). `containerSpec` and the schema URIs an upload may carry mean nothing
//! here: the bundle says how it is served.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Json;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use platform::{
    ArtifactSource, Error, ModelTexts, ModelVersion, PAGE_SIZE_MAX, Page, Paged, Platform, UploadModel,
    UploadTarget,
};
use serde_json::{Value, json};

use super::error::ApiError;
use super::fields::Fields;
use super::filter::{Field, Item};
use super::listing::{self, Listing};
use super::operation::{self, Finished, time};
use super::path::{Address, Parent};
use super::query::Query;
use super::{read_mask, resource_id};
use crate::router::Gateway;

/// Fields of Vertex AI's Model that only it writes, or that mean nothing where a bundle describes itself.
pub(crate) const MEANINGLESS: &[&str] = &[
    "name",
    "versionId",
    "versionCreateTime",
    "versionUpdateTime",
    "predictSchemata",
    "metadataSchemaUri",
    "metadata",
    "containerSpec",
    "supportedExportFormats",
    "supportedDeploymentResourcesTypes",
    "supportedInputStorageFormats",
    "supportedOutputStorageFormats",
    "trainingPipeline",
    "createTime",
    "updateTime",
    "deployedModels",
    "etag",
    "dataStats",
    "modelSourceInfo",
    "originalModelInfo",
    "metadataArtifact",
    "baseModelSource",
    "checkpoints",
    "satisfiesPzs",
    "satisfiesPzi",
];

/// The others.
const MEANINGFUL: &[&str] = &[
    "displayName",
    "description",
    "versionDescription",
    "versionAliases",
    "artifactUri",
    "labels",
    "explanationSpec",
    "encryptionSpec",
    "pipelineJob",
];

/// The label by which an upload says which signature of a SavedModel it is.
const SIGNATURE_LABEL: &str = "bellwether-signature";

/// `POST models:upload`
pub(crate) async fn upload(gateway: &Gateway, address: Address, body: &Bytes) -> Result<Response, ApiError> {
    let request = upload_request(&address.parent, body)?;
    let (platform, parent) = (Arc::clone(&gateway.platform), address.parent);
    operation::reply(async move {
        let version = platform.upload_model(request).await?;
        let finished = Finished {
            resource: format!("models/{}", version.model),
            kind: "UploadModel",
            message: "UploadModelResponse",
            response: json!({
                "model": parent.name_of("models/", &version.model),
                "modelVersionId": version.version.to_string(),
            }),
        };
        operation::finish(&platform, &parent, finished).await
    })
    .await
}

fn upload_request(parent: &Parent, body: &[u8]) -> Result<UploadModel, Error> {
    let mut fields = Fields::parse(body)?;
    let parent_model = fields.text("parentModel")?;
    let id = fields.text("modelId")?;
    let target = match (parent_model, id) {
        (Some(_), Some(_)) => {
            return Err(
                fields.invalid("modelId", "give either parentModel (a new version) or modelId (a new model)")
            );
        }
        (Some(name), None) => {
            UploadTarget::VersionOf { id: resource_id(parent, "models", "parentModel", &name)? }
        }
        (None, id) => UploadTarget::New { id },
    };
    let Some(mut model) = fields.object("model")? else {
        return Err(fields.missing("model", r#"{"displayName": "NAME", "artifactUri": "file:///DIR"}"#));
    };
    let display_name = model.text("displayName")?;
    let description = model.text("description")?;
    let version_description = model.text("versionDescription")?;
    let Some(uri) = model.text("artifactUri")? else {
        return Err(model.missing("artifactUri", "\"file:///DIR\", the directory of a bundle"));
    };
    let aliases = model.take("versionAliases")?.unwrap_or_default();
    let labels: BTreeMap<String, String> = model.take("labels")?.unwrap_or_default();
    let signature = labels.get(SIGNATURE_LABEL).cloned();
    let (about, description, labels) = match &target {
        // The model there is keeps its name, and what is said is of the version.
        UploadTarget::VersionOf { .. } => {
            (ModelTexts::default(), version_description.or(description).unwrap_or_default(), labels)
        }
        UploadTarget::New { .. } | UploadTarget::NewOrVersionOf { .. } => {
            let display_name = display_name.unwrap_or_default();
            let about = ModelTexts { display_name, description: description.unwrap_or_default(), labels };
            (about, version_description.unwrap_or_default(), BTreeMap::new())
        }
    };
    model.refuse("explanationSpec", "upload the model without it")?;
    model.refuse("encryptionSpec", "the artifact store is encrypted by whoever runs it")?;
    model.finish(MEANINGLESS)?;
    fields.finish(&["parent", "serviceAccount"])?;
    Ok(UploadModel {
        project: parent.project.clone(),
        target,
        about,
        description,
        source: ArtifactSource::Uri(uri),
        aliases,
        labels,
        signature,
    })
}

/// `GET models/M[@v]`
pub(crate) async fn get(gateway: &Gateway, address: &Address) -> Result<Response, ApiError> {
    let asked = whole_model(&address.id).unwrap_or(&address.id);
    let version = gateway.platform.get_model(&address.parent.project, asked).await?;
    Ok(Json(written_as_asked(&gateway.platform, address, &version)).into_response())
}

/// The id of a model that is named as a whole, `M` or `M@-`; nothing if one of its versions is named.
pub(crate) fn whole_model(id: &str) -> Option<&str> {
    match id.split_once('@') {
        None => Some(id),
        Some((model, "-")) => Some(model),
        Some(_) => None,
    }
}

/// What lists of models and versions may be ordered by.
const ORDERABLE: &[&str] = &["display_name", "create_time", "update_time", "version_id"];

/// `GET models`
pub(crate) async fn list(gateway: &Gateway, address: &Address, query: &Query) -> Result<Response, ApiError> {
    let (platform, project) = (&gateway.platform, &address.parent.project);
    let listing = Listing::parse::<ModelVersion>((&address.parent, "models"), query, ORDERABLE)?;
    let listed = if listing.is_plain() {
        listing.continued(platform.list_models(project, &listing.page()).await?)?
    } else {
        listing.cut(all(platform, project).await?, |version| version.model.clone())?
    };
    let written = |version: &ModelVersion| written(platform, &address.parent, version);
    Ok(page_of(query, &listed, written)?)
}

async fn all(platform: &Platform, project: &str) -> Result<Vec<ModelVersion>, Error> {
    let mut page = Page { size: PAGE_SIZE_MAX, token: None };
    let mut all = Vec::new();
    loop {
        let Paged { items, next_token } = platform.list_models(project, &page).await?;
        all.extend(items);
        match next_token {
            Some(token) => page.token = Some(token),
            None => return Ok(all),
        }
    }
}

/// `GET models/M:listVersions`, oldest first where no order is given.
pub(crate) async fn list_versions(
    gateway: &Gateway,
    address: &Address,
    query: &Query,
) -> Result<Response, ApiError> {
    let model = address.id.split('@').next().unwrap_or_default();
    let list = format!("models/{model}/versions");
    let listing = Listing::parse::<ModelVersion>((&address.parent, &list), query, ORDERABLE)?;
    let versions = gateway.platform.list_model_versions(&address.parent.project, model).await?;
    let listed = listing.cut(versions, |version| format!("{:010}", version.version))?;
    let written = |version: &ModelVersion| written_version(&gateway.platform, &address.parent, version);
    Ok(page_of(query, &listed, written)?)
}

impl Item for ModelVersion {
    const FIELDS: &'static [&'static str] = &[
        "name",
        "model",
        "display_name",
        "description",
        "version_description",
        "create_time",
        "update_time",
        "version_id",
        "version_aliases",
        "version_create_time",
        "version_update_time",
        "labels",
    ];

    fn field(&self, name: &str) -> Field<'_> {
        match name {
            "display_name" => Field::Text(self.about.display_name.as_str().into()),
            "description" => Field::Text(self.about.description.as_str().into()),
            "version_description" => Field::Text(self.description.as_str().into()),
            "create_time" => Field::Time(self.model_created_at),
            "update_time" => Field::Time(self.last_updated_at()),
            "version_create_time" => Field::Time(self.created_at),
            "version_update_time" => Field::Time(self.updated_at),
            "version_id" => Field::Number(u64::from(self.version)),
            "version_aliases" => Field::List(&self.aliases),
            _ => Field::Text(self.model.as_str().into()),
        }
    }

    fn label(&self, key: &str) -> Option<&str> {
        self.labels.get(key).or_else(|| self.about.labels.get(key)).map(String::as_str)
    }
}

fn page_of(
    query: &Query,
    listed: &Paged<ModelVersion>,
    written: impl Fn(&ModelVersion) -> Value,
) -> Result<Response, Error> {
    let mut models: Vec<Value> = listed.items.iter().map(written).collect();
    read_mask::apply(query, &[MEANINGLESS, MEANINGFUL], &mut models)?;
    Ok(listing::page("models", models, listed.next_token.clone()))
}

/// A version, named as the request names it.
pub(crate) fn written_as_asked(platform: &Platform, address: &Address, version: &ModelVersion) -> Value {
    match whole_model(&address.id) {
        Some(_) => written(platform, &address.parent, version),
        None => written_version(platform, &address.parent, version),
    }
}

/// A version under its own name.
fn written_version(platform: &Platform, parent: &Parent, version: &ModelVersion) -> Value {
    let mut written = written(platform, parent, version);
    written["name"] = json!(parent.name(&format!("models/{}@{}", version.model, version.version)));
    written
}

/// A model, as which one of its versions stands.
fn written(platform: &Platform, parent: &Parent, version: &ModelVersion) -> Value {
    let deployed: Vec<Value> = platform
        .deployments_of(&parent.project, &version.model, version.version)
        .into_iter()
        .map(|(endpoint, id)| json!({"endpoint": parent.name_of("endpoints/", &endpoint), "deployedModelId": id}))
        .collect();
    let mut metadata = json!({"bundleDigest": version.bundle_digest, "signature": version.signature});
    if let (Some(metadata), Some(summary)) = (metadata.as_object_mut(), version.summary.as_object()) {
        metadata.extend(summary.clone());
    }
    json!({
        "name": parent.name_of("models/", &version.model),
        "versionId": version.version.to_string(),
        "versionAliases": version.aliases,
        "versionCreateTime": time(version.created_at),
        "versionUpdateTime": time(version.updated_at),
        "displayName": version.about.display_name,
        "description": version.about.description,
        "versionDescription": version.description,
        "artifactUri": version.artifact_uri,
        // DEDICATED_RESOURCES: without it Google's SDK drops the machine type of a deployment.
        "supportedDeploymentResourcesTypes": [1],
        "createTime": time(version.model_created_at),
        "updateTime": time(version.last_updated_at()),
        "deployedModels": deployed,
        "etag": version.etag(),
        "labels": version.all_labels(),
        "metadata": metadata,
    })
}

#[cfg(test)]
mod tests {
    use platform::Kind;

    use super::*;

    fn request(body: &Value) -> Result<UploadModel, Error> {
        let parent = Parent { project: "p".to_owned(), location: "l".to_owned() };
        upload_request(&parent, body.to_string().as_bytes())
    }

    fn model() -> Value {
        json!({"displayName": "D", "artifactUri": "file:///b", "containerSpec": {"imageUri": "tf2-cpu"}})
    }

    #[test]
    fn an_upload_as_googles_sdk_sends_it() {
        let mut body = json!({"model": model(), "modelId": "m"});
        body["model"]["versionAliases"] = json!(["default", "prod"]);
        body["model"]["labels"] = json!({"k": "v"});
        let upload = request(&body).unwrap();
        assert_eq!(upload.target, UploadTarget::New { id: Some("m".to_owned()) });
        assert_eq!((upload.about.display_name.as_str(), upload.labels.len()), ("D", 0));
        assert_eq!(upload.source, ArtifactSource::Uri("file:///b".to_owned()));
        assert_eq!((upload.aliases.len(), upload.about.labels["k"].as_str()), (2, "v"));
        assert_eq!(request(&json!({"model": model()})).unwrap().target, UploadTarget::New { id: None });
        let parent = "projects/p/locations/elsewhere/models/m@2";
        let version = request(&json!({"model": model(), "parentModel": parent})).unwrap();
        assert_eq!(version.target, UploadTarget::VersionOf { id: "m".to_owned() });
        assert_eq!(version.about, ModelTexts::default(), "the model there is keeps its name");
    }

    #[test]
    fn what_is_said_is_said_of_the_model_or_of_the_version() {
        let mut body = json!({"model": model()});
        body["model"]["description"] = json!("of all");
        body["model"]["versionDescription"] = json!("of one");
        body["model"]["labels"] = json!({"k": "v"});
        let said = |body: &Value| {
            let UploadModel { about, description, labels, .. } = request(body).unwrap();
            (about.description, about.labels.len(), description, labels.len())
        };
        assert_eq!(said(&body), ("of all".to_owned(), 1, "of one".to_owned(), 0));
        body["parentModel"] = json!("m");
        assert_eq!(said(&body), (String::new(), 0, "of one".to_owned(), 1));
        body["model"]["versionDescription"] = json!("");
        assert_eq!(said(&body), (String::new(), 0, "of all".to_owned(), 1));
        for (id, model) in
            [("m", Some("m")), ("m@-", Some("m")), ("m@1", None), ("m@default", None), ("m@", None)]
        {
            assert_eq!(whole_model(id), model, "{id}");
        }
    }

    #[test]
    fn a_wrong_upload_names_the_field() {
        let cases = [
            (json!({}), "model"),
            (json!({"model": {"displayName": "D"}}), "model.artifactUri"),
            (json!({"model": model(), "modelId": 3}), "modelId"),
            (json!({"model": model(), "modelId": "a", "parentModel": "b"}), "modelId"),
            (json!({"model": model(), "parentModel": "projects/other/locations/l/models/m"}), "parentModel"),
            (json!({"model": model(), "modell": 1}), "modell"),
            (json!({"model": {"artifactUri": "file:///b", "artefact": 1}}), "model.artefact"),
        ];
        for (body, field) in cases {
            let error = request(&body).unwrap_err();
            assert_eq!(error.violations()[0].field, field, "{error}");
        }
        let mut explained = json!({"model": model()});
        explained["model"]["explanationSpec"] =
            json!({"parameters": {"sampledShapleyAttribution": {"pathCount": 5}}});
        assert_eq!(request(&explained).unwrap_err().kind(), Kind::Unimplemented);
    }
}
