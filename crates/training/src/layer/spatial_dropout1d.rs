//! `spatial_dropout1d`: while a network is fitted, whole channels of a sequence are left out, in all steps of a row alike
//! (Tompson et al. 2015, "Efficient Object Localization Using Convolutional Networks"), and the others divided by
//! `1 - rate`, as Keras's `SpatialDropout1D`. A network that is asked leaves everything as it is.

use serde::{Deserialize, Serialize};

use super::dropout::{check_rate, without_channels};
use super::{Export, Layer, Pass, Shape, Value, only, sequence};
use crate::Error;

/// Channels left out at random while fitting.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpatialDropout1dConfig {
    /// The share that is left out.
    pub rate: f64,
}

impl Layer for SpatialDropout1dConfig {
    fn check(&self) -> Result<(), String> {
        check_rate("rate", self.rate)
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(sequence(inputs)?.to_vec())
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        Value::Sequence(without_channels(only(inputs).sequence(), self.rate, pass))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        _export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        Ok(inputs[0])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::layer::testing::{check, fitted, layer, passed_on, refusal};

    #[test]
    fn a_channel_is_left_out_in_all_steps_or_in_none() {
        const STEPS: usize = 5;
        const CHANNELS: usize = 100;
        let dropout = layer("spatial_dropout1d", json!({"rate": 0.25}));
        let rows = 200;
        let x = vec![3.0f32; rows * STEPS * CHANNELS];
        let kept = fitted(dropout.as_ref(), &x, &[STEPS, CHANNELS], [1, 0, 0]);
        let mut left_out = 0;
        for row in kept.chunks_exact(STEPS * CHANNELS) {
            for channel in 0..CHANNELS {
                let of_steps: Vec<f32> = (0..STEPS).map(|step| row[step * CHANNELS + channel]).collect();
                assert!(of_steps == [0.0; STEPS] || of_steps == [4.0; STEPS], "{of_steps:?}");
                left_out += usize::from(of_steps[0] == 0.0);
            }
        }
        // Five standard deviations of a binomial share of 20,000.
        let share = left_out as f64 / (rows * CHANNELS) as f64;
        assert!((share - 0.25).abs() < 0.016, "{share}");
        assert_ne!(kept, fitted(dropout.as_ref(), &x, &[STEPS, CHANNELS], [1, 1, 0]));
    }

    #[test]
    fn a_network_that_is_asked_passes_everything_on() {
        for shape in [&[4, 3][..], &[1, 5]] {
            passed_on(layer("spatial_dropout1d", json!({"rate": 0.5})), shape);
            check(layer("spatial_dropout1d", json!({"rate": 0})), &[shape], &|_, inputs, _| {
                inputs[0].clone()
            });
        }
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = refusal("spatial_dropout1d", json!({"rate": -0.5}), &[&[4, 2]]);
        assert_eq!(refused, "rate is -0.5; it must be at least 0 and below 1");
        assert!(refusal("spatial_dropout1d", json!({"rate": 0.5}), &[&[4]]).contains("takes a sequence"));
    }
}
