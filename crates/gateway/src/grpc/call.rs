//! One call: its deadline, the limits that hold for it, and the way of its messages in and out.
//!
//! A unary call that the client gave up or whose deadline passed is dropped where it stands, which takes it off a
//! model's queue. Deliberately not here: what any method does.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderValue, Method as Verb, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{Stream, TryFutureExt as _};
use platform::{Caller, Error, Held, Kind, ModelName, Scope, Target, Together, VersionChoice};
use prost::Message;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tonic::codec::CompressionEncoding;
use tonic::server::Grpc;
use tonic::{Status, Streaming};

use super::codec::{Bodies, Codec};
use super::cost::Cost;
use super::open::Open;
use super::paced::Paced;
use super::reply::{self, Answer, Refused};
use crate::dialect::Dialect;
use crate::observe::{self, CountedLater, Current, Route, Why};
use crate::router::{Gateway, Permit};

/// The most streams open at once; they may be idle, so requests in progress do not bound them.
const STREAMS_MAX: usize = 1024;
const TIMEOUT: &str = "grpc-timeout";

/// What the server has to know of a method.
pub(super) struct Method {
    route: Route,
    costs: &'static [Cost],
    counted: bool,
}

impl Method {
    /// A method whose calls count as requests in progress; `route` is its name in metrics.
    pub(super) const fn new(route: &'static str, costs: &'static [Cost]) -> Self {
        Self { route: Route(route), costs, counted: true }
    }

    /// One that must answer when the server is full: what it asks is in memory.
    pub(super) const fn uncounted(route: &'static str) -> Self {
        Self { route: Route(route), costs: &[], counted: false }
    }
}

/// The streams that may be opened.
#[derive(Clone)]
pub(super) struct Streams(Arc<Semaphore>);

impl Default for Streams {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(STREAMS_MAX)))
    }
}

/// The gateway, as asked by a caller who waits for so long.
#[derive(Clone)]
pub(super) struct Asked {
    gateway: Arc<Gateway>,
    caller: Caller,
    together: Option<Together>,
    /// How long an answer may take.
    longest: Duration,
    /// When nobody waits any more.
    deadline: Option<std::time::Instant>,
    /// The request of a stream, which is answered after its handler has returned.
    current: Option<Current>,
}

impl Asked {
    /// Does some work of a stream, as part of the request that opened it.
    pub(super) async fn within_request<T>(&self, work: impl Future<Output = T>) -> T {
        match self.current.clone() {
            Some(current) => current.within(work).await,
            None => work.await,
        }
    }

    /// By somebody who waits no longer than `limit` from now.
    pub(super) fn within(&self, limit: Duration) -> Self {
        let limited = std::time::Instant::now() + limit;
        let deadline = self.deadline.map_or(limited, |deadline| deadline.min(limited));
        Self { deadline: Some(deadline), ..self.clone() }
    }

    /// How long an answer to each question of a stream may take.
    pub(super) fn longest(&self) -> Duration {
        self.longest
    }

    /// Whether the caller may ask models of a project.
    ///
    /// # Errors
    /// [`Kind::PermissionDenied`] saying what the caller's key is for.
    pub(super) fn allow(&self, project: &str) -> Result<(), Error> {
        self.caller.allow(Some(project), Scope::Predict)
    }

    /// Whether the caller's key, with which a stream was opened, is still taken.
    ///
    /// # Errors
    /// [`Kind::Unauthenticated`] saying why it is not.
    pub(super) fn check_key(&self) -> Result<(), Status> {
        self.platform.check_caller(&self.caller).map_err(|error| reply::status(&error))
    }

    /// A place among the requests in progress.
    ///
    /// # Errors
    /// Those of [`Gateway::permit`].
    pub(super) fn permit(&self) -> Result<Permit<'_>, Error> {
        self.gateway.permit(observe::dialect_or(Dialect::OtherGrpc), Some(&self.caller))
    }

    /// Who answers for a model, if the caller may ask it.
    ///
    /// # Errors
    /// Those of [`Asked::allow`] and [`platform::Platform::model_target_for`].
    pub(super) fn target(&self, name: &ModelName, choice: &VersionChoice) -> Result<Target, Error> {
        self.allow(&name.project)?;
        let target = self.platform.model_target_for(name, choice, self.together.as_ref())?;
        Ok(self.bound(observe::asked(target.by(self.caller.clone()))))
    }

    /// The same, whose answer nobody wants after the deadline.
    pub(super) fn bound(&self, target: Target) -> Target {
        target.until(self.deadline)
    }
}

impl std::ops::Deref for Asked {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

/// A call.
pub(super) struct Call {
    gateway: Arc<Gateway>,
    request: Request,
    begun: Instant,
}

impl Call {
    pub(super) fn new(gateway: Arc<Gateway>, request: Request) -> Self {
        Self { gateway, request, begun: Instant::now() }
    }

    /// One message in, one out.
    pub(super) async fn unary<Q, R, A, F>(self, method: &Method, answer: A) -> Response
    where
        Q: Message + Default + Send + 'static,
        R: Message + Send + 'static,
        A: Fn(Asked, Q) -> F + Send + Sync,
        F: Future<Output = Result<Answer<R>, Refused>> + Send,
    {
        let route = method.route;
        // Awaited where it is made: as a variable it would be there twice.
        let answered: Result<Response, NoCall> = async {
            check(&self.request)?;
            let deadline = Deadline::of(&self)?;
            let gateway = Arc::clone(&self.gateway);
            let asked = self.asked(Some(deadline), None)?;
            let dialect = observe::dialect_or(Dialect::OtherGrpc);
            let _permit =
                if method.counted { Some(gateway.permit(dialect, Some(&asked.caller))?) } else { None };
            let service = tower::service_fn(|request: tonic::Request<Q>| {
                let answered = answer(asked.clone(), request.into_inner());
                async { answered.await.map(Answer::into_response).map_err(Refused::into_status) }
            });
            let mut grpc = framing::<Q, R>(&gateway, method, &self.request);
            let response = deadline.hold(&gateway, grpc.unary(service, self.request.map(Paced::one))).await?;
            Ok(response.map(Body::new))
        }
        .await;
        finished(answered, route)
    }

    /// Messages in, messages out. A deadline that the client gave ends it; without one it lasts as long as the client.
    pub(super) async fn stream<Q, R, A, S>(self, method: &Method, streams: &Streams, answer: A) -> Response
    where
        Q: Message + Default + Send + 'static,
        R: Message + Send + 'static,
        A: Fn(Asked, Streaming<Q>) -> S + Send + Sync,
        S: Stream<Item = Result<R, Status>> + Send + 'static,
    {
        let answered: Result<Response, NoCall> = async {
            let open = self.open(streams, method.route)?;
            let asked = self.asked(None, Current::here())?;
            let service = tower::service_fn(|request: tonic::Request<Streaming<Q>>| {
                let answers = answer(asked.clone(), request.into_inner());
                std::future::ready(Ok(tonic::Response::new(open.hold(answers))))
            });
            let mut grpc = framing::<Q, R>(&self.gateway, method, &self.request);
            Ok(counted_later(grpc.streaming(service, self.request.map(Paced::stream)).await.map(Body::new)))
        }
        .await;
        finished(answered, method.route)
    }

    /// One message in, messages out; otherwise as [`Call::stream`].
    pub(super) async fn watch<Q, R, A, S>(self, method: &Method, streams: &Streams, answer: A) -> Response
    where
        Q: Message + Default + Send + 'static,
        R: Message + Send + 'static,
        A: Fn(Asked, Q) -> S + Send + Sync,
        S: Stream<Item = Result<R, Status>> + Send + 'static,
    {
        let answered: Result<Response, NoCall> = async {
            let open = self.open(streams, method.route)?;
            let asked = self.asked(None, Current::here())?;
            let gateway = Arc::clone(&self.gateway);
            let deadline = Deadline::of(&self)?;
            let service = tower::service_fn(|request: tonic::Request<Q>| {
                let answers = answer(asked.clone(), request.into_inner());
                std::future::ready(Ok(tonic::Response::new(open.hold(answers))))
            });
            let mut grpc = framing::<Q, R>(&self.gateway, method, &self.request);
            // Until the request is there; what is sent then has no limit of time but the client's.
            let response =
                deadline.hold(&gateway, grpc.server_streaming(service, self.request.map(Paced::one))).await?;
            Ok(counted_later(response.map(Body::new)))
        }
        .await;
        finished(answered, method.route)
    }

    /// # Errors
    /// If nobody has looked who calls, or the metadata give a time that is none.
    fn asked(&self, deadline: Option<Deadline>, current: Option<Current>) -> Result<Asked, Error> {
        let caller = self.request.extensions().get::<Caller>().cloned();
        let caller = caller.ok_or_else(|| Error::new(Kind::Unauthenticated, "it is not known who calls"))?;
        let longest = match deadline {
            Some(deadline) => deadline.allowed,
            None => self.longest()?,
        };
        let deadline = deadline.map(|deadline| deadline.at.into_std());
        let together = crate::asked::together(self.request.headers())?;
        Ok(Asked { gateway: Arc::clone(&self.gateway), caller, together, longest, deadline, current })
    }

    /// The time the server gives an answer, or less if the metadata say so, as headers do over HTTP.
    fn longest(&self) -> Result<Duration, Error> {
        let longest = self.gateway.options.request_timeout;
        let wanted = crate::asked::timeout(self.request.headers())?;
        Ok(wanted.map_or(longest, |wanted| wanted.min(longest)))
    }

    fn open(&self, streams: &Streams, route: Route) -> Result<Open, NoCall> {
        check(&self.request)?;
        let timeout = asked(self.request.headers())?;
        let until = timeout.map(|timeout| Deadline::after(self.begun, timeout)).transpose()?;
        let full = |message: String| {
            self.gateway.counts.refused(observe::dialect_or(Dialect::OtherGrpc), Why::Busy);
            reply::status(&Error::new(Kind::ResourceExhausted, message))
        };
        let share = STREAMS_MAX / 2;
        let hold = self.request.extensions().get::<Caller>().map(|caller| {
            let said = || full(format!("this key has {share} streams open already; close one or try again"));
            caller.hold(Held::Stream, share).ok_or_else(said)
        });
        let hold = hold.transpose()?;
        let permit = Arc::clone(&streams.0)
            .try_acquire_owned()
            .map_err(|_| full(format!("{STREAMS_MAX} streams are open already; close one or try again")))?;
        Ok(Open {
            gateway: Arc::clone(&self.gateway),
            route,
            begun: self.begun,
            until,
            place: Arc::new((permit, hold)),
        })
    }
}

/// The reply to a call of a method that is not there.
pub(super) fn no_method(service: &str, method: &str) -> Response {
    refused(&reply::unimplemented(format!("{service} has no method \"{method}\"")))
}

/// The reply to a call of a method that is there and not offered.
pub(super) fn not_offered(why: &str) -> Response {
    refused(&reply::unimplemented(why))
}

/// Why a call did not get as far as its method.
enum NoCall {
    /// It is no gRPC.
    NotGrpc(StatusCode, &'static str),
    Refused(Box<Status>),
}

impl From<Status> for NoCall {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

impl From<Error> for NoCall {
    fn from(error: Error) -> Self {
        reply::status(&error).into()
    }
}

fn finished(answered: Result<Response, NoCall>, route: Route) -> Response {
    let mut response = match answered {
        Ok(response) => response,
        Err(NoCall::Refused(status)) => refused(&status),
        Err(NoCall::NotGrpc(code, why)) => (code, why).into_response(),
    };
    // That a message is over the limit is OUT_OF_RANGE for tonic; for gRPC's other servers it is RESOURCE_EXHAUSTED. So in `open`.
    if response.headers().get(Status::GRPC_STATUS).is_some_and(|code| code == "11") {
        response.headers_mut().insert(Status::GRPC_STATUS, HeaderValue::from_static("8"));
    }
    response.extensions_mut().insert(route);
    response
}

fn refused(status: &Status) -> Response {
    status.clone().into_http()
}

/// A stream's status is known, and counted, when it ends.
fn counted_later(mut response: Response) -> Response {
    response.extensions_mut().insert(CountedLater);
    response
}

/// Whether a request is a call at all.
fn check(request: &Request) -> Result<(), NoCall> {
    if request.method() != Verb::POST {
        return Err(NoCall::NotGrpc(StatusCode::METHOD_NOT_ALLOWED, "a gRPC method is called by POST"));
    }
    let kind = request.headers().get(header::CONTENT_TYPE).map_or(&[][..], |kind| kind.as_bytes());
    let is_grpc = kind
        .strip_prefix(b"application/grpc")
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"+proto") || rest.starts_with(b";"));
    if is_grpc {
        return Ok(());
    }
    let why = "a gRPC method takes content-type application/grpc (with protocol buffers)";
    Err(NoCall::NotGrpc(StatusCode::UNSUPPORTED_MEDIA_TYPE, why))
}

/// Frames of at most the size of a body over HTTP, compressed or not: what is unpacked counts. A reply is compressed
/// for who compresses requests; clients say that they could read it whether or not it would help them.
fn framing<Q, R>(gateway: &Arc<Gateway>, method: &Method, request: &Request) -> Grpc<Codec<Q, R>>
where
    Q: Message + Default + Send + 'static,
    R: Message + Send + 'static,
{
    let bytes = Bodies::of(gateway, observe::dialect_or(Dialect::OtherGrpc));
    let grpc = Grpc::new(Codec::new(method.costs, bytes))
        .max_decoding_message_size(gateway.options.max_body_bytes)
        .accept_compressed(CompressionEncoding::Gzip)
        .accept_compressed(CompressionEncoding::Deflate);
    if request.headers().get("grpc-encoding").is_none_or(|encoding| encoding == "identity") {
        return grpc;
    }
    grpc.send_compressed(CompressionEncoding::Gzip).send_compressed(CompressionEncoding::Deflate)
}

/// When a call must be answered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Deadline {
    pub(super) at: Instant,
    allowed: Duration,
}

impl Deadline {
    /// The client's, but not later than the server's own.
    fn of(call: &Call) -> Result<Self, Status> {
        let longest = call.longest().map_err(|error| reply::status(&error))?;
        let allowed = asked(call.request.headers())?.map_or(longest, |timeout| timeout.min(longest));
        Self::after(call.begun, allowed)
    }

    /// # Errors
    /// If it has passed.
    pub(super) fn after(begun: Instant, allowed: Duration) -> Result<Self, Status> {
        let deadline = Self { at: begun + allowed, allowed };
        if deadline.at <= Instant::now() { Err(deadline.passed()) } else { Ok(deadline) }
    }

    fn hold<T>(
        self,
        gateway: &Gateway,
        answer: impl Future<Output = T>,
    ) -> impl Future<Output = Result<T, Status>> {
        tokio::time::timeout_at(self.at, answer).map_err(move |_| {
            gateway.counts.refused(observe::dialect_or(Dialect::OtherGrpc), Why::TooLate);
            self.passed()
        })
    }

    pub(super) fn passed(self) -> Status {
        let message = format!("no answer within {} s, the deadline of the call", self.allowed.as_secs_f64());
        reply::status(&Error::new(Kind::DeadlineExceeded, message))
    }
}

/// The time a client gives its call: up to 8 digits and a unit.
fn asked(headers: &HeaderMap) -> Result<Option<Duration>, Status> {
    let Some(value) = headers.get(TIMEOUT) else { return Ok(None) };
    let parsed = value.to_str().ok().and_then(timeout);
    let message = "grpc-timeout is no time: up to 8 digits and one of H, M, S, m, u, n";
    parsed.map(Some).ok_or_else(|| reply::status(&Error::new(Kind::InvalidArgument, message)))
}

fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount * 3600)),
        "M" => Some(Duration::from_secs(amount * 60)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_is_digits_and_a_unit() {
        for (text, expected) in [
            ("100m", Some(Duration::from_millis(100))),
            ("0S", Some(Duration::ZERO)),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("7u", Some(Duration::from_micros(7))),
            ("1n", Some(Duration::from_nanos(1))),
            ("2M", Some(Duration::from_secs(120))),
            ("123456789S", None),
            ("S", None),
            ("", None),
            ("-1S", None),
            ("1.5S", None),
            ("1é", None),
            ("10", None),
        ] {
            assert_eq!(timeout(text), expected, "{text}");
        }
    }

    #[test]
    fn a_deadline_that_has_passed_is_none() {
        let passed = Deadline::after(Instant::now(), Duration::ZERO).unwrap_err();
        assert_eq!(passed.code(), tonic::Code::DeadlineExceeded);
    }
}
