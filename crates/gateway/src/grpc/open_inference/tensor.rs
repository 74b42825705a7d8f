//! Tensors as the protocol writes them: raw little-endian bytes, or typed lists.
//!
//! Sizes are checked against what is there before anything is allocated, so a declared shape costs nothing.

use bytes::Bytes;
use platform::{DataType, Error, Kind, Signature, Tensor, TensorData, TensorSpec};
use protos::serving::inference::model_infer_request::InferInputTensor;
use protos::serving::inference::{InferTensorContents, ModelInferRequest};

use crate::open_inference::datatype;

/// The axes of a tensor as the protocol shows them: -1 where the caller chooses.
pub(super) fn axes(spec: &TensorSpec) -> Vec<i64> {
    spec.shape.iter().map(|axis| axis.and_then(|axis| i64::try_from(axis).ok()).unwrap_or(-1)).collect()
}

/// Reads the inputs of a request for a model of this signature, of at most `max_rows` rows.
///
/// # Errors
/// [`Kind::InvalidArgument`] naming the input, [`Kind::Unimplemented`] for shared memory.
pub(in crate::grpc) fn inputs(
    request: &ModelInferRequest,
    signature: &Signature,
    max_rows: usize,
) -> Result<Vec<(String, Tensor)>, Error> {
    let raw = &request.raw_input_contents;
    if !raw.is_empty() && raw.len() != request.inputs.len() {
        let message = format!(
            "{} inputs and {} raw input contents; give one for each",
            request.inputs.len(),
            raw.len()
        );
        return Err(Error::invalid("raw_input_contents", message));
    }
    let read = |(index, input): (usize, &InferInputTensor)| {
        let Some(spec) = signature.inputs.iter().find(|spec| spec.name == input.name) else {
            let known: Vec<&str> = signature.inputs.iter().map(|spec| spec.name.as_str()).collect();
            let message =
                format!("unexpected input \"{}\"; the model takes {}", input.name, known.join(", "));
            return Err(Error::invalid("inputs", message));
        };
        let tensor = tensor(input, spec, raw.get(index))?;
        let rows = tensor.shape().first().copied().unwrap_or(1);
        if rows > max_rows {
            let message = format!(
                "input \"{}\" has {rows} rows, more than the {max_rows} one request may have",
                spec.name
            );
            return Err(Error::invalid("inputs", message));
        }
        Ok((spec.name.clone(), tensor))
    };
    request.inputs.iter().enumerate().map(read).collect()
}

/// The elements of an output, row-major and little-endian.
pub(super) fn raw(tensor: &Tensor) -> Bytes {
    let mut bytes = Vec::new();
    datatype::append_bytes(&mut bytes, tensor.data());
    bytes.into()
}

fn tensor(input: &InferInputTensor, spec: &TensorSpec, raw: Option<&Bytes>) -> Result<Tensor, Error> {
    let name = &spec.name;
    if input.parameters.keys().any(|key| key.starts_with("shared_memory")) {
        let message =
            format!("input \"{name}\" is in shared memory, which is not offered; send it as raw contents");
        return Err(Error::new(Kind::Unimplemented, message));
    }
    if input.datatype != datatype::name(spec.dtype) {
        let message = format!(
            "input \"{name}\" must be {}, got {}",
            datatype::name(spec.dtype),
            shown(&input.datatype)
        );
        return Err(Error::invalid("inputs", message));
    }
    let shape = shape(input, spec)?;
    let data = match (raw, &input.contents) {
        (Some(_), Some(contents)) if *contents != InferTensorContents::default() => {
            let message = format!("input \"{name}\" has both raw and typed contents; give one of them");
            return Err(Error::invalid("inputs", message));
        }
        (Some(raw), _) => from_raw(input, spec, &shape, raw)?,
        (None, Some(contents)) => from_list(input, spec, contents)?,
        (None, None) => from_list(input, spec, &InferTensorContents::default())?,
    };
    Tensor::new(shape, data).map_err(|error| Error::invalid("inputs", format!("input \"{name}\": {error}")))
}

/// The declared shape, if the signature allows it.
fn shape(input: &InferInputTensor, spec: &TensorSpec) -> Result<Vec<usize>, Error> {
    let sizes: Option<Vec<usize>> = input.shape.iter().map(|axis| usize::try_from(*axis).ok()).collect();
    let fits = |sizes: &Vec<usize>| {
        sizes.len() == spec.shape.len()
            && spec.shape.iter().zip(sizes).all(|(want, got)| want.is_none_or(|want| want == *got))
    };
    sizes.filter(fits).ok_or_else(|| {
        let shown: Vec<i64> = input.shape.iter().take(16).copied().collect();
        let more = if input.shape.len() > shown.len() { " and more" } else { "" };
        let message =
            format!("input \"{}\" must have shape {:?}, got {shown:?}{more}", spec.name, axes(spec));
        Error::invalid("inputs", message)
    })
}

fn from_raw(
    input: &InferInputTensor,
    spec: &TensorSpec,
    shape: &[usize],
    raw: &Bytes,
) -> Result<TensorData, Error> {
    let elements = shape.iter().try_fold(1usize, |n, axis| n.checked_mul(*axis));
    let expected = elements.and_then(|elements| elements.checked_mul(spec.dtype.size_bytes()));
    if expected != Some(raw.len()) {
        let expected = expected.map_or_else(|| "more than there is memory for".to_owned(), |n| n.to_string());
        let message = format!(
            "input \"{}\" of shape {:?} takes {expected} bytes, its raw contents are {}",
            spec.name,
            input.shape,
            raw.len()
        );
        return Err(Error::invalid("raw_input_contents", message));
    }
    datatype::from_bytes(spec.dtype, raw).ok_or_else(|| {
        let (name, dtype) = (&spec.name, datatype::name(spec.dtype));
        let message = format!("the raw contents of input \"{name}\" are no elements of {dtype}");
        Error::invalid("raw_input_contents", message)
    })
}

/// The list of the input's type, which must be the only one with anything in it.
fn from_list(
    input: &InferInputTensor,
    spec: &TensorSpec,
    contents: &InferTensorContents,
) -> Result<TensorData, Error> {
    let filled = [
        ("bool_contents", contents.bool_contents.len()),
        ("int_contents", contents.int_contents.len()),
        ("int64_contents", contents.int64_contents.len()),
        ("uint_contents", contents.uint_contents.len()),
        ("uint64_contents", contents.uint64_contents.len()),
        ("fp32_contents", contents.fp32_contents.len()),
        ("fp64_contents", contents.fp64_contents.len()),
        ("bytes_contents", contents.bytes_contents.len()),
    ];
    let (field, data) = match spec.dtype {
        DataType::Float32 => ("fp32_contents", TensorData::Float32(contents.fp32_contents.clone())),
        DataType::Float64 => ("fp64_contents", TensorData::Float64(contents.fp64_contents.clone())),
        DataType::Int32 => ("int_contents", TensorData::Int32(contents.int_contents.clone())),
        DataType::Int64 => ("int64_contents", TensorData::Int64(contents.int64_contents.clone())),
        DataType::Bool => ("bool_contents", TensorData::Bool(contents.bool_contents.clone())),
    };
    if let Some((odd, _)) = filled.iter().find(|(name, length)| *name != field && *length > 0) {
        let message = format!(
            "input \"{}\" is {} and has its elements in {odd}; use {field}",
            spec.name, input.datatype
        );
        return Err(Error::invalid("inputs", message));
    }
    Ok(data)
}

fn shown(text: &str) -> String {
    text.chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature() -> Signature {
        let spec = |name: &str, dtype, shape| TensorSpec { name: name.to_owned(), dtype, shape };
        Signature {
            inputs: vec![
                spec("x", DataType::Float32, vec![None, Some(2)]),
                spec("k", DataType::Int64, vec![None]),
                spec("b", DataType::Bool, vec![None, None]),
            ],
            outputs: vec![],
        }
    }

    fn input(name: &str, datatype: &str, shape: &[i64]) -> InferInputTensor {
        InferInputTensor {
            name: name.to_owned(),
            datatype: datatype.to_owned(),
            shape: shape.to_vec(),
            ..Default::default()
        }
    }

    fn raw_request() -> ModelInferRequest {
        let x: Vec<u8> = [1.5f32, -2.0, f32::INFINITY, 0.25].iter().flat_map(|x| x.to_le_bytes()).collect();
        let k: Vec<u8> = [-7i64, i64::MAX].iter().flat_map(|x| x.to_le_bytes()).collect();
        ModelInferRequest {
            inputs: vec![input("x", "FP32", &[2, 2]), input("k", "INT64", &[2]), input("b", "BOOL", &[2, 1])],
            raw_input_contents: vec![x.into(), k.into(), vec![0, 1].into()],
            ..Default::default()
        }
    }

    fn refusal(change: impl Fn(&mut ModelInferRequest)) -> String {
        let mut request = raw_request();
        change(&mut request);
        inputs(&request, &signature(), 2).unwrap_err().to_string()
    }

    #[test]
    fn raw_and_typed_contents_are_the_same_tensors() {
        let from_raw = inputs(&raw_request(), &signature(), 2).unwrap();
        let mut request = raw_request();
        request.raw_input_contents.clear();
        let contents = [
            InferTensorContents { fp32_contents: vec![1.5, -2.0, f32::INFINITY, 0.25], ..Default::default() },
            InferTensorContents { int64_contents: vec![-7, i64::MAX], ..Default::default() },
            InferTensorContents { bool_contents: vec![false, true], ..Default::default() },
        ];
        for (input, contents) in request.inputs.iter_mut().zip(contents) {
            input.contents = Some(contents);
        }
        assert_eq!(inputs(&request, &signature(), 2).unwrap(), from_raw);
        let (name, tensor) = &from_raw[0];
        assert_eq!((name.as_str(), tensor.shape()), ("x", &[2, 2][..]));
        for ((_, tensor), bytes) in from_raw.iter().zip(raw_request().raw_input_contents) {
            assert_eq!(raw(tensor), bytes);
        }
    }

    #[test]
    fn a_wrong_input_is_named() {
        for (said, refusal) in [
            ("3 inputs and 2 raw", refusal(|request| drop(request.raw_input_contents.pop()))),
            (
                "unexpected input \"y\"; the model takes x, k, b",
                refusal(|request| request.inputs[0].name = "y".to_owned()),
            ),
            (
                "\"x\" must be FP32, got FP64",
                refusal(|request| request.inputs[0].datatype = "FP64".to_owned()),
            ),
            (
                "the raw contents of input \"b\" are no elements of BOOL",
                refusal(|request| request.raw_input_contents[2] = vec![0, 2].into()),
            ),
            ("\"x\" must have shape [-1, 2], got [4]", refusal(|request| request.inputs[0].shape = vec![4])),
            (
                "\"x\" must have shape [-1, 2], got [-2, 2]",
                refusal(|request| request.inputs[0].shape = vec![-2, 2]),
            ),
            (
                "got [3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3] and more",
                refusal(|request| request.inputs[0].shape = vec![3; 1000]),
            ),
            (
                "takes 8000000000000 bytes, its raw contents are 16",
                refusal(|request| request.inputs[0].shape = vec![1_000_000_000_000, 2]),
            ),
            (
                "more than there is memory for",
                refusal(|request| request.inputs[2].shape = vec![i64::MAX, i64::MAX]),
            ),
            (
                "both raw and typed",
                refusal(|request| {
                    let contents = InferTensorContents { fp32_contents: vec![1.0], ..Default::default() };
                    request.inputs[0].contents = Some(contents);
                }),
            ),
            (
                "is in shared memory",
                refusal(|request| {
                    request.inputs[0]
                        .parameters
                        .insert("shared_memory_region".to_owned(), Default::default());
                }),
            ),
            (
                "has 3 rows, more than the 2",
                refusal(|request| {
                    request.inputs[0].shape = vec![3, 2];
                    request.raw_input_contents[0] = vec![0; 24].into();
                }),
            ),
            ("holds 4 elements, got 0", refusal(|request| request.raw_input_contents.clear())),
            (
                "is FP32 and has its elements in fp64_contents; use fp32_contents",
                refusal(|request| {
                    request.raw_input_contents.clear();
                    let contents = InferTensorContents { fp64_contents: vec![1.0; 4], ..Default::default() };
                    request.inputs[0].contents = Some(contents);
                }),
            ),
        ] {
            assert!(refusal.contains(said), "{refusal} does not say {said}");
        }
    }
}
