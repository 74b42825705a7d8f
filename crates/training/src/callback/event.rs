//! TensorBoard's event files: records in the framing of TensorFlow, each a protocol buffer `Event`.
//!
//! A record is its length (eight bytes), the masked CRC-32C of that, the bytes, and their masked CRC-32C, all
//! little-endian (TensorFlow's `core/lib/io/record_writer.h`). Of `Event` (`core/util/event.proto`) and `Summary`
//! (`core/framework/summary.proto`) only what a scalar needs is written; the few fields are encoded here.

use super::log_file::{Mark, Records};

/// What the first record of a file says.
const FILE_VERSION: &str = "brain.Event:2";
/// Length and its checksum.
const FRAME_HEAD_BYTES: usize = 12;
/// The checksum of the data.
const FRAME_TAIL_BYTES: usize = 4;
/// Tags of what is measured once an epoch.
pub(super) const EPOCH_PREFIX: &str = "epoch_";

/// Fields of the two messages: number and wire type.
const WALL_TIME: u8 = 1 << 3 | FIXED64;
const STEP: u8 = 2 << 3 | VARINT;
const VERSION: u8 = 3 << 3 | BYTES;
const SUMMARY: u8 = 5 << 3 | BYTES;
const VALUE: u8 = 1 << 3 | BYTES;
const TAG: u8 = 1 << 3 | BYTES;
const SIMPLE_VALUE: u8 = 2 << 3 | FIXED32;

const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const BYTES: u8 = 2;
const FIXED32: u8 = 5;

/// The record that a file begins with.
pub(super) fn file_version(wall_time: f64) -> Vec<u8> {
    let mut event = head(wall_time, 0);
    bytes(&mut event, VERSION, FILE_VERSION.as_bytes());
    record(&event)
}

/// A record of scalars; `wall_time` in seconds since 1970.
pub(super) fn scalars(wall_time: f64, step: u64, values: &[(String, f64)]) -> Vec<u8> {
    let mut summary = Vec::new();
    for (tag, value) in values {
        let mut message = Vec::new();
        bytes(&mut message, TAG, tag.as_bytes());
        message.push(SIMPLE_VALUE);
        message.extend_from_slice(&(*value as f32).to_le_bytes());
        bytes(&mut summary, VALUE, &message);
    }
    let mut event = head(wall_time, step);
    bytes(&mut event, SUMMARY, &summary);
    record(&event)
}

/// The records of a file written before, up to the first that is torn.
pub(super) fn records(file: &[u8]) -> Result<Records, String> {
    let mut records = Records::default();
    while let Some(event) = next_record(&file[records.end..]) {
        let mark = mark(event).ok_or_else(|| {
            format!(
                "its record at byte {} is none of this log; move the file away to resume without it",
                records.end
            )
        })?;
        records.begins.push((mark, records.end));
        records.end += FRAME_HEAD_BYTES + event.len() + FRAME_TAIL_BYTES;
    }
    Ok(records)
}

/// What an event is about.
fn mark(event: &[u8]) -> Option<Mark> {
    let mut step = 0;
    let mut tag = None;
    let mut rest = event;
    while !rest.is_empty() {
        let (field, value) = next_field(&mut rest)?;
        match (field, value) {
            (STEP, Value::Varint(value)) => step = value,
            (SUMMARY, Value::Bytes(mut summary)) => {
                let (VALUE, Value::Bytes(mut first)) = next_field(&mut summary)? else { return None };
                let (TAG, Value::Bytes(text)) = next_field(&mut first)? else { return None };
                tag = Some(text);
            }
            _ => {}
        }
    }
    Some(match tag {
        None => Mark::Head,
        Some(tag) if tag.starts_with(EPOCH_PREFIX.as_bytes()) => {
            Mark::Epoch(usize::try_from(step).ok()?.checked_add(1)?)
        }
        Some(_) => Mark::Step(step),
    })
}

fn head(wall_time: f64, step: u64) -> Vec<u8> {
    let mut event = vec![WALL_TIME];
    event.extend_from_slice(&wall_time.to_le_bytes());
    // Zero is what a field says that is not there.
    if step > 0 {
        event.push(STEP);
        varint(&mut event, step);
    }
    event
}

fn bytes(out: &mut Vec<u8>, field: u8, value: &[u8]) {
    out.push(field);
    varint(out, value.len() as u64);
    out.extend_from_slice(value);
}

fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = length.to_vec();
    record.extend_from_slice(&masked(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked(data).to_le_bytes());
    record
}

/// A CRC-32C as TensorFlow stores it (`core/lib/hash/crc32c.h`).
fn masked(data: &[u8]) -> u32 {
    crc32c::crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// The data of the record that `file` begins with, if it is whole.
fn next_record(file: &[u8]) -> Option<&[u8]> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (length_crc, rest) = rest.split_first_chunk::<4>()?;
    if masked(length) != u32::from_le_bytes(*length_crc) {
        return None;
    }
    let (data, rest) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    let crc = rest.first_chunk::<4>()?;
    (masked(data) == u32::from_le_bytes(*crc)).then_some(data)
}

/// The value of a field.
#[derive(Debug)]
enum Value<'a> {
    Varint(u64),
    Bytes(&'a [u8]),
    Fixed,
}

/// Takes the first field, whose number is below 16, off a message.
fn next_field<'a>(rest: &mut &'a [u8]) -> Option<(u8, Value<'a>)> {
    let (&field, mut after) = rest.split_first()?;
    let value = match field & 7 {
        VARINT => Value::Varint(next_varint(&mut after)?),
        FIXED64 => next_bytes(&mut after, 8).map(|_| Value::Fixed)?,
        FIXED32 => next_bytes(&mut after, 4).map(|_| Value::Fixed)?,
        BYTES => {
            let length = usize::try_from(next_varint(&mut after)?).ok()?;
            Value::Bytes(next_bytes(&mut after, length)?)
        }
        _ => return None,
    };
    *rest = after;
    Some((field, value))
}

fn next_bytes<'a>(rest: &mut &'a [u8], length: usize) -> Option<&'a [u8]> {
    let (taken, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(taken)
}

fn next_varint(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0u64;
    for shift in (0..64).step_by(7) {
        let (&byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What `tensorboard.summary.writer.record_writer.RecordWriter` of tensorboard 2.21 writes for
    /// `Event(wall_time=1.5, file_version="brain.Event:2")` and `Event(wall_time=2.25, step=300,
    /// summary=Summary(value=[Value(tag="epoch_loss", simple_value=0.5), Value(tag="epoch_auc", simple_value=nan)]))`.
    const WRITTEN_BY_TENSORBOARD: &str = "1800000000000000a37f4b2209000000000000f83f1a0d627261696e2e4576656e743a32\
        2a28646c33000000000000000ca7205609000000000000024010ac022a250a110a0a65706f63685f6c6f7373150000003f0a100a0965\
        706f63685f617563150000c07fabc5fe45";

    fn written() -> Vec<u8> {
        let values = [("epoch_loss".to_owned(), 0.5), ("epoch_auc".to_owned(), f64::NAN)];
        [file_version(1.5), scalars(2.25, 300, &values)].concat()
    }

    #[test]
    fn the_bytes_are_those_of_tensorboard() {
        assert_eq!(hex::encode(written()), WRITTEN_BY_TENSORBOARD);
    }

    #[test]
    fn records_are_told_apart_and_a_torn_one_ends_them() {
        let file = [
            written(),
            scalars(3.0, 7, &[("batch_loss".to_owned(), 1.0)]),
            scalars(3.0, u64::MAX, &[("evaluation_loss_vs_iterations".to_owned(), 1.0)]),
        ]
        .concat();
        let found = records(&file).unwrap();
        let marks: Vec<Mark> = found.begins.iter().map(|(mark, _)| *mark).collect();
        assert_eq!(marks, [Mark::Head, Mark::Epoch(301), Mark::Step(7), Mark::Step(u64::MAX)]);
        assert_eq!(found.end, file.len());
        for length in 0..file.len() {
            let cut = records(&file[..length]).unwrap();
            let whole = found.begins.iter().skip(1).map(|(_, begin)| *begin).filter(|&end| end <= length);
            assert_eq!(cut.end, whole.max().unwrap_or(0), "{length} bytes");
        }
        for at in 0..file.len() {
            let mut flipped = file.clone();
            flipped[at] ^= 8;
            let kept = found.begins.iter().map(|(_, begin)| *begin).filter(|&begin| begin <= at).max();
            assert_eq!(Some(records(&flipped).unwrap().end), kept, "byte {at}");
        }
    }

    #[test]
    fn foreign_records_are_refused() {
        let error = records(&record(&[SUMMARY, 3, 9, 1, 1])).unwrap_err();
        assert_eq!(
            error,
            "its record at byte 0 is none of this log; move the file away to resume without it"
        );
        for event in
            [&[STEP][..], &[SUMMARY, 200, 1], &[7], &[STEP, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255]]
        {
            assert!(mark(event).is_none(), "{event:?}");
        }
        assert_eq!(mark(&[]), Some(Mark::Head));
    }
}
