//! A bundle: one directory that is a TensorFlow SavedModel, holds `model.onnx`, and says in `bundle.json` what
//! they are, where they come from, and the SHA-256 of every file.
//!
//! Whatever is opened is verified first, file by file, and read within limits. `bundle.json` is always written
//! last, so a directory without it is no bundle. Deliberately not here: the meaning of processors, labels,
//! splits and metrics.

mod golden;
mod manifest;
mod recorded;
mod verify;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use predictor::Predictor;
use store::Store;

use crate::Error;
use crate::engine::{self, EngineKind};
pub use golden::GOLDEN_TOLERANCE;
pub use manifest::{
    FeatureContract, FileEntry, FormatTensorNames, Golden, GoldenRow, Manifest, NamedExpression, NanPolicy,
    ObservedColumn, Origin, TensorNames, Version,
};
pub use recorded::{RecordedCall, RecordedTensor};
use verify::Verified;

/// The name of the manifest in a bundle.
pub const MANIFEST: &str = "bundle.json";

/// The name of the ONNX model in a bundle.
pub const ONNX_MODEL: &str = "model.onnx";

/// The most bytes a manifest may have: 64 MiB.
pub const MAX_MANIFEST_BYTES: u64 = 64 << 20;

/// The most bytes all files of a bundle may have together: 2 GiB.
pub const MAX_BUNDLE_BYTES: u64 = 2 << 30;

/// The most files a bundle may have.
pub const MAX_FILES: usize = 1000;

/// What [`write_directory`] makes a bundle of.
#[derive(Debug, Clone)]
pub struct BundleParts {
    /// The manifest; its `files` are replaced by entries for the files given here.
    pub manifest: Manifest,
    /// Path inside the bundle, with `/`, and contents.
    pub files: Vec<(String, Vec<u8>)>,
}

/// Writes a bundle into `directory` (made if missing) and returns its manifest with the digests.
///
/// A bundle already there stops being one before its first file is replaced.
///
/// # Errors
/// [`Error::FileName`] for a path that is not plain or occurs twice, [`Error::Manifest`] if a golden input is
/// infinite, [`Error::TooLarge`], [`Error::Io`].
pub fn write_directory(directory: &Path, parts: BundleParts) -> Result<Manifest, Error> {
    let (BundleParts { manifest, files }, text) = sealed(parts)?;
    verify::write_files(directory, &files, &text)?;
    Ok(manifest)
}

/// A bundle that was never on disk, as it would be opened.
///
/// # Errors
/// As [`write_directory`], but for [`Error::Io`].
pub fn assemble(parts: BundleParts) -> Result<Bundle, Error> {
    let (BundleParts { manifest, files }, text) = sealed(parts)?;
    let files = files.into_iter().map(|(name, bytes)| (name, Bytes::from(bytes))).collect();
    Ok(Bundle { manifest, digest: verify::sha256_hex(&text), manifest_bytes: Bytes::from(text), files })
}

/// The parts with the digests of all files in the manifest, and the text of the manifest.
fn sealed(parts: BundleParts) -> Result<(BundleParts, Vec<u8>), Error> {
    let BundleParts { mut manifest, files } = parts;
    golden::check_writable(&manifest.golden)?;
    manifest.files = verify::entries(&files)?;
    verify::check_entries(&manifest)?;
    let text = manifest.to_json()?;
    verify::limit(MANIFEST, text.len() as u64, MAX_MANIFEST_BYTES)?;
    Ok((BundleParts { manifest, files }, text))
}

/// An opened bundle: every file read, and verified against the manifest.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// What `bundle.json` says.
    pub manifest: Manifest,
    /// SHA-256 (hex) of the bytes of `bundle.json`; as it holds the digests of all files, it names the whole.
    pub digest: String,
    manifest_bytes: Bytes,
    files: BTreeMap<String, Bytes>,
}

impl Bundle {
    /// Opens and verifies the bundle in `directory`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::UnknownVersion`], [`Error::Manifest`], [`Error::FileName`], [`Error::Size`],
    /// [`Error::Digest`], [`Error::TooLarge`], [`Error::Io`].
    pub fn open(directory: &Path) -> Result<Self, Error> {
        let text = verify::read_manifest_file(directory)?;
        let mut opening = Verified::begin(text)?;
        for (name, entry) in opening.entries() {
            let bytes = verify::read_file(directory, &name, &entry)?;
            opening.add(name, bytes)?;
        }
        Ok(opening.finish())
    }

    /// Opens and verifies the bundle under `prefix` of a store, its files by way of the store's cache if it has one.
    ///
    /// # Errors
    /// As [`Bundle::open`], and [`Error::Store`].
    pub async fn open_store(store: &Store, prefix: &str) -> Result<Self, Error> {
        let missing = |error: store::Error, file: &str| match error {
            store::Error::NotFound { .. } => {
                Error::Missing { place: store.url_of(prefix), file: file.to_owned() }
            }
            other => Error::Store(other),
        };
        let path = format!("{prefix}/{MANIFEST}");
        let text =
            store.get_limited(&path, MAX_MANIFEST_BYTES).await.map_err(|error| missing(error, MANIFEST))?;
        let mut opening = Verified::begin(text)?;
        for (name, entry) in opening.entries() {
            let path = format!("{prefix}/{name}");
            let expected = store::Expected { sha256: entry.sha256, bytes: entry.size };
            // What comes from a folder is digested once, when it is added.
            let found = match store.is_remote() {
                true => store.get_verified(&path, &expected).await,
                false => store.get_limited(&path, entry.size).await,
            };
            let bytes = match found {
                Err(store::Error::Damaged { expected_bytes, found_bytes, .. })
                    if expected_bytes != found_bytes =>
                {
                    return Err(Error::Size { file: name, expected: expected_bytes, found: found_bytes });
                }
                Err(store::Error::Damaged { expected, found, .. }) => {
                    return Err(Error::Digest { file: name, expected, found });
                }
                Err(store::Error::TooLarge { size: found, .. }) => {
                    return Err(Error::Size { file: name, expected: entry.size, found });
                }
                other => other.map_err(|error| missing(error, &name))?,
            };
            opening.add(name, bytes)?;
        }
        Ok(opening.finish())
    }

    /// Writes the bundle under `prefix` of a store, the manifest last: readers see all of it or none.
    ///
    /// # Errors
    /// [`Error::Store`]; with `AlreadyExists` inside if there is a bundle at `prefix`.
    pub async fn upload(&self, store: &Store, prefix: &str) -> Result<(), Error> {
        let files = self.files.iter().map(|(name, bytes)| (name.clone(), bytes.clone())).collect();
        let manifest = (MANIFEST.to_owned(), self.manifest_bytes.clone());
        Ok(store.commit_directory(prefix, files, manifest).await?)
    }

    /// The verified contents of a file of the bundle.
    pub fn file(&self, name: &str) -> Option<&Bytes> {
        self.files.get(name)
    }

    /// The bytes of `bundle.json`.
    pub fn manifest_bytes(&self) -> &Bytes {
        &self.manifest_bytes
    }

    /// Bytes of all files together, without the manifest.
    pub fn size_bytes(&self) -> u64 {
        self.files.values().map(|bytes| bytes.len() as u64).sum()
    }

    /// The engine the model runs on: rten, or the one an imported model was proven on.
    pub fn engine(&self) -> EngineKind {
        self.manifest.origin.as_ref().map_or(EngineKind::Rten, |origin| origin.engine)
    }

    /// Loads the model into its engine; see [`engine::load`] for what `threads` means.
    ///
    /// # Errors
    /// [`Error::Missing`] if the bundle has no `model.onnx`, [`Error::Load`] if the engine is not there or refuses it.
    pub fn load(&self, threads: usize) -> Result<Box<dyn Predictor>, Error> {
        self.load_on(self.engine(), threads)
    }

    /// Loads the model into an engine of the caller's choice. What it answers must be held against the golden sample.
    ///
    /// # Errors
    /// As [`Bundle::load`].
    pub fn load_on(&self, engine: EngineKind, threads: usize) -> Result<Box<dyn Predictor>, Error> {
        let model = self.file(ONNX_MODEL).ok_or_else(|| Error::Missing {
            place: format!("bundle {}", self.manifest.model),
            file: ONNX_MODEL.to_owned(),
        })?;
        engine::load(model.to_vec(), &self.manifest.signature, threads, engine)
    }

    /// The float32 tensors of `model.onnx` by name, the trained ones under the names their layers gave them.
    ///
    /// # Errors
    /// [`Error::Missing`] if the bundle has no `model.onnx`, [`Error::Load`] if it cannot be read.
    pub fn tensors(&self) -> Result<Vec<(String, predictor::Tensor)>, Error> {
        let model = self.file(ONNX_MODEL).ok_or_else(|| Error::Missing {
            place: format!("bundle {}", self.manifest.model),
            file: ONNX_MODEL.to_owned(),
        })?;
        crate::format::onnx::tensors(model)
    }

    /// Runs the golden sample and returns the largest absolute difference from the recorded outputs.
    ///
    /// # Errors
    /// [`Error::Golden`] if there is no sample, the call fails, or the difference is above [`GOLDEN_TOLERANCE`].
    pub fn verify_golden(&self, predictor: &dyn Predictor) -> Result<f32, Error> {
        golden::verify(&self.manifest.golden, predictor)
    }
}
