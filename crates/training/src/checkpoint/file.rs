//! The file of a checkpoint: safetensors (<https://huggingface.co/docs/safetensors>), which any tool reads.
//!
//! Eight bytes little-endian: the length of the header; the header, JSON; the tensors one after the other. The
//! header has two texts of ours as metadata: `sha256`, which comes first and covers every byte of the file with
//! its own 64 digits taken as zeros, in every version; and `bellwether`, the rest of the checkpoint as JSON.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{Checkpoint, NamedTensor};

/// A larger header is refused by other readers of the format.
const MAX_HEADER_BYTES: usize = 100_000_000;
/// What every file begins with after the length of its header; the digest follows.
const BEGIN: &[u8] = br#"{"__metadata__":{"sha256":""#;
const LENGTH_BYTES: usize = 8;
const DIGEST_AT: usize = LENGTH_BYTES + BEGIN.len();
const DIGEST_BYTES: usize = 64;
const METADATA: &str = "__metadata__";
/// Tensors begin at a multiple of this.
const ALIGNMENT: usize = 8;

/// Why bytes are no checkpoint.
#[derive(Debug)]
pub(super) enum Fault {
    /// They are damaged.
    Damaged(String),
    /// They are whole, but of a version that is not known here.
    UnknownVersion(String),
}

/// A checkpoint about to be written.
pub(super) struct Encoded<'a> {
    /// Length, header and padding, with the digest.
    head: Vec<u8>,
    tensors: &'a [NamedTensor],
}

impl<'a> Encoded<'a> {
    /// # Errors
    /// What is wrong with the tensors: a name that occurs twice or is the format's own, a shape that does not fit.
    pub(super) fn new(checkpoint: &'a Checkpoint) -> Result<Self, String> {
        let mut encoded = Self { head: head(checkpoint)?, tensors: &checkpoint.tensors };
        let mut hasher = Hasher(Sha256::new());
        encoded.write(&mut hasher).map_err(|error| error.to_string())?;
        let digest = hex::encode(hasher.0.finalize());
        encoded.head[DIGEST_AT..DIGEST_AT + DIGEST_BYTES].copy_from_slice(digest.as_bytes());
        Ok(encoded)
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        out.write_all(&self.head)?;
        let mut bytes = Vec::with_capacity(1 << 16);
        for values in self.tensors.iter().flat_map(|tensor| tensor.data.chunks(1 << 14)) {
            bytes.clear();
            bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
            out.write_all(&bytes)?;
        }
        Ok(())
    }
}

/// A checkpoint from all bytes of its file.
pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, Fault> {
    check_digest(bytes)?;
    // What follows is as it was written, so that a fault from here on is one of the writer.
    let damaged = |reason: &str| Fault::Damaged(reason.to_owned());
    let (length, rest) =
        bytes.split_first_chunk::<LENGTH_BYTES>().ok_or_else(|| damaged("it has no header"))?;
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if length > rest.len().min(MAX_HEADER_BYTES) {
        return Err(damaged("its header is longer than the file"));
    }
    let (header, data) = rest.split_at(length);
    let invalid = |error: serde_json::Error| Fault::Damaged(format!("its header is not valid: {error}"));
    let mut header: BTreeMap<String, Value> = serde_json::from_slice(header).map_err(invalid)?;
    let metadata = header.remove(METADATA).unwrap_or_default();
    let document = Document::read(metadata["bellwether"].as_str().unwrap_or_default())?;
    let mut entries = Vec::with_capacity(header.len());
    for (name, entry) in header {
        entries.push((name, Entry::deserialize(entry).map_err(invalid)?));
    }
    // The order in which they were given.
    entries.sort_by_key(|(_, entry)| entry.data_offsets);
    let mut tensors = Vec::with_capacity(entries.len());
    let mut end_of_last = 0;
    for (name, entry) in entries {
        let [begin, end] = entry.data_offsets;
        let values = data.get(begin..end).filter(|values| {
            begin == end_of_last && entry.dtype == "F32" && bytes_of(&entry.shape) == Some(values.len())
        });
        let values = values.ok_or_else(|| Fault::Damaged(format!("its tensor \"{name}\" does not fit")))?;
        end_of_last = end;
        let data = values.as_chunks::<4>().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        tensors.push(NamedTensor { name, shape: entry.shape, data });
    }
    if end_of_last != data.len() {
        return Err(damaged("it has more data than tensors"));
    }
    let Document { step, epoch, step_in_epoch, config, state } = document;
    Ok(Checkpoint { step, epoch, step_in_epoch, config, state, tensors })
}

/// All of a checkpoint but its tensors.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    step: u64,
    epoch: usize,
    step_in_epoch: usize,
    config: Value,
    state: Value,
}

/// What is tagged with its version, in writing.
#[derive(Serialize)]
#[serde(tag = "version")]
enum Versioned<'a> {
    #[serde(rename = "1")]
    V1 { step: u64, epoch: usize, step_in_epoch: usize, config: &'a Value, state: &'a Value },
}

impl Document {
    fn read(text: &str) -> Result<Self, Fault> {
        let invalid =
            |error: serde_json::Error| Fault::Damaged(format!("its metadata is not valid: {error}"));
        let mut document: Value = serde_json::from_str(text).map_err(invalid)?;
        match document.as_object_mut().and_then(|fields| fields.remove("version")) {
            Some(Value::String(version)) if version == "1" => Self::deserialize(document).map_err(invalid),
            Some(Value::String(version)) => Err(Fault::UnknownVersion(version)),
            _ => Err(Fault::Damaged("its metadata has no version".to_owned())),
        }
    }
}

/// Where a tensor is, as the format has it.
#[derive(Serialize, Deserialize)]
struct Entry {
    dtype: String,
    shape: Vec<usize>,
    /// Bytes after the header.
    data_offsets: [usize; 2],
}

fn head(checkpoint: &Checkpoint) -> Result<Vec<u8>, String> {
    let Checkpoint { step, epoch, step_in_epoch, config, state, tensors } = checkpoint;
    let document = Versioned::V1 { step: *step, epoch: *epoch, step_in_epoch: *step_in_epoch, config, state };
    let json = |error: serde_json::Error| error.to_string();
    let document = serde_json::to_string(&document).map_err(json)?;
    let mut head = vec![0; LENGTH_BYTES];
    head.extend_from_slice(BEGIN);
    head.extend_from_slice(&[b'0'; DIGEST_BYTES]);
    head.extend_from_slice(br#"","bellwether":"#);
    serde_json::to_writer(&mut head, &document).map_err(json)?;
    head.push(b'}');
    let mut names = BTreeSet::from([METADATA]);
    let mut begin = 0;
    for tensor in tensors {
        let NamedTensor { name, shape, data } = tensor;
        if !names.insert(name) {
            return Err(format!("tensor \"{name}\" occurs twice; give each its own name"));
        }
        let end = begin + data.len() * size_of::<f32>();
        if bytes_of(shape) != Some(end - begin) {
            return Err(format!("tensor \"{name}\" has {} values and shape {shape:?}", data.len()));
        }
        let entry = Entry { dtype: "F32".to_owned(), shape: shape.clone(), data_offsets: [begin, end] };
        head.push(b',');
        serde_json::to_writer(&mut head, name).map_err(json)?;
        head.push(b':');
        serde_json::to_writer(&mut head, &entry).map_err(json)?;
        begin = end;
    }
    head.push(b'}');
    head.resize(head.len().next_multiple_of(ALIGNMENT), b' ');
    let length = head.len() - LENGTH_BYTES;
    if length > MAX_HEADER_BYTES {
        return Err(format!(
            "its header would have {length} bytes, more than the limit of {MAX_HEADER_BYTES}"
        ));
    }
    head[..LENGTH_BYTES].copy_from_slice(&(length as u64).to_le_bytes());
    Ok(head)
}

fn check_digest(bytes: &[u8]) -> Result<(), Fault> {
    let digest = bytes.get(DIGEST_AT..DIGEST_AT + DIGEST_BYTES);
    let Some(stated) = digest.filter(|_| bytes[LENGTH_BYTES..].starts_with(BEGIN)) else {
        return Err(Fault::Damaged(format!("its {} bytes do not begin as a checkpoint does", bytes.len())));
    };
    let mut hasher = Sha256::new();
    hasher.update(&bytes[..DIGEST_AT]);
    hasher.update([b'0'; DIGEST_BYTES]);
    hasher.update(&bytes[DIGEST_AT + DIGEST_BYTES..]);
    let found = hex::encode(hasher.finalize());
    if found.as_bytes() != stated {
        let stated = String::from_utf8_lossy(stated);
        return Err(Fault::Damaged(format!("its SHA-256 is {found}, the file says {stated}")));
    }
    Ok(())
}

/// Bytes of the elements of a shape.
fn bytes_of(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(size_of::<f32>(), |bytes, &length| bytes.checked_mul(length))
}

/// Hashes what is written to it.
struct Hasher(Sha256);

impl Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn tensor(name: &str, shape: &[usize], data: &[f32]) -> NamedTensor {
        NamedTensor { name: name.to_owned(), shape: shape.to_owned(), data: data.to_owned() }
    }

    /// What `tests/golden/checkpoint_1.safetensors` holds.
    fn sample() -> Checkpoint {
        Checkpoint {
            step: 12_345_678_901,
            epoch: 3,
            step_in_epoch: 17,
            config: json!({"fit": {"batch_size": 256, "seed": u64::MAX}, "model": {"layers": ["α", 0.1]}}),
            state: json!({"history": [{"loss": 0.1 + 0.2, "tiny": 5e-324}], "none": null}),
            tensors: vec![
                tensor("layers/1/kernel", &[2, 3], &[0.1, -0.0, f32::MIN_POSITIVE, 1e-45, f32::MAX, -2.5]),
                tensor("optimizer/0/momentum", &[0], &[]),
                tensor("layers/0/bias", &[], &[std::f32::consts::PI]),
            ],
        }
    }

    fn encode(checkpoint: &Checkpoint) -> Vec<u8> {
        let mut bytes = Vec::new();
        Encoded::new(checkpoint).unwrap().write(&mut bytes).unwrap();
        bytes
    }

    fn reason(bytes: &[u8]) -> String {
        match decode(bytes).unwrap_err() {
            Fault::Damaged(reason) => reason,
            Fault::UnknownVersion(version) => panic!("version {version}"),
        }
    }

    #[test]
    fn a_file_of_version_1_loads_and_is_still_written_the_same() {
        let stored = include_bytes!("../../tests/golden/checkpoint_1.safetensors");
        assert_eq!(decode(stored).unwrap(), sample());
        assert_eq!(encode(&sample()), stored);
    }

    #[test]
    fn the_library_of_the_format_reads_it() {
        let bytes = encode(&sample());
        let read = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let mut names = read.names();
        names.sort_unstable();
        assert_eq!(names, ["layers/0/bias", "layers/1/kernel", "optimizer/0/momentum"]);
        for NamedTensor { name, shape, data } in sample().tensors {
            let view = read.tensor(&name).unwrap();
            assert_eq!((view.dtype(), view.shape()), (safetensors::Dtype::F32, shape.as_slice()));
            assert_eq!(view.data(), data.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
        }
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        let document = &metadata.metadata().as_ref().unwrap()["bellwether"];
        assert_eq!(serde_json::from_str::<Value>(document).unwrap()["version"], "1");
    }

    #[test]
    fn every_bit_is_covered() {
        let whole = encode(&sample());
        for at in 0..whole.len() {
            for bit in [0, 5] {
                let mut bytes = whole.clone();
                bytes[at] ^= 1 << bit;
                assert!(matches!(decode(&bytes), Err(Fault::Damaged(_))), "bit {bit} of byte {at}");
            }
            assert!(matches!(decode(&whole[..at]), Err(Fault::Damaged(_))), "{at} bytes");
        }
        let longer = [whole.as_slice(), b"\0"].concat();
        assert!(reason(&longer).starts_with("its SHA-256 is "));
        assert_eq!(reason(b"{}"), "its 2 bytes do not begin as a checkpoint does");
    }

    #[test]
    fn a_later_version_is_told_apart_from_damage() {
        let text = String::from_utf8_lossy(&encode(&sample())).into_owned();
        assert_eq!(text.matches(r#"\"version\":\"1\""#).count(), 1);
        let mut bytes = encode(&sample());
        let at = bytes.windows(14).position(|bytes| bytes == br#"version\":\"1\"#).unwrap();
        bytes[at + 12] = b'2';
        bytes[DIGEST_AT..DIGEST_AT + DIGEST_BYTES].fill(b'0');
        let digest = hex::encode(Sha256::digest(&bytes));
        bytes[DIGEST_AT..DIGEST_AT + DIGEST_BYTES].copy_from_slice(digest.as_bytes());
        assert!(matches!(decode(&bytes), Err(Fault::UnknownVersion(version)) if version == "2"));
    }

    #[test]
    fn tensors_that_do_not_fit_are_refused() {
        let refused = |tensors: Vec<NamedTensor>| {
            Encoded::new(&Checkpoint { tensors, ..sample() }).err().unwrap_or_default()
        };
        assert_eq!(
            refused(vec![tensor("a", &[1], &[1.0]), tensor("a", &[1], &[1.0])]),
            "tensor \"a\" occurs twice; give each its own name"
        );
        assert_eq!(refused(vec![tensor("a", &[2, 2], &[1.0])]), "tensor \"a\" has 1 values and shape [2, 2]");
        assert!(refused(vec![tensor(METADATA, &[0], &[])]).contains("occurs twice"));
        assert!(refused(vec![tensor("a", &[usize::MAX, 4], &[])]).contains("shape"));
    }

    proptest! {
        #[test]
        fn numbers_come_back_to_the_bit(
            singles in proptest::collection::vec(any::<u32>(), 0..40),
            doubles in proptest::collection::vec(any::<f64>().prop_filter("JSON", |x| x.is_finite()), 0..40),
        ) {
            let data: Vec<f32> = singles.iter().map(|&bits| f32::from_bits(bits)).collect();
            let checkpoint = Checkpoint {
                state: json!(doubles),
                tensors: vec![tensor("t", &[data.len()], &data)],
                ..sample()
            };
            let read = decode(&encode(&checkpoint)).unwrap();
            let bits: Vec<u32> = read.tensors[0].data.iter().map(|x| x.to_bits()).collect();
            prop_assert_eq!(bits, singles);
            let read: Vec<f64> = serde_json::from_value(read.state).unwrap();
            let bits = |values: &[f64]| values.iter().map(|x| x.to_bits()).collect::<Vec<u64>>();
            prop_assert_eq!(bits(&read), bits(&doubles));
        }
    }
}
