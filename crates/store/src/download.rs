//! Objects fetched: whole, or in ranges several at once; to memory or to a file; checked against a digest.
//!
//! A range that breaks off goes on where it broke, and all ranges must be of one version of the object (its ETag).

use std::ops::Range;
use std::path::{Path as FilePath, PathBuf};

use bytes::{Bytes, BytesMut};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use object_store::{GetOptions, GetRange, GetResult, ObjectMeta, ObjectStoreExt};
use sha2::{Digest, Sha256};
use tokio::io::AsyncWriteExt;

use crate::retry::with_retries;
use crate::{Error, Store, path};

/// Tries of an object without an ETag, which cannot go on where it broke.
const TRIES_WITHOUT_TAG: u32 = 4;

/// What an object must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expected {
    /// SHA-256 of its bytes, in lower-case hexadecimal.
    pub sha256: String,
    /// Its size in bytes.
    pub bytes: u64,
}

type Pieces<'a> = BoxStream<'a, Result<Bytes, object_store::Error>>;

impl Store {
    /// Reads one object of at most `limit_bytes`; a larger one is refused before it is read.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::TooLarge`], [`Error::Changed`], [`Error::Path`], and what a service answers.
    pub async fn get_limited(&self, path: &str, limit_bytes: u64) -> Result<Bytes, Error> {
        for tries in 1.. {
            let (meta, mut pieces) = self.begin(path, limit_bytes).await?;
            let size = usize::try_from(meta.size).unwrap_or(usize::MAX);
            let read = async {
                let Some(first) = pieces.try_next().await? else { return Ok(Bytes::new()) };
                if first.len() == size {
                    return Ok(first);
                }
                let mut whole = BytesMut::with_capacity(size);
                whole.extend_from_slice(&first);
                while let Some(piece) = pieces.try_next().await? {
                    whole.extend_from_slice(&piece);
                }
                Ok(whole.freeze())
            };
            match read.await {
                Ok(bytes) if bytes.len() == size => return Ok(bytes),
                Ok(bytes) => return Err(self.cut_short(path, bytes.len() as u64, meta.size)),
                Err(error) => self.begin_anew(&meta, &error, tries).await?,
            }
        }
        unreachable!("the last try returns")
    }

    /// Reads one object to a file, which is replaced; in bounded memory. Returns its size in bytes.
    ///
    /// # Errors
    /// As [`Store::get_limited`], and [`Error::Io`]; the file is no good then.
    pub async fn download(&self, path: &str, to: &FilePath, limit_bytes: u64) -> Result<u64, Error> {
        let io = |source| Error::Io { action: "write", url: to.display().to_string(), source };
        for tries in 1.. {
            let (meta, mut pieces) = self.begin(path, limit_bytes).await?;
            let mut file = tokio::fs::File::create(to).await.map_err(io)?;
            let mut bytes = 0;
            let broken = loop {
                match pieces.try_next().await {
                    Ok(Some(piece)) => {
                        bytes += piece.len() as u64;
                        file.write_all(&piece).await.map_err(io)?;
                    }
                    Ok(None) => break None,
                    Err(error) => break Some(error),
                }
            };
            match broken {
                None if bytes == meta.size => {
                    file.sync_all().await.map_err(io)?;
                    return Ok(bytes);
                }
                None => return Err(self.cut_short(path, bytes, meta.size)),
                Some(error) => self.begin_anew(&meta, &error, tries).await?,
            }
        }
        unreachable!("the last try returns")
    }

    /// Reads one object whose digest is known, by way of the cache if the store has one.
    ///
    /// # Errors
    /// [`Error::Damaged`] if it is another one; as [`Store::get_limited`], [`Error::Io`].
    pub async fn get_verified(&self, path: &str, expected: &Expected) -> Result<Bytes, Error> {
        let Some(cache) = &self.cache else {
            let bytes = self.get_limited(path, expected.bytes).await?;
            let found = Expected { sha256: sha256_hex(&bytes), bytes: bytes.len() as u64 };
            return if found == *expected {
                Ok(bytes)
            } else {
                Err(damaged(self.url_of(path), expected, found))
            };
        };
        let fetch = |to: PathBuf| async move { self.download(path, &to, expected.bytes).await.map(drop) };
        match cache.get_or_fetch(expected, fetch).await {
            Ok(file) => Ok(file.bytes().clone()),
            // Its place in the cache says nothing to anybody.
            Err(Error::Damaged { found, found_bytes, .. }) => {
                let found = Expected { sha256: found, bytes: found_bytes };
                Err(damaged(self.url_of(path), expected, found))
            }
            Err(error) => Err(error),
        }
    }

    /// Whether an object has these very bytes.
    pub(crate) async fn holds(&self, path: &str, bytes: &Bytes) -> bool {
        let Ok((meta, mut pieces)) = self.begin(path, bytes.len() as u64).await else { return false };
        let mut rest = &bytes[..];
        while let Ok(Some(piece)) = pieces.try_next().await {
            match rest.strip_prefix(&piece[..]) {
                Some(after) => rest = after,
                None => return false,
            }
        }
        rest.is_empty() && meta.size == bytes.len() as u64
    }

    /// Asks for an object and returns its bytes as they come, in order, in as many ranges as are worth it.
    async fn begin(&self, path: &str, limit_bytes: u64) -> Result<(ObjectMeta, Pieces<'_>), Error> {
        let location = path::object(path)?;
        let fail = |error: object_store::Error| self.failed("read", path, &error);
        let found = with_retries(|| self.backend.objects.get(&location)).await.map_err(fail)?;
        let meta = found.meta.clone();
        if meta.size > limit_bytes {
            return Err(Error::TooLarge { url: self.url_of(path), size: meta.size, limit: limit_bytes });
        }
        let in_ranges = self.backend.multipart.is_some() && meta.size > self.transfer.whole_bytes;
        let pieces = if in_ranges { self.ranges(found, location) } else { found.into_stream() };
        Ok((meta, pieces))
    }

    fn ranges(&self, first: GetResult, location: Path) -> Pieces<'_> {
        let meta = first.meta.clone();
        // Its connection is given up: a range of its own costs less than the rest of the object.
        drop(first);
        let part = (self.transfer.part_bytes as u64).max(1);
        let ranges = (0..meta.size).step_by(self.transfer.part_bytes.max(1));
        let ranges = ranges.map(move |begin| begin..meta.size.min(begin + part));
        let fetch = move |range: Range<u64>| {
            let options = GetOptions {
                range: Some(GetRange::Bounded(range)),
                if_match: meta.e_tag.clone(),
                ..GetOptions::default()
            };
            let location = location.clone();
            async move { self.backend.objects.get_opts(&location, options).await?.bytes().await }
        };
        stream::iter(ranges.map(fetch)).buffered(self.transfer.parallel.max(1)).boxed()
    }

    /// Waits before an object that broke off is read again from its beginning, which only one without an ETag is:
    /// any other went on where it broke until the limit.
    async fn begin_anew(
        &self,
        meta: &ObjectMeta,
        error: &object_store::Error,
        tries: u32,
    ) -> Result<(), Error> {
        let failure = self.failed("read", meta.location.as_ref(), error);
        if !self.is_remote() || meta.e_tag.is_some() || tries >= TRIES_WITHOUT_TAG {
            return Err(failure);
        }
        tracing::warn!(%failure, "an object without an ETag broke off, reading it again");
        tokio::time::sleep(self.first_pause * 2u32.pow(tries)).await;
        Ok(())
    }

    fn cut_short(&self, path: &str, found: u64, expected: u64) -> Error {
        Error::Unavailable {
            action: "read",
            url: self.url_of(path),
            reason: format!("it ended after {found} of {expected} bytes"),
            advice: self.backend.keeper.endpoint(),
        }
    }
}

pub(crate) fn damaged(url: String, expected: &Expected, found: Expected) -> Error {
    Error::Damaged {
        url,
        expected: expected.sha256.clone(),
        expected_bytes: expected.bytes,
        found: found.sha256,
        found_bytes: found.bytes,
    }
}

pub(crate) fn sha256_hex(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}
