//! `max_pooling1d`, `average_pooling1d`, `global_max_pooling1d` and `global_average_pooling1d`: several steps as one.
//! Padded places do not count, as in Keras.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::window::Window;
use super::{Export, Layer, Padding, Pass, Shape, UNITS_MAX, Value, count, only, sequence};
use crate::Error;

/// A window over steps as one step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PoolingConfig {
    /// How many steps become one.
    pub pool_size: usize,
    /// Steps from one result to the next; `pool_size` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub strides: Option<usize>,
    /// `valid` by default.
    pub padding: Padding,
}

impl Default for PoolingConfig {
    fn default() -> Self {
        Self { pool_size: 2, strides: None, padding: Padding::Valid }
    }
}

/// All steps as one row.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GlobalPoolingConfig {}

/// What becomes of several steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Of {
    Max,
    Average,
}

/// Windows over steps pooled.
#[derive(Debug, Clone)]
pub(super) struct Pooling {
    pub(super) of: Of,
    pub(super) config: PoolingConfig,
}

/// All steps pooled.
#[derive(Debug, Clone)]
pub(super) struct GlobalPooling {
    pub(super) of: Of,
}

impl Pooling {
    fn window(&self) -> Window {
        let PoolingConfig { pool_size: size, strides, padding } = self.config;
        Window { size, dilation: 1, strides: strides.unwrap_or(size), padding }
    }
}

impl Layer for Pooling {
    fn check(&self) -> Result<(), String> {
        count("pool_size", self.config.pool_size, UNITS_MAX)?;
        count("strides", self.window().strides, UNITS_MAX)?;
        match self.config.padding {
            Padding::Causal => Err("padding is \"causal\"; it must be \"valid\" or \"same\"".to_owned()),
            _ => Ok(()),
        }
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let [steps, channels] = sequence(inputs)?;
        Ok(vec![self.window().positions(steps)?, channels])
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = only(inputs).sequence();
        let [_, steps, _] = x.dims();
        let window = self.window();
        Value::Sequence(match self.of {
            Of::Max => {
                let places = window.places(x, f32::NEG_INFINITY);
                places.into_iter().reduce(Tensor::max_pair).expect("a window has a place")
            }
            Of::Average => {
                let places = window.places(x, 0.0);
                let sum = places.into_iter().reduce(|a, b| a + b).expect("a window has a place");
                let [_, positions, _] = sum.dims();
                let [before, _] = window.pads(steps);
                let inside = |position: usize| {
                    let first = position * window.strides;
                    let places = first.max(before)..(first + window.size).min(before + steps);
                    1.0 / places.len() as f32
                };
                let shares: Vec<f32> = (0..positions).map(inside).collect();
                sum * Tensor::from_data(TensorData::new(shares, [1, positions, 1]), pass.device())
            }
        })
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let window = self.window();
        let form = artifact::graph::Pool1d {
            size: window.size,
            stride: window.strides,
            padding: window.padding.of_graph(),
        };
        Ok(match self.of {
            Of::Max => {
                let name = export.name("MaxPool");
                export.graph.max_pool1d(&name, inputs[0], form)?
            }
            Of::Average => {
                let name = export.name("AvgPool");
                export.graph.average_pool1d(&name, inputs[0], form)?
            }
        })
    }

    fn scratch(&self, inputs: &[&Shape], output: &Shape) -> usize {
        inputs[0].iter().product::<usize>() + 3 * self.config.pool_size * output.iter().product::<usize>()
    }
}

impl Layer for GlobalPooling {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let [_, channels] = sequence(inputs)?;
        Ok(vec![channels])
    }

    fn forward(&self, inputs: Vec<Value>, _pass: &mut Pass<'_>) -> Value {
        let x = only(inputs).sequence();
        let pooled = match self.of {
            Of::Max => x.max_dim(1),
            Of::Average => x.mean_dim(1),
        };
        Value::Rows(pooled.squeeze_dim(1))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        use artifact::graph::Axes;
        Ok(match self.of {
            Of::Max => {
                let name = export.name("Max");
                export.graph.reduce_max(&name, inputs[0], &[1], Axes::Dropped)?
            }
            Of::Average => {
                let name = export.name("Mean");
                export.graph.reduce_mean(&name, inputs[0], &[1], Axes::Dropped)?
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ROWS, check, layer, refusal};

    const STEPS: usize = 7;
    const CHANNELS: usize = 2;

    /// The values of channel `c` of row `at` in each window, those outside the sequence left out.
    fn windows(x: &[f64], at: usize, c: usize, [before, size, strides, count]: [usize; 4]) -> Vec<Vec<f64>> {
        let value = |place: usize| {
            let step = place.checked_sub(before).filter(|step| *step < STEPS)?;
            Some(x[(at * STEPS + step) * CHANNELS + c])
        };
        (0..count).map(|position| (0..size).filter_map(|k| value(position * strides + k)).collect()).collect()
    }

    fn mean(values: &[f64]) -> f64 {
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn largest(values: &[f64]) -> f64 {
        values.iter().copied().fold(f64::NEG_INFINITY, f64::max)
    }

    #[test]
    fn windows_give_their_largest_or_their_mean() {
        for (keys, form) in [
            (json!({}), [0, 2, 2, 3]),
            (json!({"pool_size": 3, "strides": 1}), [0, 3, 1, 5]),
            (json!({"padding": "same"}), [0, 2, 2, 4]),
            (json!({"pool_size": 4, "strides": 1, "padding": "same"}), [1, 4, 1, 7]),
            (json!({"pool_size": 4, "strides": 3, "padding": "same"}), [1, 4, 3, 3]),
        ] {
            for (kind, pool) in [
                ("max_pooling1d", largest as fn(&[f64]) -> f64),
                ("average_pooling1d", mean as fn(&[f64]) -> f64),
            ] {
                let reference = |_: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
                    let mut result = Vec::new();
                    for at in 0..ROWS {
                        let channels: Vec<Vec<Vec<f64>>> =
                            (0..CHANNELS).map(|c| windows(&inputs[0], at, c, form)).collect();
                        for position in 0..form[3] {
                            result.extend(channels.iter().map(|windows| pool(&windows[position])));
                        }
                    }
                    result
                };
                check(layer(kind, keys.clone()), &[&[STEPS, CHANNELS]], &reference);
            }
        }
    }

    #[test]
    fn global_pooling_takes_all_steps() {
        for (kind, pool) in [
            ("global_max_pooling1d", largest as fn(&[f64]) -> f64),
            ("global_average_pooling1d", mean as fn(&[f64]) -> f64),
        ] {
            let reference = |_: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
                let cells = (0..ROWS).flat_map(|at| (0..CHANNELS).map(move |c| (at, c)));
                cells.map(|(at, c)| pool(&windows(&inputs[0], at, c, [0, STEPS, 1, 1])[0])).collect()
            };
            check(layer(kind, json!({})), &[&[STEPS, CHANNELS]], &reference);
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys| refusal("max_pooling1d", keys, &[&[7, 2]]);
        assert_eq!(
            refused(json!({"padding": "causal"})),
            "padding is \"causal\"; it must be \"valid\" or \"same\""
        );
        assert!(refused(json!({"pool_size": 0})).starts_with("pool_size is 0"));
        assert!(refused(json!({"strides": 0})).starts_with("strides is 0"));
        assert!(refused(json!({"pool_size": 8})).starts_with("its window spans 8 steps, its input has 7"));
        assert!(refusal("global_max_pooling1d", json!({}), &[&[7]]).starts_with("it takes a sequence"));
    }
}
