//! Operators that take elements from places, or find places.

use predictor::DataType;

use super::{Call, Step, Target};
use crate::format::traced::dim::{self, Dim};
use crate::format::traced::tensor::{Traced, integers, scalar, vector};
use crate::format::traced::{fold, limits};

impl Target {
    /// The elements of an axis at `places`, whose shape takes the axis' place.
    pub(in crate::format) fn gather(&mut self, x: &Traced, places: &Traced, axis: usize) -> Step {
        if axis >= x.rank() {
            return Err(format!("it has no axis {axis}").into());
        }
        let shape = [&x.shape[..axis], &places.shape, &x.shape[axis + 1..]].concat();
        if let Some(known) = places.as_integers() {
            let size = x.shape[axis].size();
            let place = |place: &i64| match size {
                Some(size) if *place < 0 => usize::try_from(place.checked_add(size as i64)?).ok(),
                _ => usize::try_from(*place).ok(),
            };
            let indices: Option<Vec<usize>> = known.iter().map(place).collect();
            if let Some(sizes) =
                x.as_sizes().filter(|_| x.tensor().is_none() && x.rank() == 1 && places.rank() <= 1)
                && let Some(indices) = &indices
            {
                let taken: Option<Vec<Dim>> =
                    indices.iter().map(|place| sizes.get(*place).cloned()).collect();
                return Ok(Traced::sizes(
                    x.dtype,
                    taken.ok_or("a place lies outside of the axis")?,
                    places.rank(),
                ));
            }
            if let (Some(tensor), Some(indices), Some(places_shape)) =
                (x.tensor(), &indices, places.known_shape())
                && let Some(size) = dim::known(&shape)
                && let Some(folded) =
                    self.folded(&size, || fold::gather(tensor, indices, &places_shape, axis))
            {
                return Ok(folded);
            }
        }
        self.emit(&Call::new("Gather", &[x, places]).int("axis", axis as i64), x.dtype, shape)
    }

    /// Integers from `start` to before `end`; the count is known only for known ends.
    pub(in crate::format) fn range(&mut self, start: &Traced, end: &Traced, step: &Traced) -> Step {
        if let (Some(start), Some(end), Some(by)) = (start.as_integer(), end.as_integer(), step.as_integer())
            && by != 0
        {
            let span = i128::from(end) - i128::from(start);
            let count = (span + i128::from(by) - i128::from(by.signum())) / i128::from(by);
            let count = usize::try_from(count.max(0)).unwrap_or(usize::MAX);
            if count > limits::FOLDED_ELEMENTS {
                return Err(format!(
                    "a range of {count} integers is more than the limit of {}",
                    limits::FOLDED_ELEMENTS
                )
                .into());
            }
            let values: Vec<i64> =
                (0..count as i64).map(|at| start.wrapping_add(at.wrapping_mul(by))).collect();
            return self.integers(step.dtype, &values);
        }
        let count = match (start.as_integer(), step.as_integer(), end.as_sizes()) {
            (Some(0), Some(1), Some(sizes)) => sizes.first().cloned(),
            _ => None,
        };
        self.emit_open(&Call::new("Range", &[start, end, step]), start.dtype, &[count])
    }

    /// 1 at the place that each integer names along a new axis, 0 elsewhere, as numbers of a type.
    pub(in crate::format) fn one_hot(
        &mut self,
        places: &Traced,
        depth: i64,
        axis: usize,
        on_off: [&Traced; 2],
    ) -> Step {
        let [on, off] = on_off;
        // Compared instead of by the operator of that name: what lies outside is off, as TensorFlow has it.
        let counted = integers(places.dtype, vec![depth as usize], &(0..depth).collect::<Vec<_>>());
        let counted = Traced::known(counted.ok_or("places must be integers")?);
        let expanded = self.unsqueeze(places, &[axis])?;
        let mut shape = vec![Dim::fixed(1); expanded.rank()];
        shape[axis] = Dim::fixed(depth);
        let counted = self.reshape(&counted, shape)?;
        let hit = self.binary("Equal", &expanded, &counted)?;
        self.select(&hit, on, off)
    }

    /// The largest elements of the last axis and their places (int64).
    pub(in crate::format) fn top_k(&mut self, x: &Traced, count: i64) -> Step<[Traced; 2]> {
        let mut shape = x.shape.clone();
        let last = shape.last_mut().ok_or("a scalar has no largest elements")?;
        *last = Dim::fixed(count);
        let call_count = vector(&[count]);
        let call = Call::new("TopK", &[x, &call_count]).int("axis", -1);
        let results =
            self.emit_all(&call, vec![Some((x.dtype, shape.clone())), Some((DataType::Int64, shape))])?;
        let [Some(values), Some(places)] =
            <[Option<Traced>; 2]>::try_from(results).expect("two were asked for")
        else {
            return Err("two results were asked for".into());
        };
        Ok([values, places])
    }

    /// The place of the largest or smallest element of an axis, which goes away.
    pub(in crate::format) fn arg(
        &mut self,
        operator: &'static str,
        x: &Traced,
        axis: usize,
        to: DataType,
    ) -> Step {
        let mut shape = x.shape.clone();
        shape.remove(axis);
        let call = Call::new(operator, &[x]).int("axis", axis as i64).int("keepdims", 0);
        let places = self.emit(&call, DataType::Int64, shape)?;
        self.cast(&places, to)
    }

    /// Sums up to each place of an axis.
    pub(in crate::format) fn running_sum(
        &mut self,
        x: &Traced,
        axis: usize,
        exclusive: bool,
        reverse: bool,
    ) -> Step {
        let axis = scalar(DataType::Int64, axis as f64);
        let call = Call::new("CumSum", &[x, &axis])
            .int("exclusive", i64::from(exclusive))
            .int("reverse", i64::from(reverse));
        self.emit(&call, x.dtype, x.shape.clone())
    }
}
