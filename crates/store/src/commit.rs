//! Directories that appear all at once: every file first, the manifest last.
//!
//! A directory counts as there when its manifest is. A writer that dies half-way leaves files without a
//! manifest; the next commit to the same place clears them.

use std::collections::BTreeSet;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};

use crate::{Error, Store};

impl Store {
    /// Writes `files` under `prefix`, then `manifest` (name and bytes; all names relative to `prefix`), which is
    /// created and never replaced: of two writers one is told that the directory exists already.
    ///
    /// One writer at a time may commit a given prefix, as each begins by clearing it; many may read.
    ///
    /// # Errors
    /// [`Error::AlreadyExists`] if the manifest is there already, [`Error::Path`] for a name that is not plain
    /// or occurs twice, and what the service answers if a write fails: nothing is visible then.
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
        let put = |(name, bytes): (String, Bytes)| {
            let path = format!("{prefix}/{name}");
            async move { self.put(&path, bytes).await }
        };
        let at_once = if self.is_remote() { self.transfer.parallel.max(1) } else { 1 };
        stream::iter(files.into_iter().map(put)).buffered(at_once).try_collect::<()>().await?;
        self.create(&manifest_path, manifest_bytes).await
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
