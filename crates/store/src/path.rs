//! Which relative paths a store takes: plain names, so that nothing leaves the root on any backend.

use object_store::path::Path;

use crate::Error;

const MAX_PATH_BYTES: usize = 1024;
const MAX_COMPONENT_BYTES: usize = 255;

/// Checks the path of an object, or of a directory that is not the root.
pub(crate) fn object(path: &str) -> Result<Path, Error> {
    if path.is_empty() {
        return Err(refuse(path, "it is empty"));
    }
    check(path)
}

/// Checks the path of a directory; empty is the root.
pub(crate) fn directory(path: &str) -> Result<Path, Error> {
    if path.is_empty() { Ok(Path::default()) } else { check(path) }
}

fn check(path: &str) -> Result<Path, Error> {
    if path.len() > MAX_PATH_BYTES {
        return Err(refuse(path, "it is longer than 1024 bytes"));
    }
    for component in path.split('/') {
        if let Some(reason) = component_fault(component) {
            return Err(refuse(path, reason));
        }
    }
    Path::parse(path).map_err(|_| refuse(path, "it is not a plain relative path"))
}

fn component_fault(component: &str) -> Option<&'static str> {
    match component {
        "" => Some("it is absolute or has an empty component"),
        "." | ".." => Some("a component is \".\" or \"..\""),
        long if long.len() > MAX_COMPONENT_BYTES => Some("a component is longer than 255 bytes"),
        odd if odd.chars().any(|c| c.is_control() || matches!(c, '\\' | '#' | '%' | '?' | '*' | ':')) => {
            Some("a component has a control character or one of \\ # % ? * :")
        }
        _ => None,
    }
}

fn refuse(path: &str, reason: &'static str) -> Error {
    let shown = path.chars().take(200).collect();
    Error::Path { path: shown, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_paths_pass_unchanged() {
        for path in ["a", "default/sp500-deciles/1/bundle.json", "x/variables.data-00000-of-00001", "a b/ü"]
        {
            assert_eq!(object(path).unwrap().as_ref(), path);
        }
        assert_eq!(directory("").unwrap().as_ref(), "");
    }

    #[test]
    fn escapes_are_refused() {
        let long = "x".repeat(256);
        let odd = [
            "",
            "/etc/passwd",
            "..",
            "a/../b",
            "a//b",
            "a/",
            "./a",
            "a\\b",
            "a\0b",
            "a#1",
            "C:/x",
            "%2e%2e",
            &long,
        ];
        for path in odd {
            assert!(matches!(object(path), Err(Error::Path { .. })), "{path:?} was taken");
        }
        assert!(directory("..").is_err());
    }
}
