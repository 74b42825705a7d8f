//! Where the library of ONNX Runtime may lie. Nothing is downloaded, and no Python is run: an installed `onnxruntime`
//! package has the library among its files.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The variables that name the library, in order: ours, and the one the Rust binding is known for.
const NAMING: [&str; 2] = ["BELLWETHER_ONNXRUNTIME", "ORT_DYLIB_PATH"];

/// Where to look for the library.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LibraryPlaces {
    /// The library, as a user named it: then nothing else counts.
    pub named: Option<PathBuf>,
    /// Folders that may hold it, the first first.
    pub folders: Vec<PathBuf>,
}

impl LibraryPlaces {
    /// The usual places, for a process with these variables: the library that `BELLWETHER_ONNXRUNTIME` or
    /// `ORT_DYLIB_PATH` names; the Python packages of `VIRTUAL_ENV`, `CONDA_PREFIX`, the interpreters on `PATH` and
    /// `HOME`; the folders of the system.
    pub fn usual(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let set = |name: &str| variable(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let mut prefixes: Vec<PathBuf> =
            ["VIRTUAL_ENV", "CONDA_PREFIX"].into_iter().filter_map(set).collect();
        for folder in variable("PATH").iter().flat_map(std::env::split_paths) {
            if folder.join("python3").exists() {
                prefixes.extend(folder.parent().map(Path::to_owned));
            }
        }
        prefixes.extend(set("HOME").map(|home| home.join(".local")));
        let mut folders: Vec<PathBuf> = prefixes.iter().flat_map(|prefix| packages_under(prefix)).collect();
        folders.extend(Self::of_the_system().folders);
        Self { named: NAMING.into_iter().find_map(set), folders }
    }

    /// The folders of the system alone.
    pub fn of_the_system() -> Self {
        let mut folders: Vec<PathBuf> =
            ["/usr/local", "/usr"].iter().flat_map(|p| packages_under(Path::new(p))).collect();
        folders.push("/usr/lib/python3/dist-packages/onnxruntime/capi".into());
        folders
            .extend(["/usr/local/lib", "/opt/onnxruntime/lib", "/usr/lib", "/usr/lib64"].map(PathBuf::from));
        folders.push(format!("/usr/lib/{}-linux-gnu", std::env::consts::ARCH).into());
        folders.push("/opt/homebrew/lib".into());
        Self { named: None, folders }
    }

    /// The library, or where it was looked for.
    pub(super) fn find(&self) -> Result<PathBuf, String> {
        if let Some(named) = &self.named {
            if named.is_file() {
                return Ok(named.clone());
            }
            return library_in(named).ok_or_else(|| {
                format!(
                    "{} is no library of ONNX Runtime and holds none; correct BELLWETHER_ONNXRUNTIME or \
                     ORT_DYLIB_PATH, or unset them to look in the usual places",
                    named.display()
                )
            });
        }
        if let Some(library) = self.folders.iter().find_map(|folder| library_in(folder)) {
            return Ok(library);
        }
        let folders: Vec<String> = self.folders.iter().map(|folder| folder.display().to_string()).collect();
        Err(format!(
            "no library of ONNX Runtime in {}; install the Python package onnxruntime, or name the library with \
             BELLWETHER_ONNXRUNTIME=/path/to/libonnxruntime.so",
            folders.join(", ")
        ))
    }
}

/// The folder of the package's library for every Python under a prefix, the newest first.
fn packages_under(prefix: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for lib in ["lib", "lib64"] {
        let pythons = entries(&prefix.join(lib)).into_iter().filter(|path| starts(path, "python3"));
        for packages in ["site-packages", "dist-packages"] {
            let inside = |python: PathBuf| python.join(packages).join("onnxruntime/capi");
            found.extend(pythons.clone().map(inside).filter(|folder| folder.is_dir()));
        }
    }
    found
}

/// `libonnxruntime.so`, with a version or without, or `libonnxruntime.dylib`; the newest version first.
fn library_in(folder: &Path) -> Option<PathBuf> {
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let versioned = name.starts_with("libonnxruntime.so") || name.starts_with("libonnxruntime.");
        versioned && (name.contains(".so") || name.ends_with(".dylib")) && path.is_file()
    };
    entries(folder).into_iter().find(is_library)
}

/// What a folder holds, the highest numbers in names first.
fn entries(folder: &Path) -> Vec<PathBuf> {
    let read = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found: Vec<(Vec<u64>, PathBuf)> =
        read.map(|entry| (numbers(&entry.path()), entry.path())).collect();
    found.sort_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, path)| path).collect()
}

fn starts(path: &Path, with: &str) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(with))
}

/// The numbers in the name of a file: 1, 32, 0 of `libonnxruntime.so.1.32.0`.
fn numbers(path: &Path) -> Vec<u64> {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

/// The version of a loaded library: from its name, else from what it says of its build (`git-branch=rel-1.32.0`).
pub(super) fn version(library: &Path, build: &str) -> String {
    let resolved = library.canonicalize().unwrap_or_else(|_| library.to_owned());
    let of_name = numbers(&resolved);
    if of_name.len() >= 3 {
        return format!("{}.{}.{}", of_name[0], of_name[1], of_name[2]);
    }
    let branch = build.split("git-branch=rel-").nth(1).and_then(|rest| rest.split([',', ' ']).next());
    branch.unwrap_or("of unknown version").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_python_package_is_found_and_the_newest_taken() {
        let home = tempfile::tempdir().unwrap();
        for (python, version) in [("python3.9", "1.19.2"), ("python3.11", "1.9.0"), ("python3.11", "1.32.0")]
        {
            let capi = home.path().join(".local/lib").join(python).join("site-packages/onnxruntime/capi");
            std::fs::create_dir_all(&capi).unwrap();
            std::fs::write(capi.join(format!("libonnxruntime.so.{version}")), "").unwrap();
            std::fs::write(capi.join("libonnxruntime_providers_shared.so"), "").unwrap();
        }
        let variable = |name: &str| (name == "HOME").then(|| home.path().as_os_str().to_owned());
        let found = LibraryPlaces::usual(variable).find().unwrap();
        assert!(
            found.ends_with("python3.11/site-packages/onnxruntime/capi/libonnxruntime.so.1.32.0"),
            "{found:?}"
        );
        assert_eq!(version(&found, ""), "1.32.0");
    }

    #[test]
    fn a_named_library_is_the_only_one_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let nothing = folder.path().join("nothing.so");
        let variable = |name: &str| (name == "ORT_DYLIB_PATH").then(|| nothing.as_os_str().to_owned());
        let refused = LibraryPlaces::usual(variable).find().unwrap_err();
        assert!(refused.contains("nothing.so") && refused.contains("ORT_DYLIB_PATH"), "{refused}");
        std::fs::write(&nothing, "").unwrap();
        assert_eq!(LibraryPlaces::usual(variable).find(), Ok(nothing.clone()));
    }

    #[test]
    fn what_is_missing_says_where_it_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        let places = LibraryPlaces { named: None, folders: vec![folder.path().to_owned()] };
        let refused = places.find().unwrap_err();
        assert!(refused.contains(&folder.path().display().to_string()), "{refused}");
        assert!(refused.contains("BELLWETHER_ONNXRUNTIME"), "{refused}");
    }

    #[test]
    fn the_build_tells_the_version_where_the_name_does_not() {
        let build = "ORT Build Info: git-branch=rel-1.20.1, git-commit-id=5c1b7cc, build type=Release";
        assert_eq!(version(Path::new("/x/libonnxruntime.so"), build), "1.20.1");
        assert_eq!(version(Path::new("/x/libonnxruntime.so"), "custom"), "of unknown version");
    }
}
