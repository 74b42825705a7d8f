//! `key create|list|revoke`: arguments.

use clap::{Args, Subcommand};
use jiff::{Span, Timestamp, ToSpan as _};
use platform::Scope;

/// `key ...`
#[derive(Debug, Subcommand)]
pub(crate) enum KeyVerb {
    /// Make a key; from the first one on, every request needs one
    #[command(
        after_help = "Examples:\n  bellwether key create --scope admin --all-projects --name operator\n  bellwether key create --scope predict --name desk --expires 90d"
    )]
    Create(KeyCreateArgs),
    /// List the keys
    #[command(after_help = "Example:\n  bellwether key list --server http://127.0.0.1:8080")]
    List,
    /// Revoke a key at once
    #[command(after_help = "Example:\n  bellwether key revoke 3f9a0c51b2de")]
    Revoke(KeyRevokeArgs),
}

impl KeyVerb {
    /// The command as a second process is told.
    pub(crate) fn command(&self) -> &'static str {
        match self {
            Self::Create(_) => "bellwether key create",
            Self::List => "bellwether key list",
            Self::Revoke(_) => "bellwether key revoke",
        }
    }
}

/// `key create`
#[derive(Debug, Args)]
pub(crate) struct KeyCreateArgs {
    /// What it allows: predict (ask and look), train (and bring in data and train), admin (everything)
    #[arg(long, value_name = "SCOPE")]
    pub(crate) scope: Scope,
    /// What people call it
    #[arg(long, value_name = "TEXT", default_value = "")]
    pub(crate) name: String,
    /// For every project; without it for the project in effect
    #[arg(long)]
    pub(crate) all_projects: bool,
    /// For how long: 90d, 12h
    #[arg(long, value_name = "TIME", value_parser = parse_span)]
    pub(crate) expires: Option<Span>,
}

impl KeyCreateArgs {
    /// When it expires, counted from `now`.
    pub(crate) fn expires_at(&self, now: Timestamp) -> Option<Timestamp> {
        self.expires.and_then(|span| now.checked_add(span).ok())
    }
}

/// `key revoke`
#[derive(Debug, Args)]
pub(crate) struct KeyRevokeArgs {
    /// The key's id: the part between the dashes
    #[arg(value_name = "ID")]
    pub(crate) id: String,
}

/// Days are of 24 hours.
fn parse_span(text: &str) -> Result<Span, String> {
    let wrong = || format!("\"{text}\" is no length of time; give days or hours: 90d, 12h");
    let (digits, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or_else(wrong)?;
    let count: i64 = digits.parse().map_err(|_| wrong())?;
    if !(1..=100_000).contains(&count) {
        return Err(wrong());
    }
    match unit {
        "d" => Ok((count * 24).hours()),
        "h" => Ok(count.hours()),
        _ => Err(wrong()),
    }
}
