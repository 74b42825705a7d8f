//! The training job: a pipeline in, a bundle directory and its test report out.

use std::path::{Path, PathBuf};

use artifact::bundle::GoldenRow;
use market::certificate::{Certificate, Check};
use market::{FeatureMatrix, NanPolicy, Panel};
use serde::Serialize;
use serde_json::json;
use training::{EpochReport, Fit, Observer, Summary, Trained, Weight};

use crate::certify::certificate;
use crate::dataset::LoadedDataset;
use crate::evaluate::{Evaluation, Outputs, Reading, TestMetrics, evaluate};
use crate::fitting::{self, FitOptions, Forward};
use crate::pipeline::{Pipeline, UniverseChoice};
use crate::placebo::{self, ModelCheck};
use crate::prepare::{Prepared, WindowRows, prepare};
use crate::trained_bundle::{TrainedBundle, document};
use crate::{Platform, Result};

/// Where a training job reads and writes.
#[derive(Debug, Clone)]
pub struct TrainOptions<'a> {
    /// The bundle is written here; the directory is made.
    pub out: &'a Path,
    /// Files of `[data] source` are relative to this.
    pub base_dir: &'a Path,
    /// How the fit runs.
    pub fit: FitOptions,
}

/// Follows a training job: the stages, and within `fit` the epochs and batches.
pub trait TrainObserver: Observer {
    /// A stage begins: `data`, `features`, `fit`, `evaluate`, `certify`, `save`.
    fn on_stage(&mut self, stage: &str, detail: &str);

    /// The data is at hand.
    fn on_data(&mut self, _snapshot: &market::snapshot::Snapshot) {}
}

/// Rows of the three windows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct WindowSizes {
    /// Labelled training rows.
    pub train: usize,
    /// Labelled validation rows.
    pub valid: usize,
    /// Labelled test rows.
    pub test: usize,
}

/// The raw features of an instrument on a date, as the model takes them; NaN is a missing value.
#[derive(Debug, Clone, PartialEq)]
pub struct FeatureRow {
    /// The instrument.
    pub symbol: String,
    /// The date of the newest bar used.
    pub date: jiff::civil::Date,
    /// In the model's column order.
    pub features: Vec<f32>,
}

/// What training made and how it did.
#[derive(Debug, Serialize)]
pub struct TrainReport {
    /// Name of the pipeline and of the model.
    pub name: String,
    /// Where the bundle lies.
    pub bundle_dir: PathBuf,
    /// SHA-256 of `bundle.json`.
    pub bundle_digest: String,
    /// The data set, as the bundle records it.
    pub dataset: serde_json::Value,
    /// What a reader must know about the data.
    pub notes: Vec<String>,
    /// The data set's quality summary.
    pub quality: market::Quality,
    /// Where it came from.
    pub source: String,
    /// The instruments that are ranked.
    pub universe: Vec<String>,
    /// The power of ten all closes are a multiple of, if there is one.
    pub price_resolution: Option<f64>,
    /// Names of the features, in column order.
    pub features: Vec<String>,
    /// Names and expressions of the features, in column order.
    #[serde(skip)]
    pub expressions: Vec<(String, String)>,
    /// Bars of history a row needs.
    pub lookback_bars: usize,
    /// Features of the named set the data could not give, with the missing field.
    pub left_out: Vec<(String, String)>,
    /// Rows of each window.
    pub rows: WindowSizes,
    /// Windows and what was purged and embargoed at each border.
    pub splits: serde_json::Value,
    /// What was purged and embargoed at each border.
    #[serde(skip)]
    pub borders: Vec<market::Border>,
    /// Loss and metrics by epoch.
    pub history: Vec<EpochReport>,
    /// The epoch whose weights were kept, if not the last one.
    pub best_epoch: Option<usize>,
    /// The test window's figures.
    pub metrics: TestMetrics,
    /// What the leak certificate says without a model.
    pub static_checks: Vec<Check>,
    /// What its placebos and alarm say of this one.
    pub model_checks: Vec<ModelCheck>,
    /// The seed all randomness came from.
    pub seed: u64,
    /// The raw features of the newest date, one row an instrument.
    #[serde(skip)]
    pub newest: Vec<FeatureRow>,
    /// The series behind the figures, for the report page.
    #[serde(skip)]
    pub evaluation: Evaluation,
    /// The return of the benchmark over each decision date of the test window, if the pipeline names one.
    #[serde(skip)]
    pub benchmark_returns: Option<Vec<f64>>,
}

impl Platform {
    /// Trains a pipeline and writes the bundle into `options.out`, manifest last.
    ///
    /// The fit runs on the calling thread and on rayon's; call it from a multi-threaded runtime.
    ///
    /// # Errors
    /// What data, features, label, split or fit refuse; [`crate::Kind::Cancelled`] if the observer stops it.
    /// A bundle is written whole or not at all.
    pub async fn train(
        &self,
        pipeline: &Pipeline,
        options: &TrainOptions<'_>,
        observer: &mut (dyn TrainObserver + Send),
    ) -> Result<TrainReport> {
        observer.on_stage("data", &pipeline.data.dataset);
        let dataset = self.pipeline_dataset(pipeline, options.base_dir).await?;
        observer.on_data(&dataset.snapshot);
        let created_at = self.now().to_string();
        let start = self.starting_weights(&options.fit).await?;
        tokio::task::block_in_place(|| {
            let job = Job { pipeline, dataset: &dataset, options, start, created_at };
            fitting::on_threads(job.options.fit.threads, || job.run(observer))
        })
    }
}

impl Platform {
    /// The network of a pipeline over its data, and the memory a fit of it takes; nothing is fitted.
    ///
    /// # Errors
    /// What data, features or network refuse.
    pub async fn summary(&self, pipeline: &Pipeline, base_dir: &Path) -> Result<Summary> {
        let dataset = self.pipeline_dataset(pipeline, base_dir).await?;
        let columns = pipeline.features(&dataset.panel)?.columns;
        Ok(Summary::new(&pipeline.model, pipeline.output(), &columns, &pipeline.fit)?)
    }
}

struct Job<'a> {
    pipeline: &'a Pipeline,
    dataset: &'a LoadedDataset,
    options: &'a TrainOptions<'a>,
    /// Weights to start from.
    start: Option<Vec<Weight>>,
    created_at: String,
}

/// What was found out about a trained model.
struct Findings {
    evaluation: Evaluation,
    certificate: Certificate,
    checks: Vec<ModelCheck>,
    digest: String,
}

impl Job<'_> {
    fn run(&self, observer: &mut (dyn TrainObserver + Send)) -> Result<TrainReport> {
        let panel = &self.dataset.panel;
        observer.on_stage(
            "features",
            &format!("{} dates, {} instruments", panel.dates().len(), panel.instruments().len()),
        );
        let prepared = prepare(panel, self.pipeline)?;
        let columns = prepared.newest.columns;
        observer.on_stage(
            "fit",
            &format!(
                "{} rows of {columns} features, {} to validate on",
                prepared.train.keys.len(),
                prepared.valid.keys.len()
            ),
        );
        let (train_dates, valid_dates) = (prepared.train.dates(), prepared.valid.dates());
        let identity = json!({ "dataset": self.dataset_document(), "features": prepared.set.expressions() });
        let fit = Fit {
            model: &self.pipeline.model,
            output: self.pipeline.output(),
            config: &self.pipeline.fit,
            columns: &prepared.columns,
            train: prepared.train.samples(columns, &train_dates),
            valid: Some(prepared.valid.samples(columns, &valid_dates)),
            start: self.start.as_deref(),
            device: self.options.fit.device,
            directory: self.options.fit.directory(self.options.out, &identity),
        };
        fitting::check_memory(&fit, &self.options.fit)?;
        let trained = training::fit(&fit, &mut Forward(observer))?;
        observer.on_stage("evaluate", &format!("{} test rows", prepared.test.keys.len()));
        let reading = Reading::new(self.pipeline.classes());
        let values = trained.predict(&prepared.test.features).swap_remove(0);
        let units = trained.outputs().first().map_or(1, |(_, units)| *units);
        let outputs = Outputs { values: &values, units, reading };
        let evaluation = evaluate(panel, &prepared.test, &outputs, placebo::overlap(&prepared))?;
        observer.on_stage("certify", "the future cut off and changed; shuffled labels, shifted returns");
        let certificate = certificate(self.pipeline, self.dataset)?;
        let scores = reading.scores(&values, units);
        let subject = placebo::Subject { prepared: &prepared, fit: &fit, reading, scores: &scores };
        let checks = placebo::check(&subject)?;
        observer.on_stage("save", &self.options.out.display().to_string());
        let mut findings = Findings { evaluation, certificate, checks, digest: String::new() };
        findings.digest = self.save(&prepared, &trained, &findings)?;
        Ok(self.report(prepared, &trained, findings))
    }

    fn save(&self, prepared: &Prepared, trained: &Trained, findings: &Findings) -> Result<String> {
        let (golden_rows, golden_inputs) = self.golden_inputs(&prepared.newest, prepared).unzip();
        TrainedBundle {
            trained,
            processors: &prepared.processors,
            name: self.pipeline.name(),
            pipeline: self.pipeline.text(),
            created_at: &self.created_at,
            seed: self.pipeline.fit.seed,
            features: prepared.set.names().into_iter().map(str::to_owned).collect(),
            expressions: prepared.set.expressions(),
            lookback_bars: prepared.set.lookback_bars(),
            observed: prepared.observed.clone(),
            label: document("the label", &self.pipeline.label)?,
            dataset: self.dataset_document(),
            splits: self.splits_document(prepared),
            metrics: document("the metrics", &findings.evaluation.metrics)?,
            certificate: placebo::document(&findings.certificate, &findings.checks)?,
            golden_inputs,
            golden_rows,
        }
        .write(self.options)
    }

    /// The newest rows: every engine must reproduce their answers, and serving must recompute their features to the
    /// bit. Rows the model would refuse are left out.
    fn golden_inputs<'a>(
        &'a self,
        newest: &'a FeatureMatrix,
        prepared: &'a Prepared,
    ) -> impl Iterator<Item = (GoldenRow, Vec<f32>)> + 'a {
        let panel = &self.dataset.panel;
        let rejects = prepared.processors.nan_policy == NanPolicy::Reject;
        let rows = newest.rows.iter().zip(newest.values.chunks_exact(newest.columns));
        rows.filter(move |(_, raw)| !(rejects && raw.iter().any(|x| x.is_nan()))).map(|(key, raw)| {
            let date = panel.dates()[key.date].to_string();
            (GoldenRow { date, symbol: panel.instruments()[key.instrument].clone() }, raw.to_vec())
        })
    }

    fn dataset_document(&self) -> serde_json::Value {
        let snapshot = &self.dataset.snapshot;
        let dates = self.dataset.panel.dates();
        json!({
            "name": snapshot.name,
            "snapshot": snapshot.number,
            "digest": snapshot.digest,
            "first_date": dates.first().map(ToString::to_string),
            "last_date": dates.last().map(ToString::to_string),
            "benchmark": self.pipeline.data.benchmark,
            "as_of": self.pipeline.data.as_of,
            "adjustment": snapshot.adjustment,
            "notes": snapshot.notes,
        })
    }

    fn splits_document(&self, prepared: &Prepared) -> serde_json::Value {
        let dates = self.dataset.panel.dates();
        let window = |indices: &[usize], rows: &WindowRows| {
            json!({
                "first_date": indices.first().map(|&i| dates[i].to_string()),
                "last_date": indices.last().map(|&i| dates[i].to_string()),
                "dates": indices.len(),
                "rows": rows.keys.len(),
            })
        };
        json!({
            "train": window(&prepared.splits.train, &prepared.train),
            "valid": window(&prepared.splits.valid, &prepared.valid),
            "test": window(&prepared.splits.test, &prepared.test),
            "horizon_bars": prepared.labels.horizon_bars,
            "embargo_days": self.pipeline.split.embargo_days,
            "borders": prepared.splits.borders,
            "universe": self.universe(prepared),
            "universe_name": match &self.pipeline.data.universe {
                Some(UniverseChoice::Named(name)) => Some(name),
                _ => None,
            },
        })
    }

    fn universe(&self, prepared: &Prepared) -> Vec<String> {
        prepared.universe.iter().map(|&i| self.dataset.panel.instruments()[i].clone()).collect()
    }

    fn report(&self, prepared: Prepared, trained: &Trained, findings: Findings) -> TrainReport {
        let Findings { evaluation, certificate, checks, digest } = findings;
        let snapshot = &self.dataset.snapshot;
        TrainReport {
            name: self.pipeline.name().to_owned(),
            bundle_dir: self.options.out.to_owned(),
            bundle_digest: digest,
            dataset: self.dataset_document(),
            notes: snapshot.notes.clone(),
            quality: snapshot.quality.clone(),
            source: snapshot.source.clone(),
            universe: self.universe(&prepared),
            price_resolution: price_resolution(&self.dataset.panel),
            features: prepared.set.names().into_iter().map(str::to_owned).collect(),
            expressions: prepared.set.expressions(),
            lookback_bars: prepared.set.lookback_bars(),
            rows: WindowSizes {
                train: prepared.train.keys.len(),
                valid: prepared.valid.keys.len(),
                test: prepared.test.keys.len(),
            },
            splits: self.splits_document(&prepared),
            borders: prepared.splits.borders.clone(),
            newest: self.newest_features(&prepared.newest),
            left_out: prepared.left_out,
            history: trained.history().to_vec(),
            best_epoch: trained.best_epoch(),
            metrics: evaluation.metrics.clone(),
            static_checks: certificate.checks,
            model_checks: checks,
            seed: self.pipeline.fit.seed,
            benchmark_returns: self.benchmark_returns(&evaluation),
            evaluation,
        }
    }

    fn newest_features(&self, newest: &FeatureMatrix) -> Vec<FeatureRow> {
        let panel = &self.dataset.panel;
        let last = newest.rows.iter().map(|key| key.date).max();
        let rows = newest.rows.iter().zip(newest.values.chunks_exact(newest.columns));
        rows.filter(|(key, _)| Some(key.date) == last)
            .map(|(key, features)| FeatureRow {
                symbol: panel.instruments()[key.instrument].clone(),
                date: panel.dates()[key.date],
                features: features.to_vec(),
            })
            .collect()
    }

    /// The benchmark's return over the label's interval of every test date.
    fn benchmark_returns(&self, evaluation: &Evaluation) -> Option<Vec<f64>> {
        let panel = &self.dataset.panel;
        let benchmark = panel.instrument_index(self.pipeline.data.benchmark.as_deref()?)?;
        let labels = market::label(
            panel,
            &market::Universe::fixed(vec![benchmark]),
            &self.pipeline.label.return_alone(),
        )
        .ok()?;
        let of_date = |date: &jiff::civil::Date| {
            let index = panel.date_index(*date);
            index.map_or(f64::NAN, |i| labels.returns[i * panel.instruments().len() + benchmark])
        };
        Some(evaluation.signal.dates().iter().map(of_date).collect())
    }
}

/// The largest power of ten, down to 0.0001, that all closes are a multiple of.
fn price_resolution(panel: &Panel) -> Option<f64> {
    let closes = panel.field("close")?;
    let fits = |decimals: &i32| {
        let unit = 10f64.powi(*decimals);
        closes.iter().filter(|close| !close.is_nan()).all(|close| {
            let scaled = close * unit;
            (scaled - scaled.round()).abs() < 1e-6 * scaled.max(1.0)
        })
    };
    (0..=4).find(fits).map(|decimals| 10f64.powi(-decimals))
}
