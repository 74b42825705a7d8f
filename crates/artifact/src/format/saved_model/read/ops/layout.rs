//! Operators that move elements.

use super::{Entry, Inputs, all, axis_of, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::dim;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::Step;
use crate::format::saved_model::read::value::{Traced, Value};

pub(super) const TABLE: &[Entry] = &[
    ("Reshape", |c, _, x| reshape(c, x)),
    ("Transpose", |c, _, x| transpose(c, x)),
    ("ExpandDims", |c, _, x| expand_dims(c, x)),
    ("Squeeze", |c, node, x| squeeze(c, node, x)),
    ("ConcatV2", |c, _, x| concat(c, x)),
    ("Pack", |c, node, x| pack(c, node, x)),
    ("Unpack", |c, node, x| unpack(c, node, x)),
    ("Split", |c, node, x| split(c, node, x)),
    ("SplitV", |c, _, x| split_sizes(c, x)),
    ("Tile", |c, _, x| one(c.target.tile(x.tensor(0)?, &x.sizes(1)?)?)),
    ("Pad", |c, _, x| pad(c, x, "constant", None)),
    ("PadV2", |c, _, x| pad(c, x, "constant", Some(x.tensor(2)?))),
    ("MirrorPad", |c, node, x| mirror_pad(c, node, x)),
    ("ReverseV2", |c, _, x| reverse(c, x)),
    ("Roll", |c, _, x| roll(c, x)),
];

fn reshape(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let mut shape = x.sizes(1)?;
    let open: Vec<usize> = (0..shape.len()).filter(|at| shape[*at].known() == Some(-1)).collect();
    match open.as_slice() {
        [] => {}
        [at] => {
            let others =
                dim::product(shape.iter().enumerate().filter(|(axis, _)| axis != at).map(|(_, size)| size));
            let rest = dim::product(&tensor.shape).zip(others).and_then(|(all, others)| all.divided(&others));
            shape[*at] = rest.ok_or("it cannot be told how its elements divide")?;
        }
        _ => return Err("more than one of its sizes is open".into()),
    }
    if shape.iter().any(|size| size.known().is_some_and(|size| size < 0)) {
        return Err("an axis has a negative size".into());
    }
    one(c.target.reshape(tensor, shape)?)
}

fn transpose(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let order = x.axes(1, tensor.rank())?;
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..tensor.rank()) {
        return Err(format!("{order:?} is no order of {} axes", tensor.rank()).into());
    }
    one(c.target.transpose(tensor, &order)?)
}

fn expand_dims(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let axis = axis_of(x.integer(1)?, tensor.rank() + 1)?;
    let raised = c.target.unsqueeze(tensor, &[axis])?;
    if let Some(meaning) = c.dilated.unsqueezed(&mut c.target, tensor, axis)? {
        c.dilated.remember(&raised, meaning);
    }
    one(raised)
}

fn squeeze(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let named = node.ints("squeeze_dims", &node.ints("axis", &[]));
    let mut axes =
        named.into_iter().map(|axis| axis_of(axis, tensor.rank())).collect::<Step<Vec<usize>>>()?;
    if axes.is_empty() {
        axes = (0..tensor.rank()).filter(|axis| tensor.shape[*axis].is_one()).collect();
    }
    if axes.iter().any(|axis| tensor.shape[*axis].known().is_some_and(|size| size != 1)) {
        return Err("an axis of several elements cannot be removed".into());
    }
    let rest = c.target.squeeze(tensor, &axes)?;
    if let Some(meaning) = c.dilated.squeezed(&mut c.target, tensor, &axes)? {
        c.dilated.remember(&rest, meaning);
    }
    one(rest)
}

fn concat(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (axis, parts) = x.split_last().ok_or("it has no inputs")?;
    let parts = parts.tensors()?;
    let rank = parts.first().ok_or("nothing is put together")?.rank();
    let axis = axis_of(std::slice::from_ref(axis).integer(0)?, rank)?;
    one(c.target.concat(&parts, axis)?)
}

fn pack(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let parts = x.tensors()?;
    let rank = parts.first().ok_or("nothing is put together")?.rank();
    let axis = axis_of(node.int("axis", 0), rank + 1)?;
    one(stack(c, &parts, axis)?)
}

/// Puts tensors beside one another along a new axis.
pub(super) fn stack(c: &mut Converter, parts: &[&Traced], axis: usize) -> Step {
    let raised = parts.iter().map(|part| c.target.unsqueeze(part, &[axis])).collect::<Step<Vec<Traced>>>()?;
    c.target.concat(&raised.iter().collect::<Vec<_>>(), axis)
}

fn unpack(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let axis = axis_of(node.int("axis", 0), tensor.rank())?;
    let count = tensor.shape[axis].size().ok_or("it takes apart an axis whose size is open")?;
    if count > crate::format::saved_model::read::limits::LIST_ELEMENTS {
        return Err(format!("it takes an axis apart into {count} tensors").into());
    }
    let parts = c.target.split(tensor, axis, &vec![1; count])?;
    all(parts.iter().map(|part| c.target.squeeze(part, &[axis])).collect::<Step<_>>()?)
}

fn split(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(1)?;
    let axis = axis_of(x.integer(0)?, tensor.rank())?;
    let count = node.int("num_split", 1);
    let size = tensor.shape[axis].known().filter(|size| count > 0 && *size >= count && size % count == 0);
    let size = size.ok_or_else(|| format!("an axis cannot be cut into {count} parts"))? / count;
    if count > crate::format::saved_model::read::limits::LIST_ELEMENTS as i64 {
        return Err(format!("it cuts an axis into {count} parts").into());
    }
    all(c.target.split(tensor, axis, &vec![size; count as usize])?)
}

fn split_sizes(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    let mut sizes = x.integers(1)?;
    let axis = axis_of(x.integer(2)?, tensor.rank())?;
    let given: i64 =
        sizes.iter().filter(|size| **size >= 0).fold(0i64, |sum, size| sum.saturating_add(*size));
    if let Some(open) = sizes.iter().position(|size| *size < 0) {
        let whole = tensor.shape[axis].known().ok_or("it cuts an axis whose size is open")?;
        sizes[open] = whole.saturating_sub(given);
    }
    let sum = sizes.iter().try_fold(0i64, |sum, size| sum.checked_add(*size));
    let fits = |sum: i64| tensor.shape[axis].known().is_none_or(|whole| whole == sum);
    if sizes.iter().any(|size| *size < 0) || !sum.is_some_and(fits) {
        return Err("the sizes of its parts do not make up the axis".into());
    }
    all(c.target.split(tensor, axis, &sizes)?)
}

/// The pads of each axis, from a matrix of two columns.
fn pads(x: &[Value], rank: usize) -> Step<Vec<[i64; 2]>> {
    let flat = x.integers(1)?;
    if flat.len() != 2 * rank || flat.iter().any(|pad| *pad < 0) {
        return Err("its pads do not fit".into());
    }
    Ok(flat.as_chunks::<2>().0.to_vec())
}

fn pad(c: &mut Converter, x: &[Value], mode: &str, value: Option<&Traced>) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    one(c.target.pad(tensor, &pads(x, tensor.rank())?, mode, value)?)
}

fn mirror_pad(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    if node.text("mode", "REFLECT") == "REFLECT" {
        return pad(c, x, "reflect", None);
    }
    // With the border repeated, which opset 18 has no mode for: parts of the axis are reversed and put beside it.
    let mut tensor = x.tensor(0)?.clone();
    for (axis, [before, after]) in pads(x, tensor.rank())?.into_iter().enumerate() {
        if [before, after] == [0, 0] {
            continue;
        }
        let size = tensor.shape[axis].known().ok_or("it mirrors an axis whose size is open")?;
        let mut parts = Vec::new();
        for (count, start) in [(before, 0), (after, size - after)] {
            if count > size {
                return Err("it mirrors more than there is".into());
            }
            if count > 0 {
                let span = crate::format::saved_model::read::target::Span::from_to(start, start + count);
                let part = c.target.slice(&tensor, &[(axis, span)])?;
                parts.push((start, c.target.reverse(&part, &[axis])?));
            }
        }
        let mut whole: Vec<&Traced> = Vec::new();
        if before > 0 {
            whole.push(&parts[0].1);
        }
        whole.push(&tensor);
        if after > 0 {
            whole.extend(parts.last().map(|(_, part)| part));
        }
        let joined = c.target.concat(&whole, axis)?;
        tensor = joined;
    }
    one(tensor)
}

fn reverse(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensor = x.tensor(0)?;
    one(c.target.reverse(tensor, &x.axes(1, tensor.rank())?)?)
}

fn roll(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let mut tensor = x.tensor(0)?.clone();
    let (shifts, axes) = (x.integers(1)?, x.axes(2, tensor.rank())?);
    for (shift, axis) in shifts.into_iter().zip(axes) {
        let size = tensor.shape[axis]
            .known()
            .filter(|size| *size > 0)
            .ok_or("it rolls an axis whose size is open")?;
        let shift = shift.rem_euclid(size);
        if shift != 0 {
            let [head, tail] = [size - shift, shift];
            let parts = c.target.split(&tensor, axis, &[head, tail])?;
            tensor = c.target.concat(&[&parts[1], &parts[0]], axis)?;
        }
    }
    one(tensor)
}
