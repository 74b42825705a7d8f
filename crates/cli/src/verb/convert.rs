//! `convert`, `model export` and `engines`: models in and out of formats, and what runs them.

use std::path::Path;

use platform::{EngineInfo, EngineUse, Error, Exported, Kind, ModelFormat};
use serde::Serialize;

use crate::args::model::{ConvertArgs, ModelExportArgs};
use crate::client::resource::last_segment;
use crate::context::{Backend, Context};
use crate::output::{Column, Show, table};

/// What was written.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct ExportedView(Exported);

impl Show for ExportedView {
    fn text(&self) -> String {
        let Exported { model, out, files, bytes, parameters, notes } = &self.0;
        let parameters = parameters.map(|count| format!(", {count} parameters")).unwrap_or_default();
        let notes: String = notes.iter().map(|note| format!("note: {note}\n")).collect();
        let (out, count) = (out.display(), files.len());
        let plural = if count == 1 { "file" } else { "files" };
        format!("wrote {model} to {out}: {count} {plural}, {bytes} bytes{parameters}\n{notes}")
    }
}

/// `convert`
pub(crate) fn convert(context: &Context, args: ConvertArgs) -> Result<(), Error> {
    let format = args.format.unwrap_or_else(|| by_name(&args.out));
    let done =
        platform::convert_model(&args.path, args.signature, format, &args.out, jiff::Timestamp::now())?;
    context.output.show(&ExportedView(done))
}

/// `model export`
pub(crate) async fn export(context: &Context, args: ModelExportArgs) -> Result<(), Error> {
    let format = args.format.unwrap_or_else(|| by_name(&args.out));
    let Backend::Local(platform) = context.backend().await? else {
        let message =
            "a server writes no files on this machine; run it beside the data directory, without --server";
        return Err(Error::new(Kind::InvalidArgument, message));
    };
    let done = platform.export_model(context.project(), &args.model, format, &args.out).await?;
    context.output.show(&ExportedView(done))
}

fn by_name(out: &Path) -> ModelFormat {
    match out.extension() {
        Some(extension) if extension == "onnx" => ModelFormat::Onnx,
        _ => ModelFormat::Bundle,
    }
}

/// Every engine, and who uses which.
#[derive(Debug, Serialize)]
struct EnginesView {
    engines: Vec<EngineInfo>,
    deployments: Vec<EngineUse>,
    /// Why the deployments are not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    note: Option<String>,
}

impl Show for EnginesView {
    fn text(&self) -> String {
        let columns = [Column::Text("engine"), Column::Text("version"), Column::Text("from")];
        let row = |engine: &EngineInfo| {
            let version = engine.version.clone().unwrap_or_else(|| "-".to_owned());
            vec![engine.name.clone(), version, engine.origin.clone()]
        };
        let engines = table(&columns, self.engines.iter().map(row));
        let deployments = match (&self.note, self.deployments.as_slice()) {
            (Some(note), _) => format!("deployments are not known: {note}\n"),
            (None, []) => "nothing is deployed\n".to_owned(),
            (None, uses) => {
                let columns = ["endpoint", "deployment", "model", "engine"].map(Column::Text);
                let row = |each: &EngineUse| {
                    let EngineUse { endpoint, deployment, model, engine } = each.clone();
                    vec![endpoint, deployment, model, engine]
                };
                table(&columns, uses.iter().map(row))
            }
        };
        format!("{engines}\n{deployments}")
    }
}

/// `engines`: those of this machine, with the deployments of the server that is named, or of the data directory.
pub(crate) async fn engines(context: &Context) -> Result<(), Error> {
    let (deployments, note) = match uses(context).await {
        Ok(uses) => (uses, None),
        // A directory that a server holds says who does, and how to ask.
        Err(error) if error.kind() == Kind::FailedPrecondition => (Vec::new(), Some(error.to_string())),
        Err(error) => return Err(error),
    };
    context.output.show(&EnginesView { engines: platform::engines(), deployments, note })
}

async fn uses(context: &Context) -> Result<Vec<EngineUse>, Error> {
    // Nothing is made by looking.
    if context.settings.server.value.is_none() && !context.settings.data_dir.value.exists() {
        return Ok(Vec::new());
    }
    let client = match context.backend().await? {
        Backend::Local(platform) => return platform.engine_uses(context.project()).await,
        Backend::Server(client) => client,
    };
    let mut uses = Vec::new();
    for endpoint in client.list_endpoints().await? {
        for deployed in endpoint.deployed_models {
            let model = format!("{}@{}", last_segment(&deployed.model), deployed.model_version_id);
            // In service it is said with its version: `rten 0.27.0`.
            let at_work = deployed.resources.and_then(|resources| resources.engine);
            let engine = match at_work.as_deref().and_then(|engine| engine.split_whitespace().next()) {
                Some(engine) => engine.to_owned(),
                None => platform::pinned_engine(&client.get_model(&model).await?.metadata),
            };
            let endpoint = last_segment(&endpoint.name).to_owned();
            uses.push(EngineUse { endpoint, deployment: deployed.id, model, engine });
        }
    }
    Ok(uses)
}
