//! The multilayer perceptron: dense layers, one after the other.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::{Device, Tensor, TensorData};

use crate::activation::Activation;
use crate::config::{LayerConfig, ModelConfig};
use crate::initializer::glorot_uniform;
use crate::seed::{Generator, Purpose};
use crate::trained::DenseWeights;

/// Dense layers, one after the other.
#[derive(Module, Debug)]
pub(crate) struct Mlp {
    layers: Vec<Dense>,
}

/// One layer.
#[derive(Module, Debug)]
struct Dense {
    linear: Linear,
    #[module(skip)]
    activation: Activation,
}

impl Mlp {
    /// The weights of a fresh network: kernels by [`glorot_uniform`], biases 0, as Keras starts.
    pub(crate) fn fresh(config: &ModelConfig, columns: usize, seed: u64) -> Vec<DenseWeights> {
        let mut generator = Generator::new(seed, Purpose::Weights);
        let mut inputs = columns;
        let mut layers = Vec::with_capacity(config.layers.len());
        for LayerConfig::Dense(dense) in &config.layers {
            let shape = [inputs, dense.units];
            let kernel = glorot_uniform(&mut generator, shape);
            layers.push(DenseWeights {
                shape,
                kernel,
                bias: vec![0.0; dense.units],
                activation: dense.activation,
            });
            inputs = dense.units;
        }
        layers
    }

    /// No layer at all: what is left of a network while an update owns it.
    pub(crate) fn empty() -> Self {
        Self { layers: Vec::new() }
    }

    /// A network with these weights; it can be differentiated if the device records gradients.
    pub(crate) fn with_weights(layers: &[DenseWeights], device: &Device) -> Self {
        let dense = |weights: &DenseWeights| {
            let kernel = TensorData::new(weights.kernel.clone(), weights.shape);
            let bias = TensorData::new(weights.bias.clone(), [weights.bias.len()]);
            let weight = Param::from_tensor(Tensor::<2>::from_data(kernel, device));
            let bias = Param::from_tensor(Tensor::<1>::from_data(bias, device));
            Dense { linear: Linear { weight, bias: Some(bias) }, activation: weights.activation }
        };
        Self { layers: layers.iter().map(dense).collect() }
    }

    /// The weights as they are now.
    pub(crate) fn weights(&self) -> Vec<DenseWeights> {
        let layers = self.layers.iter();
        layers
            .map(|Dense { linear, activation }| DenseWeights {
                shape: linear.weight.dims(),
                kernel: elements(linear.weight.val()),
                bias: linear.bias.as_ref().map_or_else(Vec::new, |bias| elements(bias.val())),
                activation: *activation,
            })
            .collect()
    }

    /// The sums of the last layer, `[rows, classes]`, before its softmax.
    pub(crate) fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        let mut x = features;
        for (at, layer) in self.layers.iter().enumerate() {
            x = layer.linear.forward(x);
            if at + 1 < self.layers.len() {
                x = layer.activation.forward(x);
            }
        }
        x
    }
}

/// The elements of a tensor, row-major.
pub(crate) fn elements<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.into_data().try_into_vec().expect("the device computes in float32")
}

#[cfg(test)]
mod tests {
    use burn::tensor::Int;

    use super::*;
    use crate::config::DenseConfig;
    use crate::loss::Loss;

    const ROWS: usize = 7;
    const COLUMNS: usize = 5;

    fn config() -> ModelConfig {
        use Activation::{Linear, Relu, Sigmoid, Softmax, Tanh};
        let units = [(6, Tanh), (9, Relu), (4, Sigmoid), (5, Linear), (3, Softmax)];
        let dense = |(units, activation)| LayerConfig::Dense(DenseConfig { units, activation });
        ModelConfig { layers: units.map(dense).to_vec() }
    }

    /// The mean loss, by loops in double precision that share nothing with the tensor library.
    fn reference_loss(layers: &[DenseWeights], shift: Shift, features: &[f32], labels: &[u32]) -> f64 {
        let mut total = 0.0;
        for (row, &label) in features.chunks_exact(COLUMNS).zip(labels) {
            let mut x: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            for (at, layer) in layers.iter().enumerate() {
                let [inputs, outputs] = layer.shape;
                let weight = |index: usize| {
                    let raw = if index < inputs * outputs {
                        layer.kernel[index]
                    } else {
                        layer.bias[index - inputs * outputs]
                    };
                    f64::from(raw) + if (at, index) == (shift.layer, shift.index) { shift.by } else { 0.0 }
                };
                let sum = |j: usize| {
                    (0..inputs).map(|i| x[i] * weight(i * outputs + j)).sum::<f64>()
                        + weight(inputs * outputs + j)
                };
                x = (0..outputs).map(|j| reference_activation(layer.activation, sum(j))).collect();
            }
            let normalizer: f64 = x.iter().map(|logit| logit.exp()).sum();
            total += normalizer.ln() - x[label as usize];
        }
        total / labels.len() as f64
    }

    fn reference_activation(activation: Activation, x: f64) -> f64 {
        match activation {
            Activation::Linear | Activation::Softmax => x,
            Activation::Relu => x.max(0.0),
            Activation::Tanh => x.tanh(),
            Activation::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        }
    }

    /// One weight of one layer, kernel before bias, moved by a little.
    #[derive(Clone, Copy)]
    struct Shift {
        layer: usize,
        index: usize,
        by: f64,
    }

    #[test]
    fn every_gradient_is_that_of_finite_differences() {
        let mut layers = Mlp::fresh(&config(), COLUMNS, 11);
        let mut generator = Generator::new(12, Purpose::Weights);
        for bias in layers.iter_mut().flat_map(|layer| &mut layer.bias) {
            *bias = generator.symmetric(0.3);
        }
        let features: Vec<f32> = (0..ROWS * COLUMNS).map(|_| generator.symmetric(2.0)).collect();
        let labels: Vec<u32> = (0..ROWS as u32).map(|row| row % 3).collect();

        let device = Device::flex().autodiff();
        let network = Mlp::with_weights(&layers, &device);
        let x = Tensor::from_data(TensorData::new(features.clone(), [ROWS, COLUMNS]), &device);
        let classes: Vec<i64> = labels.iter().map(|&label| i64::from(label)).collect();
        let y = Tensor::<1, Int>::from_data(TensorData::new(classes, [ROWS]), &device);
        let loss = Loss::SparseCategoricalCrossentropy.forward(network.logits(x), y);
        let gradients = loss.backward();

        let still = Shift { layer: 0, index: 0, by: 0.0 };
        let expected = reference_loss(&layers, still, &features, &labels);
        assert!((f64::from(elements(loss.inner())[0]) - expected).abs() < 1e-6);
        for (at, layer) in network.layers.iter().enumerate() {
            let kernel = layer.linear.weight.val().grad(&gradients).unwrap();
            let bias = layer.linear.bias.as_ref().unwrap().val().grad(&gradients).unwrap();
            let got = [elements(kernel), elements(bias)].concat();
            for (index, got) in got.into_iter().enumerate() {
                const STEP: f64 = 1e-5;
                let moved = |by| reference_loss(&layers, Shift { layer: at, index, by }, &features, &labels);
                let expected = (moved(STEP) - moved(-STEP)) / (2.0 * STEP);
                let near = (f64::from(got) - expected).abs() < 1e-6 + 1e-5 * expected.abs();
                assert!(near, "layer {at}, weight {index}: {got} is not {expected}");
            }
        }
    }
}
