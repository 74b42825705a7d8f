//! The staging area: objects in buckets that clients upload before they name them in an upload of a model.
//!
//! Google's tools send local files to a bucket first. Here a bucket is a folder `staging/BUCKET` of the data directory, an
//! object a file in it ([`place`]), and `gs://BUCKET/PREFIX` names them afterwards. An object appears whole or not at all.

mod place;

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use md5::{Digest as _, Md5};
use serde::{Deserialize, Serialize};

use crate::{Error, Kind, Platform, Result};
use place::{Place, check_bucket, part_of};

/// The most bytes of all objects and unfinished uploads together: 16 GiB.
const STAGED_BYTES_MAX: u64 = 16 << 30;
/// The most bytes of one object: 2 GiB, as of a bundle.
const OBJECT_BYTES_MAX: u64 = 2 << 30;
/// The most objects a listing looks at.
const LISTED_MAX: usize = 100_000;
/// The most uploads that are begun and not finished.
const SESSIONS_MAX: usize = 1000;
const UPLOADS: &str = ".uploads";

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
    /// Of its bytes, where they were just computed.
    pub checksums: Option<Checksums>,
    /// When it was written.
    pub updated: Timestamp,
}

impl StagedObject {
    /// What tells its content from others that had or will have its name: greater than 0, and always greater.
    pub fn generation(&self) -> i64 {
        self.updated.as_microsecond()
    }

    /// Whether it is of the generation that a caller expects, if one is named.
    ///
    /// # Errors
    /// [`Kind::FailedPrecondition`] with the generation.
    pub fn check_generation(&self, expected: Option<i64>) -> Result<()> {
        check_generation(expected, self.generation())
    }
}

/// What bytes are known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checksums {
    /// CRC-32C (Castagnoli, RFC 3720).
    pub crc32c: u32,
    /// MD5 (RFC 1321), which finds damage as well and protects from nobody.
    pub md5: [u8; 16],
}

/// What an upload is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StagedUpload {
    /// The bucket.
    pub bucket: String,
    /// The name in the bucket.
    pub name: String,
    /// The CRC-32C its bytes must have.
    pub crc32c: Option<u32>,
    /// The MD5 they must have.
    pub md5: Option<[u8; 16]>,
    /// The generation that the object has until it is replaced; 0: there is none.
    pub replaces: Option<i64>,
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
    /// [`Kind::InvalidArgument`] for a name that cannot be or bytes with another checksum, [`Kind::FailedPrecondition`] for
    /// another generation than the upload replaces, [`Kind::ResourceExhausted`] if it is too large or the area is full.
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
        let place = self.place(&upload.bucket, &upload.name)?;
        let mut staged = self.lock();
        check_generation(upload.replaces, generation_at(&place))?;
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
        match std::fs::metadata(&part) {
            Ok(found) => Ok(found.len()),
            // It was finished or cancelled between the two looks. No lock is taken for it: whoever asks would wait for others.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(not_under_way()),
            Err(error) => Err(io("read", &part, error)),
        }
    }

    /// Adds bytes that begin at `offset`; `total` ends the upload once all are there.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::InvalidArgument`] for bytes that do not follow, or an object with another checksum
    /// than was announced; [`Kind::FailedPrecondition`], [`Kind::ResourceExhausted`].
    pub fn append(&self, session: &str, offset: u64, bytes: &[u8], total: Option<u64>) -> Result<Received> {
        // The lock first: what is under way now may have been finished or cancelled once it is free.
        let mut staged = self.lock();
        let (meta, part) = self.session(session)?;
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
        let found = checksums(part)?;
        let place = self.place(&upload.bucket, &upload.name)?;
        let before = generation_at(&place);
        let checked = check_generation(upload.replaces, before).and_then(|()| upload.check(&found));
        if let Err(refusal) = checked {
            self.forget(meta, part)?;
            return Err(refusal);
        }
        renewed(part, before).map_err(|error| io("write", part, error))?;
        let path = place.make_room().and_then(|path| std::fs::rename(part, path).map(|()| path));
        let path = path.map_err(|error| io("write", part, error))?;
        std::fs::remove_file(meta).map_err(|error| io("remove", meta, error))?;
        let object = stat_at(&upload.bucket, &upload.name, path)?;
        Ok(StagedObject { checksums: Some(found), ..object })
    }

    /// Ends an upload without an object.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn cancel(&self, session: &str) -> Result<()> {
        let mut staged = self.lock();
        let (meta, part) = self.session(session)?;
        *staged = None;
        self.forget(&meta, &part)
    }

    fn forget(&self, meta: &Path, part: &Path) -> Result<()> {
        for path in [meta, part] {
            std::fs::remove_file(path).map_err(|error| io("remove", path, error))?;
        }
        Ok(())
    }

    /// An object, without its checksums.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn stat(&self, bucket: &str, name: &str) -> Result<StagedObject> {
        stat_at(bucket, name, &self.file(bucket, name)?)
    }

    /// The file an object is.
    ///
    /// # Errors
    /// [`Kind::NotFound`].
    pub fn file(&self, bucket: &str, name: &str) -> Result<PathBuf> {
        let place = self.place(bucket, name)?;
        place.file().map(Path::to_owned).ok_or_else(|| missing(bucket, name))
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
        self.place(bucket, name).map(|_| ())
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
                let name = format!("{before}{}", part_of(&entry.file_name().to_string_lossy()));
                if entry.path().is_dir() {
                    pending.push((entry.path(), format!("{name}/")));
                } else if name.starts_with(prefix) {
                    objects.push(stat_at(bucket, &name, &entry.path())?);
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

    /// Deletes an object, of a generation if one is named.
    ///
    /// # Errors
    /// [`Kind::NotFound`]; [`Kind::FailedPrecondition`] for another generation.
    pub fn delete(&self, bucket: &str, name: &str, generation: Option<i64>) -> Result<()> {
        let mut staged = self.lock();
        let path = self.file(bucket, name)?;
        stat_at(bucket, name, &path)?.check_generation(generation)?;
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
        let place = self.place(bucket, prefix.trim_end_matches('/')).ok()?;
        place.folder_or_file().map(Path::to_owned)
    }

    fn session(&self, session: &str) -> Result<(PathBuf, PathBuf)> {
        let plain = session.len() == 32 && session.bytes().all(|byte| byte.is_ascii_hexdigit());
        let folder = self.root.join(UPLOADS);
        let (meta, part) = (folder.join(format!("{session}.json")), folder.join(format!("{session}.part")));
        if plain && meta.is_file() {
            return Ok((meta, part));
        }
        Err(not_under_way())
    }

    fn place(&self, bucket: &str, name: &str) -> Result<Place> {
        Place::of(&self.root, bucket, name)
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

fn not_under_way() -> Error {
    Error::new(Kind::NotFound, "no such upload is under way; begin it again")
}

fn missing(bucket: &str, name: &str) -> Error {
    Error::new(Kind::NotFound, format!("there is no object gs://{bucket}/{name}"))
}

fn stat_at(bucket: &str, name: &str, path: &Path) -> Result<StagedObject> {
    let found = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file);
    let Some(found) = found else { return Err(missing(bucket, name)) };
    let updated = found.modified().ok().and_then(|time| Timestamp::try_from(time).ok()).unwrap_or_default();
    Ok(StagedObject {
        bucket: bucket.to_owned(),
        name: name.to_owned(),
        size: found.len(),
        checksums: None,
        updated,
    })
}

/// The generation of an object, 0 if it is not there.
fn generation_at(place: &Place) -> i64 {
    place.file().and_then(|path| stat_at("", "", path).ok()).map_or(0, |object| object.generation())
}

/// Whether a generation, 0 of what is not there, is the one that a caller expects.
fn check_generation(expected: Option<i64>, found: i64) -> Result<()> {
    if expected.is_none_or(|expected| expected == found) {
        return Ok(());
    }
    let message = match found {
        0 => "the object is not there; ask without a generation".to_owned(),
        found => format!("the object's generation is {found}; read it and ask again with that"),
    };
    Err(Error::new(Kind::FailedPrecondition, message))
}

/// Makes a file later than what it replaces, which a clock of milliseconds, or one that was set back, may not.
fn renewed(part: &Path, before: i64) -> std::io::Result<()> {
    let later = SystemTime::UNIX_EPOCH + Duration::from_micros(before.unsigned_abs() + 1);
    if std::fs::metadata(part)?.modified()? >= later {
        return Ok(());
    }
    OpenOptions::new().append(true).open(part)?.set_modified(later)
}

impl StagedUpload {
    /// Whether bytes are those that were announced.
    fn check(&self, found: &Checksums) -> Result<()> {
        let damaged = |field: &str, name: &str, found: String, announced: String| {
            let message = format!(
                "the bytes have {name} {found}, announced was {announced}; they were damaged on the way, send them again"
            );
            Err(Error::invalid(field, message))
        };
        match (self.crc32c, self.md5) {
            (Some(announced), _) if announced != found.crc32c => {
                damaged("crc32c", "CRC-32C", format!("{:08x}", found.crc32c), format!("{announced:08x}"))
            }
            (_, Some(announced)) if announced != found.md5 => {
                damaged("md5Hash", "MD5", hex::encode(found.md5), hex::encode(announced))
            }
            _ => Ok(()),
        }
    }
}

fn checksums(path: &Path) -> Result<Checksums> {
    let mut file = File::open(path).map_err(|error| io("read", path, error))?;
    let (mut part, mut crc32c, mut md5) = (vec![0u8; 1 << 20], 0, Md5::new());
    loop {
        match file.read(&mut part).map_err(|error| io("read", path, error))? {
            0 => return Ok(Checksums { crc32c, md5: md5.finalize().into() }),
            read => {
                crc32c = crc32c::crc32c_append(crc32c, &part[..read]);
                md5.update(&part[..read]);
            }
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
mod tests;
