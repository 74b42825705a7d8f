//! One trial: a pipeline fitted in each window of its split, and what the validation rows say on the average.

use std::collections::BTreeMap;

use market::{SplitKind, folds, label};
use training::{ComputeDevice, Fit, Observer};

use crate::dataset::LoadedDataset;
use crate::fitting::Forward;
use crate::pipeline::Pipeline;
use crate::prepare::{Prepared, prepare_in, universe};
use crate::train::TrainObserver;
use crate::{Error, Result};

/// The windows of a data set, prepared; kept as long as trials differ in their network and fit alone.
#[derive(Debug, Default)]
pub(super) struct Windows {
    /// What trials compute on.
    device: ComputeDevice,
    key: String,
    prepared: Vec<Prepared>,
}

impl Windows {
    pub(super) fn new(device: ComputeDevice) -> Self {
        Self { device, ..Self::default() }
    }

    fn of(&mut self, dataset: &LoadedDataset, pipeline: &Pipeline) -> Result<&[Prepared]> {
        let parts =
            (&pipeline.data, &pipeline.features, &pipeline.label, &pipeline.split, &pipeline.processors);
        let key = serde_json::to_string(&parts)
            .map_err(|error| Error::internal("cannot tell trials apart", error))?;
        if self.key != key {
            self.prepared.clear();
            let panel = &dataset.panel;
            let labels = label(panel, &universe(panel, pipeline)?, &pipeline.label)?;
            let windows = match pipeline.split.kind {
                SplitKind::Dates | SplitKind::WalkForward | SplitKind::Expanding => {
                    folds(panel.dates(), &pipeline.split, &labels.ends)?
                }
                SplitKind::PurgedKFold | SplitKind::Combinatorial => return Err(no_windows()),
            };
            for window in windows {
                self.prepared.push(prepare_in(panel, pipeline, window, labels.clone())?);
            }
            self.key = key;
        }
        Ok(&self.prepared)
    }
}

/// Checks that the split of a pipeline has windows in time.
pub(super) fn check_split(pipeline: &Pipeline) -> Result<()> {
    match pipeline.split.kind {
        SplitKind::Dates | SplitKind::WalkForward | SplitKind::Expanding => Ok(()),
        SplitKind::PurgedKFold | SplitKind::Combinatorial => Err(no_windows()),
    }
}

fn no_windows() -> Error {
    let message =
        "a search needs windows in time; use split.kind = \"dates\", \"walk_forward\" or \"expanding\"";
    Error::invalid("split.kind", message)
}

/// Fits a pipeline in every window: each figure of the epoch whose weights are kept, the mean over windows.
pub(super) fn run(
    windows: &mut Windows,
    dataset: &LoadedDataset,
    pipeline: &Pipeline,
    observer: &mut (dyn TrainObserver + Send),
) -> Result<BTreeMap<String, f64>> {
    let device = windows.device;
    let prepared = windows.of(dataset, pipeline)?;
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for window in prepared {
        let columns = window.columns.len();
        let (train_dates, valid_dates) = (window.train.dates(), window.valid.dates());
        let fit = Fit {
            model: &pipeline.model,
            output: pipeline.output(),
            config: &pipeline.fit,
            columns: &window.columns,
            train: window.train.samples(columns, &train_dates),
            valid: Some(window.valid.samples(columns, &valid_dates)),
            start: None,
            device,
            directory: None,
        };
        let trained = training::fit(&fit, &mut Quietly(Forward(observer)))?;
        let epoch = trained.best_epoch().unwrap_or(trained.history().len());
        let Some(report) = epoch.checked_sub(1).and_then(|at| trained.history().get(at)) else { continue };
        let figures = report.metrics.iter().map(|(name, value)| (name.clone(), *value));
        let losses = [("loss".to_owned(), report.loss), ("epoch".to_owned(), epoch as f64)];
        let val_loss = report.val_loss.map(|loss| ("val_loss".to_owned(), loss));
        for (name, value) in figures.chain(losses).chain(val_loss) {
            let (sum, count) = sums.entry(name).or_default();
            *sum += value;
            *count += 1;
        }
    }
    // A figure that is not defined in one window is none of the trial.
    let whole = sums.into_iter().filter(|(_, (_, count))| *count == prepared.len());
    Ok(whole.map(|(name, (sum, count))| (name, sum / count as f64)).collect())
}

/// Lets the observer stop a trial, and keeps its epochs from the screen.
struct Quietly<'a>(Forward<'a>);

impl Observer for Quietly<'_> {
    fn on_batch_end(&mut self, progress: &training::BatchProgress<'_>) -> training::Control {
        self.0.on_batch_end(progress)
    }
}
