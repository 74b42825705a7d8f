//! What is done with files in several places.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::{Error, Kind};

/// What cannot be written to the disk.
pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> Error {
    use std::io::ErrorKind as E;
    let way_out = match error.kind() {
        E::NotFound | E::NotADirectory | E::PermissionDenied | E::ReadOnlyFilesystem => "name another place",
        _ => "is the disk full?",
    };
    let message = format!("cannot write {}: {error}; {way_out}", path.display());
    Error::new(Kind::FailedPrecondition, message)
}

/// The SHA-256 of a file, in hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let (mut digest, mut part) = (Sha256::new(), vec![0u8; 1 << 20]);
    loop {
        match file.read(&mut part)? {
            0 => return Ok(hex::encode(digest.finalize())),
            read => digest.update(&part[..read]),
        }
    }
}
