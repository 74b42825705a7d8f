//! The version whose weights a job starts from: chosen when the job is queued, put into the job's directory before it
//! starts, because a job does not see the registry.

use std::fmt;
use std::path::Path;

use artifact::bundle::Bundle;
use serde::{Deserialize, Serialize};

use super::Files;
use crate::export::{self, ModelFormat};
use crate::files::unwritable;
use crate::{Error, Kind, Platform, Result};

/// A version of a model in the project of the job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct StartVersion {
    /// The model.
    pub(crate) model: String,
    /// The version, whatever its aliases become.
    pub(crate) version: u32,
    /// The SHA-256 of its bundle's manifest, in hexadecimal.
    pub(crate) digest: String,
}

impl fmt::Display for StartVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.model, self.version)
    }
}

impl Platform {
    /// The version a client names. A folder is never looked at: it would be one of this machine.
    ///
    /// # Errors
    /// [`Kind::NotFound`] naming what there is.
    pub(super) async fn start_version(&self, project: &str, reference: &str) -> Result<StartVersion> {
        let found = self.get_model(project, reference).await.map_err(|error| error.context("from"))?;
        Ok(StartVersion { model: found.model, version: found.version, digest: found.bundle_digest })
    }

    /// Opens the bundle of a version that was chosen.
    pub(super) async fn open_start(&self, project: &str, start: &StartVersion) -> Result<Bundle> {
        let found = self.get_model(project, &start.to_string()).await?;
        if found.bundle_digest != start.digest {
            let message =
                format!("{start} is another version than when the job was queued; queue a new job from it");
            return Err(Error::new(Kind::FailedPrecondition, message));
        }
        self.open_version(&found).await
    }

    /// Puts the bundle of a version into a job's directory, unless an earlier attempt did, and opens it.
    pub(super) async fn place_start(
        &self,
        project: &str,
        start: &StartVersion,
        files: &Files,
    ) -> Result<Bundle> {
        let directory = files.start();
        if let Some(bundle) = placed(&directory, start).await? {
            return Ok(bundle);
        }
        let bundle = self.open_start(project, start).await?;
        let placed = tokio::task::spawn_blocking(move || {
            // What an attempt left that was cut off.
            if directory.exists() {
                std::fs::remove_dir_all(&directory).map_err(|error| unwritable(&directory, &error))?;
            }
            export::write(&bundle, ModelFormat::Bundle, &directory)?;
            Ok(bundle)
        });
        placed.await.map_err(|error| Error::internal("copying a bundle stopped unexpectedly", error))?
    }
}

/// Whether a job has a copy of the version it starts from.
pub(super) async fn is_placed(files: &Files, start: &StartVersion) -> Result<bool> {
    Ok(placed(&files.start(), start).await?.is_some())
}

/// The bundle of a version, if a directory holds the whole of it.
async fn placed(directory: &Path, start: &StartVersion) -> Result<Option<Bundle>> {
    let (directory, digest) = (directory.to_owned(), start.digest.clone());
    let looked = tokio::task::spawn_blocking(move || {
        Bundle::open(&directory).ok().filter(|bundle| bundle.digest == digest)
    });
    looked.await.map_err(|error| Error::internal("reading a bundle stopped unexpectedly", error))
}
