//! Activations, as functions that other layers apply and as layers.

use serde_json::Value;

use super::Entry;
use crate::format::keras::config::Object;
use crate::format::keras::convert::{Converter, Inputs, Layer, axes_of, one};
use crate::format::traced::target::Step;
use crate::format::traced::tensor::{Traced, scalar};

pub(super) const TABLE: &[Entry] = &[
    (
        "Activation",
        |c, layer, inputs| {
            let x = c.float(inputs.one()?)?;
            one(apply(c, layer.settings().get("activation"), &x)?)
        },
        &[],
    ),
    ("ReLU", |c, layer, inputs| rectified(c, layer, inputs), &[]),
    ("LeakyReLU", leaky, &[]),
    (
        "ELU",
        |c, layer, inputs| {
            let x = c.float(inputs.one()?)?;
            one(c.target.with_alpha("Elu", &x, layer.settings().number("alpha", 1.0) as f32)?)
        },
        &[],
    ),
    ("PReLU", parametric, &[]),
    ("Softmax", softmax_layer, &[]),
];

/// The activation that a setting names.
pub(in crate::format::keras) fn apply(c: &mut Converter<'_>, named: Option<&Value>, x: &Traced) -> Step {
    const WAY_OUT: &str = "export the model with model.export(\"folder\") and give that folder";
    match named {
        None => Ok(x.clone()),
        Some(Value::String(name)) => function(c, name, x),
        Some(described) => {
            let object = Object::read(described);
            let Some(object) =
                object.ok().filter(|object| object.is_of_keras() && object.class != "function")
            else {
                return Err(format!("its activation is Python code, which is not run; {WAY_OUT}").into());
            };
            // Layers without weights may be given as activations.
            if !matches!(object.class, "ReLU" | "LeakyReLU" | "ELU" | "Softmax" | "Activation") {
                return Err(format!("its activation {} is not taken; {WAY_OUT}", object.class).into());
            }
            let results = c.compute(&Layer { object, path: "" }, &Inputs::of([x.clone()]))?;
            results.into_iter().next().ok_or_else(|| "its activation gives nothing".into())
        }
    }
}

/// An activation by its name in `keras.activations`, as Keras's TensorFlow backend computes it.
fn function(c: &mut Converter<'_>, name: &str, x: &Traced) -> Step {
    let t = &mut c.target;
    match name {
        "linear" => Ok(x.clone()),
        "relu" => t.unary("Relu", x),
        "sigmoid" => t.unary("Sigmoid", x),
        "tanh" => t.unary("Tanh", x),
        "exponential" => t.unary("Exp", x),
        "relu6" => t.relu6(x),
        "leaky_relu" => t.with_alpha("LeakyRelu", x, 0.2),
        "elu" => t.with_alpha("Elu", x, 1.0),
        "selu" => t.selu(x),
        "celu" => {
            let below = t.with_number("Min", x, 0.0)?;
            let below = t.expm1(&below)?;
            let above = t.unary("Relu", x)?;
            t.binary("Add", &above, &below)
        }
        "softplus" => t.softplus(x),
        "softsign" => t.softsign(x),
        "softmax" => t.along("Softmax", x, -1),
        "log_softmax" => t.along("LogSoftmax", x, -1),
        "log_sigmoid" => {
            let negative = t.unary("Neg", x)?;
            let above = t.softplus(&negative)?;
            t.unary("Neg", &above)
        }
        "silu" | "swish" => {
            let gate = t.unary("Sigmoid", x)?;
            t.binary("Mul", x, &gate)
        }
        "hard_sigmoid" => hard_sigmoid(c, x),
        "hard_silu" | "hard_swish" => {
            let gate = hard_sigmoid(c, x)?;
            c.target.binary("Mul", x, &gate)
        }
        "hard_tanh" => t.clipped(x, -1.0, 1.0),
        "mish" => {
            let above = t.softplus(x)?;
            let gate = t.unary("Tanh", &above)?;
            t.binary("Mul", x, &gate)
        }
        // Hendrycks and Gimpel, Gaussian Error Linear Units (2016), section 2.
        "gelu" => {
            let part = t.with_number("Mul", x, std::f64::consts::FRAC_1_SQRT_2)?;
            let part = t.unary("Erf", &part)?;
            let raised = t.with_number("Add", &part, 1.0)?;
            let half = t.with_number("Mul", x, 0.5)?;
            t.binary("Mul", &half, &raised)
        }
        "glu" => {
            let width = x.shape.last().and_then(|axis| axis.known()).unwrap_or_default();
            if width == 0 || width % 2 != 0 {
                return Err("its activation glu halves an axis that is not even".into());
            }
            let parts = t.split(x, x.rank() - 1, &[width / 2, width / 2])?;
            let gate = t.unary("Sigmoid", &parts[1])?;
            t.binary("Mul", &parts[0], &gate)
        }
        "tanh_shrink" => {
            let tanh = t.unary("Tanh", x)?;
            t.binary("Sub", x, &tanh)
        }
        "soft_shrink" => {
            let (low, high) = (t.with_number("Add", x, 0.5)?, t.with_number("Sub", x, 0.5)?);
            let (low, high) = (t.with_number("Min", &low, 0.0)?, t.with_number("Max", &high, 0.0)?);
            t.binary("Add", &low, &high)
        }
        "hard_shrink" => {
            let size = t.unary("Abs", x)?;
            let kept = t.with_number("Greater", &size, 0.5)?;
            t.select(&kept, x, &scalar(x.dtype, 0.0))
        }
        "squareplus" => {
            let square = t.binary("Mul", x, x)?;
            let raised = t.with_number("Add", &square, 4.0)?;
            let root = t.unary("Sqrt", &raised)?;
            let sum = t.binary("Add", x, &root)?;
            t.with_number("Mul", &sum, 0.5)
        }
        // (x + 1)² / 4 between -1 and 1, 0 below and x above.
        "sparse_plus" => {
            let inside = t.clipped(x, -1.0, 1.0)?;
            let raised = t.with_number("Add", &inside, 1.0)?;
            let square = t.binary("Mul", &raised, &raised)?;
            let quarter = t.with_number("Mul", &square, 0.25)?;
            let over = t.with_number("Sub", x, 1.0)?;
            let over = t.unary("Relu", &over)?;
            t.binary("Add", &quarter, &over)
        }
        "sparse_sigmoid" => {
            let raised = t.with_number("Add", x, 1.0)?;
            let half = t.with_number("Mul", &raised, 0.5)?;
            t.clipped(&half, 0.0, 1.0)
        }
        "sparsemax" => sparsemax(c, x),
        other => Err(format!(
            "its activation \"{other}\" is none of Keras; export the model with model.export(\"folder\") and give that folder"
        )
        .into()),
    }
}

fn hard_sigmoid(c: &mut Converter<'_>, x: &Traced) -> Step {
    let raised = c.target.with_number("Add", x, 3.0)?;
    let clipped = c.target.relu6(&raised)?;
    c.target.with_number("Div", &clipped, 6.0)
}

/// Martins and Astudillo, From Softmax to Sparsemax (2016), algorithm 1; but where that sums the largest numbers, Keras 3 sums their
/// running sums, and so it is done here.
fn sparsemax(c: &mut Converter<'_>, x: &Traced) -> Step {
    let width = crate::format::keras::convert::last_axis(x)?;
    let last = x.rank() - 1;
    let t = &mut c.target;
    let [sorted, _] = t.top_k(x, width as i64)?;
    let sums = t.running_sum(&sorted, last, false, false)?;
    let less = t.with_number("Sub", &sums, 1.0)?;
    let counts: Vec<f32> = (1..=width).map(|count| count as f32).collect();
    let counts = predictor::Tensor::float32(vec![width], counts).map_err(|error| error.to_string())?;
    let mean = t.binary("Div", &less, &Traced::known(counts))?;
    let above = t.binary("Greater", &sorted, &mean)?;
    let support = t.cast(&above, x.dtype)?;
    let kept = t.binary("Mul", &sums, &support)?;
    let (sum, count) =
        (t.reduce("ReduceSum", &kept, &[last], true)?, t.reduce("ReduceSum", &support, &[last], true)?);
    let less = t.with_number("Sub", &sum, 1.0)?;
    let threshold = t.binary("Div", &less, &count)?;
    let over = t.binary("Sub", x, &threshold)?;
    t.unary("Relu", &over)
}

/// f(x) = x from the threshold on, at most the maximum, and a slope times the distance to the threshold below.
fn rectified(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let (slope, threshold) = (settings.number("negative_slope", 0.0), settings.number("threshold", 0.0));
    let x = c.float(inputs.one()?)?;
    let t = &mut c.target;
    let over = t.with_number("Greater", &x, threshold)?;
    let above = t.select(&over, &x, &scalar(x.dtype, 0.0))?;
    let above = match settings.get("max_value").and_then(Value::as_f64) {
        Some(most) => t.with_number("Min", &above, most)?,
        None => above,
    };
    if slope == 0.0 {
        return one(above);
    }
    let distance = t.with_number("Sub", &x, threshold)?;
    let below = t.with_number("Min", &distance, 0.0)?;
    let below = t.with_number("Mul", &below, slope)?;
    one(t.binary("Add", &above, &below)?)
}

fn leaky(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let settings = layer.settings();
    let slope = settings.number("negative_slope", settings.number("alpha", 0.3));
    let x = c.float(inputs.one()?)?;
    one(c.target.with_alpha("LeakyRelu", &x, slope as f32)?)
}

/// A slope of its own for each element below 0, shared along some axes.
fn parametric(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = c.float(inputs.one()?)?;
    let slopes = c.weight(layer, "vars/0", &vec![None; x.rank().saturating_sub(1)])?;
    let t = &mut c.target;
    let above = t.unary("Relu", &x)?;
    let below = t.with_number("Min", &x, 0.0)?;
    let below = t.binary("Mul", &slopes, &below)?;
    one(t.binary("Add", &above, &below)?)
}

fn softmax_layer(c: &mut Converter<'_>, layer: &Layer<'_>, inputs: &Inputs) -> Step<Vec<Traced>> {
    let x = c.float(inputs.one()?)?;
    let axes = layer.settings().integers("axis").unwrap_or_else(|_| vec![-1]);
    one(softmax(c, &x, &axes)?)
}

/// A softmax along one axis or several.
pub(super) fn softmax(c: &mut Converter<'_>, x: &Traced, axes: &[i64]) -> Step {
    let axes = axes_of(axes, x.rank())?;
    let t = &mut c.target;
    if let [axis] = axes.as_slice() {
        return t.along("Softmax", x, *axis as i64);
    }
    let most = t.reduce("ReduceMax", x, &axes, true)?;
    let less = t.binary("Sub", x, &most)?;
    let exp = t.unary("Exp", &less)?;
    let sum = t.reduce("ReduceSum", &exp, &axes, true)?;
    t.binary("Div", &exp, &sum)
}
