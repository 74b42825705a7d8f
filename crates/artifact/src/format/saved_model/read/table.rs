//! Reads the sorted table that a checkpoint's index is: LevelDB's file format, with every block's checksum verified.
//!
//! Compressed blocks are refused: TensorFlow writes none. The layout is described where the table is written.

use crate::format::saved_model::table::mask;

const FOOTER_BYTES: usize = 48;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;
/// Compression and checksum behind each block.
const TRAILER_BYTES: usize = 5;

/// A key and its value.
type Entry<'a> = (Vec<u8>, &'a [u8]);

/// The entries of a table, in the order of the file.
///
/// # Errors
/// In words, if the file is no table, is damaged, or is compressed.
pub(super) fn entries(file: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let footer = file.len().checked_sub(FOOTER_BYTES).map(|at| &file[at..]).ok_or("it is too short")?;
    if footer[FOOTER_BYTES - 8..] != MAGIC.to_le_bytes() {
        return Err("it does not end as a table does; it is cut off or something else".to_owned());
    }
    let mut handles = Bytes(footer);
    let _meta_index = Handle::read(&mut handles)?;
    let index = Handle::read(&mut handles)?;
    let mut all = Vec::new();
    // Every entry is at least three bytes of the file, so that what is read stays bounded by its size, if no block
    // is read twice.
    let mut unread = file.len();
    for (_, place) in block_entries(block(file, index)?)? {
        let handle = Handle::read(&mut Bytes(place))?;
        unread = unread.checked_sub(handle.size).ok_or("its index names a block twice")?;
        all.extend(block_entries(block(file, handle)?)?);
    }
    Ok(all)
}

#[derive(Clone, Copy)]
struct Handle {
    offset: usize,
    size: usize,
}

impl Handle {
    fn read(bytes: &mut Bytes) -> Result<Self, String> {
        Ok(Self { offset: bytes.size()?, size: bytes.size()? })
    }
}

/// The contents of a block, verified.
fn block(file: &[u8], handle: Handle) -> Result<&[u8], String> {
    let outside = || format!("a block of {} bytes at {} lies outside of it", handle.size, handle.offset);
    let end = handle.offset.checked_add(handle.size).ok_or_else(outside)?;
    let whole_end = end.checked_add(TRAILER_BYTES).ok_or_else(outside)?;
    let whole = file.get(handle.offset..whole_end).ok_or_else(outside)?;
    let (checked, stored) = whole.split_at(handle.size + 1);
    let stored = u32::from_le_bytes([stored[0], stored[1], stored[2], stored[3]]);
    if mask(crc32c::crc32c(checked)) != stored {
        return Err(format!("the block at {} is damaged, its checksum differs", handle.offset));
    }
    match checked[handle.size] {
        0 => Ok(&file[handle.offset..end]),
        kind => Err(format!(
            "the block at {} is compressed (kind {kind}), which no TensorFlow writes",
            handle.offset
        )),
    }
}

/// The entries of a block, whose keys share prefixes with the key before.
fn block_entries(block: &[u8]) -> Result<Vec<Entry<'_>>, String> {
    let short = "a block is too short";
    let count_at = block.len().checked_sub(4).ok_or(short)?;
    let count =
        u32::from_le_bytes([block[count_at], block[count_at + 1], block[count_at + 2], block[count_at + 3]]);
    let restarts = (count as usize).checked_mul(4).ok_or(short)?;
    let end = count_at.checked_sub(restarts).ok_or(short)?;
    let mut bytes = Bytes(&block[..end]);
    let mut key: Vec<u8> = Vec::new();
    let mut all = Vec::new();
    let mut key_bytes = 0usize;
    while !bytes.0.is_empty() {
        let (shared, fresh, length) = (bytes.size()?, bytes.size()?, bytes.size()?);
        if shared > key.len() {
            return Err("a key shares more than there is with the one before".to_owned());
        }
        key.truncate(shared);
        key.extend(bytes.take(fresh)?);
        // Prefixes make keys longer than the file; real ones are at most a few times as long.
        key_bytes += key.len();
        if key_bytes > 64 * block.len() {
            return Err("its keys are absurdly long".to_owned());
        }
        all.push((key.clone(), bytes.take(length)?));
    }
    Ok(all)
}

/// What is left to read.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(length).ok_or("an entry reaches beyond its block")?;
        self.0 = rest;
        Ok(taken)
    }

    fn size(&mut self) -> Result<usize, String> {
        let value = read_varint(&mut self.0).ok_or("a number is cut off or too large")?;
        usize::try_from(value).map_err(|error| error.to_string())
    }
}

/// Takes a number of seven bits a byte.
pub(super) fn read_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, rest) = bytes.split_first()?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            return None;
        }
        value |= bits << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::format::saved_model::table::write;

    fn sample() -> Vec<u8> {
        let entries = [("", "header"), ("a", "1"), ("a/b", ""), ("b", "22")];
        write(&entries.map(|(key, value)| (key.to_owned(), value.as_bytes().to_vec())).into_iter().collect())
    }

    #[test]
    fn what_was_written_is_read() {
        let file = sample();
        let read: BTreeMap<Vec<u8>, &[u8]> = entries(&file).unwrap().into_iter().collect();
        assert_eq!(read.len(), 4);
        assert_eq!(read[&b"a/b"[..]], b"");
        assert_eq!(read[&b"b"[..]], b"22");
    }

    #[test]
    fn shared_prefixes_are_put_together() {
        // Two entries "ab" and "ac", the second with one shared byte; one restart at 0.
        let block = [0, 2, 1, b'a', b'b', b'1', 1, 1, 1, b'c', b'2', 0, 0, 0, 0, 1, 0, 0, 0];
        let read = block_entries(&block).unwrap();
        assert_eq!(read, [(b"ab".to_vec(), &b"1"[..]), (b"ac".to_vec(), &b"2"[..])]);
    }

    #[test]
    fn every_changed_byte_is_an_error_or_harmless() {
        let file = sample();
        let expected: Vec<(Vec<u8>, Vec<u8>)> =
            entries(&file).unwrap().into_iter().map(|(key, value)| (key, value.to_vec())).collect();
        let mut refused = 0;
        for at in 0..file.len() {
            for change in [1, 0x80, 0xff] {
                let mut changed = file.clone();
                changed[at] ^= change;
                match entries(&changed) {
                    Err(_) => refused += 1,
                    Ok(read) => {
                        let read: Vec<_> =
                            read.into_iter().map(|(key, value)| (key, value.to_vec())).collect();
                        assert_eq!(read, expected, "byte {at}");
                    }
                }
            }
        }
        assert!(
            refused > file.len(),
            "only the padding of the footer and a block that nothing reads may change"
        );
    }

    #[test]
    fn every_cut_is_an_error() {
        let file = sample();
        for end in 0..file.len() {
            assert!(entries(&file[..end]).is_err(), "{end} bytes");
        }
    }

    #[test]
    fn numbers_have_a_limit() {
        assert_eq!(read_varint(&mut &[0xac, 2][..]), Some(300));
        assert_eq!(read_varint(&mut &[0xff; 10][..]), None);
        assert_eq!(read_varint(&mut &[0x80][..]), None);
    }
}
