//! The server inside this process: bind, answer and run jobs in the background, drain when asked to stop.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use gateway::{GatewayOptions, Stopping, Tls};
use platform::jobs::{JobRunner, JobSettings, LocalLauncher};
use platform::{Error, Kind, Platform};
use tokio::net::{TcpListener, lookup_host};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::config::Settings;
use crate::interrupt::Interrupt;

/// Requests in flight get this long once the server is to stop.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// So often is looked whether anybody has asked since.
const QUIET: Duration = Duration::from_secs(5);
/// A free port of this machine.
pub(crate) const FREE_PORT: &str = "127.0.0.1:0";

/// The addresses of `HOST:PORT`.
///
/// # Errors
/// [`Kind::InvalidArgument`] for what is no address.
pub(crate) async fn addresses(listen: &str) -> Result<Vec<SocketAddr>, Error> {
    let found = lookup_host(listen).await.map_err(|error| {
        let message = format!("listen address \"{listen}\" is not HOST:PORT ({error}); try 127.0.0.1:8080");
        Error::invalid("--listen", message)
    })?;
    let addresses: Vec<SocketAddr> = found.collect();
    if addresses.is_empty() {
        return Err(Error::invalid("--listen", format!("listen address \"{listen}\" has no address")));
    }
    Ok(addresses)
}

/// Refuses an address that others can reach, unless there are keys and TLS.
///
/// # Errors
/// [`Kind::InvalidArgument`] saying what is missing.
pub(crate) fn check_exposure(listen: &str, addresses: &[SocketAddr], guard: Guard) -> Result<(), Error> {
    if guard.insecure || addresses.iter().all(|address| address.ip().is_loopback()) {
        return Ok(());
    }
    let missing = match guard {
        Guard { keys: false, .. } => {
            "there are no API keys, so whoever reaches it could deploy models; make one with `bellwether key create --scope \
             admin --all-projects`"
        }
        Guard { tls: false, .. } => {
            "keys and predictions would travel unencrypted; give --tls-certificate and --tls-key"
        }
        _ => return Ok(()),
    };
    let message = format!(
        "refusing to listen on {listen}: {missing}, or listen on 127.0.0.1 behind a proxy (--insecure-listen forces it)"
    );
    Err(Error::invalid("--listen", message))
}

/// What stands between the server and whoever reaches it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Guard {
    /// Callers need keys.
    pub(crate) keys: bool,
    /// Connections are encrypted.
    pub(crate) tls: bool,
    /// The user wants it without.
    pub(crate) insecure: bool,
}

/// Takes the address `HOST:PORT`.
///
/// # Errors
/// As [`addresses`] and [`check_exposure`]; [`Kind::FailedPrecondition`] naming the flag, if the address is taken.
pub(crate) async fn bind(listen: &str, guard: Guard) -> Result<TcpListener, Error> {
    let addresses = addresses(listen).await?;
    check_exposure(listen, &addresses, guard)?;
    TcpListener::bind(addresses.as_slice()).await.map_err(|error| {
        let why = match error.kind() {
            std::io::ErrorKind::AddrInUse => "it is taken by another process".to_owned(),
            _ => error.to_string(),
        };
        let message = format!("cannot listen on {listen}: {why}; choose another with --listen HOST:PORT (port 0 takes a free one)");
        Error::new(Kind::FailedPrecondition, message)
    })
}

/// A server that answers in the background.
#[derive(Debug)]
pub(crate) struct Server {
    url: String,
    stop: oneshot::Sender<()>,
    serving: JoinHandle<std::io::Result<()>>,
    resting: JoinHandle<()>,
    jobs: JobRunner,
}

impl Server {
    /// Starts to answer and to run jobs, and lets a second process know where.
    ///
    /// # Errors
    /// [`Kind::Internal`] if the address or this program's file cannot be told.
    pub(crate) fn start(
        platform: &Arc<Platform>,
        listener: TcpListener,
        settings: &Settings,
        tls: Option<Tls>,
    ) -> Result<Self, Error> {
        let address =
            listener.local_addr().map_err(|error| Error::internal("cannot tell the address", error))?;
        let scheme = if tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{address}");
        platform.announce_address(&url)?;
        let default_model = settings.default_model.value.clone();
        let log_requests = settings.log_requests.value;
        let limits = settings.limits.options();
        let options = GatewayOptions { default_model, log_requests, tls: tls.is_some(), ..limits };
        let stopping = Stopping::default();
        let service = gateway::Service::new(Arc::clone(platform), options, stopping.clone());
        let (stop, stopped) = oneshot::channel();
        let shutdown = async move {
            // A dropped sender stops the server as well.
            let _ = stopped.await;
            stopping.begin();
        };
        let resting = tokio::spawn(rest_when_quiet(service.clone()));
        let serving = tokio::spawn(gateway::serve(listener, service, tls, shutdown));
        let jobs = platform.run_jobs(Arc::new(launcher()?), job_settings(settings));
        Ok(Self { url, stop, serving, resting, jobs })
    }

    /// `http://127.0.0.1:8080`
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// Answers until the user asks to stop, then stops.
    ///
    /// # Errors
    /// As [`Server::stop`].
    pub(crate) async fn until_interrupted(mut self, interrupt: &Interrupt) -> Result<(), Error> {
        interrupt.drains();
        tokio::select! {
            () = interrupt.wait() => self.stop().await,
            ended = &mut self.serving => {
                self.jobs.stop().await;
                ended_early(ended)
            }
        }
    }

    /// Takes no more requests, answers those in flight, stops jobs so that the next start goes on with them, and ends.
    ///
    /// # Errors
    /// [`Kind::DeadlineExceeded`] if they take too long.
    pub(crate) async fn stop(self) -> Result<(), Error> {
        // A server that has ended already has nobody who listens.
        let _ = self.stop.send(());
        self.resting.abort();
        let drained = tokio::time::timeout(DRAIN_TIMEOUT, self.serving).await;
        self.jobs.stop().await;
        match drained {
            Ok(ended) => ended_early(ended),
            Err(_) => {
                let message = format!(
                    "requests in flight took longer than {} s and were cut off",
                    DRAIN_TIMEOUT.as_secs()
                );
                Err(Error::new(Kind::DeadlineExceeded, message))
            }
        }
    }
}

/// Gives back what a server that nobody asks does not use, each time anew.
async fn rest_when_quiet(service: gateway::Service) {
    let (mut seen, mut rested) = (None, None);
    loop {
        tokio::time::sleep(QUIET).await;
        let replies = Some(service.replies());
        if seen == replies && rested != replies {
            platform::release_program_pages();
            rested = replies;
        }
        seen = replies;
    }
}

/// Jobs are processes of this program, to which nothing is said but by their command line.
fn launcher() -> Result<LocalLauncher, Error> {
    let program = std::env::current_exe()
        .map_err(|error| Error::internal(format!("cannot find this program's file: {error}"), error))?;
    let ours = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    Ok(LocalLauncher::new(program).hiding(ours.filter(|name| name.starts_with("BELLWETHER_")).collect()))
}

fn job_settings(settings: &Settings) -> JobSettings {
    JobSettings {
        max_running: settings.max_running_jobs.value,
        max_queued: settings.max_queued_jobs.value,
        ..JobSettings::default()
    }
}

fn ended_early(ended: Result<std::io::Result<()>, tokio::task::JoinError>) -> Result<(), Error> {
    match ended {
        Ok(Ok(())) => Ok(()),
        Ok(Err(error)) => Err(Error::internal(format!("the server ended: {error}"), error)),
        Err(error) => Err(Error::internal("the server stopped unexpectedly", error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn others_reach_it_with_keys_over_tls_alone() {
        let check =
            async |listen: &str, guard| check_exposure(listen, &addresses(listen).await.unwrap(), guard);
        for listen in ["127.0.0.1:0", "[::1]:8080"] {
            assert!(check(listen, Guard::default()).await.is_ok());
        }
        let (keys, tls) = (Guard { keys: true, ..Guard::default() }, Guard { tls: true, ..Guard::default() });
        for listen in ["0.0.0.0:8080", "[::]:8080", "192.0.2.1:80"] {
            for (guard, missing) in
                [(Guard::default(), "no API keys"), (tls, "no API keys"), (keys, "--tls-key")]
            {
                let error = check(listen, guard).await.unwrap_err();
                assert_eq!(error.kind(), Kind::InvalidArgument);
                assert!(error.to_string().contains(missing), "{error}");
            }
            assert!(check(listen, Guard { keys: true, tls: true, insecure: false }).await.is_ok());
            assert!(check(listen, Guard { insecure: true, ..Guard::default() }).await.is_ok());
        }
        assert!(addresses("8080").await.unwrap_err().to_string().contains("not HOST:PORT"));
    }

    #[tokio::test]
    async fn a_taken_port_names_the_flag() {
        let taken = TcpListener::bind(FREE_PORT).await.unwrap();
        let address = taken.local_addr().unwrap();
        let error = bind(&address.to_string(), Guard::default()).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition);
        assert!(error.to_string().contains("taken") && error.to_string().contains("--listen"), "{error}");
    }
}
