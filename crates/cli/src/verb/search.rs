//! `search`: a pipeline file with a section `[search]` in; a table of trials and the best model out.

use std::path::PathBuf;

use platform::{Error, FitOptions, Pipeline, SearchReport, TrainOptions};
use serde::Serialize;

use crate::args::train::SearchArgs;
use crate::context::Context;
use crate::output::{Column, Show, table};
use crate::progress::Progress;
use crate::verb::train::{TrainView, cpu_model, folder_of};

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
        text + &format!("registered as {} version {}\n", report.version.model, report.version.version)
    }
}

/// `search`
pub(crate) async fn search(context: &Context, args: &SearchArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let pipeline = Pipeline::read(&args.pipeline)?;
    let out = match &args.out {
        Some(out) => out.clone(),
        None => PathBuf::from(format!("{}-bundle", pipeline.name())),
    };
    let platform = context.open_platform().await?;
    let fit =
        FitOptions { threads: args.threads, device: args.device, cpu: cpu_model(), ..FitOptions::default() };
    let options = TrainOptions { out: &out, base_dir: folder_of(&args.pipeline), fit };
    let mut progress = Progress::new(&context.interrupt);
    let found = platform.search(context.project(), &pipeline, &options, &mut progress).await;
    drop(progress);
    context.output.show(&SearchView(found?))
}
