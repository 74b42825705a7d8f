//! What `serve` allows its clients, on the command line.

use clap::Args;

/// Limits of a server, for all of its clients.
#[derive(Debug, Clone, Copy, Default, Args)]
#[command(next_help_heading = "Limits")]
pub(crate) struct ServeLimitArgs {
    /// Connections at a time, of one address half of them; the next is told 503 [env: BELLWETHER_MAX_CONNECTIONS] [default: 4096]
    #[arg(long, value_name = "N")]
    pub(crate) max_connections: Option<u64>,
    /// Requests in progress at a time, of one key (without keys: address) half of them; the next is told 429 [env: BELLWETHER_MAX_REQUESTS] [default: 1024]
    #[arg(long, value_name = "N")]
    pub(crate) max_requests: Option<u64>,
    /// MiB of a request's body, before and after it is unpacked [env: BELLWETHER_MAX_BODY_MIB] [default: 32]
    #[arg(long, value_name = "N")]
    pub(crate) max_body_mib: Option<u64>,
    /// Rows of a request; a deployment's own limit holds too [env: BELLWETHER_MAX_REQUEST_ROWS] [default: 65536]
    #[arg(long, value_name = "N")]
    pub(crate) max_request_rows: Option<u64>,
    /// Seconds until a request that is not answered is told 504 [env: BELLWETHER_REQUEST_TIMEOUT_S] [default: 60]
    #[arg(long, value_name = "N")]
    pub(crate) request_timeout_s: Option<u64>,
    /// Seconds a connection has for the head of a request [env: BELLWETHER_HEAD_TIMEOUT_S] [default: 75]
    #[arg(long, value_name = "N")]
    pub(crate) head_timeout_s: Option<u64>,
    /// Seconds a request's body may pause [env: BELLWETHER_BODY_TIMEOUT_S] [default: 10]
    #[arg(long, value_name = "N")]
    pub(crate) body_timeout_s: Option<u64>,
}
