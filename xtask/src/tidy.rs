//! The rules of this workspace that the compiler does not know, checked by `cargo test -p xtask` and `xtask tidy`.
//!
//! One module a subject: [`layers`] (who may use whom), [`sources`] (Rust files), [`documents`] (what must lie in the
//! root). Each takes plain data or a folder, so that its tests can plant a violation.

mod documents;
mod layers;
mod sources;

use std::path::Path;

use anyhow::{Context, Result, bail};

/// Checks every rule on this workspace.
///
/// # Errors
/// Names every violation, one a line.
pub(crate) fn run() -> Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("xtask lies in the workspace")?;
    let mut violations = layers::check(root)?;
    violations.extend(sources::check(root)?);
    violations.extend(documents::check(root));
    if violations.is_empty() {
        return Ok(());
    }
    bail!("{} violation(s) of the workspace's rules:\n  {}", violations.len(), violations.join("\n  "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_workspace_is_tidy() {
        if let Err(error) = run() {
            panic!("{error:#}");
        }
    }
}
