//! Rules on Rust files: each opens with `//!`, and none grows past what a reader can hold.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// More lines than this need a reason in [`LONG_FILES`].
const MAX_LINES: usize = 700;

/// Files over the limit, relative to the root, and why each is better in one piece.
const LONG_FILES: &[(&str, &str)] = &[];

/// Folders of generated code, relative to the root: nobody reads or edits what is there.
const GENERATED: &[&str] = &["crates/protos/src/generated"];

/// One violation for each file that breaks a rule.
///
/// # Errors
/// If a folder or file cannot be read.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    check_with(root, LONG_FILES)
}

fn check_with(root: &Path, long_files: &[(&str, &str)]) -> Result<Vec<String>> {
    let mut violations = Vec::new();
    let mut long_ones = Vec::new();
    for file in rust_files(root)? {
        let text = std::fs::read_to_string(root.join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        // The same name on every system.
        let name = file.iter().map(|part| part.to_string_lossy()).collect::<Vec<_>>().join("/");
        if !text.starts_with("//!") {
            violations.push(format!("{name} does not open with //! (what lives here, and what does not)"));
        }
        let lines = text.lines().count();
        if lines > MAX_LINES {
            if !long_files.iter().any(|(listed, reason)| *listed == name && !reason.is_empty()) {
                violations.push(format!(
                    "{name} has {lines} lines, over {MAX_LINES}: split it by concept, or give a reason in xtask/src/tidy/sources.rs"
                ));
            }
            long_ones.push(name);
        }
    }
    for (listed, _) in long_files {
        if !long_ones.iter().any(|name| name == listed) {
            violations.push(format!(
                "{listed} is listed as a long file but is not: remove it from xtask/src/tidy/sources.rs"
            ));
        }
    }
    Ok(violations)
}

/// Every `.rs` file under the root, relative to it and in order, without hidden, built and generated ones.
fn rust_files(root: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let path = root.join(&folder);
        for entry in std::fs::read_dir(&path).with_context(|| format!("cannot read {}", path.display()))? {
            let entry = entry?;
            let relative = folder.join(entry.file_name());
            let name = entry.file_name();
            if entry.file_type()?.is_dir() {
                let hidden = name.to_string_lossy().starts_with('.');
                // A build folder may lie anywhere a user put it: cargo marks each with this file.
                let built = name == "target" || entry.path().join("CACHEDIR.TAG").exists();
                let generated = GENERATED.iter().any(|folder| Path::new(folder) == relative);
                if !hidden && !built && !generated {
                    folders.push(relative);
                }
            } else if relative.extension().is_some_and(|extension| extension == "rs") {
                files.push(relative);
            }
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "//! What lives here.\n\nfn main() {}\n";

    /// A folder with the given files; more than [`MAX_LINES`] where the text says `LONG`.
    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let text = if *text == "LONG" {
                GOOD.to_owned() + &"// line\n".repeat(MAX_LINES)
            } else {
                (*text).to_owned()
            };
            std::fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn good_files_pass_and_generated_or_built_ones_are_not_read() {
        let folder = folder(&[
            ("crates/a/src/lib.rs", GOOD),
            ("crates/protos/src/generated/onnx.rs", "pub struct Generated;"),
            ("target/debug/build/out.rs", "built"),
            (".venv/x.rs", "hidden"),
            ("crates/a/README.md", "not Rust"),
        ]);
        assert_eq!(check_with(folder.path(), &[]).unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_file_without_an_opening_comment_is_found() {
        let folder =
            folder(&[("crates/a/src/lib.rs", "use std::fmt;\n//! too late\n"), ("xtask/src/main.rs", GOOD)]);
        let found = check_with(folder.path(), &[]).unwrap();
        assert_eq!(
            found,
            ["crates/a/src/lib.rs does not open with //! (what lives here, and what does not)"]
        );
    }

    #[test]
    fn a_long_file_is_found_unless_it_is_listed_with_a_reason() {
        let folder = folder(&[("crates/a/src/lib.rs", "LONG")]);
        let found = check_with(folder.path(), &[]).unwrap();
        assert!(
            found.len() == 1 && found[0].starts_with("crates/a/src/lib.rs has 703 lines, over 700"),
            "{found:?}"
        );
        assert_eq!(check_with(folder.path(), &[("crates/a/src/lib.rs", "")]).unwrap().len(), 1);
        assert_eq!(
            check_with(folder.path(), &[("crates/a/src/lib.rs", "one table")]).unwrap(),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_listed_file_that_is_not_long_is_found() {
        let folder = folder(&[("crates/a/src/lib.rs", GOOD)]);
        let found = check_with(folder.path(), &[("crates/a/src/lib.rs", "was long once")]).unwrap();
        assert!(found.len() == 1 && found[0].contains("is listed as a long file but is not"), "{found:?}");
    }
}
