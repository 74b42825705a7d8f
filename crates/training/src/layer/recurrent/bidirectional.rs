//! `bidirectional`: a recurrent layer from the first step on and another from the last one on (Schuster and Paliwal
//! 1997, "Bidirectional Recurrent Neural Networks"), their results merged.

use burn::tensor::Tensor;
use serde::{Deserialize, Serialize};

use crate::Error;
use crate::layer::{Export, Layer, LayerKind, ParameterSpec, Pass, Shape, Value, only};

/// A recurrent layer in both directions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BidirectionalConfig {
    /// `lstm` or `gru`: `{ type = "lstm", units = 64 }`.
    pub layer: Box<LayerKind>,
    /// How the results become one; end to end by default.
    #[serde(default)]
    pub merge_mode: MergeMode,
}

/// How the results of both directions become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MergeMode {
    /// End to end.
    #[default]
    Concat,
    /// Their sum.
    Sum,
    /// Their mean.
    Ave,
    /// Their product.
    Mul,
}

/// A direction: its name and its layer.
type Direction = (String, Box<dyn Layer>);

impl BidirectionalConfig {
    /// Forward and backward, if there are such.
    fn directions(&self) -> Result<[Direction; 2], String> {
        let mut backward = (*self.layer).clone();
        match &mut backward {
            LayerKind::Lstm(config) => config.go_backwards = !config.go_backwards,
            LayerKind::Gru(config) => config.go_backwards = !config.go_backwards,
            other => return Err(format!("layer is \"{}\"; it must be lstm or gru", other.type_name())),
        }
        let name = self.layer.type_name();
        Ok([(format!("forward_{name}"), self.layer.layer()), (format!("backward_{name}"), backward.layer())])
    }

    fn checked(&self) -> [Direction; 2] {
        self.directions().expect("the configuration was checked")
    }
}

impl Layer for BidirectionalConfig {
    fn check(&self) -> Result<(), String> {
        let [(_, forward), _] = self.directions()?;
        forward.check().map_err(|reason| format!("layer.{reason}"))
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let [(_, forward), _] = self.directions()?;
        let mut shape = forward.output(inputs)?;
        if let (MergeMode::Concat, Some(last)) = (self.merge_mode, shape.last_mut()) {
            *last *= 2;
        }
        Ok(shape)
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let mut all = Vec::new();
        for (name, layer) in self.checked() {
            for mut spec in layer.parameters(inputs) {
                spec.name = format!("{name}/{}", spec.name);
                all.push(spec);
            }
        }
        all
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = only(inputs).sequence();
        let [_, steps, channels] = x.dims();
        let [(_, forward), (_, backward)] = self.checked();
        let each = forward.parameters(&[&vec![steps, channels]]).len();
        let one = pass.within(0, 0..each, |pass| forward.forward(vec![Value::Sequence(x.clone())], pass));
        let other = pass.within(1, each..2 * each, |pass| backward.forward(vec![Value::Sequence(x)], pass));
        match (one, other) {
            (Value::Rows(one), Value::Rows(other)) => Value::Rows(self.merge(one, other)),
            // The other direction gives its last step first.
            (one, other) => Value::Sequence(self.merge(one.sequence(), other.sequence().flip([1]))),
        }
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let [steps, channels] = export.sequence(inputs[0]);
        let [(one_name, forward), (other_name, backward)] = self.checked();
        let each = forward.parameters(&[&vec![steps, channels]]).len();
        let one = export.within(&one_name, 0..each, |export| forward.export(inputs, export))?;
        let mut other =
            export.within(&other_name, each..2 * each, |export| backward.export(inputs, export))?;
        let axis = export.graph.shape(one).map_or(1, |shape| shape.len() - 1);
        if axis == 2 {
            let mut turned = Vec::with_capacity(steps);
            for at in (0..steps).rev() {
                let name = export.name(&format!("turned/step_{at}"));
                turned.push(export.graph.slice(&name, other, 1, at..at + 1)?);
            }
            let name = export.name("turned");
            other = export.graph.concat(&name, &turned, 1)?;
        }
        let name = export.name("merged");
        Ok(match self.merge_mode {
            MergeMode::Concat => export.graph.concat(&name, &[one, other], axis)?,
            MergeMode::Sum => export.graph.add(&name, one, other)?,
            MergeMode::Mul => export.graph.mul(&name, one, other)?,
            MergeMode::Ave => {
                let sum = export.name("sum");
                let sum = export.graph.add(&sum, one, other)?;
                let half = export.name("half");
                let half = export.graph.scalar(&half, 0.5)?;
                export.graph.mul(&name, sum, half)?
            }
        })
    }

    fn scratch(&self, inputs: &[&Shape], output: &Shape) -> usize {
        let [(_, forward), _] = self.checked();
        2 * forward.scratch(inputs, output) + output.iter().product::<usize>()
    }
}

impl BidirectionalConfig {
    fn merge<const D: usize>(&self, one: Tensor<D>, other: Tensor<D>) -> Tensor<D> {
        match self.merge_mode {
            MergeMode::Concat => Tensor::cat(vec![one, other], D - 1),
            MergeMode::Sum => one + other,
            MergeMode::Ave => (one + other) * 0.5,
            MergeMode::Mul => one * other,
        }
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::TensorData;
    use serde_json::json;

    use super::*;
    use crate::layer::testing::{ROWS, check, layer, product, refusal, row, sigmoid};
    use crate::layer::{Fitting, Leaf};
    use crate::trained::elements;

    const STEPS: usize = 3;
    const CHANNELS: usize = 2;
    const UNITS: usize = 2;

    /// The states of an LSTM after each step, of one direction.
    fn lstm(weights: &[Vec<f64>], x: &[f64]) -> Vec<Vec<f64>> {
        let (mut h, mut c) = (vec![0.0; UNITS], vec![0.0; UNITS]);
        let mut states = Vec::new();
        for x in x.chunks(CHANNELS) {
            let of_input = product(x, &weights[0], CHANNELS, 4 * UNITS);
            let of_state = product(&h, &weights[1], UNITS, 4 * UNITS);
            for j in 0..UNITS {
                let gate = |at: usize| {
                    let at = at * UNITS + j;
                    of_input[at] + of_state[at] + weights[2][at]
                };
                c[j] = sigmoid(gate(1)) * c[j] + sigmoid(gate(0)) * gate(2).tanh();
                h[j] = sigmoid(gate(3)) * c[j].tanh();
            }
            states.push(h.clone());
        }
        states
    }

    fn merged(mode: &str, one: &[f64], other: &[f64]) -> Vec<f64> {
        let pairs = one.iter().zip(other);
        match mode {
            "sum" => pairs.map(|(a, b)| a + b).collect(),
            "ave" => pairs.map(|(a, b)| (a + b) / 2.0).collect(),
            "mul" => pairs.map(|(a, b)| a * b).collect(),
            _ => [one, other].concat(),
        }
    }

    #[test]
    fn it_is_both_directions_merged() {
        for (mode, sequences) in
            [("concat", true), ("concat", false), ("sum", true), ("ave", true), ("ave", false), ("mul", true)]
        {
            let keys = json!({
                "layer": {"type": "lstm", "units": UNITS, "return_sequences": sequences}, "merge_mode": mode,
            });
            let reference = |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
                let mut result = Vec::new();
                for at in 0..ROWS {
                    let x = row(&inputs[0], at, STEPS * CHANNELS);
                    let turned: Vec<f64> = x.chunks(CHANNELS).rev().flatten().copied().collect();
                    let (one, other) = (lstm(&weights[..3], x), lstm(&weights[3..], &turned));
                    if sequences {
                        for step in 0..STEPS {
                            result.extend(merged(mode, &one[step], &other[STEPS - 1 - step]));
                        }
                    } else {
                        result.extend(merged(mode, &one[STEPS - 1], &other[STEPS - 1]));
                    }
                }
                result
            };
            check(layer("bidirectional", keys), &[&[STEPS, CHANNELS]], &reference);
        }
    }

    #[test]
    fn directions_leave_out_channels_of_their_own() {
        let keys = json!({"layer": {"type": "gru", "units": 1, "dropout": 0.5, "return_sequences": true}});
        let both = layer("bidirectional", keys);
        let device = crate::device::open_for_tests();
        let shape = vec![1, 64];
        let leaves: Vec<Leaf> = both
            .parameters(&[&shape])
            .iter()
            .map(|spec| Leaf::new(&vec![0.01; spec.len()], &spec.shape, false, &device))
            .collect();
        let mut pass = Pass::new(&device, Some(Fitting { seed: 1, step: 0 }));
        pass.enter(0, 0, &leaves);
        let ones = TensorData::new(vec![1.0f32; 20 * 64], [20, 1, 64]);
        let output = both.forward(vec![Value::Sequence(Tensor::from_data(ones, &device))], &mut pass);
        let output = elements(output.flat());
        assert!(output.chunks(2).any(|pair| pair[0] != pair[1]), "{output:?}");
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let refused = |keys| refusal("bidirectional", keys, &[&[3, 2]]);
        assert_eq!(
            refused(json!({"layer": {"type": "dense", "units": 2}})),
            "layer is \"dense\"; it must be lstm or gru"
        );
        assert_eq!(
            refused(json!({"layer": {"type": "gru", "units": 0}})),
            "layer.units is 0; it must be between 1 and 65536"
        );
        assert!(
            refused(json!({"layer": {"type": "gru", "units": 2}, "merge_mode": "max"})).contains("concat")
        );
    }
}
