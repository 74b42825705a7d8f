//! The command line as clap sees it: verbs, flags, help and examples. What the values mean is decided in
//! `config` and in the verbs.

pub(crate) mod backup;
pub(crate) mod bench;
pub(crate) mod data;
pub(crate) mod endpoint;
pub(crate) mod job;
pub(crate) mod key;
pub(crate) mod lifecycle;
pub(crate) mod model;
pub(crate) mod predict;
pub(crate) mod serve_limits;
pub(crate) mod train;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use jiff::civil::Date;

use backup::{BackupArgs, RestoreArgs};
use bench::BenchArgs;
use data::DataVerb;
use endpoint::EndpointVerb;
use job::{JobLimitArgs, JobVerb};
use key::KeyVerb;
use model::{ConvertArgs, ModelVerb};
use predict::PredictArgs;
use serve_limits::ServeLimitArgs;
use train::{SearchArgs, TrainArgs};

use crate::log::LogFormat;

const EXIT_CODES: &str = "\
Exit codes:
  0    done
  1    a fault of ours (detail on stderr)
  2    wrong usage or a wrong argument, file or value
  3    the named thing does not exist
  4    the state does not allow it: exists already, in use, data directory held
  5    unavailable, or a limit is reached
  130  interrupted";

const START: &str = "\
Start here:
  bellwether quickstart          train on real prices, deploy, predict over HTTP, write a report
  bellwether serve               bring the deployments of the data directory back into service

Configuration: flag > environment (BELLWETHER_*) > bellwether.toml > default; see `bellwether config show`.";

/// `bellwether`
#[derive(Debug, Parser)]
#[command(
    name = "bellwether",
    version,
    about = "Model-as-a-Service for investing: data in, a served and explainable model out",
    arg_required_else_help = true,
    after_help = START,
    after_long_help = format!("{START}\n\n{EXIT_CODES}")
)]
pub(crate) struct Cli {
    /// Flags of every verb.
    #[command(flatten)]
    pub(crate) global: GlobalArgs,
    /// What to do.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// Flags every verb takes.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct GlobalArgs {
    /// Folder of the registry, the data sets and the artifacts [env: BELLWETHER_DATA_DIR] [default: bellwether-data]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Where bundles are stored [env: BELLWETHER_ARTIFACT_ROOT] [default: file://DATA-DIR/artifacts]
    #[arg(long, global = true, value_name = "URI")]
    pub(crate) artifact_root: Option<String>,
    /// GB of bundles kept in the data directory when they are stored elsewhere; the least recently used go first [env: BELLWETHER_ARTIFACT_CACHE_GB] [default: 8]
    #[arg(long, global = true, value_name = "GB")]
    pub(crate) artifact_cache_gb: Option<f64>,
    /// Project that owns models and endpoints [env: BELLWETHER_PROJECT] [default: default]
    #[arg(long, global = true, value_name = "NAME")]
    pub(crate) project: Option<String>,
    /// Talk to this server instead of the data directory (train, search, job, model, endpoint, predict) [env: BELLWETHER_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub(crate) server: Option<String>,
    /// API key for that server; better set in the environment, where other users do not see it [env: BELLWETHER_API_KEY]
    #[arg(long, global = true, value_name = "KEY")]
    pub(crate) api_key: Option<String>,
    /// Certificate in PEM that the server's must come from, if the machine does not know it [env: BELLWETHER_SERVER_CERTIFICATE]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) server_certificate: Option<PathBuf>,
    /// Print exactly one JSON document on stdout
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Log level or filter, written to stderr: error, warn, info, debug, trace [env: BELLWETHER_LOG] [default: warn]
    #[arg(long, global = true, value_name = "LEVEL")]
    pub(crate) log: Option<String>,
    /// How the log is written: as text, or one JSON object a line [env: BELLWETHER_LOG_FORMAT] [default: text]
    #[arg(long, global = true, value_name = "FORMAT", value_enum)]
    pub(crate) log_format: Option<LogFormat>,
    /// Configuration file [env: BELLWETHER_CONFIG] [default: bellwether.toml in the working directory, if there]
    #[arg(long, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
}

/// The verbs.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    /// Train on bundled real prices, deploy, predict over HTTP and write a report, in one go
    #[command(after_help = "Example:\n  bellwether quickstart --serve")]
    Quickstart(QuickstartArgs),
    /// Run a pipeline file end to end: data, training, upload, deployment, predictions, report
    #[command(after_help = "Example:\n  bellwether run examples/sp500-deciles.toml --serve")]
    Run(RunArgs),
    /// Import and inspect market data
    #[command(subcommand, after_help = "Example:\n  bellwether data import prices.csv --name us-stocks")]
    Data(DataVerb),
    /// Compute features and look into expressions
    #[command(
        subcommand,
        after_help = "Example:\n  bellwether features compute --dataset us-stocks --set alpha158 --out features.parquet"
    )]
    Features(FeaturesVerb),
    /// Train a model from a pipeline file and write its bundle, or queue it as a job of a server
    #[command(
        after_help = "Examples:\n  bellwether train examples/sp500-deciles.toml --out ./sp500-deciles-bundle\n  bellwether train examples/sp500-deciles.toml --server http://127.0.0.1:8080"
    )]
    Train(TrainArgs),
    /// Try a pipeline with other values of its fields, train the best and register it, here or as a job of a server
    #[command(
        after_help = "Examples:\n  bellwether search examples/search.toml --out ./best-bundle\n  bellwether search examples/search.toml --server http://127.0.0.1:8080"
    )]
    Search(SearchArgs),
    /// Look after the jobs of a server
    #[command(subcommand, after_help = "Example:\n  bellwether job list --server http://127.0.0.1:8080")]
    Job(JobVerb),
    /// Upload and inspect models
    #[command(subcommand, after_help = "Example:\n  bellwether model upload ./sp500-deciles-bundle")]
    Model(ModelVerb),
    /// Create endpoints and deploy models to them
    #[command(
        subcommand,
        after_help = "Example:\n  bellwether endpoint deploy deciles --model sp500-deciles@2"
    )]
    Endpoint(EndpointVerb),
    /// Serve the deployments of the data directory over HTTP
    #[command(after_help = "Example:\n  bellwether serve --listen 127.0.0.1:8080")]
    Serve(ServeArgs),
    /// Make, list and revoke API keys
    #[command(
        subcommand,
        after_help = "Example:\n  bellwether key create --scope admin --all-projects --name operator"
    )]
    Key(KeyVerb),
    /// Ask an endpoint for predictions, or have a version answer files of rows
    #[command(
        after_help = "Examples:\n  bellwether predict --endpoint deciles --symbol AAPL,MSFT --as-of 2022-12-28\n  bellwether predict --endpoint deciles --vector @row.json --server http://127.0.0.1:8080\n  bellwether predict --model sp500-deciles@2 --input rows.parquet --out answers.parquet --keep id --resume"
    )]
    Predict(Box<PredictArgs>),
    /// Copy the data directory to another place, also while a server has it in use
    #[command(after_help = "Example:\n  bellwether backup --out gs://bucket/backups")]
    Backup(BackupArgs),
    /// Make a data directory from a backup
    #[command(after_help = "Example:\n  bellwether restore --from gs://bucket/backups --data-dir ./restored")]
    Restore(RestoreArgs),
    /// Convert any model to ONNX, a SavedModel or a bundle, without TensorFlow
    #[command(
        after_help = "Examples:\n  bellwether convert ./keras-export net.onnx\n  bellwether convert net.tar.gz ./net-bundle --signature score"
    )]
    Convert(ConvertArgs),
    /// Measure how fast a server answers: ours or any other
    #[command(
        after_help = "Example:\n  bellwether bench --url http://127.0.0.1:8080/v1/models/deciles:predict --body row.json --connections 16"
    )]
    Bench(BenchArgs),
    /// Show the inference engines of this machine, and which deployment uses which
    #[command(
        after_help = "Examples:\n  bellwether engines\n  bellwether engines --server http://127.0.0.1:8080"
    )]
    Engines,
    /// Show the configuration in effect
    #[command(subcommand, after_help = "Example:\n  bellwether config show")]
    Config(ConfigVerb),
}

impl Verb {
    /// The command as a second process is told: `bellwether data import`.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Quickstart(_) => "bellwether quickstart",
            Self::Run(_) => "bellwether run",
            Self::Data(DataVerb::Import(_)) => "bellwether data import",
            Self::Data(DataVerb::Certify(_)) => "bellwether data certify",
            Self::Data(DataVerb::List) => "bellwether data list",
            Self::Data(DataVerb::Show(_)) => "bellwether data show",
            Self::Features(FeaturesVerb::Compute(_)) => "bellwether features compute",
            Self::Features(FeaturesVerb::Explain(_)) => "bellwether features explain",
            Self::Features(FeaturesVerb::Operators) => "bellwether features operators",
            Self::Train(_) => "bellwether train",
            Self::Search(_) => "bellwether search",
            Self::Job(verb) => verb.command(),
            Self::Key(verb) => verb.command(),
            Self::Model(ModelVerb::Upload(_)) => "bellwether model upload",
            Self::Model(ModelVerb::Export(_)) => "bellwether model export",
            Self::Model(ModelVerb::List) => "bellwether model list",
            Self::Model(ModelVerb::Show(_)) => "bellwether model show",
            Self::Model(ModelVerb::Alias(_)) => "bellwether model alias",
            Self::Model(ModelVerb::Delete(_)) => "bellwether model delete",
            Self::Model(ModelVerb::Prune(_)) => "bellwether model prune",
            Self::Endpoint(EndpointVerb::Traffic(_)) => "bellwether endpoint traffic",
            Self::Endpoint(EndpointVerb::Delete(_)) => "bellwether endpoint delete",
            Self::Endpoint(EndpointVerb::Create(_)) => "bellwether endpoint create",
            Self::Endpoint(EndpointVerb::List) => "bellwether endpoint list",
            Self::Endpoint(EndpointVerb::Show(_)) => "bellwether endpoint show",
            Self::Endpoint(EndpointVerb::Deploy(_)) => "bellwether endpoint deploy",
            Self::Endpoint(EndpointVerb::Resize(_)) => "bellwether endpoint resize",
            Self::Endpoint(EndpointVerb::Shadow(_)) => "bellwether endpoint shadow",
            Self::Endpoint(EndpointVerb::Undeploy(_)) => "bellwether endpoint undeploy",
            Self::Serve(_) => "bellwether serve",
            Self::Predict(_) => "bellwether predict",
            Self::Backup(_) => "bellwether backup",
            Self::Restore(_) => "bellwether restore",
            Self::Convert(_) => "bellwether convert",
            Self::Bench(_) => "bellwether bench",
            Self::Engines => "bellwether engines",
            Self::Config(ConfigVerb::Show) => "bellwether config show",
        }
    }
}

/// `quickstart`
#[derive(Debug, Args)]
pub(crate) struct QuickstartArgs {
    /// Keep serving after the predictions, until Ctrl-C
    #[arg(long)]
    pub(crate) serve: bool,
    /// Address to serve on; without it a free port, or with --serve the configured one
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
}

/// `run`
#[derive(Debug, Args)]
pub(crate) struct RunArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pub(crate) pipeline: PathBuf,
    /// Keep serving after the predictions, until Ctrl-C
    #[arg(long)]
    pub(crate) serve: bool,
    /// Address to serve on; without it a free port, or with --serve the configured one
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
}

/// `features ...`
#[derive(Debug, Subcommand)]
pub(crate) enum FeaturesVerb {
    /// Compute features of every bar of a data set into a Parquet file: date, symbol, one column a feature
    #[command(
        after_help = "Examples:\n  bellwether features compute --dataset us-stocks --set alpha158 --out features.parquet\n  bellwether features compute --dataset us-stocks@3 --set my-features.toml --as-of 2022-12-28 --out features.parquet"
    )]
    Compute(FeaturesComputeArgs),
    /// Take an expression apart: its tree, how far it looks back, what a bar costs
    #[command(
        after_help = "Example:\n  bellwether features explain \"Corr($close/Ref($close,1),Log($volume+1),20)\""
    )]
    Explain(FeaturesExplainArgs),
    /// List the operators of the expression language
    #[command(after_help = "Example:\n  bellwether features operators")]
    Operators,
}

/// `features explain`
#[derive(Debug, Args)]
pub(crate) struct FeaturesExplainArgs {
    /// The expression
    #[arg(value_name = "EXPR", allow_hyphen_values = true)]
    pub(crate) expression: String,
}

/// `features compute`
#[derive(Debug, Args)]
pub(crate) struct FeaturesComputeArgs {
    /// Name of the data set, and the snapshot if not the newest
    #[arg(long, value_name = "NAME[@N]")]
    pub(crate) dataset: String,
    /// A named set, or a TOML file with the section "features" of a pipeline file
    #[arg(long, value_name = "NAME|FILE.toml")]
    pub(crate) set: String,
    /// The file to write
    #[arg(long, value_name = "FILE.parquet")]
    pub(crate) out: PathBuf,
    /// Use only what was known at the end of this day [default: everything]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date)]
    pub(crate) as_of: Option<Date>,
}

/// `serve`
#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Address to listen on; one that others can reach needs keys and TLS [env: BELLWETHER_LISTEN] [default: 127.0.0.1:8080]
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) listen: Option<String>,
    /// Certificate to serve with, in PEM, those between it and the root after it; a replaced file is taken up
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Its private key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_certificate")]
    pub(crate) tls_key: Option<PathBuf>,
    /// Listen where others can reach the server although it has no keys or no TLS: behind a proxy that has them
    #[arg(long)]
    pub(crate) insecure_listen: bool,
    /// Folder, or place in a store (gs://bucket/models), that a client's artifactUri may name, besides the artifact root; may be repeated [env: BELLWETHER_ALLOW_ROOTS]
    #[arg(long = "allow-root", value_name = "URI")]
    pub(crate) allow_roots: Vec<String>,
    /// The model that `/invocations` asks, where several are deployed [env: BELLWETHER_DEFAULT_MODEL]
    #[arg(long, value_name = "MODEL")]
    pub(crate) default_model: Option<String>,
    /// Log a line for one request of N; without N for each [env: BELLWETHER_LOG_REQUESTS] [default: 0, none]
    #[arg(long, value_name = "N", num_args = 0..=1, default_missing_value = "1")]
    pub(crate) log_requests: Option<u64>,
    /// Memory in GB that all deployments together may use [default: what the machine has]. Beyond it, those deployed with
    /// `--load on-demand` go that were not used for longest
    #[arg(long, value_name = "N")]
    pub(crate) max_loaded_gb: Option<f64>,
    #[command(flatten)]
    pub(crate) jobs: JobLimitArgs,
    #[command(flatten)]
    pub(crate) limits: ServeLimitArgs,
}

/// `config ...`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Show every setting and where its value comes from
    #[command(after_help = "Example:\n  bellwether config show --json")]
    Show,
}

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("\"{text}\" is not NAME=VALUE")),
    }
}

fn parse_date(text: &str) -> Result<Date, String> {
    Date::strptime("%Y-%m-%d", text).map_err(|_| format!("\"{text}\" is not a date like 2022-12-28"))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_an_example() {
        fn check(command: &clap::Command, path: &str) {
            for verb in command.get_subcommands() {
                let path = format!("{path} {}", verb.get_name());
                let help = verb.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(path.trim_start()), "`{path}` has no example in its help: {help}");
                check(verb, &path);
            }
        }
        check(&Cli::command(), "bellwether");
    }
}
