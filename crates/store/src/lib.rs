//! Bytes at a URI: whole objects, listed and replaced atomically, and directories that appear all at once.
//!
//! A [`Store`] is a root (a folder, or a place in a bucket of S3, Google or Azure, or a web server that is only
//! read) under which relative paths name objects with plain file names. [`Cache`] keeps what was fetched on this
//! machine. Deliberately not here: what the bytes mean. Market snapshots and model bundles bring their own
//! manifests and digests.
//!
//! Credentials and endpoints come from where each cloud's own tools find them (`backend`), and are in no error,
//! log or `Debug`.

mod backend;
mod cache;
mod commit;
mod download;
mod downloads;
mod environment;
mod error;
mod failure;
mod options;
mod path;
mod retry;
mod scratch;
mod upload;
mod wire;

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::{ObjectStoreExt, PutMode, PutOptions, PutPayload};

use backend::{Backend, Keeper};
pub use cache::{Cache, CachedFile};
pub use download::Expected;
pub use downloads::Downloads;
pub use environment::Environment;
pub use error::Error;
pub use options::{Options, Retry, Transfer};
use retry::with_retries;
pub use scratch::Scratch;

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
    backend: Backend,
    transfer: Transfer,
    first_pause: Duration,
    read_only: bool,
    cache: Option<Cache>,
}

impl Store {
    /// Opens a place to read and write: `file:///absolute/folder` (made if it is missing), `s3://bucket/path`,
    /// `gs://bucket/path`, `az://container/path`, `abfs[s]://container@account.dfs.core.windows.net/path`,
    /// `http[s]://host/path` (read only all the same), or `memory://` (empty, gone with the last clone). Nothing is
    /// sent over a network yet.
    ///
    /// # Errors
    /// [`Error::Uri`] for a URI or settings that cannot be used, [`Error::Io`] if a folder cannot be made.
    pub fn open(uri: &str) -> Result<Self, Error> {
        Self::open_with(uri, &Options::default())
    }

    /// The same with options of one's own.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_with(uri: &str, options: &Options) -> Result<Self, Error> {
        Self::new(uri, options, false)
    }

    /// Opens a place to read: nothing is written, and no folder is made.
    ///
    /// # Errors
    /// As [`Store::open`]; [`Error::NotFound`] for a folder that is not there.
    pub fn open_read_only(uri: &str, options: &Options) -> Result<Self, Error> {
        Self::new(uri, options, true)
    }

    /// Opens what holds one object to read, and says the object's name in it; a URI that ends with `/`, or names a
    /// bucket alone, has no name.
    ///
    /// # Errors
    /// As [`Store::open_read_only`].
    pub fn open_object(uri: &str, options: &Options) -> Result<(Self, String), Error> {
        let (holder, name) = backend::split_object(uri)?;
        Ok((Self::open_read_only(&holder, options)?, name))
    }

    fn new(uri: &str, options: &Options, read_only: bool) -> Result<Self, Error> {
        let backend = backend::open(uri, options, read_only)?;
        let read_only = read_only || backend.keeper == Keeper::Web;
        let transfer = options.transfer;
        Ok(Self { backend, transfer, first_pause: options.retry.first_pause, read_only, cache: None })
    }

    /// The same place, with what [`Store::get_verified`] reads kept in a cache.
    #[must_use]
    pub fn with_cache(self, cache: Cache) -> Self {
        Self { cache: Some(cache), ..self }
    }

    /// Whether objects come over a network.
    pub fn is_remote(&self) -> bool {
        !matches!(self.backend.keeper, Keeper::Folder | Keeper::Memory)
    }

    /// The URI of the root, without a slash at the end; symbolic links of a folder are resolved.
    pub fn uri(&self) -> &str {
        &self.backend.uri
    }

    /// The URI of an object or directory under the root. For messages and records; the path is not checked.
    pub fn url_of(&self, path: &str) -> String {
        const KEPT: &str = "-._~/!$&'()*+,;=:@";
        let mut url = self.backend.uri.clone();
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
    /// [`Error::Path`] if `path` leaves the root or is not plain, [`Error::ReadOnly`], [`Error::Denied`],
    /// [`Error::Unavailable`], [`Error::Refused`] or [`Error::Backend`] if it cannot be written.
    pub async fn put(&self, path: &str, bytes: Bytes) -> Result<(), Error> {
        self.check_writable("write", path)?;
        match &self.backend.multipart {
            Some(parts) if bytes.len() as u64 > self.transfer.whole_bytes => {
                self.put_in_parts(parts.as_ref(), path, &bytes).await
            }
            _ => self.put_whole(path, bytes, PutMode::Overwrite).await,
        }
    }

    /// Writes one object that must not be there, in one request.
    ///
    /// A request whose reply was lost is sent again and finds its own object then: one with these very bytes is
    /// taken to be it.
    async fn create(&self, path: &str, bytes: Bytes) -> Result<(), Error> {
        self.check_writable("write", path)?;
        match self.put_whole(path, bytes.clone(), PutMode::Create).await {
            Err(Error::AlreadyExists { url }) if self.is_remote() => {
                let found = self.get_limited(path, bytes.len() as u64).await;
                if found.is_ok_and(|found| found == bytes) {
                    Ok(())
                } else {
                    Err(Error::AlreadyExists { url })
                }
            }
            done => done,
        }
    }

    async fn put_whole(&self, path: &str, bytes: Bytes, mode: PutMode) -> Result<(), Error> {
        let location = path::object(path)?;
        with_retries(|| {
            let options = PutOptions::from(mode.clone());
            self.backend.objects.put_opts(&location, PutPayload::from_bytes(bytes.clone()), options)
        })
        .await
        .map(|_| ())
        .map_err(|error| self.failed("write", path, &error))
    }

    /// Reads one object of at most [`MAX_OBJECT_BYTES`].
    ///
    /// # Errors
    /// As [`Store::get_limited`].
    pub async fn get(&self, path: &str) -> Result<Bytes, Error> {
        self.get_limited(path, MAX_OBJECT_BYTES).await
    }

    /// Whether there is an object at `path`.
    ///
    /// # Errors
    /// [`Error::Path`], [`Error::Denied`], [`Error::Unavailable`], [`Error::Refused`], [`Error::Backend`].
    pub async fn exists(&self, path: &str) -> Result<bool, Error> {
        let location = path::object(path)?;
        match with_retries(|| self.backend.objects.head(&location)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(self.failed("look for", path, &error)),
        }
    }

    /// All objects under `prefix` (a directory; empty for the root), at any depth, sorted by path. A prefix
    /// that is not there has none.
    ///
    /// # Errors
    /// As [`Store::exists`], and [`Error::TooMany`] above [`MAX_LISTED_OBJECTS`].
    pub async fn list(&self, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
        let location = path::directory(prefix)?;
        self.check_listable(prefix)?;
        let mut found = self.backend.objects.list(Some(&location));
        let mut objects = Vec::new();
        while let Some(meta) = found.try_next().await.map_err(|error| self.failed("list", prefix, &error))? {
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
    /// As [`Store::exists`].
    pub async fn list_directories(&self, prefix: &str) -> Result<Vec<String>, Error> {
        let location = path::directory(prefix)?;
        self.check_listable(prefix)?;
        let listing = with_retries(|| self.backend.objects.list_with_delimiter(Some(&location)))
            .await
            .map_err(|error| self.failed("list", prefix, &error))?;
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
    /// [`Error::Path`] (the root itself is refused), [`Error::Io`], [`Error::ReadOnly`], and as [`Store::exists`].
    pub async fn delete_prefix(&self, prefix: &str) -> Result<(), Error> {
        let location = path::object(prefix)?;
        self.check_writable("delete", prefix)?;
        if let Some(root) = &self.backend.local_root {
            let folder = root.join(location.as_ref());
            return match tokio::fs::remove_dir_all(&folder).await {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    Err(Error::Io { action: "delete", url: self.url_of(prefix), source: error })
                }
                _ => Ok(()),
            };
        }
        let paths: Vec<String> = self.list(prefix).await?.into_iter().map(|object| object.path).collect();
        self.abandon_uploads(&paths).await?;
        let locations: Vec<_> = paths.iter().map(|path| path::object(path)).collect::<Result<_, _>>()?;
        let mut deleted = self.backend.objects.delete_stream(stream::iter(locations).map(Ok).boxed());
        while let Some(done) = deleted.next().await {
            match done {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(self.failed("delete", prefix, &error)),
            }
        }
        Ok(())
    }

    fn check_writable(&self, action: &'static str, path: &str) -> Result<(), Error> {
        if !self.read_only {
            return Ok(());
        }
        let advice = match self.backend.keeper {
            Keeper::Web => "write to a bucket or a folder",
            _ => "open it to write",
        };
        Err(Error::ReadOnly { action, url: self.url_of(path), advice })
    }

    fn check_listable(&self, prefix: &str) -> Result<(), Error> {
        if self.backend.keeper != Keeper::Web {
            return Ok(());
        }
        let reason = "a web server does not say what it has; name each object".to_owned();
        Err(Error::Refused { action: "list", url: self.url_of(prefix), reason })
    }

    fn failed(&self, action: &'static str, path: &str, error: &object_store::Error) -> Error {
        let Backend { keeper, secrets, .. } = &self.backend;
        failure::Attempt { action, url: self.url_of(path), keeper: *keeper, secrets }.failed(error)
    }
}
