//! A data directory as a second process may see it: the snapshots of data sets, which never change, and nothing
//! else. Whoever holds the directory goes on.

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use crate::{Error, Kind, Options, Platform, Result, file_uri, in_service, jobs};

/// A data set, and the snapshot of it that counts as its newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedSnapshot {
    /// The data set.
    pub dataset: String,
    /// The snapshot's number.
    pub snapshot: u32,
}

impl Platform {
    /// Opens a data directory to read its data sets, whether or not another process holds it. Nothing is imported:
    /// a pipeline trains on what is there. Models, endpoints and jobs are not seen.
    ///
    /// # Errors
    /// [`Kind::NotFound`] if there is no such directory, [`Kind::InvalidArgument`] for an artifact root that
    /// cannot be opened.
    pub async fn open_read_only(options: Options, pinned: Option<PinnedSnapshot>) -> Result<Arc<Self>> {
        let data_dir = options.data_dir.canonicalize().map_err(|error| {
            let shown = options.data_dir.display();
            let message =
                format!("cannot read the data directory {shown}: {error}; name another with --data-dir");
            Error::new(Kind::NotFound, message)
        })?;
        let datasets = store::Store::open(&file_uri(&data_dir)?)?;
        let artifacts = match &options.artifact_root {
            Some(uri) => store::Store::open(uri)?,
            None => datasets.clone(),
        };
        let staging = crate::staging::Staging::at(&data_dir);
        let newest = pinned.map(|pinned| (pinned.dataset, pinned.snapshot));
        let registry = Box::new(registry::SqliteStore::in_memory().await?);
        Ok(Arc::new_cyclic(|this| Self {
            this: this.clone(),
            lock: None,
            data_dir,
            clock: options.clock,
            artifacts,
            datasets,
            allowed_roots: Vec::new(),
            registry,
            serving: in_service::InService::default(),
            keys: crate::keys::Keys::default(),
            jobs: jobs::Queue::default(),
            changes: tokio::sync::Mutex::new(()),
            imports: tokio::sync::Mutex::new(()),
            panels: tokio::sync::Mutex::new(Vec::new()),
            newest: RwLock::new(newest.into_iter().collect::<HashMap<_, _>>()),
            ids: std::sync::atomic::AtomicU64::new(0),
            staging,
            loads: crate::loads::Loads::default(),
        }))
    }

    /// Whether this process may write to the data directory.
    pub(crate) fn is_read_only(&self) -> bool {
        self.lock.is_none()
    }

    /// Refuses what would write to a data directory that is only read.
    pub(crate) fn check_writable(&self, doing: &str) -> Result<()> {
        if !self.is_read_only() {
            return Ok(());
        }
        let shown = self.data_dir.display();
        let message = format!("cannot {doing}: {shown} is open to read only; leave --read-only out");
        Err(Error::new(Kind::FailedPrecondition, message))
    }
}
