//! Who may use whom: the dependency table of ARCHITECTURE.md against `cargo metadata`.
//!
//! Dev-dependencies are exempt: a test may build the world it needs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use cargo_metadata::{DependencyKind, MetadataCommand};

/// The first cell of the table's header, by which it is found in the document.
const HEADER: &str = "| crate |";

/// What the table allows.
#[derive(Debug, Default)]
struct LayerTable {
    rows: BTreeMap<String, Row>,
}

/// One crate of the table.
#[derive(Debug, Default)]
struct Row {
    /// Crates of this workspace it may use.
    ours: BTreeSet<String>,
    /// Foreign crates that only it (and others whose row lists them) may name.
    theirs: BTreeSet<String>,
}

/// A member of the workspace and what it uses outside tests.
#[derive(Debug)]
struct Member {
    name: String,
    dependencies: BTreeSet<String>,
    inherits_lints: bool,
}

/// Compares the table with the manifests.
///
/// # Errors
/// If ARCHITECTURE.md has no readable table, or `cargo metadata` fails.
pub(super) fn check(root: &Path) -> Result<Vec<String>> {
    let document = root.join("ARCHITECTURE.md");
    let text =
        std::fs::read_to_string(&document).with_context(|| format!("cannot read {}", document.display()))?;
    Ok(violations(&LayerTable::parse(&text)?, &members(root)?))
}

impl LayerTable {
    /// Reads the one Markdown table whose header starts with `| crate |`: names stand in backticks.
    fn parse(markdown: &str) -> Result<Self> {
        let mut lines = markdown.lines().skip_while(|line| !line.starts_with(HEADER)).skip(2).peekable();
        ensure!(lines.peek().is_some(), "ARCHITECTURE.md has no table whose header starts with \"{HEADER}\"");
        let mut table = Self::default();
        for line in lines.take_while(|line| line.starts_with('|')) {
            let cells: Vec<&str> = line.trim_matches('|').split('|').collect();
            let [name, ours, theirs] = cells.as_slice() else {
                bail!("a row of the dependency table has {} cells, not 3: {line}", cells.len());
            };
            let name =
                names(name).into_iter().next().with_context(|| format!("no crate in backticks: {line}"))?;
            let row = Row { ours: names(ours), theirs: names(theirs) };
            ensure!(
                table.rows.insert(name.clone(), row).is_none(),
                "the dependency table lists {name} twice"
            );
        }
        Ok(table)
    }
}

/// The words in backticks of one cell.
fn names(cell: &str) -> BTreeSet<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The members of the workspace, with their normal and build dependencies.
fn members(root: &Path) -> Result<Vec<Member>> {
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    metadata
        .packages
        .iter()
        .map(|package| {
            let manifest = std::fs::read_to_string(&package.manifest_path)
                .with_context(|| format!("cannot read {}", package.manifest_path))?;
            Ok(Member {
                name: package.name.to_string(),
                dependencies: package
                    .dependencies
                    .iter()
                    .filter(|dependency| dependency.kind != DependencyKind::Development)
                    .map(|dependency| dependency.name.clone())
                    .collect(),
                inherits_lints: manifest.contains("[lints]\nworkspace = true"),
            })
        })
        .collect()
}

/// Every way in which the members differ from the table.
fn violations(table: &LayerTable, members: &[Member]) -> Vec<String> {
    let own: BTreeSet<&str> = members.iter().map(|member| member.name.as_str()).collect();
    let mut found: Vec<String> = table
        .rows
        .keys()
        .filter(|name| !own.contains(name.as_str()))
        .map(|name| format!("ARCHITECTURE.md has a row for {name}, which is no crate of this workspace"))
        .collect();
    for member in members {
        if !member.inherits_lints {
            found.push(format!(
                "{} does not inherit the workspace's lints: add [lints] workspace = true",
                member.name
            ));
        }
        match table.rows.get(&member.name) {
            None => {
                found.push(format!("{} has no row in the dependency table of ARCHITECTURE.md", member.name));
            }
            Some(row) => found.extend(violations_of(member, row, table, &own)),
        }
    }
    found
}

fn violations_of(member: &Member, row: &Row, table: &LayerTable, own: &BTreeSet<&str>) -> Vec<String> {
    let name = &member.name;
    let mut found = Vec::new();
    for dependency in &member.dependencies {
        if own.contains(dependency.as_str()) {
            if !row.ours.contains(dependency) {
                found.push(format!("{name} uses {dependency}: its row in ARCHITECTURE.md does not allow it"));
            }
            continue;
        }
        let owners: Vec<&str> = table
            .rows
            .iter()
            .filter(|(_, other)| other.theirs.contains(dependency))
            .map(|(owner, _)| owner.as_str())
            .collect();
        if !owners.is_empty() && !owners.contains(&name.as_str()) {
            found.push(format!("{name} names {dependency}, which only {} may name", owners.join(" and ")));
        }
    }
    for dependency in row.theirs.difference(&member.dependencies) {
        found.push(format!(
            "ARCHITECTURE.md says that {name} names {dependency}; it does not: remove it there"
        ));
    }
    for dependency in row.ours.iter().filter(|dependency| !own.contains(dependency.as_str())) {
        found.push(format!(
            "ARCHITECTURE.md lets {name} use {dependency}, which is no crate of this workspace"
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
# Title

| crate | may use (ours) | only it names (theirs) |
|---|---|---|
| `base` | – | `engine` |
| `top` | `base` | – |

| other | table |
|---|---|
| `not` | `read` |
";

    fn member(name: &str, dependencies: &[&str]) -> Member {
        Member {
            name: name.to_owned(),
            dependencies: dependencies.iter().map(|name| (*name).to_owned()).collect(),
            inherits_lints: true,
        }
    }

    fn check(members: &[Member], expected: &[&str]) {
        assert_eq!(violations(&LayerTable::parse(TABLE).unwrap(), members), expected);
    }

    #[test]
    fn allowed_dependencies_pass() {
        check(&[member("base", &["engine", "serde"]), member("top", &["base", "serde"])], &[]);
    }

    #[test]
    fn a_use_against_the_direction_is_found() {
        check(
            &[member("base", &["engine", "top"]), member("top", &[])],
            &["base uses top: its row in ARCHITECTURE.md does not allow it"],
        );
    }

    #[test]
    fn a_foreign_crate_named_by_another_is_found() {
        check(
            &[member("base", &["engine"]), member("top", &["base", "engine"])],
            &["top names engine, which only base may name"],
        );
    }

    #[test]
    fn a_crate_without_a_row_and_a_row_without_a_crate_are_found() {
        check(
            &[member("base", &["engine"]), member("new", &[])],
            &[
                "ARCHITECTURE.md has a row for top, which is no crate of this workspace",
                "new has no row in the dependency table of ARCHITECTURE.md",
            ],
        );
    }

    #[test]
    fn a_stale_entry_of_the_table_is_found() {
        check(
            &[member("base", &[]), member("top", &["base"])],
            &["ARCHITECTURE.md says that base names engine; it does not: remove it there"],
        );
    }

    #[test]
    fn a_crate_with_lints_of_its_own_is_found() {
        check(
            &[member("base", &["engine"]), Member { inherits_lints: false, ..member("top", &[]) }],
            &["top does not inherit the workspace's lints: add [lints] workspace = true"],
        );
    }

    #[test]
    fn a_document_without_a_readable_table_is_refused() {
        for (text, expected) in [
            ("no table here", "has no table"),
            ("| crate | a | b |\n|---|---|---|\n| `x` | – |\n", "has 2 cells"),
            ("| crate | a | b |\n|---|---|---|\n| x | – | – |\n", "no crate in backticks"),
            ("| crate | a | b |\n|---|---|---|\n| `x` | – | – |\n| `x` | – | – |\n", "lists x twice"),
        ] {
            let error = LayerTable::parse(text).unwrap_err().to_string();
            assert!(error.contains(expected), "{error:?} does not say {expected:?}");
        }
    }
}
