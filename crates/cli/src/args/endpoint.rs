//! Flags of `endpoint`.

use std::collections::BTreeMap;
use std::str::FromStr;

use clap::{Args, Subcommand};
use platform::{DeploymentLimits, Residence, ResourceRequest};

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
        after_help = "Examples:\n  bellwether endpoint deploy deciles --model sp500-deciles@2\n  bellwether endpoint deploy deciles --model sp500-deciles@3 --cpu-cores 1 --memory-gb 2 --traffic 0=10,4417=90\n  bellwether endpoint deploy deciles --model sp500-deciles@3 --shadow 20"
    )]
    Deploy(EndpointDeployArgs),
    /// Change what a deployment may use and take at once, or when it is in memory: loaded anew beside it, proven, and put in its place
    #[command(
        after_help = "Examples:\n  bellwether endpoint resize deciles --deployment 4417 --cpu-cores 4\n  bellwether endpoint resize deciles --deployment 4417 --load on-demand\n  bellwether endpoint resize deciles --deployment 4417 --max-batch-rows 256"
    )]
    Resize(EndpointResizeArgs),
    /// Compare what the shadows of an endpoint answered with what was answered
    #[command(after_help = "Example:\n  bellwether endpoint shadow deciles")]
    Shadow(EndpointNameArgs),
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
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// Engine to run it on: rten, trees or onnxruntime; another one than the version's must reproduce its golden sample
    /// [default: the one the version is pinned to]
    #[arg(long, value_name = "NAME")]
    pub(crate) engine: Option<String>,
    /// When it is in memory: always, or from its first request on until another one needs the room
    #[arg(long, value_name = "pinned|on-demand", default_value = "pinned", value_parser = parse_residence)]
    pub(crate) load: Residence,
    /// Give it copies of so many percent of the requests instead of traffic, and keep its answers
    #[arg(long, value_name = "PERCENT", num_args = 0..=1, default_missing_value = "100", conflicts_with = "traffic", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub(crate) shadow: Option<u8>,
    /// Percent of the traffic by deployment; 0 stands for the new one [default: 0=100]
    #[arg(long, value_name = "ID=PERCENT,...")]
    pub(crate) traffic: Option<TrafficArg>,
}

impl EndpointDeployArgs {
    /// The traffic from then on: all to the new one unless it is a shadow or something else was said.
    pub(crate) fn traffic_split(&self) -> Option<BTreeMap<String, u8>> {
        match (&self.traffic, self.shadow) {
            (Some(traffic), _) => Some(traffic.0.clone()),
            (None, Some(_)) => None,
            (None, None) => Some(BTreeMap::from([("0".to_owned(), 100)])),
        }
    }
}

/// What a deployment may use.
#[derive(Debug, Args)]
pub(crate) struct SizeArgs {
    /// Engine threads of the deployment [default of a new one: 2]
    #[arg(long, value_name = "N")]
    pub(crate) cpu_cores: Option<f64>,
    /// Memory budget in GB, measured and refused when exceeded [default of a new one: 4]
    #[arg(long, value_name = "N")]
    pub(crate) memory_gb: Option<f64>,
    /// Vertex AI machine type, for what of the two is not given
    #[arg(long, value_name = "TYPE")]
    pub(crate) machine_type: Option<String>,
    #[command(flatten)]
    pub(crate) limits: LimitArgs,
}

/// What a deployment takes at once.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct LimitArgs {
    /// Most rows computed at once, 1 to 65536; a request with more is computed in slices [default of a new one: 1024]
    #[arg(long, value_name = "N")]
    pub(crate) max_batch_rows: Option<u32>,
    /// Microseconds a request waits for others to be computed with although a thread is free, 0 to 1000000 [default of a new one: 0]
    #[arg(long, value_name = "N")]
    pub(crate) max_delay_us: Option<u32>,
    /// Most requests that wait, 1 to 100000; the next is refused [default of a new one: 256]
    #[arg(long, value_name = "N")]
    pub(crate) max_queued_requests: Option<u32>,
    /// Most rows of one request, 1 to 16777216; the server's --max-request-rows holds too [default of a new one: 65536]
    #[arg(long, value_name = "N")]
    pub(crate) max_rows_per_request: Option<u32>,
}

impl From<LimitArgs> for DeploymentLimits {
    fn from(limits: LimitArgs) -> Self {
        let LimitArgs { max_batch_rows, max_delay_us, max_queued_requests, max_rows_per_request } = limits;
        Self { max_batch_rows, max_delay_us, max_queued_requests, max_rows_per_request }
    }
}

impl From<SizeArgs> for ResourceRequest {
    fn from(size: SizeArgs) -> Self {
        let SizeArgs { cpu_cores, memory_gb, machine_type, limits } = size;
        Self { cpu_cores, memory_gb, machine_type, limits: limits.into() }
    }
}

/// `endpoint resize`
#[derive(Debug, Args)]
pub(crate) struct EndpointResizeArgs {
    /// The endpoint
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
    /// The deployment to change
    #[arg(long, value_name = "ID")]
    pub(crate) deployment: String,
    #[command(flatten)]
    pub(crate) size: SizeArgs,
    /// When it is in memory
    #[arg(long, value_name = "pinned|on-demand", value_parser = parse_residence)]
    pub(crate) load: Option<Residence>,
    /// The percent of the requests it gets copies of while it has no traffic; 0: none
    #[arg(long, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    pub(crate) shadow: Option<u8>,
}

fn parse_residence(word: &str) -> Result<Residence, String> {
    Residence::named(word).ok_or_else(|| format!("\"{word}\" is neither pinned nor on-demand"))
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
    use clap::Parser as _;

    use super::*;
    use crate::args::{Cli, Verb};

    fn deploy(more: &[&str]) -> Result<EndpointDeployArgs, clap::Error> {
        let line = ["bellwether", "endpoint", "deploy", "e", "--model", "m"].iter().chain(more);
        match Cli::try_parse_from(line)?.verb {
            Verb::Endpoint(EndpointVerb::Deploy(args)) => Ok(args),
            _ => panic!("another verb"),
        }
    }

    #[test]
    fn a_shadow_gets_no_traffic_and_any_other_all() {
        let plain = deploy(&[]).unwrap();
        assert_eq!((plain.shadow, plain.load), (None, Residence::Pinned));
        assert_eq!(plain.traffic_split(), Some(BTreeMap::from([("0".to_owned(), 100)])));
        let shadow = deploy(&["--shadow"]).unwrap();
        assert_eq!((shadow.shadow, shadow.traffic_split()), (Some(100), None));
        let shadow = deploy(&["--shadow", "20", "--load", "on-demand"]).unwrap();
        assert_eq!((shadow.shadow, shadow.load), (Some(20), Residence::OnDemand));
        for wrong in [
            ["--shadow=101", "--load=pinned"],
            ["--shadow=0", "--load=pinned"],
            ["--shadow=5", "--traffic=0=100"],
            ["--load=lazy", "--shadow"],
        ] {
            assert!(deploy(&wrong).is_err(), "{wrong:?}");
        }
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
}
