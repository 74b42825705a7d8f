//! `model upload|list|show`: the same output from a server and from the data directory.

use std::collections::BTreeMap;

use platform::{ArtifactSource, Error, Kind, ModelTexts, ModelVersion, Page, UploadModel, UploadTarget};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::args::model::{ModelShowArgs, ModelUploadArgs};
use crate::client::resource::{ModelResource, last_segment};
use crate::context::{Backend, Context};
use crate::output::{Column, Show, pairs, table};

const MANIFEST_NAME: &str = "bundle.json";
const MANIFEST_BYTES_MAX: u64 = 256 << 20;

/// A model version.
#[derive(Debug, Serialize)]
pub(crate) struct ModelView {
    pub(crate) model: String,
    pub(crate) version: u32,
    aliases: Vec<String>,
    display_name: String,
    description: String,
    artifact_uri: String,
    bundle_digest: String,
    created_at: String,
    signature: Value,
    summary: Value,
}

impl ModelView {
    /// The view of a version in the registry.
    pub(crate) fn from_platform(version: ModelVersion) -> Result<Self, Error> {
        let signature = serde_json::to_value(&version.signature)
            .map_err(|error| Error::internal("cannot show the signature", error))?;
        Ok(Self {
            model: version.model,
            version: version.version,
            aliases: version.aliases,
            display_name: version.about.display_name,
            description: said(version.description, version.about.description),
            artifact_uri: version.artifact_uri,
            bundle_digest: version.bundle_digest,
            created_at: version.created_at.to_string(),
            signature,
            summary: version.summary,
        })
    }

    /// Model, version and aliases.
    pub(crate) fn into_aliases(self) -> (String, u32, Vec<String>) {
        (self.model, self.version, self.aliases)
    }

    /// The view of a version at a server.
    pub(crate) fn from_server(resource: ModelResource) -> Result<Self, Error> {
        let ModelResource { version_id, mut metadata, .. } = resource;
        let version = version_id.parse().map_err(|error| {
            Error::internal(format!("the server answered version \"{version_id}\""), error)
        })?;
        let mut take =
            |key: &str| metadata.as_object_mut().and_then(|map| map.remove(key)).unwrap_or_default();
        let bundle_digest = take("bundleDigest").as_str().unwrap_or_default().to_owned();
        let signature = take("signature");
        Ok(Self {
            model: last_segment(&resource.name).to_owned(),
            version,
            aliases: resource.version_aliases,
            display_name: resource.display_name,
            description: said(resource.version_description, resource.description),
            artifact_uri: resource.artifact_uri,
            bundle_digest,
            created_at: resource.version_create_time,
            signature,
            summary: metadata,
        })
    }
}

/// What is said of a version, or else of its model.
fn said(of_version: String, of_model: String) -> String {
    if of_version.is_empty() { of_model } else { of_version }
}

impl Show for ModelView {
    fn text(&self) -> String {
        let mut figures = Vec::new();
        flatten("", &self.summary, &mut figures);
        let fixed = [
            ("model", format!("{}@{}", self.model, self.version)),
            ("aliases", self.aliases.join(", ")),
            ("created", self.created_at.clone()),
            ("artifact", self.artifact_uri.clone()),
            ("sha256", self.bundle_digest.clone()),
            ("inputs", tensors(&self.signature["inputs"])),
            ("outputs", tensors(&self.signature["outputs"])),
        ];
        pairs(fixed.into_iter().chain(figures.iter().map(|(name, value)| (name.as_str(), value.clone()))))
    }
}

/// `x float32 [?, 4], mask bool [?, 4]`: `?` for the batch, and for what is open.
fn tensors(specs: &Value) -> String {
    let axis = |size: &Value| size.as_u64().map_or_else(|| "?".to_owned(), |size| size.to_string());
    let tensor = |spec: &Value| {
        let sizes: Vec<String> = spec["shape"].as_array().into_iter().flatten().map(axis).collect();
        let [name, dtype] = ["name", "dtype"].map(|key| spec[key].as_str().unwrap_or_default());
        format!("{name} {dtype} [{}]", sizes.join(", "))
    };
    specs.as_array().into_iter().flatten().map(tensor).collect::<Vec<_>>().join(", ")
}

/// What a model that was imported takes and needs: `3667 parameters, 122758 bytes, 12.3 MB of memory to run: x float32 [?, 4] -> ...`.
fn needs(version: &ModelView) -> Option<String> {
    const MEGABYTE: f64 = 1e6;
    let (summary, signature) = (&version.summary, &version.signature);
    let parameters = summary["origin"]["parameters"].as_u64()?;
    let bytes = summary["bytes"].as_u64()?;
    let memory = summary["origin"]["memory_bytes"].as_u64()? as f64 / MEGABYTE;
    let (inputs, outputs) = (tensors(&signature["inputs"]), tensors(&signature["outputs"]));
    Some(format!(
        "{parameters} parameters, {bytes} bytes, {memory:.1} MB of memory to run: {inputs} -> {outputs}"
    ))
}

/// `{"a": {"b": 1}}` as `a.b  1`.
fn flatten(prefix: &str, value: &Value, lines: &mut Vec<(String, String)>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                let name = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
                flatten(&name, value, lines);
            }
        }
        Value::String(text) => lines.push((prefix.to_owned(), text.clone())),
        Value::Array(items) => {
            let shown: Vec<String> = items
                .iter()
                .map(|item| item.as_str().map_or_else(|| item.to_string(), str::to_owned))
                .collect();
            lines.push((prefix.to_owned(), shown.join("; ")));
        }
        Value::Null => {}
        other => lines.push((prefix.to_owned(), other.to_string())),
    }
}

/// Versions just made, oldest first.
#[derive(Debug)]
struct UploadedView(Vec<ModelView>);

impl Serialize for UploadedView {
    /// The version, or a list of several.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.as_slice() {
            [only] => only.serialize(serializer),
            several => several.serialize(serializer),
        }
    }
}

impl Show for UploadedView {
    fn text(&self) -> String {
        let mut text = String::new();
        for view in &self.0 {
            let ModelView { model, version, artifact_uri, summary, .. } = view;
            text.push_str(&format!("uploaded {model}@{version} to {artifact_uri}\n"));
            text.extend(needs(view).map(|needs| format!("{needs}\n")));
            for note in summary["origin"]["notes"].as_array().into_iter().flatten() {
                text.push_str(&format!("note: {}\n", note.as_str().unwrap_or_default()));
            }
        }
        if let Some(ModelView { model, version, .. }) = self.0.last() {
            text.push_str(&format!("next: bellwether endpoint deploy ENDPOINT --model {model}@{version}\n"));
        }
        text
    }
}

/// The default version of every model.
#[derive(Debug, Serialize)]
struct ModelsView {
    models: Vec<ModelView>,
}

impl Show for ModelsView {
    fn text(&self) -> String {
        if self.models.is_empty() {
            return "no models yet: bellwether model upload DIR\n".to_owned();
        }
        let columns = [
            Column::Text("model"),
            Column::Figure("version"),
            Column::Text("aliases"),
            Column::Text("created"),
            Column::Text("sha256"),
        ];
        let rows = self.models.iter().map(|model| {
            vec![
                model.model.clone(),
                model.version.to_string(),
                model.aliases.join(", "),
                model.created_at.chars().take(19).collect(),
                model.bundle_digest.chars().take(12).collect(),
            ]
        });
        table(&columns, rows)
    }
}

/// `model upload`
pub(crate) async fn upload(context: &Context, args: ModelUploadArgs) -> Result<(), Error> {
    let versions = match context.backend().await? {
        Backend::Server(client) => {
            let model = match args.model {
                Some(model) => model,
                None => suggested_model(&ArtifactSource::named(&args.source))?,
            };
            let signature = args.signature.as_deref();
            vec![ModelView::from_server(
                client.upload_model(&ArtifactSource::named(&args.source), &model, signature).await?,
            )?]
        }
        Backend::Local(platform) => {
            let request = UploadModel {
                project: context.project().to_owned(),
                target: UploadTarget::NewOrVersionOf { id: args.model },
                about: ModelTexts::default(),
                description: String::new(),
                source: ArtifactSource::named(&args.source),
                aliases: Vec::new(),
                labels: BTreeMap::new(),
                signature: args.signature,
            };
            let versions = platform.upload_models(request).await?;
            versions.into_iter().map(ModelView::from_platform).collect::<Result<_, _>>()?
        }
    };
    context.output.show(&UploadedView(versions))
}

/// `model list`
pub(crate) async fn list(context: &Context) -> Result<(), Error> {
    let models = match context.backend().await? {
        Backend::Server(client) => {
            client.list_models().await?.into_iter().map(ModelView::from_server).collect::<Result<_, _>>()?
        }
        Backend::Local(platform) => {
            let mut page = Page { size: platform::PAGE_SIZE_MAX, token: None };
            let mut models = Vec::new();
            loop {
                let found = platform.list_models(context.project(), &page).await?;
                for version in found.items {
                    models.push(ModelView::from_platform(version)?);
                }
                match found.next_token {
                    Some(token) => page.token = Some(token),
                    None => break models,
                }
            }
        }
    };
    context.output.show(&ModelsView { models })
}

/// `model show`
pub(crate) async fn show(context: &Context, args: &ModelShowArgs) -> Result<(), Error> {
    let view = match context.backend().await? {
        Backend::Server(client) => ModelView::from_server(client.get_model(&args.model).await?)?,
        Backend::Local(platform) => {
            ModelView::from_platform(platform.get_model(context.project(), &args.model).await?)?
        }
    };
    context.output.show(&view)
}

/// The model name inside a bundle, or made of the name of what is none; the server checks the rest.
fn suggested_model(source: &ArtifactSource) -> Result<String, Error> {
    let dir = match source {
        ArtifactSource::Path(dir) => dir,
        ArtifactSource::Store(uri) | ArtifactSource::Uri(uri) => {
            return Ok(platform::model_id(std::path::Path::new(uri)));
        }
    };
    if dir.exists() && !dir.join(MANIFEST_NAME).is_file() {
        return Ok(platform::model_id(dir));
    }
    #[derive(Deserialize)]
    struct Suggestion {
        model: String,
    }
    let path = dir.join(MANIFEST_NAME);
    let refused = |kind, why: &dyn std::fmt::Display| {
        Error::new(kind, format!("cannot read {}: {why}; `bellwether train` writes bundles", path.display()))
    };
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => refused(Kind::NotFound, &"no such file"),
        _ => refused(Kind::InvalidArgument, &error),
    };
    let bytes = std::fs::metadata(&path).map_err(unreadable)?.len();
    if bytes > MANIFEST_BYTES_MAX {
        return Err(refused(Kind::InvalidArgument, &format!("it has {bytes} bytes")));
    }
    let text = std::fs::read(&path).map_err(unreadable)?;
    let parsed: Result<Suggestion, _> = serde_json::from_slice(&text);
    Ok(parsed.map_err(|error| refused(Kind::InvalidArgument, &error))?.model)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn nested_figures_become_dotted_lines() {
        let mut lines = Vec::new();
        flatten(
            "",
            &json!({"metrics": {"ic": {"mean": 0.01}}, "formats": ["a", "b"], "none": null}),
            &mut lines,
        );
        let expected = [("formats", "a; b"), ("metrics.ic.mean", "0.01")];
        assert_eq!(lines, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_bundle_suggests_the_model() {
        let dir = tempfile::tempdir().unwrap();
        let at = ArtifactSource::Path;
        assert_eq!(suggested_model(&ArtifactSource::named("gs://b/My Net.onnx")).unwrap(), "my-net");
        assert_eq!(suggested_model(&at(dir.path().join("none"))).unwrap_err().kind(), Kind::NotFound);
        assert!(suggested_model(&at(dir.path().to_owned())).is_ok());
        std::fs::write(dir.path().join(MANIFEST_NAME), r#"{"version":"1","model":"m"}"#).unwrap();
        assert_eq!(suggested_model(&at(dir.path().to_owned())).unwrap(), "m");
        std::fs::write(dir.path().join(MANIFEST_NAME), "{").unwrap();
        assert_eq!(suggested_model(&at(dir.path().to_owned())).unwrap_err().kind(), Kind::InvalidArgument);
    }
}
