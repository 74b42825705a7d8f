//! Shapes of results: broadcasting and the matrix product, with the batch as an open axis.

use super::Shape;

/// NumPy's rule. The open batch meets itself or 1.
pub(super) fn broadcast(a: &Shape, b: &Shape) -> Result<Shape, String> {
    let rank = a.len().max(b.len());
    let axis_of = |shape: &Shape, axis: usize| -> Option<usize> {
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

/// `[rows, k] x [k, columns]`.
pub(super) fn product(a: &Shape, b: &Shape) -> Result<Shape, String> {
    match (a.as_slice(), b.as_slice()) {
        (&[rows, Some(k)], &[Some(also_k), columns]) if k == also_k => Ok(vec![rows, columns]),
        _ => Err(format!("shapes {} and {} cannot be multiplied", text(a), text(b))),
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
        assert_eq!(broadcast(&batch, &vec![Some(3)]).unwrap(), batch);
        assert_eq!(broadcast(&vec![], &batch).unwrap(), batch);
        assert_eq!(broadcast(&vec![Some(1), Some(3)], &batch).unwrap(), batch);
        let error = broadcast(&batch, &vec![Some(2), Some(3)]).unwrap_err();
        assert_eq!(error, "shapes [batch, 3] and [2, 3] do not broadcast");
    }

    #[test]
    fn matrices_multiply_when_the_inner_axes_are_equal() {
        assert_eq!(product(&vec![None, Some(3)], &vec![Some(3), Some(2)]).unwrap(), vec![None, Some(2)]);
        let error = product(&vec![None, Some(3)], &vec![Some(4), Some(2)]).unwrap_err();
        assert_eq!(error, "shapes [batch, 3] and [4, 2] cannot be multiplied");
    }
}
