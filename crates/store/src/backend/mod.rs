//! What is behind a URI: which program keeps the objects, and where under it the store begins.

mod azure;
mod folder;
mod google;
mod s3;
mod web;

use std::path::PathBuf;
use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use url::{Position, Url};

use crate::environment::Secrets;
use crate::{Error, Options};

/// Who keeps the objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keeper {
    Memory,
    Folder,
    S3,
    Google,
    Azure,
    Web,
}

impl Keeper {
    /// What to look at when credentials are refused.
    pub(crate) fn credentials(self) -> &'static str {
        match self {
            Self::S3 => {
                "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this machine"
            }
            Self::Google => "GOOGLE_APPLICATION_CREDENTIALS, or the service account of this machine",
            Self::Azure => {
                "AZURE_STORAGE_ACCOUNT_NAME with AZURE_STORAGE_ACCOUNT_KEY, AZURE_STORAGE_CONNECTION_STRING, or the identity of this machine"
            }
            Self::Memory | Self::Folder | Self::Web => "who may read it",
        }
    }

    /// What to look at when nobody answers.
    pub(crate) fn endpoint(self) -> &'static str {
        match self {
            Self::S3 => "the network, AWS_REGION and AWS_ENDPOINT_URL",
            Self::Google => "the network and STORAGE_EMULATOR_HOST",
            Self::Azure => "the network and AZURE_STORAGE_ENDPOINT",
            Self::Memory | Self::Folder | Self::Web => "the network and the URI",
        }
    }

    /// What a keeper calls the place that must be made before anything can be stored.
    pub(crate) fn container(self) -> &'static str {
        if self == Self::Azure { "container" } else { "bucket" }
    }
}

/// A place for objects, as [`crate::Store`] uses it. Shows where it is and no more: builders show keys.
#[derive(Clone)]
pub(crate) struct Backend {
    pub(crate) uri: String,
    pub(crate) keeper: Keeper,
    pub(crate) objects: Arc<dyn ObjectStore>,
    /// Uploads in parts, by id.
    pub(crate) multipart: Option<Arc<dyn MultipartStore>>,
    pub(crate) local_root: Option<PathBuf>,
    pub(crate) secrets: Secrets,
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend")
            .field("uri", &self.uri)
            .field("keeper", &self.keeper)
            .finish_non_exhaustive()
    }
}

/// Opens what a URI names; a folder is made if it is missing, unless it is only read.
pub(crate) fn open(uri: &str, options: &Options, read_only: bool) -> Result<Backend, Error> {
    let url = Url::parse(uri).map_err(|_| {
        refuse(uri, "not a URI; write file:///absolute/folder, s3://bucket/path, gs://bucket/path, az://container/path, https://host/path, or memory:// for a throw-away store")
    })?;
    match url.scheme() {
        "memory" => Ok(Backend {
            uri: "memory://".to_owned(),
            keeper: Keeper::Memory,
            objects: Arc::new(InMemory::new()),
            multipart: None,
            local_root: None,
            secrets: Secrets::default(),
        }),
        "file" => folder::open(&url, read_only),
        "s3" | "s3a" => s3::open(&Place::of(&url)?, options),
        "gs" => google::open(&Place::of(&url)?, options),
        "az" | "abfs" | "abfss" => azure::open(&Place::of(&url)?, options),
        "http" | "https" => web::open(&Place::of(&url)?, options),
        scheme => {
            let known = "file, s3, gs, az, abfs, abfss, http, https and memory";
            Err(refuse(&shown(&url), &format!("there is no {scheme}:// store; there are {known}")))
        }
    }
}

/// The URI of what holds an object, and the object's name in it.
pub(crate) fn split_object(uri: &str) -> Result<(String, String), Error> {
    let Ok(mut url) = Url::parse(uri) else { return Ok((uri.to_owned(), String::new())) };
    let Some((folder, name)) = url.path().rsplit_once('/') else {
        return Ok((uri.to_owned(), String::new()));
    };
    let name = Path::from_url_path(name)
        .map_err(|_| refuse(&shown(&url), "the name of the object is no text"))?
        .to_string();
    let folder = folder.to_owned();
    url.set_path(&folder);
    Ok((url.to_string(), name))
}

fn refuse(uri: &str, reason: &str) -> Error {
    Error::Uri { uri: uri.to_owned(), reason: reason.to_owned() }
}

/// A URI as errors show it: a password, a signed query or a token in it is left out.
fn shown(url: &Url) -> String {
    let mut plain = url.clone();
    plain.set_query(None);
    plain.set_fragment(None);
    // It fails for URIs that have no place for a password.
    let _ = plain.set_password(None);
    plain.to_string()
}

/// A URI of a place over the network, checked.
struct Place {
    url: Url,
    /// The part after the bucket, decoded.
    path: Path,
}

impl Place {
    fn of(url: &Url) -> Result<Self, Error> {
        let refused = |reason: &str| refuse(&shown(url), reason);
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refused(
                "it has a query or a fragment; write ? as %3F and # as %23, and pass credentials by environment variables",
            ));
        }
        if url.password().is_some() {
            return Err(refused("it has a password; pass credentials by environment variables"));
        }
        let account_allowed = matches!(url.scheme(), "az" | "abfs" | "abfss");
        if !account_allowed && !url.username().is_empty() {
            return Err(refused("it has a user name; pass credentials by environment variables"));
        }
        if url.host_str().is_none_or(str::is_empty) {
            return Err(refused("it names no bucket; write SCHEME://BUCKET/PATH"));
        }
        let path = url.path().trim_matches('/');
        let path = Path::from_url_path(path)
            .map_err(|_| refused("its path has an empty part, . or .., or is no text"))?;
        Ok(Self { url: url.clone(), path })
    }

    /// `s3://bucket`.
    fn root(&self) -> &str {
        &self.url[..Position::BeforePath]
    }

    /// Without a slash at the end.
    fn uri(&self) -> String {
        format!("{}{}", self.root(), self.url.path().trim_end_matches('/'))
    }

    /// What the builder of a backend refused.
    fn refused(&self, error: &object_store::Error, keeper: Keeper, secrets: &Secrets) -> Error {
        let text = secrets.hidden_in(&error.to_string());
        refuse(&shown(&self.url), &format!("{text}; check {}", keeper.credentials()))
    }

    fn backend<T: ObjectStore + MultipartStore>(
        &self,
        objects: T,
        keeper: Keeper,
        secrets: Secrets,
    ) -> Backend {
        let objects = Arc::new(PrefixStore::new(objects, self.path.clone()));
        Backend {
            uri: self.uri(),
            keeper,
            objects: objects.clone(),
            multipart: Some(objects),
            local_root: None,
            secrets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(uri: &str) -> Result<Backend, Error> {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret-of-aws"),
            ("STORAGE_EMULATOR_HOST", "127.0.0.1:1"),
            ("AZURE_STORAGE_ACCOUNT_NAME", "account"),
            ("AZURE_STORAGE_ACCOUNT_KEY", "c2VjcmV0LW9mLWF6dXJl"),
        ];
        let environment =
            variables.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        open(uri, &Options { environment, ..Options::default() }, false)
    }

    #[test]
    fn every_scheme_opens_without_a_network_and_shows_no_secret() {
        for (uri, keeper, root) in [
            ("s3://bucket", Keeper::S3, "s3://bucket"),
            ("s3://bucket/a%20b/c/", Keeper::S3, "s3://bucket/a%20b/c"),
            ("gs://bucket/x", Keeper::Google, "gs://bucket/x"),
            ("az://container/x", Keeper::Azure, "az://container/x"),
            ("abfs://container/x", Keeper::Azure, "abfs://container/x"),
            (
                "abfss://container@account.dfs.core.windows.net/x",
                Keeper::Azure,
                "abfss://container@account.dfs.core.windows.net/x",
            ),
            ("http://host:81/x/", Keeper::Web, "http://host:81/x"),
            ("https://host", Keeper::Web, "https://host"),
        ] {
            let backend = opened(uri).unwrap();
            assert_eq!((backend.keeper, backend.uri.as_str()), (keeper, root));
            let debug = format!("{backend:?}");
            for secret in ["AKIDEXAMPLE", "secret-of-aws", "c2VjcmV0LW9mLWF6dXJl", "secret-of-azure"] {
                assert!(!debug.contains(secret), "{uri}: {debug}");
            }
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_without_its_credentials() {
        for (uri, text) in [
            ("s3:///x", "names no bucket"),
            ("s3://b/x?X-Amz-Signature=hidden", "a query or a fragment"),
            ("https://me:hidden@host/x", "it has a password"),
            ("gs://hidden@b/x", "it has a user name"),
            ("s3://b/a//b", "an empty part"),
            ("ftp://me:hidden@host/p.csv", "there is no ftp:// store"),
        ] {
            let error = opened(uri).unwrap_err().to_string();
            assert!(error.contains(text), "{uri}: {error}");
            assert!(!error.contains("hidden") || uri.starts_with("gs"), "{uri}: {error}");
        }
        let nobody = Options { environment: crate::Environment::default(), ..Options::default() };
        let error = open("az://container/x", &nobody, false).unwrap_err().to_string();
        assert!(error.contains("AZURE_STORAGE_ACCOUNT_NAME"), "{error}");
    }

    #[test]
    fn an_object_is_split_from_what_holds_it() {
        for (uri, holder, name) in [
            ("s3://b/p/x%20y.csv", "s3://b/p", "x y.csv"),
            ("s3://b/x.csv", "s3://b", "x.csv"),
            ("s3://b/p/", "s3://b/p", ""),
            ("s3://b", "s3://b", ""),
            ("https://h/x.csv", "https://h/", "x.csv"),
        ] {
            assert_eq!(split_object(uri).unwrap(), (holder.to_owned(), name.to_owned()), "{uri}");
        }
    }
}
