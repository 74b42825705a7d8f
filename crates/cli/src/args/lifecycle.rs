//! Arguments of `model alias|delete|prune` and `endpoint traffic|delete`.

use clap::Args;

use super::endpoint::TrafficArg;

/// `model alias`
#[derive(Debug, Args)]
pub(crate) struct ModelAliasArgs {
    /// Model and version
    #[arg(value_name = "MODEL@VERSION")]
    pub(crate) model: String,
    /// Aliases to give it; a version that has one loses it
    #[arg(value_name = "ALIAS")]
    pub(crate) add: Vec<String>,
    /// An alias to take from it; may be repeated
    #[arg(long, value_name = "ALIAS")]
    pub(crate) remove: Vec<String>,
}

/// `model delete`
#[derive(Debug, Args)]
pub(crate) struct ModelDeleteArgs {
    /// One version, or without @ the model with all its versions
    #[arg(value_name = "MODEL[@VERSION]")]
    pub(crate) model: String,
    /// Cancel the jobs that need it and wait or run: batch predictions it answers, trainings that start from it
    #[arg(long)]
    pub(crate) force: bool,
}

/// `model prune`
#[derive(Debug, Args)]
pub(crate) struct ModelPruneArgs {
    /// The model
    #[arg(value_name = "MODEL")]
    pub(crate) model: String,
    /// How many of the newest versions stay; older ones that are deployed, have an alias, or are needed by a job stay beside them
    #[arg(long, value_name = "N")]
    pub(crate) keep: usize,
}

/// `endpoint traffic`
#[derive(Debug, Args)]
pub(crate) struct EndpointTrafficArgs {
    /// The endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Percent of the traffic by deployment from now on
    #[arg(value_name = "ID=PERCENT,...")]
    pub(crate) traffic: TrafficArg,
}

/// `endpoint delete`
#[derive(Debug, Args)]
pub(crate) struct EndpointDeleteArgs {
    /// The endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// Take what is deployed on it out of service first
    #[arg(long)]
    pub(crate) force: bool,
}
