//! Where a model is read from: a path, an object of a store, a folder of objects; what is elsewhere is fetched first.

use std::path::{Component, Path, PathBuf};

use artifact::bundle::{MAX_BUNDLE_BYTES, MAX_FILES};
use store::{Downloads, Options, Store};

use crate::{Error, Kind, Platform, Result};

/// Where a model is read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArtifactSource {
    /// A folder, an `.onnx` or `.keras` file or an archive named by the person at this machine.
    Path(PathBuf),
    /// The same in a store (`gs://`, `s3://`, `az://`, `https://`), named by the person at this machine.
    Store(String),
    /// A URI named by a client: it must have been staged here, or lie under an allowed root.
    Uri(String),
}

impl ArtifactSource {
    /// What the person at this machine names: a path, or a URI of one or of a store.
    pub fn named(text: &str) -> Self {
        match text.split_once("://") {
            None => Self::Path(PathBuf::from(text)),
            Some(("file", _)) => match crate::model::file_path(text) {
                Ok(path) => Self::Path(path),
                Err(_) => Self::Store(text.to_owned()),
            },
            Some(_) => Self::Store(text.to_owned()),
        }
    }
}

/// A model as files of this machine, for as long as this is held.
#[derive(Debug)]
pub(crate) struct Located {
    /// The folder or file.
    pub(crate) path: PathBuf,
    /// What to call it: as whoever asked named it.
    pub(crate) named: PathBuf,
    _fetched: Option<Downloads>,
}

impl Located {
    fn here(path: PathBuf) -> Self {
        Self { named: path.clone(), path, _fetched: None }
    }
}

impl Platform {
    /// Finds a model, and fetches it where it is elsewhere: at most 2 GiB in 1,000 objects.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`] or [`Kind::InvalidArgument`] for a client's URI that is neither staged nor under an allowed
    /// root, [`Kind::NotFound`] for one under which there is nothing, [`Kind::ResourceExhausted`] for what is too large.
    pub(crate) async fn locate(&self, source: &ArtifactSource) -> Result<Located> {
        match source {
            ArtifactSource::Path(path) => Ok(Located::here(path.clone())),
            ArtifactSource::Store(uri) => fetch(uri).await,
            ArtifactSource::Uri(uri) => match self.staging.resolve(uri) {
                Some(staged) => Ok(Located::here(staged)),
                None if self.allows_store(uri)? => fetch(uri).await,
                None => {
                    self.allowed_path("artifactUri", uri, "a file or folder", Path::exists).map(Located::here)
                }
            },
        }
    }

    /// Whether a client's URI is one of a store, and lies under a root of a store that the operator allowed.
    fn allows_store(&self, uri: &str) -> Result<bool> {
        let roots: Vec<&str> =
            self.allowed_roots.iter().map(String::as_str).filter(|root| !root.starts_with("file:")).collect();
        if uri.starts_with("file:") || roots.is_empty() {
            return Ok(false);
        }
        if roots.iter().any(|root| lies_under(uri, root)) {
            return Ok(true);
        }
        let message = format!(
            "artifactUri \"{uri}\" is not under an allowed root ({}); the server's operator adds roots with --allow-root",
            self.allowed_roots.join(", ")
        );
        Err(Error::new(Kind::PermissionDenied, message))
    }
}

/// Whether a URI is a root or is inside of it, whoever reads it: nothing encoded, no query, no way back up.
fn lies_under(uri: &str, root: &str) -> bool {
    let Some(rest) = uri.strip_prefix(root.trim_end_matches('/')) else { return false };
    let odd = |part: &str| matches!(part, "." | "..");
    (rest.is_empty() || rest.starts_with('/'))
        && !rest.contains(['%', '?', '#', '\\', '@'])
        && !rest.contains(char::is_control)
        && !rest.split('/').any(odd)
}

/// An object, or all objects under a URI, as a file or folder of its name.
async fn fetch(uri: &str) -> Result<Located> {
    let refused =
        |error: store::Error| Error::from(error).context(format!("cannot read a model from \"{uri}\""));
    let downloads = Downloads::new().map_err(refused)?;
    let (store, name) = Store::open_object(uri, &Options::default()).map_err(refused)?;
    let last = Path::new(&name).file_name().map(PathBuf::from);
    // A name of its own inside, so that what the model is called follows from it.
    let path = downloads.folder().join(last.as_deref().unwrap_or(Path::new("model")));
    if last.is_some() && store.exists(&name).await.map_err(refused)? {
        store.download(&name, &path, MAX_BUNDLE_BYTES).await.map_err(refused)?;
    } else {
        let folder =
            Store::open_read_only(uri.trim_end_matches('/'), &Options::default()).map_err(refused)?;
        fetch_all(&folder, &path, uri).await?;
    }
    let named = PathBuf::from(uri.split(['?', '#']).next().unwrap_or(uri).trim_end_matches('/'));
    Ok(Located { path, named, _fetched: Some(downloads) })
}

async fn fetch_all(store: &Store, folder: &Path, uri: &str) -> Result<()> {
    let refused = |kind, why: String| Error::new(kind, format!("cannot read a model from \"{uri}\": {why}"));
    let failed =
        |error: store::Error| Error::from(error).context(format!("cannot read a model from \"{uri}\""));
    let mut objects = store.list("").await.map_err(failed)?;
    // Programs mark folders by objects of no bytes.
    objects.retain(|object| !object.path.is_empty() && !object.path.ends_with('/'));
    if objects.is_empty() {
        let why =
            "there is no object of this name and none under it; name a model file or the folder of a model";
        return Err(refused(Kind::NotFound, why.to_owned()));
    }
    if objects.len() > MAX_FILES {
        let why = format!("there are {} objects under it, more than the limit of {MAX_FILES}", objects.len());
        return Err(refused(Kind::ResourceExhausted, why));
    }
    let bytes = objects.iter().fold(0u64, |sum, object| sum.saturating_add(object.size));
    if bytes > MAX_BUNDLE_BYTES {
        let why = format!("it has {bytes} bytes, more than the limit of {MAX_BUNDLE_BYTES}");
        return Err(refused(Kind::ResourceExhausted, why));
    }
    for object in objects {
        let relative = Path::new(&object.path);
        let plain = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !plain {
            return Err(refused(
                Kind::InvalidArgument,
                format!("the object \"{}\" has no plain name", object.path),
            ));
        }
        let to = folder.join(relative);
        let made = to.parent().map_or(Ok(()), std::fs::create_dir_all);
        made.map_err(|error| {
            Error::internal(format!("cannot make a folder for \"{}\"", object.path), error)
        })?;
        store.download(&object.path, &to, object.size).await.map_err(failed)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_person_names_is_a_path_or_a_store() {
        assert_eq!(ArtifactSource::named("models/net"), ArtifactSource::Path("models/net".into()));
        assert_eq!(ArtifactSource::named("file:///models/net"), ArtifactSource::Path("/models/net".into()));
        for uri in ["gs://b/net.onnx", "s3://b/net/", "https://host/net.keras"] {
            assert_eq!(ArtifactSource::named(uri), ArtifactSource::Store(uri.to_owned()));
        }
    }

    #[test]
    fn a_root_of_a_store_holds_what_is_inside_alone() {
        for (uri, under) in [
            ("gs://models/a", true),
            ("gs://models/a/net.onnx", true),
            ("gs://models/ab", false),
            ("gs://models", false),
            ("gs://models/a/../b", false),
            ("gs://models/a/%2e%2e/b", false),
            ("gs://models/a?x=/b", false),
            ("gs://models/a/net.onnx\0", false),
            ("gs://models/a/n\tet.onnx", false),
            ("s3://models/a", false),
        ] {
            assert_eq!(lies_under(uri, "gs://models/a/"), under, "{uri}");
        }
        assert!(!lies_under("https://host@evil/x", "https://host"));
    }

    #[tokio::test]
    async fn objects_are_fetched_under_their_names_and_what_is_not_there_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["net/saved_model.pb", "net/variables/variables.index", "one.onnx"] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, name).unwrap();
        }
        let root = url::Url::from_file_path(folder.path()).unwrap().to_string();
        for uri in [format!("{root}/net"), format!("{root}/net/")] {
            let located = fetch(&uri).await.unwrap();
            let read = std::fs::read_to_string(located.path.join("variables/variables.index")).unwrap();
            assert_eq!(read, "net/variables/variables.index");
            assert_eq!(located.named.file_name().unwrap(), "net");
            let path = located.path.clone();
            drop(located);
            assert!(!path.exists());
        }
        let located = fetch(&format!("{root}/one.onnx")).await.unwrap();
        assert_eq!(std::fs::read_to_string(&located.path).unwrap(), "one.onnx");
        assert!(located.path.ends_with("one.onnx"));
        let missing = fetch(&format!("{root}/none")).await.unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.to_string().contains("/none\""), "{missing}");
    }
}
