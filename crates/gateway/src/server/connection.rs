//! One connection: its handshake, its requests, and where each is answered.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Version, header};
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use platform::Error;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::task::{JoinError, JoinHandle};

use super::line::Line;
use super::reply::Reply;
use super::socket::Socket;
use super::watch::Limits;
use crate::connections::{self, Place};
use crate::question::{QuestionPath, is_grpc_question};
use crate::router::Service;
use crate::tls::Tls;
use crate::{framing, open_inference, origin};

/// A client that has not agreed on a cipher by then is cut off.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// Larger bodies are read and answered where other threads can take over other work.
const SMALL_BODY_BYTES: u64 = 64 << 10;
/// Raw tensors are copied, not read: to hand each piece of them to another thread would cost more.
const RAW_BODY_BYTES: u64 = 1 << 20;

/// A connection that nobody has read from yet.
pub(super) struct Accepted {
    pub(super) stream: std::net::TcpStream,
    pub(super) place: Place,
}

/// What answers the requests of all connections.
pub(super) struct Answering {
    pub(super) http: auto::Builder<TokioExecutor>,
    pub(super) limits: Limits,
    pub(super) service: Service,
    pub(super) tls: Option<Tls>,
    /// The runtime for what may take long.
    pub(super) elsewhere: Handle,
}

impl Answering {
    /// Answers the requests of one connection, and writes down on its line what becomes of it.
    pub(super) async fn connection(self: Arc<Self>, accepted: Accepted, line: Arc<Line>) {
        let Accepted { stream, place } = accepted;
        let stream = match TcpStream::from_std(stream) {
            Ok(stream) => stream,
            Err(error) => return tracing::error!(%error, "cannot watch a connection"),
        };
        match self.tls.clone() {
            None => self.requests(stream, (line, place)).await,
            // What this needs is large, and no other connection's business.
            Some(tls) => Box::pin(self.encrypted(tls, stream, (line, place))).await,
        }
    }

    async fn encrypted(self: Arc<Self>, tls: Tls, stream: TcpStream, at: (Arc<Line>, Place)) {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, Box::pin(tls.accept(stream))).await {
            Ok(Ok(stream)) => self.requests(stream, at).await,
            Ok(Err(error)) => tracing::debug!(%error, "no TLS session"),
            Err(_) => tracing::debug!("no TLS session in time"),
        }
    }

    async fn requests<S>(self: Arc<Self>, stream: S, (line, place): (Arc<Line>, Place))
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let _open = connections::Open::new();
        let socket = TokioIo::new(Socket::new(stream, Arc::clone(&line)));
        let connection = Connection { answering: Arc::clone(&self), line: Arc::clone(&line), place };
        let connection = Arc::new(connection);
        let service = service_fn(move |request: hyper::Request<Incoming>| {
            answer(InProgress::begin(&connection, request.version()), request)
        });
        let mut served = pin!(self.http.serve_connection(socket, service));
        poll_fn(|context| {
            line.lives_on(context.waker());
            Poll::Ready(())
        })
        .await;
        let mut ending = false;
        let ended = poll_fn(|context| {
            if !ending && line.is_ending() {
                ending = true;
                served.as_mut().graceful_shutdown();
            }
            served.as_mut().poll(context)
        });
        if let Err(error) = ended.await {
            tracing::debug!(%error, "a connection ended early");
        }
    }
}

/// What the requests of a connection share.
struct Connection {
    answering: Arc<Answering>,
    line: Arc<Line>,
    place: Place,
}

/// A request, from its head to the end of its reply.
pub(super) struct InProgress {
    connection: Arc<Connection>,
    /// With it, of those of its client.
    in_progress: usize,
}

impl InProgress {
    fn begin(connection: &Arc<Connection>, version: Version) -> Self {
        connection.line.request_begins(version == Version::HTTP_2);
        Self { connection: Arc::clone(connection), in_progress: connection.place.request_begins() }
    }

    pub(super) fn line(&self) -> &Line {
        &self.connection.line
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.connection.place.request_ends();
        self.connection.line.request_ends();
    }
}

async fn answer(
    asked: InProgress,
    request: hyper::Request<Incoming>,
) -> Result<hyper::Response<Reply>, JoinError> {
    let Answering { service, elsewhere, .. } = &*asked.connection.answering;
    let bytes = request.body().size_hint().upper();
    let response = if let Err(error) = doubtful(&request, bytes) {
        let version = request.version();
        let mut response = Box::pin(service.refuse(request.map(Body::new), error)).await;
        if version < Version::HTTP_2 {
            // What follows may be part of it.
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    } else if let Some(error) = service.over_share(asked.in_progress, request.uri().path()) {
        Box::pin(service.refuse(request.map(Body::new), error)).await
    } else {
        let path = request.uri().path();
        let question = QuestionPath::of(path);
        let here = is_quick(question, path, request.headers(), bytes);
        let request = request.map(Body::new);
        match question {
            Some(question) if here => service.answer_question(question, request).await,
            None if here => service.route(request).await,
            _ => {
                let service = service.clone();
                Elsewhere(elsewhere.spawn(async move {
                    match question {
                        Some(question) => service.answer_question(question, request).await,
                        None => service.route(request).await,
                    }
                }))
                .await?
            }
        }
    };
    Ok(response.map(|body| Reply::new(body, asked)))
}

/// Refuses a request that two readers could read as two, if so many bytes are all of its body.
///
/// # Errors
/// Those of [`origin::one_host`] and [`framing::check`].
fn doubtful<B>(request: &hyper::Request<B>, bytes: Option<u64>) -> Result<(), Error> {
    let (version, headers) = (request.version(), request.headers());
    origin::one_host(version, headers)?;
    // One that says its length has no transfer coding, and HTTP/2 knows none.
    if bytes.is_none() && version == Version::HTTP_11 { framing::check(headers) } else { Ok(()) }
}

/// Whether a request is read and answered on the thread of its connection, if so many bytes are all of its body.
fn is_quick(question: Option<QuestionPath>, path: &str, headers: &HeaderMap, bytes: Option<u64>) -> bool {
    let fits = |bytes: u64| {
        bytes <= SMALL_BODY_BYTES || bytes <= RAW_BODY_BYTES && open_inference::has_raw_tensors(headers)
    };
    // What a packed body becomes nobody knows.
    let is_small = bytes.is_some_and(fits) && !headers.contains_key(header::CONTENT_ENCODING);
    // A gRPC call need not say how long it is; it is decoded fast.
    question.is_some() && is_small || is_grpc_question(path)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_questions_and_those_over_grpc_stay_on_their_thread() {
        let is_quick =
            |path, headers: &HeaderMap, bytes| is_quick(QuestionPath::of(path), path, headers, bytes);
        let (plain, json) = (HeaderMap::new(), "/v1/projects/p/locations/l/endpoints/e:predict");
        assert!(is_quick(json, &plain, Some(SMALL_BODY_BYTES)));
        assert!(!is_quick(json, &plain, Some(SMALL_BODY_BYTES + 1)) && !is_quick(json, &plain, None));
        let packed = HeaderMap::from_iter([(header::CONTENT_ENCODING, "gzip".parse().unwrap())]);
        assert!(!is_quick(json, &packed, Some(100)));
        let grpc = "/inference.GRPCInferenceService/ModelInfer";
        assert!(is_quick(grpc, &plain, None) && is_quick(grpc, &plain, Some(400)));
        assert!(!is_quick("/inference.GRPCInferenceService/RepositoryModelLoad", &plain, Some(9)));
        assert!(!is_quick("/v1/projects/p/locations/l/models", &plain, Some(9)));
    }

    fn bytes_of<A, F>(_: impl FnOnce(A) -> F) -> usize {
        size_of::<F>()
    }

    /// It is moved into its place for each request.
    #[test]
    fn what_answers_a_request_is_small() {
        type Asked = (&'static Service, QuestionPath, axum::extract::Request);
        let question =
            bytes_of(|(service, question, request): Asked| service.answer_question(question, request));
        let all = bytes_of(|(asked, request)| answer(asked, request));
        assert!(question <= 4096 && all <= question + 768, "{question} and {all} bytes");
    }
}
