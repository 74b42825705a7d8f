//! Where an object of the staging area lies: names of objects are paths of files, which whoever loads a model can read as a folder.
//!
//! A bucket may have objects `a` and `a/b`, and no folder a file and a folder of one name; the file of `a` is then called `a%`,
//! which is the file of no other object.

use std::path::{Path, PathBuf};

use crate::{Error, Result};

const NAME_BYTES_MAX: usize = 1024;
/// What file systems take, but for [`ASIDE`].
const PART_BYTES_MAX: usize = 254;
/// Behind the name of a file whose own name is a folder's; every other `%` has two digits behind it.
const ASIDE: &str = "%";

/// The file of an object, which may be there.
pub(super) struct Place {
    bucket: PathBuf,
    plain: PathBuf,
    aside: PathBuf,
}

impl Place {
    /// Of an object under the staging area's folder.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`](crate::Kind::InvalidArgument) for a name that cannot be.
    pub(super) fn of(root: &Path, bucket: &str, name: &str) -> Result<Self> {
        check_bucket(bucket)?;
        let bucket = root.join(bucket);
        let mut plain = bucket.clone();
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
            if encoded.len() > PART_BYTES_MAX {
                let message = format!("a part of the object's name is longer than {PART_BYTES_MAX} bytes");
                return Err(Error::invalid("name", message));
            }
            plain.push(encoded);
        }
        let aside = aside(&plain);
        Ok(Self { bucket, plain, aside })
    }

    /// The file, if the object is there.
    pub(super) fn file(&self) -> Option<&Path> {
        [&self.plain, &self.aside].into_iter().find(|path| path.is_file()).map(PathBuf::as_path)
    }

    /// The folder of the objects below this name, or else the file.
    pub(super) fn folder_or_file(&self) -> Option<&Path> {
        if self.plain.is_dir() { Some(&self.plain) } else { self.file() }
    }

    /// Makes the file's folder, and says where the file is to be.
    ///
    /// # Errors
    /// Those of the file system.
    pub(super) fn make_room(&self) -> std::io::Result<&Path> {
        let above = self.plain.ancestors().skip(1).take_while(|path| *path != self.bucket);
        for path in above.filter(|path| path.is_file()) {
            std::fs::rename(path, aside(path))?;
        }
        std::fs::create_dir_all(self.plain.parent().unwrap_or(&self.bucket))?;
        Ok(if self.plain.is_dir() || self.aside.is_file() { &self.aside } else { &self.plain })
    }
}

/// Google's rule for the names of buckets, but for dots.
pub(super) fn check_bucket(bucket: &str) -> Result<()> {
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

/// The part of an object's name that a file or folder stands for.
pub(super) fn part_of(file: &str) -> String {
    decoded(file.strip_suffix(ASIDE).unwrap_or(file))
}

fn aside(path: &Path) -> PathBuf {
    let mut text = path.as_os_str().to_owned();
    text.push(ASIDE);
    PathBuf::from(text)
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

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn names_read_back(name in "[a-z%:= \u{e4}]{1,40}") {
            proptest::prop_assert_eq!(part_of(&encoded(&name)), name.clone());
            proptest::prop_assert_eq!(part_of(&format!("{}{ASIDE}", encoded(&name))), name);
        }
    }
}
