//! Tensors of a SavedModel as tensors of ours.
//!
//! Half-precision numbers become single ones, small and unsigned integers the next larger signed type.

use predictor::{DataType, Tensor, TensorData};
use protos::tensorflow::{self, TensorProto, TensorShapeProto};

use super::limits;

/// How TensorFlow stores elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ElementType {
    /// Stored as it is used.
    Same(DataType),
    Half,
    BFloat16,
    UInt8,
    Int8,
    UInt16,
    Int16,
    UInt32,
    UInt64,
}

impl ElementType {
    /// The type with TensorFlow's number `dtype`; reasons are words.
    pub(super) fn of(dtype: i32) -> Result<Self, String> {
        use tensorflow::DataType as Theirs;
        let known = Theirs::try_from(dtype).map_err(|_| format!("its element type {dtype} is unknown"))?;
        Ok(match known {
            Theirs::DtFloat => Self::Same(DataType::Float32),
            Theirs::DtDouble => Self::Same(DataType::Float64),
            Theirs::DtInt32 => Self::Same(DataType::Int32),
            Theirs::DtInt64 => Self::Same(DataType::Int64),
            Theirs::DtBool => Self::Same(DataType::Bool),
            Theirs::DtHalf => Self::Half,
            Theirs::DtBfloat16 => Self::BFloat16,
            Theirs::DtUint8 => Self::UInt8,
            Theirs::DtInt8 => Self::Int8,
            Theirs::DtUint16 => Self::UInt16,
            Theirs::DtInt16 => Self::Int16,
            Theirs::DtUint32 => Self::UInt32,
            Theirs::DtUint64 => Self::UInt64,
            other => return Err(format!("elements of type {} are not taken", other.as_str_name())),
        })
    }

    /// The type that stands for it here.
    pub(super) fn as_used(self) -> DataType {
        match self {
            Self::Same(dtype) => dtype,
            Self::Half | Self::BFloat16 => DataType::Float32,
            Self::UInt8 | Self::Int8 | Self::UInt16 | Self::Int16 => DataType::Int32,
            Self::UInt32 | Self::UInt64 => DataType::Int64,
        }
    }

    fn size_bytes(self) -> usize {
        match self {
            Self::Same(dtype) => dtype.size_bytes(),
            Self::UInt8 | Self::Int8 => 1,
            Self::Half | Self::BFloat16 | Self::UInt16 | Self::Int16 => 2,
            Self::UInt32 => 4,
            Self::UInt64 => 8,
        }
    }
}

/// A shape without open axes.
pub(super) fn fixed_shape(shape: Option<&TensorShapeProto>) -> Result<Vec<usize>, String> {
    let shape = shape.ok_or("it has no shape")?;
    if shape.unknown_rank || shape.dim.len() > limits::RANK {
        return Err("its shape is open or has too many axes".to_owned());
    }
    let axis = |dim: &tensorflow::tensor_shape_proto::Dim| {
        usize::try_from(dim.size).map_err(|_| format!("it has an axis of size {}", dim.size))
    };
    shape.dim.iter().map(axis).collect()
}

/// Bytes that elements of this shape take, if they can be counted and are not beyond every limit.
pub(super) fn bytes(shape: &[usize], stored: ElementType) -> Option<usize> {
    let size = shape.iter().try_fold(stored.size_bytes(), |size, axis| size.checked_mul(*axis))?;
    (size <= limits::WEIGHT_BYTES).then_some(size)
}

/// The tensor of these bytes, whose number fits the shape.
pub(super) fn from_bytes(shape: Vec<usize>, stored: ElementType, bytes: &[u8]) -> Result<Tensor, String> {
    let data = match stored {
        ElementType::Same(DataType::Float32) => TensorData::Float32(each(bytes, f32::from_le_bytes)),
        ElementType::Same(DataType::Float64) => TensorData::Float64(each(bytes, f64::from_le_bytes)),
        ElementType::Same(DataType::Int32) => TensorData::Int32(each(bytes, i32::from_le_bytes)),
        ElementType::Same(DataType::Int64) => TensorData::Int64(each(bytes, i64::from_le_bytes)),
        ElementType::Same(DataType::Bool) => TensorData::Bool(each(bytes, |[byte]: [u8; 1]| byte != 0)),
        ElementType::Half => {
            TensorData::Float32(each(bytes, |half| half_to_single(u16::from_le_bytes(half))))
        }
        ElementType::BFloat16 => {
            TensorData::Float32(each(bytes, |half| brain_to_single(u16::from_le_bytes(half))))
        }
        ElementType::UInt8 => TensorData::Int32(each(bytes, |[byte]: [u8; 1]| i32::from(byte))),
        ElementType::Int8 => TensorData::Int32(each(bytes, |byte| i32::from(i8::from_le_bytes(byte)))),
        ElementType::UInt16 => TensorData::Int32(each(bytes, |two| i32::from(u16::from_le_bytes(two)))),
        ElementType::Int16 => TensorData::Int32(each(bytes, |two| i32::from(i16::from_le_bytes(two)))),
        ElementType::UInt32 => TensorData::Int64(each(bytes, |four| i64::from(u32::from_le_bytes(four)))),
        ElementType::UInt64 => TensorData::Int64(each(bytes, |eight| u64::from_le_bytes(eight) as i64)),
    };
    Tensor::new(shape, data).map_err(|error| error.to_string())
}

fn each<const N: usize, T>(bytes: &[u8], read: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|chunk| read(*chunk)).collect()
}

/// The tensor of a `Const`: raw bytes, or a list of values whose last one is repeated.
pub(super) fn tensor(proto: &TensorProto) -> Result<Tensor, String> {
    let stored = ElementType::of(proto.dtype)?;
    let shape = fixed_shape(proto.tensor_shape.as_ref())?;
    let size = bytes(&shape, stored).ok_or_else(|| format!("its shape {shape:?} is absurd"))?;
    if !proto.tensor_content.is_empty() {
        if proto.tensor_content.len() != size {
            return Err(format!("it has {} bytes, its shape {shape:?} {size}", proto.tensor_content.len()));
        }
        return from_bytes(shape, stored, &proto.tensor_content);
    }
    let count = size / stored.size_bytes();
    let data = match stored {
        ElementType::Same(DataType::Float32) => TensorData::Float32(spread(&proto.float_val, count)?),
        ElementType::Same(DataType::Float64) => TensorData::Float64(spread(&proto.double_val, count)?),
        ElementType::Same(DataType::Int64) => TensorData::Int64(spread(&proto.int64_val, count)?),
        ElementType::Same(DataType::Bool) => TensorData::Bool(spread(&proto.bool_val, count)?),
        ElementType::Half => TensorData::Float32(halves(&proto.half_val, count, half_to_single)?),
        ElementType::BFloat16 => TensorData::Float32(halves(&proto.half_val, count, brain_to_single)?),
        ElementType::UInt32 => {
            let values: Vec<i64> = proto.uint32_val.iter().map(|value| i64::from(*value)).collect();
            TensorData::Int64(spread(&values, count)?)
        }
        ElementType::UInt64 => {
            let values: Vec<i64> = proto.uint64_val.iter().map(|value| *value as i64).collect();
            TensorData::Int64(spread(&values, count)?)
        }
        _ => TensorData::Int32(spread(&proto.int_val, count)?),
    };
    Tensor::new(shape, data).map_err(|error| error.to_string())
}

/// The strings of a `Const`.
pub(super) fn strings(proto: &TensorProto) -> Result<Vec<Vec<u8>>, String> {
    let shape = fixed_shape(proto.tensor_shape.as_ref())?;
    let count = shape.iter().try_fold(1usize, |count, axis| count.checked_mul(*axis));
    let count = count.filter(|count| *count <= limits::FOLDED_ELEMENTS).ok_or("it has too many strings")?;
    spread(&proto.string_val, count)
}

fn halves(values: &[i32], count: usize, widen: fn(u16) -> f32) -> Result<Vec<f32>, String> {
    let values: Vec<f32> = values.iter().map(|bits| widen(*bits as u16)).collect();
    spread(&values, count)
}

/// `count` values: those given, then the last one again and again; zero if none is given.
fn spread<T: Clone + Default>(values: &[T], count: usize) -> Result<Vec<T>, String> {
    if values.len() > count {
        return Err(format!("it has {} values, its shape {count}", values.len()));
    }
    if values.len() < count && count > limits::FOLDED_ELEMENTS {
        return Err(format!("it repeats one value {count} times; the limit is {}", limits::FOLDED_ELEMENTS));
    }
    let mut values = values.to_vec();
    let last = values.last().cloned().unwrap_or_default();
    values.resize(count, last);
    Ok(values)
}

/// IEEE 754 binary16 to binary32.
fn half_to_single(bits: u16) -> f32 {
    let sign = if bits >> 15 == 1 { -1.0f32 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 0x1f), f32::from(bits & 0x3ff));
    match exponent {
        0 => sign * fraction * 2f32.powi(-24),
        31 if fraction == 0.0 => sign * f32::INFINITY,
        31 => f32::NAN,
        _ => sign * (1.0 + fraction / 1024.0) * 2f32.powi(exponent - 15),
    }
}

/// The upper half of a binary32.
fn brain_to_single(bits: u16) -> f32 {
    f32::from_bits(u32::from(bits) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_become_singles() {
        let cases = [
            (0x3c00, 1.0),
            (0xc000, -2.0),
            (0x7bff, 65504.0),
            (0x0001, 5.960_464_5e-8),
            (0x3555, 0.333_251_95),
        ];
        for (bits, value) in cases {
            assert_eq!(half_to_single(bits), value);
        }
        assert_eq!(half_to_single(0xfc00), f32::NEG_INFINITY);
        assert!(half_to_single(0x7e00).is_nan());
        assert_eq!(brain_to_single(0x3fc0), 1.5);
    }

    fn proto(dims: &[i64]) -> TensorProto {
        use protos::tensorflow::tensor_shape_proto::Dim;
        let dim = dims.iter().map(|&size| Dim { size, name: String::new() }).collect();
        TensorProto {
            dtype: tensorflow::DataType::DtFloat.into(),
            tensor_shape: Some(TensorShapeProto { dim, unknown_rank: false }),
            float_val: vec![1.0, 2.0],
            ..TensorProto::default()
        }
    }

    #[test]
    fn the_last_value_is_repeated() {
        assert_eq!(tensor(&proto(&[4])).unwrap().as_float32().unwrap(), [1.0, 2.0, 2.0, 2.0]);
    }

    #[test]
    fn absurd_shapes_are_refused_before_they_are_allocated() {
        for dims in [&[1 << 40][..], &[1 << 30], &[-1], &[i64::MAX, i64::MAX], &[1; 40], &[1]] {
            assert!(tensor(&proto(dims)).is_err(), "{dims:?}");
        }
    }
}
