//! Fills the report page of a run and writes it.

use std::path::PathBuf;

use jiff::civil::Date;
use portfolio::backtest::{self, Backtest};
use portfolio::report::{
    BacktestSection, Benchmark, Border, ClassSkill, Command, DataSection, Epoch, Expression, Fact, FeatureSection,
    LeftOut, NumberSkill, PredictionSection, QualityRow, RankIc, Report, SplitSection, TestSection, TrainingSection,
    Window,
};
use serde::Serialize;

use crate::{Error, ModelVersion, Pipeline, Platform, Result, TrainReport};

const REPORTS: &str = "reports";

/// What the page is filled from.
#[derive(Debug)]
pub struct RunReport<'a> {
    /// What training made.
    pub train: &'a TrainReport,
    /// The pipeline that was run.
    pub pipeline: &'a Pipeline,
    /// The version it became.
    pub version: &'a ModelVersion,
    /// Where it serves.
    pub endpoint: &'a str,
    /// What the replay at deployment showed.
    pub replay: &'a str,
    /// The newest answers.
    pub predictions: &'a Predictions,
    /// What a reader may paste next.
    pub next: Vec<Command>,
}

/// The answers for a universe, best first.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Predictions {
    /// The date of the newest bar used.
    pub as_of: Option<Date>,
    /// One row an instrument.
    pub rows: Vec<PredictionRow>,
    /// What came with the answer.
    pub warnings: Vec<String>,
}

/// The answer for one instrument.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictionRow {
    /// The instrument.
    pub symbol: String,
    /// Probability of the top class.
    pub top: f64,
    /// Probability of the bottom class.
    pub bottom: f64,
    /// The expected class.
    pub score: f64,
    /// 1 is the highest score.
    pub rank: usize,
}

/// Writes the page into the data directory and returns its path.
///
/// # Errors
/// [`crate::Kind::Internal`] if it cannot be written.
pub fn write_report(platform: &Platform, run: &RunReport<'_>) -> Result<PathBuf> {
    let page = portfolio::report::html(&fill(platform, run)?);
    let folder = platform.data_dir().join(REPORTS);
    let path = folder.join(format!("{}-v{}.html", run.version.model, run.version.version));
    let draft = path.with_extension("html.part");
    let written = std::fs::create_dir_all(&folder)
        .and_then(|()| std::fs::write(&draft, page))
        .and_then(|()| std::fs::rename(&draft, &path));
    written.map_err(|error| {
        Error::internal(
            format!("cannot write the report {}: {error}; is the disk full?", path.display()),
            error,
        )
    })?;
    Ok(path)
}

fn fill(platform: &Platform, run: &RunReport<'_>) -> Result<Report> {
    let train = run.train;
    let evaluation = &train.evaluation;
    let groups = run.pipeline.backtest.groups;
    Ok(Report {
        title: format!("{} version {}", run.version.model, run.version.version),
        subtitle: format!(
            "{} features, {} of the return from the close of t+1 to the close of t+2",
            train.features.len(),
            run.pipeline.classes().map_or("a forecast".to_owned(), |classes| format!("{classes} classes"))
        ),
        created_at: platform.now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
        verdict: sentences(&train.metrics.verdict),
        data: data(run),
        features: features(run),
        splits: splits(train),
        training: training(run),
        test: test(train),
        groups: portfolio::quantile_returns(&evaluation.signal, &evaluation.returns, groups)?,
        backtest: Some(traded(run)?),
        predictions: predictions(run),
        caveats: Vec::new(),
        provenance: provenance(run),
        next: run.next.clone(),
    })
}

fn sentences(verdict: &str) -> Vec<String> {
    verdict
        .split("; ")
        .map(|part| {
            let mut letters = part.chars();
            let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
            format!("{first}{}.", letters.as_str())
        })
        .collect()
}

fn data(run: &RunReport<'_>) -> DataSection {
    let train = run.train;
    let quality = &train.quality;
    DataSection {
        dataset: format!(
            "{} snapshot {}",
            train.dataset["name"].as_str().unwrap_or_default(),
            train.dataset["snapshot"]
        ),
        source: train.source.clone(),
        first: quality.first_date,
        last: quality.last_date,
        dates: quality.dates,
        universe: train.universe.clone(),
        alive_at_end: train.newest.len(),
        price_resolution: train.price_resolution,
        zero_returns: Some(quality.zero_returns_pct / 100.0),
        adjustment: match train.dataset["adjustment"].as_str() {
            Some("back_adjusted") => Some(
                "back-adjusted by their source, so that past values embed later splits and dividends"
                    .to_owned(),
            ),
            Some("forward") => {
                Some("adjusted for splits and dividends forward from the first bar".to_owned())
            }
            _ => None,
        },
        notes: train.notes.iter().chain(&quality.notes).cloned().collect(),
        quality: quality_rows(train),
    }
}

/// What was found in the data, and what the leak certificate asked.
fn quality_rows(train: &TrainReport) -> Vec<QualityRow> {
    let quality = &train.quality;
    let row = |check: &str, value: String, remark: &str| QualityRow {
        check: check.to_owned(),
        value,
        remark: remark.to_owned(),
    };
    let split_like = quality.suspicious_jumps.iter().filter(|jump| jump.split_like).count();
    let mut rows = vec![
        row("bars", quality.rows.to_string(), "one a date and instrument"),
        row("instruments", quality.instruments.to_string(), "universe, index and what else the files hold"),
        row(
            "instruments that end early",
            quality.ended_early.to_string(),
            "where none does, those that failed may have been left out",
        ),
        row(
            "missing bars",
            format!("{} ({:.2} %)", quality.missing, quality.missing_pct),
            "inside an instrument's own span",
        ),
        row(
            "bars outside the calendar",
            quality.outside_calendar.to_string(),
            "if there is a trading calendar",
        ),
        row("repeated rows", quality.duplicates.to_string(), "left out; rows that contradict are refused"),
        row(
            "corrected bars",
            quality.corrected.to_string(),
            "since their first import; what was known before is kept",
        ),
        row(
            "OHLC violations",
            quality.ohlc_violations.to_string(),
            "high below, or low above, another price",
        ),
        row("zero volumes", quality.zero_volumes.to_string(), "bars without trade"),
        row("stale runs", quality.stale_runs.to_string(), "5 or more closes without a change"),
        row(
            "suspicious jumps",
            quality.suspicious_jumps.len().to_string(),
            "a close 40 % above or 29 % below the one before",
        ),
        row("split-like jumps", split_like.to_string(), "refused unless accepted at import"),
    ];
    rows.extend(quality.survivorship.iter().map(|universe| {
        row(
            &format!("members of {} without prices", universe.universe),
            format!(
                "{} of {} ({:.1} %)",
                universe.without_prices, universe.members, universe.without_prices_pct
            ),
            &universe.examples.join(", "),
        )
    }));
    let checks =
        train.static_checks.iter().map(|check| (&check.name, check.verdict.to_string(), &check.detail));
    let of_model =
        train.model_checks.iter().map(|check| (&check.name, check.outcome.to_string(), &check.detail));
    rows.extend(
        checks
            .chain(of_model)
            .map(|(name, verdict, detail)| row(&format!("leak check {name}"), verdict, detail)),
    );
    rows
}

fn features(run: &RunReport<'_>) -> FeatureSection {
    FeatureSection {
        included: run
            .train
            .expressions
            .iter()
            .map(|(name, expression)| Expression { name: name.clone(), expression: expression.clone() })
            .collect(),
        left_out: run
            .train
            .left_out
            .iter()
            .map(|(name, fields)| LeftOut { name: name.clone(), reason: format!("needs {fields}") })
            .collect(),
        lookback_bars: run.train.lookback_bars,
        label: run.pipeline.label.describe(),
        classes: run.pipeline.classes(),
        processors: run.pipeline.processors.describe(),
    }
}

fn splits(train: &TrainReport) -> SplitSection {
    let date = |value: &serde_json::Value| value.as_str().and_then(|text| text.parse::<Date>().ok());
    let count = |value: &serde_json::Value| value.as_u64().unwrap_or_default() as usize;
    let window = |name: &str| {
        let window = &train.splits[name];
        Some(Window {
            name: name.to_owned(),
            first: date(&window["first_date"])?,
            last: date(&window["last_date"])?,
            dates: count(&window["dates"]),
            rows: count(&window["rows"]),
        })
    };
    SplitSection {
        windows: ["train", "valid", "test"].into_iter().filter_map(window).collect(),
        borders: train
            .borders
            .iter()
            .map(|border| Border {
                name: border.name.clone(),
                purged: border.purged.clone(),
                embargoed: border.embargoed.clone(),
            })
            .collect(),
    }
}

fn training(run: &RunReport<'_>) -> TrainingSection {
    let fit = &run.pipeline.fit;
    let model = &run.pipeline.model;
    let layers = match &model.architecture {
        Some(architecture) => keyword(architecture),
        None => model.layers.iter().map(layer).collect::<Vec<_>>().join(", "),
    };
    let seconds: f64 = run.train.history.iter().map(|epoch| epoch.seconds).sum();
    TrainingSection {
        settings: vec![
            Fact::new("network", layers),
            Fact::new("loss", keyword(&fit.loss)),
            Fact::new("optimizer", keyword(&fit.optimizer)),
            Fact::new("epochs", fit.epochs),
            Fact::new("batch size", fit.batch_size),
            Fact::new("seed", fit.seed),
            Fact::new("duration", format!("{seconds:.1} s")),
        ],
        history: run
            .train
            .history
            .iter()
            .map(|epoch| Epoch {
                loss: epoch.loss,
                accuracy: epoch.metrics.get("accuracy").copied(),
                valid_loss: epoch.val_loss,
                valid_accuracy: epoch.metrics.get("val_accuracy").copied(),
            })
            .collect(),
    }
}

/// `dense 128 relu`: the type of a layer and its values.
fn layer(layer: &::training::LayerConfig) -> String {
    let values = match serde_json::to_value(&layer.kind) {
        Ok(serde_json::Value::Object(fields)) => {
            let plain = fields.iter().filter(|(key, value)| *key != "type" && !value.is_object());
            plain.map(|(_, value)| value.to_string().trim_matches('"').to_owned()).collect::<Vec<_>>().join(" ")
        }
        _ => String::new(),
    };
    format!("{} {values}", layer.kind.type_name()).trim_end().to_owned()
}

/// A setting as the pipeline file writes it.
fn keyword(setting: &impl Serialize) -> String {
    match serde_json::to_value(setting) {
        Ok(serde_json::Value::String(word)) => word,
        Ok(serde_json::Value::Object(fields)) => {
            let part = |(key, value): (&String, &serde_json::Value)| {
                format!("{key} {}", value.to_string().trim_matches('"'))
            };
            fields.iter().map(part).collect::<Vec<_>>().join(", ")
        }
        other => other.map(|value| value.to_string()).unwrap_or_default(),
    }
}

fn test(train: &TrainReport) -> TestSection {
    let metrics = &train.metrics;
    let evaluation = &train.evaluation;
    let dates = evaluation.signal.dates();
    let skipped = dates.len() - evaluation.rank_ic_by_date.len();
    TestSection {
        first: dates.first().copied().unwrap_or(train.quality.first_date),
        last: dates.last().copied().unwrap_or(train.quality.last_date),
        rows: metrics.rows,
        classes: metrics.classes.map(|classes| ClassSkill {
            accuracy: classes.accuracy,
            chance_accuracy: classes.chance_accuracy,
            log_loss: classes.log_loss,
            chance_log_loss: classes.chance_log_loss,
        }),
        numbers: metrics.numbers.map(|numbers| NumberSkill {
            mse: numbers.mse,
            mae: numbers.mae,
            r2: numbers.r2,
        }),
        rank_ic: RankIc {
            mean: metrics.rank_ic.mean,
            std: metrics.rank_ic.std,
            icir: metrics.rank_ic.icir,
            t_statistic: metrics.rank_ic.t_statistic,
            days: metrics.rank_ic.days,
            skipped,
        },
        daily_rank_ic: evaluation.rank_ic_by_date.clone(),
    }
}

fn traded(run: &RunReport<'_>) -> Result<BacktestSection> {
    let evaluation = &run.train.evaluation;
    let config =
        backtest::Config { groups: run.pipeline.backtest.groups, cost_bps: run.pipeline.backtest.cost_bps };
    let backtest = backtest::long_short(&evaluation.signal, &evaluation.returns, &config)?;
    Ok(BacktestSection { benchmark: benchmark(run, &backtest)?, backtest })
}

fn benchmark(run: &RunReport<'_>, backtest: &Backtest) -> Result<Option<Benchmark>> {
    let (Some(name), Some(returns)) = (&run.pipeline.data.benchmark, &run.train.benchmark_returns) else {
        return Ok(None);
    };
    Ok(Some(Benchmark { name: name.clone(), returns: backtest.align(returns)? }))
}

fn predictions(run: &RunReport<'_>) -> Option<PredictionSection> {
    let rows = &run.predictions.rows;
    Some(PredictionSection {
        as_of: run.predictions.as_of?,
        answered_by: format!(
            "{} version {} on endpoint {}, over HTTP",
            run.version.model, run.version.version, run.endpoint
        ),
        rows: rows
            .iter()
            .map(|row| portfolio::report::PredictionRow {
                symbol: row.symbol.clone(),
                top: row.top,
                bottom: row.bottom,
                score: row.score,
                rank: row.rank,
            })
            .collect(),
        chance: run.train.metrics.classes.map(|classes| classes.chance_accuracy),
        warnings: run.predictions.warnings.clone(),
    })
}

fn provenance(run: &RunReport<'_>) -> Vec<Fact> {
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
    vec![
        Fact::new("program", concat!("bellwether ", env!("CARGO_PKG_VERSION"))),
        Fact::new("model", format!("{} version {}", run.version.model, run.version.version)),
        Fact::new("endpoint", run.endpoint),
        Fact::new("served = trained", run.replay),
        Fact::new("artifact", &run.version.artifact_uri),
        Fact::new("bundle.json SHA-256", &run.version.bundle_digest),
        Fact::new("data set SHA-256", text(&run.train.dataset["digest"])),
        Fact::new("seed", run.train.seed),
    ]
}
