//! A file as it came: in memory or on disk, plain or compressed, read as a stream.

use std::fs::File;
use std::io::{self, Cursor, Read};
use std::path::PathBuf;

use bytes::Bytes;

use crate::{Error, Result};

/// A line of text that is longer is refused: 1 MiB.
const LINE_BYTES_MAX: usize = 1 << 20;
/// More text than this, after decompression, is refused: 64 GiB.
const TEXT_BYTES_MAX: u64 = 64 << 30;
/// A Parquet file is read as a whole; a larger one is refused: 4 GiB.
const WHOLE_BYTES_MAX: u64 = 4 << 30;
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// A file as it came.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// What errors call it; its stem names the instrument if no column does.
    pub name: String,
    content: Content,
}

#[derive(Debug, Clone)]
enum Content {
    Bytes(Bytes),
    Disk(PathBuf),
}

impl SourceFile {
    /// A file in memory.
    pub fn in_memory(name: impl Into<String>, bytes: impl Into<Bytes>) -> Self {
        Self { name: name.into(), content: Content::Bytes(bytes.into()) }
    }

    /// A file on disk, read when it is needed and never as a whole if it is text.
    pub fn on_disk(name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        Self { name: name.into(), content: Content::Disk(path.into()) }
    }

    /// `AAPL` of `folder/AAPL.csv.gz`.
    pub fn stem(&self) -> &str {
        let base = self.name.rsplit(['/', '\\']).next().unwrap_or(&self.name);
        base.split('.').find(|part| !part.is_empty()).unwrap_or(base)
    }

    /// An error about the file as a whole.
    pub(crate) fn unreadable(&self, reason: impl Into<String>) -> Error {
        Error::File { file: self.name.clone(), reason: reason.into() }
    }

    /// Its first bytes, at most so many.
    pub(super) fn head(&self, bytes: u64) -> Result<Vec<u8>> {
        let mut head = Vec::new();
        self.raw()?.take(bytes).read_to_end(&mut head).map_err(|error| self.unreadable(error.to_string()))?;
        Ok(head)
    }

    /// All of its bytes as they are.
    pub(super) fn whole(&self) -> Result<Bytes> {
        match &self.content {
            Content::Bytes(bytes) => Ok(bytes.clone()),
            Content::Disk(_) => {
                let mut bytes = Vec::new();
                let limit = WHOLE_BYTES_MAX;
                self.raw()?
                    .take(limit + 1)
                    .read_to_end(&mut bytes)
                    .map_err(|error| self.unreadable(error.to_string()))?;
                if bytes.len() as u64 > limit {
                    return Err(self.unreadable(format!("it has more than the limit of {limit} bytes")));
                }
                Ok(bytes.into())
            }
        }
    }

    /// Its text, decompressed on the way, in bounded memory; `head` is how its bytes begin.
    pub(super) fn text(&self, head: &[u8]) -> Result<impl Read + use<>> {
        let refuse = |error: io::Error| self.unreadable(error.to_string());
        let raw = self.raw()?;
        let plain: Box<dyn Read> = if head.starts_with(&GZIP_MAGIC) {
            Box::new(flate2::read::MultiGzDecoder::new(raw))
        } else if head.starts_with(&ZSTD_MAGIC) {
            Box::new(zstd::stream::read::Decoder::new(raw).map_err(refuse)?)
        } else {
            raw
        };
        Ok(Lines { inner: plain, length: 0, total: 0, quoted: false })
    }

    /// Whether the bytes are compressed text rather than text.
    pub(super) fn is_compressed(head: &[u8]) -> bool {
        head.starts_with(&GZIP_MAGIC) || head.starts_with(&ZSTD_MAGIC)
    }

    fn raw(&self) -> Result<Box<dyn Read>> {
        Ok(match &self.content {
            Content::Bytes(bytes) => Box::new(Cursor::new(bytes.clone())),
            Content::Disk(path) => {
                Box::new(File::open(path).map_err(|error| self.unreadable(error.to_string()))?)
            }
        })
    }
}

/// Text that is refused where a line, or a cell in quotes with all its lines, or the whole is too long.
struct Lines<R> {
    inner: R,
    length: usize,
    total: u64,
    quoted: bool,
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.total += read as u64;
        if self.total > TEXT_BYTES_MAX {
            return Err(io::Error::other(format!(
                "it has more than the limit of {TEXT_BYTES_MAX} bytes of text"
            )));
        }
        let text = &buffer[..read];
        if self.quoted || text.contains(&b'"') {
            self.with_quotes(text)?;
        } else {
            self.without_quotes(text)?;
        }
        Ok(read)
    }
}

impl<R> Lines<R> {
    /// Reads are shorter than a line may be, so that only lines across reads can be too long.
    fn without_quotes(&mut self, text: &[u8]) -> io::Result<()> {
        let is_end = |byte: &u8| *byte == b'\n' || *byte == b'\r';
        let Some(last) = text.iter().rposition(is_end) else {
            self.length += text.len();
            return self.check();
        };
        self.length += text.iter().position(is_end).unwrap_or(last);
        self.check()?;
        self.length = text.len() - last - 1;
        Ok(())
    }

    fn with_quotes(&mut self, text: &[u8]) -> io::Result<()> {
        for byte in text {
            self.quoted ^= *byte == b'"';
            self.length += 1;
            if !self.quoted && (*byte == b'\n' || *byte == b'\r') {
                self.length = 0;
            }
        }
        self.check()
    }

    fn check(&self) -> io::Result<()> {
        if self.length <= LINE_BYTES_MAX {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "a line before byte {} is longer than the limit of {LINE_BYTES_MAX} bytes; it is not a table of bars, or \
             its line ends, or the end of a quote, are missing",
            self.total
        )))
    }
}
