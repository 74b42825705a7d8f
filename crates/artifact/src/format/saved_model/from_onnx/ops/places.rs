//! Elements by their places, and places by their elements.

use protos::tensorflow::DataType;

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::{Call, Given};
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Shape, Value, open};

pub(super) const TABLE: &[Entry] = &[
    ("Gather", gather),
    ("GatherElements", gather_elements),
    ("GatherND", gather_nd),
    ("ScatterND", scatter_nd),
    ("TopK", top),
    ("OneHot", one_hot),
    ("CumSum", cumulated),
    ("NonZero", |l, n| {
        let x = n.input(0)?;
        let rank = x.rank()? as i64;
        let places =
            l.emit(Call::typed("Where", "index", &[&x]), DataType::DtInt64, Some(vec![None, Some(rank)]));
        one(l.transposed(&places, &[1, 0]))
    }),
    ("ReverseSequence", |l, n| {
        let (x, lengths) = (n.input(0)?, n.input(1)?);
        one(l.reversed(&x, &lengths, n.int("time_axis", 0), n.int("batch_axis", 1)))
    }),
];

impl Lowering {
    /// Slices along an axis; places are not negative.
    pub(super) fn gathered(&mut self, x: &Value, places: &Value, axis: &Value, shape: Shape) -> Value {
        let call = Call::new("GatherV2", "output", &[x, places, axis])
            .dtype("Tparams", x.dtype)
            .dtype("Tindices", places.dtype)
            .dtype("Taxis", axis.dtype);
        self.emit(call, x.dtype, shape)
    }

    /// The first so many steps of each sequence in reverse.
    pub(super) fn reversed(&mut self, x: &Value, lengths: &Value, time: i64, batch: i64) -> Value {
        let call = Call::typed("ReverseSequence", "output", &[x, lengths])
            .dtype("Tlen", lengths.dtype)
            .int("seq_dim", time)
            .int("batch_dim", batch);
        self.emit(call, x.dtype, x.shape.clone())
    }

    /// Places counted from the start: ONNX counts negative ones from the end of an axis.
    fn counted_from_start(&mut self, x: &Value, places: &Value, axis: usize) -> Value {
        let (known, size) = (places.integers(), x.size(axis));
        if known.as_ref().is_some_and(|places| places.iter().all(|at| *at >= 0)) {
            return places.clone();
        }
        let size = match size {
            Some(size) => self.number(size as f64, places),
            None => {
                let sizes = self.sizes(x);
                let size = self.element(&sizes, axis as i64);
                self.cast(&size, places.dtype)
            }
        };
        let zero = self.number(0.0, places);
        let is_behind = self.compared("Less", places, &zero);
        let shifted = self.binary("AddV2", places, &size);
        self.select(&is_behind, &shifted, places)
    }
}

/// Places that TensorFlow takes: of 32 or 64 bits.
fn indices(l: &mut Lowering, x: &Value) -> Value {
    match x.dtype {
        DataType::DtInt32 | DataType::DtInt64 => x.clone(),
        _ => l.cast(x, DataType::DtInt64),
    }
}

fn gather(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, places) = (n.input(0)?, n.input(1)?);
    let at = x.axis(n.int("axis", 0))?;
    let places = indices(l, &places);
    let places = l.counted_from_start(&x, &places, at);
    let shape = x
        .shape
        .as_ref()
        .zip(places.shape.as_ref())
        .map(|(shape, places)| [&shape[..at], places, shape.get(at + 1..).unwrap_or_default()].concat());
    let axis = l.integer(at as i64);
    one(l.gathered(&x, &places, &axis, shape))
}

/// Along the last axis, rows of places for rows of elements; another axis is moved there.
fn gather_elements(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, places) = (n.input(0)?, n.input(1)?);
    let (rank, at) = (x.rank()?, x.axis(n.int("axis", 0))?);
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(at, rank - 1);
    let places = indices(l, &places);
    let (mut x, mut places) = (x.clone(), l.counted_from_start(&x, &places, at));
    let is_moved = at != rank - 1;
    if is_moved {
        x = l.transposed(&x, &order);
        places = l.transposed(&places, &order);
    }
    let axis = l.integer(rank as i64 - 1);
    let call = Call::new("GatherV2", "output", &[&x, &places, &axis])
        .dtype("Tparams", x.dtype)
        .dtype("Tindices", places.dtype)
        .dtype("Taxis", axis.dtype)
        .int("batch_dims", rank as i64 - 1);
    let picked = l.emit(call, x.dtype, places.shape.clone());
    one(if is_moved { l.transposed(&picked, &order) } else { picked })
}

/// Places of several axes, along the last one, each counted from the start.
fn counted_from_start_each(l: &mut Lowering, x: &Value, places: &Value) -> Result<Value, String> {
    if places.integers().is_some_and(|places| places.iter().all(|at| *at >= 0)) {
        return Ok(places.clone());
    }
    let depth = places.rank()?.checked_sub(1).and_then(|last| places.size(last));
    let depth = depth.ok_or("the number of axes that its places are of is not known")?;
    let sizes = l.sizes(x);
    let sizes = l.window(&sizes, &[0], &[depth]);
    let sizes = l.cast(&sizes, places.dtype);
    let zero = l.number(0.0, places);
    let is_behind = l.compared("Less", places, &zero);
    let shifted = l.binary("AddV2", places, &sizes);
    Ok(l.select(&is_behind, &shifted, places))
}

fn gather_nd(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, places) = (n.input(0)?, n.input(1)?);
    if n.int("batch_dims", 0) != 0 {
        return Err("its attribute \"batch_dims\" is not 0".to_owned());
    }
    let places = counted_from_start_each(l, &x, &places)?;
    let shape = x.shape.as_ref().zip(places.shape.as_ref()).and_then(|(shape, places)| {
        let (depth, rest) = places.split_last()?;
        let depth = usize::try_from((*depth)?).ok()?;
        Some([rest, shape.get(depth..)?].concat())
    });
    let call = Call::new("GatherNd", "output", &[&x, &places])
        .dtype("Tparams", x.dtype)
        .dtype("Tindices", places.dtype);
    one(l.emit(call, x.dtype, shape))
}

fn scatter_nd(l: &mut Lowering, n: &Node<'_>) -> Written {
    let operator = match n.text("reduction", "none").as_str() {
        "none" => "TensorScatterUpdate",
        "add" => "TensorScatterAdd",
        "max" => "TensorScatterMax",
        "min" => "TensorScatterMin",
        other => return Err(format!("TensorFlow does not scatter as \"{other}\"")),
    };
    let (x, places, values) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let places = counted_from_start_each(l, &x, &places)?;
    let call = Call::typed(operator, "output", &[&x, &places, &values]).dtype("Tindices", places.dtype);
    one(l.emit(call, x.dtype, x.shape.clone()))
}

/// TensorFlow finds the largest along the last axis: the smallest are the largest of the negated.
fn top(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let k = match n.optional(1) {
        Some(k) => k,
        None => l.vector(&[n.int("k", 1)]),
    };
    let known = k.integers().and_then(|k| k.first().copied());
    let (rank, at) = (x.rank()?, x.axis(n.int("axis", -1))?);
    let mut order: Vec<i64> = (0..rank as i64).collect();
    order.swap(at, rank - 1);
    let (is_moved, smallest) = (at != rank - 1, n.int("largest", 1) == 0);
    let mut along = if is_moved { l.transposed(&x, &order) } else { x.clone() };
    if smallest {
        along = l.unary("Neg", "y", &along);
    }
    let k = l.shaped(&k, &[]);
    let k = l.cast(&k, DataType::DtInt32);
    let mut shape = along.shape.clone();
    if let Some(last) = shape.as_mut().and_then(|shape| shape.last_mut()) {
        *last = known;
    }
    let given = vec![
        Given { output: "values:0".to_owned(), dtype: x.dtype, shape: shape.clone() },
        Given { output: "indices:0".to_owned(), dtype: DataType::DtInt32, shape },
    ];
    let call = Call::typed("TopKV2", "values", &[&along, &k]);
    let mut found = l.emit_all(call, given);
    if smallest {
        found[0] = l.unary("Neg", "y", &found[0]);
    }
    found[1] = l.cast(&found[1], DataType::DtInt64);
    if is_moved {
        found = found.iter().map(|value| l.transposed(value, &order)).collect();
    }
    Ok(found)
}

fn one_hot(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (places, depth, values) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let places = l.cast(&places, DataType::DtInt64);
    let depth = l.shaped(&depth, &[]);
    let wide = l.cast(&depth, DataType::DtInt64);
    let zero = l.integer(0);
    let is_behind = l.compared("Less", &places, &zero);
    let shifted = l.binary("AddV2", &places, &wide);
    let places = l.select(&is_behind, &shifted, &places);
    let (off, on) = (l.element(&values, 0), l.element(&values, 1));
    let depth = l.cast(&wide, DataType::DtInt32);
    let shape = places.shape.as_ref().and_then(|shape| open(shape.len() + 1));
    let call = Call::new("OneHot", "output", &[&places, &depth, &on, &off])
        .dtype("T", values.dtype)
        .dtype("TI", places.dtype);
    // Counted from the end, the axis is one of the result.
    let axis = n.int("axis", -1);
    let axis = if axis < -1 { axis + places.rank()? as i64 + 1 } else { axis };
    one(l.emit(call.int("axis", axis), values.dtype, shape))
}

fn cumulated(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, axis) = (n.input(0)?, n.input(1)?);
    let axis = l.shaped(&axis, &[]);
    let call = Call::typed("Cumsum", "out", &[&x, &axis])
        .dtype("Tidx", axis.dtype)
        .flag("exclusive", n.int("exclusive", 0) != 0)
        .flag("reverse", n.int("reverse", 0) != 0);
    one(l.emit(call, x.dtype, x.shape.clone()))
}
