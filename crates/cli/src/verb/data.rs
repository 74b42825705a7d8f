//! `data import|list|show`: data sets of the data directory, and what is to be said about their quality.

use platform::FindingKind;
use platform::{
    AcceptJumps, Adjustment, AppendReport, Decimal, Error, ImportDataset, ImportMode, ImportSettings,
    Snapshot, Stamp, find_source_files,
};
use std::path::Path;

use serde::Serialize;

use crate::args::data::{
    AdjustmentArg, DataImportArgs, DataReadingArgs, DataShowArgs, DataTableArgs, DecimalArg, JumpsArg,
    StampArg,
};
use crate::context::Context;
use crate::output::{Column, Show, note, pairs, table};

/// So many findings of a kind are listed; `--json` lists more.
const SHOWN: usize = 10;

/// A snapshot just imported.
#[derive(Debug, Serialize)]
struct ImportedView<'a> {
    created: bool,
    appended: AppendReport,
    #[serde(flatten)]
    snapshot: &'a Snapshot,
}

impl Show for ImportedView<'_> {
    fn text(&self) -> String {
        let done = if self.created { "imported as" } else { "this content is already" };
        let bars = self.appended.bars;
        let mut counts = vec![format!("{} new bars", bars.added)];
        for (count, what) in [
            (bars.late, "late bars"),
            (bars.corrected, "corrected bars"),
            (bars.unchanged, "bars as before"),
            (self.appended.table_rows, "rows of tables"),
        ] {
            if count > 0 {
                counts.push(format!("{count} {what}"));
            }
        }
        format!(
            "{}{}\n{done} {}@{}\n",
            quality_text(self.snapshot),
            counts.join(", "),
            self.snapshot.name,
            self.snapshot.number
        )
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

fn more(all: usize) -> String {
    if all > SHOWN { format!("  and {} more\n", all - SHOWN) } else { String::new() }
}

/// The quality of a data set, for a person.
pub(crate) fn quality_text(snapshot: &Snapshot) -> String {
    let quality = &snapshot.quality;
    let jumps = &quality.suspicious_jumps;
    let mut text = pairs([
        ("rows", quality.rows.to_string()),
        ("span", format!("{} to {}, {} dates", quality.first_date, quality.last_date, quality.dates)),
        ("instruments", format!("{}, {} end early", quality.instruments, quality.ended_early)),
        ("missing", format!("{} bars ({:.2} %)", quality.missing, quality.missing_pct)),
        ("duplicates", quality.duplicates.to_string()),
        ("corrected", quality.corrected.to_string()),
        ("outside calendar", quality.outside_calendar.to_string()),
        ("OHLC violations", quality.ohlc_violations.to_string()),
        ("zero volumes", quality.zero_volumes.to_string()),
        ("zero returns", format!("{:.2} %", quality.zero_returns_pct)),
        ("stale runs", quality.stale_runs.to_string()),
        ("suspicious jumps", jumps.len().to_string()),
    ]);
    for jump in jumps.iter().take(SHOWN) {
        text += &format!("  {} {}: x {:.3}\n", jump.symbol, jump.date, jump.ratio);
    }
    text += &more(jumps.len());
    for of_kind in quality.findings.chunk_by(|a, b| a.kind == b.kind) {
        text += match of_kind[0].kind {
            FindingKind::Ohlc => "OHLC violations\n",
            FindingKind::Stale => "stale runs\n",
            FindingKind::TickerReuse => "names that may have been used again\n",
            FindingKind::OutsideCalendar => "bars outside the calendar\n",
        };
        for found in of_kind.iter().take(SHOWN) {
            text += &format!("  {} {}: {}\n", found.symbol, found.date, found.detail);
        }
        text += &more(of_kind.len());
    }
    for universe in &quality.survivorship {
        text += &format!(
            "universe {}: {} of {} members have no price ({:.1} %){}\n",
            universe.universe,
            universe.without_prices,
            universe.members,
            universe.without_prices_pct,
            universe.examples.iter().map(|name| format!(" {name}")).collect::<String>()
        );
    }
    for line in quality.notes.iter().chain(&snapshot.notes) {
        text += &format!("note: {}\n", crate::output::printable(line));
    }
    text
}

/// `data import`
pub(crate) async fn import(context: &Context, args: DataImportArgs) -> Result<(), Error> {
    context.refuse_server()?;
    let here = Path::new("");
    let files = find_source_files(&args.files, here).await?;
    let settings = settings(args.reading, args.tables);
    let tables = settings.find_tables(here).await?;
    let accept_jumps = match args.accept_jumps {
        None => AcceptJumps::None,
        Some(JumpsArg::All) => AcceptJumps::All,
        Some(JumpsArg::Listed(jumps)) => AcceptJumps::Listed(jumps),
    };
    let request = ImportDataset {
        tables,
        settings,
        known_at: args.known_at,
        mode: if args.replace { ImportMode::Replace } else { ImportMode::CreateOrAppend },
        accept_jumps,
        notes: args.notes,
        ..ImportDataset::new(args.name, files)
    };
    note(&format!("reading   {}", request.source));
    let platform = context.open_platform().await?;
    let imported = platform.import_dataset(request).await?;
    context.output.show(&ImportedView {
        created: imported.created,
        appended: imported.report,
        snapshot: &imported.snapshot,
    })
}

fn settings(reading: DataReadingArgs, tables: DataTableArgs) -> ImportSettings {
    ImportSettings {
        columns: reading.columns.into_iter().collect(),
        field: reading.field,
        date_format: reading.date_format,
        time_zone: reading.time_zone,
        decimal: reading.decimal.map(|decimal| match decimal {
            DecimalArg::Point => Decimal::Point,
            DecimalArg::Comma => Decimal::Comma,
        }),
        adjustment: reading.adjustment.map(|adjustment| match adjustment {
            AdjustmentArg::AsTheyCame => Adjustment::AsTheyCame,
            AdjustmentArg::BackAdjusted => Adjustment::BackAdjusted,
        }),
        close_time: reading.close_time,
        lag_minutes: reading.lag_minutes,
        stamp: reading.stamp.map(|stamp| match stamp {
            StampArg::Start => Stamp::Start,
            StampArg::End => Stamp::End,
        }),
        bar_minutes: reading.bar_minutes,
        actions: tables.actions,
        points: tables.points,
        calendar: tables.calendar,
        groups: tables.groups.into_iter().collect(),
        members: tables.members.into_iter().collect(),
    }
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
