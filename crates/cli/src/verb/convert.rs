//! `convert`, `model export` and `engines`: models in and out of formats, and what runs them.

use std::path::Path;

use platform::{EngineInfo, Error, Exported, Kind, ModelFormat};
use serde::Serialize;

use crate::args::model::{ConvertArgs, ModelExportArgs};
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

/// Every engine.
#[derive(Debug, Serialize)]
struct EnginesView {
    engines: Vec<EngineInfo>,
}

impl Show for EnginesView {
    fn text(&self) -> String {
        let columns = [Column::Text("engine"), Column::Text("version"), Column::Text("from")];
        let row = |engine: &EngineInfo| {
            let version = engine.version.clone().unwrap_or_else(|| "-".to_owned());
            vec![engine.name.clone(), version, engine.origin.clone()]
        };
        table(&columns, self.engines.iter().map(row))
    }
}

/// `engines`
pub(crate) fn engines(context: &Context) -> Result<(), Error> {
    context.output.show(&EnginesView { engines: platform::engines() })
}
