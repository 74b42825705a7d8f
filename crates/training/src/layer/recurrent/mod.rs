//! Layers that take a sequence step by step: what `lstm` and `gru` have in common, and `bidirectional`.
//!
//! The state before the first step is zeros, so the first step has no product with it. Layers with the activations
//! they were published with are one operation where tensors live on the host (`fused`); all others, those whose state is
//! dropped while they are fitted, and all layers elsewhere, are operations of the tensor library step by step.

mod bidirectional;
mod fused;
mod gru;
mod lstm;

use burn::tensor::{Tensor, TensorData};

pub use bidirectional::{BidirectionalConfig, MergeMode};
pub use gru::GruConfig;
pub use lstm::LstmConfig;

use super::dropout::{check_rate, mask};
use super::{Export, Initializer, ParameterSpec, Pass, Shape, UNITS_MAX, Value, count, sequence};
use crate::Error;
use crate::activation::Activation;

/// What every recurrent layer is told.
struct Recurrent {
    units: usize,
    /// How many gates the kernels hold side by side.
    gates: usize,
    activations: [Activation; 2],
    dropout: f64,
    recurrent_dropout: f64,
    return_sequences: bool,
    go_backwards: bool,
}

impl Recurrent {
    fn check(&self) -> Result<(), String> {
        count("units", self.units, UNITS_MAX)?;
        for activation in self.activations {
            activation.check()?;
        }
        check_rate("dropout", self.dropout)?;
        check_rate("recurrent_dropout", self.recurrent_dropout)
    }

    fn output(&self, inputs: &[&Shape]) -> Result<Shape, String> {
        let [steps, _] = sequence(inputs)?;
        Ok(if self.return_sequences { vec![steps, self.units] } else { vec![self.units] })
    }

    /// The kernels of the input and of the state.
    fn kernels(&self, inputs: &[&Shape]) -> [ParameterSpec; 2] {
        let fan_in = inputs[0].last().copied().unwrap_or_default();
        let columns = self.gates * self.units;
        let glorot = Initializer::GlorotUniform { fan_in, fan_out: columns };
        let orthogonal = Initializer::Orthogonal { rows: self.units, columns };
        [
            ParameterSpec::new("kernel", vec![fan_in, columns], glorot),
            ParameterSpec::new("recurrent_kernel", vec![self.units, columns], orthogonal),
        ]
    }

    /// Whether its activations are those it was published with, which is what `fused` computes.
    fn is_plain(&self) -> bool {
        self.activations == [Activation::Tanh, Activation::Sigmoid]
    }

    /// Factors `[batch, units]` of the state for each gate's product, the same in all steps; none if nothing of it is
    /// left out in this pass. They are drawn apart from those of the input (Gal and Ghahramani 2016, "A Theoretically
    /// Grounded Application of Dropout in Recurrent Neural Networks"; a draw for each gate, as in Keras).
    fn state_factors(&self, batch: usize, pass: &mut Pass<'_>) -> Option<Vec<Tensor<2>>> {
        let size = batch * self.units;
        let factors = pass.within(0, 0..0, |pass| mask(self.recurrent_dropout, self.gates * size, pass))?;
        let device = pass.device();
        let tensor = |of_gate: &[f32]| {
            Tensor::from_data(TensorData::new(of_gate.to_vec(), [batch, self.units]), device)
        };
        Some(factors.chunks_exact(size).map(tensor).collect())
    }

    /// The steps in the order they are taken.
    fn order(&self, steps: usize) -> Vec<usize> {
        if self.go_backwards { (0..steps).rev().collect() } else { (0..steps).collect() }
    }

    /// The result, of the hidden state after each step in the order they were taken.
    fn result(&self, mut hidden: Vec<Tensor<2>>) -> Value {
        if self.return_sequences {
            Value::Sequence(Tensor::stack(hidden, 1))
        } else {
            Value::Rows(hidden.pop().expect("a sequence has a step"))
        }
    }

    /// [`Recurrent::result`] as nodes.
    fn export_result(
        &self,
        hidden: &[artifact::graph::Value],
        export: &mut Export<'_>,
    ) -> Result<artifact::graph::Value, Error> {
        if self.return_sequences { export.sequence_of(hidden, "steps") } else { Ok(hidden[hidden.len() - 1]) }
    }

    /// Numbers kept for one row: products, gates and what becomes of them.
    fn scratch(&self, inputs: &[&Shape]) -> usize {
        let steps = inputs[0].first().copied().unwrap_or_default();
        steps * self.units * (4 * self.gates + 4)
    }
}

/// The state as the product of a gate sees it.
fn seen(state: &Tensor<2>, factors: Option<&[Tensor<2>]>, gate: usize) -> Tensor<2> {
    match factors {
        Some(factors) => state.clone() * factors[gate].clone(),
        None => state.clone(),
    }
}

/// The steps of `[batch, steps, channels]`. Halves of halves, because the way back of a piece fills a tensor as
/// large as what it was cut from.
fn steps(x: Tensor<3>) -> Vec<Tensor<2>> {
    let [batch, count, channels] = x.dims();
    if count == 1 {
        return vec![x.reshape([batch, channels])];
    }
    let half = count / 2;
    let mut all = steps(x.clone().narrow(1, 0, half));
    all.extend(steps(x.narrow(1, half, count - half)));
    all
}

/// Parameters that stand side by side in the last axis, one for each gate: products of their own cost less than
/// cutting the gates out of one product of all, whose way back fills a tensor of all for each.
fn gates<const D: usize>(parameter: &Tensor<D>, count: usize) -> Vec<Tensor<D>> {
    let units = parameter.dims()[D - 1] / count;
    (0..count).map(|at| parameter.clone().narrow(D - 1, at * units, units)).collect()
}

fn tanh() -> Activation {
    Activation::Tanh
}

fn sigmoid() -> Activation {
    Activation::Sigmoid
}

fn yes() -> bool {
    true
}
