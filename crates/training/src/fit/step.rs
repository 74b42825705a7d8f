//! One update: the outputs of a batch, the gradient of the loss, and what the optimizer makes of it.

use burn::tensor::{Device, Gradients, Tensor, TensorData};

use super::head::{Gathered, Head};
use crate::batch::Batch;
use crate::layer::{Fitting, Leaf};
use crate::network::{Call, Network};
use crate::optimizer::Optimizer;
use crate::sample::Samples;
use crate::trained::{Weight, elements};

/// Rows of a batch, gathered.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub(super) features: Vec<f32>,
    pub(super) targets: Vec<Gathered>,
    pub(super) weights: Option<Vec<f32>>,
    pub(super) groups: Option<Vec<u32>>,
    pub(super) count: usize,
}

impl Rows {
    /// Takes the targets of rows of samples beside their features, which are at hand; `weights` are those of the samples
    /// with those of classes.
    pub(super) fn gather(
        &mut self,
        samples: &Samples<'_>,
        weights: Option<&[f32]>,
        heads: &[Head],
        rows: &[u32],
    ) {
        self.count = rows.len();
        self.targets.resize_with(heads.len(), Gathered::default);
        for (head, gathered) in heads.iter().zip(&mut self.targets) {
            head.gather(samples, rows, gathered);
        }
        let weights = weights.or(samples.weights);
        self.weights = weights.map(|weights| rows.iter().map(|&row| weights[row as usize]).collect());
        self.groups = samples.groups.map(|groups| rows.iter().map(|&row| groups[row as usize]).collect());
    }

    /// With what an output gave for them.
    pub(super) fn batch<'a>(&'a self, at: usize, head: &Head, outputs: &'a [f32]) -> Batch<'a> {
        Batch {
            outputs,
            units: head.units,
            logits: head.taken_off.is_some(),
            targets: self.targets[at].targets(),
            weights: self.weights.as_deref(),
            groups: self.groups.as_deref(),
        }
    }
}

/// What an update is made with.
pub(super) struct Step<'a> {
    pub(super) network: &'a Network,
    pub(super) heads: &'a [Head],
    pub(super) take_off: &'a [bool],
    pub(super) device: &'a Device,
    /// Which update this is.
    pub(super) fitting: Fitting,
}

/// What a batch gave before the update.
pub(super) struct Seen {
    /// Of each head, `[rows, units]`.
    pub(super) outputs: Vec<Vec<f32>>,
    /// Of each head.
    pub(super) losses: Vec<crate::loss::LossValue>,
    /// What the size of the weights adds to the loss.
    pub(super) penalty: f64,
}

impl Step<'_> {
    /// Changes `weights` by one batch.
    pub(super) fn update(
        &self,
        rows: &Rows,
        weights: &mut [Weight],
        optimizer: &mut Optimizer,
        learning_rate: f64,
    ) -> Seen {
        let leaves = self.network.leaves(weights, self.device);
        let call = Call {
            leaves: &leaves,
            device: self.device,
            fitting: Some(self.fitting),
            features: &rows.features,
            rows: rows.count,
            take_off: self.take_off,
        };
        let forward = self.network.forward(&call);
        let mut seen = Seen { outputs: Vec::new(), losses: Vec::new(), penalty: 0.0 };
        let mut surrogate: Option<Tensor<1>> = None;
        for (at, (head, output)) in self.heads.iter().zip(forward.outputs).enumerate() {
            let values = elements(output.clone().inner());
            let mut gradient = vec![0.0f32; values.len()];
            seen.losses.push(head.evaluate(&rows.batch(at, head, &values), Some(&mut gradient)));
            seen.outputs.push(values);
            // Its gradient with respect to the output is the loss's own, computed above in closed form.
            let gradient = TensorData::new(gradient, [rows.count, head.units]);
            let product = (output * Tensor::from_data(gradient, self.device)).sum();
            surrogate = Some(match surrogate {
                Some(other) => other + product,
                None => product,
            });
        }
        let surrogate = surrogate.expect("a network has at least one output");
        let mut gradients = if surrogate.is_tracked() {
            self.gradients(&leaves, &mut surrogate.backward())
        } else {
            self.zeros()
        };
        drop(leaves);
        seen.penalty = self.regularize(weights, &mut gradients);
        let specs = self.network.parameters.iter();
        let trainable = specs.zip(weights.iter_mut()).filter(|(spec, _)| spec.trainable);
        let mut parameters: Vec<&mut [f32]> =
            trainable.map(|(_, weight)| weight.values.as_mut_slice()).collect();
        optimizer.step(learning_rate, &mut parameters, &gradients);
        for (at, value) in forward.updates {
            weights[at].values = elements(value.inner());
        }
        seen
    }

    /// Gradients of the trainable parameters, in their order.
    fn gradients(&self, leaves: &[Leaf], all: &mut Gradients) -> Vec<Vec<f32>> {
        let specs = self.network.parameters.iter().zip(leaves);
        specs
            .filter(|(spec, _)| spec.trainable)
            .map(|(spec, leaf)| {
                let values = match leaf {
                    Leaf::One(tensor) => tensor.grad_remove(all).map(elements),
                    Leaf::Two(tensor) => tensor.grad_remove(all).map(elements),
                    Leaf::Three(tensor) => tensor.grad_remove(all).map(elements),
                };
                // A parameter the outputs do not depend on has none.
                values.unwrap_or_else(|| vec![0.0; spec.len()])
            })
            .collect()
    }

    fn zeros(&self) -> Vec<Vec<f32>> {
        self.network.trainable().map(|spec| vec![0.0; spec.len()]).collect()
    }

    /// Adds the gradients of `l1 sum |w| + l2 sum w^2` and returns the sum.
    fn regularize(&self, weights: &[Weight], gradients: &mut [Vec<f32>]) -> f64 {
        let mut penalty = 0.0;
        let specs = self.network.parameters.iter().zip(weights).filter(|(spec, _)| spec.trainable);
        for ((spec, weight), gradient) in specs.zip(gradients) {
            let (l1, l2) = (spec.regularizer.l1, spec.regularizer.l2);
            if l1 == 0.0 && l2 == 0.0 {
                continue;
            }
            for (w, g) in weight.values.iter().zip(gradient) {
                let wide = f64::from(*w);
                penalty += l1 * wide.abs() + l2 * wide * wide;
                let sign = if *w == 0.0 { 0.0 } else { wide.signum() };
                *g += (l1 * sign + 2.0 * l2 * wide) as f32;
            }
        }
        penalty
    }
}
