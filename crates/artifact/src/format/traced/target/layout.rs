//! Operators that move elements without changing them.

use super::{Call, Step, Target};
use crate::format::traced::dim::{self, Dim};
use crate::format::traced::tensor::{Traced, integers, vector};
use crate::format::traced::{fold, limits};
use predictor::DataType;

/// A part of an axis: from `start` to before `end`, `step` apart, as Python's slices mean it; none is open.
#[derive(Debug, Clone, Default)]
pub(in crate::format) struct Span {
    pub start: Option<Dim>,
    pub end: Option<Dim>,
    pub step: i64,
}

impl Span {
    pub(in crate::format) fn from_to(start: i64, end: i64) -> Self {
        Self { start: Some(Dim::fixed(start)), end: Some(Dim::fixed(end)), step: 1 }
    }

    fn is_whole(&self) -> bool {
        self.step == 1
            && self.end.is_none()
            && self.start.as_ref().is_none_or(|start| start.known() == Some(0))
    }
}

impl Target {
    pub(in crate::format) fn reshape(&mut self, x: &Traced, shape: Vec<Dim>) -> Step {
        if x.shape == shape {
            return Ok(x.clone());
        }
        if shape.len() > limits::RANK {
            return Err("it has too many axes".into());
        }
        if let (Some(before), Some(after)) = (dim::product(&x.shape), dim::product(&shape))
            && let Some(difference) = before.minus(&after).and_then(|difference| difference.known())
            && difference != 0
        {
            return Err(format!("{:?} cannot take the shape {shape:?}", x.shape).into());
        }
        if let (Some(tensor), Some(known)) = (x.tensor(), dim::known(&shape))
            && let Some(folded) = self.folded(&known, || fold::reshape(tensor, known.clone()))
        {
            return Ok(folded);
        }
        if let Some(sizes) = x.as_sizes().filter(|_| shape.len() <= 1) {
            return Ok(Traced::sizes(x.dtype, sizes, shape.len()));
        }
        let target = self.reshape_target(x, &shape);
        self.emit(&Call::new("Reshape", &[x, &target]), x.dtype, shape)
    }

    /// What `Reshape` takes: sizes, 0 for the size that the input has there, and one -1 for the rest.
    fn reshape_target(&mut self, x: &Traced, shape: &[Dim]) -> Traced {
        let mut rest = 0;
        let places: Vec<i64> = shape
            .iter()
            .enumerate()
            .map(|(at, size)| match size.known() {
                Some(size) => size,
                None if x.shape.get(at) == Some(size) => 0,
                None => {
                    rest += 1;
                    -1
                }
            })
            .collect();
        match rest {
            0 | 1 => vector(&places),
            _ => Traced::sizes(DataType::Int64, shape.to_vec(), 1),
        }
    }

    pub(in crate::format) fn transpose(&mut self, x: &Traced, order: &[usize]) -> Step {
        if order.iter().copied().eq(0..x.rank()) {
            return Ok(x.clone());
        }
        let shape: Vec<Dim> = order.iter().map(|axis| x.shape[*axis].clone()).collect();
        if let Some(tensor) = x.tensor()
            && let Some(folded) = self.folded(tensor.shape(), || fold::transpose(tensor, order))
        {
            return Ok(folded);
        }
        if let Some((source, before)) = self.transposed(x) {
            let both: Vec<usize> = order.iter().map(|axis| before[*axis]).collect();
            return self.transpose(&source, &both);
        }
        let order: Vec<i64> = order.iter().map(|axis| *axis as i64).collect();
        self.emit(&Call::new("Transpose", &[x]).ints("perm", &order), x.dtype, shape)
    }

    /// What was transposed to `x`, and how.
    fn transposed(&self, x: &Traced) -> Option<(Traced, Vec<usize>)> {
        let node = self.producer(x).filter(|node| node.op_type() == "Transpose")?;
        let order: Vec<usize> = node.attribute.first()?.ints.iter().map(|axis| *axis as usize).collect();
        let name = node.input.first()?;
        let mut shape = vec![Dim::default(); order.len()];
        for (at, axis) in order.iter().enumerate() {
            shape[*axis] = x.shape[at].clone();
        }
        let content = match self.initializer(name) {
            Some(_) => return None,
            None => super::Content::Computed(name.as_str().into()),
        };
        Some((Traced { dtype: x.dtype, shape, content }, order))
    }

    /// Adds axes of one element, at places of the result.
    pub(in crate::format) fn unsqueeze(&mut self, x: &Traced, axes: &[usize]) -> Step {
        if axes.is_empty() {
            return Ok(x.clone());
        }
        let mut shape = x.shape.clone();
        for axis in axes {
            if *axis > shape.len() {
                return Err(format!("it has no axis {axis}").into());
            }
            shape.insert(*axis, Dim::fixed(1));
        }
        if x.tensor().is_some() || x.as_sizes().is_some() {
            return self.reshape(x, shape);
        }
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        self.emit(&Call::new("Unsqueeze", &[x, &vector(&axes)]), x.dtype, shape)
    }

    /// Removes axes of one element.
    pub(in crate::format) fn squeeze(&mut self, x: &Traced, axes: &[usize]) -> Step {
        let rest = (0..x.rank()).filter(|axis| !axes.contains(axis));
        let shape: Vec<Dim> = rest.map(|axis| x.shape[axis].clone()).collect();
        if axes.is_empty() {
            return Ok(x.clone());
        }
        if x.tensor().is_some() || x.as_sizes().is_some() {
            return self.reshape(x, shape);
        }
        let axes: Vec<i64> = axes.iter().map(|axis| *axis as i64).collect();
        self.emit(&Call::new("Squeeze", &[x, &vector(&axes)]), x.dtype, shape)
    }

    pub(in crate::format) fn concat(&mut self, parts: &[&Traced], axis: usize) -> Step {
        let [first, rest @ ..] = parts else { return Err("nothing is put together".into()) };
        if rest.is_empty() {
            return Ok((*first).clone());
        }
        let fits = |part: &&Traced| part.rank() == first.rank() && part.dtype == first.dtype;
        if axis >= first.rank() || !rest.iter().all(fits) {
            return Err("parts of different rank or type are put together".into());
        }
        let mut shape = first.shape.clone();
        for part in rest {
            shape[axis] = shape[axis].plus(&part.shape[axis]).ok_or("an axis is too large")?;
            for at in (0..shape.len()).filter(|at| *at != axis) {
                // A size that is known tells that of the others.
                if shape[at].known().is_none() && part.shape[at].known().is_some() {
                    shape[at] = part.shape[at].clone();
                }
            }
        }
        let known: Option<Vec<&predictor::Tensor>> =
            parts.iter().map(|part| part.tensor().map(|tensor| &**tensor)).collect();
        if let (Some(known), Some(size)) = (known, dim::known(&shape))
            && let Some(folded) = self.folded(&size, || fold::concat(&known, axis))
        {
            return Ok(folded);
        }
        let sizes: Option<Vec<Vec<Dim>>> = parts.iter().map(|part| part.as_sizes()).collect();
        if let Some(sizes) = sizes.filter(|_| first.rank() == 1) {
            return Ok(Traced::sizes(first.dtype, sizes.concat(), 1));
        }
        self.emit(&Call::new("Concat", parts).int("axis", axis as i64), first.dtype, shape)
    }

    /// A part of each axis.
    pub(in crate::format) fn slice(&mut self, x: &Traced, spans: &[(usize, Span)]) -> Step {
        let spans: Vec<&(usize, Span)> = spans.iter().filter(|(_, span)| !span.is_whole()).collect();
        let mut shape: Vec<Option<Dim>> = x.shape.iter().cloned().map(Some).collect();
        for (axis, span) in &spans {
            shape[*axis] = sliced(&x.shape[*axis], span);
        }
        if shape.iter().flatten().eq(&x.shape) && spans.iter().all(|(_, span)| span.step == 1) {
            return Ok(x.clone());
        }
        if let Some(folded) = self.slice_known(x, &spans) {
            return Ok(folded);
        }
        let mut call_parts: [Vec<Dim>; 2] = [vec![], vec![]];
        for (_, span) in &spans {
            let (start, end) = if span.step > 0 { (0, i64::MAX) } else { (i64::MAX, i64::MIN) };
            call_parts[0].push(span.start.clone().unwrap_or(Dim::fixed(start)));
            call_parts[1].push(span.end.clone().unwrap_or(Dim::fixed(end)));
        }
        let [starts, ends] = call_parts.map(|places| Traced::sizes(DataType::Int64, places, 1));
        let axes = vector(&spans.iter().map(|(axis, _)| *axis as i64).collect::<Vec<_>>());
        let steps = vector(&spans.iter().map(|(_, span)| span.step).collect::<Vec<_>>());
        let call = Call::new("Slice", &[x, &starts, &ends, &axes, &steps]);
        self.emit_open(&call, x.dtype, &shape)
    }

    fn slice_known(&mut self, x: &Traced, spans: &[&(usize, Span)]) -> Option<Traced> {
        let resolve = |size: &Dim, span: &Span| span.resolved(size.size()?);
        if let Some(sizes) = x.as_sizes().filter(|_| x.rank() == 1 && x.tensor().is_none()) {
            let [(_, span)] = spans else { return None };
            let (start, count) = resolve(&x.shape[0], span)?;
            let at = |index: usize| sizes.get((start as i64 + index as i64 * span.step) as usize).cloned();
            let sizes: Option<Vec<Dim>> = (0..count).map(at).collect();
            return Some(Traced::sizes(x.dtype, sizes?, 1));
        }
        let mut tensor = x.tensor()?.as_ref().clone();
        if !self.may_fold(tensor.shape()) {
            return None;
        }
        for (axis, span) in spans {
            let (start, count) = resolve(&x.shape[*axis], span)?;
            tensor = fold::slice(&tensor, *axis, start, span.step as isize, count)?;
        }
        Some(Traced::known(tensor))
    }

    /// Takes one place of an axis, which goes away.
    pub(in crate::format) fn take(&mut self, x: &Traced, axis: usize, place: i64) -> Step {
        let end = if place == -1 { None } else { Some(Dim::fixed(place + 1)) };
        let span = Span { start: Some(Dim::fixed(place)), end, step: 1 };
        let one = self.slice(x, &[(axis, span)])?;
        let mut shape = one.shape.clone();
        shape[axis] = Dim::fixed(1);
        self.squeeze(&Traced { shape, ..one }, &[axis])
    }

    /// Cuts an axis into parts of these sizes.
    pub(in crate::format) fn split(&mut self, x: &Traced, axis: usize, sizes: &[i64]) -> Step<Vec<Traced>> {
        if sizes.len() == 1 {
            return Ok(vec![x.clone()]);
        }
        if x.tensor().is_some() || x.as_sizes().is_some() {
            let mut start = 0;
            let parts = sizes.iter().map(|size| {
                let span = Span::from_to(start, start + size);
                start += size;
                self.slice(x, &[(axis, span)])
            });
            return parts.collect();
        }
        let results = sizes.iter().map(|size| {
            let mut shape = x.shape.clone();
            shape[axis] = Dim::fixed(*size);
            Some((x.dtype, shape))
        });
        let call_sizes = vector(sizes);
        let call = Call::new("Split", &[x, &call_sizes]).int("axis", axis as i64);
        let parts = self.emit_all(&call, results.collect())?;
        Ok(parts.into_iter().flatten().collect())
    }

    /// Spreads axes of one element to a shape.
    pub(in crate::format) fn expand(&mut self, x: &Traced, shape: Vec<Dim>) -> Step {
        let spread = dim::broadcast(&x.shape, &shape).ok_or("the shapes do not fit")?;
        if x.shape == spread {
            return Ok(x.clone());
        }
        if let (Some(tensor), Some(known)) = (x.tensor(), dim::known(&spread))
            && known
                .iter()
                .try_fold(1usize, |all, axis| all.checked_mul(*axis))
                .is_some_and(|all| all <= limits::SPREAD_ELEMENTS)
            && let Some(folded) = self.folded(&known, || fold::spread(tensor, &known))
        {
            return Ok(folded);
        }
        let sizes = Traced::sizes(DataType::Int64, shape, 1);
        self.emit(&Call::new("Expand", &[x, &sizes]), x.dtype, spread)
    }

    /// Repeats the whole along each axis.
    pub(in crate::format) fn tile(&mut self, x: &Traced, times: &[Dim]) -> Step {
        if times.iter().all(Dim::is_one) {
            return Ok(x.clone());
        }
        let grown = x.shape.iter().zip(times).map(|(size, times)| size.times(times));
        let shape = grown.collect::<Option<Vec<Dim>>>().ok_or("an axis is too large")?;
        // Axes of one element are spread, which engines do without copying.
        if x.shape.iter().zip(times).all(|(size, times)| size.is_one() || times.is_one()) {
            return self.expand(x, shape);
        }
        let times = Traced::sizes(DataType::Int64, times.to_vec(), 1);
        self.emit(&Call::new("Tile", &[x, &times]), x.dtype, shape)
    }

    /// Adds `before` and `after` elements to each axis, with the mode's name in ONNX; constants are `value`.
    pub(in crate::format) fn pad(
        &mut self,
        x: &Traced,
        pads: &[[i64; 2]],
        mode: &str,
        value: Option<&Traced>,
    ) -> Step {
        if pads.iter().all(|pair| *pair == [0, 0]) {
            return Ok(x.clone());
        }
        let grow =
            |(size, [before, after]): (&Dim, &[i64; 2])| size.plus(&Dim::fixed(before.checked_add(*after)?));
        let shape =
            x.shape.iter().zip(pads).map(grow).collect::<Option<Vec<Dim>>>().ok_or("an axis is too large")?;
        let all: Vec<i64> = (0..2).flat_map(|side| pads.iter().map(move |pair| pair[side])).collect();
        let all = vector(&all);
        let mut call = Call::new("Pad", &[x, &all]).text("mode", mode);
        if let Some(value) = value {
            call = call.input(value);
        }
        self.emit(&call, x.dtype, shape)
    }

    pub(in crate::format) fn reverse(&mut self, x: &Traced, axes: &[usize]) -> Step {
        let span = Span { start: Some(Dim::fixed(-1)), end: None, step: -1 };
        let spans: Vec<(usize, Span)> = axes.iter().map(|axis| (*axis, span.clone())).collect();
        self.slice(x, &spans)
    }

    /// A known vector of integers of a type.
    pub(in crate::format) fn integers(&self, dtype: DataType, values: &[i64]) -> Step {
        let tensor =
            integers(dtype, vec![values.len()], values).ok_or("integers of another type are asked for")?;
        Ok(Traced::known(tensor))
    }
}

impl Span {
    /// The first place and the count on an axis of a size.
    pub(in crate::format) fn resolved(&self, size: usize) -> Option<(usize, usize)> {
        let size = i64::try_from(size).ok()?;
        let place = |place: &Option<Dim>, open: i64| match place {
            None => Some(open),
            Some(place) => {
                let place = place.known()?;
                Some(if place < 0 { place.saturating_add(size) } else { place })
            }
        };
        if self.step > 0 {
            let start = place(&self.start, 0)?.clamp(0, size);
            let end = place(&self.end, size)?.clamp(start, size);
            let count = ((end - start) / self.step).saturating_add(i64::from((end - start) % self.step != 0));
            return Some((start as usize, count as usize));
        }
        if self.step == 0 || self.step == i64::MIN {
            return None;
        }
        let start = place(&self.start, size - 1)?.clamp(-1, size - 1);
        let end = place(&self.end, -1)?.clamp(-1, start);
        let count = ((start - end) / -self.step).saturating_add(i64::from((start - end) % -self.step != 0));
        Some((start.max(0) as usize, count as usize))
    }
}

/// The size of a part of an axis, if it can be told.
fn sliced(size: &Dim, span: &Span) -> Option<Dim> {
    if let Some(known) = size.size() {
        let (_, count) = span.resolved(known)?;
        return Some(Dim::fixed(count as i64));
    }
    if span.step == -1 {
        let from_end = span.start.as_ref().is_none_or(|start| start.known() == Some(-1));
        return (from_end && span.end.is_none()).then(|| size.clone());
    }
    if span.step != 1 {
        return None;
    }
    // The axis is taken to be as long as the places are far from its ends.
    let place = |place: &Dim| match place.known() {
        Some(known) if known < 0 => size.plus(place),
        Some(_) => Some(place.clone()),
        None => Some(place.clone()),
    };
    let start = span.start.as_ref().map_or(Some(Dim::fixed(0)), place)?;
    match &span.end {
        None => size.minus(&start),
        Some(end) if end == size => size.minus(&start),
        Some(end) if end.known().is_some_and(|end| end < 0) => place(end)?.minus(&start),
        // Whether the axis reaches so far is not known.
        Some(end) if end.known().is_some_and(|end| end == 1) && start.known() == Some(0) => {
            Some(Dim::fixed(1))
        }
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_pythons() {
        let span = |start: Option<i64>, end: Option<i64>, step| Span {
            start: start.map(Dim::fixed),
            end: end.map(Dim::fixed),
            step,
        };
        let cases = [
            (span(None, None, 1), (0, 5)),
            (span(Some(1), Some(-1), 1), (1, 3)),
            (span(Some(1), Some(9), 2), (1, 2)),
            (span(None, None, -1), (4, 5)),
            (span(Some(3), Some(0), -2), (3, 2)),
            (span(Some(-1), None, -1), (4, 5)),
            (span(Some(4), Some(2), 1), (4, 0)),
            (span(Some(-9), Some(9), 1), (0, 5)),
        ];
        for (span, expected) in cases {
            assert_eq!(span.resolved(5), Some(expected), "{span:?}");
        }
    }

    #[test]
    fn parts_of_open_axes_have_sizes() {
        let batch = Dim::symbol(0);
        let less_one = batch.plus(&Dim::fixed(-1));
        let span = |start: i64, end: Option<i64>| Span {
            start: Some(Dim::fixed(start)),
            end: end.map(Dim::fixed),
            step: 1,
        };
        assert_eq!(sliced(&batch, &span(1, None)), less_one);
        assert_eq!(sliced(&batch, &span(0, Some(-1))), less_one);
        assert_eq!(sliced(&batch, &span(-2, None)), Some(Dim::fixed(2)));
        assert_eq!(sliced(&batch, &span(0, Some(3))), None);
    }
}
