//! Normalisations, written out: TensorFlow's own operators want other layouts, or are for training.

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("BatchNormalization", batch),
    ("InstanceNormalization", |l, n| {
        let (x, gamma, beta) = (n.input(0)?, n.input(1)?, n.input(2)?);
        let axes: Vec<i64> = (2..x.rank()? as i64).collect();
        let unit = standardised(l, &x, &axes, n.float("epsilon", 1e-5));
        channels(l, &unit, &gamma, &beta)
    }),
    ("LayerNormalization", layer),
    ("RMSNormalization", root_mean_square),
    ("GroupNormalization", group),
    ("MeanVarianceNormalization", |l, n| {
        let axes = n.ints("axes").unwrap_or(vec![0, 2, 3]);
        one(standardised(l, &n.input(0)?, &axes, 1e-9))
    }),
    ("LpNormalization", |l, n| {
        let (x, axis) = (n.input(0)?, n.int("axis", -1));
        let axes = l.vector(&[axis]);
        let norm = if n.int("p", 2) == 1 {
            let magnitude = l.unary("Abs", "y", &x);
            l.reduced("Sum", &magnitude, &axes, true)
        } else {
            let square = l.unary("Square", "y", &x);
            let sum = l.reduced("Sum", &square, &axes, true);
            l.unary("Sqrt", "y", &sum)
        };
        // What is zero stays so.
        one(l.binary("DivNoNan", &x, &norm))
    }),
];

/// Less its mean, over the root of its variance plus `epsilon`. The variance is over the count.
fn standardised(l: &mut Lowering, x: &Value, axes: &[i64], epsilon: f32) -> Value {
    let axes = l.vector(axes);
    let mean = l.reduced("Mean", x, &axes, true);
    let centered = l.binary("Sub", x, &mean);
    let unit = scaled_to_one(l, &centered, &axes, epsilon);
    Value { shape: x.shape.clone(), ..unit }
}

/// Over the root of the mean of squares plus `epsilon`.
fn scaled_to_one(l: &mut Lowering, x: &Value, axes: &Value, epsilon: f32) -> Value {
    let root = root(l, x, axes, epsilon);
    l.binary("RealDiv", x, &root)
}

fn root(l: &mut Lowering, x: &Value, axes: &Value, epsilon: f32) -> Value {
    let square = l.unary("Square", "y", x);
    let mean = l.reduced("Mean", &square, axes, true);
    let epsilon = l.number(f64::from(epsilon), x);
    let above = l.binary("AddV2", &mean, &epsilon);
    l.unary("Sqrt", "y", &above)
}

/// A number for each channel, which is axis 1 of `like`, so that it spreads.
fn of_channels(l: &mut Lowering, numbers: &Value, like: &Value) -> Result<Value, String> {
    let mut sizes = vec![-1];
    sizes.resize(like.rank()?.max(2) - 1, 1);
    Ok(l.shaped(numbers, &sizes))
}

fn channels(l: &mut Lowering, x: &Value, gamma: &Value, beta: &Value) -> Written {
    let gamma = of_channels(l, gamma, x)?;
    let beta = of_channels(l, beta, x)?;
    let scaled = l.binary("Mul", x, &gamma);
    let shifted = l.binary("AddV2", &scaled, &beta);
    one(Value { shape: x.shape.clone(), ..shifted })
}

fn batch(l: &mut Lowering, n: &Node<'_>) -> Written {
    let is_used = (1..n.proto.output.len()).any(|at| n.gives(at));
    if n.int("training_mode", 0) != 0 || (is_used && n.opset >= 14) {
        return Err("it is in training mode; export the model for inference".to_owned());
    }
    if n.int("spatial", 1) == 0 {
        return Err("its attribute \"spatial\" is 0".to_owned());
    }
    let (x, gamma, beta) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let (mean, variance) = (n.input(3)?, n.input(4)?);
    let epsilon = l.number(f64::from(n.float("epsilon", 1e-5)), &variance);
    let above = l.binary("AddV2", &variance, &epsilon);
    let root = l.unary("Sqrt", "y", &above);
    let slope = l.binary("RealDiv", &gamma, &root);
    let shift = l.binary("Mul", &mean, &slope);
    let offset = l.binary("Sub", &beta, &shift);
    let (slope, offset) = (l.cast(&slope, x.dtype), l.cast(&offset, x.dtype));
    channels(l, &x, &slope, &offset)
}

/// Ba, Kiros and Hinton, arXiv:1607.06450, section 3; over all axes from `axis` on. Mean and deviation are results too.
fn layer(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, gamma) = (n.input(0)?, n.input(1)?);
    let axes = axes_from(n, &x)?;
    let axes = l.vector(&axes);
    let mean = l.reduced("Mean", &x, &axes, true);
    let centered = l.binary("Sub", &x, &mean);
    let root = root(l, &centered, &axes, n.float("epsilon", 1e-5));
    let unit = l.binary("RealDiv", &centered, &root);
    let mut result = l.binary("Mul", &unit, &gamma);
    if let Some(beta) = n.optional(2) {
        result = l.binary("AddV2", &result, &beta);
    }
    let mut results = vec![result];
    if n.gives(1) || n.gives(2) {
        results.extend([mean, l.unary("Reciprocal", "y", &root)]);
    }
    Ok(results)
}

fn root_mean_square(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, gamma) = (n.input(0)?, n.input(1)?);
    let axes = axes_from(n, &x)?;
    let axes = l.vector(&axes);
    let unit = scaled_to_one(l, &x, &axes, n.float("epsilon", 1e-5));
    one(l.binary("Mul", &unit, &gamma))
}

/// All axes from the attribute `axis` on, counted from the end.
fn axes_from(n: &Node<'_>, x: &Value) -> Result<Vec<i64>, String> {
    let axis = n.int("axis", -1);
    let first = if axis < 0 { axis } else { axis - x.rank()? as i64 };
    Ok((first..0).collect())
}

/// Wu and He, arXiv:1803.08494, section 3; `gamma` and `beta` are of groups before version 21, of channels since then.
fn group(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, gamma, beta) = (n.input(0)?, n.input(1)?, n.input(2)?);
    let groups = n.int("num_groups", 1);
    let shape = x.shape.clone().ok_or("the number of axes of its input is not known")?;
    let own = l.sizes(&x);
    let (rank, channels_known) = (shape.len(), x.size(1));
    if rank < 2 {
        return Err("its input has no channels".to_owned());
    }
    let each = channels_known.map_or(-1, |count| count / groups.max(1));
    if shape[2..].iter().filter(|size| size.is_none()).count() + usize::from(each < 0) > 1 {
        return Err("more than one axis within a group is open".to_owned());
    }
    // A 0 is no size here: the batch is taken from the input.
    let batch = l.element(&own, 0);
    let mut parts = vec![batch, l.integer(groups), l.integer(each)];
    parts.extend(shape[2..].iter().map(|size| l.integer(size.unwrap_or(-1))).collect::<Vec<_>>());
    let target = l.stacked(&parts.iter().collect::<Vec<_>>(), 0);
    let mut inner = vec![None, Some(groups), (each >= 0).then_some(each)];
    inner.extend(&shape[2..]);
    let grouped = l.reshaped(&x, &target, Some(inner));
    let axes: Vec<i64> = (2..=rank as i64).collect();
    let unit = standardised(l, &grouped, &axes, n.float("epsilon", 1e-5));
    if n.opset < 21 {
        let scaled = channels(l, &unit, &gamma, &beta)?.remove(0);
        return one(l.reshaped(&scaled, &own, x.shape.clone()));
    }
    let unit = l.reshaped(&unit, &own, x.shape.clone());
    channels(l, &unit, &gamma, &beta)
}
