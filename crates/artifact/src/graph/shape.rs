//! Shapes of results: broadcasting, the matrix product and windows, with the batch as an open axis.

use super::{Padding, Shape};

/// Axes of a factor of a matrix product.
const FACTOR_RANKS: std::ops::RangeInclusive<usize> = 2..=4;
/// Elements along an axis: TensorFlow counts them in 32 bits.
pub(super) const AXIS_MAX: usize = i32::MAX as usize;

/// NumPy's rule. The open batch meets itself or 1.
pub(super) fn broadcast(a: &[Option<usize>], b: &[Option<usize>]) -> Result<Shape, String> {
    let rank = a.len().max(b.len());
    let axis_of = |shape: &[Option<usize>], axis: usize| -> Option<usize> {
        let missing = rank - shape.len();
        if axis < missing { Some(1) } else { shape[axis - missing] }
    };
    let mut result = Shape::with_capacity(rank);
    for axis in 0..rank {
        result.push(match (axis_of(a, axis), axis_of(b, axis)) {
            (same, other) if same == other => same,
            (Some(1), other) => other,
            (same, Some(1)) => same,
            _ => return Err(format!("shapes {} and {} do not broadcast", text(a), text(b))),
        });
    }
    Ok(result)
}

/// `[.., rows, k] x [.., k, columns]`, where the axes before broadcast.
pub(super) fn product(a: &[Option<usize>], b: &[Option<usize>]) -> Result<Shape, String> {
    let misfit = || format!("shapes {} and {} cannot be multiplied", text(a), text(b));
    let ([a_before @ .., rows, Some(k)], [b_before @ .., Some(also_k), columns]) = (a, b) else {
        return Err(misfit());
    };
    if k != also_k || !FACTOR_RANKS.contains(&a.len()) || !FACTOR_RANKS.contains(&b.len()) {
        return Err(misfit());
    }
    let mut shape = broadcast(a_before, b_before).map_err(|_| misfit())?;
    shape.extend([rows, columns]);
    Ok(shape)
}

/// A window over steps.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    /// Its elements.
    pub size: usize,
    /// Steps from a window to the next.
    pub stride: usize,
    /// Steps from an element to the next.
    pub dilation: usize,
}

/// How many windows there are, and the steps of padding before and after.
///
/// The arithmetic is TensorFlow's (`tf.nn.convolution`, "Padding"); causal padding is Keras's.
pub(super) fn windows(steps: usize, window: Window, padding: Padding) -> Result<(usize, [usize; 2]), String> {
    let Window { size, stride, dilation } = window;
    if size == 0 || stride == 0 || dilation == 0 {
        return Err(format!("a window has a size, a stride and a dilation of at least 1, not {window:?}"));
    }
    let reach = (size - 1).saturating_mul(dilation).saturating_add(1);
    let pads = match padding {
        Padding::Valid => [0, 0],
        Padding::Causal => [reach - 1, 0],
        Padding::Same => {
            let last = (steps.div_ceil(stride).saturating_sub(1)).saturating_mul(stride);
            let total = last.saturating_add(reach).saturating_sub(steps);
            [total / 2, total.div_ceil(2)]
        }
    };
    let padded = pads.iter().fold(steps, |sum, pad| sum.saturating_add(*pad));
    match padded.checked_sub(reach) {
        Some(room) if steps > 0 && padded <= AXIS_MAX => Ok((room / stride + 1, pads)),
        _ => Err(format!("windows that reach over {reach} steps do not fit into {steps}")),
    }
}

/// `[batch, 3]`
pub(crate) fn text(shape: &[Option<usize>]) -> String {
    let axes: Vec<String> =
        shape.iter().map(|axis| axis.map_or_else(|| "batch".to_owned(), |size| size.to_string())).collect();
    format!("[{}]", axes.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_broadcast_from_the_right() {
        let batch = vec![None, Some(3)];
        assert_eq!(broadcast(&batch, &[Some(3)]).unwrap(), batch);
        assert_eq!(broadcast(&[], &batch).unwrap(), batch);
        assert_eq!(broadcast(&[Some(1), Some(3)], &batch).unwrap(), batch);
        let error = broadcast(&batch, &[Some(2), Some(3)]).unwrap_err();
        assert_eq!(error, "shapes [batch, 3] and [2, 3] do not broadcast");
    }

    #[test]
    fn matrices_multiply_when_the_inner_axes_are_equal() {
        assert_eq!(product(&[None, Some(3)], &[Some(3), Some(2)]).unwrap(), vec![None, Some(2)]);
        let error = product(&[None, Some(3)], &[Some(4), Some(2)]).unwrap_err();
        assert_eq!(error, "shapes [batch, 3] and [4, 2] cannot be multiplied");
    }

    #[test]
    fn stacks_of_matrices_broadcast() {
        let stack = [None, Some(4), Some(3)];
        assert_eq!(product(&stack, &[Some(3), Some(2)]).unwrap(), [None, Some(4), Some(2)]);
        assert_eq!(product(&stack, &[None, Some(3), Some(2)]).unwrap(), [None, Some(4), Some(2)]);
        assert_eq!(
            product(&[Some(5), Some(4)], &[None, Some(4), Some(3)]).unwrap(),
            [None, Some(5), Some(3)]
        );
        let error = product(&stack, &[Some(7), Some(3), Some(2)]).unwrap_err();
        assert_eq!(error, "shapes [batch, 4, 3] and [7, 3, 2] cannot be multiplied");
        assert!(product(&stack, &[Some(3)]).is_err());
        assert!(product(&[None, Some(1), Some(1), Some(4), Some(3)], &[Some(3), Some(2)]).is_err());
    }

    #[test]
    fn windows_are_counted_as_tensorflow_counts() {
        // Steps, (size, stride, dilation), padding; windows and pads as tf.keras.layers.Conv1D gives them.
        let cases = [
            (7, (3, 1, 1), Padding::Valid, 5, [0, 0]),
            (7, (3, 2, 1), Padding::Valid, 3, [0, 0]),
            (7, (3, 1, 2), Padding::Valid, 3, [0, 0]),
            (7, (3, 1, 1), Padding::Same, 7, [1, 1]),
            (7, (4, 1, 1), Padding::Same, 7, [1, 2]),
            (8, (3, 2, 1), Padding::Same, 4, [0, 1]),
            (8, (2, 3, 1), Padding::Same, 3, [0, 0]),
            (3, (7, 1, 1), Padding::Same, 3, [3, 3]),
            (7, (3, 1, 2), Padding::Causal, 7, [4, 0]),
            (7, (3, 3, 1), Padding::Causal, 3, [2, 0]),
        ];
        for (steps, (size, stride, dilation), padding, count, pads) in cases {
            let window = Window { size, stride, dilation };
            let found = windows(steps, window, padding).unwrap();
            assert_eq!(found, (count, pads), "{steps} {window:?} {padding:?}");
        }
        let long = Window { size: 3, stride: 1, dilation: 4 };
        let error = windows(8, long, Padding::Valid).unwrap_err();
        assert_eq!(error, "windows that reach over 9 steps do not fit into 8");
        let huge = Window { size: usize::MAX, stride: 1, dilation: usize::MAX };
        for padding in [Padding::Valid, Padding::Same, Padding::Causal] {
            assert!(windows(8, huge, padding).is_err());
            assert!(windows(8, Window { stride: 0, ..long }, padding).is_err());
            assert!(windows(0, long, padding).is_err());
        }
    }
}
