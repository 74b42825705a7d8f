//! Models on their way out: a version as files in one of its formats, and conversion without a registry.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use artifact::bundle::{Bundle, MANIFEST, ONNX_MODEL};
use artifact::format::saved_model;
use serde::Serialize;

use crate::files::unwritable;
use crate::trained_bundle::CREATED_BY;
use crate::upload::Import;
use crate::{Error, Kind, Platform, Result};

/// The form in which a model leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ModelFormat {
    /// A folder that TensorFlow loads.
    SavedModel,
    /// One `.onnx` file.
    Onnx,
    /// The whole bundle, a folder: every format it has, and `bundle.json`.
    Bundle,
}

impl FromStr for ModelFormat {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "saved-model" => Ok(Self::SavedModel),
            "onnx" => Ok(Self::Onnx),
            "bundle" => Ok(Self::Bundle),
            _ => Err(format!("\"{text}\" is no format; write saved-model, onnx or bundle")),
        }
    }
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Exported {
    /// What the model is called.
    pub model: String,
    /// The file or folder.
    pub out: PathBuf,
    /// Files, by path.
    pub files: Vec<String>,
    /// Bytes of all of them.
    pub bytes: u64,
    /// Numbers of all weights, where the model was imported.
    pub parameters: Option<u64>,
    /// What a user should know of the conversion.
    pub notes: Vec<String>,
}

impl Platform {
    /// Writes a registered version in one of its formats.
    ///
    /// # Errors
    /// [`Kind::NotFound`], [`Kind::AlreadyExists`] if there is something at `out`, [`Kind::FailedPrecondition`] for a
    /// SavedModel of an imported model that uses what TensorFlow has no word for, with all of it.
    pub async fn export_model(
        &self,
        project: &str,
        reference: &str,
        format: ModelFormat,
        out: &Path,
    ) -> Result<Exported> {
        let bundle = self.open_version(&self.get_model(project, reference).await?).await?;
        tokio::task::block_in_place(|| write(&bundle, format, out))
    }
}

/// Converts what lies at a path (a folder, an `.onnx` file, an archive) and writes it; nothing is registered. Blocks
/// while it reads and computes.
///
/// # Errors
/// As [`Platform::upload_models`] and [`Platform::export_model`].
pub fn convert_model(
    path: &Path,
    signature: Option<String>,
    format: ModelFormat,
    out: &Path,
    now: jiff::Timestamp,
) -> Result<Exported> {
    let import = Import { signature, created_by: CREATED_BY.to_owned(), created_at: now.to_string() };
    match import.bundles(path, path)?.as_slice() {
        [bundle] => write(bundle, format, out),
        several => {
            let message = format!(
                "{} holds {} numbered versions; name the folder of one of them",
                path.display(),
                several.len()
            );
            Err(Error::invalid("path", message))
        }
    }
}

/// Writes a bundle in one of its formats where nothing is yet: beside the place, so that it appears there whole or not at all.
pub(crate) fn write(bundle: &Bundle, format: ModelFormat, out: &Path) -> Result<Exported> {
    if out.exists() {
        let message = format!("{} is there already; name another place or remove it", out.display());
        return Err(Error::new(Kind::AlreadyExists, message));
    }
    let name = out.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let partial = out.with_file_name(format!(".{name}.partial"));
    // What an attempt left that was cut off.
    clear(&partial).map_err(|error| unwritable(&partial, &error))?;
    let (mut files, mut bytes) = (Vec::new(), 0);
    for (name, content) in contents(bundle, format)? {
        let path = if format == ModelFormat::Onnx { partial.clone() } else { partial.join(&name) };
        bytes += content.len() as u64;
        put(&path, &content).map_err(|error| failed(&partial, out, &error))?;
        files.push(name);
    }
    std::fs::rename(&partial, out).map_err(|error| failed(&partial, out, &error))?;
    let origin = bundle.manifest.origin.as_ref();
    Ok(Exported {
        model: bundle.manifest.model.clone(),
        out: out.to_owned(),
        files,
        bytes,
        parameters: origin.map(|origin| origin.parameters),
        notes: origin.map(|origin| origin.notes.clone()).unwrap_or_default(),
    })
}

/// The files of a format, by path; the manifest of a whole bundle is the last one.
fn contents(bundle: &Bundle, format: ModelFormat) -> Result<Vec<(String, Cow<'_, [u8]>)>> {
    let manifest = &bundle.manifest;
    let has_saved_model = manifest.formats.iter().any(|format| format == "saved_model");
    let names = manifest.files.keys().map(String::as_str);
    let chosen: Vec<&str> = match format {
        ModelFormat::Bundle => names.collect(),
        ModelFormat::Onnx => vec![ONNX_MODEL],
        ModelFormat::SavedModel if has_saved_model => {
            names.filter(|name| *name != ONNX_MODEL && !name.ends_with(".json")).collect()
        }
        ModelFormat::SavedModel => {
            let files = saved_model::from_onnx(part(bundle, ONNX_MODEL)?, &manifest.signature)?;
            return Ok(files.into_iter().map(|(name, content)| (name, content.into())).collect());
        }
    };
    let file = |name: &str| Ok((name.to_owned(), Cow::Borrowed(part(bundle, name)?)));
    let mut files = chosen.into_iter().map(file).collect::<Result<Vec<_>>>()?;
    if format == ModelFormat::Bundle {
        files.push((MANIFEST.to_owned(), Cow::Borrowed(bundle.manifest_bytes().as_ref())));
    }
    Ok(files)
}

fn clear(path: &Path) -> std::io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if there.is_dir() => std::fs::remove_dir_all(path),
        Ok(_) => std::fs::remove_file(path),
        Err(_) => Ok(()),
    }
}

/// What stood in the way; nothing is left behind.
fn failed(partial: &Path, out: &Path, error: &std::io::Error) -> Error {
    // The cause is what matters; what cannot be removed is cleared by the next attempt.
    let _ = clear(partial);
    unwritable(out, error)
}

fn part<'a>(bundle: &'a Bundle, name: &str) -> Result<&'a [u8]> {
    let missing = || format!("the bundle has no {name}; upload the model again");
    let content = bundle.file(name).ok_or_else(|| Error::new(Kind::FailedPrecondition, missing()))?;
    Ok(content)
}

fn put(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    path.parent().map_or(Ok(()), std::fs::create_dir_all)?;
    std::fs::write(path, bytes)
}
