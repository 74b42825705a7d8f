//! `search`: a pipeline file with a section `[search]` in; a table of trials and the best model out; or a job of a server.

use std::path::PathBuf;

use platform::{ComputeDevice, Error, FitOptions, PinnedSnapshot, Pipeline, SearchReport, TrainOptions};
use serde::Serialize;

use crate::args::train::SearchArgs;
use crate::client::Client;
use crate::context::Context;
use crate::output::{Column, Show, table};
use crate::progress::Progress;
use crate::verb::job::QueuedView;
use crate::verb::train::{TrainView, cpu_model, folder_of, refuse_at_server, seconds_since_1970};

/// Trials shown to a person; `--json` has all.
const SHOWN: usize = 20;

/// What a search found.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct SearchView(SearchReport);

impl Show for SearchView {
    fn text(&self) -> String {
        let report = &self.0;
        let columns = [
            Column::Figure("trial"),
            Column::Figure("value"),
            Column::Text("state"),
            Column::Text("parameters"),
        ];
        let rows = report.trials.iter().take(SHOWN).map(|trial| {
            let parameters = trial.parameters.as_object().into_iter().flatten();
            let parameters: Vec<String> =
                parameters.map(|(path, value)| format!("{path} = {value}")).collect();
            let state = if trial.error.is_empty() {
                trial.state.clone()
            } else {
                format!("{}: {}", trial.state, trial.error)
            };
            vec![
                trial.number.to_string(),
                trial.value.map(|value| format!("{value:.6}")).unwrap_or_default(),
                state,
                parameters.join(", "),
            ]
        });
        let mut text = format!("study {}, judged by {} on validation rows:\n", report.study, report.monitor);
        text += &table(&columns, rows);
        if report.trials.len() > SHOWN {
            text += &format!("and {} more (--json has all)\n", report.trials.len() - SHOWN);
        }
        text += &format!(
            "{} trials of this model on this data so far: the more were tried, the less the best one says\n\n",
            report.trials_of_model
        );
        text += &TrainView(&report.best).text();
        match &report.version {
            Some(version) => text + &format!("registered as {} version {}\n", version.model, version.version),
            None => text,
        }
    }
}

/// `search`
pub(crate) async fn search(context: &Context, args: &SearchArgs) -> Result<(), Error> {
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
    let fit = FitOptions {
        threads: args.threads,
        device: args.device,
        resume: args.resume,
        keeps: Some(seconds_since_1970),
        cpu: cpu_model(),
        ..FitOptions::default()
    };
    let options = TrainOptions { out: &out, base_dir: folder_of(&args.pipeline), fit };
    let mut progress = Progress::new(&context.interrupt);
    let found = match &args.trials {
        Some(journal) => {
            let dataset = pipeline.data.dataset.clone();
            let pinned = args.snapshot.map(|snapshot| PinnedSnapshot { dataset, snapshot });
            let platform = context.open_read_only(pinned).await?;
            platform.search_beside(journal, &pipeline, &options, &mut progress).await
        }
        None => {
            let platform = context.open_platform().await?;
            platform.search(context.project(), &pipeline, &options, &mut progress).await
        }
    };
    drop(progress);
    context.output.show(&SearchView(found?))
}

/// Queues a job at a server.
async fn queue(context: &Context, url: &str, pipeline: &Pipeline, args: &SearchArgs) -> Result<(), Error> {
    refuse_at_server(&[
        (args.out.is_some(), "--out", "the server registers the best one as a version of the model"),
        (args.resume, "--resume", "a job goes on by itself, or with `bellwether job resume`"),
        (args.threads.is_some(), "--threads", "a job computes on the cores of the server"),
        (
            args.device != ComputeDevice::Cpu,
            "--device",
            "BELLWETHER_DEVICE of the server says what jobs compute on",
        ),
    ])?;
    let client = Client::new(url, context.project(), &context.settings.access())?;
    let job = client.create_search(pipeline.text()).await?;
    context.output.show(&QueuedView::new(job.into(), client.url()))
}
