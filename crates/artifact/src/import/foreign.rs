//! A bundle of a foreign model: its own files as they came, the graph the engines run, and a recorded call.

use std::path::Path;

use prost::Message;
use protos::onnx::TensorProto;
use protos::onnx::tensor_proto::DataType;
use serde_json::Value;

use super::ImportedModel;
use crate::Error;
use crate::bundle::{
    BundleParts, FeatureContract, Golden, Manifest, NanPolicy, ONNX_MODEL, Origin, RecordedCall, TensorNames,
    Version,
};
use crate::engine;

/// Deeper folders are no part of any model.
const DEPTH_MAX: usize = 8;

/// What a bundle of an imported model is made of beside the model.
#[derive(Debug, Clone)]
pub struct Foreign<'a> {
    /// The format it was read from: `saved_model`, `onnx`.
    pub format: &'static str,
    /// Which of the source's signatures was taken, where it has names for them.
    pub signature: Option<String>,
    /// The folder whose files are kept as they are; none if the model was one file.
    pub folder: Option<&'a Path>,
    /// The model id to suggest.
    pub model: &'a str,
    /// Program and version.
    pub created_by: &'a str,
    /// When, as RFC 3339.
    pub created_at: &'a str,
}

impl Foreign<'_> {
    /// Loads the model, runs it, records what it gave, and makes the parts of a bundle.
    ///
    /// # Errors
    /// [`Error::Unsupported`] and [`Error::Load`] if no engine takes it, [`Error::Golden`] if it does not answer,
    /// [`Error::FileName`] for a file that a bundle cannot hold, [`Error::TooLarge`], [`Error::Io`].
    pub fn parts(&self, imported: &ImportedModel) -> Result<BundleParts, Error> {
        let onnx = imported.model.encode_to_vec();
        let signature = &imported.signature;
        let kind = engine::choose(&imported.model)?;
        let before = engine::resident_bytes();
        let predictor = engine::load(onnx.clone(), signature, 1, kind)?;
        let call = RecordedCall::made(&*predictor)
            .map_err(|reason| Error::Golden { engine: predictor.engine().to_owned(), reason })?;
        let taken = before.zip(engine::resident_bytes()).map(|(before, after)| after.saturating_sub(before));
        let mut files = match self.folder {
            Some(folder) => kept(folder)?,
            None => Vec::new(),
        };
        files.retain(|(name, _)| name != ONNX_MODEL);
        files.push((ONNX_MODEL.to_owned(), onnx));
        let mut formats = vec!["onnx".to_owned()];
        let mut tensor_names = TensorNames { onnx: same_names(imported), ..TensorNames::default() };
        if self.format == "saved_model" {
            formats.insert(0, self.format.to_owned());
            tensor_names.saved_model = imported.source_names.clone();
        }
        let manifest = Manifest {
            version: Version::V2,
            created_by: self.created_by.to_owned(),
            created_at: self.created_at.to_owned(),
            model: self.model.to_owned(),
            files: std::collections::BTreeMap::new(),
            formats,
            signature: signature.clone(),
            tensor_names,
            features: FeatureContract {
                names: Vec::new(),
                expressions: Vec::new(),
                lookback_bars: 0,
                nan_policy: NanPolicy::Fill,
                observed: Vec::new(),
            },
            processors: Value::Null,
            label: Value::Null,
            dataset: Value::Null,
            splits: Value::Null,
            seed: 0,
            metrics: Value::Null,
            golden: Golden { call: Some(call), ..Golden::default() },
            pipeline: String::new(),
            cpu: None,
            origin: Some(Origin {
                format: self.format.to_owned(),
                signature: self.signature.clone(),
                parameters: weights(imported).map(elements).sum(),
                memory_bytes: Some(taken.unwrap_or_default().max(weights(imported).map(bytes).sum())),
                engine: kind,
                samplers: imported.samplers.clone(),
                notes: [imported.notes.clone(), engine::notes(&imported.model, kind)].concat(),
            }),
        };
        Ok(BundleParts { manifest, files })
    }
}

fn same_names(imported: &ImportedModel) -> crate::bundle::FormatTensorNames {
    let same = |specs: &[predictor::TensorSpec]| {
        specs.iter().map(|spec| (spec.name.clone(), spec.name.clone())).collect()
    };
    crate::bundle::FormatTensorNames {
        inputs: same(&imported.signature.inputs),
        outputs: same(&imported.signature.outputs),
    }
}

/// The floating-point tensors of the graph.
fn weights(imported: &ImportedModel) -> impl Iterator<Item = &TensorProto> {
    let tensors = imported.model.graph.iter().flat_map(|graph| &graph.initializer);
    tensors.filter(|tensor| width(tensor).is_some())
}

/// Bytes of a floating-point element.
fn width(tensor: &TensorProto) -> Option<u64> {
    match DataType::try_from(tensor.data_type?).ok()? {
        DataType::Float16 | DataType::Bfloat16 => Some(2),
        DataType::Float => Some(4),
        DataType::Double => Some(8),
        _ => None,
    }
}

fn elements(tensor: &TensorProto) -> u64 {
    tensor.dims.iter().map(|size| (*size).max(0) as u64).product()
}

fn bytes(tensor: &TensorProto) -> u64 {
    elements(tensor) * width(tensor).unwrap_or_default()
}

/// All plain files under a folder, by path with `/`; what begins with a dot is left behind.
fn kept(folder: &Path) -> Result<Vec<(String, Vec<u8>)>, Error> {
    let mut files = Vec::new();
    let mut left = crate::bundle::MAX_BUNDLE_BYTES;
    let mut pending = vec![(folder.to_owned(), String::new(), 0)];
    while let Some((path, prefix, depth)) = pending.pop() {
        let io = |source| Error::Io { action: "list", path: path.clone(), source };
        for entry in std::fs::read_dir(&path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with('.') {
                continue;
            }
            let name = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(io)?;
            if kind.is_dir() && depth < DEPTH_MAX {
                pending.push((entry.path(), format!("{name}/"), depth + 1));
                continue;
            }
            if !kind.is_file() || files.len() == crate::bundle::MAX_FILES {
                return Err(Error::FileName { name });
            }
            let read = |source| Error::Io { action: "read", path: entry.path(), source };
            let size = entry.metadata().map_err(read)?.len();
            left = left.checked_sub(size).ok_or_else(|| Error::TooLarge {
                what: folder.display().to_string(),
                size: crate::bundle::MAX_BUNDLE_BYTES - left + size,
                limit: crate::bundle::MAX_BUNDLE_BYTES,
            })?;
            files.push((name, std::fs::read(entry.path()).map_err(read)?));
        }
    }
    files.sort();
    Ok(files)
}
