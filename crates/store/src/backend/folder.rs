//! `file:///absolute/folder`.

use std::sync::Arc;

use object_store::local::LocalFileSystem;
use url::Url;

use super::{Backend, Keeper, refuse, shown};
use crate::Error;
use crate::environment::Secrets;

/// Opens a folder, and makes it if it is missing and may be written to.
pub(super) fn open(url: &Url, read_only: bool) -> Result<Backend, Error> {
    let refused = |reason: &str| refuse(&shown(url), reason);
    if url.query().is_some() || url.fragment().is_some() {
        return Err(refused("a file URI has no query or fragment; write ? as %3F and # as %23"));
    }
    let root =
        url.to_file_path().map_err(|()| refused("write file:///absolute/folder, with three slashes"))?;
    if !read_only {
        let io = |source| Error::Io { action: "make the folder", url: url.to_string(), source };
        std::fs::create_dir_all(&root).map_err(io)?;
    }
    let root = root.canonicalize().map_err(|source| match source.kind() {
        std::io::ErrorKind::NotFound => Error::NotFound { url: url.to_string() },
        _ => Error::Io { action: "open", url: url.to_string(), source },
    })?;
    let objects = LocalFileSystem::new_with_prefix(&root)
        .map_err(|error| refused(&error.to_string()))?
        .with_fsync(true);
    let uri = Url::from_file_path(&root).map_err(|()| refused("not an absolute folder"))?;
    Ok(Backend {
        uri: uri.as_str().trim_end_matches('/').to_owned(),
        keeper: Keeper::Folder,
        objects: Arc::new(objects),
        multipart: None,
        local_root: Some(root),
        secrets: Secrets::default(),
    })
}
