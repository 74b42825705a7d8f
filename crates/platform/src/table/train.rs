//! The training job over a table: a Parquet file in, a bundle directory and its figures out.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use artifact::bundle::ObservedColumn;
use market::row_table::{RowBlock, RowStream, RowTable};
use market::{FittedProcessors, NanPolicy};
use serde::Serialize;
use serde_json::json;
use training::{
    BlocksConfig, Columns, EpochReport, Fit, FitConfig, Rows, Samples, Shuffle, Summary, Trained, Weight,
};

use super::{PinnedTable, TablePipeline};
use crate::fitting::{self, Forward};
use crate::train::{TrainObserver, TrainOptions, WindowSizes};
use crate::trained_bundle::{TrainedBundle, document};
use crate::{Error, Kind, Platform, Result};

/// Rows whose answers are kept to be replayed by every engine.
const GOLDEN_ROWS: usize = 20;

/// What training made and how it did.
#[derive(Debug, Serialize)]
pub struct TableReport {
    /// Name of the pipeline and of the model.
    pub name: String,
    /// Where the bundle lies.
    pub bundle_dir: PathBuf,
    /// SHA-256 of `bundle.json`.
    pub bundle_digest: String,
    /// The file and its SHA-256.
    pub table: serde_json::Value,
    /// Names of the features, in column order; none of them is certified.
    pub features: Vec<String>,
    /// Rows of each part.
    pub rows: WindowSizes,
    /// Rows that are of no part.
    pub left_out: usize,
    /// Loss and metrics by epoch.
    pub history: Vec<EpochReport>,
    /// The epoch whose weights were kept, if not the last one.
    pub best_epoch: Option<usize>,
    /// `loss` and the metrics of the fit on the test rows, if there are any.
    pub test: BTreeMap<String, f64>,
    /// What some of these say beside their figure: the table of a confusion matrix, the t-statistic of an IC.
    pub test_details: BTreeMap<String, serde_json::Value>,
    /// The seed all randomness came from.
    pub seed: u64,
}

impl Platform {
    /// Trains a pipeline over a table and writes the bundle into `options.out`, manifest last.
    ///
    /// # Errors
    /// What the file, the network or the fit refuse; [`Kind::Cancelled`] if the observer stops it.
    pub async fn train_table(
        &self,
        pipeline: &TablePipeline,
        options: &TrainOptions<'_>,
        observer: &mut (dyn TrainObserver + Send),
    ) -> Result<TableReport> {
        let created_at = self.now().to_string();
        let start = self.starting_weights(&options.fit).await?;
        let PinnedTable { path, sha256 } = pipeline.file(options.base_dir)?;
        tokio::task::block_in_place(|| {
            let job = Job { pipeline, options, path, sha256, start, created_at };
            fitting::on_threads(job.options.fit.threads, || job.run(observer))
        })
    }
}

impl Platform {
    /// The network of a pipeline over its table, and the memory a fit of it takes; nothing is fitted.
    ///
    /// # Errors
    /// What the file or the network refuse.
    pub fn table_summary(&self, pipeline: &TablePipeline, base_dir: &Path) -> Result<Summary> {
        let columns = columns_of(pipeline, &pipeline.file(base_dir)?.path)?;
        Ok(Summary::new(&pipeline.model, pipeline.output(), &columns, &pipeline.fit)?)
    }
}

struct Job<'a> {
    pipeline: &'a TablePipeline,
    options: &'a TrainOptions<'a>,
    path: PathBuf,
    /// What the file must hold.
    sha256: Option<String>,
    start: Option<Vec<Weight>>,
    created_at: String,
}

impl Job<'_> {
    fn run(&self, observer: &mut (dyn TrainObserver + Send)) -> Result<TableReport> {
        observer.on_stage("data", &self.path.display().to_string());
        let digest = sha256_of(&self.path)?;
        self.check_content(&digest)?;
        let mut table = RowTable::read(&self.path, &self.pipeline.row_columns())?;
        let columns = columns(self.pipeline, &table.names)?;
        let stream = match self.pipeline.data.stream {
            true => Some(Streamed(RowStream::open(&self.path, &self.pipeline.row_columns())?)),
            false => None,
        };
        let raw_golden = self.golden_inputs(&table, stream.as_ref())?;
        let config = self.fit_config();
        let observed = ObservedColumn::of_rows(&table.names, &table.train.features);
        let processors = self.processors(&table)?;
        for block in [&mut table.train, &mut table.valid, &mut table.test] {
            processors.apply(&mut block.features);
        }
        let document = json!({
            "table": self.pipeline.data.table,
            "digest": digest,
            "rows": table.train.rows + table.valid.rows + table.test.rows,
        });
        let stage = format!(
            "{} rows of {} features, {} to validate on",
            table.train.rows,
            columns.len(),
            table.valid.rows
        );
        observer.on_stage("fit", &stage);
        let identity = json!({ "table": document, "features": table.names });
        let fit = Fit {
            model: &self.pipeline.model,
            output: self.pipeline.output(),
            config: &config,
            columns: &columns,
            train: Samples {
                stream: stream.as_ref().map(|stream| stream as &dyn Rows),
                ..self.samples(&table.train, &columns)
            },
            valid: (table.valid.rows > 0).then(|| self.samples(&table.valid, &columns)),
            start: self.start.as_deref(),
            device: self.options.fit.device,
            directory: self.options.fit.directory(self.options.out, &identity),
        };
        fitting::check_memory(&fit, &self.options.fit)?;
        let trained = training::fit(&fit, &mut Forward(observer))?;
        observer.on_stage("evaluate", &format!("{} test rows", table.test.rows));
        let (test, test_details) = match table.test.rows {
            0 => (BTreeMap::new(), BTreeMap::new()),
            _ => {
                let evaluated = trained.evaluate(&self.pipeline.fit, self.samples(&table.test, &columns))?;
                (evaluated.figures, evaluated.details)
            }
        };
        observer.on_stage("save", &self.options.out.display().to_string());
        let saved = Saved {
            trained: &trained,
            processors: &processors,
            observed: &observed,
            document: &document,
            test: &test,
        };
        let bundle_digest = self.save(&table, raw_golden, &saved)?;
        Ok(TableReport {
            name: self.pipeline.name().to_owned(),
            bundle_dir: self.options.out.to_owned(),
            bundle_digest,
            table: document,
            features: table.names,
            rows: WindowSizes { train: table.train.rows, valid: table.valid.rows, test: table.test.rows },
            left_out: table.left_out,
            history: trained.history().to_vec(),
            best_epoch: trained.best_epoch(),
            test,
            test_details,
            seed: self.pipeline.fit.seed,
        })
    }

    fn check_content(&self, found: &str) -> Result<()> {
        match &self.sha256 {
            Some(expected) if expected != found => {
                let table = &self.pipeline.data.table;
                let message = format!(
                    "the table {table} is another one than when it was chosen: its SHA-256 was {expected} and is {found}; put \
                     it back, or train on this one anew"
                );
                Err(Error::new(Kind::FailedPrecondition, message))
            }
            _ => Ok(()),
        }
    }

    fn samples<'a>(&self, block: &'a RowBlock, columns: &Columns) -> Samples<'a> {
        let width = self.pipeline.label.columns.len().max(1);
        let given = |values: &'a [f32]| Some(values).filter(|values| !values.is_empty());
        Samples {
            features: &block.features,
            stream: None,
            columns: columns.len(),
            classes: Some(block.classes.as_slice()).filter(|classes| !classes.is_empty()),
            values: given(&block.values).map(|values| (values, width)),
            weights: given(&block.weights),
            groups: Some(block.dates.as_slice()).filter(|dates| !dates.is_empty()),
        }
    }

    fn processors(&self, table: &RowTable) -> Result<FittedProcessors> {
        let never = jiff::civil::Date::default();
        match &self.pipeline.processors {
            Some(config) => Ok(config.fit(&table.train.features, table.names.len(), (never, never))?),
            None => Ok(FittedProcessors {
                nan_policy: NanPolicy::Reject,
                columns: table.names.len(),
                steps: Vec::new(),
                fit_window: (never, never),
                rows: table.train.rows,
            }),
        }
    }

    /// The fit as the file says, rows of a stream shuffled in blocks: one row at a time could not be read.
    fn fit_config(&self) -> FitConfig {
        let mut config = self.pipeline.fit.clone();
        if self.pipeline.data.stream && config.shuffle == Shuffle::Rows {
            config.shuffle = Shuffle::Blocks(BlocksConfig::default());
        }
        config
    }

    /// The first rows of the test part, or of what there is.
    fn golden_inputs(&self, table: &RowTable, stream: Option<&Streamed>) -> Result<Vec<Vec<f32>>> {
        let blocks = [&table.test, &table.valid, &table.train];
        let mut first = Vec::new();
        let values: &[f32] = match (blocks.into_iter().find(|block| !block.features.is_empty()), stream) {
            (Some(block), _) => &block.features,
            (None, Some(Streamed(stream))) => {
                stream.read(0..stream.rows().min(GOLDEN_ROWS), &mut first)?;
                &first
            }
            (None, None) => &[],
        };
        let rows = values.chunks_exact(table.names.len().max(1));
        let whole = rows.filter(|row| row.iter().all(|x| x.is_finite()));
        Ok(whole.take(GOLDEN_ROWS).map(<[f32]>::to_vec).collect())
    }

    fn save(&self, table: &RowTable, golden_inputs: Vec<Vec<f32>>, saved: &Saved<'_>) -> Result<String> {
        let Saved { trained, processors, observed, document: dataset, test } = *saved;
        TrainedBundle {
            trained,
            processors,
            name: self.pipeline.name(),
            pipeline: self.pipeline.text(),
            created_at: &self.created_at,
            seed: self.pipeline.fit.seed,
            features: table.names.clone(),
            expressions: Vec::new(),
            lookback_bars: 0,
            observed: observed.to_vec(),
            label: document("the label", &self.pipeline.label)?,
            dataset: dataset.clone(),
            splits: json!({
                "train": { "rows": table.train.rows },
                "valid": { "rows": table.valid.rows },
                "test": { "rows": table.test.rows },
            }),
            metrics: json!(test),
            certificate: certificate(&table.names)?,
            golden_inputs,
            golden_rows: Vec::new(),
        }
        .write(self.options)
    }
}

/// The columns a network over the table sees; its rows are not read.
pub(crate) fn columns_of(pipeline: &TablePipeline, path: &Path) -> Result<Columns> {
    let names = RowTable::feature_names(path, &pipeline.row_columns())?;
    columns(pipeline, &names)
}

fn columns(pipeline: &TablePipeline, names: &[String]) -> Result<Columns> {
    let steps = pipeline.features.steps.unwrap_or(1);
    let count = names.len();
    if !count.is_multiple_of(steps) {
        let message = format!(
            "features.steps is {steps} and there are {count} feature columns; each step needs the same number"
        );
        return Err(Error::invalid("features.steps", message));
    }
    // The names of the newest step stand for those of all.
    Ok(Columns { names: names[count - count / steps..].to_vec(), steps })
}

/// Training rows that stay in their file.
#[derive(Debug)]
struct Streamed(RowStream);

impl Rows for Streamed {
    fn rows(&self) -> usize {
        self.0.rows()
    }

    fn columns(&self) -> usize {
        self.0.columns()
    }

    fn read(&self, range: std::ops::Range<usize>, out: &mut Vec<f32>) -> Result<(), training::Error> {
        self.0.read(range, out).map_err(|error| training::Error::Source(error.to_string()))
    }
}

/// What goes into a bundle.
#[derive(Clone, Copy)]
struct Saved<'a> {
    trained: &'a Trained,
    processors: &'a FittedProcessors,
    observed: &'a [ObservedColumn],
    document: &'a serde_json::Value,
    test: &'a BTreeMap<String, f64>,
}

/// Says of every column that nothing could be checked.
fn certificate(names: &[String]) -> Result<Vec<u8>> {
    let check = |name: &String| {
        json!({
            "name": name,
            "outcome": "not_certified",
            "detail": "a column computed elsewhere: when it was known cannot be checked",
        })
    };
    let checks: Vec<_> = names.iter().map(check).collect();
    serde_json::to_vec_pretty(&json!({ "version": "2", "static_checks": checks, "model_checks": [] }))
        .map_err(|error| Error::internal("cannot write the leak certificate", error))
}

/// The SHA-256 of a table, in hexadecimal.
pub(crate) fn sha256_of(path: &Path) -> Result<String> {
    let unreadable = |error: std::io::Error| {
        let kind = match error.kind() {
            std::io::ErrorKind::NotFound => Kind::NotFound,
            _ => Kind::InvalidArgument,
        };
        Error::new(kind, format!("cannot read the table {}: {error}", path.display()))
    };
    crate::files::sha256_of(path).map_err(unreadable)
}
