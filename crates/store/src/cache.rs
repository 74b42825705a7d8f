//! Objects kept on this machine by what they are: a folder of files named by their SHA-256, up to a size.
//!
//! A file appears in one step and is checked whenever it is read, so a crash or a bad disk costs a fetch and never
//! an answer. The least recently used go first; one that is in use stays. The time of a file is when it was last
//! used, so that this is known after a restart. One process at a time uses a folder.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::SystemTime;

use bytes::Bytes;

use crate::download::{damaged, sha256_hex};
use crate::{Error, Expected};

/// Where files of this layout lie; another layout is another folder.
const LAYOUT: &str = "v1";
const UNFINISHED: &str = "unfinished";

/// Objects kept on this machine. Clones share the same folder.
#[derive(Debug, Clone)]
pub struct Cache {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    folder: PathBuf,
    limit_bytes: u64,
    unfinished: AtomicU64,
    /// Whoever holds one of these has the object in use, or waits for it.
    in_use: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
    /// One at a time looks what must go.
    evicting: tokio::sync::Mutex<()>,
}

/// An object in the cache, which stays there as long as this lives.
#[derive(Debug)]
pub struct CachedFile {
    path: PathBuf,
    bytes: Bytes,
    _in_use: Arc<tokio::sync::Mutex<()>>,
}

impl Cache {
    /// Opens a folder, made if it is missing, and removes what a killed process left half done.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(folder: &Path, limit_bytes: u64) -> Result<Self, Error> {
        let folder = folder.join(LAYOUT);
        let unfinished = folder.join(UNFINISHED);
        match std::fs::remove_dir_all(&unfinished) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(io("clear", &unfinished)(error));
            }
            _ => {}
        }
        std::fs::create_dir_all(&unfinished).map_err(io("make the folder", &unfinished))?;
        let shared = Shared {
            folder,
            limit_bytes,
            unfinished: AtomicU64::new(0),
            in_use: Mutex::default(),
            evicting: tokio::sync::Mutex::default(),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// The object, from here if it is here and whole, else by `fetch`, which writes it to the file it is given.
    /// Callers that want the same object at once wait for one of them to fetch it.
    ///
    /// # Errors
    /// What `fetch` fails with; [`Error::Damaged`] if it wrote something else, [`Error::Path`] for what is no
    /// SHA-256, [`Error::Io`].
    pub async fn get_or_fetch<F>(
        &self,
        expected: &Expected,
        fetch: impl FnOnce(PathBuf) -> F,
    ) -> Result<CachedFile, Error>
    where
        F: Future<Output = Result<(), Error>>,
    {
        let key = &expected.sha256;
        if key.len() != 64 || !key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            let path = key.chars().take(80).collect();
            return Err(Error::Path { path, reason: "it is no SHA-256 in lower-case hexadecimal" });
        }
        let in_use = self.shared.hold(key);
        let path = self.shared.folder.join(&key[..2]).join(key);
        let fetching = in_use.lock().await;
        if let Some(bytes) = self.shared.find(&path, expected).await? {
            drop(fetching);
            return Ok(CachedFile { path, bytes, _in_use: in_use });
        }
        let number = self.shared.unfinished.fetch_add(1, Ordering::Relaxed);
        let unfinished = self.shared.folder.join(UNFINISHED).join(number.to_string());
        let fetched = async {
            fetch(unfinished.clone()).await?;
            self.shared.place(&unfinished, &path, expected).await
        };
        let fetched = fetched.await;
        drop(fetching);
        if fetched.is_err() {
            // What stays is removed at the next start.
            let _ = tokio::fs::remove_file(&unfinished).await;
        }
        let bytes = fetched?;
        self.shared.evict().await?;
        Ok(CachedFile { path, bytes, _in_use: in_use })
    }

    /// Bytes of all files together.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn size_bytes(&self) -> Result<u64, Error> {
        Ok(self.shared.files().await?.iter().map(|file| file.bytes).sum())
    }
}

impl CachedFile {
    /// Where it lies. It may be read, not changed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its bytes, as they were checked.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// A file of the cache, for eviction.
struct Kept {
    used: SystemTime,
    path: PathBuf,
    bytes: u64,
}

impl Shared {
    fn hold(&self, key: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
        in_use.retain(|_, held| held.strong_count() > 0);
        if let Some(held) = in_use.get(key).and_then(Weak::upgrade) {
            return held;
        }
        let held = Arc::default();
        in_use.insert(key.to_owned(), Arc::downgrade(&held));
        held
    }

    /// What is here, if it is whole; a file that is not is removed.
    async fn find(&self, path: &Path, expected: &Expected) -> Result<Option<Bytes>, Error> {
        let bytes = match tokio::fs::read(path).await {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(io("read", path)(error)),
        };
        if digest_of(bytes.clone()).await != *expected {
            tracing::warn!(path = %path.display(), "a cached object is damaged, fetching it again");
            tokio::fs::remove_file(path).await.map_err(io("delete", path))?;
            return Ok(None);
        }
        let touched = std::fs::File::options().write(true).open(path);
        if let Err(error) = touched.and_then(|file| file.set_modified(SystemTime::now())) {
            tracing::warn!(path = %path.display(), %error, "cannot note that a cached object was used");
        }
        Ok(Some(bytes))
    }

    async fn place(&self, unfinished: &Path, path: &Path, expected: &Expected) -> Result<Bytes, Error> {
        let bytes = Bytes::from(tokio::fs::read(unfinished).await.map_err(io("read", unfinished))?);
        let found = digest_of(bytes.clone()).await;
        if found != *expected {
            return Err(damaged(unfinished.display().to_string(), expected, found));
        }
        let folder = path.parent().unwrap_or(&self.folder);
        tokio::fs::create_dir_all(folder).await.map_err(io("make the folder", folder))?;
        tokio::fs::rename(unfinished, path).await.map_err(io("write", path))?;
        Ok(bytes)
    }

    /// Deletes the least recently used until the limit is kept, but nothing that is in use.
    async fn evict(&self) -> Result<(), Error> {
        let _evicting = self.evicting.lock().await;
        let mut files = self.files().await?;
        let mut total: u64 = files.iter().map(|file| file.bytes).sum();
        files.sort_by(|a, b| (a.used, &a.path).cmp(&(b.used, &b.path)));
        for file in files {
            if total <= self.limit_bytes {
                break;
            }
            let key = file.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // Held while it goes: whoever wants it now waits here, then fetches it.
            let mut in_use = self.in_use.lock().unwrap_or_else(PoisonError::into_inner);
            in_use.retain(|_, held| held.strong_count() > 0);
            if in_use.contains_key(&key) {
                continue;
            }
            match std::fs::remove_file(&file.path) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io("delete", &file.path)(error));
                }
                _ => total = total.saturating_sub(file.bytes),
            }
        }
        Ok(())
    }

    async fn files(&self) -> Result<Vec<Kept>, Error> {
        let folder = self.folder.clone();
        let listed = tokio::task::spawn_blocking(move || list_files(&folder));
        listed.await.map_err(|error| io("list", &self.folder)(std::io::Error::other(error)))?
    }
}

fn list_files(folder: &Path) -> Result<Vec<Kept>, Error> {
    let mut files = Vec::new();
    for inner in std::fs::read_dir(folder).map_err(io("list", folder))? {
        let inner = inner.map_err(io("list", folder))?;
        if inner.file_name() == UNFINISHED || !inner.path().is_dir() {
            continue;
        }
        for file in std::fs::read_dir(inner.path()).map_err(io("list", folder))? {
            let file = file.map_err(io("list", folder))?;
            let meta = file.metadata().map_err(io("list", folder))?;
            let used = meta.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            files.push(Kept { used, path: file.path(), bytes: meta.len() });
        }
    }
    Ok(files)
}

async fn digest_of(bytes: Bytes) -> Expected {
    let size = bytes.len() as u64;
    let sha256 = tokio::task::spawn_blocking(move || sha256_hex(&bytes)).await;
    // No digest is equal to an empty one.
    Expected { sha256: sha256.unwrap_or_default(), bytes: size }
}

fn io(action: &'static str, path: &Path) -> impl Fn(std::io::Error) -> Error + use<> {
    let url = path.display().to_string();
    move |source| Error::Io { action, url: url.clone(), source }
}
