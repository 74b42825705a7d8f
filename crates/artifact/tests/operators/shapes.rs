//! Operators along axes, and other forms of the same elements.

use artifact::graph::Axes;

use super::array::{Array, joined};
use super::{Case, weight_array, weights};

pub fn cases() -> Vec<Case> {
    [reductions(), forms(), products()].into_iter().flatten().collect()
}

fn largest(line: &[f64]) -> f64 {
    line.iter().copied().fold(f64::NEG_INFINITY, f64::max)
}

fn mean(line: &[f64]) -> f64 {
    line.iter().sum::<f64>() / line.len() as f64
}

fn reductions() -> Vec<Case> {
    vec![
        Case {
            name: "softmax",
            build: |graph, x| graph.softmax("softmax/x", x.flat),
            expected: |x| x.flat.softmax(),
        },
        Case {
            name: "softmax_stack",
            build: |graph, x| graph.softmax("softmax_stack/x", x.stack),
            expected: |x| x.stack.softmax(),
        },
        Case {
            name: "reduce_mean",
            build: |graph, x| graph.reduce_mean("reduce_mean/x", x.series, &[1], Axes::Dropped),
            expected: |x| x.series.fold(1, mean).shaped(&[x.series.shape[0], 4]),
        },
        Case {
            name: "reduce_mean_kept",
            build: |graph, x| graph.reduce_mean("reduce_mean_kept/x", x.stack, &[3, 1], Axes::Kept),
            expected: |x| x.stack.fold(1, mean).fold(3, mean),
        },
        Case {
            name: "reduce_max",
            build: |graph, x| graph.reduce_max("reduce_max/x", x.series, &[1], Axes::Dropped),
            expected: |x| x.series.fold(1, largest).shaped(&[x.series.shape[0], 4]),
        },
        Case {
            name: "reduce_max_kept",
            build: |graph, x| graph.reduce_max("reduce_max_kept/x", x.series, &[2], Axes::Kept),
            expected: |x| x.series.fold(2, largest),
        },
        Case {
            name: "reduce_sum",
            build: |graph, x| graph.reduce_sum("reduce_sum/x", x.stack, &[1, 2, 3], Axes::Dropped),
            expected: |x| {
                let sum = |line: &[f64]| line.iter().sum();
                x.stack.fold(1, sum).fold(2, sum).fold(3, sum).shaped(&[x.stack.shape[0]])
            },
        },
        Case {
            name: "reduce_sum_kept",
            build: |graph, x| graph.reduce_sum("reduce_sum_kept/x", x.flat, &[1], Axes::Kept),
            expected: |x| x.flat.fold(1, |line| line.iter().sum()),
        },
    ]
}

fn forms() -> Vec<Case> {
    vec![
        Case {
            name: "reshape",
            build: |graph, x| {
                // A row of numbers as a window of steps, and a window as one row.
                let steps = graph.reshape("reshape/steps", x.flat, &[3, 4])?;
                let turned = graph.transpose("reshape/turned", steps, &[0, 2, 1])?;
                graph.reshape("reshape/x", turned, &[12])
            },
            expected: |x| {
                let rows = x.flat.shape[0];
                x.flat.shaped(&[rows, 3, 4]).transposed(&[0, 2, 1]).shaped(&[rows, 12])
            },
        },
        Case {
            name: "transpose",
            build: |graph, x| graph.transpose("transpose/x", x.stack, &[0, 3, 1, 2]),
            expected: |x| x.stack.transposed(&[0, 3, 1, 2]),
        },
        Case {
            name: "slice",
            build: |graph, x| {
                let steps = graph.slice("slice/steps", x.series, 1, 2..6)?;
                graph.slice("slice/x", steps, 2, 3..4)
            },
            expected: |x| x.series.sliced(1, 2..6).sliced(2, 3..4),
        },
        Case {
            name: "split",
            build: |graph, x| {
                let parts = graph.split("split/parts", x.flat, 1, 3)?;
                let sum = graph.sub("split/sub", parts[0], parts[1])?;
                graph.mul("split/x", sum, parts[2])
            },
            expected: |x| {
                let part = |i: usize| x.flat.sliced(1, 4 * i..4 * i + 4);
                part(0).with(&part(1), |a, b| a - b).with(&part(2), |a, b| a * b)
            },
        },
        Case {
            name: "concat",
            build: |graph, x| {
                let step = graph.slice("concat/step", x.series, 1, 0..1)?;
                graph.concat("concat/x", &[x.series, step, x.series], 1)
            },
            expected: |x| joined(&[x.series.clone(), x.series.sliced(1, 0..1), x.series.clone()], 1),
        },
        Case {
            name: "concat_one",
            build: |graph, x| graph.concat("concat_one/x", &[x.series], 2),
            expected: |x| x.series.clone(),
        },
        Case {
            name: "pad",
            build: |graph, x| {
                let before = graph.pad("pad/before", x.series, 1, [2, 0])?;
                graph.pad("pad/x", before, 2, [1, 3])
            },
            expected: |x| {
                Array::of(&[x.series.shape[0], 9, 8], |place| match place {
                    &[row, step @ 2..9, channel @ 1..5] => x.series.at(&[row, step - 2, channel - 1]),
                    _ => 0.0,
                })
            },
        },
    ]
}

fn products() -> Vec<Case> {
    vec![
        Case {
            name: "matmul",
            build: |graph, x| {
                let b = graph.variable("matmul/b", weights(6, &[12, 5]))?;
                graph.matmul("matmul/x", x.flat, b)
            },
            expected: |x| x.flat.times(&weight_array(6, &[12, 5])),
        },
        Case {
            name: "matmul_kernel",
            build: |graph, x| {
                let b = graph.variable("matmul_kernel/b", weights(7, &[4, 6]))?;
                graph.matmul("matmul_kernel/x", x.series, b)
            },
            expected: |x| x.series.times(&weight_array(7, &[4, 6])),
        },
        Case {
            name: "matmul_stack_kernel",
            build: |graph, x| {
                let b = graph.variable("matmul_stack_kernel/b", weights(8, &[4, 6]))?;
                graph.matmul("matmul_stack_kernel/x", x.stack, b)
            },
            expected: |x| x.stack.times(&weight_array(8, &[4, 6])),
        },
        Case {
            name: "matmul_batch",
            build: |graph, x| {
                let other = graph.transpose("matmul_batch/turned", x.series, &[0, 2, 1])?;
                graph.matmul("matmul_batch/x", x.series, other)
            },
            expected: |x| x.series.times(&x.series.transposed(&[0, 2, 1])),
        },
        Case {
            name: "matmul_heads",
            build: |graph, x| {
                let other = graph.transpose("matmul_heads/turned", x.stack, &[0, 1, 3, 2])?;
                let third = graph.scalar("matmul_heads/third", 0.3)?;
                let scores = graph.matmul("matmul_heads/scores", x.stack, other)?;
                let scaled = graph.mul("matmul_heads/scaled", scores, third)?;
                graph.matmul("matmul_heads/x", scaled, x.stack)
            },
            expected: |x| {
                let scores = x.stack.times(&x.stack.transposed(&[0, 1, 3, 2]));
                scores.map(|x| x * f64::from(0.3f32)).times(&x.stack)
            },
        },
        Case {
            name: "matmul_from_left",
            build: |graph, x| {
                let a = graph.variable("matmul_from_left/a", weights(9, &[5, 7]))?;
                graph.matmul("matmul_from_left/x", a, x.series)
            },
            expected: |x| {
                // A product from the left is the turned product of what is turned.
                let turned = x.series.transposed(&[0, 2, 1]);
                turned.times(&weight_array(9, &[5, 7]).transposed(&[1, 0])).transposed(&[0, 2, 1])
            },
        },
    ]
}
