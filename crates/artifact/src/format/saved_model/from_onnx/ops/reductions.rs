//! One value for many: sums, means, extremes, and where the extremes are.

use protos::tensorflow::DataType;

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::{Shape, Value, normalized};

pub(super) const TABLE: &[Entry] = &[
    ("ReduceSum", |l, n| reduce(l, n, "Sum")),
    ("ReduceMean", |l, n| reduce(l, n, "Mean")),
    ("ReduceMax", |l, n| reduce(l, n, "Max")),
    ("ReduceMin", |l, n| reduce(l, n, "Min")),
    ("ReduceProd", |l, n| reduce(l, n, "Prod")),
    ("ReduceL1", |l, n| {
        let magnitude = l.unary("Abs", "y", &n.input(0)?);
        over(l, n, "Sum", &magnitude)
    }),
    ("ReduceSumSquare", |l, n| {
        let square = l.unary("Square", "y", &n.input(0)?);
        over(l, n, "Sum", &square)
    }),
    ("ReduceL2", |l, n| {
        let square = l.unary("Square", "y", &n.input(0)?);
        let sum = over(l, n, "Sum", &square)?.remove(0);
        one(l.unary("Sqrt", "y", &sum))
    }),
    ("ReduceLogSum", |l, n| {
        let sum = reduce(l, n, "Sum")?.remove(0);
        one(l.unary("Log", "y", &sum))
    }),
    ("ReduceLogSumExp", |l, n| {
        let exponentials = l.unary("Exp", "y", &n.input(0)?);
        let sum = over(l, n, "Sum", &exponentials)?.remove(0);
        one(l.unary("Log", "y", &sum))
    }),
    ("ArgMax", |l, n| place(l, n, "ArgMax")),
    ("ArgMin", |l, n| place(l, n, "ArgMin")),
];

impl Lowering {
    /// Along known axes.
    pub(super) fn reduced(&mut self, operator: &'static str, x: &Value, axes: &Value, kept: bool) -> Value {
        let operator = match (x.dtype, operator) {
            (DataType::DtBool, "Max") => "Any",
            (DataType::DtBool, "Min") => "All",
            _ => operator,
        };
        let mut call = Call::new(operator, "output", &[x, axes]).dtype("Tidx", axes.dtype);
        if x.dtype != DataType::DtBool {
            call = call.dtype("T", x.dtype);
        }
        let shape = axes.integers().and_then(|axes| shape_of(x, &axes, kept));
        self.emit(call.flag("keep_dims", kept), x.dtype, shape)
    }
}

fn shape_of(x: &Value, axes: &[i64], kept: bool) -> Shape {
    let shape = x.shape.as_ref()?;
    let axes: Vec<i64> =
        axes.iter().map(|axis| normalized(*axis, shape.len())).collect::<Result<_, _>>().ok()?;
    let places = shape.iter().enumerate();
    let left = places.filter_map(|(at, size)| match axes.contains(&(at as i64)) {
        true => kept.then_some(Some(1)),
        false => Some(*size),
    });
    Some(left.collect())
}

fn reduce(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    over(l, n, operator, &n.input(0)?)
}

/// Axes are an attribute in older versions; all, or none, where they are left out.
fn over(l: &mut Lowering, n: &Node<'_>, operator: &'static str, x: &Value) -> Written {
    let kept = n.int("keepdims", 1) != 0;
    let axes = match (n.ints("axes"), n.optional(1)) {
        (Some(axes), _) => l.vector(&axes),
        (None, Some(axes)) if axes.size(0).is_none() => {
            return Err("the number of its axes is known only when the model runs".to_owned());
        }
        (None, Some(axes)) if axes.size(0) != Some(0) => axes,
        _ if n.int("noop_with_empty_axes", 0) != 0 => return one(x.clone()),
        _ => {
            let all: Vec<i64> = (0..x.rank()? as i64).collect();
            l.vector(&all)
        }
    };
    one(l.reduced(operator, x, &axes, kept))
}

fn place(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    if n.int("select_last_index", 0) != 0 {
        return Err("it gives the last of several equal elements, TensorFlow the first".to_owned());
    }
    let (x, axis) = (n.input(0)?, n.int("axis", 0));
    let along = l.integer(axis);
    let call = Call::typed(operator, "output", &[&x, &along])
        .dtype("Tidx", along.dtype)
        .dtype("output_type", DataType::DtInt64);
    let places = l.emit(call, DataType::DtInt64, shape_of(&x, &[axis], false));
    if n.int("keepdims", 1) == 0 {
        return one(places);
    }
    // Counted from the end, the place of the new axis is the same.
    let call = Call::typed("ExpandDims", "output", &[&places, &along]).dtype("Tdim", along.dtype);
    one(l.emit(call, DataType::DtInt64, shape_of(&x, &[axis], true)))
}
