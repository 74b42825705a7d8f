//! What every verb is given: the settings, where to print, and the way to the platform or to a server.

use std::sync::Arc;

use platform::{Error, Options, PinnedSnapshot, Platform};

use crate::client::Client;
use crate::config::{Origin, Settings};
use crate::interrupt::Interrupt;
use crate::output::Output;

/// What every verb is given.
#[derive(Debug)]
pub(crate) struct Context {
    /// The configuration in effect.
    pub(crate) settings: Settings,
    /// For whom to print.
    pub(crate) output: Output,
    /// Whether the user wants to stop.
    pub(crate) interrupt: Interrupt,
    /// What runs, as a second process is told: `bellwether serve`.
    pub(crate) command: &'static str,
    /// When the program started.
    pub(crate) started: std::time::Instant,
}

/// Where models and endpoints are looked up.
#[derive(Debug)]
pub(crate) enum Backend {
    /// In the data directory, by this process.
    Local(Arc<Platform>),
    /// At a server.
    Server(Client),
}

impl Context {
    /// The project that owns models and endpoints.
    pub(crate) fn project(&self) -> &str {
        &self.settings.project.value
    }

    /// Opens the data directory and takes its lock.
    ///
    /// # Errors
    /// [`platform::Kind::FailedPrecondition`] naming the process that holds it.
    pub(crate) async fn open_platform(&self) -> Result<Arc<Platform>, Error> {
        Platform::open(self.options()).await
    }

    /// Opens the data directory to read its data sets, whoever holds it.
    ///
    /// # Errors
    /// [`platform::Kind::NotFound`] if there is no such directory.
    pub(crate) async fn open_read_only(
        &self,
        pinned: Option<PinnedSnapshot>,
    ) -> Result<Arc<Platform>, Error> {
        Platform::open_read_only(self.options(), pinned).await
    }

    fn options(&self) -> Options {
        Options {
            data_dir: self.settings.data_dir.value.clone(),
            artifact_root: self.settings.artifact_root.value.clone(),
            artifact_cache_bytes: self.settings.artifact_cache_bytes.value,
            allowed_roots: self.settings.allow_roots.value.clone(),
            holder: self.command.to_owned(),
            clock: Arc::new(jiff::Timestamp::now),
        }
    }

    /// The server if one is configured, else the data directory.
    ///
    /// # Errors
    /// As [`Context::open_platform`]; [`platform::Kind::InvalidArgument`] for a URL that cannot be a server's.
    pub(crate) async fn backend(&self) -> Result<Backend, Error> {
        match &self.settings.server.value {
            Some(url) => Ok(Backend::Server(Client::new(url, self.project(), &self.settings.access())?)),
            None => Ok(Backend::Local(self.open_platform().await?)),
        }
    }

    /// Refuses `--server` for a verb that works on the data directory alone.
    ///
    /// # Errors
    /// [`platform::Kind::InvalidArgument`] if the flag was given.
    pub(crate) fn refuse_server(&self) -> Result<(), Error> {
        match self.settings.server.origin {
            Origin::Flag(flag) => Err(Error::invalid(
                flag,
                format!(
                    "`{}` works on the data directory; {flag} is for train, search, job, model, endpoint and predict",
                    self.command
                ),
            )),
            _ => Ok(()),
        }
    }
}
