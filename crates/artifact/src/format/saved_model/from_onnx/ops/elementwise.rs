//! Arithmetic, comparisons and logic, element by element.

use protos::tensorflow::DataType;

use super::{Entry, Written, one};
use crate::format::onnx::nodes::attribute;
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::Value;
use crate::format::saved_model::from_onnx::weight::element_type;

pub(super) const TABLE: &[Entry] = &[
    ("Identity", |_, n| one(n.input(0)?)),
    ("Dropout", dropout),
    ("Abs", |l, n| unary(l, n, "Abs")),
    ("Neg", |l, n| unary(l, n, "Neg")),
    ("Exp", |l, n| unary(l, n, "Exp")),
    ("Log", |l, n| unary(l, n, "Log")),
    ("Sqrt", |l, n| unary(l, n, "Sqrt")),
    ("Reciprocal", reciprocal),
    ("Sign", |l, n| unary(l, n, "Sign")),
    ("Floor", |l, n| unary(l, n, "Floor")),
    ("Ceil", |l, n| unary(l, n, "Ceil")),
    ("Round", |l, n| unary(l, n, "Round")),
    ("Erf", |l, n| unary(l, n, "Erf")),
    ("Sin", |l, n| unary(l, n, "Sin")),
    ("Cos", |l, n| unary(l, n, "Cos")),
    ("Tan", |l, n| unary(l, n, "Tan")),
    ("Asin", |l, n| unary(l, n, "Asin")),
    ("Acos", |l, n| unary(l, n, "Acos")),
    ("Atan", |l, n| unary(l, n, "Atan")),
    ("Sinh", |l, n| unary(l, n, "Sinh")),
    ("Cosh", |l, n| unary(l, n, "Cosh")),
    ("Asinh", |l, n| unary(l, n, "Asinh")),
    ("Acosh", |l, n| unary(l, n, "Acosh")),
    ("Atanh", |l, n| unary(l, n, "Atanh")),
    ("IsNaN", |l, n| told(l, n, "IsNan")),
    ("IsInf", infinite),
    ("Not", |l, n| {
        let x = n.input(0)?;
        one(l.emit(Call::new("LogicalNot", "y", &[&x]), DataType::DtBool, x.shape.clone()))
    }),
    ("Add", |l, n| binary(l, n, "AddV2")),
    ("Sub", |l, n| binary(l, n, "Sub")),
    ("Mul", |l, n| binary(l, n, "Mul")),
    ("Div", divided),
    ("Mod", remainder),
    ("Pow", power),
    ("Min", |l, n| folded(l, n, "Minimum")),
    ("Max", |l, n| folded(l, n, "Maximum")),
    ("Sum", |l, n| folded(l, n, "AddV2")),
    ("Mean", |l, n| {
        let sum = folded(l, n, "AddV2")?.remove(0);
        let count = l.number(n.inputs.len() as f64, &sum);
        one(l.binary("RealDiv", &sum, &count))
    }),
    ("Equal", |l, n| compared(l, n, "Equal")),
    ("Greater", |l, n| compared(l, n, "Greater")),
    ("GreaterOrEqual", |l, n| compared(l, n, "GreaterEqual")),
    ("Less", |l, n| compared(l, n, "Less")),
    ("LessOrEqual", |l, n| compared(l, n, "LessEqual")),
    ("And", |l, n| logical(l, n, "LogicalAnd")),
    ("Or", |l, n| logical(l, n, "LogicalOr")),
    ("Xor", |l, n| compared(l, n, "NotEqual")),
    ("Where", |l, n| {
        let (condition, then, otherwise) = (n.input(0)?, n.input(1)?, n.input(2)?);
        one(l.select(&condition, &then, &otherwise))
    }),
    ("Clip", clipped),
    ("Cast", |l, n| {
        let to = i32::try_from(n.int("to", 0)).map_err(|error| error.to_string())?;
        let to = protos::onnx::tensor_proto::DataType::try_from(to).map_err(|error| error.to_string())?;
        let x = n.input(0)?;
        one(l.cast(&x, element_type(to)?))
    }),
    ("CastLike", |l, n| {
        let (x, like) = (n.input(0)?, n.input(1)?);
        one(l.cast(&x, like.dtype))
    }),
];

fn dropout(_: &mut Lowering, n: &Node<'_>) -> Written {
    if n.gives(1) {
        return Err("its mask is used".to_owned());
    }
    one(n.input(0)?)
}

fn unary(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    let x = n.input(0)?;
    one(l.unary(operator, "y", &x))
}

/// One over a root has an operator of its own, which TensorFlow computes otherwise than the two.
fn reciprocal(l: &mut Lowering, n: &Node<'_>) -> Written {
    match l.just_taken("Sqrt", &n.input(0)?) {
        Some(x) => one(l.unary("Rsqrt", "y", &x)),
        None => unary(l, n, "Reciprocal"),
    }
}

fn told(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    let x = n.input(0)?;
    one(l.emit(Call::typed(operator, "y", &[&x]), DataType::DtBool, x.shape.clone()))
}

fn infinite(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let of_sign = match (n.int("detect_positive", 1), n.int("detect_negative", 1)) {
        (1, 1) => return told(l, n, "IsInf"),
        (1, _) => f64::INFINITY,
        (_, 1) => f64::NEG_INFINITY,
        _ => return Err("it looks for no infinity".to_owned()),
    };
    let infinity = l.number(of_sign, &x);
    one(l.compared("Equal", &x, &infinity))
}

fn binary(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    let (a, b) = older_broadcast(l, n)?;
    one(l.binary(operator, &a, &b))
}

/// The two inputs, spread as versions before 7 of a node would say it.
fn older_broadcast(_: &mut Lowering, n: &Node<'_>) -> Result<(Value, Value), String> {
    if attribute(n.proto, "broadcast").is_some() {
        return Err("its attribute \"broadcast\" is of ONNX before version 7".to_owned());
    }
    Ok((n.input(0)?, n.input(1)?))
}

fn divided(l: &mut Lowering, n: &Node<'_>) -> Written {
    let whole = !n.input(0)?.is_float();
    binary(l, n, if whole { "TruncateDiv" } else { "RealDiv" })
}

/// Of the divisor's sign, or of the dividend's.
fn remainder(l: &mut Lowering, n: &Node<'_>) -> Written {
    if n.int("fmod", 0) == 0 {
        return binary(l, n, "FloorMod");
    }
    // TensorFlow has it in few types, the widest among them.
    let (a, b) = (n.input(0)?, n.input(1)?);
    let dtype = a.dtype;
    let wide = if a.is_float() { DataType::DtDouble } else { DataType::DtInt64 };
    let (a, b) = (l.cast(&a, wide), l.cast(&b, wide));
    let rest = l.binary("TruncateMod", &a, &b);
    one(l.cast(&rest, dtype))
}

fn power(l: &mut Lowering, n: &Node<'_>) -> Written {
    let (x, exponent) = (n.input(0)?, n.input(1)?);
    if !x.is_float() && exponent.is_float() {
        let (wide, dtype) = (l.cast(&x, exponent.dtype), x.dtype);
        let power = l.binary("Pow", &wide, &exponent);
        return one(l.cast(&power, dtype));
    }
    let exponent = l.cast(&exponent, x.dtype);
    one(l.binary("Pow", &x, &exponent))
}

fn folded(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    let mut inputs = n.all()?.into_iter();
    let first = inputs.next().ok_or("it has no inputs")?;
    one(inputs.fold(first, |sum, next| l.binary(operator, &sum, &next)))
}

fn compared(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    let (a, b) = older_broadcast(l, n)?;
    one(l.compared(operator, &a, &b))
}

fn logical(l: &mut Lowering, n: &Node<'_>, operator: &'static str) -> Written {
    let (a, b) = older_broadcast(l, n)?;
    let shape = crate::format::saved_model::from_onnx::value::broadcast(&a.shape, &b.shape);
    one(l.emit(Call::new(operator, "z", &[&a, &b]), DataType::DtBool, shape))
}

/// Bounds are attributes before version 11.
fn clipped(l: &mut Lowering, n: &Node<'_>) -> Written {
    let mut x = n.input(0)?;
    let stated = |name: &str| attribute(n.proto, name).and_then(|attribute| attribute.f);
    let bounds = [("min", 1, "Maximum"), ("max", 2, "Minimum")];
    for (name, at, operator) in bounds {
        let bound = match (n.optional(at), stated(name)) {
            (Some(bound), _) => bound,
            (None, Some(bound)) => l.number(f64::from(bound), &x),
            (None, None) => continue,
        };
        x = l.binary(operator, &x, &bound);
    }
    one(x)
}
