//! `train`: a pipeline file in, a bundle out, with an honest word about the test window; or a job of a server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use platform::{
    Check, ComputeDevice, Error, FitOptions, ModelCheck, Outcome, PinnedSnapshot, PinnedTable, Pipeline,
    StartFrom, Summary, TablePipeline, TableReport, TestMetrics, TrainOptions, TrainReport, Verdict,
};
use serde::Serialize;

use crate::args::train::TrainArgs;
use crate::client::Client;
use crate::context::Context;
use crate::output::{Column, Show, pairs, table};
use crate::progress::Progress;
use crate::verb::job::QueuedView;

/// What training made.
#[derive(Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct TrainView<'a>(pub(crate) &'a TrainReport);

impl Show for TrainView<'_> {
    fn text(&self) -> String {
        let report = self.0;
        let metrics = &report.metrics;
        let dataset = |key: &str| match &report.dataset[key] {
            serde_json::Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let ic = &metrics.rank_ic;
        let lines = pairs([
            (
                "data",
                format!(
                    "{}@{}, {} to {}",
                    dataset("name"),
                    dataset("snapshot"),
                    dataset("first_date"),
                    dataset("last_date")
                ),
            ),
            ("features", features_text(report)),
            (
                "rows",
                format!(
                    "{} train, {} valid, {} test",
                    report.rows.train, report.rows.valid, report.rows.test
                ),
            ),
            ("test", test_text(metrics)),
            (
                "rank IC",
                format!(
                    "{:+.4} a day, t {:+.2}, ICIR {:+.3}, {} days",
                    ic.mean, ic.t_statistic, ic.icir, ic.days
                ),
            ),
            ("verdict", metrics.verdict.clone()),
            ("leak checks", checks_text(report)),
            ("seed", report.seed.to_string()),
            ("bundle", format!("{} (sha256 {})", report.bundle_dir.display(), report.bundle_digest)),
        ]);
        format!("{lines}next: bellwether model upload {}\n", report.bundle_dir.display())
    }
}

/// How near the model came, beside its ranking.
fn test_text(metrics: &TestMetrics) -> String {
    if let Some(classes) = &metrics.classes {
        return format!(
            "accuracy {:.4} (chance {:.4}), log-loss {:.4} (chance {:.4})",
            classes.accuracy, classes.chance_accuracy, classes.log_loss, classes.chance_log_loss
        );
    }
    let numbers = metrics.numbers.as_ref();
    numbers.map_or_else(String::new, |numbers| {
        format!(
            "R2 {:+.4}, mean absolute error {:.4}, mean squared error {:.6}",
            numbers.r2, numbers.mae, numbers.mse
        )
    })
}

/// What training on a table made.
#[derive(Debug, Serialize)]
struct TableView<'a> {
    #[serde(flatten)]
    report: &'a TableReport,
    /// From the start of the program to the end of the first update.
    startup_seconds: Option<f64>,
}

impl Show for TableView<'_> {
    fn text(&self) -> String {
        let report = self.report;
        let figures = |values: &mut dyn Iterator<Item = (&String, &f64)>| {
            let words: Vec<String> = values.map(|(name, value)| format!("{name} {value:.6}")).collect();
            if words.is_empty() { "no rows".to_owned() } else { words.join(", ") }
        };
        let rows = &report.rows;
        let lines = pairs([
            ("table", format!("{} (sha256 {})", text(&report.table["table"]), text(&report.table["digest"]))),
            ("features", format!("{}, not certified: computed elsewhere", report.features.len())),
            ("rows", format!("{} train, {} valid, {} test", rows.train, rows.valid, rows.test)),
            ("test", figures(&mut report.test.iter())),
            ("seed", report.seed.to_string()),
            ("bundle", format!("{} (sha256 {})", report.bundle_dir.display(), report.bundle_digest)),
        ]);
        format!("{lines}next: bellwether model upload {}\n", report.bundle_dir.display())
    }
}

fn text(value: &serde_json::Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// What would be trained.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct SummaryView<'a>(&'a Summary);

impl Show for SummaryView<'_> {
    fn text(&self) -> String {
        let summary = self.0;
        let rows = summary.layers.iter().map(|layer| {
            vec![
                layer.name.clone(),
                layer.type_name.clone(),
                layer.inputs.join(", "),
                format!("{:?}", layer.output_shape),
                layer.parameters.to_string(),
            ]
        });
        let columns = [
            Column::Text("layer"),
            Column::Text("type"),
            Column::Text("inputs"),
            Column::Text("output"),
            Column::Figure("parameters"),
        ];
        let layers = table(&columns, rows);
        let inputs: Vec<String> =
            summary.inputs.iter().map(|(name, shape)| format!("{name} {shape:?}")).collect();
        let outputs: Vec<String> =
            summary.outputs.iter().map(|(name, units)| format!("{name} [{units}]")).collect();
        let mb = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let facts = pairs([
            ("inputs", inputs.join(", ")),
            ("outputs", outputs.join(", ")),
            ("parameters", format!("{}, {} trainable", summary.parameters, summary.trainable)),
            (
                "memory",
                format!(
                    "{} for weights, gradients and optimizer, about {} for a batch; the rows come on top",
                    mb(summary.weights_bytes),
                    mb(summary.batch_bytes)
                ),
            ),
        ]);
        format!("{layers}\n{facts}")
    }
}

/// What each leak check came to; in full where it did not pass.
fn checks_text(report: &TrainReport) -> String {
    let of_data = |check: &Check| match check.verdict {
        Verdict::Passed => None,
        other => Some(format!("{} {other} ({}; see `bellwether data certify`)", check.name, check.detail)),
    };
    let passed = report.static_checks.iter().filter(|check| check.verdict == Verdict::Passed).count();
    let mut words = vec![format!("{passed} of {} without a model passed", report.static_checks.len())];
    words.extend(report.static_checks.iter().filter_map(of_data));
    let text = |check: &ModelCheck| match check.outcome {
        Outcome::Passed => format!("{} passed", check.name),
        other => format!("{} {other} ({})", check.name, check.detail),
    };
    words.extend(report.model_checks.iter().map(text));
    words.join(", ")
}

/// How many features there are, and for want of which fields some of the set are not.
fn features_text(report: &TrainReport) -> String {
    let used = format!("{} used", report.features.len());
    if report.left_out.is_empty() {
        return used;
    }
    let fields: BTreeSet<&str> = report.left_out.iter().flat_map(|(_, fields)| fields.split(", ")).collect();
    let fields: Vec<&str> = fields.into_iter().collect();
    let count = report.left_out.len();
    format!(
        "{used}, {count} of the set left out because the data lacks {} (--json names them)",
        fields.join(", ")
    )
}

/// `train`
pub(crate) async fn train(context: &Context, args: &TrainArgs) -> Result<(), Error> {
    let file = PipelineFile::read(&args.pipeline)?.over(args)?;
    match &context.settings.server.value {
        Some(_) if args.read_only => context.refuse_server()?,
        Some(url) => return queue(context, url, &file, args).await,
        None => {}
    }
    let platform = if args.read_only {
        let dataset = file.dataset().to_owned();
        let pinned = args.snapshot.map(|snapshot| PinnedSnapshot { dataset, snapshot });
        context.open_read_only(pinned).await?
    } else {
        context.open_platform().await?
    };
    let base_dir = folder_of(&args.pipeline);
    if args.dry_run {
        let summary = match &file {
            PipelineFile::Dataset(pipeline) => platform.summary(pipeline, base_dir).await?,
            PipelineFile::Table(pipeline) => platform.table_summary(pipeline, base_dir)?,
        };
        return context.output.show(&SummaryView(&summary));
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{}-bundle", file.name())),
    };
    let options = TrainOptions { out: &out, base_dir, fit: fit_options(context, args)? };
    let mut progress = Progress::new(&context.interrupt);
    match &file {
        PipelineFile::Dataset(pipeline) => {
            let trained = platform.train(pipeline, &options, &mut progress).await;
            drop(progress);
            context.output.show(&TrainView(&trained?))
        }
        PipelineFile::Table(pipeline) => {
            let trained = platform.train_table(pipeline, &options, &mut progress).await;
            let first = progress.first_update();
            drop(progress);
            let startup_seconds = first.map(|first| first.duration_since(context.started).as_secs_f64());
            context.output.show(&TableView { report: &trained?, startup_seconds })
        }
    }
}

/// A pipeline over a data set, or over a table of rows computed elsewhere.
enum PipelineFile {
    Dataset(Box<Pipeline>),
    Table(Box<TablePipeline>),
}

impl PipelineFile {
    fn read(path: &Path) -> Result<Self, Error> {
        if TablePipeline::is_in(path) {
            return Ok(Self::Table(Box::new(TablePipeline::read(path)?)));
        }
        Ok(Self::Dataset(Box::new(Pipeline::read(path)?)))
    }

    /// The same over the table that is named on the command line, if one is.
    fn over(self, args: &TrainArgs) -> Result<Self, Error> {
        let Some(path) = args.table.clone() else { return Ok(self) };
        match self {
            Self::Table(pipeline) => {
                let table = PinnedTable { path, sha256: args.table_sha256.clone() };
                Ok(Self::Table(Box::new(pipeline.over(table))))
            }
            Self::Dataset(_) => {
                let message =
                    "the pipeline is over a data set; --table is for one with [data] table = \"...\"";
                Err(Error::invalid("--table", message))
            }
        }
    }

    fn text(&self) -> &str {
        match self {
            Self::Dataset(pipeline) => pipeline.text(),
            Self::Table(pipeline) => pipeline.text(),
        }
    }

    /// The name of the data set, if it is over one.
    fn dataset(&self) -> &str {
        match self {
            Self::Dataset(pipeline) => &pipeline.data.dataset,
            Self::Table(_) => "",
        }
    }

    fn name(&self) -> &str {
        match self {
            Self::Dataset(pipeline) => pipeline.name(),
            Self::Table(pipeline) => pipeline.name(),
        }
    }
}

/// What this machine calls its CPU.
pub(crate) fn cpu_model() -> Option<String> {
    let text = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    let name = line.and_then(|line| line.split_once(':')).map(|(_, name)| name.trim().to_owned());
    name.filter(|name| !name.is_empty()).or_else(|| Some(std::env::consts::ARCH.to_owned()))
}

/// What logs are stamped with.
pub(crate) fn seconds_since_1970() -> f64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0.0, |elapsed| elapsed.as_secs_f64())
}

fn fit_options(context: &Context, args: &TrainArgs) -> Result<FitOptions, Error> {
    let memory_bytes = match args.memory_gb {
        None => None,
        Some(gb) if gb.is_finite() && gb > 0.0 => Some((gb * 1e9) as u64),
        Some(gb) => {
            let message = format!("--memory-gb must be a positive number, got {gb}");
            return Err(Error::invalid("memory-gb", message));
        }
    };
    let from = args
        .from
        .as_ref()
        .map(|reference| StartFrom { project: context.project().to_owned(), reference: reference.clone() });
    Ok(FitOptions {
        threads: args.threads,
        device: args.device,
        resume: args.resume,
        keeps: Some(seconds_since_1970),
        from,
        cpu: cpu_model(),
        memory_bytes,
    })
}

/// Queues a job at a server.
async fn queue(context: &Context, url: &str, file: &PipelineFile, args: &TrainArgs) -> Result<(), Error> {
    refuse_of_this_machine(args)?;
    let client = Client::new(url, context.project(), &context.settings.access())?;
    let job = client.create_training(file.text(), args.from.as_deref()).await?;
    context.output.show(&QueuedView::new(job.into(), client.url()))
}

/// Refuses what says how to train on this machine, which a server would not follow.
fn refuse_of_this_machine(args: &TrainArgs) -> Result<(), Error> {
    let folder = args.from.as_deref().is_some_and(|from| Path::new(from).is_dir());
    refuse_at_server(&[
        (args.out.is_some(), "--out", "the server registers the bundle as a version of the model"),
        (args.resume, "--resume", "a job goes on by itself, or with `bellwether job resume`"),
        (args.dry_run, "--dry-run", "a dry run reads the data of this machine"),
        (args.table.is_some(), "--table", "the server reads the table that the pipeline names"),
        (args.threads.is_some(), "--threads", "a job computes on the cores of the server"),
        (args.memory_gb.is_some(), "--memory-gb", "a job computes in the memory of the server"),
        (
            args.device != ComputeDevice::Cpu,
            "--device",
            "BELLWETHER_DEVICE of the server says what jobs compute on",
        ),
        (
            folder,
            "--from",
            "a folder is of this machine; upload it with `bellwether model upload` and name MODEL@VERSION",
        ),
    ])
}

/// Refuses the first of some flags that was given, with why a server would not follow it.
pub(crate) fn refuse_at_server(flags: &[(bool, &str, &str)]) -> Result<(), Error> {
    match flags.iter().find(|(given, ..)| *given) {
        None => Ok(()),
        Some((_, flag, why)) => {
            let message = format!("{why}; leave {flag} or --server (BELLWETHER_SERVER) out");
            Err(Error::invalid(flag, message))
        }
    }
}

/// The folder that relative paths in a pipeline file start from.
pub(crate) fn folder_of(pipeline: &Path) -> &Path {
    match pipeline.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
