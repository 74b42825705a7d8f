//! The largest numbers of each row with their places, as texts `VALUE:PLACE`: the protocol's classification extension.
//!
//! As Triton's `TopkClassifications` does it: `std::to_string` of C++ writes the numbers, and truth values have no order.

use std::cmp::Ordering;
use std::fmt::Write as _;

use platform::{Error, Tensor, TensorData};

/// The texts of a tensor.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Classes {
    /// Rows, and texts of each: fewer than were asked for if a row has fewer elements.
    pub(crate) shape: [usize; 2],
    /// Row after row, the largest number first.
    pub(crate) texts: Vec<String>,
}

impl Classes {
    /// As elements of the type `BYTES`: each after its length.
    pub(crate) fn append_bytes(&self, out: &mut Vec<u8>) {
        for text in &self.texts {
            out.extend_from_slice(&(text.len() as u32).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// The `count` largest numbers of each row. A row is what the axes after the first hold; a tensor of one axis has one
/// number a row. Equal numbers keep their order, and what is no number comes last.
///
/// # Errors
/// [`Kind::InvalidArgument`](platform::Kind::InvalidArgument) for an output of truth values.
pub(crate) fn largest(name: &str, tensor: &Tensor, count: usize) -> Result<Classes, Error> {
    let rows = Rows { tensor, count };
    Ok(match tensor.data() {
        TensorData::Float32(values) => {
            rows.of(values, |a, b| number_order(f64::from(*a), f64::from(*b)), |x| float(f64::from(*x)))
        }
        TensorData::Float64(values) => rows.of(values, |a, b| number_order(*a, *b), |x| float(*x)),
        TensorData::Int32(values) => rows.of(values, Ord::cmp, ToString::to_string),
        TensorData::Int64(values) => rows.of(values, Ord::cmp, ToString::to_string),
        TensorData::Bool(_) => {
            let message = format!(
                "class result not available for output '{name}' due to unsupported type 'BOOL'; leave `classification` out"
            );
            return Err(Error::invalid("outputs", message));
        }
    })
}

/// A missing number is smaller than any.
fn number_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

/// `%f` of C.
fn float(value: f64) -> String {
    match (value.is_nan(), value.is_sign_negative()) {
        (true, false) => "nan".to_owned(),
        (true, true) => "-nan".to_owned(),
        _ => format!("{value:.6}"),
    }
}

struct Rows<'a> {
    tensor: &'a Tensor,
    count: usize,
}

impl Rows<'_> {
    fn of<T>(
        &self,
        values: &[T],
        order: impl Fn(&T, &T) -> Ordering,
        text: impl Fn(&T) -> String,
    ) -> Classes {
        let rows = self.tensor.shape().first().copied().unwrap_or(1);
        let width = values.len().checked_div(rows).unwrap_or_default();
        let kept = self.count.min(width);
        let mut texts = Vec::with_capacity(rows * kept);
        let mut places: Vec<usize> = Vec::with_capacity(width);
        for row in values.chunks_exact(width.max(1)) {
            places.clear();
            places.extend(0..width);
            // Equal numbers stay in the order of their places.
            places.sort_by(|a, b| order(&row[*b], &row[*a]));
            for at in &places[..kept] {
                let mut text = text(&row[*at]);
                write!(text, ":{at}").expect("a string takes all that is written");
                texts.push(text);
            }
        }
        Classes { shape: [rows, kept], texts }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(shape: &[usize], data: TensorData, count: usize) -> Classes {
        largest("p", &Tensor::new(shape.to_vec(), data).unwrap(), count).unwrap()
    }

    #[test]
    fn the_largest_come_first_and_missing_ones_last() {
        let data = || TensorData::Float32(vec![0.25, 0.5, 0.25, f32::NAN.copysign(1.0), -1.0, 2.5]);
        let classes = of(&[2, 3], data(), 2);
        assert_eq!(classes.shape, [2, 2]);
        assert_eq!(classes.texts, ["0.500000:1", "0.250000:0", "2.500000:2", "-1.000000:1"]);
        assert_eq!(of(&[2, 3], data(), 9).texts[5], "nan:0");
        let infinite = of(&[1, 2], TensorData::Float64(vec![f64::NEG_INFINITY, f64::INFINITY]), 2);
        assert_eq!(infinite.texts, ["inf:1", "-inf:0"]);
    }

    #[test]
    fn whole_numbers_are_written_whole() {
        let classes = of(&[2], TensorData::Int64(vec![7, -8]), 3);
        assert_eq!(classes, Classes { shape: [2, 1], texts: vec!["7:0".to_owned(), "-8:0".to_owned()] });
        let mut bytes = Vec::new();
        classes.append_bytes(&mut bytes);
        assert_eq!(bytes, b"\x03\0\0\x007:0\x04\0\0\0-8:0");
    }

    #[test]
    fn truth_has_no_order_and_nothing_has_no_classes() {
        let truth = Tensor::new(vec![1, 3], TensorData::Bool(vec![true; 3])).unwrap();
        assert!(
            largest("p", &truth, 3).unwrap_err().to_string().contains("'p' due to unsupported type 'BOOL'")
        );
        assert_eq!(of(&[0, 3], TensorData::Int32(vec![]), 3).shape, [0, 0]);
    }
}
