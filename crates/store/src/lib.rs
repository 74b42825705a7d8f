//! Bytes at a URI: whole objects, listed and replaced atomically, and directories that appear all at once.
//!
//! A [`Store`] is a root (`file:///...` or `memory://`) under which relative paths name objects with plain
//! file names. Deliberately not here: what the bytes mean. Market snapshots and model bundles bring their
//! own manifests and digests.

mod commit;
mod error;
mod path;
mod retry;

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use url::Url;

pub use error::Error;
use retry::with_retries;

/// The most bytes [`Store::get`] reads: 2 GiB.
pub const MAX_OBJECT_BYTES: u64 = 2 << 30;

/// The most objects one [`Store::list`] returns.
pub const MAX_LISTED_OBJECTS: usize = 100_000;

/// One object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// The path relative to the store's root.
    pub path: String,
    /// The size in bytes.
    pub size: u64,
}

/// A place for objects. Clones share the same place.
#[derive(Debug, Clone)]
pub struct Store {
    uri: String,
    backend: Arc<dyn ObjectStore>,
    local_root: Option<PathBuf>,
}

impl Store {
    /// Opens `file:///absolute/folder` (made if it is missing) or `memory://` (empty, gone with the last clone).
    ///
    /// # Errors
    /// [`Error::Uri`] for any other URI, [`Error::Io`] if the folder cannot be made.
    pub fn open(uri: &str) -> Result<Self, Error> {
        let refuse = |reason: &str| Error::Uri { uri: uri.to_owned(), reason: reason.to_owned() };
        let url = Url::parse(uri).map_err(|_| {
            refuse("not a URI; write file:///absolute/folder, or memory:// for a throw-away store")
        })?;
        match url.scheme() {
            "memory" => {
                Ok(Self { uri: "memory://".to_owned(), backend: Arc::new(InMemory::new()), local_root: None })
            }
            "file" => Self::open_folder(&url, refuse),
            scheme => {
                Err(refuse(&format!("this build stores in file:// and memory:// only, not {scheme}://")))
            }
        }
    }

    fn open_folder(url: &Url, refuse: impl Fn(&str) -> Error) -> Result<Self, Error> {
        if url.query().is_some() || url.fragment().is_some() {
            return Err(refuse("a file URI has no query or fragment; write ? as %3F and # as %23"));
        }
        let root =
            url.to_file_path().map_err(|()| refuse("write file:///absolute/folder, with three slashes"))?;
        let io = |source| Error::Io { action: "make the folder", url: url.to_string(), source };
        std::fs::create_dir_all(&root).map_err(io)?;
        let root = root.canonicalize().map_err(io)?;
        let backend = LocalFileSystem::new_with_prefix(&root)
            .map_err(|source| Error::backend("open", url.as_str(), source))?
            .with_fsync(true);
        let uri = Url::from_file_path(&root).map_err(|()| refuse("not an absolute folder"))?;
        Ok(Self {
            uri: uri.as_str().trim_end_matches('/').to_owned(),
            backend: Arc::new(backend),
            local_root: Some(root),
        })
    }

    /// The URI of the root, without a slash at the end; symbolic links of a folder are resolved.
    pub fn uri(&self) -> &str {
        &self.uri
    }

    /// The URI of an object or directory under the root. For messages and records; the path is not checked.
    pub fn url_of(&self, path: &str) -> String {
        const KEPT: &str = "-._~/!$&'()*+,;=:@";
        let mut url = self.uri.clone();
        if !path.is_empty() && !url.ends_with('/') {
            url.push('/');
        }
        for byte in path.bytes() {
            if byte.is_ascii_alphanumeric() || KEPT.as_bytes().contains(&byte) {
                url.push(char::from(byte));
            } else {
                url.push_str(&format!("%{byte:02X}"));
            }
        }
        url
    }

    /// Writes one object, replacing what was there. A reader sees the old bytes or the new, never a part.
    ///
    /// # Errors
    /// [`Error::Path`] if `path` leaves the root or is not plain, [`Error::Backend`] if it cannot be written.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), Error> {
        self.put_with(path, bytes, PutMode::Overwrite).await
    }

    async fn put_with(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<(), Error> {
        let location = path::object(path)?;
        with_retries(|| {
            let options = PutOptions::from(mode.clone());
            self.backend.put_opts(&location, PutPayload::from_bytes(bytes.clone()), options)
        })
        .await
        .map(|_| ())
        .map_err(|source| Error::backend("write", &self.url_of(path), source))
    }

    /// Reads one object of at most [`MAX_OBJECT_BYTES`].
    ///
    /// # Errors
    /// As [`Store::get_limited`].
    pub async fn get(&self, path: &str) -> Result<Bytes, Error> {
        self.get_limited(path, MAX_OBJECT_BYTES).await
    }

    /// Reads one object of at most `limit_bytes`; a larger one is refused before it is read.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLarge`], [`Error::Path`], [`Error::Backend`].
    pub async fn get_limited(&self, path: &str, limit_bytes: u64) -> Result<Bytes, Error> {
        let location = path::object(path)?;
        let fail = |source| Error::backend("read", &self.url_of(path), source);
        let found = with_retries(|| self.backend.get(&location)).await.map_err(fail)?;
        if found.meta.size > limit_bytes {
            let size = found.meta.size;
            return Err(Error::TooLarge { url: self.url_of(path), size, limit: limit_bytes });
        }
        found.bytes().await.map_err(fail)
    }

    /// Whether there is an object at `path`.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Backend`].
    pub async fn exists(&self, path: &str) -> Result<bool, Error> {
        let location = path::object(path)?;
        match with_retries(|| self.backend.head(&location)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(source) => Err(Error::backend("look for", &self.url_of(path), source)),
        }
    }

    /// All objects under `prefix` (a directory; empty for the root), at any depth, sorted by path. A prefix
    /// that is not there has none.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Backend`], [`Error::TooMany`] above [`MAX_LISTED_OBJECTS`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
        let location = path::directory(prefix)?;
        let mut found = self.backend.list(Some(&location));
        let mut objects = Vec::new();
        let fail = |source| Error::backend("list", &self.url_of(prefix), source);
        while let Some(meta) = found.try_next().await.map_err(fail)? {
            if objects.len() == MAX_LISTED_OBJECTS {
                return Err(Error::TooMany { url: self.url_of(prefix), limit: MAX_LISTED_OBJECTS });
            }
            objects.push(ObjectInfo { path: meta.location.to_string(), size: meta.size });
        }
        objects.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        Ok(objects)
    }

    /// The names (last path component) of the directories directly under `prefix`, sorted.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Backend`].
    pub async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let location = path::directory(prefix)?;
        let listing = with_retries(|| self.backend.list_with_delimiter(Some(&location)))
            .await
            .map_err(|source| Error::backend("list", &self.url_of(prefix), source))?;
        let mut names: Vec<String> = listing
            .common_prefixes
            .iter()
            .filter_map(|directory| directory.filename().map(str::to_owned))
            .collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Deletes everything under `prefix`, the remains of interrupted writes included. Nothing there is no
    /// error. Not atomic: for directories that no reader uses.
    ///
    /// # Errors
    /// [`Error::Path`] (the root itself is refused), [`Error::Backend`], [`Error::Io`].
    pub async fn delete_prefix(&self, prefix: &str) -> Result<(), Error> {
        let location = path::object(prefix)?;
        if let Some(root) = &self.local_root {
            let folder = root.join(location.as_ref());
            return match tokio::fs::remove_dir_all(&folder).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::Io { action: "delete", url: self.url_of(prefix), source: error })
                }
                _ => Ok(()),
            };
        }
        for object in self.list(prefix).await? {
            let location = path::object(&object.path)?;
            match with_retries(|| self.backend.delete(&location)).await {
                Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
                Err(source) => return Err(Error::backend("delete", &self.url_of(&object.path), source)),
            }
        }
        Ok(())
    }
}
