//! Elements in chunks without a filter: one chunk, or a tree of them.

use super::bytes::{Bytes, Read, UNDEFINED};

/// The shape of a data set, the bytes of an element, and those of all.
type Wanted<'a> = (&'a [usize], usize, usize);

/// Chunks in a tree (layout version 3).
pub(super) fn read(bytes: Bytes<'_>, layout: Bytes<'_>, wanted: Wanted<'_>) -> Read<Vec<u8>> {
    let (shape, element_bytes, size) = wanted;
    let rank = shape.len();
    if usize::from(layout.u8(2)?) != rank + 1 {
        return Err("it is damaged: its chunks have other axes than it".to_owned());
    }
    let chunk: Vec<usize> =
        (0..rank).map(|at| Ok(layout.u32(11 + 4 * at as u64)? as usize)).collect::<Read<_>>()?;
    let mut all = vec![0; size];
    let root = layout.u64(3)?;
    let mut open = if root == UNDEFINED { vec![] } else { vec![root] };
    // Behind the signature: two bytes, a count, two neighbours; then keys and children.
    let (begin, key_bytes) = (20, 8 + 8 * (rank as u64 + 1));
    let (mut seen, most) = (0, bytes.0.len() / 24 + 1);
    while let Some(address) = open.pop() {
        seen += 1;
        if seen > most {
            return Err("it is damaged: its tree of chunks has no end".to_owned());
        }
        let node = bytes.marked(address, b"TREE")?;
        let (kind, level) = (node.u8(0)?, node.u8(1)?);
        if kind != 1 {
            return Err("it is damaged: its chunks are no tree of chunks".to_owned());
        }
        for at in 0..u64::from(node.u16(2)?) {
            let key = begin + at * (key_bytes + 8);
            let child = node.u64(key + key_bytes)?;
            if level > 0 {
                open.push(child);
                continue;
            }
            let origin: Vec<usize> = (0..rank as u64)
                .map(|axis| usize::try_from(node.u64(key + 8 + 8 * axis)?).map_err(|error| error.to_string()))
                .collect::<Read<_>>()?;
            let stored = bytes.part(child, u64::from(node.u32(key)?))?;
            place(&mut all, stored.0, (shape, element_bytes), (&chunk, &origin))?;
        }
    }
    Ok(all)
}

/// One chunk that holds everything (layout version 4, index of type 1).
pub(super) fn single(bytes: Bytes<'_>, layout: Bytes<'_>, wanted: Wanted<'_>) -> Read<Vec<u8>> {
    let (shape, element_bytes, size) = wanted;
    let (flags, axes, width) = (layout.u8(2)?, u64::from(layout.u8(3)?), u64::from(layout.u8(4)?));
    if axes != shape.len() as u64 + 1 || width == 0 || width > 8 {
        return Err("it is damaged: its chunk has other axes than it".to_owned());
    }
    let chunk: Vec<usize> =
        (0..axes - 1).map(|at| Ok(layout.number(5 + at * width, width)? as usize)).collect::<Read<_>>()?;
    let at = 5 + axes * width;
    if layout.u8(at)? != 1 || flags & 0x02 != 0 {
        return Err("its chunks are indexed in a way that is not read; save the model with Keras".to_owned());
    }
    let mut all = vec![0; size];
    let stored = match layout.u64(at + 1)? {
        UNDEFINED => return Ok(all),
        address => bytes.from(address)?,
    };
    place(&mut all, stored.0, (shape, element_bytes), (&chunk, &vec![0; shape.len()]))?;
    Ok(all)
}

/// Copies a chunk, row by row along its last axis, to where it belongs; what reaches over the end is left out.
fn place(
    all: &mut [u8],
    stored: &[u8],
    (shape, element_bytes): (&[usize], usize),
    (chunk, origin): (&[usize], &[usize]),
) -> Read<()> {
    let damaged = || "it is damaged: a chunk does not fit".to_owned();
    let (Some(&width), Some((&last, outer))) = (chunk.last(), shape.split_last()) else {
        return Err(damaged());
    };
    let row_bytes = width.checked_mul(element_bytes).filter(|bytes| *bytes > 0).ok_or_else(damaged)?;
    let rows = chunk[..outer.len()].iter().try_fold(1usize, |rows, axis| rows.checked_mul(*axis));
    let rows = rows.filter(|rows| *rows <= stored.len() / row_bytes).ok_or_else(damaged)?;
    let first = origin[outer.len()];
    let kept = last.saturating_sub(first).min(width) * element_bytes;
    for row in 0..rows {
        let (mut rest, mut start, mut stride, mut inside) = (row, 0usize, last, true);
        for axis in (0..outer.len()).rev() {
            let at = origin[axis].checked_add(rest % chunk[axis]).ok_or_else(damaged)?;
            rest /= chunk[axis];
            inside &= at < outer[axis];
            if inside {
                start += at * stride;
                stride *= outer[axis];
            }
        }
        if inside && kept > 0 {
            let to = (start + first) * element_bytes;
            let part = all.get_mut(to..to + kept).ok_or_else(damaged)?;
            part.copy_from_slice(&stored[row * row_bytes..row * row_bytes + kept]);
        }
    }
    Ok(())
}
