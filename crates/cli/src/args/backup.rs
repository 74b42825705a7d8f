//! Arguments of `backup` and `restore`.

use clap::Args;

/// `backup`
#[derive(Debug, Args)]
pub(crate) struct BackupArgs {
    /// The folder or place in a store (gs://bucket/backups) that backups are kept in; what is there already, and whole, is not copied again
    #[arg(long, value_name = "DIR|URI")]
    pub(crate) out: String,
}

/// `restore`
#[derive(Debug, Args)]
pub(crate) struct RestoreArgs {
    /// The folder or place in a store that backups are kept in
    #[arg(long, value_name = "DIR|URI")]
    pub(crate) from: String,
    /// Which one [default: the newest]
    #[arg(long, value_name = "NAME")]
    pub(crate) backup: Option<String>,
}
