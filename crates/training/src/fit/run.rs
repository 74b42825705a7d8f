//! The fit loop: epochs of batches, measured as they pass, a look at the validation rows after each, and everything
//! that ends a fit or lets it go on later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use burn::tensor::Device;

use super::Fit;
use super::head::Head;
use super::measure::measure;
use super::resume::Keeper;
use super::step::{Rows, Step};
use crate::callback::{EarlyStopping, ReduceLrOnPlateau};
use crate::config::{ClassWeight, ModelConfig};
use crate::layer::Fitting;
use crate::loss::LossValue;
use crate::metric::Meter;
use crate::network::Network;
use crate::observer::{BatchProgress, Control, EpochReport, Observer, TrainBegin};
use crate::optimizer::Optimizer;
use crate::order::{Order, OrderConfig};
use crate::prefetch::{Ahead, Gathered, Prefetch};
use crate::rows::Matrix;
use crate::trained::{Trained, Weight};
use crate::{Error, FitConfig};

/// A loss this many times above the first one (plus one) is a fit that ran away, though floats still hold it.
const DIVERGED_RATIO: f64 = 1e6;
/// So is any loss above this one: its gradients are about to overflow when squared.
const DIVERGED_LOSS: f64 = 1e12;

/// Batches that are gathered while one is computed.
const BATCHES_AHEAD: usize = 3;

/// A fit under way.
pub(super) struct Run<'a> {
    pub(super) job: &'a Fit<'a>,
    pub(super) network: Network,
    pub(super) heads: Vec<Head>,
    pub(super) device: Device,
    pub(super) weights: Vec<Weight>,
    pub(super) optimizer: Optimizer,
    pub(super) order: Arc<Order>,
    /// Batches of the first epoch, by which the length of schedules is told.
    steps_per_epoch: usize,
    /// Sample weights times class weights, if there are any of the latter.
    row_weights: Option<Vec<f32>>,
    pub(super) progress: Progress,
    keeper: Option<Keeper>,
}

/// Where a fit is: what a checkpoint keeps beside weights and optimizer.
#[derive(Debug, Clone, Default)]
pub(super) struct Progress {
    /// Updates done.
    pub(super) global_step: u64,
    /// The running epoch, from 1.
    pub(super) epoch: usize,
    /// Batches of it that are done.
    pub(super) step: usize,
    /// Of the running epoch.
    pub(super) seen: Tally,
    pub(super) history: Vec<EpochReport>,
    pub(super) first_loss: Option<f64>,
    pub(super) early_stopping: Option<EarlyStopping>,
    pub(super) plateau: Option<ReduceLrOnPlateau>,
    /// The learning rate that schedules start from, once a plateau has lowered it.
    pub(super) base_rate: Option<f64>,
    /// The weights of the best epoch, if they are to be restored, and which it was.
    pub(super) best: Option<(usize, Vec<Weight>)>,
    /// The fit ended before its last epoch.
    pub(super) stopped: bool,
}

/// What was seen of an epoch so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Tally {
    pub(super) losses: Vec<LossValue>,
    /// Sum over rows of what the size of the weights added to the loss.
    pub(super) penalty: f64,
    pub(super) rows: usize,
    pub(super) meters: Vec<Vec<Meter>>,
}

impl Tally {
    fn new(heads: &[Head]) -> Self {
        Self {
            losses: vec![LossValue { sum: 0.0, count: 0.0 }; heads.len()],
            penalty: 0.0,
            rows: 0,
            meters: heads.iter().map(Head::meters).collect(),
        }
    }

    fn loss(&self, heads: &[Head]) -> f64 {
        total(heads, &self.losses) + self.penalty / self.rows.max(1) as f64
    }
}

/// The losses of all outputs, each by its weight.
pub(super) fn total(heads: &[Head], losses: &[LossValue]) -> f64 {
    heads.iter().zip(losses).map(|(head, loss)| head.weight * loss.mean()).sum()
}

impl<'a> Run<'a> {
    pub(super) fn new(job: &'a Fit<'a>, network: Network) -> Result<Self, Error> {
        let config = job.config;
        let heads = Head::all(&network, config, &job.train, job.valid.as_ref())?;
        check_monitors(config, &heads, job.valid.is_some())?;
        let weights = match job.start {
            Some(start) => network.chosen(start)?,
            None => network.fresh(config.seed),
        };
        let sizes: Vec<usize> = network.trainable().map(|spec| spec.len()).collect();
        let order =
            OrderConfig { shuffle: config.shuffle.clone(), seed: config.seed, batch_size: config.batch_size };
        let order = Order::new(order, job.train.rows(), job.train.groups)?;
        let row_weights = class_weights(config, job)?;
        let progress = Progress {
            epoch: 1,
            seen: Tally::new(&heads),
            early_stopping: config.early_stopping.as_ref().map(|early| early.start()).transpose()?,
            plateau: config.reduce_lr_on_plateau.as_ref().map(|plateau| plateau.start()).transpose()?,
            ..Progress::default()
        };
        let optimizer = config.optimizer.build(&sizes);
        let device = job.device.open()?.autodiff();
        Ok(Self {
            job,
            network,
            heads,
            device,
            weights,
            optimizer,
            steps_per_epoch: order.steps(1),
            order: Arc::new(order),
            row_weights,
            progress,
            keeper: None,
        })
    }

    pub(super) fn run(mut self, model: ModelConfig, observer: &mut dyn Observer) -> Result<Trained, Error> {
        let epochs = self.job.config.epochs;
        // The stopwatch feeds nothing but reports and the pace of checkpoints.
        let begin = Instant::now();
        let mut resumed_at = None;
        if let Some(directory) = &self.job.directory {
            let (keeper, resumed) = Keeper::open(directory, &mut self, &model, observer)?;
            self.keeper = Some(keeper);
            resumed_at = resumed;
        }
        let parameters = self.network.trainable().map(|spec| spec.len()).sum();
        let steps = self.steps_per_epoch;
        observer.on_train_begin(&TrainBegin { epochs, steps, parameters, resumed_at });
        let matrix;
        let source: &dyn crate::rows::Rows = match self.job.train.stream {
            Some(stream) => stream,
            None => {
                matrix = Matrix::new(self.job.train.features, self.job.train.columns, "training")?;
                &matrix
            }
        };
        let order = Arc::clone(&self.order);
        let Progress { epoch, step, .. } = self.progress;
        let ahead = Ahead { epoch, step, epochs, depth: BATCHES_AHEAD };
        std::thread::scope(|scope| {
            let mut batches = Prefetch::start(scope, source, &order, ahead);
            while self.progress.epoch <= epochs && !self.progress.stopped {
                self.epoch(begin, &mut batches, observer)?;
            }
            Ok::<(), Error>(())
        })?;
        let Progress { history, best, .. } = self.progress;
        observer.on_train_end(&history);
        let (best_epoch, weights) = match best {
            Some((epoch, weights)) => (Some(epoch), weights),
            None => (None, self.weights),
        };
        let columns = self.job.columns.clone();
        Ok(Trained::new(self.network, columns, model, weights).with_history(history, best_epoch))
    }

    /// What is left of the running epoch, and the look at the validation rows.
    fn epoch(
        &mut self,
        begin: Instant,
        batches: &mut Prefetch<'_>,
        observer: &mut dyn Observer,
    ) -> Result<(), Error> {
        let (epoch, epochs) = (self.progress.epoch, self.job.config.epochs);
        let (watch, rows_before) = (Instant::now(), self.progress.seen.rows);
        observer.on_epoch_begin(epoch, epochs);
        let learning_rate = self.batches(begin, batches, observer)?;
        let spent = watch.elapsed().as_secs_f64();
        let device = self.device.clone().without_autodiff();
        let of = |valid| measure(&self.network, &self.weights, &self.heads, valid, &device);
        let measured = self.job.valid.as_ref().map(of);
        let seen = std::mem::replace(&mut self.progress.seen, Tally::new(&self.heads));
        let loss = seen.loss(&self.heads);
        if let Some(measured) = &measured {
            self.check_loss("validation", measured.loss)?;
        }
        if self.weights.iter().any(|weight| weight.values.iter().any(|x| !x.is_finite())) {
            return Err(self.diverged("training", f64::NAN));
        }
        let mut metrics: BTreeMap<String, f64> = BTreeMap::new();
        for (head, meters) in self.heads.iter().zip(&seen.meters) {
            metrics.extend(head.results(meters));
        }
        let of_valid = measured.iter().flat_map(|measured| &measured.metrics);
        metrics.extend(of_valid.map(|(name, value)| (format!("val_{name}"), *value)));
        let report = EpochReport {
            epoch,
            loss,
            val_loss: measured.map(|measured| measured.loss),
            metrics,
            learning_rate,
            rows_per_second: (seen.rows - rows_before) as f64 / spent.max(1e-9),
            seconds: watch.elapsed().as_secs_f64(),
        };
        self.progress.history.push(report.clone());
        (self.progress.epoch, self.progress.step) = (epoch + 1, 0);
        self.after_epoch(&report, observer);
        // Logs first: what they have and a checkpoint has not is taken out again at a resume, not the other way round.
        let control = observer.on_epoch_end(&report);
        if let Some(mut keeper) = self.keeper.take() {
            let kept = keeper.after_epoch(self, &report, begin.elapsed(), observer);
            self.keeper = Some(keeper);
            kept?;
        }
        if control == Control::Stop && epoch < epochs && !self.progress.stopped {
            return Err(self.interrupted(epoch, observer)?);
        }
        Ok(())
    }

    /// The updates that are left of the epoch; the learning rate of the last.
    fn batches(
        &mut self,
        begin: Instant,
        batches: &mut Prefetch<'_>,
        observer: &mut dyn Observer,
    ) -> Result<f64, Error> {
        let (epoch, epochs) = (self.progress.epoch, self.job.config.epochs);
        // How many batches whole dates make depends on their order.
        let steps = self.order.steps(epoch);
        let take_off: Vec<bool> = self.heads.iter().map(|head| head.taken_off.is_some()).collect();
        let mut rows = Rows::default();
        let mut metrics = BTreeMap::new();
        while self.progress.step < steps {
            observer.on_batch_begin(epoch, self.progress.step + 1);
            let learning_rate = self.learning_rate(self.progress.global_step);
            let Some(mut batch) = batches.next_batch()? else { break };
            if self.job.train.stream.is_some() {
                self.check_streamed(&batch)?;
            }
            std::mem::swap(&mut rows.features, &mut batch.features);
            rows.gather(&self.job.train, self.row_weights.as_deref(), &self.heads, &batch.rows);
            batches.give_back(batch);
            let step = Step {
                network: &self.network,
                heads: &self.heads,
                take_off: &take_off,
                device: &self.device,
                fitting: Fitting { seed: self.job.config.seed, step: self.progress.global_step },
            };
            let seen = step.update(&rows, &mut self.weights, &mut self.optimizer, learning_rate);
            self.progress.global_step += 1;
            self.progress.step += 1;
            let loss = total(&self.heads, &seen.losses) + seen.penalty;
            self.check_loss("training", loss)?;
            self.count(&rows, &seen, &mut metrics);
            let progress = BatchProgress {
                epoch,
                epochs,
                step: self.progress.step,
                steps,
                global_step: self.progress.global_step,
                rows: rows.count,
                loss: self.progress.seen.loss(&self.heads),
                metrics: &metrics,
                learning_rate,
            };
            let control = observer.on_batch_end(&progress);
            if control == Control::Stop {
                return Err(self.interrupted(epoch, observer)?);
            }
            if self.progress.step < steps
                && let Some(mut keeper) = self.keeper.take()
            {
                let kept = keeper.after_step(self, begin.elapsed(), observer);
                self.keeper = Some(keeper);
                kept?;
            }
        }
        Ok(self.learning_rate(self.progress.global_step.saturating_sub(1)))
    }

    /// Rows in memory were checked before the fit.
    fn check_streamed(&self, batch: &Gathered) -> Result<(), Error> {
        let Some(at) = batch.features.iter().position(|x| !x.is_finite()) else { return Ok(()) };
        let columns = self.network.columns();
        Err(Error::NotFinite {
            set: "training",
            row: batch.rows[at / columns] as usize,
            feature: self.job.columns.name(at % columns),
            value: batch.features[at],
        })
    }

    /// Adds a batch to what was seen of the epoch; `metrics` are those cheap enough to tell every time.
    fn count(&mut self, rows: &Rows, seen: &super::step::Seen, metrics: &mut BTreeMap<String, f64>) {
        let tally = &mut self.progress.seen;
        tally.rows += rows.count;
        tally.penalty += seen.penalty * rows.count as f64;
        for (at, head) in self.heads.iter().enumerate() {
            tally.losses[at].sum += seen.losses[at].sum;
            tally.losses[at].count += seen.losses[at].count;
            let batch = rows.batch(at, head, &seen.outputs[at]);
            for (metric, meter) in head.metrics.iter().zip(&mut tally.meters[at]) {
                meter.update(&batch);
                if !meter.is_costly() {
                    let name = format!("{}{}", head.prefix, metric.name());
                    metrics.insert(name, meter.result());
                }
            }
        }
    }

    /// Of update `step`, counted from 0.
    fn learning_rate(&self, step: u64) -> f64 {
        let config = self.job.config;
        let steps = self.steps_per_epoch as u64 * config.epochs as u64;
        let base = self.progress.base_rate.unwrap_or_else(|| config.optimizer.learning_rate());
        config.schedule.learning_rate(base, step, steps)
    }

    /// Early stopping and the plateau look at an epoch.
    fn after_epoch(&mut self, report: &EpochReport, observer: &mut dyn Observer) {
        let base = self.progress.base_rate.unwrap_or_else(|| self.job.config.optimizer.learning_rate());
        if let Some(plateau) = &mut self.progress.plateau
            && let Some(lower) = plateau.on_epoch_end(report.figure(plateau.monitor()), report.learning_rate)
        {
            let same = report.learning_rate == base;
            self.progress.base_rate = Some(if same { lower } else { base * (lower / report.learning_rate) });
            let epoch = report.epoch;
            observer.on_note(&format!("epoch {epoch}: no progress, the learning rate becomes {lower}"));
        }
        let Some(early) = &mut self.progress.early_stopping else { return };
        let verdict = early.on_epoch_end(report.epoch, report.figure(early.monitor()));
        if verdict.keep_weights {
            self.progress.best = Some((report.epoch, self.weights.clone()));
        }
        if verdict.stop {
            self.progress.stopped = true;
            let best =
                self.progress.best.as_ref().map_or_else(String::new, |(epoch, _)| {
                    format!("; the weights of epoch {epoch} are kept")
                });
            let (epoch, monitor) = (report.epoch, early.monitor());
            observer.on_note(&format!("stopped after epoch {epoch}: {monitor} got no better{best}"));
        }
    }

    fn check_loss(&mut self, set: &'static str, loss: f64) -> Result<(), Error> {
        let first = self.progress.first_loss.get_or_insert(loss).abs();
        if loss.abs() <= (DIVERGED_RATIO * (1.0 + first)).min(DIVERGED_LOSS) {
            return Ok(());
        }
        Err(self.diverged(set, loss))
    }

    /// The newest checkpoint is of weights that were good: none is written when a loss runs away.
    fn diverged(&self, set: &'static str, loss: f64) -> Error {
        Error::Diverged {
            epoch: self.progress.epoch,
            step: self.progress.step,
            set,
            loss,
            learning_rate: self.learning_rate(self.progress.global_step),
            good: self.keeper.as_ref().and_then(Keeper::newest),
        }
    }

    fn interrupted(&mut self, epoch: usize, observer: &mut dyn Observer) -> Result<Error, Error> {
        let epochs = self.job.config.epochs;
        let mut saved = None;
        if let Some(mut keeper) = self.keeper.take() {
            saved = Some(keeper.save(self, observer)?);
            self.keeper = Some(keeper);
        }
        Ok(Error::Interrupted { epoch, epochs, saved })
    }
}

/// What callbacks watch must be measured, or they would never act.
fn check_monitors(config: &FitConfig, heads: &[Head], valid: bool) -> Result<(), Error> {
    let of_head =
        |head: &Head| head.metrics.iter().map(|metric| format!("{}{}", head.prefix, metric.name())).collect();
    let metrics: Vec<String> = heads.iter().flat_map(|head| -> Vec<String> { of_head(head) }).collect();
    let mut measured: Vec<String> = ["loss".to_owned()].into_iter().chain(metrics).collect();
    if valid {
        measured.extend(measured.clone().into_iter().map(|name| format!("val_{name}")));
    }
    let early = config.early_stopping.as_ref().map(|early| ("fit.early_stopping", &early.monitor));
    let plateau =
        config.reduce_lr_on_plateau.as_ref().map(|plateau| ("fit.reduce_lr_on_plateau", &plateau.monitor));
    for (section, monitor) in early.into_iter().chain(plateau) {
        if !measured.contains(monitor) {
            let way_out = format!("this fit measures {}", measured.join(", "));
            return Err(crate::config::config(
                format!("{section}.monitor"),
                &format!("\"{monitor}\""),
                way_out,
            ));
        }
    }
    config.checkpoint.check_monitor(&measured)
}

/// Sample weights times the weights of classes.
fn class_weights(config: &FitConfig, job: &Fit<'_>) -> Result<Option<Vec<f32>>, Error> {
    let Some(class_weight) = &config.class_weight else { return Ok(None) };
    let Some(classes) = job.train.classes else {
        return Err(Error::Missing {
            what: "fit.class_weight".to_owned(),
            needs: "classes",
            set: "training",
            way_out: "leave it out, or use a label of classes",
        });
    };
    let known = classes.iter().max().map_or(0, |most| *most as usize + 1);
    let each: Vec<f64> = match class_weight {
        ClassWeight::Each(each) => each.clone(),
        ClassWeight::Balanced(_) => {
            let mut counts = vec![0usize; known];
            classes.iter().for_each(|class| counts[*class as usize] += 1);
            let present = counts.iter().filter(|count| **count > 0).count();
            let of = |count: &usize| classes.len() as f64 / (present * count.max(&1)) as f64;
            counts.iter().map(of).collect()
        }
    };
    if each.len() < known {
        let way_out = format!("there are classes 0 to {}; give each a weight", known - 1);
        return Err(crate::config::config("fit.class_weight", &format!("{} numbers", each.len()), way_out));
    }
    let weight = |(row, class): (usize, &u32)| {
        let own = job.train.weights.map_or(1.0, |weights| weights[row]);
        own * each[*class as usize] as f32
    };
    Ok(Some(classes.iter().enumerate().map(weight).collect()))
}
