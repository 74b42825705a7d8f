//! Flags of `data`.

use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use jiff::civil::{Date, DateTime, Time};

use super::{parse_date, parse_pair};

/// `data ...`
#[derive(Debug, Subcommand)]
pub(crate) enum DataVerb {
    /// Import CSV, Parquet or Arrow files as a data set, or append them to one
    #[command(
        after_help = "Examples:\n  bellwether data import prices.csv.gz --name us-stocks\n  bellwether data import folder-of-csv/ --name us --actions splits.csv --members sp500=spells.csv\n  bellwether data import today.parquet --name us --note \"adjusted closes\"\n  bellwether data import prices.csv --name us --column \"Last Trade=close\" --accept-jumps=GE:2021-08-02"
    )]
    Import(Box<DataImportArgs>),
    /// Check that nothing in a pipeline looks ahead: its features, label, universe, windows and fits are asked again
    /// with the future cut off or changed
    #[command(
        after_help = "Examples:\n  bellwether data certify pipeline.toml\n  bellwether data certify pipeline.toml --json"
    )]
    Certify(DataCertifyArgs),
    /// List the data sets
    #[command(after_help = "Example:\n  bellwether data list --json")]
    List,
    /// Show one data set and its quality
    #[command(after_help = "Examples:\n  bellwether data show us-stocks\n  bellwether data show us-stocks@1")]
    Show(DataShowArgs),
}

/// `data import`
#[derive(Debug, Args)]
pub(crate) struct DataImportArgs {
    /// Files, folders with one file a symbol, or URIs of objects (a URI that ends with / means all under it)
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<String>,
    /// Name of the data set; one that exists grows by what is new, and keeps what it knew when
    #[arg(long, value_name = "NAME")]
    pub(crate) name: String,
    /// Begin anew: the next snapshot holds these files alone
    #[arg(long)]
    pub(crate) replace: bool,
    /// When the bars became known, if not at their close: 2024-01-31T18:00
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) known_at: Option<DateTime>,
    /// Keep prices that jump like an unadjusted split: all, or those listed
    #[arg(long, value_name = "SYMBOL:DATE,...", num_args = 0..=1, require_equals = true, default_missing_value = "all")]
    pub(crate) accept_jumps: Option<JumpsArg>,
    /// What a reader of any result must know about the data; may be repeated
    #[arg(long = "note", value_name = "TEXT")]
    pub(crate) notes: Vec<String>,
    #[command(flatten)]
    pub(crate) reading: DataReadingArgs,
    #[command(flatten)]
    pub(crate) tables: DataTableArgs,
}

/// How files of bars are read.
#[derive(Debug, Args)]
#[command(next_help_heading = "Reading files")]
pub(crate) struct DataReadingArgs {
    /// What a column holds: date, time, symbol, open, high, low, close, adj_close, vwap, volume, factor, ignore, or
    /// a field's name of your own; may be repeated
    #[arg(long = "column", value_name = "HEADER=MEANING", value_parser = parse_pair)]
    pub(crate) columns: Vec<(String, String)>,
    /// The field a wide file (one column a symbol) holds [default: close]
    #[arg(long, value_name = "NAME")]
    pub(crate) field: Option<String>,
    /// How dates are written, as in strptime: %d/%m/%Y [default: recognised]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) date_format: Option<String>,
    /// The zone of the data set's times: America/New_York
    #[arg(long, value_name = "ZONE")]
    pub(crate) time_zone: Option<String>,
    /// The decimal sign [default: point]
    #[arg(long, value_name = "SIGN")]
    pub(crate) decimal: Option<DecimalArg>,
    /// How the prices deal with splits and dividends [default: what the columns tell]
    #[arg(long, value_name = "HOW")]
    pub(crate) adjustment: Option<AdjustmentArg>,
    /// When the market closes and a daily bar is known [default: 16:00]
    #[arg(long, value_name = "HH:MM")]
    pub(crate) close_time: Option<Time>,
    /// Minutes from the close to when a bar is available [default: 0]
    #[arg(long, value_name = "N")]
    pub(crate) lag_minutes: Option<u32>,
    /// Whether the time of a bar within the day is when it began or ended [default: start]
    #[arg(long, value_name = "WHICH")]
    pub(crate) stamp: Option<StampArg>,
    /// Length of a bar within the day [default: the shortest step between two]
    #[arg(long, value_name = "N")]
    pub(crate) bar_minutes: Option<u32>,
}

/// What else is known about the instruments.
#[derive(Debug, Args)]
#[command(next_help_heading = "Further tables")]
pub(crate) struct DataTableArgs {
    /// Splits and dividends: symbol, date, split (shares after for each before), dividend (cash a share)
    #[arg(long, value_name = "FILE")]
    pub(crate) actions: Option<String>,
    /// Values by publication time: symbol, period, published, and a column for each
    #[arg(long, value_name = "FILE")]
    pub(crate) points: Option<String>,
    /// Trading days: date
    #[arg(long, value_name = "FILE")]
    pub(crate) calendar: Option<String>,
    /// A grouping, read as $NAME: symbol, group, from; may be repeated
    #[arg(long = "group", value_name = "NAME=FILE", value_parser = parse_pair)]
    pub(crate) groups: Vec<(String, String)>,
    /// A universe by date: symbol, from, to; may be repeated
    #[arg(long, value_name = "NAME=FILE", value_parser = parse_pair)]
    pub(crate) members: Vec<(String, String)>,
}

/// `--decimal`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DecimalArg {
    /// 1,234.5
    Point,
    /// 1.234,5
    Comma,
}

/// `--adjustment`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum AdjustmentArg {
    /// Nothing is known about it
    AsTheyCame,
    /// Splits and dividends have changed earlier prices
    BackAdjusted,
}

/// `--stamp`
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StampArg {
    /// When the bar began
    Start,
    /// When the bar ended
    End,
}

fn parse_time(text: &str) -> Result<DateTime, String> {
    text.parse().map_err(|_| format!("\"{text}\" is not a time like 2024-01-31T18:00"))
}

/// `data certify`
#[derive(Debug, Args)]
pub(crate) struct DataCertifyArgs {
    /// The pipeline file; data it names is imported first
    #[arg(value_name = "PIPELINE")]
    pub(crate) pipeline: PathBuf,
}

/// `data show`
#[derive(Debug, Args)]
pub(crate) struct DataShowArgs {
    /// Name of the data set, and the snapshot if not the newest
    #[arg(value_name = "NAME[@N]")]
    pub(crate) dataset: String,
}
/// `--accept-jumps[=SYMBOL:DATE,...]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JumpsArg {
    /// Keep every jump.
    All,
    /// Keep these.
    Listed(Vec<(String, Date)>),
}

impl FromStr for JumpsArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "all" {
            return Ok(Self::All);
        }
        let jump = |part: &str| {
            let (symbol, date) = part
                .rsplit_once(':')
                .filter(|(symbol, _)| !symbol.is_empty())
                .ok_or_else(|| format!("\"{part}\" is not SYMBOL:YYYY-MM-DD"))?;
            Ok((symbol.to_owned(), parse_date(date)?))
        };
        text.split(',').map(jump).collect::<Result<_, String>>().map(Self::Listed)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    #[test]
    fn accepted_jumps_are_all_or_listed() {
        let import = |flag: &str| {
            let cli = Cli::try_parse_from(["bellwether", "data", "import", "a.csv", "--name", "a", flag])?;
            let Verb::Data(DataVerb::Import(args)) = cli.verb else { panic!("another verb") };
            Ok::<_, clap::Error>(args.accept_jumps)
        };
        assert_eq!(import("--accept-jumps").unwrap(), Some(JumpsArg::All));
        let date = jiff::civil::date(2021, 8, 2);
        let listed = JumpsArg::Listed(vec![("GE".to_owned(), date), ("BRK:B".to_owned(), date)]);
        assert_eq!(import("--accept-jumps=GE:2021-08-02,BRK:B:2021-08-02").unwrap(), Some(listed));
        assert!(import("--accept-jumps=GE").unwrap_err().to_string().contains("SYMBOL:YYYY-MM-DD"));
        assert!(import("--accept-jumps=GE:2021-13-02").unwrap_err().to_string().contains("2021-13-02"));
    }
}
