//! Layers as several operators, which engines put together again: normalization, attention, recurrence.

use artifact::Error;
use artifact::graph::{Axes, GraphBuilder, Value};

use super::array::{Array, joined, sigmoid};
use super::{CHANNELS, Case, STEPS, weight_array, weights};

const UNITS: usize = 3;
const EPSILON: f32 = 1e-3;

pub fn cases() -> Vec<Case> {
    vec![
        Case {
            name: "batch_normalization",
            build: |graph, x| {
                let scale = graph.constant("batch_normalization/scale", weights(21, &[CHANNELS]))?;
                let shift = graph.constant("batch_normalization/shift", weights(22, &[CHANNELS]))?;
                let scaled = graph.mul("batch_normalization/scaled", x.series, scale)?;
                graph.add("batch_normalization/x", scaled, shift)
            },
            expected: |x| {
                let scaled = x.series.with(&weight_array(21, &[CHANNELS]), |a, b| a * b);
                scaled.with(&weight_array(22, &[CHANNELS]), |a, b| a + b)
            },
        },
        Case {
            name: "layer_normalization",
            build: |graph, x| layer_normalization(graph, "layer_normalization", x.series),
            expected: |x| normalized(&x.series),
        },
        Case {
            name: "positions",
            build: |graph, x| {
                let positions = graph.constant("positions/encoding", weights(25, &[STEPS, CHANNELS]))?;
                graph.add("positions/x", x.series, positions)
            },
            expected: |x| x.series.with(&weight_array(25, &[STEPS, CHANNELS]), |a, b| a + b),
        },
        Case {
            name: "attention",
            build: |graph, x| {
                // Queries and keys scaled, a causal mask, and the mean of the values.
                let turned = graph.transpose("attention/turned", x.stack, &[0, 1, 3, 2])?;
                let root = graph.scalar("attention/root", 2.0)?;
                let scaled = graph.div("attention/scaled", x.stack, root)?;
                let scores = graph.matmul("attention/scores", scaled, turned)?;
                let mask = mask().data.iter().map(|x| *x as f32).collect();
                let mask = predictor::Tensor::float32(vec![1, 1, 3, 3], mask).unwrap();
                let mask = graph.constant("attention/mask", mask)?;
                let masked = graph.add("attention/masked", scores, mask)?;
                let shares = graph.softmax("attention/shares", masked)?;
                let heads = graph.matmul("attention/heads", shares, x.stack)?;
                let steps = graph.transpose("attention/steps", heads, &[0, 2, 1, 3])?;
                graph.reshape("attention/x", steps, &[3, 2 * CHANNELS])
            },
            expected: |x| {
                let scores = x.stack.map(|x| x / 2.0).times(&x.stack.transposed(&[0, 1, 3, 2]));
                let heads = scores.with(&mask(), |a, b| a + b).softmax().times(&x.stack);
                heads.transposed(&[0, 2, 1, 3]).shaped(&[x.stack.shape[0], 3, 2 * CHANNELS])
            },
        },
        Case {
            name: "lstm",
            build: |graph, x| lstm(graph, "lstm", x.series),
            expected: |x| recurred(&x.series),
        },
    ]
}

/// 0 for a key that is not after the query, else a large negative number.
fn mask() -> Array {
    Array::of(&[1, 1, 3, 3], |place| if place[3] > place[2] { -1e9 } else { 0.0 })
}

fn layer_normalization(graph: &mut GraphBuilder, name: &str, x: Value) -> Result<Value, Error> {
    let part = |part: &str| format!("{name}/{part}");
    let mean = graph.reduce_mean(&part("mean"), x, &[2], Axes::Kept)?;
    let centered = graph.sub(&part("centered"), x, mean)?;
    let squares = graph.square(&part("squares"), centered)?;
    let variance = graph.reduce_mean(&part("variance"), squares, &[2], Axes::Kept)?;
    let epsilon = graph.scalar(&part("epsilon"), EPSILON)?;
    let above = graph.add(&part("above"), variance, epsilon)?;
    let deviation = graph.sqrt(&part("deviation"), above)?;
    let unit = graph.div(&part("unit"), centered, deviation)?;
    let gamma = graph.variable(&part("gamma"), weights(23, &[CHANNELS]))?;
    let beta = graph.variable(&part("beta"), weights(24, &[CHANNELS]))?;
    let scaled = graph.mul(&part("scaled"), unit, gamma)?;
    graph.add(&part("x"), scaled, beta)
}

fn normalized(x: &Array) -> Array {
    let mean = |line: &[f64]| line.iter().sum::<f64>() / line.len() as f64;
    let centered = x.with(&x.fold(2, mean), |x, mean| x - mean);
    let variance = centered.map(|x| x * x).fold(2, mean);
    let unit = centered.with(&variance, |x, variance| x / (variance + f64::from(EPSILON)).sqrt());
    let scaled = unit.with(&weight_array(23, &[CHANNELS]), |a, b| a * b);
    scaled.with(&weight_array(24, &[CHANNELS]), |a, b| a + b)
}

/// Keras's gates: input, forget, cell, output. All states `[batch, steps, units]`.
fn lstm(graph: &mut GraphBuilder, name: &str, x: Value) -> Result<Value, Error> {
    let part = |part: &str| format!("{name}/{part}");
    let kernel = graph.variable(&part("kernel"), weights(26, &[CHANNELS, 4 * UNITS]))?;
    let recurrent = graph.variable(&part("recurrent_kernel"), weights(27, &[UNITS, 4 * UNITS]))?;
    let bias = graph.variable(&part("bias"), weights(28, &[4 * UNITS]))?;
    let products = graph.matmul(&part("products"), x, kernel)?;
    let sums = graph.add(&part("sums"), products, bias)?;
    let (mut state, mut outputs) = (None, Vec::new());
    for step in 0..STEPS {
        let part = |part: &str| format!("{name}/step_{step}/{part}");
        let here = graph.slice(&part("slice"), sums, 1, step..step + 1)?;
        let mut gates = graph.reshape(&part("gates"), here, &[4 * UNITS])?;
        if let Some((hidden, _)) = state {
            let back = graph.matmul(&part("back"), hidden, recurrent)?;
            gates = graph.add(&part("all_gates"), gates, back)?;
        }
        let gate = graph.split(&part("gate"), gates, 1, 4)?;
        let take = graph.sigmoid(&part("take"), gate[0])?;
        let new = graph.tanh(&part("new"), gate[2])?;
        let give = graph.sigmoid(&part("give"), gate[3])?;
        let mut cell = graph.mul(&part("taken"), take, new)?;
        if let Some((_, before)) = state {
            let keep = graph.sigmoid(&part("keep"), gate[1])?;
            let kept = graph.mul(&part("kept"), keep, before)?;
            cell = graph.add(&part("cell"), kept, cell)?;
        }
        let shown = graph.tanh(&part("shown"), cell)?;
        let hidden = graph.mul(&part("hidden"), give, shown)?;
        outputs.push(graph.reshape(&part("output"), hidden, &[1, UNITS])?);
        state = Some((hidden, cell));
    }
    graph.concat(&part("x"), &outputs, 1)
}

fn recurred(x: &Array) -> Array {
    let bias = weight_array(28, &[4 * UNITS]);
    let sums = x.times(&weight_array(26, &[CHANNELS, 4 * UNITS])).with(&bias, |a, b| a + b);
    let recurrent = weight_array(27, &[UNITS, 4 * UNITS]);
    let rows = x.shape[0];
    let mut hidden = Array::of(&[rows, UNITS], |_| 0.0);
    let mut cell = hidden.clone();
    let mut outputs = Vec::new();
    for step in 0..STEPS {
        let gates = sums.sliced(1, step..step + 1).shaped(&[rows, 4 * UNITS]);
        let gates = gates.with(&hidden.times(&recurrent), |a, b| a + b);
        let gate = |i: usize| gates.sliced(1, i * UNITS..(i + 1) * UNITS);
        let taken = gate(0).with(&gate(2), |i, g| sigmoid(i) * g.tanh());
        cell = cell.with(&gate(1), |c, f| c * sigmoid(f)).with(&taken, |a, b| a + b);
        hidden = cell.with(&gate(3), |c, o| sigmoid(o) * c.tanh());
        outputs.push(hidden.shaped(&[rows, 1, UNITS]));
    }
    joined(&outputs, 1)
}
