//! A stream that is open: how long it may last, and how it is counted when it has ended.

use std::sync::Arc;

use axum::http::Method as Verb;
use futures::{Stream, StreamExt as _};
use platform::{Error, Hold, Kind};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;
use tonic::{Code, Status};

use super::call::Deadline;
use super::reply;
use crate::dialect::Dialect;
use crate::observe::{self, Current, Route, Why};
use crate::router::Gateway;

/// A stream that may go on.
pub(super) struct Open {
    pub(super) gateway: Arc<Gateway>,
    pub(super) route: Route,
    pub(super) begun: Instant,
    pub(super) until: Option<Deadline>,
    pub(super) place: Arc<Place>,
}

/// Its place among all streams, and among those of its key.
pub(super) type Place = (OwnedSemaphorePermit, Option<Hold>);

impl Open {
    /// Ends the stream at its deadline, and lets another be opened when it has ended.
    pub(super) fn hold<R, S>(&self, answers: S) -> impl Stream<Item = Result<R, Status>> + Send + 'static
    where
        R: Send + 'static,
        S: Stream<Item = Result<R, Status>> + Send + 'static,
    {
        let until = self.until;
        let ending = Ending {
            gateway: Arc::clone(&self.gateway),
            route: self.route,
            begun: self.begun,
            code: Code::Cancelled,
            current: Current::here(),
            _place: Arc::clone(&self.place),
        };
        futures::stream::unfold(Some((Box::pin(answers), ending)), move |state| async move {
            let (mut answers, mut ending) = state?;
            let next = match until {
                None => answers.next().await,
                Some(deadline) => match tokio::time::timeout_at(deadline.at, answers.next()).await {
                    Ok(next) => next,
                    Err(_) => Some(Err(deadline.passed())),
                },
            };
            match next {
                Some(Ok(answer)) => Some((Ok(answer), Some((answers, ending)))),
                Some(Err(status)) => {
                    ending.code = status.code();
                    Some((Err(status), None))
                }
                None => {
                    ending.code = Code::Ok;
                    None
                }
            }
        })
    }
}

/// Counts the stream when it is dropped: by then it has ended, or its client has left.
struct Ending {
    gateway: Arc<Gateway>,
    route: Route,
    begun: Instant,
    code: Code,
    current: Option<Current>,
    _place: Arc<Place>,
}

/// Why a stream ends that its client would have gone on with.
pub(super) fn stopped(gateway: &Gateway) -> Status {
    gateway.counts.refused(observe::dialect_or(Dialect::OtherGrpc), Why::Stopping);
    let message = "the server is being stopped; open the stream again, elsewhere or later";
    reply::status(&Error::new(Kind::Unavailable, message))
}

impl Drop for Ending {
    fn drop(&mut self) {
        let status = observe::Status::Grpc(self.code as u16);
        let took = self.begun.elapsed();
        self.gateway.counts.replied(self.route, status, took);
        let log = || observe::log(&self.gateway, &Verb::POST, self.route, (status, took));
        match self.current.take() {
            Some(current) => current.within_now(log),
            None => log(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use platform::{Options, Platform};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::GatewayOptions;
    use crate::router::Gateway;

    async fn gateway(dir: &std::path::Path) -> Arc<Gateway> {
        let options = Options {
            data_dir: dir.to_owned(),
            artifact_root: None,
            artifact_cache_bytes: platform::ARTIFACT_CACHE_BYTES,
            allowed_roots: Vec::new(),
            holder: "test".to_owned(),
            clock: Arc::new(jiff::Timestamp::now),
        };
        Gateway::new(Platform::open(options).await.unwrap(), GatewayOptions::default(), Default::default())
    }

    fn open(gateway: &Arc<Gateway>, streams: &Arc<Semaphore>, until: Option<Deadline>) -> Open {
        let place = Arc::new((Arc::clone(streams).try_acquire_owned().unwrap(), None));
        Open { gateway: Arc::clone(gateway), route: Route("s"), begun: Instant::now(), until, place }
    }

    fn counted(gateway: &Gateway, name: &str) -> u64 {
        let routes = gateway.counts.routes();
        routes.get(&Route("s")).and_then(|record| record.grpc.get(name).copied()).unwrap_or_default()
    }

    #[tokio::test]
    async fn a_stream_ends_at_its_deadline_and_gives_its_place_back() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway(dir.path()).await;
        let streams = Arc::new(Semaphore::new(1));
        let until = Deadline::after(Instant::now(), Duration::from_millis(20)).unwrap();
        let answers = futures::stream::iter([Ok(1)]).chain(futures::stream::pending());
        let open = open(&gateway, &streams, Some(until));
        let mut held = Box::pin(open.hold(answers));
        drop(open);
        assert_eq!(held.next().await.unwrap().unwrap(), 1);
        assert_eq!(streams.available_permits(), 0);
        assert_eq!(held.next().await.unwrap().unwrap_err().code(), Code::DeadlineExceeded);
        assert!(held.next().await.is_none());
        assert_eq!(streams.available_permits(), 1);
        assert_eq!(counted(&gateway, "DEADLINE_EXCEEDED"), 1);
    }

    #[tokio::test]
    async fn a_stream_is_counted_as_it_ended() {
        let dir = tempfile::tempdir().unwrap();
        let gateway = gateway(dir.path()).await;
        let streams = Arc::new(Semaphore::new(9));
        let left: Vec<_> =
            open(&gateway, &streams, None).hold(futures::stream::iter([Ok(1)])).collect().await;
        assert_eq!((left.len(), counted(&gateway, "OK")), (1, 1));
        drop(open(&gateway, &streams, None).hold(futures::stream::pending::<Result<(), Status>>()));
        assert_eq!(counted(&gateway, "CANCELLED"), 1);
        let answers = futures::stream::iter([Ok(1), Err(stopped(&gateway)), Ok(2)]);
        let mut held = Box::pin(open(&gateway, &streams, None).hold(answers));
        assert!(held.next().await.unwrap().is_ok());
        assert_eq!(held.next().await.unwrap().unwrap_err().code(), Code::Unavailable);
        assert!(held.next().await.is_none());
        drop(held);
        assert_eq!((counted(&gateway, "UNAVAILABLE"), streams.available_permits()), (1, 9));
    }
}
