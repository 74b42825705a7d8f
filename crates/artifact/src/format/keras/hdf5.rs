//! HDF5 as `h5py` writes it for the weights of Keras: groups, and data sets of little-endian numbers that lie there plainly
//! (contiguous, compact, or in chunks without a filter). Not a general reader: whatever else a file holds is refused by name.
//!
//! From the format's specification, version 3 ("HDF5 File Format Specification Version 3.0", The HDF Group). Every address is
//! checked against the file, nothing is larger than the file, and how many objects and levels are looked at is limited.

mod bytes;
mod chunks;
mod data;
mod group;
mod header;

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use predictor::Tensor;

use self::bytes::{Bytes, Read};

/// Objects that are looked at.
const OBJECTS_MAX: usize = 20_000;
/// Groups inside groups.
const DEPTH_MAX: usize = 20;
const SIGNATURE: &[u8] = b"\x89HDF\r\n\x1a\n";

/// A file whose groups were read; data sets are read when they are asked for.
#[derive(Debug)]
pub(super) struct File {
    bytes: Vec<u8>,
    /// Where the header of each object is, by path.
    objects: BTreeMap<String, u64>,
}

/// Data sets that were read, by where their header is, so that one with several names is held once.
pub(super) type Cache = HashMap<u64, Rc<Tensor>>;

/// Whether a file begins as HDF5 does.
pub(super) fn recognised(begin: &[u8]) -> bool {
    begin.starts_with(SIGNATURE)
}

impl File {
    /// Reads the names of all objects.
    pub(super) fn parse(bytes: Vec<u8>) -> Read<Self> {
        let objects = objects(Bytes(&bytes))?;
        Ok(Self { bytes, objects })
    }

    /// The data set at a path, if there is one.
    pub(super) fn dataset(&self, path: &str, cache: &mut Cache) -> Read<Option<Rc<Tensor>>> {
        let Some(address) = self.objects.get(path) else { return Ok(None) };
        if let Some(known) = cache.get(address) {
            return Ok(Some(Rc::clone(known)));
        }
        let bytes = Bytes(&self.bytes);
        let tensor = Rc::new(data::read(bytes, &header::messages(bytes, *address)?)?);
        cache.insert(*address, Rc::clone(&tensor));
        Ok(Some(tensor))
    }
}

fn objects(bytes: Bytes<'_>) -> Read<BTreeMap<String, u64>> {
    let mut objects = BTreeMap::new();
    let mut open = vec![(String::new(), root(bytes)?, 0)];
    while let Some((path, address, depth)) = open.pop() {
        for (name, address) in group::members(bytes, &header::messages(bytes, address)?)? {
            let path = if path.is_empty() { name } else { format!("{path}/{name}") };
            if objects.insert(path.clone(), address).is_none() && objects.len() > OBJECTS_MAX {
                return Err(format!("it has more than {OBJECTS_MAX} objects"));
            }
            let messages = header::messages(bytes, address)?;
            if !group::is(&messages) {
                continue;
            }
            if depth == DEPTH_MAX {
                return Err(format!("its groups lie more than {DEPTH_MAX} deep"));
            }
            open.push((path, address, depth + 1));
        }
    }
    Ok(objects)
}

/// Where the header of the root group is.
fn root(bytes: Bytes<'_>) -> Read<u64> {
    if !recognised(bytes.0) {
        return Err("it is no HDF5 file".to_owned());
    }
    let (sizes, base, root) = match bytes.u8(8)? {
        0 => (13, 24, 64),
        1 => (13, 28, 68),
        2 | 3 => (9, 12, 36),
        version => return Err(format!("its superblock has version {version}, which is unknown")),
    };
    if (bytes.u8(sizes)?, bytes.u8(sizes + 1)?) != (8, 8) || bytes.u64(base)? != 0 {
        return Err("its addresses are not of 8 bytes from the begin of the file".to_owned());
    }
    bytes.u64(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by h5py 3.14, by `samples/make.py`.
    fn samples() -> [&'static [u8]; 2] {
        [include_bytes!("hdf5/samples/earliest.h5"), include_bytes!("hdf5/samples/latest.h5")]
    }

    fn dataset(file: &File, path: &str) -> Read<Option<Rc<Tensor>>> {
        file.dataset(path, &mut Cache::new())
    }

    #[test]
    fn what_h5py_writes_is_read() {
        for bytes in samples() {
            let file = File::parse(bytes.to_vec()).unwrap();
            let read = |path: &str| dataset(&file, path).unwrap().expect(path);
            let thirds: Vec<f32> = (0..6).map(|x| x as f32 / 3.0).collect();
            for path in ["a/plain", "a/double", "b/chunked"] {
                assert_eq!(read(path).shape(), [2, 3], "{path}");
                assert_eq!(read(path).as_float32().unwrap(), thirds, "{path}");
            }
            let halves: Vec<f32> = thirds.iter().map(|x| (x * 2048.0).round() / 2048.0).collect();
            let half = read("a/half");
            for (ours, theirs) in half.as_float32().unwrap().iter().zip(&halves) {
                assert!((ours - theirs).abs() < 1e-3, "{ours} {theirs}");
            }
            assert_eq!(read("a/scalar").shape(), [0usize; 0]);
            assert_eq!(read("a/scalar").as_float32().unwrap(), [2.5]);
            assert_eq!(read("a/integers").data(), &predictor::TensorData::Int64(vec![-1, 0, 1 << 40]));
            assert_eq!(read("a/bytes").data(), &predictor::TensorData::Int64(vec![7, 255]));
            assert!(file.objects.contains_key("b/deep/er/x") && !file.objects.contains_key("b/link"));
            assert_eq!(dataset(&file, "a/none").unwrap(), None);
            let refused = |path: &str| dataset(&file, path).unwrap_err();
            assert!(refused("b/packed").contains("filter"), "{}", refused("b/packed"));
            assert!(refused("a/big").contains("big-endian"), "{}", refused("a/big"));
            assert!(refused("a/text").contains("numbers"), "{}", refused("a/text"));
            assert!(refused("a").contains("data set"), "{}", refused("a"));
        }
    }

    #[test]
    fn many_members_are_found() {
        let file = File::parse(samples()[0].to_vec()).unwrap();
        for at in 0..40 {
            let tensor = dataset(&file, &format!("many/{at}")).unwrap().unwrap();
            assert_eq!(tensor.as_float32().unwrap(), [at as f32]);
        }
    }

    /// Every byte changed in three ways, and every length: an error or a file, never a panic, a hang, or more memory than the file.
    #[test]
    fn no_change_is_more_than_an_error() {
        for bytes in samples() {
            let look = |bytes: Vec<u8>| {
                if let Ok(file) = File::parse(bytes) {
                    let mut cache = Cache::new();
                    for path in file.objects.keys() {
                        if let Ok(Some(tensor)) = file.dataset(path, &mut cache) {
                            assert!(tensor.size_bytes() <= 8 * file.bytes.len());
                        }
                    }
                }
            };
            for at in 0..bytes.len() {
                // Long runs of zeros behind what is used need no second look.
                if bytes[at] == 0 && at % 16 != 0 {
                    continue;
                }
                for change in [0xff, 0x01, 0x80] {
                    let mut changed = bytes.to_vec();
                    changed[at] ^= change;
                    look(changed);
                }
            }
            for length in (0..bytes.len()).step_by(7) {
                look(bytes[..length].to_vec());
            }
        }
    }
}
