//! Operators on single elements.

use artifact::graph::Gelu;

use super::array::{Array, erf, sigmoid};
use super::{Case, FLAT, weight_array, weights};

pub fn cases() -> Vec<Case> {
    [inputs(), pairs(), curves(), activations()].into_iter().flatten().collect()
}

fn inputs() -> Vec<Case> {
    vec![
        Case {
            name: "identity",
            build: |graph, x| graph.identity("identity/x", x.flat),
            expected: |x| x.flat.clone(),
        },
        Case {
            name: "select",
            build: |graph, x| {
                let missing = graph.is_nan("select/missing", x.gaps)?;
                graph.select("select/filled", missing, x.flat, x.gaps)
            },
            expected: |x| x.gaps.with(&x.flat, |gap, fill| if gap.is_nan() { fill } else { gap }),
        },
        Case {
            name: "clip",
            build: |graph, x| graph.clip("clip/x", x.flat, -1.5, 2.5),
            expected: |x| x.flat.map(|x| x.clamp(-1.5, 2.5)),
        },
    ]
}

fn pairs() -> Vec<Case> {
    vec![
        Case {
            name: "add",
            build: |graph, x| {
                let b = graph.variable("add/b", weights(1, &[FLAT]))?;
                graph.add("add/x", x.flat, b)
            },
            expected: |x| x.flat.with(&weight_array(1, &[FLAT]), |a, b| a + b),
        },
        Case {
            name: "sub",
            build: |graph, x| {
                let b = graph.constant("sub/b", weights(2, &[1, FLAT]))?;
                graph.sub("sub/x", x.flat, b)
            },
            expected: |x| x.flat.with(&weight_array(2, &[1, FLAT]), |a, b| a - b),
        },
        Case {
            name: "mul",
            build: |graph, x| graph.mul("mul/x", x.flat, x.flat),
            expected: |x| x.flat.map(|x| x * x),
        },
        Case {
            name: "mul_scalar",
            build: |graph, x| {
                let b = graph.scalar("mul_scalar/b", -0.3)?;
                graph.mul("mul_scalar/x", b, x.stack)
            },
            expected: |x| x.stack.map(|x| x * f64::from(-0.3f32)),
        },
        Case {
            name: "div",
            build: |graph, x| {
                let two = graph.scalar("div/two", 2.0)?;
                let b = graph.variable("div/b", weights(3, &[4]))?;
                let b = graph.add("div/divisor", b, two)?;
                graph.div("div/x", x.series, b)
            },
            expected: |x| x.series.with(&weight_array(3, &[4]), |a, b| a / (b + 2.0)),
        },
        Case {
            name: "maximum",
            build: |graph, x| {
                let b = graph.constant("maximum/b", weights(4, &[7, 1]))?;
                graph.maximum("maximum/x", x.series, b)
            },
            expected: |x| x.series.with(&weight_array(4, &[7, 1]), f64::max),
        },
        Case {
            name: "minimum",
            build: |graph, x| {
                let b = graph.constant("minimum/b", weights(5, &[7, 4]))?;
                graph.minimum("minimum/x", b, x.series)
            },
            expected: |x| x.series.with(&weight_array(5, &[7, 4]), f64::min),
        },
    ]
}

fn curves() -> Vec<Case> {
    vec![
        Case { name: "neg", build: |graph, x| graph.neg("neg/x", x.flat), expected: |x| x.flat.map(|x| -x) },
        Case {
            name: "exp",
            build: |graph, x| graph.exp("exp/x", x.series),
            expected: |x| x.series.map(f64::exp),
        },
        Case {
            name: "log",
            build: |graph, x| {
                let positive = graph.exp("log/exp", x.series)?;
                let one = graph.scalar("log/one", 1.0)?;
                let more = graph.add("log/more", positive, one)?;
                graph.log("log/x", more)
            },
            expected: |x| x.series.map(|x| (x.exp() + 1.0).ln()),
        },
        Case {
            name: "sqrt",
            build: |graph, x| {
                let square = graph.square("sqrt/square", x.stack)?;
                graph.sqrt("sqrt/x", square)
            },
            expected: |x| x.stack.map(f64::abs),
        },
        Case {
            name: "square",
            build: |graph, x| graph.square("square/x", x.flat),
            expected: |x| x.flat.map(|x| x * x),
        },
        Case { name: "erf", build: |graph, x| graph.erf("erf/x", x.flat), expected: |x| x.flat.map(erf) },
    ]
}

fn activations() -> Vec<Case> {
    vec![
        Case {
            name: "relu",
            build: |graph, x| graph.relu("relu/x", x.flat),
            expected: |x| x.flat.map(|x| x.max(0.0)),
        },
        Case {
            name: "leaky_relu",
            build: |graph, x| graph.leaky_relu("leaky_relu/x", x.flat, 0.3),
            expected: |x| x.flat.map(|x| if x < 0.0 { x * f64::from(0.3f32) } else { x }),
        },
        Case {
            name: "elu",
            build: |graph, x| graph.elu("elu/x", x.flat, 1.0),
            expected: |x| elu(&x.flat, 1.0),
        },
        Case {
            name: "elu_scaled",
            build: |graph, x| graph.elu("elu_scaled/x", x.flat, 0.7),
            expected: |x| elu(&x.flat, f64::from(0.7f32)),
        },
        Case {
            name: "tanh",
            build: |graph, x| graph.tanh("tanh/x", x.flat),
            expected: |x| x.flat.map(f64::tanh),
        },
        Case {
            name: "sigmoid",
            build: |graph, x| graph.sigmoid("sigmoid/x", x.flat),
            expected: |x| x.flat.map(sigmoid),
        },
        Case {
            name: "softplus",
            build: |graph, x| graph.softplus("softplus/x", x.flat),
            expected: |x| x.flat.map(|x| x.max(0.0) + (-x.abs()).exp().ln_1p()),
        },
        Case {
            name: "silu",
            build: |graph, x| graph.silu("silu/x", x.flat),
            expected: |x| x.flat.map(|x| x * sigmoid(x)),
        },
        Case {
            name: "gelu",
            build: |graph, x| graph.gelu("gelu/x", x.flat, Gelu::Exact),
            expected: |x| x.flat.map(|x| x / 2.0 * (1.0 + erf(x / 2.0f64.sqrt()))),
        },
        Case {
            name: "gelu_tanh",
            build: |graph, x| graph.gelu("gelu_tanh/x", x.flat, Gelu::Tanh),
            expected: |x| {
                let inner = |x: f64| (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3));
                x.flat.map(|x| x / 2.0 * (1.0 + inner(x).tanh()))
            },
        },
    ]
}

fn elu(x: &Array, alpha: f64) -> Array {
    x.map(|x| if x < 0.0 { alpha * x.exp_m1() } else { x })
}
