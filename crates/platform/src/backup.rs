//! Backups of a data directory, taken while a server has it in use, and their way back.
//!
//! A backup is a list of files, `backups/NAME.json`, written last, and the files themselves under their SHA-256 (`objects/ab/abcd...`): what is
//! there already, and whole, is not copied again. The registry is copied first, in one state of it (`VACUUM INTO`); everything it speaks of was
//! whole by then, and is looked for at the end. Deliberately not here: schedules, and what is in another artifact store.

mod files;
mod restore;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use artifact::bundle::MANIFEST;
use bytes::Bytes;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::files::unwritable;
use crate::model::{file_path, version_prefix};
use crate::{Error, Kind, PAGE_SIZE_MAX, REGISTRY_FILE, Result, SCRATCH};

pub use restore::{Restore, RestoreReport, restore};

/// The version of [`Manifest`].
const VERSION: u32 = 1;
/// Where the lists of files are.
const BACKUPS: &str = "backups";
/// Tries to catch a state of which nothing is deleted meanwhile.
const TRIES: u32 = 3;
/// The folder of artifacts, unless they are elsewhere.
const ARTIFACTS: &str = "artifacts";

/// A data directory to back up.
#[derive(Debug, Clone)]
pub struct BackUp {
    /// The data directory; whoever holds it goes on.
    pub data_dir: PathBuf,
    /// The URI of the place that backups are kept in.
    pub place: String,
    /// The artifact store, if it is not in the data directory.
    pub artifact_root: Option<String>,
    /// The time.
    pub now: Timestamp,
}

/// What a backup came to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupReport {
    /// Its name.
    pub name: String,
    /// The URI of the place it is kept in.
    pub place: String,
    /// Files in it.
    pub files: usize,
    /// Their bytes.
    pub bytes: u64,
    /// Files that had to be copied.
    pub copied: usize,
    /// Their bytes.
    pub copied_bytes: u64,
    /// Those of them that were there and damaged: earlier backups that have them are whole again.
    pub mended: usize,
    /// What is not in it, and why.
    pub left_out: Vec<String>,
}

/// The list of a backup's files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    version: u32,
    name: String,
    created_at: Timestamp,
    /// Where artifacts were: their URIs in the registry begin so.
    artifacts: String,
    left_out: Vec<String>,
    /// By path in the data directory, with `/`.
    files: BTreeMap<String, Entry>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    sha256: String,
    bytes: u64,
}

/// Backs a data directory up, whether or not a server has it in use.
///
/// # Errors
/// [`Kind::NotFound`] if there is none; [`Kind::InvalidArgument`] for a place inside it; [`Kind::Unavailable`] if what is backed up is
/// deleted again and again meanwhile; [`Kind::FailedPrecondition`] for a file of which something is missing.
pub async fn back_up(request: &BackUp) -> Result<BackupReport> {
    let data_dir = request.data_dir.canonicalize().map_err(|error| {
        let message = format!(
            "cannot read the data directory {}: {error}; name another with --data-dir",
            request.data_dir.display()
        );
        Error::new(Kind::NotFound, message)
    })?;
    let store = store::Store::open(&request.place)?;
    if let Ok(place) = file_path(store.uri())
        && place.starts_with(&data_dir)
    {
        let message = "a backup inside the data directory would be lost with it; name another place";
        return Err(Error::invalid("--out", message));
    }
    let mut taking = Taking::new(request, data_dir, store)?;
    for tries in 1.. {
        match taking.once().await {
            Ok(manifest) => return taking.finish(manifest).await,
            // Something was deleted between the copy of the registry and its turn.
            Err(error) if error.kind() == Kind::Unavailable && tries < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    unreachable!("the last try returns")
}

/// A backup being taken.
struct Taking {
    data_dir: PathBuf,
    store: store::Store,
    now: Timestamp,
    /// The URI of artifacts, and whether they are in the data directory.
    artifacts: (String, bool),
    copied: usize,
    copied_bytes: u64,
    mended: usize,
    /// SHA-256 of what is known to be there.
    kept: BTreeSet<String>,
}

impl Taking {
    fn new(request: &BackUp, data_dir: PathBuf, store: store::Store) -> Result<Self> {
        let inside = data_dir.join(ARTIFACTS);
        let artifacts = match &request.artifact_root {
            None => (crate::file_uri(&inside)?, true),
            Some(uri) => {
                let folder = file_path(uri).ok().and_then(|path| path.canonicalize().ok());
                (uri.clone(), folder.is_some_and(|folder| folder == inside))
            }
        };
        let (copied, copied_bytes, mended, kept) = (0, 0, 0, BTreeSet::new());
        Ok(Self { data_dir, store, now: request.now, artifacts, copied, copied_bytes, mended, kept })
    }

    /// One try: everything but the list of files.
    async fn once(&mut self) -> Result<Manifest> {
        let scratch = self.data_dir.join(SCRATCH).join(format!("backup-{}", self.now.as_nanosecond()));
        let made = std::fs::create_dir_all(&scratch).map_err(|error| unwritable(&scratch, &error));
        let taken = match made {
            Ok(()) => self.with_registry(&scratch).await,
            Err(error) => Err(error),
        };
        let _ = std::fs::remove_dir_all(&scratch);
        taken
    }

    async fn with_registry(&mut self, scratch: &Path) -> Result<Manifest> {
        let copy = scratch.join(REGISTRY_FILE);
        let path = self.data_dir.join(REGISTRY_FILE);
        registry::SqliteStore::copy(&path, &copy).await?;
        let mut files = BTreeMap::new();
        let bytes = std::fs::read(&copy).map_err(|error| unreadable(&copy, &error))?;
        let entry = self.keep(Bytes::from(bytes)).await?;
        files.insert(REGISTRY_FILE.to_owned(), entry);
        let store = registry::SqliteStore::open(&copy).await?;
        let spoken_of = SpokenOf::read(&store).await;
        registry::Store::close(&store).await;
        let spoken_of = spoken_of?;
        let found = files::list(&self.data_dir, |path| spoken_of.is_running(path))?;
        for path in found {
            let full = self.data_dir.join(&path);
            match std::fs::read(&full) {
                Ok(bytes) => {
                    let entry = self.keep(Bytes::from(bytes)).await?;
                    files.insert(path, entry);
                }
                // It was deleted meanwhile; if it is missed, that is told below.
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => return Err(unreadable(&full, &error)),
            }
        }
        let mut left_out = spoken_of.running_text();
        if !self.artifacts.1 {
            left_out.push(format!("artifacts: they are in {}, which is not copied", self.artifacts.0));
        }
        spoken_of.check(&files, self.artifacts.1)?;
        Ok(Manifest {
            version: VERSION,
            name: self.now.strftime("%Y%m%dT%H%M%S%.6fZ").to_string(),
            created_at: self.now,
            artifacts: self.artifacts.0.clone(),
            left_out,
            files,
        })
    }

    /// Copies bytes that are not there yet. A name says nothing of what is under it: that is read.
    async fn keep(&mut self, bytes: Bytes) -> Result<Entry> {
        let entry = Entry { sha256: hex::encode(Sha256::digest(&bytes)), bytes: bytes.len() as u64 };
        if self.kept.contains(&entry.sha256) {
            return Ok(entry);
        }
        let path = object_path(&entry.sha256);
        let expected = store::Expected { sha256: entry.sha256.clone(), bytes: entry.bytes };
        let there = match self.store.get_verified(&path, &expected).await {
            Ok(_) => true,
            Err(store::Error::NotFound { .. }) => false,
            Err(store::Error::Damaged { .. } | store::Error::TooLarge { .. }) => {
                tracing::warn!(url = self.store.url_of(&path), "it was damaged, and is written again");
                self.mended += 1;
                false
            }
            Err(error) => return Err(error.into()),
        };
        if !there {
            self.store.put(&path, bytes).await?;
            self.copied += 1;
            self.copied_bytes += entry.bytes;
        }
        self.kept.insert(entry.sha256.clone());
        Ok(entry)
    }

    async fn finish(self, manifest: Manifest) -> Result<BackupReport> {
        let text = serde_json::to_vec_pretty(&manifest)
            .map_err(|error| Error::internal("cannot write the list of a backup", error))?;
        self.store.put(&format!("{BACKUPS}/{}.json", manifest.name), Bytes::from(text)).await?;
        Ok(BackupReport {
            place: self.store.uri().to_owned(),
            files: manifest.files.len(),
            bytes: manifest.files.values().map(|entry| entry.bytes).sum(),
            copied: self.copied,
            copied_bytes: self.copied_bytes,
            mended: self.mended,
            left_out: manifest.left_out,
            name: manifest.name,
        })
    }
}

/// What a registry speaks of.
#[derive(Debug, Default)]
struct SpokenOf {
    /// Manifests of bundles by path, with their SHA-256.
    bundles: Vec<(String, String)>,
    /// Folders of jobs that have not ended.
    running: Vec<String>,
}

impl SpokenOf {
    async fn read(store: &dyn registry::Store) -> Result<Self> {
        let mut all = Self::default();
        for project in store.list_projects().await? {
            let mut after: Option<String> = None;
            loop {
                let models = store.list_models(&project, after.as_deref(), PAGE_SIZE_MAX).await?;
                for model in &models {
                    for version in store.list_versions(&project, &model.model).await? {
                        let prefix = version_prefix(&project, &version.model, version.version);
                        all.bundles.push((format!("{ARTIFACTS}/{prefix}/{MANIFEST}"), version.bundle_digest));
                    }
                }
                match models.last() {
                    Some(last) if models.len() == PAGE_SIZE_MAX => after = Some(last.model.clone()),
                    _ => break,
                }
            }
        }
        for job in store.list_unfinished_jobs().await? {
            all.running.push(format!("jobs/{}/{}", job.project, job.id));
        }
        Ok(all)
    }

    fn is_running(&self, path: &str) -> bool {
        self.running.iter().any(|job| path == job)
    }

    fn running_text(&self) -> Vec<String> {
        self.running.iter().map(|job| format!("{job}: the job has not ended; it begins anew")).collect()
    }

    /// Whether every version is in the backup.
    fn check(&self, files: &BTreeMap<String, Entry>, with_artifacts: bool) -> Result<()> {
        if !with_artifacts {
            return Ok(());
        }
        for (path, digest) in &self.bundles {
            let missing = match files.get(path) {
                Some(entry) if entry.sha256 == *digest => continue,
                Some(_) => "is another one than was registered; upload that version again, or delete it",
                None => "is missing; if it is not being deleted now, delete that version of the model",
            };
            return Err(Error::new(Kind::Unavailable, format!("{path} {missing}")));
        }
        Ok(())
    }
}

/// Where a file lies, whatever it is called.
fn object_path(sha256: &str) -> String {
    format!("objects/{}/{sha256}", &sha256[..2.min(sha256.len())])
}

fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    Error::new(Kind::FailedPrecondition, format!("cannot read {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use predictor::Signature;
    use registry::{ModelTexts, NewVersion, SqliteStore, Store as _, UploadMode};

    use super::*;
    use crate::{Options, Platform, file_uri};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;
    const BUNDLE: &[u8] = b"{}";

    fn version(digest: String) -> NewVersion {
        NewVersion {
            about: ModelTexts::default(),
            description: String::new(),
            artifact_uri: String::new(),
            bundle_digest: digest,
            signature: Signature { inputs: Vec::new(), outputs: Vec::new() },
            summary: serde_json::Value::Null,
            aliases: Vec::new(),
            labels: BTreeMap::new(),
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn what_was_damaged_is_kept_again() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        std::fs::create_dir_all(data_dir.join("staging/b")).unwrap();
        let contents = [("one", "1"), ("two", "22"), ("same", "22"), ("three", "333"), ("four", "4444")];
        for (name, text) in contents {
            std::fs::write(data_dir.join("staging/b").join(name), text).unwrap();
        }
        registry::Store::close(&SqliteStore::open(&data_dir.join(REGISTRY_FILE)).await.unwrap()).await;
        let place = dir.path().join("kept");
        let take = async |seconds| {
            let now = Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(seconds);
            let place = file_uri(&place).unwrap();
            back_up(&BackUp { data_dir: data_dir.clone(), place, artifact_root: None, now }).await.unwrap()
        };
        let first = take(1).await;
        assert_eq!((first.files, first.copied, first.mended), (6, 5, 0));
        let object = |text: &str| place.join(object_path(&hex::encode(Sha256::digest(text))));
        // Other bytes, fewer, more, and none.
        std::fs::write(object("1"), "x").unwrap();
        std::fs::write(object("22"), "2").unwrap();
        std::fs::write(object("333"), "333 and more").unwrap();
        std::fs::remove_file(object("4444")).unwrap();
        let second = take(2).await;
        // The registry may be another file each time it is copied.
        assert!(second.copied - 4 <= 1 && second.mended == 3, "{second:?}");
        for (name, at) in [(Some(first.name), "first"), (None, "second")] {
            let restored = dir.path().join(at);
            let request = Restore { place: second.place.clone(), name, data_dir: restored.clone() };
            restore(&request).await.unwrap();
            for (name, text) in contents {
                assert_eq!(std::fs::read_to_string(restored.join("staging/b").join(name)).unwrap(), text);
            }
        }
        assert_eq!(take(3).await.mended, 0);
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn an_upload_under_way_is_no_version_of_what_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let file = |path: &str, bytes: &[u8]| {
            let path = data_dir.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        };
        std::fs::create_dir(&data_dir).unwrap();
        let store = SqliteStore::open(&data_dir.join(REGISTRY_FILE)).await.unwrap();
        let reserve = || store.reserve_version("default", "m", UploadMode::Either, NOW);
        let digest = hex::encode(Sha256::digest(BUNDLE));
        assert_eq!(reserve().await.unwrap(), 1);
        file("artifacts/default/m/1/bundle.json", BUNDLE);
        store.commit_version("default", "m", 1, version(digest.clone()), NOW).await.unwrap();
        // One of whose files some are there, and one that is whole and not registered yet.
        assert_eq!(reserve().await.unwrap(), 2);
        file("artifacts/default/m/2/model.onnx", b"half");
        assert_eq!(reserve().await.unwrap(), 3);
        file("artifacts/default/m/3/bundle.json", BUNDLE);

        let place = file_uri(&dir.path().join("kept")).unwrap();
        let request =
            BackUp { data_dir: data_dir.clone(), place: place.clone(), artifact_root: None, now: NOW };
        let report = back_up(&request).await.unwrap();
        assert_eq!((report.files, report.left_out.len()), (4, 0));
        let restored = dir.path().join("restored");
        restore(&Restore { place, name: None, data_dir: restored.clone() }).await.unwrap();
        let options = Options {
            data_dir: restored.clone(),
            artifact_root: None,
            artifact_cache_bytes: crate::ARTIFACT_CACHE_BYTES,
            allowed_roots: Vec::new(),
            holder: "test".to_owned(),
            clock: std::sync::Arc::new(|| NOW),
        };
        let platform = Platform::open(options).await.unwrap();
        let versions = platform.list_model_versions("default", "m").await.unwrap();
        assert_eq!(versions.iter().map(|version| version.version).collect::<Vec<_>>(), [1]);
        assert!(restored.join("artifacts/default/m/1").exists());
        for gone in ["artifacts/default/m/2/model.onnx", "artifacts/default/m/3/bundle.json"] {
            assert!(!restored.join(gone).exists(), "{gone}");
        }

        // A version that is registered and has lost its files is told, and there is no such backup.
        store.commit_version("default", "m", 2, version(digest), NOW).await.unwrap();
        let later = BackUp { now: Timestamp::UNIX_EPOCH + jiff::SignedDuration::from_secs(1), ..request };
        let refused = back_up(&later).await.unwrap_err();
        let said = "artifacts/default/m/2/bundle.json is missing; if it is not being deleted now, delete that version";
        assert!(refused.kind() == Kind::Unavailable && refused.to_string().starts_with(said), "{refused}");
        assert_eq!(std::fs::read_dir(dir.path().join("kept/backups")).unwrap().count(), 1);
    }
}
