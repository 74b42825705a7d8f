//! Directories that appear all at once: every file first, the manifest last.
//!
//! A directory counts as there when its manifest is. A writer that dies half-way leaves files without a
//! manifest; the next commit to the same place clears them.

use std::collections::BTreeSet;

use bytes::Bytes;
use object_store::PutMode;

use crate::{Error, Store};

impl Store {
    /// Writes `files` under `prefix`, then `manifest` (name and bytes; all names relative to `prefix`).
    ///
    /// One writer at a time may commit a given prefix; many may read.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the manifest is there already, [`Error::Path`] for a name that is not plain
    /// or occurs twice, [`Error::Backend`] if a write fails: nothing is visible then.
    pub async fn commit_directory(
        &self,
        prefix: &str,
        files: Vec<(String, Bytes)>,
        manifest: (String, Bytes),
    ) -> Result<(), Error> {
        let (manifest_name, manifest_bytes) = manifest;
        let names = files.iter().map(|(name, _)| name.as_str()).chain([manifest_name.as_str()]);
        check_names(prefix, names)?;
        let manifest_path = format!("{prefix}/{manifest_name}");
        if self.exists(&manifest_path).await? {
            return Err(Error::AlreadyExists { url: self.url_of(&manifest_path) });
        }
        self.delete_prefix(prefix).await?;
        for (name, bytes) in files {
            self.put(&format!("{prefix}/{name}"), bytes).await?;
        }
        self.put_with(&manifest_path, manifest_bytes, PutMode::Create).await
    }
}

fn check_names<'a>(prefix: &str, names: impl Iterator<Item = &'a str>) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for name in names {
        let path = format!("{prefix}/{name}");
        crate::path::object(&path)?;
        if !seen.insert(name) {
            return Err(Error::Path { path, reason: "it occurs twice in one commit" });
        }
    }
    Ok(())
}
