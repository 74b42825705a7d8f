//! The protocol's names of element types, and tensors from and to its raw little-endian bytes.

use platform::{DataType, TensorData};

/// What the protocol calls a type.
pub(crate) fn name(dtype: DataType) -> &'static str {
    match dtype {
        DataType::Float32 => "FP32",
        DataType::Float64 => "FP64",
        DataType::Int32 => "INT32",
        DataType::Int64 => "INT64",
        DataType::Bool => "BOOL",
    }
}

/// All types of the protocol; a model here takes and gives those that [`name`] knows.
pub(crate) const ALL: [&str; 14] = [
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32",
    "FP64", "BYTES",
];

/// Elements from their bytes; nothing if a byte is left over or is no `BOOL`.
pub(crate) fn from_bytes(dtype: DataType, bytes: &[u8]) -> Option<TensorData> {
    Some(match dtype {
        DataType::Float32 => TensorData::Float32(whole(bytes, f32::from_le_bytes)?),
        DataType::Float64 => TensorData::Float64(whole(bytes, f64::from_le_bytes)?),
        DataType::Int32 => TensorData::Int32(whole(bytes, i32::from_le_bytes)?),
        DataType::Int64 => TensorData::Int64(whole(bytes, i64::from_le_bytes)?),
        DataType::Bool => {
            let element = |byte: &u8| match byte {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            };
            TensorData::Bool(bytes.iter().map(element).collect::<Option<_>>()?)
        }
    })
}

fn whole<T, const N: usize>(bytes: &[u8], element: fn([u8; N]) -> T) -> Option<Vec<T>> {
    let (elements, rest) = bytes.as_chunks::<N>();
    rest.is_empty().then(|| elements.iter().map(|bytes| element(*bytes)).collect())
}

/// Appends the bytes of elements.
pub(crate) fn append_bytes(out: &mut Vec<u8>, data: &TensorData) {
    fn append<T: Copy, const N: usize>(out: &mut Vec<u8>, values: &[T], bytes: impl Fn(T) -> [u8; N]) {
        let begin = out.len();
        out.resize(begin + values.len() * N, 0);
        for (place, value) in out[begin..].chunks_exact_mut(N).zip(values) {
            place.copy_from_slice(&bytes(*value));
        }
    }
    match data {
        TensorData::Float32(values) => append(out, values, f32::to_le_bytes),
        TensorData::Float64(values) => append(out, values, f64::to_le_bytes),
        TensorData::Int32(values) => append(out, values, i32::to_le_bytes),
        TensorData::Int64(values) => append(out, values, i64::to_le_bytes),
        TensorData::Bool(values) => append(out, values, |value| [u8::from(value)]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_round_trip() {
        for data in [
            TensorData::Float32(vec![1.5, f32::MIN_POSITIVE, -0.0]),
            TensorData::Float64(vec![f64::MAX]),
            TensorData::Int32(vec![i32::MIN, 7]),
            TensorData::Int64(vec![i64::MAX]),
            TensorData::Bool(vec![true, false]),
        ] {
            let mut bytes = Vec::new();
            append_bytes(&mut bytes, &data);
            assert_eq!(bytes.len(), data.len() * data.data_type().size_bytes());
            assert_eq!(from_bytes(data.data_type(), &bytes), Some(data));
        }
        assert_eq!(from_bytes(DataType::Float32, &[0; 5]), None);
        assert_eq!(from_bytes(DataType::Bool, &[2]), None);
    }
}
