//! The documents a reader expects in the root of the repository.

use std::path::Path;

const REQUIRED: &[&str] =
    &["README.md", "ARCHITECTURE.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE"];

/// One violation for each document that is missing or empty.
pub(super) fn check(root: &Path) -> Vec<String> {
    REQUIRED
        .iter()
        .filter(|name| std::fs::metadata(root.join(name)).map_or(true, |file| file.len() == 0))
        .map(|name| format!("{name} is missing or empty"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_and_empty_documents_are_named() {
        let folder = tempfile::tempdir().unwrap();
        for name in REQUIRED {
            std::fs::write(folder.path().join(name), "text").unwrap();
        }
        assert_eq!(check(folder.path()), Vec::<String>::new());

        std::fs::remove_file(folder.path().join("SECURITY.md")).unwrap();
        std::fs::write(folder.path().join("LICENSE"), "").unwrap();
        assert_eq!(check(folder.path()), ["SECURITY.md is missing or empty", "LICENSE is missing or empty"]);
    }
}
