//! Weights a model keeps in files beside it: read from its own folder, within limits, and folded in.

use std::io::{Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use protos::onnx::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, tensor_proto};

use super::{MAX_MODEL_BYTES, PLACE};
use crate::Error;

/// Where a model's external data is.
pub trait ExternalData {
    /// The bytes of `location` from `offset` on: `length` of them, or all.
    ///
    /// # Errors
    /// What is wrong with the place: it is outside of what may be read, not there, shorter, or longer than `limit`.
    fn read(&self, location: &str, offset: u64, length: Option<u64>, limit: u64) -> Result<Vec<u8>, String>;
}

/// The folder a model lies in; files below it may be read, and nothing else.
#[derive(Debug, Clone)]
pub struct ModelFolder {
    folder: PathBuf,
}

impl ModelFolder {
    /// The folder of the model at `path`.
    pub fn of(path: &Path) -> Self {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        Self { folder: folder.unwrap_or(Path::new(".")).to_owned() }
    }

    /// The file of a location: a plain path below the folder, also where a link leads.
    fn file(&self, location: &str) -> Result<PathBuf, String> {
        let relative = Path::new(location);
        let plain =
            relative.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if location.is_empty() || location.contains('\\') || !plain {
            return Err(format!("\"{location}\" is not a plain path below the folder of the model"));
        }
        let real = |path: &Path| {
            path.canonicalize().map_err(|error| {
                format!("\"{location}\" cannot be read: {error}; copy the model with the files beside it")
            })
        };
        let (folder, file) = (real(&self.folder)?, real(&self.folder.join(relative))?);
        if !file.starts_with(&folder) || !file.is_file() {
            return Err(format!("\"{location}\" is not a file in the folder of the model"));
        }
        Ok(file)
    }
}

impl ExternalData for ModelFolder {
    fn read(&self, location: &str, offset: u64, length: Option<u64>, limit: u64) -> Result<Vec<u8>, String> {
        let path = self.file(location)?;
        let wrong = |error: std::io::Error| format!("\"{location}\" cannot be read: {error}");
        let mut file = std::fs::File::open(path).map_err(wrong)?;
        let size = file.metadata().map_err(wrong)?.len();
        let there = size.saturating_sub(offset);
        let wanted = length.unwrap_or(there);
        if offset > size || wanted > there {
            return Err(format!(
                "\"{location}\" has {size} bytes, the model asks for {wanted} from {offset} on; it is truncated, copy it again"
            ));
        }
        if wanted > limit {
            return Err(format!("\"{location}\" has more bytes than the {limit} that fit into one model"));
        }
        file.seek(SeekFrom::Start(offset)).map_err(wrong)?;
        let mut bytes = Vec::with_capacity(usize::try_from(wanted).map_err(|error| error.to_string())?);
        file.take(wanted).read_to_end(&mut bytes).map_err(wrong)?;
        Ok(bytes)
    }
}

/// Moves external data into the model.
pub(super) fn fold(model: &mut ModelProto, external: Option<&dyn ExternalData>) -> Result<(), Error> {
    let mut folding = Folding { external, left: MAX_MODEL_BYTES };
    for function in &mut model.functions {
        folding.nodes(&mut function.node)?;
    }
    model.graph.as_mut().map_or(Ok(()), |graph| folding.graph(graph))
}

struct Folding<'a> {
    external: Option<&'a dyn ExternalData>,
    /// Bytes that may still come in.
    left: u64,
}

impl Folding<'_> {
    fn graph(&mut self, graph: &mut GraphProto) -> Result<(), Error> {
        for tensor in &mut graph.initializer {
            self.tensor(tensor)?;
        }
        for sparse in &mut graph.sparse_initializer {
            for tensor in sparse.values.iter_mut().chain(&mut sparse.indices) {
                self.tensor(tensor)?;
            }
        }
        self.nodes(&mut graph.node)
    }

    fn nodes(&mut self, nodes: &mut [NodeProto]) -> Result<(), Error> {
        nodes
            .iter_mut()
            .flat_map(|node| &mut node.attribute)
            .try_for_each(|attribute| self.attribute(attribute))
    }

    fn attribute(&mut self, attribute: &mut AttributeProto) -> Result<(), Error> {
        for tensor in attribute.t.iter_mut().chain(&mut attribute.tensors) {
            self.tensor(tensor)?;
        }
        attribute.g.iter_mut().chain(&mut attribute.graphs).try_for_each(|graph| self.graph(graph))
    }

    fn tensor(&mut self, tensor: &mut TensorProto) -> Result<(), Error> {
        if tensor.data_location() != tensor_proto::DataLocation::External {
            tensor.external_data.clear();
            return Ok(());
        }
        let name = tensor.name().to_owned();
        let refuse = |reason: String| Error::Import { place: format!("{PLACE}, tensor \"{name}\""), reason };
        let value = |key: &str| {
            let entry = tensor.external_data.iter().find(|entry| entry.key() == key);
            entry.map(|entry| entry.value().to_owned())
        };
        let number = |key: &str| match value(key) {
            None => Ok(None),
            Some(text) => text
                .parse::<u64>()
                .map(Some)
                .map_err(|_| refuse(format!("its {key} \"{text}\" is not a number of bytes"))),
        };
        let location =
            value("location").ok_or_else(|| refuse("it does not say which file it is in".to_owned()))?;
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let Some(external) = self.external else {
            return Err(refuse(format!(
                "its data is in the file \"{location}\" beside the model; import the model from its folder, or save it as \
                 one file"
            )));
        };
        let bytes = external.read(&location, offset, length, self.left).map_err(refuse)?;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        tensor.raw_data = Some(bytes);
        tensor.external_data.clear();
        tensor.data_location = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_files_below_the_folder_are_read() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("model");
        std::fs::create_dir_all(folder.join("weights")).unwrap();
        std::fs::write(root.path().join("secret"), "secret").unwrap();
        std::fs::write(folder.join("weights/w.bin"), "0123456789").unwrap();
        let place = ModelFolder::of(&folder.join("model.onnx"));
        let read = |location: &str| place.read(location, 2, Some(3), 100);
        assert_eq!(read("weights/w.bin"), Ok(b"234".to_vec()));
        assert_eq!(place.read("weights/w.bin", 4, None, 100), Ok(b"456789".to_vec()));
        let absolute = root.path().join("secret");
        for outside in ["../secret", "weights/../../secret", absolute.to_str().unwrap(), "", "weights"] {
            assert!(read(outside).is_err(), "{outside}");
        }
        assert!(place.read("weights/w.bin", 8, Some(3), 100).unwrap_err().contains("truncated"));
        assert!(
            place.read("weights/w.bin", u64::MAX, Some(u64::MAX), 100).unwrap_err().contains("truncated")
        );
        assert!(place.read("weights/w.bin", 0, None, 9).unwrap_err().contains("more bytes"));
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(&absolute, folder.join("link")).unwrap();
            assert!(read("link").unwrap_err().contains("not a file in the folder"));
        }
    }
}
