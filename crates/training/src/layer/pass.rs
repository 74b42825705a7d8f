//! One forward pass: the parameters a layer computes with, whether it is being fitted, and what it leaves behind.

use burn::tensor::{Device, Tensor, TensorData};

use crate::seed::{Generator, Purpose};

/// A parameter on the device.
#[derive(Debug, Clone)]
pub(crate) enum Leaf {
    /// One axis.
    One(Tensor<1>),
    /// Two axes.
    Two(Tensor<2>),
    /// Three axes.
    Three(Tensor<3>),
}

impl Leaf {
    /// A parameter of these values; it collects a gradient if the device records and `trainable` says so.
    pub(crate) fn new(values: &[f32], shape: &[usize], trainable: bool, device: &Device) -> Self {
        let data = TensorData::new(values.to_vec(), shape.to_vec());
        match shape.len() {
            1 => Self::One(Tensor::from_data(data, device).set_require_grad(trainable)),
            2 => Self::Two(Tensor::from_data(data, device).set_require_grad(trainable)),
            _ => Self::Three(Tensor::from_data(data, device).set_require_grad(trainable)),
        }
    }
}

/// What a layer sees beside its inputs.
pub(crate) struct Pass<'a> {
    /// The parameters of the layer that is computing.
    leaves: &'a [Leaf],
    device: &'a Device,
    fitting: Option<Fitting>,
    /// The layer that is computing, and the place of its first parameter among those of the network.
    layer: usize,
    first: usize,
    updates: Vec<(usize, Tensor<1>)>,
}

/// Where a fit is: random numbers depend on nothing else.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Fitting {
    /// The seed of the fit.
    pub(crate) seed: u64,
    /// The update this pass is for, from 0.
    pub(crate) step: u64,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(device: &'a Device, fitting: Option<Fitting>) -> Self {
        Self { leaves: &[], device, fitting, layer: 0, first: 0, updates: Vec::new() }
    }

    /// The layer at place `layer` computes next, with `leaves`, the first of which is number `first` of the network.
    pub(crate) fn enter(&mut self, layer: usize, first: usize, leaves: &'a [Leaf]) {
        (self.layer, self.first, self.leaves) = (layer, first, leaves);
    }

    /// Whether the network is being fitted, and not only asked.
    pub(crate) fn is_fitting(&self) -> bool {
        self.fitting.is_some()
    }

    /// Where tensors live.
    pub(crate) fn device(&self) -> &Device {
        self.device
    }

    /// Parameter `at` of the layer, which has one axis.
    pub(crate) fn one(&self, at: usize) -> Tensor<1> {
        match &self.leaves[at] {
            Leaf::One(tensor) => tensor.clone(),
            other => panic!("parameter {at} was declared with one axis, it is {other:?}"),
        }
    }

    /// Parameter `at` of the layer, which has two axes.
    pub(crate) fn two(&self, at: usize) -> Tensor<2> {
        match &self.leaves[at] {
            Leaf::Two(tensor) => tensor.clone(),
            other => panic!("parameter {at} was declared with two axes, it is {other:?}"),
        }
    }

    /// Parameter `at` of the layer, which has three axes.
    pub(crate) fn three(&self, at: usize) -> Tensor<3> {
        match &self.leaves[at] {
            Leaf::Three(tensor) => tensor.clone(),
            other => panic!("parameter {at} was declared with three axes, it is {other:?}"),
        }
    }

    /// Random numbers of this layer in this step; the same seed, step and layer give the same. None if the network
    /// is only asked.
    pub(crate) fn generator(&self) -> Option<Generator> {
        let Fitting { seed, step } = self.fitting?;
        Some(Generator::new(seed, Purpose::Dropout { step, layer: self.layer }))
    }

    /// Parameter `at` of the layer, which gradients do not change, becomes `value` after this step.
    pub(crate) fn update(&mut self, at: usize, value: Tensor<1>) {
        self.updates.push((self.first + at, value));
    }

    /// What [`Pass::update`] was told, by the place of the parameter among those of the network.
    pub(crate) fn into_updates(self) -> Vec<(usize, Tensor<1>)> {
        self.updates
    }
}
