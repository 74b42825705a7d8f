//! Activation functions, and the exponentials that sum to one.

use super::{Entry, Written, one};
use crate::format::saved_model::from_onnx::call::Call;
use crate::format::saved_model::from_onnx::lowering::Lowering;
use crate::format::saved_model::from_onnx::node::Node;
use crate::format::saved_model::from_onnx::value::Value;

pub(super) const TABLE: &[Entry] = &[
    ("Relu", |l, n| one(relu(l, &n.input(0)?))),
    ("Tanh", |l, n| one(l.unary("Tanh", "y", &n.input(0)?))),
    ("Sigmoid", |l, n| one(l.unary("Sigmoid", "y", &n.input(0)?))),
    ("Softplus", |l, n| one(l.unary("Softplus", "activations", &n.input(0)?))),
    ("Softsign", |l, n| one(l.unary("Softsign", "activations", &n.input(0)?))),
    ("LeakyRelu", |l, n| one(leaky(l, &n.input(0)?, n.float("alpha", 0.01)))),
    ("Elu", |l, n| one(elu(l, &n.input(0)?, f64::from(n.float("alpha", 1.0))))),
    ("Selu", selu),
    ("Celu", celu),
    ("PRelu", |l, n| {
        let (x, slope) = (n.input(0)?, n.input(1)?);
        let (zero, sloped) = (l.number(0.0, &x), l.binary("Mul", &x, &slope));
        let below = l.compared("Less", &x, &zero);
        one(l.select(&below, &sloped, &x))
    }),
    ("ThresholdedRelu", |l, n| {
        let x = n.input(0)?;
        let (zero, threshold) = (l.number(0.0, &x), l.number(f64::from(n.float("alpha", 1.0)), &x));
        let above = l.compared("Greater", &x, &threshold);
        one(l.select(&above, &x, &zero))
    }),
    ("HardSigmoid", |l, n| one(hard_sigmoid(l, &n.input(0)?, n.float("alpha", 0.2), n.float("beta", 0.5)))),
    ("HardSwish", |l, n| {
        let x = n.input(0)?;
        let gate = hard_sigmoid(l, &x, 1.0 / 6.0, 0.5);
        one(l.binary("Mul", &x, &gate))
    }),
    ("Gelu", gelu),
    ("Mish", |l, n| {
        let x = n.input(0)?;
        let soft = l.unary("Softplus", "activations", &x);
        let gate = l.unary("Tanh", "y", &soft);
        one(l.binary("Mul", &x, &gate))
    }),
    ("Swish", |l, n| {
        let x = n.input(0)?;
        let alpha = l.number(f64::from(n.float("alpha", 1.0)), &x);
        let scaled = l.binary("Mul", &x, &alpha);
        let gate = l.unary("Sigmoid", "y", &scaled);
        one(l.binary("Mul", &x, &gate))
    }),
    ("Shrink", shrink),
    ("Softmax", |l, n| softmax(l, n, false)),
    ("LogSoftmax", |l, n| softmax(l, n, true)),
];

pub(super) fn relu(l: &mut Lowering, x: &Value) -> Value {
    l.unary("Relu", "activations", x)
}

pub(super) fn leaky(l: &mut Lowering, x: &Value, alpha: f32) -> Value {
    let leaky = Call::typed("LeakyRelu", "activations", &[x]).float("alpha", alpha);
    l.emit(leaky, x.dtype, x.shape.clone())
}

/// TensorFlow's has an alpha of 1: its negative part is multiplied by ours.
pub(super) fn elu(l: &mut Lowering, x: &Value, alpha: f64) -> Value {
    let unit = l.unary("Elu", "activations", x);
    if alpha == 1.0 {
        return unit;
    }
    let (zero, alpha) = (l.number(0.0, x), l.number(alpha, x));
    let below = l.binary("Minimum", &unit, &zero);
    let scaled = l.binary("Mul", &below, &alpha);
    let above = relu(l, x);
    l.binary("AddV2", &above, &scaled)
}

/// The line `alpha x + beta`, cut to 0 and 1.
pub(super) fn hard_sigmoid(l: &mut Lowering, x: &Value, alpha: f32, beta: f32) -> Value {
    let [alpha, beta] = [alpha, beta].map(|number| l.number(f64::from(number), x));
    let [zero, one] = [0.0, 1.0].map(|number| l.number(number, x));
    let scaled = l.binary("Mul", x, &alpha);
    let line = l.binary("AddV2", &scaled, &beta);
    let low = l.binary("Maximum", &line, &zero);
    l.binary("Minimum", &low, &one)
}

fn selu(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let unit = elu(l, &x, f64::from(n.float("alpha", 1.673_263_2)));
    let gamma = l.number(f64::from(n.float("gamma", 1.050_701)), &x);
    one(l.binary("Mul", &unit, &gamma))
}

fn celu(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let (zero, alpha) = (l.number(0.0, &x), l.number(f64::from(n.float("alpha", 1.0)), &x));
    let inner = l.binary("RealDiv", &x, &alpha);
    let unit = l.unary("Elu", "activations", &inner);
    let below = l.binary("Minimum", &unit, &zero);
    let scaled = l.binary("Mul", &below, &alpha);
    let above = relu(l, &x);
    one(l.binary("AddV2", &above, &scaled))
}

/// `x/2 (1 + erf(x/sqrt(2)))`, or with the hyperbolic tangent (Hendrycks and Gimpel, arXiv:1606.08415, section 2).
fn gelu(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let [half, unit] = [0.5, 1.0].map(|number| l.number(number, &x));
    let gate = if n.text("approximate", "none") == "tanh" {
        let [factor, cubic] = [(2.0 / std::f64::consts::PI).sqrt(), 0.044_715].map(|c| l.number(c, &x));
        let square = l.unary("Square", "y", &x);
        let cube = l.binary("Mul", &square, &x);
        let bent = l.binary("Mul", &cube, &cubic);
        let sum = l.binary("AddV2", &x, &bent);
        let inner = l.binary("Mul", &sum, &factor);
        l.unary("Tanh", "y", &inner)
    } else {
        let root = l.number(std::f64::consts::FRAC_1_SQRT_2, &x);
        let inner = l.binary("Mul", &x, &root);
        l.unary("Erf", "y", &inner)
    };
    let above = l.binary("AddV2", &gate, &unit);
    let scaled = l.binary("Mul", &x, &half);
    one(l.binary("Mul", &scaled, &above))
}

fn shrink(l: &mut Lowering, n: &Node<'_>) -> Written {
    let x = n.input(0)?;
    let (bias, lambda) = (f64::from(n.float("bias", 0.0)), f64::from(n.float("lambd", 0.5)));
    let [zero, bias, upper, lower] = [0.0, bias, lambda, -lambda].map(|number| l.number(number, &x));
    let (less, more) = (l.binary("Sub", &x, &bias), l.binary("AddV2", &x, &bias));
    let (above, below) = (l.compared("Greater", &x, &upper), l.compared("Less", &x, &lower));
    let high = l.select(&above, &less, &zero);
    one(l.select(&below, &more, &high))
}

/// Along the last axis by TensorFlow's operator, along another as it is defined; an axis is the last one if none is said (from
/// version 13 on).
fn softmax(l: &mut Lowering, n: &Node<'_>, logarithm: bool) -> Written {
    let x = n.input(0)?;
    let axis = n.int("axis", if n.opset < 13 { 1 } else { -1 });
    let is_last = axis == -1 || x.rank().is_ok_and(|rank| axis == rank as i64 - 1);
    if is_last {
        let (operator, output) =
            if logarithm { ("LogSoftmax", "logsoftmax") } else { ("Softmax", "softmax") };
        let call = Call::new(operator, output, &[&x]).dtype("T", x.dtype);
        return one(l.emit(call, x.dtype, x.shape.clone()));
    }
    if n.opset < 13 {
        return Err(
            "it is over several axes, as before version 13; export the model with version 13 or later"
                .to_owned(),
        );
    }
    let axes = l.vector(&[axis]);
    let largest = l.reduced("Max", &x, &axes, true);
    let below = l.binary("Sub", &x, &largest);
    let exponentials = l.unary("Exp", "y", &below);
    let sum = l.reduced("Sum", &exponentials, &axes, true);
    if logarithm {
        let sum = l.unary("Log", "y", &sum);
        return one(l.binary("Sub", &below, &sum));
    }
    one(l.binary("RealDiv", &exponentials, &sum))
}
