//! The command line as clap sees it: verbs, flags, help and examples. What the values mean is decided in
//! `config` and in the verbs.

pub(crate) mod bench;
pub(crate) mod job;
pub(crate) mod key;
pub(crate) mod lifecycle;
pub(crate) mod model;
pub(crate) mod train;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use clap::{Args, Parser, Subcommand, ValueEnum};
use jiff::civil::{Date, DateTime, Time};

use bench::BenchArgs;
use job::{JobLimitArgs, JobVerb};
use key::KeyVerb;
use lifecycle::{EndpointDeleteArgs, EndpointTrafficArgs};
use model::{ConvertArgs, ModelVerb};
use train::{SearchArgs, TrainArgs};

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
    /// Ask an endpoint for predictions
    #[command(
        after_help = "Examples:\n  bellwether predict --endpoint deciles --symbol AAPL,MSFT --as-of 2022-12-28\n  bellwether predict --endpoint deciles --vector @row.json --server http://127.0.0.1:8080"
    )]
    Predict(PredictArgs),
    /// Convert a SavedModel to ONNX, or any model to a bundle, without TensorFlow
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
            Self::Endpoint(EndpointVerb::Undeploy(_)) => "bellwether endpoint undeploy",
            Self::Serve(_) => "bellwether serve",
            Self::Predict(_) => "bellwether predict",
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

fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() && !value.is_empty() => {
            Ok((name.to_owned(), value.to_owned()))
        }
        _ => Err(format!("\"{text}\" is not NAME=VALUE")),
    }
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

/// `endpoint ...`
#[derive(Debug, Subcommand)]
pub(crate) enum EndpointVerb {
    /// Create an endpoint
    #[command(after_help = "Example:\n  bellwether endpoint create deciles")]
    Create(EndpointNameArgs),
    /// List the endpoints
    #[command(after_help = "Example:\n  bellwether endpoint list")]
    List,
    /// Show one endpoint and what is deployed to it
    #[command(after_help = "Example:\n  bellwether endpoint show deciles")]
    Show(EndpointNameArgs),
    /// Deploy a model version; it gets all traffic unless --traffic says otherwise
    #[command(
        after_help = "Examples:\n  bellwether endpoint deploy deciles --model sp500-deciles@2\n  bellwether endpoint deploy deciles --model sp500-deciles@3 --cpu-cores 1 --memory-gb 2 --traffic 0=10,4417=90"
    )]
    Deploy(EndpointDeployArgs),
    /// Take a deployment out of service
    #[command(
        after_help = "Example:\n  bellwether endpoint undeploy deciles --deployment 4417 --traffic 5203=100"
    )]
    Undeploy(EndpointUndeployArgs),
    /// Set the traffic of what is deployed, at once: forward, or back
    #[command(after_help = "Example:\n  bellwether endpoint traffic deciles 4417=100,5203=0")]
    Traffic(EndpointTrafficArgs),
    /// Delete an endpoint
    #[command(after_help = "Example:\n  bellwether endpoint delete deciles --force")]
    Delete(EndpointDeleteArgs),
}

/// `endpoint create`, `endpoint show`
#[derive(Debug, Args)]
pub(crate) struct EndpointNameArgs {
    /// The endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

/// `endpoint deploy`
#[derive(Debug, Args)]
pub(crate) struct EndpointDeployArgs {
    /// The endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// What to deploy; without a version, the default one
    #[arg(long, value_name = "MODEL[@VERSION]")]
    pub(crate) model: String,
    /// Engine threads of the deployment [default: 2]
    #[arg(long, value_name = "N")]
    pub(crate) cpu_cores: Option<f64>,
    /// Memory budget in GB, measured and refused when exceeded [default: 4]
    #[arg(long, value_name = "N")]
    pub(crate) memory_gb: Option<f64>,
    /// Engine to run it on: rten, trees or onnxruntime; another one than the version's must reproduce its golden sample
    /// [default: the one the version is pinned to]
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// Percent of the traffic by deployment; 0 stands for the new one
    #[arg(long, value_name = "ID=PERCENT,...", default_value = "0=100")]
    pub(crate) traffic: TrafficArg,
}

/// `endpoint undeploy`
#[derive(Debug, Args)]
pub(crate) struct EndpointUndeployArgs {
    /// The endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The deployment to take out
    #[arg(long, value_name = "ID")]
    pub(crate) deployment: String,
    /// Percent of the traffic by deployment from then on
    #[arg(long, value_name = "ID=PERCENT,...")]
    pub(crate) traffic: Option<TrafficArg>,
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
    #[command(flatten)]
    pub(crate) jobs: JobLimitArgs,
}

/// `predict`
#[derive(Debug, Args)]
pub(crate) struct PredictArgs {
    /// The endpoint to ask
    #[arg(long, value_name = "NAME")]
    pub(crate) endpoint: String,
    /// What to predict.
    #[command(flatten)]
    pub(crate) instances: InstanceArgs,
    /// Use only bars up to this date [default: the newest]
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = parse_date, conflicts_with = "vector")]
    pub(crate) as_of: Option<Date>,
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
}

/// `config ...`
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigVerb {
    /// Show every setting and where its value comes from
    #[command(after_help = "Example:\n  bellwether config show --json")]
    Show,
}

/// `--traffic ID=PERCENT,...`
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TrafficArg(pub(crate) BTreeMap<String, u8>);

impl FromStr for TrafficArg {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut split = BTreeMap::new();
        for part in text.split(',') {
            let (id, percent) = part.split_once('=').ok_or_else(|| {
                format!("\"{part}\" is not ID=PERCENT; 0=100 gives the new deployment everything")
            })?;
            let percent = percent.trim().parse().ok().filter(|p| *p <= 100).ok_or_else(|| {
                format!("\"{percent}\" is not a whole number of percent from 0 to 100 (deployment \"{id}\")")
            })?;
            if split.insert(id.trim().to_owned(), percent).is_some() {
                return Err(format!("deployment \"{id}\" is named twice"));
            }
        }
        Ok(Self(split))
    }
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

    #[test]
    fn traffic_is_parsed_and_bounded() {
        let split: TrafficArg = "0=10,4417=90".parse().unwrap();
        assert_eq!(split.0, BTreeMap::from([("0".to_owned(), 10), ("4417".to_owned(), 90)]));
        for (text, part) in
            [("0", "not ID=PERCENT"), ("0=101", "0 to 100"), ("0=1,0=2", "twice"), ("0=x", "\"x\"")]
        {
            let error = text.parse::<TrafficArg>().unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

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

    #[test]
    fn symbols_and_vectors_exclude_each_other() {
        let parse = |rest: &[&str]| {
            let mut line = vec!["bellwether", "predict", "--endpoint", "e"];
            line.extend(rest);
            Cli::try_parse_from(line)
        };
        assert!(parse(&[]).is_err());
        assert!(parse(&["--symbol", "A", "--vector", "[1]"]).is_err());
        assert!(parse(&["--vector", "[1]", "--as-of", "2020-01-02"]).is_err());
        let Verb::Predict(args) = parse(&["--symbol", "A,B", "--symbol", "C"]).unwrap().verb else {
            panic!()
        };
        assert_eq!(args.instances.symbols, ["A", "B", "C"]);
    }
}
