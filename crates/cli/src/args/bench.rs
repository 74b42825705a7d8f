//! `bench`: arguments.

use std::path::PathBuf;

use clap::Args;

use super::parse_pair;

/// `bench`
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// What is asked, again and again: any HTTP server's address
    #[arg(long, value_name = "URL")]
    pub(crate) url: String,
    /// The file that is sent as the body [default: an empty body]
    #[arg(long, value_name = "FILE")]
    pub(crate) body: Option<PathBuf>,
    /// The method [default: POST with a body, GET without]
    #[arg(long, value_name = "NAME")]
    pub(crate) method: Option<String>,
    /// A header; may be repeated
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = parse_pair)]
    pub(crate) headers: Vec<(String, String)>,
    /// Connections, each with one request under way
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=4096))]
    pub(crate) connections: u16,
    /// How long is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    pub(crate) seconds: f64,
    /// How long is asked before that, unmeasured
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub(crate) warm_up: f64,
    /// Ask so often whatever the answers take, which are timed from when they were due; without it each connection asks again once it
    /// has its answer
    #[arg(long, value_name = "PER_SECOND")]
    pub(crate) rate: Option<f64>,
    /// Speak HTTP/2, as gRPC does
    #[arg(long)]
    pub(crate) http2: bool,
}
