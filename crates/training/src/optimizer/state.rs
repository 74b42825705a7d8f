//! An optimizer at work: its rule and what it remembers of every weight.

use super::{OptimizerConfig, adagrad, adam, lamb, lion, rmsprop, sgd};

/// An optimizer at work.
#[derive(Debug, Clone)]
pub(crate) struct Optimizer {
    config: OptimizerConfig,
    sizes: Vec<usize>,
    names: Vec<&'static str>,
    /// For each tensor what the rule remembers of it, in the order of `names`.
    slots: Vec<Vec<Vec<f32>>>,
    iterations: u64,
    /// Room for a tensor's update, where a rule needs it.
    scratch: Vec<f32>,
}

/// Where a fit is, for the formula of a rule.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub(super) learning_rate: f64,
    /// The step, from 1.
    pub(super) step: u64,
}

impl Moment {
    /// `1 - beta^step`.
    pub(super) fn correction(&self, beta: f64) -> f64 {
        1.0 - beta.powf(self.step as f64)
    }
}

impl Optimizer {
    pub(super) fn new(config: OptimizerConfig, sizes: &[usize]) -> Self {
        let (names, start) = match &config {
            OptimizerConfig::Sgd(sgd) => (sgd.slots(), 0.0),
            OptimizerConfig::Adam(adam) => (adam.slots(), 0.0),
            OptimizerConfig::Adamw(adamw) => (adamw.as_adam().slots(), 0.0),
            OptimizerConfig::Rmsprop(rmsprop) => (rmsprop.slots(), 0.0),
            OptimizerConfig::Adagrad(adagrad) => (adagrad::SLOTS.to_vec(), adagrad.initial_accumulator_value),
            OptimizerConfig::Lamb(_) => (lamb::SLOTS.to_vec(), 0.0),
            OptimizerConfig::Lion(_) => (lion::SLOTS.to_vec(), 0.0),
        };
        let fresh = |&size: &usize| vec![vec![start as f32; size]; names.len()];
        let slots = sizes.iter().map(fresh).collect();
        Self { config, sizes: sizes.to_vec(), names, slots, iterations: 0, scratch: Vec::new() }
    }

    /// One update of all parameters, in the order and of the sizes it was built for.
    ///
    /// # Panics
    /// If parameters or gradients are of another number or size.
    pub(crate) fn step(&mut self, learning_rate: f64, parameters: &mut [&mut [f32]], gradients: &[Vec<f32>]) {
        assert_eq!(parameters.len(), self.sizes.len(), "one parameter tensor each");
        assert_eq!(gradients.len(), self.sizes.len(), "one gradient each");
        self.iterations += 1;
        let moment = Moment { learning_rate, step: self.iterations };
        let prepare = self.config.limits().prepare(learning_rate, gradients);
        let tensors = parameters.iter_mut().zip(gradients).zip(&mut self.slots);
        for (((weights, gradient), slots), (prepare, &size)) in
            tensors.zip(prepare.into_iter().zip(&self.sizes))
        {
            assert!(weights.len() == size && gradient.len() == size, "tensors keep their size");
            match &self.config {
                OptimizerConfig::Sgd(sgd) => sgd::step(sgd, moment, prepare, (weights, gradient, slots)),
                OptimizerConfig::Adam(adam) => adam::step(adam, moment, prepare, (weights, gradient, slots)),
                OptimizerConfig::Adamw(adamw) => {
                    adam::step(&adamw.as_adam(), moment, prepare, (weights, gradient, slots));
                }
                OptimizerConfig::Rmsprop(rmsprop) => {
                    rmsprop::step(rmsprop, moment, prepare, (weights, gradient, slots));
                }
                OptimizerConfig::Adagrad(adagrad) => {
                    adagrad::step(adagrad, moment, prepare, (weights, gradient, slots));
                }
                OptimizerConfig::Lamb(lamb) => {
                    let scratch = &mut self.scratch;
                    lamb::step(lamb, moment, prepare, (weights, gradient, slots), scratch);
                }
                OptimizerConfig::Lion(lion) => lion::step(lion, moment, prepare, (weights, gradient, slots)),
            }
        }
    }

    /// How many updates were made.
    pub(crate) fn iterations(&self) -> u64 {
        self.iterations
    }

    /// What it remembers, by name: `0/momentum` of the first tensor.
    pub(crate) fn state(&self) -> Vec<(String, &[f32])> {
        let mut state = Vec::with_capacity(self.slots.len() * self.names.len());
        for (tensor, slots) in self.slots.iter().enumerate() {
            for (name, values) in self.names.iter().zip(slots) {
                state.push((format!("{tensor}/{name}"), values.as_slice()));
            }
        }
        state
    }

    /// Goes on where another one of this configuration was: `state` gives the values under a name, of so many
    /// elements.
    ///
    /// # Errors
    /// A message with the name that is missing or of another size; nothing is changed then.
    pub(crate) fn restore(
        &mut self,
        iterations: u64,
        state: &mut dyn FnMut(&str, usize) -> Option<Vec<f32>>,
    ) -> Result<(), String> {
        let mut restored = Vec::with_capacity(self.slots.len());
        for (tensor, &size) in self.sizes.iter().enumerate() {
            let mut slots = Vec::with_capacity(self.names.len());
            for name in &self.names {
                let name = format!("{tensor}/{name}");
                let Some(values) = state(&name, size) else {
                    return Err(format!("the optimizer's state has no \"{name}\" of {size} values"));
                };
                if values.len() != size {
                    let got = values.len();
                    return Err(format!(
                        "the optimizer's state \"{name}\" has {got} values, its parameter has {size}"
                    ));
                }
                slots.push(values);
            }
            restored.push(slots);
        }
        self.slots = restored;
        self.iterations = iterations;
        Ok(())
    }
}
