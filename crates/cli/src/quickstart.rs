//! `quickstart` and `run`: a pipeline's whole way, from prices to an answer over the network and a report.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::{
    ArtifactSource, BatchProgress, Command, Control, CreateEndpoint, Deploy, EpochReport, Error, FitOptions,
    Instance, Kind, ModelTexts, ModelVersion, Observer, Pipeline, Platform, PredictionRow, Predictions,
    QUICKSTART_ORIGIN, QUICKSTART_PIPELINE, ResourceRequest, RunReport, Snapshot, Standing, TrainObserver,
    TrainOptions, TrainReport, UploadModel, UploadTarget, is_distribution, score,
};
use serde::Serialize;
use serde_json::json;
use tokio::net::TcpListener;

use crate::args::{QuickstartArgs, RunArgs};
use crate::client::{Client, Prediction};
use crate::context::Context;
use crate::output::{Column, Output, note, table};
use crate::progress::Progress;
use crate::server::{FREE_PORT, Guard, Server, bind};
use crate::verb::data::quality_text;
use crate::verb::train::cpu_model;

/// Shown in the lines to paste; the server echoes any location.
const LOCATION: &str = "us-central1";

/// `quickstart`: the pipeline and the data inside the binary.
pub(crate) async fn quickstart(context: &Context, args: QuickstartArgs) -> Result<(), Error> {
    let pipeline = Pipeline::parse(QUICKSTART_PIPELINE, QUICKSTART_ORIGIN)?;
    let journey =
        Journey { context, pipeline, base_dir: PathBuf::from("."), serve: args.serve, listen: args.listen };
    journey.run().await
}

/// `run PIPELINE.toml`: the same for a user's pipeline.
pub(crate) async fn run(context: &Context, args: RunArgs) -> Result<(), Error> {
    let pipeline = Pipeline::read(&args.pipeline)?;
    let base_dir = args.pipeline.parent().unwrap_or(Path::new(".")).to_owned();
    let journey = Journey { context, pipeline, base_dir, serve: args.serve, listen: args.listen };
    journey.run().await
}

struct Journey<'a> {
    context: &'a Context,
    pipeline: Pipeline,
    base_dir: PathBuf,
    serve: bool,
    listen: Option<String>,
}

/// What the whole way came to; the JSON document of the verb.
#[derive(Debug, Serialize)]
struct Outcome<'a> {
    train: &'a TrainReport,
    model: &'a str,
    version: u32,
    artifact_uri: &'a str,
    endpoint: &'a str,
    deployment: &'a str,
    replay: &'a str,
    as_of: Option<jiff::civil::Date>,
    predictions: &'a [PredictionRow],
    /// Largest difference between the answers by symbol and by vector; served equals trained at 0.
    vector_difference: f32,
    report: &'a Path,
}

impl Journey<'_> {
    async fn run(self) -> Result<(), Error> {
        // Taken first: minutes of training are not lost to a port that is in use.
        let listener = self.listener().await?;
        let platform = self.context.open_platform().await?;
        let trained = self.train(&platform).await?;
        self.say(&training_text(&trained));
        let version = self.upload(&platform, &trained).await?;
        let status = self.deploy(&platform, &version).await?;
        // What else the directory had in service comes back too: the server is the same as `serve`'s.
        platform.restore_deployments().await?;

        let server = Server::start(&platform, listener, &self.context.settings, None)?;
        let client = Client::new(server.url(), self.context.project(), &self.context.settings.access())?;
        let (by_symbol, predictions) = self.predict(&client, &trained).await?;
        self.say(&prediction_text(&by_symbol, &predictions));
        let difference = self.predict_by_vector(&client, &trained, &by_symbol).await?;
        let next = self.next_commands(&predictions);
        let page = RunReport {
            train: &trained,
            pipeline: &self.pipeline,
            version: &version,
            endpoint: self.pipeline.endpoint(),
            replay: &status.replay,
            predictions: &predictions,
            next: next.clone(),
        };
        let report = platform::write_report(&platform, &page)?;
        let outcome = Outcome {
            train: &trained,
            model: &version.model,
            version: version.version,
            artifact_uri: &version.artifact_uri,
            endpoint: self.pipeline.endpoint(),
            deployment: &status.deployment,
            replay: &status.replay,
            as_of: predictions.as_of,
            predictions: &predictions.rows,
            vector_difference: difference,
            report: &report,
        };
        self.finish(&outcome, &next)?;
        if self.serve {
            note(&format!("serving     {} until Ctrl-C", server.url()));
            return server.until_interrupted(&self.context.interrupt).await;
        }
        server.stop().await
    }

    async fn listener(&self) -> Result<TcpListener, Error> {
        match (&self.listen, self.serve) {
            (Some(address), _) => bind(address, Guard::default()).await,
            (None, true) => bind(&self.context.settings.listen.value, Guard::default()).await,
            (None, false) => bind(FREE_PORT, Guard::default()).await,
        }
    }

    async fn train(&self, platform: &Arc<Platform>) -> Result<TrainReport, Error> {
        let out = platform.scratch_directory()?;
        let mut observer =
            Follow { progress: Progress::new(&self.context.interrupt), output: self.context.output };
        let options = TrainOptions {
            out: &out,
            base_dir: &self.base_dir,
            fit: FitOptions { cpu: cpu_model(), ..FitOptions::default() },
        };
        platform.train(&self.pipeline, &options, &mut observer).await
    }

    async fn upload(&self, platform: &Platform, trained: &TrainReport) -> Result<ModelVersion, Error> {
        let request = UploadModel {
            project: self.context.project().to_owned(),
            target: UploadTarget::NewOrVersionOf { id: Some(self.pipeline.name().to_owned()) },
            about: ModelTexts::default(),
            description: trained.metrics.verdict.clone(),
            source: ArtifactSource::Path(trained.bundle_dir.clone()),
            aliases: vec!["default".to_owned()],
            labels: std::collections::BTreeMap::new(),
            signature: None,
        };
        let version = platform.upload_model(request).await?;
        platform.remove_scratch_directory(&trained.bundle_dir);
        note(&format!("upload    {}", version.artifact_uri));
        let before = match version.version {
            1 => String::new(),
            n => format!(" (versions 1 to {} stay as they are)", n - 1),
        };
        self.say(&format!(
            "\nregistered model {} version {}, alias default{before}\n",
            version.model, version.version
        ));
        Ok(version)
    }

    /// Puts the version on the pipeline's endpoint with all the traffic, then takes out what was there.
    async fn deploy(
        &self,
        platform: &Platform,
        version: &ModelVersion,
    ) -> Result<platform::DeploymentStatus, Error> {
        let (project, endpoint) = (self.context.project(), self.pipeline.endpoint());
        let before = match platform.get_endpoint(project, endpoint).await {
            Ok(found) => found.deployments,
            Err(error) if error.kind() == Kind::NotFound => {
                let request = CreateEndpoint {
                    project: project.to_owned(),
                    id: Some(endpoint.to_owned()),
                    display_name: endpoint.to_owned(),
                    description: String::new(),
                    labels: std::collections::BTreeMap::new(),
                };
                platform.create_endpoint(request).await?.deployments
            }
            Err(error) => return Err(error),
        };
        let request = Deploy {
            project: project.to_owned(),
            endpoint: endpoint.to_owned(),
            model: format!("{}@{}", version.model, version.version),
            deployment_id: None,
            display_name: None,
            resources: ResourceRequest {
                cpu_cores: Some(self.pipeline.deploy.cpu_cores),
                memory_gb: Some(self.pipeline.deploy.memory_gb),
                ..ResourceRequest::default()
            },
            engine: None,
            traffic_split: Some([("0".to_owned(), 100)].into()),
            standing: Standing::default(),
        };
        let deployed = platform.deploy(request).await?;
        for old in before {
            platform.undeploy(project, endpoint, &old.id, None).await?;
        }
        let status = platform
            .deployment_status(project, endpoint, &deployed.id)
            .ok_or_else(|| Error::new(Kind::Internal, "the deployment is not in service"))?;
        self.say(&format!(
            "deployed to endpoint {endpoint}: {} with {} threads, {:.1} MB of {} GB measured; {}\n",
            status.engine,
            status.threads,
            status.memory_bytes as f64 / 1e6,
            self.pipeline.deploy.memory_gb,
            status.replay
        ));
        Ok(status)
    }

    async fn predict(
        &self,
        client: &Client,
        trained: &TrainReport,
    ) -> Result<(Prediction, Predictions), Error> {
        let symbols: Vec<&str> = trained.newest.iter().map(|row| row.symbol.as_str()).collect();
        let instances: Vec<Instance> = symbols.iter().map(|s| Instance::Symbol((*s).to_owned())).collect();
        let answer = client.predict(self.pipeline.endpoint(), &instances, self.pipeline.data.as_of).await?;
        let mut rows: Vec<PredictionRow> = symbols
            .iter()
            .zip(&answer.resource.predictions)
            .map(|(symbol, p)| PredictionRow {
                symbol: (*symbol).to_owned(),
                top: f64::from(p.last().copied().unwrap_or(f32::NAN)),
                bottom: f64::from(p.first().copied().unwrap_or(f32::NAN)),
                score: score(p),
                rank: 0,
            })
            .collect();
        rows.sort_by(|a, b| b.score.total_cmp(&a.score).then_with(|| a.symbol.cmp(&b.symbol)));
        for (at, row) in rows.iter_mut().enumerate() {
            row.rank = at + 1;
        }
        let predictions = Predictions {
            as_of: answer.resource.metadata.as_of,
            rows,
            warnings: answer.resource.metadata.warnings.clone(),
        };
        Ok((answer, predictions))
    }

    /// Asks the same by the raw features that training saw, and compares the answers.
    async fn predict_by_vector(
        &self,
        client: &Client,
        trained: &TrainReport,
        by_symbol: &Prediction,
    ) -> Result<f32, Error> {
        let instances: Vec<Instance> =
            trained.newest.iter().map(|row| Instance::Vector(row.features.clone())).collect();
        let by_vector = client.predict(self.pipeline.endpoint(), &instances, None).await?;
        let pairs = by_symbol.resource.predictions.iter().zip(&by_vector.resource.predictions);
        let difference =
            pairs.flat_map(|(a, b)| a.iter().zip(b)).map(|(a, b)| (a - b).abs()).fold(0.0f32, f32::max);
        self.say(&format!(
            "the same {} rows by raw feature vector ({} numbers each): largest difference {difference}\n",
            instances.len(),
            trained.features.len()
        ));
        Ok(difference)
    }

    /// What a user can paste next: serve, curl, python.
    fn next_commands(&self, predictions: &Predictions) -> Vec<Command> {
        let address = &self.context.settings.listen.value;
        let project = self.context.project();
        let endpoint = self.pipeline.endpoint();
        let url = format!(
            "http://{address}/v1/projects/{project}/locations/{LOCATION}/endpoints/{endpoint}:predict"
        );
        let symbol = predictions.rows.first().map_or("SYMBOL", |row| row.symbol.as_str());
        let as_of = predictions.as_of.map(|date| date.to_string()).unwrap_or_default();
        let body = json!({"instances": [{"symbol": symbol}], "parameters": {"as_of": as_of}});
        let serve =
            format!("{} serve --data-dir {}", program(), quoted(&self.context.settings.data_dir.value));
        let curl = format!("curl -s {url} -H 'content-type: application/json' -d '{body}'");
        let python = format!(
            "python3 -c 'import urllib.request as u; print(u.urlopen(u.Request(\"{url}\", b\"\"\"{body}\"\"\", \
             {{\"content-type\": \"application/json\"}})).read().decode())'"
        );
        let command =
            |title: &str, code: String| Command { title: title.to_owned(), language: "sh".to_owned(), code };
        vec![
            command("Keep it running", serve),
            command("Ask it with curl", curl),
            command("Ask it with Python", python),
        ]
    }

    fn finish(&self, outcome: &Outcome<'_>, next: &[Command]) -> Result<(), Error> {
        if self.context.output == Output::Json {
            return self.context.output.show(&JsonOnly(outcome));
        }
        let mut text = "\nnext:\n".to_owned();
        for command in next {
            text += &format!("  {}\n", command.code);
        }
        self.say(&format!("{text}\nreport: {}\n", outcome.report.display()));
        Ok(())
    }

    /// Prints a paragraph for a person; a program gets one document at the end.
    fn say(&self, text: &str) {
        if self.context.output == Output::Human {
            crate::output::print(text);
        }
    }
}

/// A document that is only shown as JSON.
#[derive(Serialize)]
#[serde(transparent)]
struct JsonOnly<'a>(&'a Outcome<'a>);

impl crate::output::Show for JsonOnly<'_> {
    fn text(&self) -> String {
        String::new()
    }
}

/// Prints the data's quality once it is imported, and the progress of the rest.
struct Follow {
    progress: Progress,
    output: Output,
}

impl Observer for Follow {
    fn on_epoch_begin(&mut self, epoch: usize, epochs: usize) {
        self.progress.on_epoch_begin(epoch, epochs);
    }
    fn on_batch_end(&mut self, progress: &BatchProgress) -> Control {
        self.progress.on_batch_end(progress)
    }
    fn on_epoch_end(&mut self, report: &EpochReport) -> Control {
        self.progress.on_epoch_end(report)
    }
}

impl TrainObserver for Follow {
    fn on_stage(&mut self, stage: &str, detail: &str) {
        self.progress.on_stage(stage, detail);
    }

    fn on_data(&mut self, snapshot: &Snapshot) {
        if self.output == Output::Human {
            crate::output::print(&quality_text(snapshot));
        }
    }
}

fn training_text(report: &TrainReport) -> String {
    let metrics = &report.metrics;
    let ic = &metrics.rank_ic;
    let figure = |name: &str, value: String, against: String| vec![name.to_owned(), value, against];
    let mut rows = Vec::new();
    if let Some(classes) = &metrics.classes {
        let accuracy = format!("{:.4}", classes.accuracy);
        rows.push(figure("accuracy", accuracy, format!("{:.4} by chance", classes.chance_accuracy)));
        let chance = format!("{:.4} = ln {:.0}", classes.chance_log_loss, classes.chance_log_loss.exp());
        rows.push(figure("log-loss", format!("{:.4}", classes.log_loss), chance));
    }
    if let Some(numbers) = &metrics.numbers {
        rows.push(figure("R2", format!("{:+.4}", numbers.r2), "0 by the mean".to_owned()));
    }
    rows.extend([
        figure("daily rank IC, mean", format!("{:+.4}", ic.mean), format!("0 by chance, {} days", ic.days)),
        figure("t-statistic", format!("{:+.2}", ic.t_statistic), "|t| < 2: not told from chance".to_owned()),
        figure("ICIR (daily)", format!("{:+.4}", ic.icir), String::new()),
    ]);
    let mut text = format!("\ntest window, {} rows never seen in training:\n", metrics.rows);
    text += &table(&[Column::Text("figure"), Column::Figure("value"), Column::Text("compare with")], rows);
    text += &format!("verdict: {}\n", metrics.verdict);
    if !report.left_out.is_empty() {
        let fields: std::collections::BTreeSet<&str> =
            report.left_out.iter().flat_map(|(_, fields)| fields.split(", ")).collect();
        let fields: Vec<&str> = fields.into_iter().collect();
        text += &format!(
            "features: {} used, {} of the set left out because the data lacks {} (listed in the report)\n",
            report.features.len(),
            report.left_out.len(),
            fields.join(", ")
        );
    }
    text
}

fn prediction_text(answer: &Prediction, predictions: &Predictions) -> String {
    let as_of = predictions.as_of.map(|date| format!(" at the close of {date}")).unwrap_or_default();
    let by = answer.answered_by.as_deref().unwrap_or("the endpoint");
    let classes = answer.resource.predictions.iter().all(|answer| is_distribution(answer));
    let cells = predictions.rows.iter().map(|row| {
        let mut cells = vec![row.rank.to_string(), row.symbol.clone()];
        if classes {
            cells.extend([row.top, row.bottom].map(|p| format!("{p:.4}")));
        }
        cells.push(format!("{:.5}", row.score));
        cells
    });
    let mut columns = vec![Column::Figure("rank"), Column::Text("symbol")];
    if classes {
        columns.extend([Column::Figure("p(top class)"), Column::Figure("p(bottom class)")]);
        columns.push(Column::Figure("score (expected class)"));
    } else {
        columns.push(Column::Figure("score (forecast)"));
    }
    let mut text = format!("\npredictions over HTTP{as_of}, answered by {by}:\n{}", table(&columns, cells));
    for warning in &predictions.warnings {
        text += &format!("warning: {warning}\n");
    }
    text
}

/// How this program was called, for the lines to paste.
fn program() -> String {
    let exe = std::env::current_exe().ok();
    let here = std::env::current_dir().ok();
    match (exe, here) {
        (Some(exe), Some(here)) => match exe.strip_prefix(&here) {
            Ok(relative) => quoted(&Path::new(".").join(relative)),
            Err(_) => quoted(&exe),
        },
        _ => "bellwether".to_owned(),
    }
}

/// A path as a shell takes it.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "/._-+=:@".contains(c));
    if plain { text } else { format!("'{}'", text.replace('\'', "'\\''")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_can_be_pasted() {
        assert_eq!(quoted(Path::new("bellwether-data")), "bellwether-data");
        assert_eq!(quoted(Path::new("my data/it's")), r"'my data/it'\''s'");
    }

    #[test]
    fn the_built_in_pipeline_parses() {
        let pipeline = Pipeline::parse(QUICKSTART_PIPELINE, QUICKSTART_ORIGIN).unwrap();
        assert_eq!(pipeline.name(), "sp500-deciles");
    }
}
