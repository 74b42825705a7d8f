//! Parts of tensors, as Python's square brackets write them.

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim::Dim;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::{Span, Step};
use crate::format::saved_model::read::value::Value;

pub(super) const TABLE: &[Entry] =
    &[("StridedSlice", |c, node, x| strided_slice(c, node, x)), ("Slice", |c, _, x| slice(c, x))];

/// Masks have a bit for each entry: what to leave open, where `...` stands, where an axis is added, where one goes.
fn strided_slice(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?.clone();
    let (starts, ends, steps) = (x.sizes(1)?, x.sizes(2)?, x.integers(3)?);
    if starts.len() != ends.len() || starts.len() != steps.len() || starts.len() > 32 {
        return Err("its starts, ends and steps differ in number".into());
    }
    let bit = |mask: &str, at: usize| node.int(mask, 0) >> at & 1 == 1;
    let added =
        (0..starts.len()).filter(|at| bit("new_axis_mask", *at) && !bit("ellipsis_mask", *at)).count();
    let ellipsis = (0..starts.len()).find(|at| bit("ellipsis_mask", *at));
    let named = starts.len() - added - usize::from(ellipsis.is_some());
    let skipped = tensor.rank().checked_sub(named).ok_or("it names more axes than there are")?;
    let mut spans = Vec::new();
    let (mut gone, mut new) = (Vec::new(), Vec::new());
    // The axis of the input, and that of the result before axes go.
    let (mut axis, mut place) = (0, 0);
    for at in 0..starts.len() {
        if Some(at) == ellipsis {
            (axis, place) = (axis + skipped, place + skipped);
            continue;
        }
        if bit("new_axis_mask", at) {
            new.push(place);
            place += 1;
            continue;
        }
        let mut span = Span {
            start: (!bit("begin_mask", at)).then(|| starts[at].clone()),
            end: (!bit("end_mask", at)).then(|| ends[at].clone()),
            step: steps[at],
        };
        if bit("shrink_axis_mask", at) {
            span = single(&starts[at])?;
            gone.push(axis);
        } else {
            place += 1;
        }
        spans.push((axis, span));
        axis += 1;
    }
    if spans.iter().any(|(_, span)| span.step == 0) {
        return Err("it steps by 0".into());
    }
    let mut part = c.target.slice(&tensor, &spans)?;
    for axis in &gone {
        if part.shape[*axis].known() == Some(0) {
            return Err(format!("it takes a place outside of axis {axis}").into());
        }
        part.shape[*axis] = Dim::fixed(1);
    }
    let part = c.target.squeeze(&part, &gone)?;
    one(c.target.unsqueeze(&part, &new)?)
}

/// One place of an axis.
fn single(start: &Dim) -> Step<Span> {
    let end = match start.known() {
        Some(-1) => None,
        _ => Some(start.plus(&Dim::fixed(1)).ok_or("it takes a place beyond every axis")?),
    };
    Ok(Span { start: Some(start.clone()), end, step: 1 })
}

/// Starts and sizes; a size of -1 goes to the end.
fn slice(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let (starts, sizes) = (x.sizes(1)?, x.sizes(2)?);
    if starts.len() != tensor.rank() || sizes.len() != tensor.rank() {
        return Err("its starts and sizes differ in number from the axes".into());
    }
    let mut spans = Vec::new();
    for (axis, (start, size)) in starts.into_iter().zip(sizes).enumerate() {
        let end = match size.known() {
            Some(-1) => None,
            _ if size == tensor.shape[axis] && start.known() == Some(0) => None,
            _ => Some(start.plus(&size).ok_or("it ends beyond every axis")?),
        };
        spans.push((axis, Span { start: Some(start), end, step: 1 }));
    }
    one(c.target.slice(tensor, &spans)?)
}
