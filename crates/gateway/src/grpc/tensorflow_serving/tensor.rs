//! Tensors as TensorFlow writes them: `tensor_content`, or a list of values whose last one may stand for those after it.
//!
//! One value may so stand for a whole tensor: its shape is held against the signature and the bounds before anything
//! is allocated.

use platform::{DataType, Error, Tensor, TensorData, TensorSpec};
use protos::serving::tensorflow::tensor_shape_proto::Dim;
use protos::serving::tensorflow::{DataType as WireType, TensorProto, TensorShapeProto};

use crate::open_inference::datatype;

/// What a tensor may be.
#[derive(Debug, Clone, Copy)]
pub(in crate::grpc) struct Bounds {
    /// Rows of the first axis.
    pub(in crate::grpc) rows: usize,
    /// Bytes of its elements.
    pub(in crate::grpc) bytes: usize,
}

/// TensorFlow's name of an element type.
pub(super) fn wire_type(dtype: DataType) -> WireType {
    match dtype {
        DataType::Float32 => WireType::DtFloat,
        DataType::Float64 => WireType::DtDouble,
        DataType::Int32 => WireType::DtInt32,
        DataType::Int64 => WireType::DtInt64,
        DataType::Bool => WireType::DtBool,
    }
}

/// A shape; -1 is an axis whose size the caller chooses.
pub(super) fn wire_shape(axes: impl IntoIterator<Item = Option<usize>>) -> TensorShapeProto {
    let size = |axis: Option<usize>| axis.and_then(|axis| i64::try_from(axis).ok()).unwrap_or(-1);
    let dim = axes.into_iter().map(|axis| Dim { size: size(axis), name: String::new() }).collect();
    TensorShapeProto { dim, unknown_rank: false }
}

/// An output, its elements in a list, as TensorFlow Serving does by default.
pub(super) fn write(tensor: Tensor) -> TensorProto {
    let mut proto = TensorProto {
        dtype: wire_type(tensor.data_type()).into(),
        tensor_shape: Some(wire_shape(tensor.shape().iter().map(|axis| Some(*axis)))),
        ..Default::default()
    };
    match tensor.into_data() {
        TensorData::Float32(values) => proto.float_val = values,
        TensorData::Float64(values) => proto.double_val = values,
        TensorData::Int32(values) => proto.int_val = values,
        TensorData::Int64(values) => proto.int64_val = values,
        TensorData::Bool(values) => proto.bool_val = values,
    }
    proto
}

/// An input of a signature.
///
/// # Errors
/// [`platform::Kind::InvalidArgument`] naming it.
pub(super) fn read(proto: TensorProto, spec: &TensorSpec, bounds: Bounds) -> Result<Tensor, Error> {
    let name = &spec.name;
    let expected = wire_type(spec.dtype);
    if proto.dtype != expected as i32 {
        let got = WireType::try_from(proto.dtype).map_or("an unknown type", |got| got.as_str_name());
        let message = format!("input \"{name}\" must be {}, got {got}", expected.as_str_name());
        return Err(Error::invalid("inputs", message));
    }
    let (shape, elements) = shape(&proto, spec, bounds)?;
    let data = if proto.tensor_content.is_empty() {
        from_list(proto, spec, elements)?
    } else {
        from_content(&proto.tensor_content, spec, elements)?
    };
    Tensor::new(shape, data).map_err(|error| Error::invalid("inputs", format!("input \"{name}\": {error}")))
}

/// The declared shape and how many elements it has, if signature and bounds allow it.
fn shape(proto: &TensorProto, spec: &TensorSpec, bounds: Bounds) -> Result<(Vec<usize>, usize), Error> {
    let declared = proto.tensor_shape.as_ref().filter(|shape| !shape.unknown_rank);
    let dims = declared.map(|shape| shape.dim.as_slice()).unwrap_or_default();
    let sizes: Option<Vec<usize>> = dims.iter().map(|dim| usize::try_from(dim.size).ok()).collect();
    let fits = |sizes: &Vec<usize>| {
        sizes.len() == spec.shape.len()
            && spec.shape.iter().zip(sizes).all(|(want, got)| want.is_none_or(|want| want == *got))
    };
    let Some(sizes) = sizes.filter(fits) else {
        let shown: Vec<i64> = dims.iter().take(16).map(|dim| dim.size).collect();
        let wanted: Vec<i64> =
            wire_shape(spec.shape.iter().copied()).dim.iter().map(|dim| dim.size).collect();
        let more = if dims.len() > shown.len() { " and more" } else { "" };
        let message = format!("input \"{}\" must have shape {wanted:?}, got {shown:?}{more}", spec.name);
        return Err(Error::invalid("inputs", message));
    };
    let rows = sizes.first().copied().unwrap_or(1);
    if rows > bounds.rows {
        let message = format!(
            "input \"{}\" has {rows} rows, more than the {} one request may have",
            spec.name, bounds.rows
        );
        return Err(Error::invalid("inputs", message));
    }
    let elements = sizes.iter().try_fold(1usize, |n, size| n.checked_mul(*size));
    let elements = elements.filter(|n| n.saturating_mul(spec.dtype.size_bytes()) <= bounds.bytes);
    let message = format!("input \"{}\" of shape {sizes:?} takes over {} bytes", spec.name, bounds.bytes);
    elements.map(|elements| (sizes, elements)).ok_or_else(|| Error::invalid("inputs", message))
}

fn from_content(content: &[u8], spec: &TensorSpec, elements: usize) -> Result<TensorData, Error> {
    let expected = elements * spec.dtype.size_bytes();
    if content.len() != expected {
        let message = format!(
            "input \"{}\" takes {expected} bytes, its tensor_content is {}",
            spec.name,
            content.len()
        );
        return Err(Error::invalid("inputs", message));
    }
    datatype::from_bytes(spec.dtype, content).ok_or_else(|| {
        let message = format!("the tensor_content of input \"{}\" is no {}", spec.name, spec.dtype);
        Error::invalid("inputs", message)
    })
}

fn from_list(proto: TensorProto, spec: &TensorSpec, elements: usize) -> Result<TensorData, Error> {
    Ok(match spec.dtype {
        DataType::Float32 => TensorData::Float32(filled(proto.float_val, spec, elements)?),
        DataType::Float64 => TensorData::Float64(filled(proto.double_val, spec, elements)?),
        DataType::Int32 => TensorData::Int32(filled(proto.int_val, spec, elements)?),
        DataType::Int64 => TensorData::Int64(filled(proto.int64_val, spec, elements)?),
        DataType::Bool => TensorData::Bool(filled(proto.bool_val, spec, elements)?),
    })
}

/// As many elements as there are, the last value standing for those that are not given; without any they are zero.
fn filled<T: Copy + Default>(
    mut values: Vec<T>,
    spec: &TensorSpec,
    elements: usize,
) -> Result<Vec<T>, Error> {
    if values.len() > elements {
        let message = format!("input \"{}\" has {} values for {elements} elements", spec.name, values.len());
        return Err(Error::invalid("inputs", message));
    }
    let last = values.last().copied().unwrap_or_default();
    values.resize(elements, last);
    Ok(values)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { rows: 1000, bytes: 1 << 20 };

    fn spec(dtype: DataType) -> TensorSpec {
        TensorSpec { name: "x".to_owned(), dtype, shape: vec![None, Some(2)] }
    }

    fn proto(dtype: WireType, sizes: &[i64]) -> TensorProto {
        let dim = sizes.iter().map(|size| Dim { size: *size, name: String::new() }).collect();
        let tensor_shape = Some(TensorShapeProto { dim, unknown_rank: false });
        TensorProto { dtype: dtype.into(), tensor_shape, ..Default::default() }
    }

    fn refusal(proto: TensorProto) -> String {
        read(proto, &spec(DataType::Float32), Bounds { rows: 3, bytes: 64 }).unwrap_err().to_string()
    }

    #[test]
    fn contents_and_lists_are_the_same_tensors() {
        let expected = Tensor::float32(vec![2, 2], vec![1.0, 2.0, 2.0, 2.0]).unwrap();
        let content: Vec<u8> = [1.0f32, 2.0, 2.0, 2.0].iter().flat_map(|x| x.to_le_bytes()).collect();
        for proto in [
            TensorProto { tensor_content: content.into(), ..proto(WireType::DtFloat, &[2, 2]) },
            TensorProto { float_val: vec![1.0, 2.0], ..proto(WireType::DtFloat, &[2, 2]) },
            TensorProto { float_val: vec![1.0, 2.0, 2.0, 2.0], ..proto(WireType::DtFloat, &[2, 2]) },
        ] {
            assert_eq!(read(proto, &spec(DataType::Float32), BOUNDS).unwrap(), expected);
        }
        let zeros = read(proto(WireType::DtFloat, &[1, 2]), &spec(DataType::Float32), BOUNDS).unwrap();
        assert_eq!(zeros.as_float32(), Some(&[0.0, 0.0][..]));
    }

    #[test]
    fn what_is_written_is_read_again() {
        for data in [
            TensorData::Float32(vec![f32::NAN.copysign(1.0), -0.0]),
            TensorData::Float64(vec![1e300, -1e-300]),
            TensorData::Int32(vec![i32::MIN, i32::MAX]),
            TensorData::Int64(vec![i64::MIN, i64::MAX]),
            TensorData::Bool(vec![true, false]),
        ] {
            let spec = spec(data.data_type());
            let tensor = Tensor::new(vec![1, 2], data).unwrap();
            let again = read(write(tensor.clone()), &spec, BOUNDS).unwrap();
            assert_eq!(format!("{again:?}"), format!("{tensor:?}"));
        }
    }

    #[test]
    fn a_wrong_input_is_named() {
        let huge = TensorProto { float_val: vec![1.0], ..proto(WireType::DtFloat, &[i64::MAX, 2]) };
        let float = |sizes: &[i64]| proto(WireType::DtFloat, sizes);
        for (said, refusal) in [
            ("must be DT_FLOAT, got DT_DOUBLE", refusal(proto(WireType::DtDouble, &[1, 2]))),
            ("got an unknown type", refusal(TensorProto { dtype: 999, ..float(&[1, 2]) })),
            ("must have shape [-1, 2], got [2]", refusal(float(&[2]))),
            ("must have shape [-1, 2], got [-1, 2]", refusal(float(&[-1, 2]))),
            ("must have shape [-1, 2], got []", refusal(TensorProto { tensor_shape: None, ..float(&[]) })),
            ("rows, more than the 3", refusal(huge)),
            (
                "has 3 values for 2 elements",
                refusal(TensorProto { float_val: vec![0.0; 3], ..float(&[1, 2]) }),
            ),
            (
                "takes 8 bytes, its tensor_content is 3",
                refusal(TensorProto { tensor_content: vec![0; 3].into(), ..float(&[1, 2]) }),
            ),
        ] {
            assert!(refusal.contains(said), "{refusal} does not say {said}");
        }
        let open = TensorSpec { shape: vec![None, None], ..spec(DataType::Float32) };
        let wide = TensorProto { float_val: vec![1.0], ..float(&[3, 1_000_000_000_000]) };
        let refusal = read(wide, &open, Bounds { rows: 3, bytes: 64 }).unwrap_err().to_string();
        assert!(refusal.contains("takes over 64 bytes"), "{refusal}");
    }
}
