//! The checkpoint under `variables/`: one data file with all tensors end to end, and an index that maps each key
//! to type, shape, place and checksum (TensorFlow's "tensor bundle").

use std::collections::BTreeMap;

use prost::Message;
use protos::tensorflow::{self, BundleEntryProto, BundleHeaderProto, VersionDef, bundle_header_proto};

use super::proto::{data_type, fixed_shape};
use super::{Plan, object_graph, table};
use crate::format::bytes::little_endian;

/// The key under which loaders look for the checkpoint's object graph.
const OBJECT_GRAPH_KEY: &str = "_CHECKPOINTABLE_OBJECT_GRAPH";

pub(super) fn files(plan: &Plan) -> Vec<(String, Vec<u8>)> {
    let mut data = Vec::new();
    let mut entries: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    for variable in &plan.variables {
        let bytes = little_endian(&variable.tensor);
        let entry = BundleEntryProto {
            dtype: data_type(variable.tensor.data_type()).into(),
            shape: Some(fixed_shape(variable.tensor.shape())),
            offset: data.len() as i64,
            size: bytes.len() as i64,
            crc32c: table::mask(crc32c::crc32c(&bytes)),
            ..BundleEntryProto::default()
        };
        data.extend(bytes);
        entries.insert(variable.checkpoint_key(), entry.encode_to_vec());
    }
    let graph = string_tensor(&object_graph::checkpoint(plan).encode_to_vec());
    let entry = BundleEntryProto {
        dtype: tensorflow::DataType::DtString.into(),
        shape: Some(fixed_shape(&[])),
        offset: data.len() as i64,
        size: graph.bytes.len() as i64,
        crc32c: graph.masked_crc,
        ..BundleEntryProto::default()
    };
    data.extend(graph.bytes);
    entries.insert(OBJECT_GRAPH_KEY.to_owned(), entry.encode_to_vec());
    // The empty key sorts first, where readers expect the header.
    let header = BundleHeaderProto {
        num_shards: 1,
        endianness: bundle_header_proto::Endianness::Little.into(),
        version: Some(VersionDef { producer: 1, min_consumer: 0, bad_consumers: vec![] }),
    };
    entries.insert(String::new(), header.encode_to_vec());
    vec![
        ("variables/variables.data-00000-of-00001".to_owned(), data),
        ("variables/variables.index".to_owned(), table::write(&entries)),
    ]
}

struct StringTensor {
    bytes: Vec<u8>,
    masked_crc: u32,
}

/// A scalar string: its length as a varint, a checksum of the length, then the string. The entry's checksum covers
/// the length as a fixed 32-bit number (64-bit from 4 GiB on, which no graph reaches), that checksum, and the string.
fn string_tensor(string: &[u8]) -> StringTensor {
    let length = (string.len() as u32).to_le_bytes();
    let length_crc = crc32c::crc32c(&length);
    let length_checksum = table::mask(length_crc).to_le_bytes();
    let mut bytes = Vec::with_capacity(string.len() + 9);
    table::push_varint(&mut bytes, string.len() as u64);
    bytes.extend(length_checksum);
    bytes.extend(string);
    let crc = crc32c::crc32c_append(crc32c::crc32c_append(length_crc, &length_checksum), string);
    StringTensor { bytes, masked_crc: table::mask(crc) }
}
