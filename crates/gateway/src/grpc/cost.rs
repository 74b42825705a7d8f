//! What reading a message costs, counted before it is read.
//!
//! A message within the limit of bytes may still ask for a hundred times its size in memory: an empty element of a
//! repeated field is 2 bytes on the wire and a whole structure once read. [`check`] walks over the parts that may
//! repeat and adds up what they will take. Deliberately not here: what fields mean.

use platform::{Error, Kind};

/// The most that all parts of a message may take, beside the bytes that it holds.
const BYTES_MAX: usize = 64 << 20;

/// What a field of a message takes once read.
pub(super) struct Cost {
    /// The field's number.
    pub(super) field: u64,
    /// Bytes an occurrence takes.
    pub(super) each: usize,
    /// Bytes that a byte of the field takes: packed numbers grow when read.
    pub(super) per_byte: usize,
    /// The costs of a message in the field.
    pub(super) inside: &'static [Cost],
}

impl Cost {
    /// A string or bytes, or a number of an unpacked list.
    pub(super) const fn value(field: u64) -> Self {
        Self { field, each: 32, per_byte: 0, inside: &[] }
    }

    /// Numbers of `size` bytes that take one or more on the wire.
    pub(super) const fn numbers(field: u64, size: usize) -> Self {
        Self { field, each: size, per_byte: size, inside: &[] }
    }

    /// Messages of a type.
    pub(super) const fn messages<T>(field: u64, inside: &'static [Self]) -> Self {
        Self { field, each: size_of::<T>(), per_byte: 0, inside }
    }

    /// Entries of a map, whose values are messages of a type. An ordered map takes about twice what is in it.
    pub(super) const fn entries<T>(field: u64, inside: &'static [Self]) -> Self {
        Self { field, each: 2 * (size_of::<String>() + size_of::<T>()), per_byte: 0, inside }
    }
}

/// Refuses a message that would take too much, or that is none.
///
/// # Errors
/// [`Kind::InvalidArgument`] for bytes that are no message, [`Kind::ResourceExhausted`] for too costly ones.
pub(super) fn check(message: &[u8], costs: &'static [Cost]) -> Result<(), Error> {
    if costs.is_empty() {
        return Ok(());
    }
    let mut left = BYTES_MAX;
    walk(message, costs, &mut left)
}

fn walk(mut message: &[u8], costs: &'static [Cost], left: &mut usize) -> Result<(), Error> {
    while !message.is_empty() {
        let (key, rest) = varint(message)?;
        let cost = costs.iter().find(|cost| cost.field == key >> 3);
        let value;
        (value, message) = match key & 7 {
            0 => (&[][..], varint(rest)?.1),
            1 => (&[][..], rest.get(8..).ok_or_else(truncated)?),
            2 => {
                let (length, rest) = varint(rest)?;
                usize::try_from(length)
                    .ok()
                    .and_then(|length| rest.split_at_checked(length))
                    .ok_or_else(truncated)?
            }
            5 => (&[][..], rest.get(4..).ok_or_else(truncated)?),
            other => {
                let message =
                    format!("field {} has wire type {other}, which no field of the message has", key >> 3);
                return Err(Error::new(Kind::InvalidArgument, message));
            }
        };
        let Some(cost) = cost else { continue };
        let takes = cost.each.saturating_add(cost.per_byte.saturating_mul(value.len()));
        *left = left.checked_sub(takes).ok_or_else(too_costly)?;
        if !cost.inside.is_empty() {
            walk(value, cost.inside, left)?;
        }
    }
    Ok(())
}

/// A number of up to 10 bytes, and what follows it.
fn varint(bytes: &[u8]) -> Result<(u64, &[u8]), Error> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Ok((value, &bytes[index + 1..]));
        }
    }
    Err(truncated())
}

fn truncated() -> Error {
    Error::new(Kind::InvalidArgument, "the message is cut off or is no protocol buffer")
}

fn too_costly() -> Error {
    let message = format!(
        "the message has so many parts that reading it would take over {} MiB; send fewer at a time, and numbers as raw bytes",
        BYTES_MAX >> 20
    );
    Error::new(Kind::ResourceExhausted, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;
    use protos::serving::inference::{
        InferTensorContents, ModelInferRequest, model_infer_request::InferInputTensor,
    };

    use super::super::open_inference::INFER;
    use super::*;

    fn kind(message: &[u8]) -> Option<Kind> {
        check(message, INFER).err().map(|error| error.kind())
    }

    #[test]
    fn an_ordinary_request_passes() {
        let contents = InferTensorContents { fp32_contents: vec![1.5; 1_000_000], ..Default::default() };
        let input = InferInputTensor { name: "x".to_owned(), contents: Some(contents), ..Default::default() };
        let request = ModelInferRequest { inputs: vec![input; 3], ..Default::default() };
        assert_eq!(kind(&request.encode_to_vec()), None);
    }

    #[test]
    fn many_empty_parts_are_refused() {
        // Each pair of bytes is an empty input; 4 MB of them would be 400 MB of structures.
        assert_eq!(kind(&[0x2a, 0].repeat(2_000_000)), Some(Kind::ResourceExhausted));
        assert_eq!(kind(&[0x2a, 0].repeat(2_000)), None);
        assert_eq!(kind(&[0x3a, 0].repeat(4_000_000)), Some(Kind::ResourceExhausted));
        // A list of small numbers in the contents of an input, 1 byte each on the wire and 8 once read.
        let contents = InferTensorContents { int64_contents: vec![1; 10_000_000], ..Default::default() };
        let input = InferInputTensor { contents: Some(contents), ..Default::default() };
        let request = ModelInferRequest { inputs: vec![input], ..Default::default() };
        assert_eq!(kind(&request.encode_to_vec()), Some(Kind::ResourceExhausted));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for bytes in
            [&[0x2a][..], &[0x2a, 5, 1], &[0xff; 11], &[0x0b], &[0x09, 1, 2], &[0x2d, 1], &[0x2a, 1, 0x2a]]
        {
            assert_eq!(kind(bytes), Some(Kind::InvalidArgument), "{bytes:?}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = check(&bytes, INFER);
        }
    }
}
