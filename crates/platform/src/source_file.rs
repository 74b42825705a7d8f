//! Where data files come from: paths, folders of files, objects in a store.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use market::SourceFile;
use store::{Downloads, Options, Store};

use crate::{Error, Kind, Platform, Result};

/// More files in one folder are refused.
const FILES_MAX: usize = 100_000;
/// A larger object of a store is refused unread: 64 GiB, as much text as is read of any file.
const OBJECT_BYTES_MAX: u64 = 64 << 30;

/// What was fetched from stores, as files on disk, until no platform of this process is open any more.
///
/// It stands here because [`find_source_files`] comes before a platform and a [`SourceFile`] owns no file.
static FETCHED: Mutex<Fetched> = Mutex::new(Fetched { platforms: 0, downloads: Vec::new() });

struct Fetched {
    platforms: usize,
    downloads: Vec<Downloads>,
}

/// A platform was opened that may import what was fetched.
pub(crate) fn platform_opened() {
    FETCHED.lock().unwrap_or_else(PoisonError::into_inner).platforms += 1;
}

/// It was closed; with the last one what was fetched is deleted.
pub(crate) fn platform_closed() {
    let mut fetched = FETCHED.lock().unwrap_or_else(PoisonError::into_inner);
    fetched.platforms = fetched.platforms.saturating_sub(1);
    if fetched.platforms == 0 {
        fetched.downloads.clear();
    }
}

/// Finds the files that paths and URIs name: a file, a folder with one file a symbol, an object of a store, or all
/// objects under a URI that ends with `/`. Relative paths start at `base_dir`. Files on disk are read later; objects
/// are fetched to a temporary folder, which is deleted when the last platform of this process is closed.
///
/// # Errors
/// [`Kind::NotFound`] or [`Kind::InvalidArgument`] naming what cannot be read, [`Kind::ResourceExhausted`] for
/// what is too large.
pub async fn find_source_files(names: &[String], base_dir: &Path) -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for name in names {
        match name.split_once("://") {
            Some(("file", _)) => {
                let path = url::Url::parse(name).ok().and_then(|url| url.to_file_path().ok());
                let path = path.ok_or_else(|| {
                    let why = "write file:///absolute/path, with three slashes";
                    Error::new(Kind::InvalidArgument, format!("cannot read \"{name}\": {why}"))
                })?;
                on_disk(&path, &mut files)?;
            }
            Some(_) => in_store(name, &mut files).await?,
            None => on_disk(&base_dir.join(name), &mut files)?,
        }
    }
    Ok(files)
}

impl Platform {
    /// The same for a client of the server, who may only name `file://` URIs under the allowed roots.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`] for anything else, whether it is there or not; as [`find_source_files`].
    pub fn find_allowed_files(&self, uris: &[String]) -> Result<Vec<SourceFile>> {
        let mut files = Vec::new();
        for uri in uris {
            let path = self.allowed_path("uris", uri, "a file or folder", Path::exists)?;
            on_disk(&path, &mut files)?;
        }
        Ok(files)
    }
}

fn on_disk(path: &Path, files: &mut Vec<SourceFile>) -> Result<()> {
    let refused =
        |kind, why: &str| Error::new(kind, format!("cannot read data file {}: {why}", path.display()));
    let unreadable = |error: std::io::Error| match error.kind() {
        std::io::ErrorKind::NotFound => refused(Kind::NotFound, "no such file"),
        _ => refused(Kind::InvalidArgument, &error.to_string()),
    };
    if !std::fs::metadata(path).map_err(unreadable)?.is_dir() {
        std::fs::File::open(path).map_err(unreadable)?;
        files.push(SourceFile::on_disk(file_name(path), path));
        return Ok(());
    }
    let mut found: Vec<PathBuf> = Vec::new();
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let hidden = entry.file_name().to_string_lossy().starts_with(['.', '_']);
        if !hidden && entry.path().is_file() {
            found.push(entry.path());
        }
        if found.len() > FILES_MAX {
            return Err(refused(
                Kind::ResourceExhausted,
                &format!("the folder has more than {FILES_MAX} files"),
            ));
        }
    }
    if found.is_empty() {
        return Err(refused(
            Kind::InvalidArgument,
            "the folder has no file; name one with a file for each symbol",
        ));
    }
    found.sort();
    files.extend(found.iter().map(|path| SourceFile::on_disk(file_name(path), path)));
    Ok(())
}

fn file_name(path: &Path) -> String {
    path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned()
}

async fn in_store(uri: &str, files: &mut Vec<SourceFile>) -> Result<()> {
    let refused =
        |error: store::Error| Error::from(error).context(format!("cannot read data from \"{uri}\""));
    let (store, name) = Store::open_object(uri, &Options::default()).map_err(refused)?;
    let mut names = vec![name];
    if names[0].is_empty() {
        names = store.list("").await.map_err(refused)?.into_iter().map(|object| object.path).collect();
        names.retain(|name| !file_name(Path::new(name)).starts_with(['.', '_']));
        if names.is_empty() {
            let why = "there is no object under it; name an object, or a prefix of some that ends with /";
            return Err(Error::new(Kind::NotFound, format!("cannot read data from \"{uri}\": {why}")));
        }
    }
    let downloads = Downloads::new().map_err(refused)?;
    for name in names {
        let path = downloads.fetch(&store, &name, OBJECT_BYTES_MAX).await.map_err(refused)?;
        files.push(SourceFile::on_disk(name, path));
    }
    FETCHED.lock().unwrap_or_else(PoisonError::into_inner).downloads.push(downloads);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_folder_is_its_files_in_order_and_what_is_missing_is_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["B.csv", "A.csv.gz", ".hidden"] {
            std::fs::write(folder.path().join(name), "x").unwrap();
        }
        std::fs::create_dir(folder.path().join("inner")).unwrap();
        let uri = url::Url::from_file_path(folder.path()).unwrap().to_string();
        for name in [folder.path().display().to_string(), uri] {
            let files = find_source_files(&[name], Path::new("/")).await.unwrap();
            let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
            assert_eq!(names, ["A.csv.gz", "B.csv"]);
        }
        let refusal = |name: &str| {
            let names = [name.to_owned()];
            let base = folder.path().to_owned();
            async move { find_source_files(&names, &base).await.unwrap_err() }
        };
        let missing = refusal("C.csv").await;
        assert_eq!(missing.kind(), Kind::NotFound);
        assert!(missing.to_string().contains("C.csv: no such file"), "{missing}");
        assert!(refusal("inner").await.to_string().contains("the folder has no file"));
        assert!(refusal("ftp://host/p.csv").await.to_string().contains("ftp://"));
        assert!(refusal("file://p.csv").await.to_string().contains("three slashes"));
    }
}
