//! What lies at a path or URI as bundles: ours as they are, models of others converted, run once and recorded.

use std::path::{Path, PathBuf};

use artifact::bundle::{self, Bundle};
use artifact::format::keras::KerasSource;
use artifact::format::onnx;
use artifact::format::saved_model::read::SavedModelSource;
use artifact::import::{Foreign, Found, ImportedModel, Kind as Layout, Source};

use crate::{Error, Result};

/// The signature that TensorFlow serves unless told otherwise.
const SERVING_DEFAULT: &str = "serving_default";
/// Bytes of a suggested model id.
const ID_BYTES_MAX: usize = 63;

/// How a foreign model is taken over.
#[derive(Debug, Clone)]
pub(crate) struct Import {
    /// Which signature of a SavedModel; `serving_default`, or its only one, if none is named.
    pub(crate) signature: Option<String>,
    /// Program and version.
    pub(crate) created_by: String,
    /// When, as RFC 3339.
    pub(crate) created_at: String,
}

impl Import {
    /// The bundle at a path, or those of the numbered versions of a model, oldest first; `named` is what messages call it.
    /// Blocks while it reads and computes.
    ///
    /// # Errors
    /// [`crate::Kind::InvalidArgument`] for what is no model or damaged, [`crate::Kind::FailedPrecondition`] for one that no engine
    /// here computes, with everything that stands in the way.
    pub(crate) fn bundles(&self, path: &Path, named: &Path) -> Result<Vec<Bundle>> {
        let source = Source::open(path)?;
        source.models.iter().map(|found| self.bundle(found, named)).collect()
    }

    fn bundle(&self, found: &Found, named: &Path) -> Result<Bundle> {
        let number = found.number.map(|number| format!(" (version {number})")).unwrap_or_default();
        let context = |error: Error| error.context(format!("cannot use {}{number}", named.display()));
        if found.kind == Layout::Bundle {
            return Bundle::open(&found.path).map_err(|error| context(error.into()));
        }
        let (imported, signature) = self.read(found).map_err(context)?;
        let model = model_id(named);
        let foreign = Foreign {
            format: match found.kind {
                Layout::SavedModel => "saved_model",
                Layout::Keras => "keras",
                Layout::Onnx | Layout::Bundle => "onnx",
            },
            signature,
            folder: matches!(found.kind, Layout::SavedModel | Layout::Keras).then_some(found.path.as_path()),
            model: &model,
            created_by: &self.created_by,
            created_at: &self.created_at,
        };
        let parts = foreign.parts(&imported).map_err(|error| context(error.into()))?;
        bundle::assemble(parts).map_err(|error| context(error.into()))
    }

    /// The model, and the signature that was taken where there are several.
    pub(crate) fn read(&self, found: &Found) -> Result<(ImportedModel, Option<String>)> {
        if found.kind == Layout::Onnx {
            if self.signature.is_some() {
                let message = "an ONNX model has one signature without a name; leave --signature out";
                return Err(Error::invalid("signature", message));
            }
            return Ok((onnx::read_onnx(&found.path)?, None));
        }
        if found.kind == Layout::Keras {
            if self.signature.is_some() {
                let message = "a Keras model has one signature without a name; leave --signature out";
                return Err(Error::invalid("signature", message));
            }
            return Ok((KerasSource::open(&found.path)?.convert()?, None));
        }
        let source = SavedModelSource::open(&found.path)?;
        let names: Vec<String> = source.signatures().into_iter().map(|signature| signature.name).collect();
        let chosen = match (&self.signature, names.as_slice()) {
            (Some(name), _) if names.contains(name) => name.clone(),
            (None, names) if names.iter().any(|name| name == SERVING_DEFAULT) => SERVING_DEFAULT.to_owned(),
            (None, [only]) => only.clone(),
            (asked, names) => {
                let asked = asked.as_deref().unwrap_or(SERVING_DEFAULT);
                let listed = names.join(", ");
                let message = format!(
                    "the SavedModel has no signature \"{asked}\"; it has {listed}: name one with --signature"
                );
                return Err(Error::invalid("signature", message));
            }
        };
        let mut imported = source.convert(&chosen)?;
        let others: Vec<&str> = names.iter().filter(|name| **name != chosen).map(String::as_str).collect();
        if !others.is_empty() {
            imported.notes.push(format!(
                "it has the signature \"{chosen}\"; name another one of the source with --signature: {}",
                others.join(", ")
            ));
        }
        Ok((imported, Some(chosen)))
    }
}

/// A model id made of the name of a file or folder.
pub fn model_id(path: &Path) -> String {
    let absolute = path.canonicalize().unwrap_or_else(|_| PathBuf::from(path));
    let name = absolute.file_name().map(|name| name.to_string_lossy().to_lowercase()).unwrap_or_default();
    let stem =
        [".tar.gz", ".tgz", ".tar", ".zip", ".onnx", ".keras"].iter().find_map(|end| name.strip_suffix(end));
    let plain = |c: char| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' };
    let id: String = stem.unwrap_or(&name).chars().map(plain).collect();
    let id = id.trim_matches('-');
    let id =
        if id.starts_with(|c: char| c.is_ascii_lowercase()) { id.to_owned() } else { format!("model-{id}") };
    id.chars().take(ID_BYTES_MAX).collect::<String>().trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_suggests_a_model_id() {
        for (path, id) in [
            ("/models/Net V2.onnx", "net-v2"),
            ("/models/sp500.tar.gz", "sp500"),
            ("/models/2024_run", "model-2024-run"),
            ("/models/\u{fc}ber", "ber"),
            ("/", "model"),
        ] {
            assert_eq!(model_id(Path::new(path)), id, "{path}");
        }
        assert_eq!(model_id(Path::new(&format!("/{}", "x".repeat(200)))).len(), ID_BYTES_MAX);
    }
}
