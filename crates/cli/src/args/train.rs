//! The arguments of `train` and `search`.

use std::path::PathBuf;

use clap::Args;
use platform::ComputeDevice;

/// `train`
#[derive(Debug, Args)]
pub(crate) struct TrainArgs {
    /// The pipeline file
    #[arg(value_name = "PIPELINE.toml")]
    pub(crate) pipeline: PathBuf,
    /// Folder for the bundle, its checkpoints and logs [default: ./NAME-bundle]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on from the newest checkpoint in the folder, to the bits of a training that was never interrupted
    #[arg(long)]
    pub(crate) resume: bool,
    /// Start from the weights of a registered model or of a bundle folder; at a server, of one of its models
    #[arg(long, value_name = "MODEL[@VERSION]|DIR")]
    pub(crate) from: Option<String>,
    /// Threads to compute on; the weights do not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// What to compute on: cpu, or gpu or gpu:N in a build with the feature wgpu or cuda
    #[arg(long, value_name = "DEVICE", env = "BELLWETHER_DEVICE", default_value = "cpu")]
    pub(crate) device: ComputeDevice,
    /// Refuse to start if more memory than this is needed
    #[arg(long, value_name = "GB")]
    pub(crate) memory_gb: Option<f64>,
    /// Show layers, shapes, parameters and memory, and train nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// Read a data directory that another process may hold; nothing is imported
    #[arg(long)]
    pub(crate) read_only: bool,
    /// Train on this snapshot of the data set [default: the newest]
    #[arg(long, value_name = "N", requires = "read_only")]
    pub(crate) snapshot: Option<u32>,
    /// Train on the table in this file, wherever the pipeline says that it lies
    #[arg(long, value_name = "FILE")]
    pub(crate) table: Option<PathBuf>,
    /// Refuse a table with another SHA-256
    #[arg(long, value_name = "HEX", requires = "table")]
    pub(crate) table_sha256: Option<String>,
}

/// `search`
#[derive(Debug, Args)]
pub(crate) struct SearchArgs {
    /// The pipeline file; its section "search" says what is varied
    #[arg(value_name = "PIPELINE.toml")]
    pub(crate) pipeline: PathBuf,
    /// Folder for the bundle of the best trial, its checkpoints and logs [default: ./NAME-bundle]
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Go on with the training of the best trial from the newest checkpoint in the folder; trials are never made twice
    #[arg(long)]
    pub(crate) resume: bool,
    /// Threads to compute on; the weights do not depend on it [default: all cores]
    #[arg(long, value_name = "N")]
    pub(crate) threads: Option<usize>,
    /// What to compute on: cpu, or gpu or gpu:N in a build with the feature wgpu or cuda
    #[arg(long, value_name = "DEVICE", env = "BELLWETHER_DEVICE", default_value = "cpu")]
    pub(crate) device: ComputeDevice,
    /// Read a data directory that another process may hold; nothing is imported
    #[arg(long, requires = "trials")]
    pub(crate) read_only: bool,
    /// Search on this snapshot of the data set [default: the newest]
    #[arg(long, value_name = "N", requires = "read_only")]
    pub(crate) snapshot: Option<u32>,
    /// Note trials in this journal, which the holder of the data directory has begun, and leave the registry to it
    #[arg(long, value_name = "FILE", requires = "read_only")]
    pub(crate) trials: Option<PathBuf>,
}
