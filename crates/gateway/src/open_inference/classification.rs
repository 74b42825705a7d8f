//! The largest numbers of each row with their places, as texts `VALUE:PLACE`: the protocol's classification extension.

use std::cmp::Ordering;

use platform::{Tensor, TensorData};

/// `count` texts for each row, the largest number first, and how many they are a row: fewer than `count` if a row has
/// fewer elements.
pub(crate) fn largest(tensor: &Tensor, count: usize) -> (usize, Vec<String>) {
    match tensor.data() {
        TensorData::Float32(values) => of(
            tensor,
            count,
            values,
            |a, b| number_order(f64::from(*a), f64::from(*b)),
            |x| format!("{x:.6}"),
        ),
        TensorData::Float64(values) => {
            of(tensor, count, values, |a, b| number_order(*a, *b), |x| format!("{x:.6}"))
        }
        TensorData::Int32(values) => of(tensor, count, values, Ord::cmp, ToString::to_string),
        TensorData::Int64(values) => of(tensor, count, values, Ord::cmp, ToString::to_string),
        TensorData::Bool(values) => of(tensor, count, values, Ord::cmp, |x| u8::from(*x).to_string()),
    }
}

/// A missing number is smaller than any.
fn number_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan()))
}

fn of<T>(
    tensor: &Tensor,
    count: usize,
    values: &[T],
    order: impl Fn(&T, &T) -> Ordering,
    text: impl Fn(&T) -> String,
) -> (usize, Vec<String>) {
    let rows = tensor.shape().first().copied().unwrap_or(1);
    let width = values.len().checked_div(rows).unwrap_or_default();
    let kept = count.min(width);
    let mut texts = Vec::with_capacity(rows * kept);
    let mut places: Vec<usize> = Vec::with_capacity(width);
    for row in values.chunks_exact(width.max(1)) {
        places.clear();
        places.extend(0..width);
        // Equal numbers stay in the order of their places.
        places.sort_by(|a, b| order(&row[*b], &row[*a]));
        texts.extend(places[..kept].iter().map(|at| format!("{}:{at}", text(&row[*at]))));
    }
    (kept, texts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_come_first_and_missing_ones_last() {
        let data = TensorData::Float32(vec![0.25, 0.5, 0.25, f32::NAN, -1.0, 2.5]);
        let tensor = Tensor::new(vec![2, 3], data).unwrap();
        let (kept, texts) = largest(&tensor, 2);
        assert_eq!(
            (kept, texts),
            (2, ["0.500000:1", "0.250000:0", "2.500000:2", "-1.000000:1"].map(String::from).to_vec())
        );
        assert_eq!(largest(&tensor, 9).1[5], "NaN:0");
        let classes = Tensor::new(vec![2], TensorData::Int64(vec![7, -8])).unwrap();
        assert_eq!(largest(&classes, 3), (1, vec!["7:0".to_owned(), "-8:0".to_owned()]));
        let none = Tensor::new(vec![0, 3], TensorData::Bool(vec![])).unwrap();
        assert_eq!(largest(&none, 3), (0, vec![]));
    }
}
