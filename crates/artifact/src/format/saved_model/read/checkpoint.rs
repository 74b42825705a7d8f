//! The tensors under `variables/`: an index of what lies where, and data files that are read one tensor at a time.
//!
//! Sizes are compared with the shape and with the file before anything is allocated, and every tensor with its
//! checksum. Tensors stored in slices are refused.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use predictor::Tensor;
use prost::Message;
use protos::tensorflow::{BundleEntryProto, BundleHeaderProto, bundle_header_proto};

use super::constant::{self, ElementType};
use super::{files, limits, table};
use crate::Error;
use crate::format::saved_model::table::mask;

const INDEX: &str = "variables/variables.index";

/// What an index says.
#[derive(Debug, Clone, Default)]
pub struct VariablesIndex {
    shards: usize,
    entries: BTreeMap<String, BundleEntryProto>,
}

impl VariablesIndex {
    /// The keys of the tensors, in order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }
}

/// Reads the bytes of a `variables.index`.
///
/// # Errors
/// [`Error::Import`] if they are none, or damaged.
pub fn parse_variables_index_bytes(bytes: &[u8]) -> Result<VariablesIndex, Error> {
    let refuse = |reason: String| Error::Import { place: INDEX.to_owned(), reason };
    let mut entries = BTreeMap::new();
    let mut header = None;
    for (key, value) in table::entries(bytes).map_err(refuse)? {
        if key.is_empty() {
            header = Some(BundleHeaderProto::decode(value).map_err(|error| refuse(error.to_string()))?);
            continue;
        }
        let key = String::from_utf8_lossy(&key).into_owned();
        let entry = BundleEntryProto::decode(value)
            .map_err(|error| refuse(format!("the entry \"{key}\" cannot be read: {error}")))?;
        entries.insert(key, entry);
    }
    let header = header.ok_or_else(|| refuse("it has no header".to_owned()))?;
    if header.endianness != i32::from(bundle_header_proto::Endianness::Little) {
        return Err(refuse("it is big-endian; save the model on a little-endian machine".to_owned()));
    }
    let shards = usize::try_from(header.num_shards).map_err(|error| refuse(error.to_string()))?;
    Ok(VariablesIndex { shards, entries })
}

/// A checkpoint on disk.
#[derive(Debug)]
pub(super) struct Checkpoint {
    directory: PathBuf,
    index: VariablesIndex,
}

impl Checkpoint {
    /// Reads the index; a model without variables has none.
    pub(super) fn open(model: &Path) -> Result<Self, Error> {
        let path = model.join(INDEX);
        let index = if path.exists() {
            parse_variables_index_bytes(&files::read(&path, limits::INDEX_BYTES)?)?
        } else {
            VariablesIndex::default()
        };
        Ok(Self { directory: model.join("variables"), index })
    }

    pub(super) fn contains(&self, key: &str) -> bool {
        self.index.entries.contains_key(key)
    }

    /// The tensor under `key`.
    pub(super) fn tensor(&self, key: &str) -> Result<Tensor, Error> {
        let refuse = |reason: String| Error::Import { place: format!("{INDEX}, tensor \"{key}\""), reason };
        let entry = self.index.entries.get(key).ok_or_else(|| refuse("there is none".to_owned()))?;
        if !entry.slices.is_empty() {
            return Err(refuse(
                "it is stored in slices; save the model without partitioned variables".to_owned(),
            ));
        }
        let stored = ElementType::of(entry.dtype).map_err(refuse)?;
        let shape = constant::fixed_shape(entry.shape.as_ref()).map_err(refuse)?;
        let size = constant::bytes(&shape, stored)
            .ok_or_else(|| refuse(format!("its shape {shape:?} is absurd")))?;
        if u64::try_from(entry.size) != Ok(size as u64) {
            return Err(refuse(format!("the index gives it {} bytes, its shape {size}", entry.size)));
        }
        let bytes = self.read(entry, size).map_err(|error| match error {
            Error::Import { reason, .. } => refuse(reason),
            other => other,
        })?;
        if mask(crc32c::crc32c(&bytes)) != entry.crc32c {
            return Err(refuse("its checksum differs; the file is damaged, copy it again".to_owned()));
        }
        constant::from_bytes(shape, stored, &bytes).map_err(refuse)
    }

    /// The one string under `key`: its length as a varint, a checksum of the length, and its bytes. The entry's checksum
    /// covers the length as a fixed number, its checksum, and the bytes.
    pub(super) fn string(&self, key: &str) -> Result<Vec<u8>, Error> {
        let refuse = |reason: &str| Error::Import {
            place: format!("{INDEX}, string \"{key}\""),
            reason: reason.to_owned(),
        };
        let entry = self.index.entries.get(key).ok_or_else(|| refuse("there is none"))?;
        let size = usize::try_from(entry.size).ok().filter(|size| *size as u64 <= limits::GRAPH_BYTES);
        let bytes = self.read(entry, size.ok_or_else(|| refuse("its size is absurd"))?)?;
        let mut rest = bytes.as_slice();
        let length = table::read_varint(&mut rest).ok_or_else(|| refuse("it is cut off"))?;
        let (checksum, string) = rest.split_at_checked(4).ok_or_else(|| refuse("it is cut off"))?;
        let fixed =
            u32::try_from(length).map(u32::to_le_bytes).map_err(|_| refuse("its length is absurd"))?;
        let crc = crc32c::crc32c(&fixed);
        let whole = crc32c::crc32c_append(crc32c::crc32c_append(crc, checksum), string);
        if string.len() as u64 != length || mask(crc).to_le_bytes() != checksum || mask(whole) != entry.crc32c
        {
            return Err(refuse("its checksum differs; the file is damaged, copy it again"));
        }
        Ok(string.to_vec())
    }

    fn read(&self, entry: &BundleEntryProto, size: usize) -> Result<Vec<u8>, Error> {
        let name = format!("variables.data-{:05}-of-{:05}", entry.shard_id, self.index.shards);
        let path = self.directory.join(&name);
        let io = |action| {
            let path = path.clone();
            move |source| Error::Io { action, path, source }
        };
        let mut file = File::open(&path).map_err(io("open"))?;
        let there = file.metadata().map_err(io("look at"))?.len();
        let start = u64::try_from(entry.offset).unwrap_or(u64::MAX);
        if start.checked_add(size as u64).is_none_or(|end| end > there) {
            let reason = format!("it lies at byte {} with {size} bytes, {name} has {there}", entry.offset);
            return Err(Error::Import { place: name, reason });
        }
        file.seek(SeekFrom::Start(start)).map_err(io("read"))?;
        let mut bytes = vec![0; size];
        file.read_exact(&mut bytes).map_err(io("read"))?;
        Ok(bytes)
    }
}
