//! Connections: accept them, within limits, and let those in flight finish when the server is to stop.
//!
//! HTTP/1.1 and HTTP/2 (and so gRPC) share the port: the first bytes of a connection tell. Deliberately not here:
//! addresses; the caller binds the listener.

mod connection;
mod line;
mod reply;
#[cfg(test)]
mod shares;
mod socket;
#[cfg(test)]
mod tests;
mod threads;
mod watch;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::{TokioExecutor, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;
use tokio::runtime::Handle;

use crate::connections::Peers;
use crate::router::Service;
use crate::tls::Tls;
use connection::{Accepted, Answering};
use threads::Threads;
use watch::Limits;

/// A request's line and headers together.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// The most requests in progress on one HTTP/2 connection.
const STREAMS_MAX: u32 = 256;
/// What an HTTP/2 client may send before it is read: so much is held for it.
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// An HTTP/2 connection is asked for a sign of life that often, and has that long to give one.
const PING_EVERY: Duration = Duration::from_secs(30);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// After an error that is the machine's (such as no free file descriptor), not the connection's.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Serves until `shutdown` completes, then takes no more connections, answers the requests in flight, and ends.
///
/// Connections live on threads of their own, as many as the machine has cores; see `threads`.
///
/// # Errors
/// If those threads cannot be started. The listener's own failures are retried.
pub async fn serve(
    listener: TcpListener,
    service: Service,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let limits = Limits { head: service.options().head_timeout, ..Limits::default() };
    serve_within(limits, listener, (service, tls), shutdown).await
}

async fn serve_within(
    limits: Limits,
    listener: TcpListener,
    (service, tls): (Service, Option<Tls>),
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let mut peers = Peers::new(service.options().max_connections);
    let encrypted = tls.is_some();
    let elsewhere = Handle::current();
    let answering = Answering { http: protocols(), limits, service, tls, elsewhere };
    let threads = Threads::start(&Arc::new(answering))?;
    let mut shutdown = pin!(shutdown);
    loop {
        let (stream, address) = tokio::select! {
            accepted = accept(&listener) => accepted,
            () = &mut shutdown => break,
        };
        match peers.place(address.ip()) {
            Some(place) => threads.give(Accepted { stream, place }),
            None => peers.refuse(stream, encrypted),
        }
    }
    drop(listener);
    threads.end();
    peers.closed().await;
    Ok(())
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Who is slow with a head is cut off by `watch`, without a timer for each request.
    http.http1().header_read_timeout(None).max_buf_size(HEAD_BYTES_MAX as usize);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .keep_alive_interval(PING_EVERY)
        .keep_alive_timeout(PING_TIMEOUT);
    http
}

/// The next connection, bound to no runtime, and whose it is.
async fn accept(listener: &TcpListener) -> (std::net::TcpStream, SocketAddr) {
    loop {
        match listener.accept().await.and_then(|(stream, address)| Ok((stream.into_std()?, address))) {
            Ok((stream, address)) => {
                // Replies are written whole, so waiting for more to send only adds latency.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                return (stream, address);
            }
            Err(error) if is_of_the_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn is_of_the_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}
