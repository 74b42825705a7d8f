//! Convolutions and poolings along the steps.

use artifact::graph::{Conv1d, Padding, Pool1d};

use super::{Case, weight_array, weights};

pub fn cases() -> Vec<Case> {
    [convolutions(), poolings()].into_iter().flatten().collect()
}

fn largest(window: Vec<Option<f64>>) -> f64 {
    window.into_iter().flatten().fold(f64::NEG_INFINITY, f64::max)
}

fn mean(window: Vec<Option<f64>>) -> f64 {
    let inside: Vec<f64> = window.into_iter().flatten().collect();
    inside.iter().sum::<f64>() / inside.len() as f64
}

fn convolutions() -> Vec<Case> {
    vec![
        Case {
            name: "conv1d",
            build: |graph, x| {
                let kernel = graph.variable("conv1d/kernel", weights(11, &[3, 4, 5]))?;
                let bias = graph.variable("conv1d/bias", weights(12, &[5]))?;
                let form = Conv1d { stride: 1, dilation: 1, padding: Padding::Valid };
                let sums = graph.conv1d("conv1d/x", x.series, kernel, form)?;
                graph.add("conv1d/biased", sums, bias)
            },
            expected: |x| {
                let sums = x.series.convolved(&weight_array(11, &[3, 4, 5]), (5, 1, 1, 0));
                sums.with(&weight_array(12, &[5]), |a, b| a + b)
            },
        },
        Case {
            name: "conv1d_strided",
            build: |graph, x| {
                let kernel = graph.variable("conv1d_strided/kernel", weights(13, &[2, 4, 3]))?;
                let form = Conv1d { stride: 2, dilation: 1, padding: Padding::Valid };
                graph.conv1d("conv1d_strided/x", x.series, kernel, form)
            },
            expected: |x| x.series.convolved(&weight_array(13, &[2, 4, 3]), (3, 2, 1, 0)),
        },
        Case {
            name: "conv1d_same",
            build: |graph, x| {
                let kernel = graph.variable("conv1d_same/kernel", weights(14, &[4, 4, 3]))?;
                let form = Conv1d { stride: 1, dilation: 1, padding: Padding::Same };
                graph.conv1d("conv1d_same/x", x.series, kernel, form)
            },
            expected: |x| x.series.convolved(&weight_array(14, &[4, 4, 3]), (7, 1, 1, 1)),
        },
        Case {
            name: "conv1d_same_strided",
            build: |graph, x| {
                let kernel = graph.variable("conv1d_same_strided/kernel", weights(15, &[4, 4, 3]))?;
                let form = Conv1d { stride: 3, dilation: 1, padding: Padding::Same };
                graph.conv1d("conv1d_same_strided/x", x.series, kernel, form)
            },
            expected: |x| x.series.convolved(&weight_array(15, &[4, 4, 3]), (3, 3, 1, 1)),
        },
        Case {
            name: "conv1d_causal",
            build: |graph, x| {
                let kernel = graph.variable("conv1d_causal/kernel", weights(16, &[3, 4, 5]))?;
                let form = Conv1d { stride: 1, dilation: 2, padding: Padding::Causal };
                graph.conv1d("conv1d_causal/x", x.series, kernel, form)
            },
            expected: |x| x.series.convolved(&weight_array(16, &[3, 4, 5]), (7, 1, 2, 4)),
        },
        Case {
            name: "conv1d_point",
            build: |graph, x| {
                let kernel = graph.variable("conv1d_point/kernel", weights(17, &[1, 4, 6]))?;
                let form = Conv1d { stride: 1, dilation: 1, padding: Padding::Causal };
                graph.conv1d("conv1d_point/x", x.series, kernel, form)
            },
            expected: |x| x.series.convolved(&weight_array(17, &[1, 4, 6]), (7, 1, 1, 0)),
        },
        Case {
            name: "conv1d_wide",
            build: |graph, x| {
                // The kernel is wider than the series, and has as many channels on both sides.
                let kernel = graph.variable("conv1d_wide/kernel", weights(18, &[9, 4, 4]))?;
                let form = Conv1d { stride: 1, dilation: 1, padding: Padding::Same };
                graph.conv1d("conv1d_wide/x", x.series, kernel, form)
            },
            expected: |x| x.series.convolved(&weight_array(18, &[9, 4, 4]), (7, 1, 1, 4)),
        },
    ]
}

fn poolings() -> Vec<Case> {
    vec![
        Case {
            name: "max_pool1d",
            build: |graph, x| {
                let form = Pool1d { size: 2, stride: 2, padding: Padding::Valid };
                graph.max_pool1d("max_pool1d/x", x.series, form)
            },
            expected: |x| x.series.windows((3, 2, 2, 0), largest),
        },
        Case {
            name: "max_pool1d_same",
            build: |graph, x| {
                // All values are negative, so that padding with zeros would show.
                let ten = graph.scalar("max_pool1d_same/ten", 10.0)?;
                let below = graph.sub("max_pool1d_same/below", x.series, ten)?;
                let form = Pool1d { size: 4, stride: 2, padding: Padding::Same };
                graph.max_pool1d("max_pool1d_same/x", below, form)
            },
            expected: |x| x.series.map(|x| x - 10.0).windows((4, 4, 2, 1), largest),
        },
        Case {
            name: "average_pool1d",
            build: |graph, x| {
                let form = Pool1d { size: 3, stride: 1, padding: Padding::Valid };
                graph.average_pool1d("average_pool1d/x", x.series, form)
            },
            expected: |x| x.series.windows((5, 3, 1, 0), mean),
        },
        Case {
            name: "average_pool1d_same",
            build: |graph, x| {
                let form = Pool1d { size: 4, stride: 1, padding: Padding::Same };
                graph.average_pool1d("average_pool1d_same/x", x.series, form)
            },
            expected: |x| x.series.windows((7, 4, 1, 1), mean),
        },
        Case {
            name: "average_pool1d_gaps",
            build: |graph, x| {
                let form = Pool1d { size: 2, stride: 3, padding: Padding::Same };
                graph.average_pool1d("average_pool1d_gaps/x", x.series, form)
            },
            expected: |x| x.series.windows((3, 2, 3, 0), mean),
        },
    ]
}
