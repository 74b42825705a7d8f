//! From a panel and a pipeline to the matrices a model is trained and tested on.

use std::collections::BTreeMap;

use market::{
    FeatureMatrix, FeatureSet, FittedProcessors, Labels, Panel, RowKey, RowRange, Splits, Universe, compute,
    label, split,
};

use crate::pipeline::Pipeline;
use crate::{Error, Kind, Result};

/// A window of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Window {
    Train,
    Valid,
    Test,
}

/// The labelled rows of one window.
#[derive(Debug, Default)]
pub(crate) struct WindowRows {
    /// Date and instrument of every row, indices into the panel.
    pub(crate) keys: Vec<RowKey>,
    /// Processed features, row-major.
    pub(crate) features: Vec<f32>,
    /// Class of every row.
    pub(crate) labels: Vec<u32>,
    /// The return behind the class.
    pub(crate) returns: Vec<f64>,
}

/// Everything that fitting and testing need, and nothing that looks ahead.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) set: FeatureSet,
    pub(crate) left_out: Vec<(String, String)>,
    pub(crate) universe: Vec<usize>,
    pub(crate) splits: Splits,
    pub(crate) processors: FittedProcessors,
    pub(crate) train: WindowRows,
    pub(crate) valid: WindowRows,
    pub(crate) test: WindowRows,
    /// The raw features of the newest dates, labelled or not: what serving must reproduce.
    pub(crate) newest: FeatureMatrix,
    pub(crate) labels: Labels,
}

/// How many of the newest dates are kept to be replayed at deployment.
const REPLAY_DATES: usize = 3;

/// Computes features, labels, splits and processors of a pipeline over a panel.
pub(crate) fn prepare(panel: &Panel, pipeline: &Pipeline) -> Result<Prepared> {
    let universe = universe(panel, pipeline)?;
    let chosen = pipeline.features(panel)?;
    let labels = label(panel, &universe, &pipeline.label)?;
    let splits = split(panel.dates(), &pipeline.split, labels.horizon_bars)?;
    let first = splits.train.first().copied().unwrap_or_default();
    let range = RowRange { dates: first..panel.dates().len(), universe: Universe::fixed(universe.clone()) };
    let matrix = compute(panel, &chosen.set, &range)?;
    let windows = Windows::new(panel.dates().len(), &splits);

    let train_raw = windows.rows_of(&matrix, Window::Train, &labels, panel);
    let (from, to) = pipeline.split.train;
    let processors =
        FittedProcessors::fit(&pipeline.processors, &train_raw.features, matrix.columns, (from, to))?;
    let processed = |mut rows: WindowRows| {
        processors.apply(&mut rows.features);
        rows
    };
    let valid = processed(windows.rows_of(&matrix, Window::Valid, &labels, panel));
    let test = processed(windows.rows_of(&matrix, Window::Test, &labels, panel));
    let train = processed(train_raw);
    for (rows, name) in [(&train, "train"), (&valid, "valid"), (&test, "test")] {
        if rows.keys.is_empty() {
            return Err(Error::new(
                Kind::InvalidArgument,
                format!(
                    "the {name} window has no labelled row: features need {} bars of history and a label that is known; widen split.{name} or use shorter windows",
                    chosen.set.lookback_bars()
                ),
            ));
        }
    }
    let newest = newest_rows(&matrix);
    Ok(Prepared {
        set: chosen.set,
        left_out: chosen.left_out,
        universe,
        splits,
        processors,
        train,
        valid,
        test,
        newest,
        labels,
    })
}

fn universe(panel: &Panel, pipeline: &Pipeline) -> Result<Vec<usize>> {
    let benchmark = pipeline.data.benchmark.as_deref();
    let index = |symbol: &str, key: &str| {
        panel
            .instrument_index(symbol)
            .ok_or_else(|| Error::invalid(key, market::unknown_instrument(symbol, panel.instruments())))
    };
    if let Some(benchmark) = benchmark {
        index(benchmark, "data.benchmark")?;
    }
    let mut chosen = match &pipeline.data.universe {
        Some(symbols) => symbols.iter().map(|s| index(s, "data.universe")).collect::<Result<Vec<_>>>()?,
        None => (0..panel.instruments().len())
            .filter(|&i| Some(panel.instruments()[i].as_str()) != benchmark)
            .collect(),
    };
    chosen.sort_unstable();
    chosen.dedup();
    Ok(chosen)
}

struct Windows {
    of_date: Vec<Option<Window>>,
}

impl Windows {
    fn new(dates: usize, splits: &Splits) -> Self {
        let mut of_date = vec![None; dates];
        for (window, indices) in
            [(Window::Train, &splits.train), (Window::Valid, &splits.valid), (Window::Test, &splits.test)]
        {
            for &date in indices {
                of_date[date] = Some(window);
            }
        }
        Self { of_date }
    }

    fn rows_of(&self, matrix: &FeatureMatrix, window: Window, labels: &Labels, panel: &Panel) -> WindowRows {
        let mut rows = WindowRows::default();
        let instruments = panel.instruments().len();
        for (key, values) in matrix.rows.iter().zip(matrix.values.chunks_exact(matrix.columns)) {
            if self.of_date[key.date] != Some(window) {
                continue;
            }
            let cell = key.date * instruments + key.instrument;
            if let Some(class) = labels.classes[cell] {
                rows.keys.push(*key);
                rows.features.extend_from_slice(values);
                rows.labels.push(class);
                rows.returns.push(labels.returns[cell]);
            }
        }
        rows
    }
}

fn newest_rows(matrix: &FeatureMatrix) -> FeatureMatrix {
    let mut by_date: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (row, key) in matrix.rows.iter().enumerate() {
        by_date.entry(key.date).or_default().push(row);
    }
    let mut newest = FeatureMatrix { rows: Vec::new(), columns: matrix.columns, values: Vec::new() };
    for row in by_date.into_values().rev().take(REPLAY_DATES).flatten() {
        newest.rows.push(matrix.rows[row]);
        newest.values.extend_from_slice(&matrix.values[row * matrix.columns..(row + 1) * matrix.columns]);
    }
    newest
}
