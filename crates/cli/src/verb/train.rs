//! `train`: a pipeline file in, a bundle out, with an honest word about the test window; or a job of a server.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use platform::{
    Check, Error, Kind, ModelCheck, Outcome, PinnedSnapshot, Pipeline, TrainOptions, TrainReport, Verdict,
};
use serde::Serialize;

use crate::args::TrainArgs;
use crate::client::Client;
use crate::context::Context;
use crate::interrupt::interrupted;
use crate::output::{Show, pairs};
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
            ("accuracy", format!("{:.4} (chance {:.4})", metrics.accuracy, metrics.chance_accuracy)),
            ("log-loss", format!("{:.4} (chance {:.4})", metrics.log_loss, metrics.chance_log_loss)),
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
    let pipeline = Pipeline::read(&args.pipeline)?;
    match &context.settings.server.value {
        Some(_) if args.read_only => context.refuse_server()?,
        Some(url) => return queue(context, url, &pipeline, args).await,
        None => {}
    }
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{}-bundle", pipeline.name())),
    };
    let platform = if args.read_only {
        let dataset = pipeline.data.dataset.clone();
        let pinned = args.snapshot.map(|snapshot| PinnedSnapshot { dataset, snapshot });
        context.open_read_only(pinned).await?
    } else {
        context.open_platform().await?
    };
    let options = TrainOptions { out: &out, base_dir: folder_of(&args.pipeline) };
    let mut progress = Progress::new(&context.interrupt);
    let trained = platform.train(&pipeline, options, &mut progress).await;
    drop(progress);
    let report =
        trained.map_err(|error| if error.kind() == Kind::Cancelled { interrupted() } else { error })?;
    context.output.show(&TrainView(&report))
}

/// Queues a job at a server.
async fn queue(context: &Context, url: &str, pipeline: &Pipeline, args: &TrainArgs) -> Result<(), Error> {
    if args.out.is_some() {
        let message =
            "the server registers the bundle as a version of the model; leave --out or --server out";
        return Err(Error::invalid("--out", message));
    }
    let client = Client::new(url, context.project())?;
    let job = client.create_job(pipeline.text()).await?;
    context.output.show(&QueuedView::new(job.into(), client.url()))
}

/// The folder that relative paths in a pipeline file start from.
pub(crate) fn folder_of(pipeline: &Path) -> &Path {
    match pipeline.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}
