//! Arguments of `predict`: a question to an endpoint, or files of rows for a model.

use std::path::PathBuf;

use clap::Args;
use jiff::civil::Date;
use platform::{AnswerFormat, RowFormat};

use super::parse_date;

/// `predict`
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// Who answers.
    #[command(flatten)]
    pub(crate) answering: AnsweringArgs,
    /// What to predict.
    #[command(flatten)]
    pub(crate) instances: InstanceArgs,
    /// Use only bars up to this date [default: the newest]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date, conflicts_with = "vector")]
    pub(crate) as_of: Option<Date>,
    /// How files are answered.
    #[command(flatten)]
    pub(crate) files: FileArgs,
}

/// An endpoint, or a version itself.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct AnsweringArgs {
    /// The endpoint to ask
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: Option<String>,
    /// With --input: the version that answers, deployed or not
    #[arg(long, value_name = "MODEL[@VERSION|@ALIAS]", requires = "inputs")]
    pub(crate) model: Option<String>,
    /// With --input: a bundle's folder, as a job has it
    #[arg(long, value_name = "DIR", requires = "named", hide = true)]
    pub(crate) bundle: Option<PathBuf>,
}

/// Symbols or feature vectors.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct InstanceArgs {
    /// Instruments of the model's data set; may be repeated or separated by commas
    #[arg(long = "symbol", value_name = "SYMBOL", value_delimiter = ',')]
    pub(crate) symbols: Vec<String>,
    /// Feature vectors: [0.1, ...] or [[0.1, ...], ...], null for a missing value; @FILE reads them from a file
    #[arg(long, value_name = "JSON|@FILE", allow_hyphen_values = true)]
    pub(crate) vector: Option<String>,
    /// A file of rows, CSV, JSON lines or Parquet, by the names of the model's features (or column symbol, and as_of); - is standard input; may be repeated
    #[arg(long = "input", value_name = "FILE|-", requires = "out")]
    pub(crate) inputs: Vec<PathBuf>,
}

/// How files of rows are answered.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options with --input")]
pub(crate) struct FileArgs {
    /// The file to write, a row for each in the same order; it appears whole at the end; - is standard output
    #[arg(long, value_name = "FILE|-", requires = "inputs")]
    pub(crate) out: Option<PathBuf>,
    /// What the input is: csv, jsonl or parquet [default: by the end of its name]
    #[arg(long, value_name = "FORMAT", value_parser = parse_row_format, requires = "inputs")]
    pub(crate) input_format: Option<RowFormat>,
    /// What to write: csv, jsonl, parquet, or predictions as Vertex AI writes them [default: by the end of its name]
    #[arg(long, value_name = "FORMAT", value_parser = parse_answer_format, requires = "inputs")]
    pub(crate) output_format: Option<AnswerFormat>,
    /// A column of the input to hand on; may be repeated or separated by commas
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "inputs")]
    pub(crate) keep: Vec<String>,
    /// Go on after what an earlier run has written before it was cut off
    #[arg(long, requires = "inputs")]
    pub(crate) resume: bool,
    /// So many rows may be wrong; they go without an answer, and OUT.errors.jsonl says why
    #[arg(long, value_name = "N", default_value_t = 0, requires = "inputs")]
    pub(crate) max_errors: u64,
    /// Threads to compute on [default: all cores]
    #[arg(long, value_name = "N", requires = "inputs")]
    pub(crate) threads: Option<usize>,
    /// So many rows are safe from a crash at a time [default: 262144, or what 5 seconds give]
    #[arg(long, value_name = "N", requires = "inputs")]
    pub(crate) part_rows: Option<u64>,
    /// Write what the run came to here as well
    #[arg(long, value_name = "FILE", requires = "inputs", hide = true)]
    pub(crate) report: Option<PathBuf>,
    /// What a bundle is called: MODEL@VERSION
    #[arg(long, value_name = "MODEL@VERSION", requires = "bundle", hide = true)]
    pub(crate) named: Option<String>,
    /// Read a data directory that another process may hold
    #[arg(long, requires = "bundle", hide = true)]
    pub(crate) read_only: bool,
    /// The snapshot that symbols are looked up in
    #[arg(long, value_name = "NAME@N", requires = "read_only", hide = true)]
    pub(crate) dataset: Option<String>,
}

fn parse_row_format(text: &str) -> Result<RowFormat, String> {
    RowFormat::named(text).ok_or_else(|| format!("\"{text}\" is none of csv, jsonl, parquet"))
}

fn parse_answer_format(text: &str) -> Result<AnswerFormat, String> {
    AnswerFormat::named(text).ok_or_else(|| format!("\"{text}\" is none of csv, jsonl, parquet, predictions"))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Cli, Verb};

    fn parse(rest: &[&str]) -> Result<PredictArgs, clap::Error> {
        let mut line = vec!["bellwether", "predict"];
        line.extend(rest);
        match Cli::try_parse_from(line)?.verb {
            Verb::Predict(args) => Ok(*args),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn symbols_vectors_and_files_exclude_each_other() {
        assert!(parse(&["--endpoint", "e"]).is_err());
        assert!(parse(&["--endpoint", "e", "--symbol", "A", "--vector", "[1]"]).is_err());
        assert!(parse(&["--endpoint", "e", "--vector", "[1]", "--as-of", "2020-01-02"]).is_err());
        assert!(parse(&["--endpoint", "e", "--symbol", "A", "--input", "f.csv", "--out", "g.csv"]).is_err());
        let args = parse(&["--endpoint", "e", "--symbol", "A,B", "--symbol", "C"]).unwrap();
        assert_eq!(args.instances.symbols, ["A", "B", "C"]);
    }

    #[test]
    fn a_file_is_answered_by_one_endpoint_or_one_version() {
        let files = ["--input", "f.csv", "--out", "g.csv"];
        let with = |rest: &[&str]| parse(&[rest, &files].concat());
        assert!(with(&["--model", "m@1", "--endpoint", "e"]).is_err());
        assert!(with(&[]).is_err());
        assert!(parse(&["--model", "m", "--symbol", "A"]).is_err());
        assert!(parse(&["--model", "m", "--input", "f.csv"]).is_err(), "where to is not said");
        assert!(parse(&["--endpoint", "e", "--symbol", "A", "--resume"]).is_err());
        let args = with(&["--model", "m@1", "--keep", "id,day", "--max-errors", "3"]).unwrap();
        assert_eq!((args.files.keep.len(), args.files.max_errors), (2, 3));
        assert!(with(&["--model", "m", "--input-format", "xml"]).is_err());
    }
}
