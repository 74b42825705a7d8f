//! Models and versions: upload a bundle, register it, look it up.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact::bundle::{Bundle, MANIFEST};
use registry::{ModelTexts, ModelVersion, NewVersion, UploadMode};
use serde_json::json;

use crate::model_source::ArtifactSource;
use crate::trained_bundle::CREATED_BY;
use crate::upload::Import;
use crate::{Error, Kind, Page, Paged, Platform, Result};

/// A bundle to become a version.
#[derive(Debug, Clone)]
pub struct UploadModel {
    /// The project it belongs to.
    pub project: String,
    /// Which model it becomes a version of.
    pub target: UploadTarget,
    /// What is said of the model, if the upload makes it; one without a display name is called by its id.
    pub about: ModelTexts,
    /// What the version is; free text.
    pub description: String,
    /// Where the bundle is.
    pub source: ArtifactSource,
    /// Aliases the version gets; `default` moves the default to it.
    pub aliases: Vec<String>,
    /// Labels of the version.
    pub labels: BTreeMap<String, String>,
    /// Which signature of a SavedModel becomes the version; `serving_default`, or its only one, if none is named.
    pub signature: Option<String>,
}

/// Which model an upload belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UploadTarget {
    /// A model that must not exist yet; an id is made if none is given.
    New {
        /// The id asked for.
        id: Option<String>,
    },
    /// A model that must exist.
    VersionOf {
        /// Its id.
        id: String,
    },
    /// Either; absent: the id the bundle suggests.
    NewOrVersionOf {
        /// The id asked for.
        id: Option<String>,
    },
}

impl Platform {
    /// Copies a model into the artifact store and registers it as a version; the versions made, oldest first: several
    /// if the source has numbered folders. What is no bundle of ours is converted and run before anything is registered.
    ///
    /// A version is reserved, the files are written (manifest last), then the version becomes visible: a
    /// crash in between leaves nothing that a reader sees, and the next start removes what is left.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for what is no model, [`Kind::FailedPrecondition`] for one that no engine computes,
    /// with everything that stands in the way; [`Kind::PermissionDenied`] for a URI outside the allowed roots,
    /// [`Kind::NotFound`] and [`Kind::AlreadyExists`] as the target says.
    pub async fn upload_models(&self, request: UploadModel) -> Result<Vec<ModelVersion>> {
        let located = self.locate(&request.source).await?;
        let import = Import {
            signature: request.signature.clone(),
            created_by: CREATED_BY.to_owned(),
            created_at: self.now().to_string(),
        };
        let opened = tokio::task::spawn_blocking(move || import.bundles(&located.path, &located.named)).await;
        let bundles =
            opened.map_err(|error| Error::internal("reading the model stopped unexpectedly", error))??;
        let mut versions: Vec<ModelVersion> = Vec::with_capacity(bundles.len());
        for bundle in &bundles {
            let mut request = request.clone();
            if let Some(before) = versions.last() {
                request.target = UploadTarget::VersionOf { id: before.model.clone() };
            }
            versions.push(self.upload_bundle(bundle, request).await?);
        }
        if let Some(newest) = versions.last() {
            // An alias may have moved to it.
            let _changing = self.changes.lock().await;
            self.refresh_name(&newest.project, &newest.model).await?;
        }
        Ok(versions)
    }

    /// [`Platform::upload_models`]; the newest version made.
    ///
    /// # Errors
    /// As [`Platform::upload_models`].
    pub async fn upload_model(&self, request: UploadModel) -> Result<ModelVersion> {
        let versions = self.upload_models(request).await?;
        versions.into_iter().last().ok_or_else(|| Error::new(Kind::Internal, "an upload made no version"))
    }

    async fn upload_bundle(&self, bundle: &Bundle, request: UploadModel) -> Result<ModelVersion> {
        let (id, mode) = self.upload_target(&request, bundle);
        let project = request.project.clone();
        let mut new = new_version(&id, request, bundle);
        // Before anything is reserved or copied.
        new.check()?;
        let now = self.now();
        let version = self.registry.reserve_version(&project, &id, mode, now).await?;
        let prefix = version_prefix(&project, &id, version);
        new.artifact_uri = self.artifacts.url_of(&prefix);
        let placed = bundle.upload(&self.artifacts, &prefix).await;
        let registered = match placed {
            Ok(()) => {
                self.registry.commit_version(&project, &id, version, new, now).await.map_err(Error::from)
            }
            Err(error) => Err(Error::from(error).context(format!("uploading to {}", new.artifact_uri))),
        };
        if registered.is_err() {
            self.artifacts.delete_prefix(&prefix).await?;
            self.registry.abandon_version(&project, &id, version).await?;
        }
        registered
    }

    /// A version by `id` (its default), `id@number` or `id@alias`.
    ///
    /// # Errors
    /// [`Kind::NotFound`] naming what there is.
    pub async fn get_model(&self, project: &str, reference: &str) -> Result<ModelVersion> {
        Ok(self.registry.get_version(project, reference).await?)
    }

    /// The default version of every model, by id.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a page token that is not ours.
    pub async fn list_models(&self, project: &str, page: &Page) -> Result<Paged<ModelVersion>> {
        let after = page.token.as_deref();
        let items = self.registry.list_models(project, after, page.limit()? + 1).await?;
        Ok(page.cut(items, |version| version.model.clone()))
    }

    /// Every version of a model, oldest first.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such model.
    pub async fn list_model_versions(&self, project: &str, model: &str) -> Result<Vec<ModelVersion>> {
        Ok(self.registry.list_versions(project, model).await?)
    }

    /// Removes what an upload cut short has left; called once, before anything else is done.
    pub(crate) async fn remove_abandoned_uploads(&self) -> Result<()> {
        for stale in self.registry.list_uploading().await? {
            let prefix = version_prefix(&stale.project, &stale.model, stale.version);
            tracing::info!(prefix, "removing an upload that was cut short");
            self.artifacts.delete_prefix(&prefix).await?;
            self.registry.abandon_version(&stale.project, &stale.model, stale.version).await?;
        }
        Ok(())
    }

    /// Opens a registered version's bundle and checks that it is the one that was registered.
    pub(crate) async fn open_version(&self, version: &ModelVersion) -> Result<Bundle> {
        let prefix = version_prefix(&version.project, &version.model, version.version);
        let bundle = Bundle::open_store(&self.artifacts, &prefix).await.map_err(Error::from)?;
        if bundle.digest != version.bundle_digest {
            let message = format!(
                "model \"{}\" version {} was registered with {MANIFEST} {} but the artifact store holds {}; upload it again as a new version",
                version.model, version.version, version.bundle_digest, bundle.digest
            );
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        Ok(bundle)
    }

    fn upload_target(&self, request: &UploadModel, bundle: &Bundle) -> (String, UploadMode) {
        match &request.target {
            UploadTarget::New { id: Some(id) } => (id.clone(), UploadMode::NewModel),
            UploadTarget::New { id: None } => (self.generated_id(), UploadMode::NewModel),
            UploadTarget::VersionOf { id } => (id.clone(), UploadMode::ExistingModel),
            UploadTarget::NewOrVersionOf { id } => {
                (id.clone().unwrap_or_else(|| bundle.manifest.model.clone()), UploadMode::Either)
            }
        }
    }

    /// Resolves a client's `file://` URI to what lies under an allowed root, links followed.
    pub(crate) fn allowed_path(
        &self,
        field: &str,
        uri: &str,
        what: &str,
        is: impl Fn(&Path) -> bool,
    ) -> Result<PathBuf> {
        let asked =
            file_path(uri).map_err(|why| Error::invalid(field, format!("{field} \"{uri}\" {why}")))?;
        let refused = || {
            let roots = self.allowed_roots.join(", ");
            Error::new(
                Kind::PermissionDenied,
                format!(
                    "{field} \"{uri}\" is not {what} under an allowed root ({roots}); the server's operator adds roots with --allow-root"
                ),
            )
        };
        // What is not there and what may not be named get the same answer: a client learns nothing of the disk.
        let real = asked.canonicalize().map_err(|_| refused())?;
        let inside = self
            .allowed_roots
            .iter()
            .filter_map(|root| file_path(root).ok()?.canonicalize().ok())
            .any(|root| real.starts_with(root));
        if inside && is(&real) { Ok(real) } else { Err(refused()) }
    }
}

/// What the registry is told of a version; where it lies is not known yet.
fn new_version(id: &str, request: UploadModel, bundle: &Bundle) -> NewVersion {
    let manifest = &bundle.manifest;
    let mut about = request.about;
    if about.display_name.is_empty() {
        id.clone_into(&mut about.display_name);
    }
    NewVersion {
        about,
        description: request.description,
        artifact_uri: String::new(),
        bundle_digest: bundle.digest.clone(),
        signature: manifest.signature.clone(),
        summary: json!({
            "metrics": manifest.metrics,
            "dataset": manifest.dataset,
            "formats": manifest.formats,
            "bytes": manifest.files.values().map(|file| file.size).sum::<u64>(),
            "features": manifest.features.names.len(),
            "featureNames": manifest.features.names,
            "lookbackBars": manifest.features.lookback_bars,
            "nanPolicy": manifest.features.nan_policy,
            "seed": manifest.seed,
            "createdBy": manifest.created_by,
            "origin": manifest.origin,
        }),
        aliases: request.aliases,
        labels: request.labels,
    }
}

/// Where a version's bundle lies in the artifact store.
pub(crate) fn version_prefix(project: &str, model: &str, version: u32) -> String {
    format!("{project}/{model}/{version}")
}

/// The path of a `file://` URI.
pub(crate) fn file_path(uri: &str) -> std::result::Result<PathBuf, String> {
    // They are passed over where URIs are read: what is opened would not be what was named.
    if uri.contains(char::is_control) {
        return Err("holds a control character".to_owned());
    }
    let parsed = url::Url::parse(uri).map_err(|error| format!("is not a URI ({error})"))?;
    if parsed.scheme() != "file" {
        return Err(format!("has scheme {}://; this version reads file:// only", parsed.scheme()));
    }
    parsed.to_file_path().map_err(|()| "does not name an absolute path on this machine".to_owned())
}
