//! Reading and writing the files of a bundle: names, sizes and digests are checked before anything is believed.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::path::Path;

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::{Bundle, FileEntry, MANIFEST, MAX_BUNDLE_BYTES, MAX_FILES, MAX_MANIFEST_BYTES, Manifest};
use crate::Error;

/// A bundle while its files come in.
pub(super) struct Verified {
    bundle: Bundle,
}

impl Verified {
    /// Reads and checks the manifest; no file is touched before this succeeds.
    pub(super) fn begin(manifest_bytes: Bytes) -> Result<Self, Error> {
        let manifest = Manifest::from_json(&manifest_bytes)?;
        check_entries(&manifest)?;
        let digest = sha256_hex(&manifest_bytes);
        Ok(Self { bundle: Bundle { manifest, digest, manifest_bytes, files: BTreeMap::new() } })
    }

    pub(super) fn entries(&self) -> BTreeMap<String, FileEntry> {
        self.bundle.manifest.files.clone()
    }

    pub(super) fn add(&mut self, name: String, bytes: Bytes) -> Result<(), Error> {
        let Some(entry) = self.bundle.manifest.files.get(&name) else {
            return Err(Error::FileName { name });
        };
        let size = bytes.len() as u64;
        if size != entry.size {
            return Err(Error::Size { file: name, expected: entry.size, found: size });
        }
        let found = sha256_hex(&bytes);
        if found != entry.sha256 {
            return Err(Error::Digest { file: name, expected: entry.sha256.clone(), found });
        }
        self.bundle.files.insert(name, bytes);
        Ok(())
    }

    pub(super) fn finish(self) -> Bundle {
        self.bundle
    }
}

/// Checks names, count and total size of the files a manifest names.
pub(super) fn check_entries(manifest: &Manifest) -> Result<(), Error> {
    let files = &manifest.files;
    if files.len() > MAX_FILES {
        let reason = format!("it names {} files, more than the limit of {MAX_FILES}", files.len());
        return Err(Error::Manifest { reason });
    }
    if let Some(name) = files.keys().find(|name| !is_plain(name)) {
        return Err(Error::FileName { name: name.chars().take(200).collect() });
    }
    let total = files.values().fold(0u64, |sum, entry| sum.saturating_add(entry.size));
    limit("the bundle", total, MAX_BUNDLE_BYTES)
}

/// Entries for files about to be written.
pub(super) fn entries(files: &[(String, Vec<u8>)]) -> Result<BTreeMap<String, FileEntry>, Error> {
    let mut entries = BTreeMap::new();
    for (name, bytes) in files {
        let entry = FileEntry { sha256: sha256_hex(bytes), size: bytes.len() as u64 };
        if entries.insert(name.clone(), entry).is_some() {
            return Err(Error::FileName { name: name.clone() });
        }
    }
    Ok(entries)
}

pub(super) fn limit(what: &str, size: u64, limit: u64) -> Result<(), Error> {
    if size > limit {
        return Err(Error::TooLarge { what: what.to_owned(), size, limit });
    }
    Ok(())
}

/// Reads `bundle.json`, of at most its limit.
pub(super) fn read_manifest_file(directory: &Path) -> Result<Bytes, Error> {
    let file = open(directory, MANIFEST)?;
    let bytes = read_at_most(file, MAX_MANIFEST_BYTES + 1, &directory.join(MANIFEST))?;
    limit(MANIFEST, bytes.len() as u64, MAX_MANIFEST_BYTES)?;
    Ok(bytes)
}

/// Reads a file whose size the manifest knows.
pub(super) fn read_file(directory: &Path, name: &str, entry: &FileEntry) -> Result<Bytes, Error> {
    let path = directory.join(name);
    let file = open(directory, name)?;
    let io = |source| Error::Io { action: "read", path: path.clone(), source };
    let found = file.metadata().map_err(io)?.len();
    if found != entry.size {
        return Err(Error::Size { file: name.to_owned(), expected: entry.size, found });
    }
    read_at_most(file, entry.size + 1, &path)
}

/// Opens a regular file inside the directory: a link that leaves it, a pipe or a device is refused unopened.
fn open(directory: &Path, name: &str) -> Result<File, Error> {
    let path = directory.join(name);
    let fail = |source: std::io::Error| match source.kind() {
        ErrorKind::NotFound => {
            Error::Missing { place: directory.display().to_string(), file: name.to_owned() }
        }
        _ => Error::Io { action: "open", path: path.clone(), source },
    };
    let inside = path.canonicalize().map_err(fail)?.starts_with(directory.canonicalize().map_err(fail)?);
    if !inside || !path.metadata().map_err(fail)?.is_file() {
        return Err(Error::FileName { name: name.to_owned() });
    }
    File::open(&path).map_err(fail)
}

fn read_at_most(file: File, most: u64, path: &Path) -> Result<Bytes, Error> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(|source| Error::Io {
        action: "read",
        path: path.to_owned(),
        source,
    })?;
    Ok(Bytes::from(bytes))
}

/// Takes the old manifest away, writes the files, then puts the new manifest in place in one step.
pub(super) fn write_files(
    directory: &Path,
    files: &[(String, Vec<u8>)],
    manifest: &[u8],
) -> Result<(), Error> {
    let target = directory.join(MANIFEST);
    make_directory(directory)?;
    match std::fs::remove_file(&target) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            return Err(Error::Io { action: "replace", path: target, source });
        }
        _ => {}
    }
    for (name, bytes) in files {
        let path = directory.join(name);
        make_directory(path.parent().unwrap_or(directory))?;
        write(&path, bytes)?;
    }
    let partial = directory.join("bundle.json.partial");
    write(&partial, manifest)?;
    std::fs::rename(&partial, &target).map_err(|source| Error::Io { action: "write", path: target, source })
}

fn make_directory(path: &Path) -> Result<(), Error> {
    std::fs::create_dir_all(path).map_err(|source| Error::Io {
        action: "make the folder",
        path: path.to_owned(),
        source,
    })
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let result = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()
    });
    result.map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
}

/// A plain relative path with `/`, none of whose parts is hidden, special or the manifest.
fn is_plain(name: &str) -> bool {
    let plain = |part: &str| {
        !part.is_empty()
            && part.len() <= 255
            && !part.starts_with('.')
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-'))
    };
    name.len() <= 500 && name.split('/').all(plain) && !name.starts_with(MANIFEST)
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
