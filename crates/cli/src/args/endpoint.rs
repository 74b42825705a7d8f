//! Flags of `endpoint`.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::{Args, Subcommand};

use super::lifecycle::{EndpointDeleteArgs, EndpointTrafficArgs};

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
