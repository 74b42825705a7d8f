//! A data set: its shape, its type, and where its elements are.

use predictor::{Tensor, TensorData};

use super::bytes::{Bytes, Read, UNDEFINED};
use super::chunks;
use super::header::{Message, find, kind};
use crate::format::traced::limits;

/// What an element is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Element {
    Half,
    Single,
    Double,
    Integer { bytes: usize, signed: bool },
}

impl Element {
    fn bytes(self) -> usize {
        match self {
            Self::Half => 2,
            Self::Single => 4,
            Self::Double => 8,
            Self::Integer { bytes, .. } => bytes,
        }
    }
}

/// The elements: floating-point numbers as float32, integers as int64.
pub(super) fn read(bytes: Bytes<'_>, messages: &[Message<'_>]) -> Read<Tensor> {
    let message = |kind, what: &str| {
        let message = find(messages, kind).ok_or_else(|| format!("it is no data set: it has no {what}"))?;
        match message.shared {
            true => {
                Err(format!("its {what} is kept elsewhere, which is not read; save the model with Keras"))
            }
            false => Ok(message.body),
        }
    };
    let shape = shape(message(kind::DATASPACE, "shape")?)?;
    let element = element(message(kind::DATATYPE, "type")?)?;
    if find(messages, kind::FILTERS).is_some() {
        return Err("it is packed by a filter, which is not read; save the model with Keras".to_owned());
    }
    if find(messages, kind::EXTERNAL_FILES).is_some() {
        return Err("its elements lie in another file, which is not opened".to_owned());
    }
    let count = shape.iter().try_fold(1usize, |count, axis| count.checked_mul(*axis));
    let size = count.and_then(|count| count.checked_mul(element.bytes()));
    let size = size.filter(|size| *size <= bytes.0.len());
    let size = size.ok_or_else(|| format!("its shape {shape:?} is larger than the file"))?;
    let elements = elements(bytes, message(kind::LAYOUT, "place")?, (&shape, element.bytes(), size))?;
    Tensor::new(shape, numbers(&elements, element)).map_err(|error| error.to_string())
}

fn shape(body: Bytes<'_>) -> Read<Vec<usize>> {
    let (version, rank) = (body.u8(0)?, u64::from(body.u8(1)?));
    let begin = match version {
        1 => 8,
        2 if body.u8(3)? == 2 => return Err("it holds nothing".to_owned()),
        2 => 4,
        _ => return Err(format!("its shape is written in version {version}, which is unknown")),
    };
    if rank > limits::RANK as u64 {
        return Err(format!("it has {rank} axes; the limit is {}", limits::RANK));
    }
    let axis = |at| usize::try_from(body.u64(begin + at * 8)?).map_err(|error| error.to_string());
    (0..rank).map(axis).collect()
}

fn element(body: Bytes<'_>) -> Read<Element> {
    const INTEGER: u8 = 0;
    const FLOAT: u8 = 1;
    const ENUMERATION: u8 = 8;
    let (class, flags, size) = (body.u8(0)? & 0x0f, body.u8(1)?, body.u32(4)?);
    if matches!(class, INTEGER | FLOAT) && flags & 0x01 != 0 {
        return Err("its numbers are big-endian; save the model on a machine that is not".to_owned());
    }
    // The width of a float's exponent and of its fraction.
    let parts = |at: u64| body.u8(at);
    match (class, size) {
        (FLOAT, 2) if (parts(13)?, parts(15)?) == (5, 10) => Ok(Element::Half),
        (FLOAT, 4) if (parts(13)?, parts(15)?) == (8, 23) => Ok(Element::Single),
        (FLOAT, 8) if (parts(13)?, parts(15)?) == (11, 52) => Ok(Element::Double),
        (INTEGER, 1 | 2 | 4 | 8) => Ok(Element::Integer { bytes: size as usize, signed: flags & 0x08 != 0 }),
        // Truth values are an enumeration of one byte.
        (ENUMERATION, 1) => Ok(Element::Integer { bytes: 1, signed: false }),
        _ => Err("its elements are no numbers of a known kind".to_owned()),
    }
}

/// The bytes of all elements, `size` of them.
fn elements(
    bytes: Bytes<'_>,
    layout: Bytes<'_>,
    (shape, element_bytes, size): (&[usize], usize, usize),
) -> Read<Vec<u8>> {
    const COMPACT: u8 = 0;
    const CONTIGUOUS: u8 = 1;
    const CHUNKED: u8 = 2;
    let (version, class) = (layout.u8(0)?, layout.u8(1)?);
    match (version, class) {
        (3 | 4, COMPACT) => {
            let stored = layout.part(4, u64::from(layout.u16(2)?))?;
            Ok(stored.part(0, size as u64)?.0.to_vec())
        }
        (3 | 4, CONTIGUOUS) => match layout.u64(2)? {
            UNDEFINED => Ok(vec![0; size]),
            address => Ok(bytes.part(address, size as u64)?.0.to_vec()),
        },
        (3, CHUNKED) => chunks::read(bytes, layout, (shape, element_bytes, size)),
        (4, CHUNKED) => chunks::single(bytes, layout, (shape, element_bytes, size)),
        _ => Err(format!("its elements are stored in a way ({version}.{class}) that is not read")),
    }
}

fn numbers(bytes: &[u8], element: Element) -> TensorData {
    let eight = |bytes: &[u8]| {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        eight
    };
    let all = bytes.chunks_exact(element.bytes());
    match element {
        Element::Half => {
            TensorData::Float32(all.map(|two| half(u16::from_le_bytes([two[0], two[1]]))).collect())
        }
        Element::Single => TensorData::Float32(
            all.map(|four| f32::from_le_bytes([four[0], four[1], four[2], four[3]])).collect(),
        ),
        Element::Double => {
            TensorData::Float32(all.map(|bytes| f64::from_le_bytes(eight(bytes)) as f32).collect())
        }
        Element::Integer { bytes, signed } => {
            let unused = 64 - 8 * bytes as u32;
            let number = |bytes: &[u8]| {
                let number = i64::from_le_bytes(eight(bytes));
                if signed { number << unused >> unused } else { number }
            };
            TensorData::Int64(all.map(number).collect())
        }
    }
}

/// A number of half precision (IEEE 754 binary16).
fn half(bits: u16) -> f32 {
    let sign = if bits & 0x8000 == 0 { 1.0 } else { -1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    sign * match exponent {
        0 => fraction * 2f32.powi(-24),
        0x1f if fraction == 0.0 => f32::INFINITY,
        0x1f => f32::NAN,
        _ => (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_ieee() {
        let cases: [(u16, f32); 8] = [
            (0x0000, 0.0),
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0400, 6.103_515_6e-5),
            (0x0001, 5.960_464_5e-8),
            (0x7c00, f32::INFINITY),
            (0x3555, 0.333_251_95),
        ];
        for (bits, expected) in cases {
            assert_eq!(half(bits), expected, "{bits:04x}");
        }
        assert!(half(0x7e00).is_nan());
    }
}
