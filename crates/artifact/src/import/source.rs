//! What lies at a path: a bundle of ours, or a model in somebody else's format, alone or in numbered versions.

use std::io::Read;
use std::path::{Path, PathBuf};

use store::Scratch;

use super::archive::{Packing, unpack};
use crate::Error;
use crate::bundle::{MANIFEST, ONNX_MODEL};
use crate::format::keras;

const NO_MODEL: &str = "it is no folder, no .onnx file, no .keras file and no archive (.zip, .tar, .tar.gz)";
const HDF5: &str = "it is an HDF5 file of older Keras; load it with Keras 3 and save it again with model.save(\"model.keras\"), \
                    or export it with model.export(\"folder\")";
const PICKLE: &str = "it is a pickle, which is Python code that runs when it is read; export the model as ONNX (torch.onnx.export, \
                      skl2onnx, onnxmltools) and give that file";
/// What pickles are called: Python's own, joblib's and PyTorch's.
const PICKLES: [&str; 6] = ["pkl", "pickle", "joblib", "pt", "pth", "ckpt"];
/// More files in one folder are not looked at.
const ENTRIES_MAX: usize = 10_000;

/// What a folder or file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A folder with `bundle.json`.
    Bundle,
    /// A folder with `saved_model.pb`.
    SavedModel,
    /// A folder with `config.json` and `model.weights.h5`: an unpacked `.keras` file.
    Keras,
    /// An `.onnx` file.
    Onnx,
}

/// A model that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// The folder, or the `.onnx` file.
    pub path: PathBuf,
    /// The number of the folder it lies in, in TensorFlow Serving's and Triton's layout `model/1/`.
    pub number: Option<u64>,
}

/// What lies at a path, unpacked where it is an archive.
#[derive(Debug)]
pub struct Source {
    /// One model, or numbered versions of one, the lowest number first.
    pub models: Vec<Found>,
    /// Holds what was unpacked for as long as it is read.
    _unpacked: Option<Scratch>,
}

impl Source {
    /// Looks at a folder, an `.onnx` file, a `.keras` file, or an archive (`.zip`, `.tar`, `.tar.gz`) of these.
    ///
    /// # Errors
    /// [`Error::Import`] saying what was found instead, [`Error::Io`].
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Err(nothing(path, "there is no such file or folder"));
        }
        if path.is_dir() {
            return Ok(Self { models: in_folder(path)?, _unpacked: None });
        }
        if let Some(found) = onnx_file(path) {
            return Ok(Self { models: vec![found], _unpacked: None });
        }
        // PyTorch's are archives with one inside.
        if is_pickle(path) {
            return Err(nothing(path, PICKLE));
        }
        let Some(packing) = Packing::of(path)? else {
            return Err(nothing(path, if is_hdf5(path)? { HDF5 } else { NO_MODEL }));
        };
        let no_folder =
            |source| Error::Io { action: "make a temporary folder for", path: path.to_owned(), source };
        let unpacked = Scratch::new().map_err(no_folder)?;
        let into = unpacked.path().join("unpacked");
        std::fs::create_dir(&into).map_err(no_folder)?;
        unpack(path, packing, &into)?;
        let models = in_folder(&only_folder(&into)?).map_err(|error| match error {
            Error::Import { reason, .. } => nothing(path, &reason),
            other => other,
        })?;
        Ok(Self { models, _unpacked: Some(unpacked) })
    }
}

fn nothing(path: &Path, reason: &str) -> Error {
    Error::Import { place: path.display().to_string(), reason: reason.to_owned() }
}

fn is_hdf5(path: &Path) -> Result<bool, Error> {
    let io = |source| Error::Io { action: "read", path: path.to_owned(), source };
    let mut begin = Vec::new();
    std::fs::File::open(path).map_err(io)?.take(8).read_to_end(&mut begin).map_err(io)?;
    Ok(keras::is_hdf5(&begin))
}

fn is_pickle(path: &Path) -> bool {
    path.extension().is_some_and(|end| PICKLES.iter().any(|pickle| end.eq_ignore_ascii_case(pickle)))
}

fn onnx_file(path: &Path) -> Option<Found> {
    let is =
        path.is_file() && path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("onnx"));
    is.then(|| Found { kind: Kind::Onnx, path: path.to_owned(), number: None })
}

/// The model a folder is.
fn folder_itself(folder: &Path) -> Result<Option<Found>, Error> {
    let found = |kind| Some(Found { kind, path: folder.to_owned(), number: None });
    if folder.join(MANIFEST).is_file() {
        return Ok(found(Kind::Bundle));
    }
    if folder.join("saved_model.pb").is_file() {
        return Ok(found(Kind::SavedModel));
    }
    if folder.join(keras::CONFIG).is_file() && folder.join(keras::WEIGHTS).is_file() {
        return Ok(found(Kind::Keras));
    }
    if let Some(found) = onnx_file(&folder.join(ONNX_MODEL)) {
        return Ok(Some(found));
    }
    let mut files = entries(folder)?.into_iter().filter_map(|path| onnx_file(&path));
    match (files.next(), files.next()) {
        (Some(_), Some(_)) => Err(nothing(folder, "it holds several .onnx files; name one of them")),
        (only, _) => Ok(only),
    }
}

fn in_folder(folder: &Path) -> Result<Vec<Found>, Error> {
    if let Some(found) = folder_itself(folder)? {
        return Ok(vec![found]);
    }
    let mut models = Vec::new();
    for path in entries(folder)? {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let digits = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_digit());
        let Some(number) = name.parse().ok().filter(|_| digits && path.is_dir()) else { continue };
        let Some(found) = folder_itself(&path)? else {
            return Err(nothing(
                &path,
                "a numbered folder with no saved_model.pb, bundle.json or .onnx file",
            ));
        };
        models.push(Found { number: Some(number), ..found });
    }
    if models.is_empty() {
        if let Some(pickle) = entries(folder)?.iter().find(|path| path.is_file() && is_pickle(path)) {
            return Err(nothing(pickle, PICKLE));
        }
        let reason = "it holds no bundle.json, saved_model.pb, .onnx file or config.json with model.weights.h5, nor numbered folders \
                      with them; give the folder that does";
        return Err(nothing(folder, reason));
    }
    models.sort_by_key(|found| found.number);
    Ok(models)
}

/// Archives of a folder hold that folder alone.
fn only_folder(unpacked: &Path) -> Result<PathBuf, Error> {
    let mut inside = entries(unpacked)?;
    let hidden =
        |path: &PathBuf| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(['.', '_']));
    inside.retain(|path| !hidden(path));
    match inside.as_slice() {
        [folder] if folder.is_dir() && !is_number(folder) => Ok(folder.clone()),
        _ => Ok(unpacked.to_owned()),
    }
}

fn is_number(path: &Path) -> bool {
    path.file_name()
        .and_then(|name| name.to_str())
        .is_some_and(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    let io = |source| Error::Io { action: "list", path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io)? {
        paths.push(entry.map_err(io)?.path());
        if paths.len() > ENTRIES_MAX {
            return Err(nothing(folder, &format!("it has more than {ENTRIES_MAX} entries")));
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(files: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for file in files {
            let path = folder.path().join(file);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "x").unwrap();
        }
        folder
    }

    fn kinds(path: &Path) -> Result<Vec<(Kind, Option<u64>)>, String> {
        let source = Source::open(path).map_err(|error| error.to_string())?;
        Ok(source.models.iter().map(|found| (found.kind, found.number)).collect())
    }

    #[test]
    fn every_layout_is_recognised() {
        type Layout<'a> = (&'a [&'a str], &'a [(Kind, Option<u64>)]);
        let known: [Layout<'_>; 6] = [
            (&["bundle.json", "saved_model.pb", "model.onnx"], &[(Kind::Bundle, None)]),
            (&["saved_model.pb", "variables/variables.index"], &[(Kind::SavedModel, None)]),
            (&["net.onnx", "net.onnx.data"], &[(Kind::Onnx, None)]),
            (&["config.json", "metadata.json", "model.weights.h5"], &[(Kind::Keras, None)]),
            (
                &["10/saved_model.pb", "2/saved_model.pb", "notes.txt"],
                &[(Kind::SavedModel, Some(2)), (Kind::SavedModel, Some(10))],
            ),
            (&["config.pbtxt", "1/model.onnx"], &[(Kind::Onnx, Some(1))]),
        ];
        for (files, expected) in known {
            assert_eq!(kinds(folder(files).path()).unwrap(), expected, "{files:?}");
        }
        let one = folder(&["a.onnx", "b.onnx"]);
        assert_eq!(kinds(&one.path().join("b.onnx")).unwrap(), [(Kind::Onnx, None)]);
        assert!(kinds(one.path()).unwrap_err().contains("several .onnx files"));
        assert!(kinds(folder(&["readme.md"]).path()).unwrap_err().contains("holds no bundle.json"));
        assert!(kinds(folder(&["1/readme.md"]).path()).unwrap_err().contains("numbered folder"));
        assert!(kinds(&folder(&["x.md"]).path().join("x.md")).unwrap_err().contains("no archive"));
        let old = folder(&["x.h5"]);
        std::fs::write(old.path().join("x.h5"), b"\x89HDF\r\n\x1a\n and more").unwrap();
        assert!(kinds(&old.path().join("x.h5")).unwrap_err().contains("model.save(\"model.keras\")"));
    }

    #[test]
    fn a_pickle_is_refused_with_the_reason() {
        for name in ["x.pt", "X.PKL", "model.joblib"] {
            let folder = folder(&[name, "readme.md"]);
            for path in [folder.path().to_owned(), folder.path().join(name)] {
                let refusal = kinds(&path).unwrap_err();
                assert!(refusal.contains("Python code") && refusal.contains(name), "{refusal}");
            }
        }
        // Beside a model it is a file like any other: kept, and never read.
        let beside = folder(&["saved_model.pb", "optimizer.pkl"]);
        assert_eq!(kinds(beside.path()).unwrap(), [(Kind::SavedModel, None)]);
    }

    #[test]
    fn an_archive_is_looked_into() {
        for top in ["", "model/", "1/"] {
            let mut builder = tar::Builder::new(Vec::new());
            let mut header = tar::Header::new_gnu();
            header.set_size(1);
            header.set_mode(0o644);
            builder.append_data(&mut header, format!("{top}saved_model.pb"), &b"x"[..]).unwrap();
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("m.tar");
            std::fs::write(&path, builder.into_inner().unwrap()).unwrap();
            let source = Source::open(&path).unwrap();
            assert_eq!(source.models[0].kind, Kind::SavedModel);
            assert_eq!(source.models[0].number, (top == "1/").then_some(1));
            let unpacked = source.models[0].path.clone();
            assert!(unpacked.join("saved_model.pb").is_file());
            drop(source);
            assert!(!unpacked.exists());
        }
    }
}
