//! The tensors under `variables/`: an index of what lies where, and data files that are read one tensor at a time.
//!
//! Sizes are compared with the shape and with the file before anything is allocated, and every tensor with its
//! checksum. Tensors stored in slices are refused.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use predictor::Tensor;
use prost::Message;
use protos::tensorflow::{BundleEntryProto, BundleHeaderProto, DataType, bundle_header_proto};

use super::constant::{self, ElementType};
use super::{files, limits, table};
use crate::Error;
use crate::format::saved_model::table::mask;

const INDEX: &str = "variables/variables.index";
const DIFFERS: &str = "its checksum differs; the file is damaged, copy it again";
/// Bytes that are checksummed at a time.
const PART_BYTES: usize = 1 << 20;

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
        let none = match self.index.entries.is_empty() {
            true => format!("there is no {INDEX}; copy the whole folder of the model"),
            false => "there is none".to_owned(),
        };
        let entry = self.index.entries.get(key).ok_or_else(|| refuse(none))?;
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
            return Err(refuse(DIFFERS.to_owned()));
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
            return Err(refuse(DIFFERS));
        }
        Ok(string.to_vec())
    }

    /// Compares every tensor with its checksum, also those that nothing here needs: TensorFlow reads them from the files when
    /// they are given back. Several strings, and what is no tensor, are checksummed otherwise, and left to it.
    ///
    /// # Errors
    /// [`Error::Import`] naming the first that differs or is not there, [`Error::Io`].
    pub(super) fn check(&self) -> Result<(), Error> {
        let entries = || self.index.entries.iter().filter(|(_, entry)| entry.slices.is_empty());
        let shards: BTreeSet<i32> = entries().map(|(_, entry)| entry.shard_id).collect();
        let sizes = shards.into_iter().filter_map(|shard| self.shard(shard).1.metadata().ok());
        let there: u64 = sizes.map(|file| file.len()).sum();
        let claimed = entries().fold(0u64, |sum, (_, entry)| sum.saturating_add_signed(entry.size.max(0)));
        // Else reading all of it would take as long as somebody who is up to no good likes.
        if claimed > there {
            let reason =
                format!("its tensors have {claimed} bytes, the data files {there}; copy the model again");
            return Err(Error::Import { place: INDEX.to_owned(), reason });
        }
        for (key, entry) in entries() {
            match DataType::try_from(entry.dtype) {
                Ok(DataType::DtString) => {
                    if entry.shape.as_ref().is_none_or(|shape| shape.dim.is_empty()) {
                        self.string(key)?;
                    }
                }
                Ok(DataType::DtVariant | DataType::DtResource) => {}
                _ => self.check_entry(key, entry)?,
            }
        }
        Ok(())
    }

    fn check_entry(&self, key: &str, entry: &BundleEntryProto) -> Result<(), Error> {
        let mut checksum = 0;
        let size = u64::try_from(entry.size).unwrap_or(u64::MAX);
        for start in (0..size).step_by(PART_BYTES) {
            let part = (size - start).min(PART_BYTES as u64) as usize;
            let offset = entry.offset.saturating_add_unsigned(start);
            checksum = crc32c::crc32c_append(checksum, &self.read_at(entry.shard_id, offset, part)?);
        }
        if mask(checksum) == entry.crc32c {
            return Ok(());
        }
        let place = format!("{INDEX}, tensor \"{key}\"");
        Err(Error::Import { place, reason: DIFFERS.to_owned() })
    }

    fn read(&self, entry: &BundleEntryProto, size: usize) -> Result<Vec<u8>, Error> {
        self.read_at(entry.shard_id, entry.offset, size)
    }

    /// A data file: its name, and where it is.
    fn shard(&self, shard: i32) -> (String, PathBuf) {
        let name = format!("variables.data-{shard:05}-of-{:05}", self.index.shards);
        let path = self.directory.join(&name);
        (name, path)
    }

    fn read_at(&self, shard: i32, offset: i64, size: usize) -> Result<Vec<u8>, Error> {
        let (name, path) = self.shard(shard);
        let io = |action| {
            let path = path.clone();
            move |source| Error::Io { action, path, source }
        };
        let mut file = File::open(&path).map_err(io("open"))?;
        let there = file.metadata().map_err(io("look at"))?.len();
        let start = u64::try_from(offset).unwrap_or(u64::MAX);
        if start.checked_add(size as u64).is_none_or(|end| end > there) {
            let reason = format!("it lies at byte {offset} with {size} bytes, {name} has {there}");
            return Err(Error::Import { place: name, reason });
        }
        file.seek(SeekFrom::Start(start)).map_err(io("read"))?;
        let mut bytes = vec![0; size];
        file.read_exact(&mut bytes).map_err(io("read"))?;
        Ok(bytes)
    }
}
