//! One connection: its handshake, its requests, and where each is answered.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::header;
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::Watcher;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{JoinError, JoinHandle};

use super::HEAD_TIMEOUT;
use crate::connections;
use crate::dialect::Dialect;
use crate::origin;
use crate::question::{QuestionPath, is_grpc_question};
use crate::router::Service;
use crate::tls::Tls;

/// A client that has not agreed on a cipher by then is cut off.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger bodies are read and answered where other threads can take over other work.
const SMALL_BODY_BYTES: u64 = 64 << 10;

/// A connection that nobody has read from yet.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) permit: Option<OwnedSemaphorePermit>,
    pub(super) watcher: Watcher,
}

/// What answers the requests of all connections.
pub(super) struct Answering {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) service: Service,
    pub(super) tls: Option<Tls>,
    /// The runtime for what may take long.
    pub(super) elsewhere: Handle,
}

impl Answering {
    /// Answers the requests of one connection.
    pub(super) async fn connection(self: Arc<Self>, accepted: Accepted) {
        let Accepted { stream, permit, watcher } = accepted;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return tracing::error!(%error, "cannot watch a connection"),
        };
        match self.tls.clone() {
            None => self.requests(stream, watcher).await,
            Some(tls) => match tokio::time::timeout(HANDSHAKE_TIMEOUT, tls.accept(stream)).await {
                Ok(Ok(stream)) => self.requests(stream, watcher).await,
                Ok(Err(error)) => tracing::debug!(%error, "no TLS session"),
                Err(_) => tracing::debug!("no TLS session in time"),
            },
        }
        drop(permit);
    }

    async fn requests<S>(self: Arc<Self>, stream: S, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _open = connections::Open::new();
        let begun = Arc::new(AtomicBool::new(false));
        let (asked, answering) = (Arc::clone(&begun), Arc::clone(&self));
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            asked.store(true, Ordering::Relaxed);
            let answering = Arc::clone(&answering);
            async move { answering.answer(request).await }
        });
        let connection = self.http.serve_connection(TokioIo::new(stream), service).into_owned();
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

    async fn answer(&self, request: hyper::Request<Incoming>) -> Result<Response, JoinError> {
        if let Err(error) = origin::one_host(request.version(), request.headers()) {
            return Ok(Dialect::of(&request.map(Body::new)).refusal(error));
        }
        let path = request.uri().path();
        // What a packed body becomes nobody knows.
        let packed = request.headers().contains_key(header::CONTENT_ENCODING);
        let here = match request.body().size_hint().upper() {
            Some(bytes) => bytes <= SMALL_BODY_BYTES && !packed && QuestionPath::of(path).is_some(),
            // A gRPC call does not say how long it is; it is decoded fast.
            None => is_grpc_question(path),
        };
        let request = request.map(Body::new);
        if here {
            return Ok(self.service.answer(request).await);
        }
        let service = self.service.clone();
        Elsewhere(self.elsewhere.spawn(async move { service.answer(request).await })).await
    }
}

/// A request that is answered on another runtime, until its client leaves.
struct Elsewhere(JoinHandle<Response>);

impl Future for Elsewhere {
    type Output = Result<Response, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        self.0.abort();
    }
}
