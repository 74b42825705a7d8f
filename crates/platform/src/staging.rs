//! The staging area: objects in buckets that clients upload before they name them in an upload of a model.
//!
//! Google's tools send local files to a bucket first. Here a bucket is a folder `staging/BUCKET` of the data directory, an
//! object a file in it, and `gs://BUCKET/PREFIX` names them afterwards. An object appears whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Platform, Result};

/// The most bytes of all objects and unfinished uploads together: 16 GiB.
const STAGED_BYTES_MAX: u64 = 16 << 30;
/// The most bytes of one object: 2 GiB, as of a bundle.
const OBJECT_BYTES_MAX: u64 = 2 << 30;
/// The most objects a listing looks at.
const LISTED_MAX: usize = 100_000;
/// The most uploads that are begun and not finished.
const SESSIONS_MAX: usize = 1000;
const UPLOADS: &str = ".uploads";
const NAME_BYTES_MAX: usize = 1024;

/// The staging area of a data directory.
#[derive(Debug)]
pub struct Staging {
    root: PathBuf,
    /// One change at a time; it holds the bytes staged, once they were counted and as long as nothing was taken away.
    changing: Mutex<Option<u64>>,
}

/// An object that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StagedObject {
    /// Its bucket.
    pub bucket: String,
    /// Its name in the bucket.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// CRC-32C of its bytes (Castagnoli, RFC 3720), where it was just computed.
    pub crc32c: Option<u32>,
    /// When it was written.
    pub updated: Timestamp,
}

/// What an upload is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedUpload {
    /// The bucket.
    pub bucket: String,
    /// The name in the bucket.
    pub name: String,
    /// The CRC-32C its bytes must have.
    pub crc32c: Option<u32>,
}

/// How far an upload in parts is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Received {
    /// So many bytes are safe, more are to come.
    Part(u64),
    /// It is an object now.
    Whole(StagedObject),
}

impl Staging {
    /// The staging area under a data directory, which need not be there.
    pub(crate) fn at(data_dir: &Path) -> Self {
        Self { root: data_dir.join("staging"), changing: Mutex::new(None) }
    }

    /// The same; what was begun before is forgotten.
    pub(crate) fn open(data_dir: &Path) -> Result<Self> {
        let staging = Self::at(data_dir);
        let uploads = staging.root.join(UPLOADS);
        match std::fs::remove_dir_all(&uploads) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(io("remove", &uploads, error)),
            _ => Ok(staging),
        }
    }

    /// Writes an object at once.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for a name that cannot be or bytes with another checksum, [`Kind::ResourceExhausted`]
    /// if it is too large or the area is full.
    pub fn put(&self, upload: &StagedUpload, bytes: &[u8]) -> Result<StagedObject> {
        let session = self.begin(upload)?;
        match self.append(&session, 0, bytes, Some(bytes.len() as u64))? {
            Received::Whole(object) => Ok(object),
            Received::Part(_) => Err(Error::new(Kind::Internal, "an object was written in part")),
        }
    }

    /// Makes an object of a file, which stays.
    ///
    /// # Errors
    /// As [`Staging::put`].
    pub(crate) fn put_file(&self, upload: &StagedUpload, path: &Path) -> Result<StagedObject> {
        let mut file = File::open(path).map_err(|error| io("read", path, error))?;
        let total = file.metadata().map_err(|error| io("read", path, error))?.len();
        if total > OBJECT_BYTES_MAX {
            let message = format!(
                "{} has {total} bytes, and an object may have {OBJECT_BYTES_MAX}; divide the input",
                path.display()
            );
            return Err(Error::new(Kind::ResourceExhausted, message));
        }
        let session = self.begin(upload)?;
        let (mut part, mut offset) = (vec![0u8; 8 << 20], 0);
        loop {
            let read = file.read(&mut part).map_err(|error| io("read", path, error))?;
            match self.append(&session, offset, &part[..read], Some(total))? {
                Received::Whole(object) => return Ok(object),
                Received::Part(_) if read == 0 => {
                    self.cancel(&session)?;
                    let message = format!("{} has become shorter", path.display());
                    return Err(Error::new(Kind::Internal, message));
                }
                Received::Part(received) => offset = received,
            }
        }
    }

    /// Begins an upload in parts and gives it a name of its own.
    ///
    /// # Errors
    /// As [`Staging::put`]; [`Kind::ResourceExhausted`] if too many are under way.
    pub fn begin(&self, upload: &StagedUpload) -> Result<String> {
        self.path_of(&upload.bucket, &upload.name)?;
        let mut staged = self.lock();
        *staged = None;
        let folder = self.root.join(UPLOADS);
        std::fs::create_dir_all(&folder).map_err(|error| io("make", &folder, error))?;
        let begun = std::fs::read_dir(&folder).map_err(|error| io("list", &folder, error))?;
        if begun.count() >= 2 * SESSIONS_MAX {
            let message = format!("more than {SESSIONS_MAX} uploads are under way; finish or cancel some");
            return Err(Error::new(Kind::ResourceExhausted, message));
        }
        // Whoever knows the name may go on with the upload, so it cannot be guessed.
        let session = hex::encode(rand::random::<[u8; 16]>());
        let text = serde_json::to_vec(upload)
            .map_err(|error| Error::internal("cannot describe an upload", error))?;
        let meta = folder.join(format!("{session}.json"));
        std::fs::write(&meta, text).map_err(|error| io("write", &meta, error))?;
        let part = folder.join(format!("{session}.part"));
        File::create(&part).map_err(|error| io("write", &part, error))?;
        Ok(session)
    }

    /// How many bytes of an upload are safe.
    ///
    /// # Errors
    /// [`Kind::NotFound`] for one that is not under way.
    pub fn received(&self, session: &str) -> Result<u64> {
        let (_, part) = self.session(session)?;
        Ok(std::fs::metadata(&part).map_err(|error| io("read", &part, error))?.len())
    }

    /// Adds bytes that begin at `offset`; `total` ends the upload once all are there.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::InvalidArgument`] for bytes that do not follow, or an object with another checksum
    /// than was announced; [`Kind::ResourceExhausted`].
    pub fn append(&self, session: &str, offset: u64, bytes: &[u8], total: Option<u64>) -> Result<Received> {
        let (meta, part) = self.session(session)?;
        let mut staged = self.lock();
        let safe = std::fs::metadata(&part).map_err(|error| io("read", &part, error))?.len();
        if offset > safe {
            let message = format!("{safe} bytes are here, the part begins at {offset}; go on at {safe}");
            return Err(Error::new(Kind::InvalidArgument, message));
        }
        // A client that did not hear of a part sends it again.
        let new = bytes.get(usize::try_from(safe - offset).unwrap_or(usize::MAX)..).unwrap_or_default();
        let length = safe + new.len() as u64;
        if length.max(total.unwrap_or_default()) > OBJECT_BYTES_MAX {
            let message =
                format!("an object may have {OBJECT_BYTES_MAX} bytes; split the model or export it smaller");
            return Err(Error::new(Kind::ResourceExhausted, message));
        }
        let used = match *staged {
            Some(used) => used,
            None => size_under(&self.root)?,
        };
        if used + new.len() as u64 > STAGED_BYTES_MAX {
            let message = format!(
                "{used} bytes are staged, the limit is {STAGED_BYTES_MAX}; delete objects no longer needed"
            );
            return Err(Error::new(Kind::ResourceExhausted, message));
        }
        // Whatever becomes of the rest, it is counted again unless all goes well.
        *staged = None;
        let mut file =
            OpenOptions::new().append(true).open(&part).map_err(|error| io("open", &part, error))?;
        file.write_all(new).map_err(|error| io("write", &part, error))?;
        if total != Some(length) {
            *staged = Some(used + new.len() as u64);
            return Ok(Received::Part(length));
        }
        file.sync_all().map_err(|error| io("write", &part, error))?;
        self.finish(&meta, &part).map(Received::Whole)
    }

    fn finish(&self, meta: &Path, part: &Path) -> Result<StagedObject> {
        let text = std::fs::read(meta).map_err(|error| io("read", meta, error))?;
        let upload: StagedUpload = serde_json::from_slice(&text)
            .map_err(|error| Error::internal(format!("{} is damaged", meta.display()), error))?;
        let found = checksum(part)?;
        if let Some(announced) = upload.crc32c.filter(|announced| *announced != found) {
            self.forget(meta, part)?;
            let message = format!(
                "the bytes have CRC-32C {found:08x}, announced was {announced:08x}; they were damaged on the way, send them again"
            );
            return Err(Error::invalid("crc32c", message));
        }
        let path = self.path_of(&upload.bucket, &upload.name)?;
        let parent = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::rename(part, &path))
            .map_err(|error| io("write", &path, error))?;
        std::fs::remove_file(meta).map_err(|error| io("remove", meta, error))?;
        let object = self.stat_at(&upload.bucket, &upload.name, &path)?;
        Ok(StagedObject { crc32c: Some(found), ..object })
    }

    /// Ends an upload without an object.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn cancel(&self, session: &str) -> Result<()> {
        let (meta, part) = self.session(session)?;
        let mut staged = self.lock();
        *staged = None;
        self.forget(&meta, &part)
    }

    fn forget(&self, meta: &Path, part: &Path) -> Result<()> {
        for path in [meta, part] {
            std::fs::remove_file(path).map_err(|error| io("remove", path, error))?;
        }
        Ok(())
    }

    /// An object, without its checksum.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn stat(&self, bucket: &str, name: &str) -> Result<StagedObject> {
        self.stat_at(bucket, name, &self.path_of(bucket, name)?)
    }

    fn stat_at(&self, bucket: &str, name: &str, path: &Path) -> Result<StagedObject> {
        let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
        let Some(found) = found else { return Err(missing(bucket, name)) };
        let updated =
            found.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
        Ok(StagedObject {
            bucket: bucket.to_owned(),
            name: name.to_owned(),
            size: found.len(),
            crc32c: None,
            updated,
        })
    }

    /// The file an object is.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn file(&self, bucket: &str, name: &str) -> Result<PathBuf> {
        let path = self.path_of(bucket, name)?;
        if path.is_file() { Ok(path) } else { Err(missing(bucket, name)) }
    }

    /// Checks the name of a bucket; every bucket with a valid one is there.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`].
    pub fn check_bucket(&self, bucket: &str) -> Result<()> {
        check_bucket(bucket)
    }

    /// Checks that an object may have this name.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`].
    pub(crate) fn check_object(&self, bucket: &str, name: &str) -> Result<()> {
        self.path_of(bucket, name).map(|_| ())
    }

    /// Objects of a bucket whose names begin with `prefix`, by name.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`], [`Kind::ResourceExhausted`] if there are too many to look at.
    pub fn list(&self, bucket: &str, prefix: &str) -> Result<Vec<StagedObject>> {
        check_bucket(bucket)?;
        let top = self.root.join(bucket);
        let mut objects = Vec::new();
        let mut pending = vec![(top.clone(), String::new())];
        while let Some((folder, before)) = pending.pop() {
            let Ok(entries) = std::fs::read_dir(&folder) else { continue };
            for entry in entries {
                let entry = entry.map_err(|error| io("list", &folder, error))?;
                let name = format!("{before}{}", decoded(&entry.file_name().to_string_lossy()));
                if entry.path().is_dir() {
                    pending.push((entry.path(), format!("{name}/")));
                } else if name.starts_with(prefix) {
                    objects.push(self.stat_at(bucket, &name, &entry.path())?);
                }
                if objects.len() + pending.len() > LISTED_MAX {
                    let message =
                        format!("bucket \"{bucket}\" has more than {LISTED_MAX} objects; delete some");
                    return Err(Error::new(Kind::ResourceExhausted, message));
                }
            }
        }
        objects.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(objects)
    }

    /// Deletes an object.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn delete(&self, bucket: &str, name: &str) -> Result<()> {
        let path = self.file(bucket, name)?;
        let mut staged = self.lock();
        *staged = None;
        std::fs::remove_file(&path).map_err(|error| io("remove", &path, error))?;
        // Folders are no objects: what is empty goes, up to the bucket.
        let mut folder = path.parent();
        while let Some(path) = folder.filter(|path| path.starts_with(self.root.join(bucket))) {
            if std::fs::remove_dir(path).is_err() {
                break;
            }
            folder = path.parent();
        }
        Ok(())
    }

    /// The folder or file that `gs://BUCKET/PREFIX` names, if something was staged there.
    pub(crate) fn resolve(&self, uri: &str) -> Option<PathBuf> {
        let (bucket, prefix) = uri.strip_prefix("gs://")?.split_once('/')?;
        let path = self.path_of(bucket, prefix.trim_end_matches('/')).ok()?;
        path.exists().then_some(path)
    }

    fn session(&self, session: &str) -> Result<(PathBuf, PathBuf)> {
        let plain = session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = self.root.join(UPLOADS);
        let (meta, part) = (folder.join(format!("{session}.json")), folder.join(format!("{session}.part")));
        if plain && meta.is_file() {
            return Ok((meta, part));
        }
        Err(Error::new(Kind::NotFound, "no such upload is under way; begin it again"))
    }

    fn path_of(&self, bucket: &str, name: &str) -> Result<PathBuf> {
        check_bucket(bucket)?;
        let mut path = self.root.join(bucket);
        let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
        let odd = |part: &str| matches!(part, "" | "." | "..") || part.chars().any(char::is_control);
        if !fits || name.split('/').any(odd) {
            let shown: String = name.chars().take(100).collect();
            let message = format!(
                "object name \"{shown}\" must have 1 to {NAME_BYTES_MAX} bytes and no empty part, \".\", \"..\" or control character"
            );
            return Err(Error::invalid("name", message));
        }
        for part in name.split('/') {
            let encoded = encoded(part);
            if encoded.len() > 255 {
                return Err(Error::invalid("name", "a part of the object's name is longer than 255 bytes"));
            }
            path.push(encoded);
        }
        Ok(path)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.changing.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Platform {
    /// Where clients put files before they name them.
    pub fn staging(&self) -> &Staging {
        &self.staging
    }
}

/// Google's rule for the names of buckets, but for dots.
fn check_bucket(bucket: &str) -> Result<()> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    if (3..=63).contains(&bucket.len()) && bucket.bytes().all(plain) && !bucket.starts_with(['-', '_']) {
        return Ok(());
    }
    let shown: String = bucket.chars().take(70).collect();
    let message = format!(
        "bucket \"{shown}\" must have 3 to 63 lower-case letters, digits, - or _, a letter or digit first"
    );
    Err(Error::invalid("bucket", message))
}

fn missing(bucket: &str, name: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no object gs://{bucket}/{name}"))
}

/// What may stand in a file's name stays; the rest becomes `%XX`.
fn encoded(part: &str) -> String {
    let mut text = String::with_capacity(part.len());
    for byte in part.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b' ' | b'=') {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

fn decoded(file: &str) -> String {
    let mut bytes = Vec::with_capacity(file.len());
    let mut rest = file.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let code = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = code
            .and_then(|code| std::str::from_utf8(code).ok())
            .and_then(|code| u8::from_str_radix(code, 16).ok());
        match byte {
            Some(byte) => {
                bytes.push(byte);
                rest = &after[2..];
            }
            None => {
                bytes.push(first);
                rest = after;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn checksum(path: &Path) -> Result<u32> {
    let mut file = File::open(path).map_err(|error| io("read", path, error))?;
    let (mut part, mut found) = (vec![0u8; 1 << 20], 0);
    loop {
        match file.read(&mut part).map_err(|error| io("read", path, error))? {
            0 => return Ok(found),
            read => found = crc32c::crc32c_append(found, &part[..read]),
        }
    }
}

/// Bytes of all files under a folder.
fn size_under(folder: &Path) -> Result<u64> {
    let mut bytes = 0;
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| io("list", &folder, error))? {
            let entry = entry.map_err(|error| io("list", &folder, error))?;
            match entry.metadata() {
                Ok(found) if found.is_dir() => pending.push(entry.path()),
                Ok(found) => bytes += found.len(),
                // Deleted meanwhile.
                Err(_) => {}
            }
        }
    }
    Ok(bytes)
}

fn io(action: &str, path: &Path, error: std::io::Error) -> Error {
    Error::internal(format!("cannot {action} {}: {error}", path.display()), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn area() -> (tempfile::TempDir, Staging) {
        let dir = tempfile::tempdir().unwrap();
        let staging = Staging::open(dir.path()).unwrap();
        (dir, staging)
    }

    fn upload(name: &str) -> StagedUpload {
        StagedUpload { bucket: "models".to_owned(), name: name.to_owned(), crc32c: None }
    }

    #[test]
    fn what_is_staged_is_listed_and_resolves() {
        let (_dir, staging) = area();
        let top = "vertex_ai_auto_staging/2026-11-26-00:57:12.123";
        for name in ["saved_model.pb", "variables/variables.index"] {
            let object = staging.put(&upload(&format!("{top}/{name}")), b"bytes").unwrap();
            assert_eq!((object.size, object.crc32c), (5, Some(crc32c::crc32c(b"bytes"))));
        }
        let listed = staging.list("models", "vertex_ai_auto").unwrap();
        let names: Vec<&str> = listed.iter().map(|object| object.name.as_str()).collect();
        assert_eq!(names, [format!("{top}/saved_model.pb"), format!("{top}/variables/variables.index")]);
        assert!(staging.list("models", "other").unwrap().is_empty());
        assert!(staging.list("empty-bucket", "").unwrap().is_empty());
        for uri in [format!("gs://models/{top}"), format!("gs://models/{top}/")] {
            assert!(staging.resolve(&uri).unwrap().join("saved_model.pb").is_file());
        }
        assert_eq!(staging.resolve("gs://models/other"), None);
        assert_eq!(staging.resolve("gs://models/../.."), None);
        for object in listed {
            staging.delete("models", &object.name).unwrap();
        }
        assert_eq!(staging.resolve(&format!("gs://models/{top}")), None);
        assert_eq!(staging.stat("models", "x").unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn an_upload_in_parts_goes_on_where_it_is() {
        let (_dir, staging) = area();
        let announced = StagedUpload { crc32c: Some(crc32c::crc32c(b"0123456789")), ..upload("m/a") };
        let session = staging.begin(&announced).unwrap();
        assert_eq!(staging.append(&session, 0, b"0123", None).unwrap(), Received::Part(4));
        assert!(staging.stat("models", "m/a").is_err(), "half an object is none");
        // The answer was lost, the client sends it again with more.
        assert_eq!(staging.append(&session, 2, b"2345", Some(10)).unwrap(), Received::Part(6));
        assert_eq!(staging.received(&session).unwrap(), 6);
        let gap = staging.append(&session, 8, b"89", Some(10)).unwrap_err();
        assert!(gap.to_string().contains("go on at 6"), "{gap}");
        let Received::Whole(object) = staging.append(&session, 6, b"6789", Some(10)).unwrap() else {
            panic!("all bytes are there")
        };
        assert_eq!(object.size, 10);
        assert_eq!(std::fs::read(staging.file("models", "m/a").unwrap()).unwrap(), b"0123456789");
        assert_eq!(staging.received(&session).unwrap_err().kind(), Kind::NotFound);
    }

    #[test]
    fn damage_and_odd_names_are_refused() {
        let (dir, staging) = area();
        let wrong = StagedUpload { crc32c: Some(1), ..upload("a") };
        let refusal = staging.put(&wrong, b"x").unwrap_err();
        assert!(refusal.to_string().contains("send them again"), "{refusal}");
        assert!(staging.stat("models", "a").is_err());
        let long = "x/".repeat(600);
        for name in ["", "/a", "a/", "a//b", "../a", "a/../b", ".", "a\nb", &long] {
            assert_eq!(staging.put(&upload(name), b"x").unwrap_err().kind(), Kind::InvalidArgument, "{name}");
        }
        for bucket in ["", "..", "ab", ".uploads", "-ab", "A-b", "a/b/c", "x.y.z"] {
            let odd = StagedUpload { bucket: bucket.to_owned(), ..upload("a") };
            assert_eq!(staging.put(&odd, b"x").unwrap_err().kind(), Kind::InvalidArgument, "{bucket}");
        }
        for session in ["", "../x", "0123456789abcdef0123456789abcdef"] {
            assert_eq!(staging.received(session).unwrap_err().kind(), Kind::NotFound);
        }
        let session = staging.begin(&upload("a")).unwrap();
        staging.cancel(&session).unwrap();
        assert!(staging.append(&session, 0, b"x", None).is_err());
        let huge = staging.begin(&upload("a")).unwrap();
        let refusal = staging.append(&huge, 0, b"x", Some(1 << 40)).unwrap_err();
        assert_eq!(refusal.kind(), Kind::ResourceExhausted);
        // A restart forgets what was not finished.
        let again = Staging::open(dir.path()).unwrap();
        assert!(again.received(&huge).is_err());
    }

    proptest::proptest! {
        #[test]
        fn names_read_back(name in "[a-z%:= \u{e4}]{1,40}") {
            proptest::prop_assert_eq!(decoded(&encoded(&name)), name);
        }
    }
}
