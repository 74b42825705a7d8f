//! Operations on the tensors of a network: `x + y`, `x[:, -1]`, `keras.ops.exp(x)`. Their settings hold what is no tensor.

use predictor::{DataType, Tensor};
use serde_json::Value;

use super::config::integers;
use super::convert::{Argument, Converter, Inputs, Layer, axes_of, axis_of, one};
use super::layers::{self, Convert, Entry};
use crate::format::traced::dim::{self, Dim};
use crate::format::traced::target::{Span, Step};
use crate::format::traced::tensor::{Traced, scalar};

const TABLE: &[Entry] = &[
    ("Absolute", |c, _, x| unary(c, x, &["Abs"]), &[]),
    ("Abs", |c, _, x| unary(c, x, &["Abs"]), &[]),
    ("Negative", |c, _, x| unary(c, x, &["Neg"]), &[]),
    ("Exp", |c, _, x| unary(c, x, &["Exp"]), &[]),
    ("Log", |c, _, x| unary(c, x, &["Log"]), &[]),
    ("Sqrt", |c, _, x| unary(c, x, &["Sqrt"]), &[]),
    ("Rsqrt", |c, _, x| unary(c, x, &["Sqrt", "Reciprocal"]), &[]),
    ("Reciprocal", |c, _, x| unary(c, x, &["Reciprocal"]), &[]),
    ("Sign", |c, _, x| unary(c, x, &["Sign"]), &[]),
    ("Sin", |c, _, x| unary(c, x, &["Sin"]), &[]),
    ("Cos", |c, _, x| unary(c, x, &["Cos"]), &[]),
    ("Tan", |c, _, x| unary(c, x, &["Tan"]), &[]),
    ("Arctan", |c, _, x| unary(c, x, &["Atan"]), &[]),
    ("Floor", |c, _, x| unary(c, x, &["Floor"]), &[]),
    ("Ceil", |c, _, x| unary(c, x, &["Ceil"]), &[]),
    ("Erf", |c, _, x| unary(c, x, &["Erf"]), &[]),
    ("Tanh", |c, _, x| activation(c, x, "tanh"), &[]),
    ("Sigmoid", |c, _, x| activation(c, x, "sigmoid"), &[]),
    ("Relu", |c, _, x| activation(c, x, "relu"), &[]),
    ("Relu6", |c, _, x| activation(c, x, "relu6"), &[]),
    ("Silu", |c, _, x| activation(c, x, "silu"), &[]),
    ("Softplus", |c, _, x| activation(c, x, "softplus"), &[]),
    ("Softsign", |c, _, x| activation(c, x, "softsign"), &[]),
    ("Selu", |c, _, x| activation(c, x, "selu"), &[]),
    (
        "Square",
        |c, _, x| {
            let x = c.float(x.one()?)?;
            one(c.target.binary("Mul", &x, &x)?)
        },
        &[],
    ),
    (
        "Expm1",
        |c, _, x| {
            let x = c.float(x.one()?)?;
            one(c.target.expm1(&x)?)
        },
        &[],
    ),
    ("Add", |c, _, x| binary(c, x, "Add"), &[]),
    ("Subtract", |c, _, x| binary(c, x, "Sub"), &[]),
    ("Multiply", |c, _, x| binary(c, x, "Mul"), &[]),
    ("Divide", |c, _, x| quotient(c, x), &[]),
    ("TrueDivide", |c, _, x| quotient(c, x), &[]),
    ("Maximum", |c, _, x| binary(c, x, "Max"), &[]),
    ("Minimum", |c, _, x| binary(c, x, "Min"), &[]),
    ("Power", |c, _, x| binary(c, x, "Pow"), &[]),
    ("Greater", |c, _, x| binary(c, x, "Greater"), &[]),
    ("GreaterEqual", |c, _, x| binary(c, x, "GreaterOrEqual"), &[]),
    ("Less", |c, _, x| binary(c, x, "Less"), &[]),
    ("LessEqual", |c, _, x| binary(c, x, "LessOrEqual"), &[]),
    ("Equal", |c, _, x| binary(c, x, "Equal"), &[]),
    (
        "NotEqual",
        |c, _, x| {
            let same = binary(c, x, "Equal")?.remove(0);
            one(c.target.unary("Not", &same)?)
        },
        &[],
    ),
    ("Any", |c, layer, x| truth(c, layer, x, "ReduceMax"), &[]),
    ("All", |c, layer, x| truth(c, layer, x, "ReduceMin"), &[]),
    ("Where", choice, &[]),
    ("Clip", clip, &[]),
    ("Cast", cast, &[]),
    ("Matmul", matmul, &[]),
    (
        "Einsum",
        |c, layer, x| {
            let tensors: Vec<Traced> = x.tensors().into_iter().map(|x| c.float(x)).collect::<Step<_>>()?;
            let tensors: Vec<&Traced> = tensors.iter().collect();
            one(c.target.einsum(layer.settings().text("subscripts", ""), &tensors)?)
        },
        &[],
    ),
    ("Sum", |c, layer, x| reduce(c, layer, x, "ReduceSum"), &[]),
    ("Mean", |c, layer, x| reduce(c, layer, x, "ReduceMean"), &[]),
    ("Max", |c, layer, x| reduce(c, layer, x, "ReduceMax"), &[]),
    ("Min", |c, layer, x| reduce(c, layer, x, "ReduceMin"), &[]),
    ("Softmax", |c, layer, x| softmax(c, layer, x, "Softmax"), &[]),
    ("LogSoftmax", |c, layer, x| softmax(c, layer, x, "LogSoftmax"), &[]),
    ("Concatenate", |c, layer, x| joined(c, layer, x, false), &[]),
    ("Stack", |c, layer, x| joined(c, layer, x, true), &[]),
    ("Split", split, &[]),
    ("Reshape", reshape, &[]),
    ("Transpose", transpose, &[]),
    (
        "Flip",
        |c, layer, x| {
            let x = x.one()?;
            let axes = axes_of(&layer.settings().integers("axis")?, x.rank())?;
            one(c.target.reverse(x, &axes)?)
        },
        &[],
    ),
    ("ExpandDims", expand_dims, &[]),
    ("Squeeze", squeeze, &[]),
    (
        "Repeat",
        |c, layer, x| {
            const TIMES_MAX: i64 = 1 << 20;
            let x = x.one()?;
            let axis = axis_of(layer.settings().integer("axis")?, x.rank())?;
            let times = layer.settings().integer("repeats")?;
            if !(1..=TIMES_MAX).contains(&times) {
                return Err(format!("it repeats elements {times} times").into());
            }
            one(layers::repeated(c, x, axis, times)?)
        },
        &[],
    ),
    (
        "Cumsum",
        |c, layer, x| {
            let x = c.float(x.one()?)?;
            let axis = axis_of(layer.settings().integer("axis")?, x.rank())?;
            one(c.target.running_sum(&x, axis, false, false)?)
        },
        &[],
    ),
    ("GetItem", get_item, &[]),
];

/// The conversion of an operation, if there is one.
pub(super) fn converter(class: &str) -> Option<(Convert, &'static [&'static str])> {
    layers::find(&[TABLE], class)
}

fn unary(c: &mut Converter<'_>, inputs: &Inputs, operators: &[&'static str]) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let x = if matches!(operators, ["Abs" | "Neg" | "Sign"]) { x.clone() } else { c.float(x)? };
    one(c.target.unaries(operators, &x)?)
}

fn activation(c: &mut Converter<'_>, inputs: &Inputs, name: &str) -> Step<Vec<Traced>> {
    let x = c.float(inputs.one()?)?;
    one(layers::activation(c, Some(&Value::from(name)), &x)?)
}

/// A tensor, or a number or list of numbers as one.
fn tensor(argument: &Argument) -> Step {
    fn gather(argument: &Argument, into: &mut Vec<f64>) -> Option<()> {
        match argument {
            Argument::Plain(value) => value.as_f64().map(|number| into.push(number)),
            Argument::List(list) => list.iter().try_for_each(|argument| gather(argument, into)),
            Argument::Tensor(_) => None,
        }
    }
    match argument {
        Argument::Tensor(tensor) => Ok(tensor.clone()),
        Argument::Plain(Value::Number(number)) if number.is_i64() => {
            Ok(scalar(DataType::Int64, number.as_i64().unwrap_or_default() as f64))
        }
        Argument::Plain(Value::Number(number)) => {
            Ok(scalar(DataType::Float32, number.as_f64().unwrap_or_default()))
        }
        Argument::List(list) => {
            let mut numbers = Vec::new();
            gather(argument, &mut numbers).ok_or("it is given a list of other things than numbers")?;
            if numbers.len() != list.len() {
                return Err("it is given lists in a list".into());
            }
            let numbers: Vec<f32> = numbers.into_iter().map(|number| number as f32).collect();
            let vector = Tensor::float32(vec![numbers.len()], numbers).map_err(|error| error.to_string())?;
            Ok(Traced::known(vector))
        }
        Argument::Plain(_) => Err("it is given something that is no number".into()),
    }
}

/// Two tensors, or a tensor and a number, in one type: that of floats if either is one.
fn two(c: &mut Converter<'_>, inputs: &Inputs) -> Step<[Traced; 2]> {
    let [x, y] = inputs.arguments.as_slice() else { return Err("it takes two tensors".into()) };
    let (x, y) = (tensor(x)?, tensor(y)?);
    let dtype = match (x.dtype, y.dtype) {
        (a, b) if a == b => a,
        (a, b) if [a, b].contains(&DataType::Float32) => DataType::Float32,
        // A number takes the type of the tensor it meets.
        (a, _) if y.tensor().is_some() => a,
        (_, b) if x.tensor().is_some() => b,
        _ => DataType::Int64,
    };
    Ok([c.target.cast(&x, dtype)?, c.target.cast(&y, dtype)?])
}

fn binary(c: &mut Converter<'_>, inputs: &Inputs, operator: &'static str) -> Step<Vec<Traced>> {
    let [x, y] = two(c, inputs)?;
    one(c.target.binary(operator, &x, &y)?)
}

fn quotient(c: &mut Converter<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let [x, y] = two(c, inputs)?;
    let (x, y) = (c.float(&x)?, c.float(&y)?);
    one(c.target.binary("Div", &x, &y)?)
}

fn choice(c: &mut Converter<'_>, _: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let [condition, x, y] = inputs.arguments.as_slice() else { return Err("it takes three tensors".into()) };
    let pair = Inputs { arguments: vec![x.clone(), y.clone()], ..Inputs::default() };
    let [x, y] = two(c, &pair)?;
    let condition = c.target.cast(&tensor(condition)?, DataType::Bool)?;
    one(c.target.select(&condition, &x, &y)?)
}

fn clip(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = c.float(inputs.one()?)?;
    let bound = |key: &str| {
        let bound = layer.settings().get(key).and_then(Value::as_f64);
        bound.ok_or_else(|| format!("its {key} is no number"))
    };
    one(c.target.clipped(&x, bound("x_min")?, bound("x_max")?)?)
}

fn cast(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let to = match layer.settings().text("dtype", "float32") {
        "int32" => DataType::Int32,
        "int64" => DataType::Int64,
        "bool" => DataType::Bool,
        "float32" | "float16" | "bfloat16" | "float64" => DataType::Float32,
        other => return Err(format!("it makes {other}, which is not taken").into()),
    };
    one(c.target.cast(inputs.one()?, to)?)
}

fn matmul(c: &mut Converter<'_>, _: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let [x, y] = two(c, inputs)?;
    let (x, y) = (c.float(&x)?, c.float(&y)?);
    one(c.target.matmul(&x, &y)?)
}

fn reduce(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    inputs: &Inputs,
    operator: &'static str,
) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let x = c.float(inputs.one()?)?;
    let axes = match settings.get("axis") {
        None => (0..x.rank()).collect(),
        Some(_) => axes_of(&settings.integers("axis")?, x.rank())?,
    };
    one(c.target.reduce(operator, &x, &axes, settings.flag("keepdims", false))?)
}

/// Whether some, or all, are true.
fn truth(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    inputs: &Inputs,
    operator: &'static str,
) -> Step<Vec<Traced>> {
    let x = c.target.cast(inputs.one()?, DataType::Bool)?;
    let number = reduce(c, layer, &Inputs::of([x]), operator)?.remove(0);
    one(c.target.cast(&number, DataType::Bool)?)
}

fn softmax(
    c: &mut Converter<'_>,
    layer: &Layer<'_>,
    inputs: &Inputs,
    operator: &'static str,
) -> Step<Vec<Traced>> {
    let x = c.float(inputs.one()?)?;
    let axis = layer.settings().get("axis").and_then(Value::as_i64).unwrap_or(-1);
    let axis = axis_of(axis, x.rank())?;
    one(c.target.along(operator, &x, axis as i64)?)
}

fn joined(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs, stacked: bool) -> Step<Vec<Traced>> {
    let tensors = layers::alike(c, &inputs.tensors())?;
    let axis = layer.settings().get("axis").and_then(Value::as_i64).unwrap_or(if stacked { 0 } else { -1 });
    let axis = axis_of(axis, tensors[0].rank() + usize::from(stacked))?;
    let parts = match stacked {
        true => tensors.iter().map(|tensor| c.target.unsqueeze(tensor, &[axis])).collect::<Step<Vec<_>>>()?,
        false => tensors,
    };
    one(c.target.concat(&parts.iter().collect::<Vec<_>>(), axis)?)
}

/// Into equal parts, or at places.
fn split(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    const PARTS_MAX: i64 = 1 << 12;
    let settings = layer.settings();
    let x = inputs.one()?;
    let axis = axis_of(settings.integer("axis")?, x.rank())?;
    let size = x.shape[axis].known().ok_or("its axis is of open size")?;
    let sizes = match settings.get("indices_or_sections") {
        Some(Value::Number(_)) => {
            let count = settings.integer("indices_or_sections")?;
            if !(1..=PARTS_MAX).contains(&count) || size % count != 0 {
                return Err(format!("it cuts an axis of {size} into {count} parts").into());
            }
            vec![size / count; count as usize]
        }
        _ => {
            let places = settings.integers("indices_or_sections")?;
            let ends = places.iter().copied().chain([size]);
            let sizes: Vec<i64> = std::iter::once(0)
                .chain(places.iter().copied())
                .zip(ends)
                .map(|(start, end)| end - start)
                .collect();
            if sizes.iter().any(|size| *size < 1) || places.iter().any(|place| !(0..size).contains(place)) {
                return Err(format!("it cuts an axis of {size} at {places:?}").into());
            }
            sizes
        }
    };
    c.target.split(x, axis, &sizes)
}

/// The first size is that of the batch, which is told by -1, by `null`, or not at all.
fn reshape(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let sizes = layer.settings().get("newshape").and_then(Value::as_array).ok_or("its shape is no list")?;
    let batch = x.shape.first().cloned().ok_or("its input has no batch")?;
    let size = |size: &Value| if size.is_null() { Some(-1) } else { size.as_i64() };
    let sizes: Option<Vec<i64>> = sizes.iter().map(size).collect();
    let sizes = sizes.ok_or("its shape has other things than whole numbers")?;
    let (first, rest) = sizes.split_first().ok_or("its shape is empty")?;
    if *first == -1 && rest.iter().all(|size| *size >= 0) {
        // What the batch becomes follows from the rest.
        let part: Vec<Dim> = rest.iter().map(|size| Dim::fixed(*size)).collect();
        let (whole, part) = (dim::product(&x.shape), dim::product(&part));
        let first = whole.zip(part).and_then(|(whole, part)| whole.divided(&part));
        let first = first.ok_or("its -1 is not told by its input")?;
        return one(layers::reshaped(c, x, first, rest)?);
    }
    let first = if *first == -1 { batch } else { Dim::fixed(*first) };
    one(layers::reshaped(c, x, first, rest)?)
}

fn transpose(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let order = match layer.settings().get("axes") {
        None => (0..x.rank()).rev().collect(),
        Some(_) => {
            let axes = layer.settings().integers("axes")?;
            let order: Vec<usize> =
                axes.iter().map(|axis| axis_of(*axis, x.rank())).collect::<Step<Vec<usize>>>()?;
            let mut sorted = order.clone();
            sorted.sort_unstable();
            if !sorted.into_iter().eq(0..x.rank()) {
                return Err(format!("it orders a tensor of {} axes as {axes:?}", x.rank()).into());
            }
            order
        }
    };
    one(c.target.transpose(x, &order)?)
}

fn expand_dims(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let given = layer.settings().integers("axis")?;
    let axes = axes_of(&given, x.rank() + given.len())?;
    one(c.target.unsqueeze(x, &axes)?)
}

fn squeeze(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?;
    let axes = match layer.settings().get("axis") {
        None => (0..x.rank()).filter(|axis| x.shape[*axis].is_one()).collect(),
        Some(_) => axes_of(&layer.settings().integers("axis")?, x.rank())?,
    };
    if axes.iter().any(|axis| !x.shape[*axis].is_one()) {
        return Err("it removes an axis of more than one element".into());
    }
    one(c.target.squeeze(x, &axes)?)
}

/// `x[:, -1]`, `x[..., 2:5]`, `x[:, None]`: whole numbers, slices, new axes, and one `...`.
fn get_item(c: &mut Converter<'_>, _: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = inputs.one()?.clone();
    let places = match inputs.arguments.get(1) {
        Some(Argument::List(list)) => list.clone(),
        Some(single) => vec![single.clone()],
        None => return Err("it takes no place".into()),
    };
    let places: Vec<&Value> = places
        .iter()
        .map(|place| match place {
            Argument::Plain(value) => Ok(value),
            _ => Err("it takes places that are computed or listed".into()),
        })
        .collect::<Step<_>>()?;
    let class =
        |place: &Value| place.get("class_name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let named = places.iter().filter(|place| !place.is_null() && class(place) != "__ellipsis__").count();
    let unnamed = x.rank().checked_sub(named).ok_or("it takes more places than there are axes")?;
    let (mut axis, mut spans, mut taken, mut added, mut filled) = (0, vec![], vec![], vec![], false);
    // Where an axis ends up among those that are left.
    let mut left = 0;
    for place in places {
        match (place, class(place).as_str()) {
            (Value::Null, _) => {
                added.push(left);
                left += 1;
            }
            (Value::Number(_), _) => {
                let at = place.as_i64().ok_or("a place is no whole number")?;
                let end = if at == -1 { None } else { Some(Dim::fixed(at.saturating_add(1))) };
                spans.push((axis, Span { start: Some(Dim::fixed(at)), end, step: 1 }));
                taken.push(axis);
                axis += 1;
            }
            (_, "__slice__") => {
                let part = |key: &str| place.get("config").and_then(|config| config.get(key));
                let number = |key: &str| part(key).and_then(integers).and_then(|all| all.first().copied());
                let step = number("step").unwrap_or(1);
                if step == 0 {
                    return Err("a slice has a step of 0".into());
                }
                let span = Span {
                    start: number("start").map(Dim::fixed),
                    end: number("stop").map(Dim::fixed),
                    step,
                };
                spans.push((axis, span));
                axis += 1;
                left += 1;
            }
            (_, "__ellipsis__") if !filled => {
                filled = true;
                axis += unnamed;
                left += unnamed;
            }
            _ => return Err("it takes places of a kind that is not taken".into()),
        }
    }
    let part = c.target.slice(&x, &spans)?;
    let mut shape = part.shape.clone();
    for axis in &taken {
        shape[*axis] = Dim::fixed(1);
    }
    let part = c.target.squeeze(&Traced { shape, ..part }, &taken)?;
    one(c.target.unsqueeze(&part, &added)?)
}
