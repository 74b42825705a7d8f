//! The classification extension: of an output its largest values, as texts `value:index`.

use bytes::Bytes;
use platform::{Error, Kind, Tensor, TensorData};

/// The `count` largest values of each row as the elements of a BYTES tensor, and the tensor's shape.
///
/// A row is what the axes after the first hold; a tensor of one axis is one value a row. Equal values keep their order,
/// and what is not a number comes last.
///
/// # Errors
/// [`Kind::InvalidArgument`] for `count` 0 or an output without elements, or of truth values.
pub(super) fn classes(name: &str, tensor: &Tensor, count: usize) -> Result<(Vec<i64>, Bytes), Error> {
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let width: usize = tensor.shape().iter().skip(1).product();
    if count == 0 || rows == 0 || width == 0 {
        let message =
            format!("classification of output \"{name}\" asks for the {count} largest of {width} values");
        return Err(Error::invalid("outputs", message));
    }
    let values = numbers(tensor).ok_or_else(|| {
        let message =
            format!("output \"{name}\" is bool, which cannot be classified; leave `classification` out");
        Error::new(Kind::InvalidArgument, message)
    })?;
    let taken = count.min(width);
    let mut bytes = Vec::new();
    for row in values.chunks_exact(width) {
        let mut order: Vec<usize> = (0..width).collect();
        order.sort_by(|a, b| {
            let (a, b) = (row[*a], row[*b]);
            a.is_nan().cmp(&b.is_nan()).then_with(|| b.partial_cmp(&a).unwrap_or(std::cmp::Ordering::Equal))
        });
        for index in &order[..taken] {
            let text = format!("{:.6}:{index}", row[*index]);
            bytes.extend((text.len() as u32).to_le_bytes());
            bytes.extend(text.as_bytes());
        }
    }
    let size = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
    Ok((vec![size(rows), size(taken)], bytes.into()))
}

fn numbers(tensor: &Tensor) -> Option<Vec<f64>> {
    match tensor.data() {
        TensorData::Float32(values) => Some(values.iter().map(|x| f64::from(*x)).collect()),
        TensorData::Float64(values) => Some(values.clone()),
        TensorData::Int32(values) => Some(values.iter().map(|x| f64::from(*x)).collect()),
        TensorData::Int64(values) => Some(values.iter().map(|x| *x as f64).collect()),
        TensorData::Bool(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(bytes: &[u8]) -> Vec<String> {
        let mut rest = bytes;
        let mut texts = Vec::new();
        while let Some((length, after)) = rest.split_first_chunk::<4>() {
            let (text, after) = after.split_at(u32::from_le_bytes(*length) as usize);
            texts.push(String::from_utf8(text.to_vec()).unwrap());
            rest = after;
        }
        texts
    }

    #[test]
    fn the_largest_come_first() {
        let tensor = Tensor::float32(vec![2, 3], vec![0.25, 0.5, 0.25, f32::NAN, -1.0, 2.0]).unwrap();
        let (shape, bytes) = classes("p", &tensor, 2).unwrap();
        assert_eq!(shape, [2, 2]);
        assert_eq!(texts(&bytes), ["0.500000:1", "0.250000:0", "2.000000:2", "-1.000000:1"]);
        let (shape, bytes) = classes("p", &tensor, 99).unwrap();
        assert_eq!(shape, [2, 3]);
        assert_eq!(texts(&bytes)[5], "NaN:0");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let tensor = Tensor::float32(vec![1, 2], vec![0.0; 2]).unwrap();
        assert!(classes("p", &tensor, 0).is_err());
        let truth = Tensor::new(vec![1, 1], TensorData::Bool(vec![true])).unwrap();
        assert!(classes("p", &truth, 1).unwrap_err().to_string().contains("bool"));
        let nothing = Tensor::float32(vec![0, 2], vec![]).unwrap();
        assert!(classes("p", &nothing, 1).is_err());
    }
}
