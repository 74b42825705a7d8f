//! The same elements in other shapes and orders.

use protos::tensorflow::DataType;

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::{Call, Given};
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Shape, Value, open};

pub(super) const TABLE: &[Entry] = &[
    ("Reshape", reshape),
    ("Flatten", flatten),
    ("Transpose", |l, n| {
        let x = n.input(0)?;
        let order = match n.ints("perm") {
            Some(order) => order,
            None => (0..x.rank()? as i64).rev().collect(),
        };
        one(l.transposed(&x, &order))
    }),
    ("Squeeze", |l, n| {
        let x = n.input(0)?;
        match n.listed("axes", 1)? {
            Some(axes) => one(l.removed(&x, &axes)?),
            None => {
                let shape = x.shape.as_ref().filter(|shape| shape.iter().all(Option::is_some));
                let left =
                    shape.map(|shape| shape.iter().filter(|size| **size != Some(1)).copied().collect());
                one(l.emit(Call::typed("Squeeze", "output", &[&x]), x.dtype, left))
            }
        }
    }),
    ("Unsqueeze", unsqueeze),
    ("Concat", |l, n| {
        let inputs = n.all()?;
        let references: Vec<&Value> = inputs.iter().collect();
        one(l.concatenated(&references, n.int("axis", 0)))
    }),
    ("Split", split),
    ("Expand", |l, n| {
        let (x, sizes) = (n.input(0)?, n.input(1)?);
        one(l.spread(&x, &sizes))
    }),
    ("Tile", |l, n| {
        let (x, counts) = (n.input(0)?, n.input(1)?);
        let shape = x.shape.as_ref().zip(counts.integers()).map(|(shape, counts)| {
            shape
                .iter()
                .zip(counts)
                .map(|(size, count)| size.and_then(|size| size.checked_mul(count)))
                .collect()
        });
        let shape = shape.or_else(|| x.shape.as_ref().and_then(|shape| open(shape.len())));
        let call = Call::typed("Tile", "output", &[&x, &counts]).dtype("Tmultiples", counts.dtype);
        one(l.emit(call, x.dtype, shape))
    }),
    ("DepthToSpace", |l, n| blocks(l, n, "DepthToSpace")),
    ("SpaceToDepth", |l, n| blocks(l, n, "SpaceToDepth")),
];

impl Lowering {
    /// Axis `i` of the result is axis `order[i]`.
    pub(super) fn transposed(&mut self, x: &Value, order: &[i64]) -> Value {
        let shape = match &x.shape {
            Some(shape) => Some(order.iter().map(|at| shape.get(*at as usize).copied().flatten()).collect()),
            None => open(order.len()),
        };
        let order = self.vector(order);
        let call = Call::typed("Transpose", "y", &[x, &order]).dtype("Tperm", order.dtype);
        self.emit(call, x.dtype, shape)
    }

    /// With a new axis of one.
    pub(super) fn inserted(&mut self, x: &Value, axis: i64) -> Value {
        let shape = x.shape.as_ref().map(|shape| {
            let mut shape = shape.clone();
            let at = if axis < 0 { axis + shape.len() as i64 + 1 } else { axis };
            shape.insert((at.max(0) as usize).min(shape.len()), Some(1));
            shape
        });
        let at = self.integer(axis);
        let call = Call::typed("ExpandDims", "output", &[x, &at]).dtype("Tdim", at.dtype);
        self.emit(call, x.dtype, shape)
    }

    /// Without axes of one.
    pub(super) fn removed(&mut self, x: &Value, axes: &[i64]) -> Result<Value, String> {
        let shape = match &x.shape {
            None => None,
            Some(shape) => {
                let gone = x.axes(axes)?;
                let left = shape.iter().enumerate().filter(|(at, _)| !gone.contains(at));
                Some(left.map(|(_, size)| *size).collect())
            }
        };
        let call = Call::typed("Squeeze", "output", &[x]).ints("squeeze_dims", axes);
        Ok(self.emit(call, x.dtype, shape))
    }

    /// In a known shape; -1 takes what is left.
    pub(super) fn shaped(&mut self, x: &Value, sizes: &[i64]) -> Value {
        let known = |size: &i64| (*size >= 0).then_some(*size);
        let shape = Some(sizes.iter().map(known).collect());
        let sizes = self.vector(sizes);
        self.reshaped(x, &sizes, shape)
    }

    pub(super) fn reshaped(&mut self, x: &Value, sizes: &Value, shape: Shape) -> Value {
        let call = Call::typed("Reshape", "output", &[x, sizes]).dtype("Tshape", sizes.dtype);
        self.emit(call, x.dtype, shape)
    }

    /// End to end.
    pub(super) fn concatenated(&mut self, parts: &[&Value], axis: i64) -> Value {
        if let [only] = parts {
            return (*only).clone();
        }
        let shape = concatenated_shape(parts, axis);
        let at = self.integer(axis);
        let mut inputs = parts.to_vec();
        inputs.push(&at);
        let call = Call::typed("ConcatV2", "output", &inputs).int("N", parts.len() as i64);
        let dtype = parts.first().map_or(DataType::DtFloat, |part| part.dtype);
        self.emit(call.dtype("Tidx", at.dtype), dtype, shape)
    }

    /// The sizes of a value, of 64 bits.
    pub(super) fn sizes(&mut self, x: &Value) -> Value {
        let count = x.shape.as_ref().map(|shape| Some(shape.len() as i64));
        let call = Call::typed("Shape", "output", &[x]).dtype("out_type", DataType::DtInt64);
        self.emit(call, DataType::DtInt64, Some(vec![count.flatten()]))
    }

    /// Spread to a shape, which may itself spread to that of the value.
    pub(super) fn spread(&mut self, x: &Value, sizes: &Value) -> Value {
        let sizes = self.cast(sizes, DataType::DtInt64);
        let known = sizes.integers().map(|sizes| sizes.into_iter().map(Some).collect());
        let target = known.or_else(|| open(sizes.size(0)? as usize));
        let shape = super::super::value::broadcast(&x.shape, &target);
        let ones = x.shape.as_ref().filter(|shape| shape.iter().all(|size| *size == Some(1)));
        if ones.zip(target.as_ref()).is_some_and(|(ones, target)| ones.len() <= target.len()) {
            // One element spreads to any shape, and changes none.
            let call = Call::typed("BroadcastTo", "output", &[x, &sizes]).dtype("Tidx", sizes.dtype);
            return self.emit(call, x.dtype, shape);
        }
        let own = self.sizes(x);
        let both = Call::typed("BroadcastArgs", "r0", &[&own, &sizes]);
        let rank = shape.as_ref().map(|shape| shape.len() as i64);
        let both = self.emit(both, DataType::DtInt64, Some(vec![rank]));
        let call = Call::typed("BroadcastTo", "output", &[x, &both]).dtype("Tidx", both.dtype);
        self.emit(call, x.dtype, shape)
    }

    /// Values of one shape along a new axis.
    pub(super) fn stacked(&mut self, parts: &[&Value], axis: i64) -> Value {
        let first = parts.first();
        let dtype = first.map_or(DataType::DtFloat, |part| part.dtype);
        let shape = first.and_then(|part| part.shape.clone()).map(|mut shape| {
            shape.insert((axis.max(0) as usize).min(shape.len()), Some(parts.len() as i64));
            shape
        });
        let call = Call::typed("Pack", "output", parts).int("N", parts.len() as i64).int("axis", axis);
        self.emit(call, dtype, shape)
    }

    /// So many equal parts.
    pub(super) fn parted(&mut self, x: &Value, count: i64, axis: i64) -> Vec<Value> {
        let at = self.short(axis as i32);
        let shape = x.shape.clone().map(|mut shape| {
            if let Ok(at) = x.axis(axis) {
                shape[at] = shape[at].map(|size| size / count.max(1));
            }
            shape
        });
        let call = Call::new("Split", "output", &[&at, x]).dtype("T", x.dtype).int("num_split", count);
        let given = |at| Given { output: format!("output:{at}"), dtype: x.dtype, shape: shape.clone() };
        self.emit_all(call, (0..count).map(given).collect())
    }
}

fn concatenated_shape(parts: &[&Value], axis: i64) -> Shape {
    let mut shape = parts.first()?.shape.clone()?;
    let at = parts.first()?.axis(axis).ok()?;
    for part in &parts[1..] {
        let other = part.shape.as_ref()?;
        for (place, (size, other)) in shape.iter_mut().zip(other).enumerate() {
            *size = if place == at {
                size.zip(*other).and_then(|(a, b)| a.checked_add(b))
            } else {
                size.or(*other)
            };
        }
    }
    Some(shape)
}

/// A size of 0 is that of the input, unless `allowzero` is set.
fn reshape(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, sizes) = (n.input(0)?, n.input(1)?);
    let Some(mut known) = sizes.integers() else {
        return computed_reshape(l, n, &x, &sizes);
    };
    if n.int("allowzero", 0) != 0 {
        return one(l.shaped(&x, &known));
    }
    let mut open = Vec::new();
    for (at, size) in known.iter_mut().enumerate() {
        if *size == 0 {
            match x.size(at) {
                Some(same) => *size = same,
                None => open.push(at),
            }
        }
    }
    // One size that is not known can be what is left, if nothing else is.
    if let ([at], false) = (open.as_slice(), known.contains(&-1)) {
        known[*at] = -1;
        open.clear();
    }
    if open.is_empty() {
        return one(l.shaped(&x, &known));
    }
    let own = l.sizes(&x);
    let parts: Vec<Value> = known
        .iter()
        .enumerate()
        .map(|(at, size)| if *size == 0 { l.element(&own, at as i64) } else { l.integer(*size) })
        .collect();
    let target = l.stacked(&parts.iter().collect::<Vec<_>>(), 0);
    let shape = known.iter().map(|size| (*size > 0).then_some(*size)).collect();
    one(l.reshaped(&x, &target, Some(shape)))
}

fn computed_reshape(l: &mut Lowering, n: &Node<'_>, x: &Value, sizes: &Value) -> Written {
    let sizes = l.cast(sizes, DataType::DtInt64);
    let count = sizes.size(0);
    let mut target = sizes.clone();
    if n.int("allowzero", 0) == 0 {
        // The sizes of the input, with zeros behind them, as many as there are to be: a 0 means one of the input's.
        let length = l.sizes(&sizes);
        let zero = l.integer(0);
        let call = Call::new("Fill", "output", &[&length, &zero])
            .dtype("T", zero.dtype)
            .dtype("index_type", length.dtype);
        let zeros = l.emit(call, zero.dtype, Some(vec![count]));
        let own = l.sizes(x);
        let own = l.concatenated(&[&own, &zeros], 0);
        let zero = l.vector(&[0]);
        let call = Call::typed("Slice", "output", &[&own, &zero, &length]).dtype("Index", zero.dtype);
        let own = l.emit(call, own.dtype, Some(vec![count]));
        let zero = l.integer(0);
        let is_same = l.compared("Equal", &sizes, &zero);
        target = l.select(&is_same, &own, &sizes);
    }
    let shape = count.and_then(|count| open(usize::try_from(count).ok()?));
    one(l.reshaped(x, &target, shape))
}

/// Two axes: those before `axis`, and the others.
fn flatten(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let rank = x.rank()?;
    let axis = n.int("axis", 1);
    let at = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).map_err(|e| e.to_string())?;
    let shape = x.shape.clone().unwrap_or_default();
    let product =
        |sizes: &[Option<i64>]| sizes.iter().copied().try_fold(1i64, |n, size| n.checked_mul(size?));
    let (before, after) = shape.split_at_checked(at).ok_or_else(|| format!("there is no axis {axis}"))?;
    match (product(before), product(after)) {
        (Some(rows), Some(columns)) => return one(l.shaped(&x, &[rows, columns])),
        (None, Some(columns)) => return one(l.shaped(&x, &[-1, columns])),
        (Some(rows), None) => return one(l.shaped(&x, &[rows, -1])),
        (None, None) => {}
    }
    let sizes = l.sizes(&x);
    let before = l.window(&sizes, &[0], &[at as i64]);
    let zero = l.vector(&[0]);
    let rows = l.reduced("Prod", &before, &zero, true);
    let rest = l.vector(&[-1]);
    let target = l.concatenated(&[&rows, &rest], 0);
    one(l.reshaped(&x, &target, open(2)))
}

/// Axes are those of the result.
fn unsqueeze(l: &mut Lowering, n: &Node<'_>) -> Written {
    let mut x = n.input(0)?;
    let axes = n.listed("axes", 1)?.ok_or("its axes are missing")?;
    if axes.len() == 1 {
        return one(l.inserted(&x, axes[0]));
    }
    let rank = x.rank()? + axes.len();
    let mut places = axes
        .iter()
        .map(|axis| super::super::value::normalized(*axis, rank))
        .collect::<Result<Vec<_>, _>>()?;
    places.sort_unstable();
    for at in places {
        x = l.inserted(&x, at);
    }
    one(x)
}

/// Sizes are an attribute, an input, or equal; the last part may be smaller from version 18 on.
fn split(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let axis = n.int("axis", 0);
    let count = n.proto.output.len() as i64;
    if count == 0 {
        return Err("it has no results".to_owned());
    }
    let size = x.axis(axis).ok().and_then(|at| x.size(at));
    let sizes = match (n.listed("split", 1), n.optional(1), size) {
        (Ok(Some(sizes)), ..) => sizes,
        (Err(_), Some(sizes), _) => return Ok(split_by(l, &x, &sizes, (axis, count))),
        (_, _, Some(size)) => {
            let part = size / count + i64::from(size % count != 0);
            (0..count).map(|at| part.min(size - at * part).max(0)).collect()
        }
        (_, _, None) => return Ok(l.parted(&x, count, axis)),
    };
    if sizes.len() as i64 != count {
        return Err(format!("it has {count} results and {} sizes", sizes.len()));
    }
    let part = |size: i64| {
        x.shape.clone().map(|mut shape| {
            if let Ok(at) = x.axis(axis) {
                shape[at] = Some(size);
            }
            shape
        })
    };
    let given = |(at, size): (usize, &i64)| Given {
        output: format!("output:{at}"),
        dtype: x.dtype,
        shape: part(*size),
    };
    let given = sizes.iter().enumerate().map(given).collect();
    let (ends, at) = (l.vector(&sizes), l.short(axis as i32));
    let call = Call::typed("SplitV", "output", &[&x, &ends, &at]).dtype("Tlen", ends.dtype);
    Ok(l.emit_all(call.int("num_split", count), given))
}

/// Into parts whose sizes are computed.
fn split_by(l: &mut Lowering, x: &Value, sizes: &Value, (axis, count): (i64, i64)) -> Vec<Value> {
    let at = l.short(axis as i32);
    let shape = x.shape.as_ref().and_then(|shape| open(shape.len()));
    let given = |at| Given { output: format!("output:{at}"), dtype: x.dtype, shape: shape.clone() };
    let given = (0..count).map(given).collect();
    let call = Call::typed("SplitV", "output", &[x, sizes, &at]).dtype("Tlen", sizes.dtype);
    l.emit_all(call.int("num_split", count), given)
}

/// TensorFlow has the channels last.
fn blocks(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    if n.text("mode", "DCR") != "DCR" {
        return Err("its mode is not DCR".to_owned());
    }
    let x = n.input(0)?;
    let last = l.transposed(&x, &[0, 2, 3, 1]);
    let call = Call::typed(operator, "output", &[&last]).int("block_size", n.int("blocksize", 1));
    let result = l.emit(call, x.dtype, open(4));
    one(l.transposed(&result, &[0, 3, 1, 2]))
}
