//! `backup` and `restore`: the data directory to another place, also while a server has it in use, and back.

use std::path::Path;

use platform::backup::{BackUp, BackupReport, Restore, RestoreReport};
use platform::{Error, file_uri};
use serde::Serialize;

use crate::args::backup::{BackupArgs, RestoreArgs};
use crate::context::Context;
use crate::output::{Show, note, pairs};

/// What was kept.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct BackupView(BackupReport);

impl Show for BackupView {
    fn text(&self) -> String {
        let report = &self.0;
        let size = |bytes: u64| format!("{:.1} MB", bytes as f64 / 1e6);
        let mut lines = vec![
            ("backup", report.name.clone()),
            ("in", report.place.clone()),
            ("files", format!("{}, {}", report.files, size(report.bytes))),
            ("copied", format!("{}, {}; the others were there", report.copied, size(report.copied_bytes))),
        ];
        if report.mended > 0 {
            let mended = format!("{} of the copied were there and damaged", report.mended);
            lines.push(("mended", mended));
        }
        lines.extend(report.left_out.iter().map(|what| ("left out", what.clone())));
        format!("{}next: bellwether restore --from {} --data-dir NEW\n", pairs(lines), report.place)
    }
}

/// What was brought back.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct RestoreView(RestoreReport);

impl Show for RestoreView {
    fn text(&self) -> String {
        let report = &self.0;
        let size = format!("{}, {:.1} MB, each with its SHA-256", report.files, report.bytes as f64 / 1e6);
        let mut lines = vec![
            ("backup", format!("{} of {}", report.name, report.created_at)),
            ("data directory", report.data_dir.display().to_string()),
            ("files", size),
        ];
        lines.extend(report.left_out.iter().map(|what| ("left out", what.clone())));
        pairs(lines)
    }
}

/// `backup`
pub(crate) async fn backup(context: &Context, args: &BackupArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let request = BackUp {
        data_dir: context.settings.data_dir.value.clone(),
        place: place(&args.out)?,
        artifact_root: context.settings.artifact_root.value.clone(),
        now: jiff::Timestamp::now(),
    };
    note(&format!("backing up {} to {}", request.data_dir.display(), request.place));
    context.output.show(&BackupView(platform::backup::back_up(&request).await?))
}

/// `restore`
pub(crate) async fn restore(context: &Context, args: &RestoreArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let request = Restore {
        place: place(&args.from)?,
        name: args.backup.clone(),
        data_dir: context.settings.data_dir.value.clone(),
    };
    note(&format!("restoring {} from {}", request.data_dir.display(), request.place));
    context.output.show(&RestoreView(platform::backup::restore(&request).await?))
}

/// A URI as it is, a folder as its URI.
fn place(text: &str) -> Result<String, Error> {
    if text.contains("://") {
        return Ok(text.to_owned());
    }
    let absolute = std::path::absolute(Path::new(text))
        .map_err(|error| Error::invalid("--out", format!("\"{text}\" is no path: {error}")))?;
    file_uri(&absolute)
}
