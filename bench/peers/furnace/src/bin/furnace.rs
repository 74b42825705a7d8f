//! furnace-server with a multilayer perceptron written by hand behind its trait `TensorModel`: no engine stands in its way.
//! Relu between layers, softmax at the end.
//!
//!     furnace PORT KEY WEIGHTS WIDTH,WIDTH,...
//!
//! WEIGHTS holds, layer by layer, the matrix [in, out] by rows and the bias [out], as little-endian `f32`.

use std::error::Error;

use furnace::{HostTensor, IoSpec, Model, Server, TensorModel, Values};
use ndarray::{Array1, Array2, ArrayView2, Axis};

/// Fewer rows than this are multiplied without packing the matrix first, which is faster.
const PACKED_ROWS_MIN: usize = 4;

#[derive(Debug)]
struct Layer {
    /// [in, out]
    matrix: Array2<f32>,
    /// [out]
    bias: Array1<f32>,
}

impl Layer {
    /// [rows, in] -> [rows, out]
    fn apply(&self, x: ArrayView2<f32>) -> Array2<f32> {
        if x.nrows() >= PACKED_ROWS_MIN {
            return x.dot(&self.matrix) + &self.bias;
        }
        let mut y = Array2::zeros((x.nrows(), self.bias.len()));
        for (row, mut sums) in x.outer_iter().zip(y.outer_iter_mut()) {
            sums.assign(&self.bias);
            for (value, weights) in row.iter().zip(self.matrix.outer_iter()) {
                sums.zip_mut_with(&weights, |sum, weight| *sum += value * weight);
            }
        }
        y
    }
}

#[derive(Debug)]
struct Perceptron {
    layers: Vec<Layer>,
}

impl Perceptron {
    fn read(bytes: &[u8], widths: &[usize]) -> Result<Self, Box<dyn Error>> {
        let (words, []) = bytes.as_chunks::<4>() else {
            return Err("the weights end within a number".into());
        };
        let mut values = words.iter().map(|word| f32::from_le_bytes(*word));
        let mut layers = Vec::new();
        for pair in widths.windows(2) {
            let matrix: Vec<f32> = values.by_ref().take(pair[0] * pair[1]).collect();
            let bias: Array1<f32> = values.by_ref().take(pair[1]).collect();
            layers.push(Layer { matrix: Array2::from_shape_vec((pair[0], pair[1]), matrix)?, bias });
        }
        Ok(Self { layers })
    }

    /// [rows, first width] -> [rows, last width]
    fn forward(&self, x: ArrayView2<f32>) -> Array2<f32> {
        let mut x = x.to_owned();
        for (index, layer) in self.layers.iter().enumerate() {
            x = layer.apply(x.view());
            if index + 1 < self.layers.len() {
                x.mapv_inplace(|value| value.max(0.0));
            }
        }
        for mut row in x.axis_iter_mut(Axis(0)) {
            let largest = row.fold(f32::NEG_INFINITY, |largest, value| largest.max(*value));
            row.mapv_inplace(|value| (value - largest).exp());
            let sum = row.sum();
            row.mapv_inplace(|value| value / sum);
        }
        x
    }
}

impl TensorModel for Perceptron {
    fn name(&self) -> &str {
        "mlp"
    }

    fn backend(&self) -> &str {
        "cpu"
    }

    fn inputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("features", &[self.layers[0].matrix.nrows()])]
    }

    fn outputs(&self) -> Vec<IoSpec> {
        vec![IoSpec::fp32("probabilities", &[self.layers[self.layers.len() - 1].bias.len()])]
    }

    fn run(&self, mut inputs: Vec<HostTensor>) -> furnace::Result<Vec<HostTensor>> {
        let input = inputs.remove(0);
        let Values::F32(values) = input.values else { unreachable!("checked against inputs()") };
        let x =
            ArrayView2::from_shape((input.shape[0], input.shape[1]), &values).expect("checked by the server");
        let y = self.forward(x);
        let shape = y.shape().to_vec();
        Ok(vec![HostTensor { shape, values: Values::F32(y.into_raw_vec_and_offset().0) }])
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [port, key, weights, widths] = &arguments[..] else {
        return Err("usage: furnace PORT KEY WEIGHTS WIDTH,WIDTH,...".into());
    };
    let widths = widths.split(',').map(str::parse).collect::<Result<Vec<usize>, _>>()?;
    let model = Perceptron::read(&std::fs::read(weights)?, &widths)?;
    let server = Server::new().port(port.parse()?).model(Model::custom(model));
    server.configure(|config| config.api_keys.push(key.clone())).serve().await?;
    Ok(())
}
