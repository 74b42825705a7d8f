//! The arguments of `model` and `convert`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use platform::ModelFormat;

use super::lifecycle::{ModelAliasArgs, ModelDeleteArgs, ModelPruneArgs};

/// `model ...`
#[derive(Debug, Subcommand)]
pub(crate) enum ModelVerb {
    /// Upload a bundle, a SavedModel or an ONNX model as a new version of a model
    #[command(
        after_help = "Examples:\n  bellwether model upload ./sp500-deciles-bundle --model sp500-deciles\n  bellwether model upload ./keras-export --model mine\n  bellwether model upload net.onnx\n  bellwether model upload gs://bucket/models/net --model net"
    )]
    Upload(ModelUploadArgs),
    /// Write a version as a SavedModel, an ONNX file or a bundle
    #[command(
        after_help = "Examples:\n  bellwether model export sp500-deciles@2 deciles.onnx\n  bellwether model export sp500-deciles ./deciles --format saved-model"
    )]
    Export(ModelExportArgs),
    /// List the models
    #[command(after_help = "Example:\n  bellwether model list --server http://127.0.0.1:8080")]
    List,
    /// Show one model version
    #[command(
        after_help = "Examples:\n  bellwether model show sp500-deciles\n  bellwether model show sp500-deciles@2"
    )]
    Show(ModelShowArgs),
    /// Give aliases to a version; callers that name the model alone get the one of the alias default
    #[command(
        after_help = "Examples:\n  bellwether model alias sp500-deciles@3 default\n  bellwether model alias sp500-deciles@2 --remove candidate"
    )]
    Alias(ModelAliasArgs),
    /// Delete a version, or a model with all its versions
    #[command(after_help = "Example:\n  bellwether model delete sp500-deciles@1")]
    Delete(ModelDeleteArgs),
    /// Delete all versions but the newest, and those that are deployed, have an alias, or are needed by a job
    #[command(after_help = "Example:\n  bellwether model prune sp500-deciles --keep 5")]
    Prune(ModelPruneArgs),
}

/// `model upload`
#[derive(Debug, Args)]
pub(crate) struct ModelUploadArgs {
    /// A bundle, a SavedModel folder, an .onnx or .keras file, an archive of one, or a folder of numbered versions; also in a store (gs://, s3://, az://, https://)
    #[arg(value_name = "PATH|URI")]
    pub(crate) source: String,
    /// Model to add a version to, created if it does not exist [default: the name in the bundle, or of the file]
    #[arg(long, value_name = "NAME")]
    pub(crate) model: Option<String>,
    /// Which signature of a SavedModel to serve [default: serving_default, or the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
}

/// `model export`
#[derive(Debug, Args)]
pub(crate) struct ModelExportArgs {
    /// Model, and the version or alias if not the default one
    #[arg(value_name = "MODEL[@VERSION]")]
    pub(crate) model: String,
    /// The file or folder to write
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// saved-model, onnx or bundle [default: onnx if OUT ends with .onnx, else bundle]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ModelFormat>,
}

/// `convert`
#[derive(Debug, Args)]
pub(crate) struct ConvertArgs {
    /// A bundle, a SavedModel folder, an .onnx or .keras file, or an archive of one
    #[arg(value_name = "IN")]
    pub(crate) path: PathBuf,
    /// The file or folder to write
    #[arg(value_name = "OUT")]
    pub(crate) out: PathBuf,
    /// saved-model, onnx or bundle [default: onnx if OUT ends with .onnx, else bundle]
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<ModelFormat>,
    /// Which signature of a SavedModel to take [default: serving_default, or the only one]
    #[arg(long, value_name = "NAME")]
    pub(crate) signature: Option<String>,
}

/// `model show`
#[derive(Debug, Args)]
pub(crate) struct ModelShowArgs {
    /// Model, and the version or alias if not the default one
    #[arg(value_name = "MODEL[@VERSION]")]
    pub(crate) model: String,
}
