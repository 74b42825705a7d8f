//! The fit loop: epochs of shuffled batches, measured as they pass, and a look at the validation rows after
//! each.

use std::time::Instant;

use burn::module::Module;
use burn::optim::{GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};

use crate::architecture::{Mlp, elements};
use crate::metric::Tally;
use crate::observer::{BatchProgress, Control, EpochReport, Observer};
use crate::sample::Samples;
use crate::seed::{Generator, Purpose};
use crate::trained::{self, Trained};
use crate::{Error, FitConfig, ModelConfig};

/// A loss this many times above the first one (plus one) is a fit that ran away, though floats still hold it.
const DIVERGED_RATIO: f64 = 1e6;
/// So is any loss above this one: its gradients are about to overflow when squared.
const DIVERGED_LOSS: f64 = 1e12;
/// Rows computed at once on the validation set.
const ROWS_AT_ONCE: usize = 4096;

/// Fits a fresh network to `train` and measures it on `valid` after every epoch.
///
/// The same configurations, samples and [`FitConfig::seed`] give the same weights, byte for byte.
///
/// # Errors
/// [`Error::Config`] for a value that cannot be; an error naming row and column for samples that cannot be
/// learned from; [`Error::Diverged`] if the loss runs away; [`Error::Interrupted`] if the observer says so.
pub fn fit(
    model: &ModelConfig,
    config: &FitConfig,
    train: Samples<'_>,
    valid: Option<Samples<'_>>,
    observer: &mut dyn Observer,
) -> Result<Trained, Error> {
    model.check()?;
    config.check()?;
    train.check("training", model.classes())?;
    if let Some(valid) = valid {
        if valid.columns != train.columns {
            return Err(Error::Columns { training: train.columns, validation: valid.columns });
        }
        valid.check("validation", model.classes())?;
    }
    model.check_parameters(train.columns)?;
    Fit::new(model, config, train).run(valid, observer)
}

/// A fit under way.
struct Fit<'a> {
    config: &'a FitConfig,
    train: Samples<'a>,
    classes: usize,
    device: Device,
    network: Mlp,
    optimizer: ModuleOptimizer,
    /// The order in which rows are seen.
    order: Vec<u32>,
    /// Labels of the running batch.
    labels: Vec<u32>,
    first_loss: Option<f64>,
}

impl<'a> Fit<'a> {
    fn new(model: &ModelConfig, config: &'a FitConfig, train: Samples<'a>) -> Self {
        let device = Device::flex().autodiff();
        let fresh = Mlp::fresh(model, train.columns, config.seed);
        Self {
            config,
            train,
            classes: model.classes(),
            network: Mlp::with_weights(&fresh, &device),
            device,
            optimizer: config.optimizer.build(),
            order: (0..train.rows() as u32).collect(),
            labels: Vec::with_capacity(config.batch_size),
            first_loss: None,
        }
    }

    fn run(mut self, valid: Option<Samples<'_>>, observer: &mut dyn Observer) -> Result<Trained, Error> {
        let epochs = self.config.epochs;
        let mut history = Vec::with_capacity(epochs);
        for epoch in 1..=epochs {
            // The stopwatch feeds nothing but the report.
            let begin = Instant::now();
            observer.on_epoch_begin(epoch, epochs);
            let seen = self.epoch(epoch, observer)?;
            let measured = valid.map(|valid| self.measure(valid));
            if let Some(tally) = measured {
                let step = self.train.rows().div_ceil(self.config.batch_size);
                self.check_loss("validation", tally.mean_loss(), [epoch, step])?;
            }
            let report = EpochReport {
                epoch,
                loss: seen.mean_loss(),
                accuracy: seen.accuracy(),
                val_loss: measured.map(|tally| tally.mean_loss()),
                val_accuracy: measured.map(|tally| tally.accuracy()),
                seconds: begin.elapsed().as_secs_f64(),
            };
            history.push(report);
            if observer.on_epoch_end(&report) == Control::Stop {
                return Err(Error::Interrupted { epoch, epochs });
            }
        }
        let layers = self.network.valid().weights();
        if layers.iter().any(|layer| layer.kernel.iter().chain(&layer.bias).any(|x| !x.is_finite())) {
            let step = self.train.rows().div_ceil(self.config.batch_size);
            return Err(self.diverged("training", f64::NAN, [epochs, step]));
        }
        Ok(Trained::new(layers, history))
    }

    /// One pass over the training rows in the epoch's own order.
    fn epoch(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<Tally, Error> {
        let batch_size = self.config.batch_size;
        let (rows, epochs) = (self.train.rows(), self.config.epochs);
        // From the same start each time, so that an epoch's order depends on seed and epoch alone.
        for (at, row) in self.order.iter_mut().enumerate() {
            *row = at as u32;
        }
        Generator::new(self.config.seed, Purpose::Order { epoch }).shuffle(&mut self.order);
        let steps = rows.div_ceil(batch_size);
        let mut seen = Tally::default();
        for step in 1..=steps {
            let batch = (step - 1) * batch_size..(step * batch_size).min(rows);
            let tally = self.step(batch);
            self.check_loss("training", tally.mean_loss(), [epoch, step])?;
            seen.add(tally);
            let (loss, accuracy) = (seen.mean_loss(), seen.accuracy());
            let progress = BatchProgress { epoch, epochs, step, steps, loss, accuracy };
            if observer.on_batch_end(&progress) == Control::Stop {
                return Err(Error::Interrupted { epoch, epochs });
            }
        }
        Ok(seen)
    }

    /// One update; the tally is of the weights before it, from the same forward pass.
    fn step(&mut self, batch: std::ops::Range<usize>) -> Tally {
        let (features, labels) = self.gather(batch);
        let logits = self.network.logits(features);
        let values = elements(logits.clone().inner());
        let tally = self.config.loss.tally(&values, &self.labels, self.classes);
        let loss = self.config.loss.forward(logits, labels);
        let gradients = GradientsParams::from_grads(loss.backward(), &self.network);
        let learning_rate = self.config.optimizer.learning_rate();
        let network = std::mem::replace(&mut self.network, Mlp::empty());
        self.network = self.optimizer.step(learning_rate, network, gradients);
        tally
    }

    fn gather(&mut self, batch: std::ops::Range<usize>) -> (Tensor<2>, Tensor<1, Int>) {
        let (rows, columns) = (batch.len(), self.train.columns);
        let mut features = Vec::with_capacity(rows * columns);
        self.labels.clear();
        for &row in &self.order[batch] {
            let row = row as usize;
            features.extend_from_slice(&self.train.features[row * columns..(row + 1) * columns]);
            self.labels.push(self.train.labels[row]);
        }
        let labels: Vec<i64> = self.labels.iter().map(|&label| i64::from(label)).collect();
        let features = Tensor::from_data(TensorData::new(features, [rows, columns]), &self.device);
        (features, Tensor::from_data(TensorData::new(labels, [rows]), &self.device))
    }

    /// Loss and hits of the present weights.
    fn measure(&self, samples: Samples<'_>) -> Tally {
        let network = self.network.valid();
        let device = self.device.clone().without_autodiff();
        let mut tally = Tally::default();
        let features = samples.features.chunks(ROWS_AT_ONCE * samples.columns);
        for (features, labels) in features.zip(samples.labels.chunks(ROWS_AT_ONCE)) {
            let logits = elements(trained::logits(&network, features, samples.columns, &device));
            tally.add(self.config.loss.tally(&logits, labels, self.classes));
        }
        tally
    }

    fn check_loss(&mut self, set: &'static str, loss: f64, at: [usize; 2]) -> Result<(), Error> {
        let first = *self.first_loss.get_or_insert(loss);
        if loss <= (DIVERGED_RATIO * (1.0 + first)).min(DIVERGED_LOSS) {
            return Ok(());
        }
        Err(self.diverged(set, loss, at))
    }

    fn diverged(&self, set: &'static str, loss: f64, [epoch, step]: [usize; 2]) -> Error {
        Error::Diverged { epoch, step, set, loss, learning_rate: self.config.optimizer.learning_rate() }
    }
}
