//! `positional_encoding`: where a step is, added to it.

use burn::tensor::{Tensor, TensorData};
use serde::{Deserialize, Serialize};

use super::{Export, Initializer, Layer, ParameterSpec, Pass, Shape, Value, only, sequence};
use crate::Error;

/// Where a step is, added to it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PositionalEncodingConfig {
    /// What is added; `sinusoidal` by default.
    pub encoding: PositionalEncoding,
}

/// What is added to a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PositionalEncoding {
    /// `sin(t / 10000^(2i / channels))` to channel `2i` of step `t`, the cosine to channel `2i + 1` (Vaswani et al.
    /// 2017, "Attention Is All You Need", section 3.5).
    #[default]
    Sinusoidal,
    /// A parameter `[steps, channels]`.
    Learned,
}

/// `[steps, channels]` of the paper's formula.
fn sinusoids(steps: usize, channels: usize) -> Vec<f32> {
    let cell = |at: usize| {
        let (step, channel) = ((at / channels) as f64, at % channels);
        let pair = (channel / 2 * 2) as f64;
        let angle = step / 10_000f64.powf(pair / channels as f64);
        (if channel % 2 == 0 { angle.sin() } else { angle.cos() }) as f32
    };
    (0..steps * channels).map(cell).collect()
}

impl Layer for PositionalEncodingConfig {
    fn check(&self) -> Result<(), String> {
        Ok(())
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        Ok(sequence(inputs)?.to_vec())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        match (self.encoding, inputs[0].as_slice()) {
            (PositionalEncoding::Learned, &[steps, channels]) => {
                let glorot = Initializer::GlorotUniform { fan_in: steps, fan_out: channels };
                vec![ParameterSpec::new("embeddings", vec![steps, channels], glorot)]
            }
            _ => Vec::new(),
        }
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let x = only(inputs).sequence();
        let [_, steps, channels] = x.dims();
        let added = match self.encoding {
            PositionalEncoding::Sinusoidal => {
                let data = TensorData::new(sinusoids(steps, channels), [1, steps, channels]);
                Tensor::from_data(data, pass.device())
            }
            PositionalEncoding::Learned => pass.two(0).unsqueeze(),
        };
        Value::Sequence(x + added)
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let [steps, channels] = export.sequence(inputs[0]);
        let added = match self.encoding {
            PositionalEncoding::Sinusoidal => {
                export.constant("encoding", vec![steps, channels], sinusoids(steps, channels))?
            }
            PositionalEncoding::Learned => export.variable(0)?,
        };
        let name = export.name("Add");
        Ok(export.graph.add(&name, inputs[0], added)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{check, layer, refusal};

    #[test]
    fn it_adds_the_sinusoids_of_the_paper_or_what_was_learned() {
        // Each channel pair of step t turns t times, 100 times slower from pair to pair where there are 4 channels.
        let table: Vec<f64> = (0..3)
            .flat_map(|t| {
                let t = f64::from(t);
                [t.sin(), t.cos(), (t / 100.0).sin(), (t / 100.0).cos()]
            })
            .collect();
        let sinusoidal = |_: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
            inputs[0].iter().enumerate().map(|(at, x)| x + table[at % 12]).collect()
        };
        check(layer("positional_encoding", json!({})), &[&[3, 4]], &sinusoidal);
        let learned = |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| {
            inputs[0].iter().enumerate().map(|(at, x)| x + weights[0][at % 15]).collect()
        };
        check(layer("positional_encoding", json!({"encoding": "learned"})), &[&[3, 5]], &learned);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let unknown = refusal("positional_encoding", json!({"encoding": "rotary"}), &[&[3, 4]]);
        assert!(unknown.contains("`sinusoidal` or `learned`"), "{unknown}");
        assert!(refusal("positional_encoding", json!({}), &[&[4]]).starts_with("it takes a sequence"));
    }
}
