//! From a panel and a pipeline to the matrices a model is trained and tested on.

use std::collections::BTreeMap;

use artifact::bundle::ObservedColumn;
use market::{
    FeatureMatrix, FeatureSet, FittedProcessors, Fold, Labels, Panel, RowKey, RowRange, SplitKind, Universe,
    compute, folds, label,
};
use training::{Columns, Samples};

use crate::pipeline::{Pipeline, UniverseChoice};
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
    /// Class of every row; empty if the label is a number.
    pub(crate) classes: Vec<u32>,
    /// What a regression learns of every row.
    pub(crate) targets: Vec<f32>,
    /// The return behind the class.
    pub(crate) returns: Vec<f64>,
}

impl WindowRows {
    /// As what a network learns from: classes or numbers, with the date of each row.
    pub(crate) fn samples<'a>(&'a self, columns: usize, dates: &'a [u32]) -> Samples<'a> {
        let classes = Some(self.classes.as_slice()).filter(|classes| !classes.is_empty());
        Samples {
            features: &self.features,
            stream: None,
            columns,
            classes,
            values: Some((&self.targets, 1)),
            weights: None,
            groups: Some(dates),
        }
    }

    /// The date of each row, as its index.
    pub(crate) fn dates(&self) -> Vec<u32> {
        self.keys.iter().map(|key| key.date as u32).collect()
    }

    /// Leaves out rows that lack a feature.
    fn drop_missing(&mut self, columns: usize) {
        let mut whole = Self::default();
        for (row, values) in self.features.chunks_exact(columns.max(1)).enumerate() {
            if values.iter().any(|value| value.is_nan()) {
                continue;
            }
            whole.keys.push(self.keys[row]);
            whole.features.extend_from_slice(values);
            whole.classes.extend(self.classes.get(row));
            whole.targets.push(self.targets[row]);
            whole.returns.push(self.returns[row]);
        }
        *self = whole;
    }
}

/// Everything that fitting and testing need, and nothing that looks ahead.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) set: FeatureSet,
    /// Which features a bar has, and how many bars a row.
    pub(crate) columns: Columns,
    pub(crate) left_out: Vec<(String, String)>,
    /// The instruments that are ever looked at.
    pub(crate) universe: Vec<usize>,
    pub(crate) splits: Fold,
    pub(crate) processors: FittedProcessors,
    /// What the training rows held of each column, before the processors.
    pub(crate) observed: Vec<ObservedColumn>,
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
    let labels = label(panel, &universe(panel, pipeline)?, &pipeline.label)?;
    let splits = fold(panel, pipeline, &labels)?;
    prepare_in(panel, pipeline, splits, labels)
}

/// The same in given windows, with the labels they were cut by.
pub(crate) fn prepare_in(
    panel: &Panel,
    pipeline: &Pipeline,
    splits: Fold,
    labels: Labels,
) -> Result<Prepared> {
    let universe = universe(panel, pipeline)?;
    let chosen = pipeline.features(panel)?;
    let first = splits.train.first().copied().unwrap_or_default();
    let instruments = universe.instruments(panel.instruments().len());
    let range = RowRange { dates: first..panel.dates().len(), universe };
    let matrix = compute(panel, &chosen.set, &range)?;
    let windows = Windows::new(panel.dates().len(), &splits, pipeline.classes().is_some());

    let mut train_raw = windows.rows_of(&matrix, Window::Train, &labels, panel);
    if pipeline.processors.drops_missing() {
        train_raw.drop_missing(matrix.columns);
    }
    let names: Vec<String> = chosen.set.names().into_iter().map(str::to_owned).collect();
    let observed = ObservedColumn::of_rows(&names, &train_raw.features);
    // Each bar of a row is scaled alike, by what the newest bars of the training rows were.
    let steps = chosen.columns.steps;
    let newest: Vec<f32> = newest_step(&train_raw.features, matrix.columns, steps);
    let processors =
        fit_processors(panel, pipeline, &splits, &newest, matrix.columns / steps)?.repeated(steps);
    let processed = |mut rows: WindowRows| {
        processors.apply(&mut rows.features);
        rows
    };
    let judged = |window| {
        let mut rows = windows.rows_of(&matrix, window, &labels, panel);
        if pipeline.processors.drops_missing() {
            rows.drop_missing(matrix.columns);
        }
        processed(rows)
    };
    let (valid, test) = (judged(Window::Valid), judged(Window::Test));
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
        columns: chosen.columns,
        left_out: chosen.left_out,
        universe: instruments,
        splits,
        processors,
        observed,
        train,
        valid,
        test,
        newest,
        labels,
    })
}

/// The last of `steps` parts of each row.
fn newest_step(features: &[f32], columns: usize, steps: usize) -> Vec<f32> {
    let width = columns / steps.max(1);
    features.chunks_exact(columns.max(1)).flat_map(|row| &row[columns - width..]).copied().collect()
}

/// The windows that one model is trained in: those of the pipeline, or the newest of a walk forward.
pub(crate) fn fold(panel: &Panel, pipeline: &Pipeline, labels: &Labels) -> Result<Fold> {
    let last = match pipeline.split.kind {
        SplitKind::Dates | SplitKind::WalkForward | SplitKind::Expanding => {
            folds(panel.dates(), &pipeline.split, &labels.ends)?.pop()
        }
        SplitKind::PurgedKFold | SplitKind::Combinatorial => {
            let message = "a cross-validation has no newest window to train a model in; use split.kind = \"dates\", \
                           \"walk_forward\" or \"expanding\"";
            return Err(Error::invalid("split.kind", message));
        }
    };
    last.ok_or_else(|| Error::invalid("split", "the split has no window"))
}

/// Fits processors to raw rows of the training window.
pub(crate) fn fit_processors(
    panel: &Panel,
    pipeline: &Pipeline,
    fold: &Fold,
    train: &[f32],
    columns: usize,
) -> market::Result<FittedProcessors> {
    let day = |time: Option<&usize>| time.map(|time| panel.dates()[*time]).unwrap_or_default();
    let window = (day(fold.train.first()), day(fold.train.last()));
    pipeline.processors.fit(train, columns, window)
}

/// Who is looked at: the members of a universe of the data set, the named instruments, or all; never the benchmark,
/// unless it is named.
pub(crate) fn universe(panel: &Panel, pipeline: &Pipeline) -> Result<Universe> {
    let benchmark = pipeline.data.benchmark.as_deref();
    let index = |symbol: &str, key: &str| {
        panel
            .instrument_index(symbol)
            .ok_or_else(|| Error::invalid(key, market::unknown_instrument(symbol, panel.instruments())))
    };
    if let Some(benchmark) = benchmark {
        index(benchmark, "data.benchmark")?;
    }
    Ok(match &pipeline.data.universe {
        Some(UniverseChoice::Named(name)) => {
            let members =
                panel.universe(name).map_err(|error| Error::invalid("data.universe", error.to_string()))?;
            Universe::clone(members)
        }
        Some(UniverseChoice::Symbols(symbols)) => {
            Universe::fixed(symbols.iter().map(|s| index(s, "data.universe")).collect::<Result<Vec<_>>>()?)
        }
        None => Universe::fixed(
            (0..panel.instruments().len())
                .filter(|&i| Some(panel.instruments()[i].as_str()) != benchmark)
                .collect(),
        ),
    })
}

struct Windows {
    of_date: Vec<Option<Window>>,
    /// Whether the label is of classes.
    classes: bool,
}

impl Windows {
    fn new(dates: usize, splits: &Fold, classes: bool) -> Self {
        let mut of_date = vec![None; dates];
        for (window, indices) in
            [(Window::Train, &splits.train), (Window::Valid, &splits.valid), (Window::Test, &splits.test)]
        {
            for &date in indices {
                of_date[date] = Some(window);
            }
        }
        Self { of_date, classes }
    }

    fn rows_of(&self, matrix: &FeatureMatrix, window: Window, labels: &Labels, panel: &Panel) -> WindowRows {
        let mut rows = WindowRows::default();
        let instruments = panel.instruments().len();
        for (key, values) in matrix.rows.iter().zip(matrix.values.chunks_exact(matrix.columns)) {
            if self.of_date[key.date] != Some(window) {
                continue;
            }
            let cell = key.date * instruments + key.instrument;
            let class = labels.classes[cell];
            let known = class.is_some() || !self.classes && labels.targets[cell].is_finite();
            if known {
                rows.keys.push(*key);
                rows.features.extend_from_slice(values);
                rows.classes.extend(class);
                rows.targets.push(labels.targets[cell] as f32);
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
