//! Normalisations, by stored statistics or by those of each row.

use predictor::Tensor;

use super::Entry;
use crate::format::keras::convert::{Converter, Inputs, Layer, axes_of, axis_of, last_axis, one};
use crate::format::traced::dim::Dim;
use crate::format::traced::target::{Call, Step};
use crate::format::traced::tensor::Traced;

pub(super) const TABLE: &[Entry] = &[
    ("BatchNormalization", batch, &["mask"]),
    ("LayerNormalization", layer_wise, &[]),
    ("RMSNormalization", root_mean_square, &[]),
    ("GroupNormalization", group, &[]),
    ("UnitNormalization", unit, &[]),
    ("Normalization", standard, &[]),
    ("Rescaling", rescaling, &[]),
];

/// The smallest divisor of Keras, `keras.config.epsilon()`.
const EPSILON: f64 = 1e-7;

/// A vector, or a tensor of several axes, along those axes of a tensor of this rank.
fn along(c: &mut Converter<'_>, x: &Traced, axes: &[usize], rank: usize) -> Step {
    let mut shape = vec![Dim::fixed(1); rank];
    for (at, axis) in axes.iter().enumerate() {
        shape[*axis] = x.shape[at].clone();
    }
    c.target.reshape(x, shape)
}

/// Statistics are known, so they become one factor and one summand.
fn batch(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let axis = match settings.integers("axis") {
        Ok(axes) if axes.len() == 1 => axis_of(axes[0], x.rank())?,
        _ => return Err("it normalises along several axes".into()),
    };
    let size = x.shape[axis].size().ok_or("its axis is of open size")?;
    let (scaled, centred) = (settings.flag("scale", true), settings.flag("center", true));
    let mut names = (0..).map(|at| format!("vars/{at}"));
    let mut next = |c: &mut Converter<'_>, is_there: bool| match is_there {
        true => c.weight(layer, &names.next().unwrap_or_default(), &[Some(size)]).map(Some),
        false => Ok(None),
    };
    let (gamma, beta) = (next(c, scaled)?, next(c, centred)?);
    let (mean, variance) = (next(c, true)?, next(c, true)?);
    let (Some(mean), Some(variance)) = (mean, variance) else { return Err("it has no statistics".into()) };
    let t = &mut c.target;
    let shifted = t.with_number("Add", &variance, settings.number("epsilon", 1e-3))?;
    let mut factor = t.unaries(&["Sqrt", "Reciprocal"], &shifted)?;
    if let Some(gamma) = &gamma {
        factor = t.binary("Mul", gamma, &factor)?;
    }
    let moved = t.binary("Mul", &mean, &factor)?;
    let summand = match &beta {
        Some(beta) => t.binary("Sub", beta, &moved)?,
        None => t.unary("Neg", &moved)?,
    };
    let (factor, summand) = if axis + 1 == x.rank() {
        (factor, summand)
    } else {
        (along(c, &factor, &[axis], x.rank())?, along(c, &summand, &[axis], x.rank())?)
    };
    let scaled = c.target.binary("Mul", &x, &factor)?;
    one(c.target.binary("Add", &scaled, &summand)?)
}

/// Ba, Kiros and Hinton, Layer Normalization (2016), equation 4.
fn layer_wise(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    if settings.flag("rms_scaling", false) {
        return Err("rms_scaling is not taken; use RMSNormalization".into());
    }
    let x = c.float(inputs.one()?)?;
    let axes = axes_of(&settings.integers("axis").unwrap_or_else(|_| vec![-1]), x.rank())?;
    let shape: Vec<Option<usize>> = axes.iter().map(|axis| x.shape[*axis].size()).collect();
    let (scaled, centred) = (settings.flag("scale", true), settings.flag("center", true));
    let gamma = c.weight_if(scaled, layer, "vars/0", &shape)?;
    let beta = c.weight_if(centred, layer, if scaled { "vars/1" } else { "vars/0" }, &shape)?;
    let epsilon = settings.number("epsilon", 1e-3);
    if axes == [x.rank() - 1] {
        let width = last_axis(&x)?;
        let vector = |value: f32| {
            let tensor =
                Tensor::float32(vec![width], vec![value; width]).map_err(|error| error.to_string())?;
            Ok::<Traced, String>(Traced::known(tensor))
        };
        let (gamma, beta) = (gamma.map_or_else(|| vector(1.0), Ok)?, beta.map_or_else(|| vector(0.0), Ok)?);
        let call = Call::new("LayerNormalization", &[&x, &gamma, &beta]);
        let call = call.int("axis", -1).float("epsilon", epsilon as f32);
        return one(c.target.emit(&call, x.dtype, x.shape.clone())?);
    }
    let mut y = standardised(c, &x, &axes, epsilon)?;
    if let Some(gamma) = gamma {
        let gamma = along(c, &gamma, &axes, x.rank())?;
        y = c.target.binary("Mul", &y, &gamma)?;
    }
    if let Some(beta) = beta {
        let beta = along(c, &beta, &axes, x.rank())?;
        y = c.target.binary("Add", &y, &beta)?;
    }
    one(y)
}

/// (x - mean) / √(variance + ε) along some axes.
fn standardised(c: &mut Converter<'_>, x: &Traced, axes: &[usize], epsilon: f64) -> Step {
    let t = &mut c.target;
    let mean = t.reduce("ReduceMean", x, axes, true)?;
    let centred = t.binary("Sub", x, &mean)?;
    let square = t.binary("Mul", &centred, &centred)?;
    let variance = t.reduce("ReduceMean", &square, axes, true)?;
    let shifted = t.with_number("Add", &variance, epsilon)?;
    let inverse = t.unaries(&["Sqrt", "Reciprocal"], &shifted)?;
    t.binary("Mul", &centred, &inverse)
}

/// Zhang and Sennrich, Root Mean Square Layer Normalization (2019), equation 4.
fn root_mean_square(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let axes = axes_of(&settings.integers("axis").unwrap_or_else(|_| vec![-1]), x.rank())?;
    let shape: Vec<Option<usize>> = axes.iter().map(|axis| x.shape[*axis].size()).collect();
    let scale = c.weight(layer, "vars/0", &shape)?;
    let scale = along(c, &scale, &axes, x.rank())?;
    let t = &mut c.target;
    let square = t.binary("Mul", &x, &x)?;
    let mean = t.reduce("ReduceMean", &square, &axes, true)?;
    let shifted = t.with_number("Add", &mean, settings.number("epsilon", 1e-6))?;
    let inverse = t.unaries(&["Sqrt", "Reciprocal"], &shifted)?;
    let y = t.binary("Mul", &x, &inverse)?;
    one(t.binary("Mul", &y, &scale)?)
}

/// Wu and He, Group Normalization (2018), equation 7: an axis is cut into groups, each of which is normalised with all
/// other axes but the batch.
fn group(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let axis = axis_of(settings.get("axis").and_then(serde_json::Value::as_i64).unwrap_or(-1), x.rank())?;
    let channels = x.shape[axis].size().ok_or("its axis is of open size")?;
    let groups = match settings.integer("groups")? {
        -1 => channels,
        groups => usize::try_from(groups).unwrap_or_default(),
    };
    if axis == 0 || groups == 0 || !channels.is_multiple_of(groups) {
        return Err(format!("it cuts {channels} channels into {groups} groups").into());
    }
    let cut = [Dim::fixed(groups as i64), Dim::fixed((channels / groups) as i64)];
    let shape = [&x.shape[..axis], &cut, &x.shape[axis + 1..]].concat();
    let parts = c.target.reshape(&x, shape)?;
    let axes: Vec<usize> = (1..parts.rank()).filter(|at| *at != axis).collect();
    let y = standardised(c, &parts, &axes, settings.number("epsilon", 1e-3))?;
    let mut y = c.target.reshape(&y, x.shape.clone())?;
    let (scaled, centred) = (settings.flag("scale", true), settings.flag("center", true));
    let gamma = c.weight_if(scaled, layer, "vars/0", &[Some(channels)])?;
    let beta = c.weight_if(centred, layer, if scaled { "vars/1" } else { "vars/0" }, &[Some(channels)])?;
    for (operator, vector) in [("Mul", gamma), ("Add", beta)] {
        if let Some(vector) = vector {
            let vector = along(c, &vector, &[axis], x.rank())?;
            y = c.target.binary(operator, &y, &vector)?;
        }
    }
    one(y)
}

/// x over its length, which counts as at least 1e-12.
fn unit(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = c.float(inputs.one()?)?;
    let axes = axes_of(&layer.settings().integers("axis").unwrap_or_else(|_| vec![-1]), x.rank())?;
    one(of_length_one(c, &x, &axes, 1e-12)?)
}

/// x over its length along some axes, which counts as at least `least`.
pub(super) fn of_length_one(c: &mut Converter<'_>, x: &Traced, axes: &[usize], least: f64) -> Step {
    let t = &mut c.target;
    let square = t.binary("Mul", x, x)?;
    let sum = t.reduce("ReduceSum", &square, axes, true)?;
    let inverse = t.unaries(&["Sqrt", "Reciprocal"], &sum)?;
    let inverse = t.with_number("Min", &inverse, 1.0 / least)?;
    t.binary("Mul", x, &inverse)
}

/// Statistics that were given, or found by `adapt`.
fn standard(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let axes = match settings.get("axis") {
        None => vec![],
        Some(_) => axes_of(&settings.integers("axis")?, x.rank())?,
    };
    let sizes: Option<Vec<usize>> = axes.iter().map(|axis| x.shape[*axis].size()).collect();
    let sizes = sizes.ok_or("its axis is of open size")?;
    let wanted: Vec<Option<usize>> = sizes.iter().copied().map(Some).collect();
    let count: usize = sizes.iter().product();
    let statistic = |c: &mut Converter<'_>, key: &str, name: &str| -> Step {
        let Some(numbers) = settings.numbers(key) else { return c.weight(layer, name, &wanted) };
        let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
        let (shape, numbers) = match numbers.as_slice() {
            [number] => (vec![1; sizes.len()], vec![*number]),
            all if all.len() == count => (sizes.clone(), numbers),
            all => return Err(format!("its {key} has {} numbers in place of {count}", all.len()).into()),
        };
        Ok(Traced::known(Tensor::float32(shape, numbers).map_err(|error| error.to_string())?))
    };
    let (mean, variance) = (statistic(c, "mean", "vars/0")?, statistic(c, "variance", "vars/1")?);
    let (mean, variance) = (along(c, &mean, &axes, x.rank())?, along(c, &variance, &axes, x.rank())?);
    let t = &mut c.target;
    let deviation = t.unary("Sqrt", &variance)?;
    let deviation = t.with_number("Max", &deviation, EPSILON)?;
    if settings.flag("invert", false) {
        let scaled = t.binary("Mul", &x, &deviation)?;
        return one(t.binary("Add", &mean, &scaled)?);
    }
    let centred = t.binary("Sub", &x, &mean)?;
    one(t.binary("Div", &centred, &deviation)?)
}

fn rescaling(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = c.float(inputs.one()?)?;
    let vector = |key: &str, otherwise: f32| -> Step {
        let numbers = layer.settings().numbers(key).unwrap_or_else(|| vec![f64::from(otherwise)]);
        let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
        let shape = if numbers.len() == 1 { vec![] } else { vec![numbers.len()] };
        Ok(Traced::known(Tensor::float32(shape, numbers).map_err(|error| error.to_string())?))
    };
    let (scale, offset) = (vector("scale", 1.0)?, vector("offset", 0.0)?);
    let scaled = c.target.binary("Mul", &x, &scale)?;
    one(c.target.binary("Add", &scaled, &offset)?)
}
