//! Reads whole files up to a limit.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::Error;

/// The contents of `path`, which may have at most `limit` bytes.
pub(in crate::format) fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Error> {
    let io = |action| move |source| Error::Io { action, path: path.to_owned(), source };
    let file = File::open(path).map_err(io("open"))?;
    let size = file.metadata().map_err(io("look at"))?.len();
    let mut bytes = Vec::new();
    // The size is checked twice, because a file can grow, and some have no size.
    if size <= limit {
        file.take(limit + 1).read_to_end(&mut bytes).map_err(io("read"))?;
    }
    if size > limit || bytes.len() as u64 > limit {
        return Err(Error::TooLarge {
            what: path.display().to_string(),
            size: size.max(bytes.len() as u64),
            limit,
        });
    }
    Ok(bytes)
}
