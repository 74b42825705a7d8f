//! Operators on elements.

use predictor::DataType;

use super::{Entry, Inputs, one};
use crate::format::saved_model::read::convert::Converter;
use crate::format::saved_model::read::node::Node;
use crate::format::saved_model::read::target::{Call, Step};
use crate::format::saved_model::read::value::{Traced, Value, scalar};

pub(super) const TABLE: &[Entry] = &[
    ("Abs", |c, _, x| unary(c, x, &["Abs"])),
    ("Acos", |c, _, x| unary(c, x, &["Acos"])),
    ("Acosh", |c, _, x| unary(c, x, &["Acosh"])),
    ("Asin", |c, _, x| unary(c, x, &["Asin"])),
    ("Asinh", |c, _, x| unary(c, x, &["Asinh"])),
    ("Atan", |c, _, x| unary(c, x, &["Atan"])),
    ("Atanh", |c, _, x| unary(c, x, &["Atanh"])),
    ("Ceil", |c, _, x| unary(c, x, &["Ceil"])),
    ("Cos", |c, _, x| unary(c, x, &["Cos"])),
    ("Cosh", |c, _, x| unary(c, x, &["Cosh"])),
    ("Erf", |c, _, x| unary(c, x, &["Erf"])),
    ("Exp", |c, _, x| unary(c, x, &["Exp"])),
    ("Floor", |c, _, x| unary(c, x, &["Floor"])),
    ("Inv", |c, _, x| unary(c, x, &["Reciprocal"])),
    ("IsInf", |c, _, x| unary(c, x, &["IsInf"])),
    ("IsNan", |c, _, x| unary(c, x, &["IsNaN"])),
    ("Log", |c, _, x| unary(c, x, &["Log"])),
    ("LogicalNot", |c, _, x| unary(c, x, &["Not"])),
    ("Neg", |c, _, x| unary(c, x, &["Neg"])),
    ("Reciprocal", |c, _, x| unary(c, x, &["Reciprocal"])),
    ("Relu", |c, _, x| unary(c, x, &["Relu"])),
    ("Rint", |c, _, x| unary(c, x, &["Round"])),
    ("Round", |c, _, x| unary(c, x, &["Round"])),
    ("Rsqrt", |c, _, x| inverse_root(c, x)),
    ("Sigmoid", |c, _, x| unary(c, x, &["Sigmoid"])),
    ("Sign", |c, _, x| unary(c, x, &["Sign"])),
    ("Sin", |c, _, x| unary(c, x, &["Sin"])),
    ("Sinh", |c, _, x| unary(c, x, &["Sinh"])),
    ("Sqrt", |c, _, x| unary(c, x, &["Sqrt"])),
    ("Tan", |c, _, x| unary(c, x, &["Tan"])),
    ("Tanh", |c, _, x| unary(c, x, &["Tanh"])),
    ("Add", |c, _, x| binary(c, x, "Add")),
    ("AddV2", |c, _, x| binary(c, x, "Add")),
    ("Div", |c, _, x| binary(c, x, "Div")),
    ("RealDiv", |c, _, x| binary(c, x, "Div")),
    ("TruncateDiv", |c, _, x| binary(c, x, "Div")),
    ("Equal", |c, _, x| binary(c, x, "Equal")),
    ("Greater", |c, _, x| binary(c, x, "Greater")),
    ("GreaterEqual", |c, _, x| binary(c, x, "GreaterOrEqual")),
    ("Less", |c, _, x| binary(c, x, "Less")),
    ("LessEqual", |c, _, x| binary(c, x, "LessOrEqual")),
    ("LogicalAnd", |c, _, x| binary(c, x, "And")),
    ("LogicalOr", |c, _, x| binary(c, x, "Or")),
    ("Maximum", |c, _, x| binary(c, x, "Max")),
    ("Minimum", |c, _, x| binary(c, x, "Min")),
    ("Mul", |c, _, x| binary(c, x, "Mul")),
    ("Pow", |c, _, x| power(c, x)),
    ("Sub", |c, _, x| binary(c, x, "Sub")),
    ("FloorDiv", |c, _, x| one(c.target.floor_divide(x.tensor(0)?, x.tensor(1)?)?)),
    ("FloorMod", |c, _, x| one(c.target.floor_mod(x.tensor(0)?, x.tensor(1)?)?)),
    ("NotEqual", |c, _, x| not_equal(c, x)),
    ("AddN", |c, _, x| add_n(c, x)),
    ("AccumulateNV2", |c, _, x| add_n(c, x)),
    ("BiasAdd", bias_add),
    ("Cast", |c, node, x| cast(c, node, x)),
    ("Bitcast", |_, node, x| bits(node, x)),
    ("BitwiseAnd", |c, _, x| sign_bit(c, x)),
    ("ClipByValue", |c, _, x| clip(c, x)),
    ("DivNoNan", |c, _, x| div_no_nan(c, x)),
    ("MulNoNan", |c, _, x| mul_no_nan(c, x)),
    ("Elu", |c, _, x| one(c.target.with_alpha("Elu", x.tensor(0)?, 1.0)?)),
    ("LeakyRelu", |c, node, x| {
        one(c.target.with_alpha("LeakyRelu", x.tensor(0)?, node.float("alpha", 0.2))?)
    }),
    ("Erfc", |c, _, x| erfc(c, x)),
    ("Expm1", |c, _, x| one(c.target.expm1(x.tensor(0)?)?)),
    ("Log1p", |c, _, x| log1p(c, x)),
    ("IsFinite", |c, _, x| is_finite(c, x)),
    ("Relu6", |c, _, x| one(c.target.relu6(x.tensor(0)?)?)),
    ("Select", |c, _, x| select(c, x)),
    ("SelectV2", |c, _, x| one(c.target.select(x.tensor(0)?, x.tensor(1)?, x.tensor(2)?)?)),
    ("Selu", |c, _, x| one(c.target.selu(x.tensor(0)?)?)),
    ("Softplus", |c, _, x| one(c.target.softplus(x.tensor(0)?)?)),
    ("Softsign", |c, _, x| one(c.target.softsign(x.tensor(0)?)?)),
    ("Square", |c, _, x| one(c.target.binary("Mul", x.tensor(0)?, x.tensor(0)?)?)),
    ("SquaredDifference", |c, _, x| squared_difference(c, x)),
    ("Xdivy", |c, _, x| guarded(c, x, |c, x, y| c.target.binary("Div", x, y))),
    ("Xlogy", |c, _, x| {
        guarded(c, x, |c, x, y| {
            let log = c.target.unary("Log", y)?;
            c.target.binary("Mul", x, &log)
        })
    }),
];

fn unary(c: &mut Converter, x: &[Value], operators: &[&'static str]) -> Step<Vec<Value>> {
    one(c.target.unaries(operators, x.tensor(0)?)?)
}

fn binary(c: &mut Converter, x: &[Value], operator: &'static str) -> Step<Vec<Value>> {
    one(c.target.binary(operator, x.tensor(0)?, x.tensor(1)?)?)
}

fn power(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (x, y) = (x.tensor(0)?, x.tensor(1)?);
    if y.as_number() == Some(2.0) && y.rank() == 0 {
        return one(c.target.binary("Mul", x, x)?);
    }
    one(c.target.binary("Pow", x, y)?)
}

fn not_equal(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let equal = c.target.binary("Equal", x.tensor(0)?, x.tensor(1)?)?;
    one(c.target.unary("Not", &equal)?)
}

fn add_n(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let tensors = x.tensors()?;
    let (first, rest) = tensors.split_first().ok_or("nothing is added")?;
    let mut sum = (*first).clone();
    for tensor in rest {
        sum = c.target.binary("Add", &sum, tensor)?;
    }
    one(sum)
}

/// The bias lies along the channels: the last axis, or the second.
fn bias_add<'a>(c: &mut Converter<'a>, node: Node<'a>, x: &[Value]) -> Step<Vec<Value>> {
    let (x, bias) = (x.tensor(0)?, x.tensor(1)?);
    if node.text("data_format", "NHWC").starts_with("NC") && x.rank() > 2 {
        let axes: Vec<usize> = (1..x.rank() - 1).collect();
        let bias = c.target.unsqueeze(bias, &axes)?;
        return one(c.target.binary("Add", x, &bias)?);
    }
    one(c.target.binary("Add", x, bias)?)
}

/// Of vectors, which are weights, it is left to whoever runs the graph: TensorFlow refines an estimate of the processor's, so that only
/// TensorFlow computes a SavedModel that is written of the graph as it computed the one that was read.
fn inverse_root(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let x = x.tensor(0)?;
    if x.tensor().is_none() || x.rank() == 0 {
        return one(c.target.unaries(&["Sqrt", "Reciprocal"], x)?);
    }
    let root = c.target.emit(&Call::new("Sqrt", &[x]), x.dtype, x.shape.clone())?;
    one(c.target.unary("Reciprocal", &root)?)
}

fn cast(c: &mut Converter, node: Node, x: &[Value]) -> Step<Vec<Value>> {
    use protos::tensorflow::DataType as Theirs;
    let half = [Theirs::DtHalf, Theirs::DtBfloat16].map(i32::from);
    if node.type_number("DstT").is_some_and(|number| half.contains(&number)) {
        let note = "parts that the source computes in half precision are computed in single precision";
        c.notes.insert(note.to_owned());
    }
    one(c.target.cast(x.tensor(0)?, node.dtype("DstT", DataType::Float32)?)?)
}

fn bits(node: Node, x: &[Value]) -> Step<Vec<Value>> {
    let x = x.tensor(0)?;
    match (x.dtype, node.dtype("type", DataType::Float32)?) {
        (DataType::Float32, DataType::Int32) | (DataType::Float64, DataType::Int64) => {
            Ok(vec![Value::Bits(x.clone())])
        }
        (from, to) if from == to => one(x.clone()),
        (from, to) => Err(format!("the bits of {from} are taken as {to}").into()),
    }
}

/// The sign bit of floats: with it Keras tells -0 from 0, whose reciprocals are infinities of that sign.
fn sign_bit(c: &mut Converter, inputs: &[Value]) -> Step<Vec<Value>> {
    let mask = inputs.tensor(1)?;
    let lowest = match mask.dtype {
        DataType::Int32 => i64::from(i32::MIN),
        _ => i64::MIN,
    };
    let Some(Value::Bits(x)) = inputs.first().filter(|_| mask.as_integer() == Some(lowest)) else {
        return Err("bits other than the sign of floats are not taken".into());
    };
    let below = c.target.with_number("Less", x, 0.0)?;
    let zero = c.target.with_number("Equal", x, 0.0)?;
    let inverse = c.target.unary("Reciprocal", x)?;
    let inverse_below = c.target.with_number("Less", &inverse, 0.0)?;
    let negative_zero = c.target.binary("And", &zero, &inverse_below)?;
    let negative = c.target.binary("Or", &below, &negative_zero)?;
    one(c.target.select(&negative, mask, &scalar(mask.dtype, 0.0))?)
}

fn clip(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let low = c.target.binary("Max", x.tensor(0)?, x.tensor(1)?)?;
    one(c.target.binary("Min", &low, x.tensor(2)?)?)
}

/// 0 where the divisor is.
fn div_no_nan(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (x, y) = (x.tensor(0)?, x.tensor(1)?);
    let zero = c.target.with_number("Equal", y, 0.0)?;
    let quotient = c.target.binary("Div", x, y)?;
    one(c.target.select(&zero, &scalar(x.dtype, 0.0), &quotient)?)
}

/// 0 where the second factor is, whatever the first is.
fn mul_no_nan(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (x, y) = (x.tensor(0)?, x.tensor(1)?);
    let zero = c.target.with_number("Equal", y, 0.0)?;
    let product = c.target.binary("Mul", x, y)?;
    one(c.target.select(&zero, &scalar(x.dtype, 0.0), &product)?)
}

/// 0 where the first input is, whatever the second is.
fn guarded(
    c: &mut Converter,
    inputs: &[Value],
    compute: fn(&mut Converter, &Traced, &Traced) -> Step,
) -> Step<Vec<Value>> {
    let (x, y) = (inputs.tensor(0)?, inputs.tensor(1)?);
    let zero = c.target.with_number("Equal", x, 0.0)?;
    let value = compute(c, x, y)?;
    one(c.target.select(&zero, &scalar(x.dtype, 0.0), &value)?)
}

fn erfc(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let erf = c.target.unary("Erf", x.tensor(0)?)?;
    one(c.target.number_with("Sub", 1.0, &erf)?)
}

/// log(1 + x), corrected by what the sum lost: x log(u) / (u - 1) with u = 1 + x (Higham, Accuracy and Stability, 1.14.1).
fn log1p(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let x = x.tensor(0)?;
    let u = c.target.with_number("Add", x, 1.0)?;
    let log = c.target.unary("Log", &u)?;
    let rest = c.target.with_number("Sub", &u, 1.0)?;
    let nothing = c.target.with_number("Equal", &rest, 0.0)?;
    let infinite = c.target.with_number("Equal", x, f64::INFINITY)?;
    let scaled = c.target.binary("Mul", x, &log)?;
    let corrected = c.target.binary("Div", &scaled, &rest)?;
    let corrected = c.target.select(&nothing, x, &corrected)?;
    one(c.target.select(&infinite, x, &corrected)?)
}

fn is_finite(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    // What minus itself is 0 is finite: infinities and NaN give NaN.
    let x = x.tensor(0)?;
    let difference = c.target.binary("Sub", x, x)?;
    one(c.target.with_number("Equal", &difference, 0.0)?)
}

/// The first version of `Select` takes whole rows where its condition is a vector.
fn select(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let (condition, a, b) = (x.tensor(0)?, x.tensor(1)?, x.tensor(2)?);
    let rows = condition.rank() == 1 && a.rank() > 1;
    let axes: Vec<usize> = (1..a.rank()).collect();
    let condition = if rows { c.target.unsqueeze(condition, &axes)? } else { condition.clone() };
    one(c.target.select(&condition, a, b)?)
}

fn squared_difference(c: &mut Converter, x: &[Value]) -> Step<Vec<Value>> {
    let difference = c.target.binary("Sub", x.tensor(0)?, x.tensor(1)?)?;
    one(c.target.binary("Mul", &difference, &difference)?)
}
