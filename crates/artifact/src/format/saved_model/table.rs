//! The sorted table that a checkpoint's index is: LevelDB's file format with one uncompressed data block.
//!
//! A block is its entries, the offsets of the entries that share no prefix with the one before (here: all), and
//! their count; behind it come its compression (0: none) and a masked CRC-32C. The file is the data block, an empty
//! meta index block, an index block with the last key and place of the data block, and a footer of 48 bytes.

use std::collections::BTreeMap;

const FOOTER_HANDLES_BYTES: usize = 40;
const MAGIC: u64 = 0xdb47_7524_8b80_fb57;

/// The table of `entries`, whose order is that of the map.
pub(super) fn write(entries: &BTreeMap<String, Vec<u8>>) -> Vec<u8> {
    let mut file = Vec::new();
    let data = push_block(&mut file, entries.iter().map(|(key, value)| (key.as_bytes(), value.as_slice())));
    let meta_index = push_block(&mut file, std::iter::empty());
    let last_key = entries.keys().next_back().map_or(&b""[..], |key| key.as_bytes());
    let index = push_block(&mut file, std::iter::once((last_key, data.as_slice())));
    let mut footer = meta_index;
    footer.extend(index);
    footer.resize(FOOTER_HANDLES_BYTES, 0);
    footer.extend(MAGIC.to_le_bytes());
    file.extend(footer);
    file
}

/// Appends a block and returns its handle: offset and size as varints.
fn push_block<'a>(file: &mut Vec<u8>, entries: impl Iterator<Item = (&'a [u8], &'a [u8])>) -> Vec<u8> {
    let mut block = Vec::new();
    let mut restarts: Vec<u32> = Vec::new();
    for (key, value) in entries {
        restarts.push(block.len() as u32);
        push_varint(&mut block, 0);
        push_varint(&mut block, key.len() as u64);
        push_varint(&mut block, value.len() as u64);
        block.extend(key);
        block.extend(value);
    }
    if restarts.is_empty() {
        restarts.push(0);
    }
    for restart in &restarts {
        block.extend(restart.to_le_bytes());
    }
    block.extend((restarts.len() as u32).to_le_bytes());
    let mut handle = Vec::new();
    push_varint(&mut handle, file.len() as u64);
    push_varint(&mut handle, block.len() as u64);
    block.push(0);
    let checksum = mask(crc32c::crc32c(&block));
    file.extend(block);
    file.extend(checksum.to_le_bytes());
    handle
}

/// LevelDB's masking, which keeps the checksum of data that holds checksums meaningful.
pub(super) fn mask(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

pub(super) fn push_varint(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masking_is_leveldbs() {
        // The check value of CRC-32C, rotated right by 15 bits plus LevelDB's constant.
        let crc = crc32c::crc32c(b"123456789");
        assert_eq!(crc, 0xe306_9283);
        assert_eq!(mask(crc), 0xc78a_b0e5);
    }

    #[test]
    fn varints_take_seven_bits_a_byte() {
        let mut bytes = Vec::new();
        for value in [0, 127, 128, 300] {
            push_varint(&mut bytes, value);
        }
        assert_eq!(bytes, [0, 127, 0x80, 1, 0xac, 2]);
    }

    #[test]
    fn an_empty_table_is_three_blocks_and_a_footer() {
        let file = write(&BTreeMap::new());
        assert_eq!(&file[file.len() - 8..], MAGIC.to_le_bytes());
        assert_eq!(&file[..8], [0, 0, 0, 0, 1, 0, 0, 0]);
    }
}
