//! `multi_head_attention`: what each step of a sequence takes from the steps of another, or of itself (Vaswani et
//! al. 2017, "Attention Is All You Need", section 3.2): `softmax(Q K^T / sqrt(key_dim)) V` for each head, the heads
//! put together by a last product. Kernels have Keras's names and axes.

use burn::tensor::module::linear;
use burn::tensor::{Tensor, TensorData, activation};
use serde::{Deserialize, Serialize};

use super::dropout::{check_rate, masked};
use super::{Export, Initializer, Layer, ParameterSpec, Pass, Shape, UNITS_MAX, Value, as_sequence, count};
use crate::Error;

/// Added to the score of a step that must not be seen, as a finite number whose exponential is 0.
const HIDDEN: f32 = -1e9;

/// What each step takes from others.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MultiHeadAttentionConfig {
    /// How many ways of looking there are.
    pub num_heads: usize,
    /// Numbers of a query and of a key, for each head.
    pub key_dim: usize,
    /// Numbers of a value, for each head; `key_dim` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value_dim: Option<usize>,
    /// The share of the attention that is left out while fitting.
    #[serde(default)]
    pub dropout: f64,
    /// Whether numbers are added to each product.
    #[serde(default = "yes")]
    pub use_bias: bool,
    /// Whether a step sees only itself and those before it.
    #[serde(default)]
    pub use_causal_mask: bool,
}

fn yes() -> bool {
    true
}

/// Its products, in the order of their parameters.
const PARTS: [&str; 4] = ["query", "key", "value", "attention_output"];

impl MultiHeadAttentionConfig {
    /// Without dropout and mask.
    pub fn new(num_heads: usize, key_dim: usize) -> Self {
        Self { num_heads, key_dim, value_dim: None, dropout: 0.0, use_bias: true, use_causal_mask: false }
    }

    fn value_dim(&self) -> usize {
        self.value_dim.unwrap_or(self.key_dim)
    }

    /// Where the kernel of product `part` is; its bias follows.
    fn place(&self, part: usize) -> usize {
        if self.use_bias { 2 * part } else { part }
    }

    /// `[batch, steps, channels]` as `[batch, heads, steps, size]`.
    fn heads(&self, x: Tensor<3>, part: usize, pass: &Pass<'_>) -> Tensor<4> {
        let kernel = pass.three(self.place(part));
        let [channels, heads, size] = kernel.dims();
        let bias = self.use_bias.then(|| pass.two(self.place(part) + 1).reshape([heads * size]));
        let [batch, steps, _] = x.dims();
        let product = linear(x, kernel.reshape([channels, heads * size]), bias);
        product.reshape([batch, steps, heads, size]).swap_dims(1, 2)
    }

    /// `0` where query step `row` may see key step `column`, [`HIDDEN`] where it may not.
    fn mask(queries: usize, keys: usize) -> Vec<f32> {
        let cell = |at: usize| if at % keys > at / keys { HIDDEN } else { 0.0 };
        (0..queries * keys).map(cell).collect()
    }

    /// [`MultiHeadAttentionConfig::heads`] as nodes.
    fn export_heads(
        &self,
        x: artifact::graph::Value,
        part: usize,
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let [steps, _] = export.sequence(x);
        let shape = &export.weight(self.place(part)).shape;
        let (heads, size) = (shape[1], shape[2]);
        let product = self.export_product(x, part, export)?;
        let name = export.name(&format!("{}/split", PARTS[part]));
        let split = export.graph.reshape(&name, product, &[steps, heads, size])?;
        let name = export.name(&format!("{}/heads", PARTS[part]));
        Ok(export.graph.transpose(&name, split, &[0, 2, 1, 3])?)
    }

    fn export_product(
        &self,
        x: artifact::graph::Value,
        part: usize,
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let name = PARTS[part];
        let is_output = part + 1 == PARTS.len();
        let kernel = export.joined(self.place(part), usize::from(!is_output), &format!("{name}/matrix"))?;
        let node = export.name(&format!("{name}/MatMul"));
        let product = export.graph.matmul(&node, x, kernel)?;
        if !self.use_bias {
            return Ok(product);
        }
        let bias = self.place(part) + 1;
        let bias = if is_output {
            export.variable(bias)?
        } else {
            export.joined(bias, 0, &format!("{name}/row"))?
        };
        let node = export.name(&format!("{name}/BiasAdd"));
        Ok(export.graph.add(&node, product, bias)?)
    }
}

impl Layer for MultiHeadAttentionConfig {
    fn check(&self) -> Result<(), String> {
        count("num_heads", self.num_heads, UNITS_MAX)?;
        count("key_dim", self.key_dim, UNITS_MAX)?;
        count("value_dim", self.value_dim(), UNITS_MAX)?;
        check_rate("dropout", self.dropout)
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        if !matches!(inputs.len(), 1 | 2) {
            return Err(format!(
                "it takes one input (queries and values), or two (queries, then values), got {}",
                inputs.len()
            ));
        }
        for input in inputs {
            as_sequence(input)?;
        }
        Ok(inputs[0].clone())
    }

    fn parameters(&self, inputs: &[&Shape]) -> Vec<ParameterSpec> {
        let queries = inputs[0].last().copied().unwrap_or_default();
        let values = inputs[inputs.len() - 1].last().copied().unwrap_or_default();
        let (heads, key, value) = (self.num_heads, self.key_dim, self.value_dim());
        let kernels = [
            ([queries, heads, key], vec![heads, key]),
            ([values, heads, key], vec![heads, key]),
            ([values, heads, value], vec![heads, value]),
            ([heads, value, queries], vec![queries]),
        ];
        let mut parameters = Vec::with_capacity(8);
        for (part, (shape, bias)) in PARTS.iter().zip(kernels) {
            // Keras takes the first of three axes for the places of a window, here as well.
            let [window, fan_in, fan_out] = shape;
            let glorot = Initializer::GlorotUniform { fan_in: window * fan_in, fan_out: window * fan_out };
            parameters.push(ParameterSpec::new(&format!("{part}/kernel"), shape.to_vec(), glorot));
            if self.use_bias {
                parameters.push(ParameterSpec::new(
                    &format!("{part}/bias"),
                    bias,
                    Initializer::Constant(0.0),
                ));
            }
        }
        parameters
    }

    fn forward(&self, inputs: Vec<Value>, pass: &mut Pass<'_>) -> Value {
        let mut inputs = inputs.into_iter().map(Value::sequence);
        let queries = inputs.next().expect("the network was checked to give this layer an input");
        let values = inputs.next().unwrap_or_else(|| queries.clone());
        let query = self.heads(queries, 0, pass) * (1.0 / (self.key_dim as f64).sqrt());
        let key = self.heads(values.clone(), 1, pass);
        let value = self.heads(values, 2, pass);
        let mut scores = query.matmul(key.swap_dims(2, 3));
        let [_, _, rows, columns] = scores.dims();
        if self.use_causal_mask {
            let mask = TensorData::new(Self::mask(rows, columns), [1, 1, rows, columns]);
            scores = scores + Tensor::from_data(mask, pass.device());
        }
        let shares = masked(activation::softmax(scores, 3), self.dropout, pass);
        let seen = shares.matmul(value).swap_dims(1, 2);
        let [batch, steps, heads, size] = seen.dims();
        let kernel = pass.three(self.place(3));
        let [_, _, channels] = kernel.dims();
        let bias = self.use_bias.then(|| pass.one(self.place(3) + 1));
        let together = seen.reshape([batch, steps, heads * size]);
        Value::Sequence(linear(together, kernel.reshape([heads * size, channels]), bias))
    }

    fn export(
        &self,
        inputs: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        let (queries, values) = (inputs[0], inputs[inputs.len() - 1]);
        let [rows, _] = export.sequence(queries);
        let [columns, _] = export.sequence(values);
        let query = self.export_heads(queries, 0, export)?;
        let key = self.export_heads(values, 1, export)?;
        let value = self.export_heads(values, 2, export)?;
        let name = export.name("scale");
        let scale = export.graph.scalar(&name, (1.0 / (self.key_dim as f64).sqrt()) as f32)?;
        let name = export.name("query/scaled");
        let query = export.graph.mul(&name, query, scale)?;
        let name = export.name("key/Transpose");
        let key = export.graph.transpose(&name, key, &[0, 1, 3, 2])?;
        let name = export.name("scores/MatMul");
        let mut scores = export.graph.matmul(&name, query, key)?;
        if self.use_causal_mask {
            let mask = export.constant("mask", vec![1, 1, rows, columns], Self::mask(rows, columns))?;
            let name = export.name("scores/masked");
            scores = export.graph.add(&name, scores, mask)?;
        }
        let name = export.name("scores/Softmax");
        let shares = export.graph.softmax(&name, scores)?;
        let name = export.name("seen/MatMul");
        let seen = export.graph.matmul(&name, shares, value)?;
        let name = export.name("seen/Transpose");
        let seen = export.graph.transpose(&name, seen, &[0, 2, 1, 3])?;
        let width = self.num_heads * self.value_dim();
        let name = export.name("seen/Reshape");
        let together = export.graph.reshape(&name, seen, &[rows, width])?;
        self.export_product(together, 3, export)
    }

    fn scratch(&self, inputs: &[&Shape], output: &Shape) -> usize {
        let queries = inputs[0].first().copied().unwrap_or_default();
        let keys = inputs[inputs.len() - 1].first().copied().unwrap_or_default();
        let (key, value) = (self.num_heads * self.key_dim, self.num_heads * self.value_dim());
        // Each product twice (heads are put side by side anew), scores before and after the softmax and dropout.
        let products = 2 * (queries * (key + value) + keys * (key + value));
        products + 4 * self.num_heads * queries * keys + output.iter().product::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{ROWS, check, layer, product, refusal, row};
    use super::*;

    const HEADS: usize = 2;
    const KEY: usize = 3;

    struct Form {
        queries: [usize; 2],
        values: [usize; 2],
        value_dim: usize,
        bias: bool,
        causal: bool,
    }

    /// What the formula gives for each row of the batch.
    fn reference(weights: &[Vec<f64>], inputs: &[Vec<f64>], form: &Form) -> Vec<f64> {
        let Form { queries: [rows, channels], values: [columns, value_channels], value_dim, .. } = *form;
        let part = |x: &[f64], part: usize, inner: usize, width: usize| {
            let (kernel, bias) = if form.bias {
                (&weights[2 * part], Some(&weights[2 * part + 1]))
            } else {
                (&weights[part], None)
            };
            let mut result = product(x, kernel, inner, width);
            for (at, cell) in result.iter_mut().enumerate() {
                *cell += bias.map_or(0.0, |bias| bias[at % width]);
            }
            result
        };
        let mut result = Vec::new();
        for at in 0..ROWS {
            let x = row(&inputs[0], at, rows * channels);
            let y = row(inputs.last().unwrap(), at, columns * value_channels);
            let query = part(x, 0, channels, HEADS * KEY);
            let key = part(y, 1, value_channels, HEADS * KEY);
            let value = part(y, 2, value_channels, HEADS * value_dim);
            let mut together = vec![0.0; rows * HEADS * value_dim];
            for head in 0..HEADS {
                for t in 0..rows {
                    let score = |s: usize| -> f64 {
                        let cells = (0..KEY).map(|k| {
                            query[t * HEADS * KEY + head * KEY + k] * key[s * HEADS * KEY + head * KEY + k]
                        });
                        cells.sum::<f64>() / (KEY as f64).sqrt()
                    };
                    let seen: Vec<usize> = (0..columns).filter(|s| !form.causal || *s <= t).collect();
                    let exponentials: Vec<f64> = seen.iter().map(|s| score(*s).exp()).collect();
                    let total: f64 = exponentials.iter().sum();
                    for v in 0..value_dim {
                        let place = head * value_dim + v;
                        let cells = seen.iter().zip(&exponentials);
                        together[t * HEADS * value_dim + place] =
                            cells.map(|(s, e)| e / total * value[s * HEADS * value_dim + place]).sum();
                    }
                }
            }
            result.extend(part(&together, 3, HEADS * value_dim, channels));
        }
        result
    }

    #[test]
    fn it_is_the_formula() {
        for (values, value_dim, bias, causal) in [
            (None, KEY, true, false),
            (None, 2, true, true),
            (None, KEY, false, true),
            (Some([3, 2]), KEY, true, false),
            (Some([5, 3]), 1, true, true),
        ] {
            let keys = json!({
                "num_heads": HEADS, "key_dim": KEY, "value_dim": value_dim, "use_bias": bias,
                "use_causal_mask": causal,
            });
            let queries = [4, 5];
            let form = Form { queries, values: values.unwrap_or(queries), value_dim, bias, causal };
            let by_loops =
                |weights: &[Vec<f64>], inputs: &[Vec<f64>], _: bool| reference(weights, inputs, &form);
            let mut shapes: Vec<&[usize]> = vec![&queries];
            shapes.extend(values.as_ref().map(|shape| &shape[..]));
            check(layer("multi_head_attention", keys), &shapes, &by_loops);
        }
    }

    #[test]
    fn parameters_are_those_of_keras() {
        let config = MultiHeadAttentionConfig { value_dim: Some(4), ..MultiHeadAttentionConfig::new(2, 3) };
        let parameters = config.parameters(&[&vec![7, 5], &vec![9, 6]]);
        let shown: Vec<(&str, &[usize])> =
            parameters.iter().map(|spec| (spec.name.as_str(), spec.shape.as_slice())).collect();
        assert_eq!(
            shown,
            [
                ("query/kernel", &[5, 2, 3][..]),
                ("query/bias", &[2, 3]),
                ("key/kernel", &[6, 2, 3]),
                ("key/bias", &[2, 3]),
                ("value/kernel", &[6, 2, 4]),
                ("value/bias", &[2, 4]),
                ("attention_output/kernel", &[2, 4, 5]),
                ("attention_output/bias", &[5]),
            ]
        );
    }

    #[test]
    fn what_cannot_be_is_refused() {
        let keys = || json!({"num_heads": 2, "key_dim": 3});
        let refused = |inputs: &[&[usize]]| refusal("multi_head_attention", keys(), inputs);
        assert!(refused(&[&[4, 5], &[4, 5], &[4, 5]]).ends_with("got 3"));
        assert!(refused(&[&[4, 5], &[20]]).contains("got [20]"));
        let none = refusal("multi_head_attention", json!({"num_heads": 0, "key_dim": 3}), &[&[4, 5]]);
        assert_eq!(none, "num_heads is 0; it must be between 1 and 65536");
    }
}
