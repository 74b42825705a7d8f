//! `data import|list|show`: data sets of the data directory, and what is to be said about their quality.

use platform::{AcceptJumps, Error, ImportDataset, Snapshot, read_source_files};
use serde::Serialize;

use crate::args::{DataImportArgs, DataShowArgs, JumpsArg};
use crate::context::Context;
use crate::output::{Column, Show, note, pairs, table};

/// So many suspicious jumps are listed; `--json` lists all.
const JUMPS_SHOWN: usize = 10;

/// A snapshot just imported.
#[derive(Debug, Serialize)]
struct ImportedView<'a> {
    created: bool,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

impl Show for ImportedView<'_> {
    fn text(&self) -> String {
        let done = if self.created { "imported as" } else { "this content is already" };
        format!("{}{done} {}@{}\n", quality_text(self.snapshot), self.snapshot.name, self.snapshot.number)
    }
}

/// One snapshot.
#[derive(Debug, Serialize)]
#[serde(transparent)]
struct SnapshotView<'a>(&'a Snapshot);

impl Show for SnapshotView<'_> {
    fn text(&self) -> String {
        let Snapshot { name, number, digest, source, .. } = self.0;
        let fixed = [
            ("data set", format!("{name}@{number}")),
            ("source", source.clone()),
            ("sha256", digest.clone()),
        ];
        pairs(fixed) + &quality_text(self.0)
    }
}

/// The newest snapshot of every data set.
#[derive(Debug, Serialize)]
struct SnapshotsView {
    datasets: Vec<Snapshot>,
}

impl Show for SnapshotsView {
    fn text(&self) -> String {
        if self.datasets.is_empty() {
            return "no data sets yet: bellwether data import FILE --name NAME\n".to_owned();
        }
        let columns = [
            Column::Text("data set"),
            Column::Figure("snapshot"),
            Column::Text("first date"),
            Column::Text("last date"),
            Column::Figure("dates"),
            Column::Figure("instruments"),
            Column::Figure("rows"),
            Column::Text("sha256"),
        ];
        let rows = self.datasets.iter().map(|snapshot| {
            let quality = &snapshot.quality;
            vec![
                snapshot.name.clone(),
                snapshot.number.to_string(),
                quality.first_date.to_string(),
                quality.last_date.to_string(),
                quality.dates.to_string(),
                quality.instruments.to_string(),
                quality.rows.to_string(),
                snapshot.digest.chars().take(12).collect(),
            ]
        });
        table(&columns, rows)
    }
}

/// The quality of a data set, for a person.
pub(crate) fn quality_text(snapshot: &Snapshot) -> String {
    let quality = &snapshot.quality;
    let jumps = &quality.suspicious_jumps;
    let mut text = pairs([
        ("rows", quality.rows.to_string()),
        ("span", format!("{} to {}, {} dates", quality.first_date, quality.last_date, quality.dates)),
        ("instruments", quality.instruments.to_string()),
        ("missing", format!("{} bars ({:.2} %)", quality.missing, quality.missing_pct)),
        ("duplicates", quality.duplicates.to_string()),
        ("zero returns", format!("{:.2} %", quality.zero_returns_pct)),
        ("suspicious jumps", jumps.len().to_string()),
    ]);
    for jump in jumps.iter().take(JUMPS_SHOWN) {
        text += &format!("  {} {}: x {:.3}\n", jump.symbol, jump.date, jump.ratio);
    }
    if jumps.len() > JUMPS_SHOWN {
        text += &format!("  and {} more\n", jumps.len() - JUMPS_SHOWN);
    }
    for line in quality.notes.iter().chain(&snapshot.notes) {
        text += &format!("note: {}\n", crate::output::printable(line));
    }
    text
}

/// `data import`
pub(crate) async fn import(context: &Context, args: DataImportArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let files = read_source_files(&args.files)?;
    let names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    let source = names.join(", ");
    note(&format!("reading   {source}"));
    let accept_jumps = match args.accept_jumps {
        None => AcceptJumps::None,
        Some(JumpsArg::All) => AcceptJumps::All,
        Some(JumpsArg::Listed(jumps)) => AcceptJumps::Listed(jumps),
    };
    let platform = context.open_platform().await?;
    let request = ImportDataset { name: args.name, files, accept_jumps, notes: args.notes, source };
    let imported = platform.import_dataset(request).await?;
    context.output.show(&ImportedView { created: imported.created, snapshot: &imported.snapshot })
}

/// `data list`
pub(crate) async fn list(context: &Context) -> Result<(), Error> {
    context.refuse_server()?;
    let datasets = context.open_platform().await?.list_datasets().await?;
    context.output.show(&SnapshotsView { datasets })
}

/// `data show`
pub(crate) async fn show(context: &Context, args: &DataShowArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let (name, number) = parse_reference(&args.dataset)?;
    let snapshot = context.open_platform().await?.show_dataset(name, number).await?;
    context.output.show(&SnapshotView(&snapshot))
}

/// `NAME` or `NAME@N`.
pub(crate) fn parse_reference(text: &str) -> Result<(&str, Option<u32>), Error> {
    match text.split_once('@') {
        None => Ok((text, None)),
        Some((name, number)) => {
            let parsed = number.parse().map_err(|_| {
                let message =
                    format!("\"{text}\" names no snapshot: \"{number}\" is not a number; write {name}@1");
                Error::invalid("NAME[@N]", message)
            })?;
            Ok((name, Some(parsed)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reference_is_a_name_and_perhaps_a_number() {
        assert_eq!(parse_reference("us").unwrap(), ("us", None));
        assert_eq!(parse_reference("us@3").unwrap(), ("us", Some(3)));
        assert!(parse_reference("us@new").unwrap_err().to_string().contains("\"new\" is not a number"));
    }
}
