//! Connections: accept them, within limits, and let those in flight finish when the server is to stop.
//!
//! HTTP/1.1 and HTTP/2 (and so gRPC) share the port: the first bytes of a connection tell. Deliberately not here:
//! addresses; the caller binds the listener.

use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::Service as _;

use crate::connections;
use crate::tls::Tls;

/// More wait in the listener's backlog until one ends.
const CONNECTIONS_MAX: usize = 4096;
/// A request's line and headers together.
const HEAD_BYTES_MAX: u32 = 64 << 10;
/// A client that has not sent a request's head by then is cut off, be it slow or idle.
const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// A client that has not agreed on a cipher by then is cut off.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
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
/// # Errors
/// None of today's; the listener's own failures are retried.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    tls: Option<Tls>,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let connections = GracefulShutdown::new();
    let http = Arc::new(protocols());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = async {
            let permit = Arc::clone(&permits).acquire_owned().await;
            (accept(&listener).await, permit)
        };
        let (stream, permit) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let (router, http, watcher, tls) =
            (router.clone(), Arc::clone(&http), connections.watcher(), tls.clone());
        tokio::spawn(async move {
            match tls {
                None => connection(&http, stream, router, watcher).await,
                Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                    Ok(Ok(stream)) => connection(&http, stream, router, watcher).await,
                    Ok(Err(error)) => tracing::debug!(%error, "no TLS session"),
                    Err(_) => tracing::debug!("no TLS session in time"),
                },
            }
            drop(permit);
        });
    }
    drop(listener);
    connections.shutdown().await;
    Ok(())
}

fn protocols() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    http.http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX as usize);
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

/// Answers the requests of one connection.
async fn connection<S>(http: &auto::Builder<TokioExecutor>, stream: S, router: Router, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let _open = connections::Open::new();
    let begun = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&begun);
    let service = service_fn(move |request: hyper::Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        router.clone().call(request.map(Body::new))
    });
    let connection = http.serve_connection(TokioIo::new(stream), service).into_owned();
    let mut connection = pin!(watcher.watch(connection));
    // Until the protocol is known its own limits of time do not hold.
    let ended = tokio::select! {
        ended = &mut connection => ended,
        () = tokio::time::sleep(HEAD_TIMEOUT), if !begun.load(Ordering::Relaxed) => {
            if !begun.load(Ordering::Relaxed) {
                tracing::debug!("no request in time");
                return;
            }
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn accept(listener: &TcpListener) -> TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                // Replies are written whole, so waiting for more to send only adds latency.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                return stream;
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

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::sync::{Notify, oneshot};

    use super::*;

    #[tokio::test]
    async fn a_request_in_flight_is_answered_after_the_server_is_told_to_stop() {
        let (entered, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (enter, go) = (Arc::clone(&entered), Arc::clone(&release));
        let slow = move || async move {
            enter.notify_one();
            go.notified().await;
            "done"
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async {
            let _ = stopped.await;
        };
        let server = tokio::spawn(serve(listener, Router::new().route("/", get(slow)), None, shutdown));

        let idle = TcpStream::connect(address).await.unwrap();
        let mut client = TcpStream::connect(address).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        entered.notified().await;
        stop.send(()).unwrap();
        release.notify_one();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with("done"), "{answer}");
        tokio::time::timeout(Duration::from_secs(10), server)
            .await
            .expect("idle connections do not hold it up")
            .unwrap()
            .unwrap();
        assert!(TcpStream::connect(address).await.is_err());
        drop(idle);
    }
}
