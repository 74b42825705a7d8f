//! Operators along axes: reductions, softmax, and other forms of the same elements. None works along the open batch.

use std::ops::Range;

use super::super::{Axes, Op, Reduction, Shape, Value, shape};
use super::{GraphBuilder, fault};
use crate::Error;

impl GraphBuilder {
    /// Softmax along the last axis.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if the last axis is the batch, or there is none.
    pub fn softmax(&mut self, name: &str, x: Value) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        if shape.last().is_none_or(Option::is_none) {
            let reason = format!("softmax needs a last axis beside the batch, not {}", shape::text(&shape));
            return Err(fault(name, &reason));
        }
        self.compute(name, Op::Softmax, &[x], shape)
    }

    /// The mean of all elements along `axes`.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if an axis is the batch, missing, or named twice.
    pub fn reduce_mean(&mut self, name: &str, x: Value, axes: &[usize], then: Axes) -> Result<Value, Error> {
        self.reduce(name, x, Reduction::Mean, (axes, then))
    }

    /// The largest of all elements along `axes`.
    ///
    /// # Errors
    /// See [`GraphBuilder::reduce_mean`].
    pub fn reduce_max(&mut self, name: &str, x: Value, axes: &[usize], then: Axes) -> Result<Value, Error> {
        self.reduce(name, x, Reduction::Max, (axes, then))
    }

    /// The sum of all elements along `axes`.
    ///
    /// # Errors
    /// See [`GraphBuilder::reduce_mean`].
    pub fn reduce_sum(&mut self, name: &str, x: Value, axes: &[usize], then: Axes) -> Result<Value, Error> {
        self.reduce(name, x, Reduction::Sum, (axes, then))
    }

    /// `x` `[batch, ...]` as `[batch, tail...]`, row by row in row-major order.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if `x` has no batch, or a row has not as many elements as `tail`.
    pub fn reshape(&mut self, name: &str, x: Value, tail: &[usize]) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        let Some((None, row)) = shape.split_first() else {
            let reason =
                format!("only a value with the batch as axis 0 is reshaped, not {}", shape::text(&shape));
            return Err(fault(name, &reason));
        };
        let target: Shape = std::iter::once(None).chain(tail.iter().map(|&axis| Some(axis))).collect();
        let elements = |axes: &[Option<usize>]| {
            axes.iter().try_fold(1usize, |product, axis| product.checked_mul((*axis)?))
        };
        let (have, want) = (elements(row), elements(&target[1..]));
        if have != want || want.is_none_or(|elements| elements == 0) {
            let (from, to) = (shape::text(&shape), shape::text(&target));
            return Err(fault(name, &format!("{from} cannot be reshaped to {to}")));
        }
        self.compute(name, Op::Reshape, &[x], target)
    }

    /// Axis `i` of the result is axis `permutation[i]` of `x`.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if `permutation` does not hold each axis once.
    pub fn transpose(&mut self, name: &str, x: Value, permutation: &[usize]) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        let mut sorted = permutation.to_vec();
        sorted.sort_unstable();
        if !sorted.iter().copied().eq(0..shape.len()) {
            let text = shape::text(&shape);
            return Err(fault(name, &format!("{permutation:?} is no permutation of the axes of {text}")));
        }
        let permuted = permutation.iter().map(|&axis| shape[axis]).collect();
        self.compute(name, Op::Transpose { permutation: permutation.to_vec() }, &[x], permuted)
    }

    /// The elements in `range` of an axis, which stays.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if the axis is the batch, or the range is empty or ends beyond it.
    pub fn slice(&mut self, name: &str, x: Value, axis: usize, range: Range<usize>) -> Result<Value, Error> {
        let mut shape = self.float(name, x)?;
        let size = self.closed(name, &shape, axis)?;
        let Range { start, end } = range;
        if start >= end || end > size {
            let reason = format!("{start}..{end} is no part of axis {axis} of {}", shape::text(&shape));
            return Err(fault(name, &reason));
        }
        shape[axis] = Some(end - start);
        self.compute(name, Op::Slice { axis, start, end }, &[x], shape)
    }

    /// The `parts` equal slices of an axis, named `NAME/0`, `NAME/1`, and so on.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if the axis is the batch, or not a multiple of `parts`.
    pub fn split(&mut self, name: &str, x: Value, axis: usize, parts: usize) -> Result<Vec<Value>, Error> {
        let shape = self.float(name, x)?;
        let size = self.closed(name, &shape, axis)?;
        if size == 0 || parts == 0 || !size.is_multiple_of(parts) {
            let text = shape::text(&shape);
            return Err(fault(name, &format!("axis {axis} of {text} has no {parts} equal parts")));
        }
        let each = size / parts;
        (0..parts).map(|i| self.slice(&format!("{name}/{i}"), x, axis, i * each..(i + 1) * each)).collect()
    }

    /// The values end to end along an axis; one value is allowed.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if there is no value, the axis is the batch, or another axis differs.
    pub fn concat(&mut self, name: &str, values: &[Value], axis: usize) -> Result<Value, Error> {
        let Some((first, others)) = values.split_first() else {
            return Err(fault(name, "there is nothing to concatenate"));
        };
        let mut whole = self.float(name, *first)?;
        let mut size = self.closed(name, &whole, axis)?;
        for value in others {
            let mut shape = self.float(name, *value)?;
            let text = shape::text(&shape);
            size = size.saturating_add(self.closed(name, &shape, axis)?);
            shape[axis] = whole[axis];
            if shape != whole {
                let reason = format!("{text} does not continue {} along axis {axis}", shape::text(&whole));
                return Err(fault(name, &reason));
            }
        }
        whole[axis] = Some(size);
        self.compute(name, Op::Concat { axis }, values, whole)
    }

    /// `before` and `after` zeros along an axis.
    ///
    /// # Errors
    /// See [`GraphBuilder`]; also if the axis is the batch.
    pub fn pad(&mut self, name: &str, x: Value, axis: usize, pads: [usize; 2]) -> Result<Value, Error> {
        let mut shape = self.float(name, x)?;
        let [before, after] = pads;
        let size = self.closed(name, &shape, axis)?;
        shape[axis] = Some(size.saturating_add(before).saturating_add(after));
        self.compute(name, Op::Pad { axis, pads }, &[x], shape)
    }

    fn reduce(
        &mut self,
        name: &str,
        x: Value,
        by: Reduction,
        (axes, reduced): (&[usize], Axes),
    ) -> Result<Value, Error> {
        let shape = self.float(name, x)?;
        let mut axes = axes.to_vec();
        axes.sort_unstable();
        let repeated = axes.windows(2).any(|pair| pair[0] == pair[1]);
        if axes.is_empty() || repeated {
            return Err(fault(name, &format!("it reduces one or more axes, each once, not {axes:?}")));
        }
        for &axis in &axes {
            if self.closed(name, &shape, axis)? == 0 {
                let text = shape::text(&shape);
                return Err(fault(name, &format!("axis {axis} of {text} has nothing to reduce")));
            }
        }
        let keep = |(axis, size): (usize, &Option<usize>)| match (axes.contains(&axis), reduced) {
            (false, _) => Some(*size),
            (true, Axes::Kept) => Some(Some(1)),
            (true, Axes::Dropped) => None,
        };
        let result = shape.iter().enumerate().filter_map(keep).collect();
        self.compute(name, Op::Reduce { by, axes: axes.clone(), reduced }, &[x], result)
    }

    /// The size of an axis that must not be the batch.
    fn closed(&self, name: &str, shape: &Shape, axis: usize) -> Result<usize, Error> {
        let text = || shape::text(shape);
        match shape.get(axis) {
            Some(Some(size)) => Ok(*size),
            Some(None) => Err(fault(name, &format!("axis {axis} of {} is the open batch", text()))),
            None => Err(fault(name, &format!("{} has no axis {axis}", text()))),
        }
    }
}
