//! The request that is being answered on this task: what is noted of it on the way, for the log and the counters.
//!
//! It is found by where the program is, not by what it was given, so that a line of the log far below knows whose it is, and
//! a request costs nothing for it.

use std::fmt;
use std::future::Future;
use std::sync::OnceLock;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderValue};
use platform::{Answerer, Platform, Target};

use super::trace_context::TraceContext;
use crate::dialect::Dialect;
use crate::pace::{self, Pace};
use crate::request_id::REQUEST_ID;

tokio::task_local! {
    static CURRENT: Current;
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Current {
    pub(super) id: HeaderValue,
    pub(super) dialect: Dialect,
    pub(super) trace: Option<TraceContext>,
    /// How long its body may pause.
    body_timeout: Duration,
    answerer: OnceLock<Answerer>,
}

impl Current {
    pub(super) fn new(id: HeaderValue, dialect: Dialect, trace: Option<TraceContext>) -> Self {
        let body_timeout = pace::OF_BODIES.silence_max;
        Self { id, dialect, trace, body_timeout, answerer: OnceLock::new() }
    }

    /// Whose body may pause for so long.
    pub(super) fn with_body_timeout(self, body_timeout: Duration) -> Self {
        Self { body_timeout, ..self }
    }

    /// The request that is being answered here.
    pub(crate) fn here() -> Option<Self> {
        CURRENT.try_with(Self::clone).ok()
    }

    /// Does some work of it that waits for nothing.
    pub(crate) fn within_now<T>(self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(self, work)
    }

    /// Does some work of it.
    pub(crate) async fn within<T>(self, work: impl Future<Output = T>) -> T {
        CURRENT.scope(self, work).await
    }
}

/// Notes who answers the request that is being answered here, of several the first, and tells the target the request's id.
pub(crate) fn asked(target: Target) -> Target {
    // Outside of any request nobody counts.
    let id = CURRENT.try_with(|current| {
        current.answerer.get_or_init(|| target.answerer());
        // Only whoever keeps copies wants to know.
        current.id.to_str().ok().filter(|_| target.is_copied()).map(str::to_owned)
    });
    target.known_as(id.ok().flatten())
}

/// Writes the id and the trace of the request that is being answered here into its reply.
pub(super) fn mark(headers: &mut HeaderMap) {
    let _ = CURRENT.try_with(|current| {
        headers.insert(REQUEST_ID, current.id.clone());
        if let Some(trace) = &current.trace {
            trace.write(headers);
        }
    });
}

/// Counts an answer that took so long, if one was asked for.
pub(crate) fn answered(platform: &Platform, took: Duration) {
    let _ = CURRENT.try_with(|current| {
        if let Some(answerer) = current.answerer.get() {
            answerer.took(platform, current.dialect as usize, took);
        }
    });
}

/// The protocol of the request that is being answered here; `otherwise` if there is none.
pub(crate) fn dialect_or(otherwise: Dialect) -> Dialect {
    CURRENT.try_with(|current| current.dialect).unwrap_or(otherwise)
}

/// The pace of the body of the request that is being answered here.
pub(crate) fn pace_of_body() -> Pace {
    let silence_max = CURRENT.try_with(|current| current.body_timeout);
    Pace { silence_max: silence_max.unwrap_or(pace::OF_BODIES.silence_max), ..pace::OF_BODIES }
}

/// What a line of the log says of the request it belongs to. Its `Display` is ` request=ID protocol=NAME ...`.
#[derive(Debug)]
pub struct About<'a> {
    /// The request's id, as the reply has it in `x-request-id`.
    pub id: &'a str,
    /// The protocol it spoke.
    pub protocol: &'static str,
    /// The trace it belongs to.
    pub trace: Option<&'a str>,
    /// Our part of that trace.
    pub span: Option<&'a str>,
    /// Who answers it.
    pub answerer: Option<&'a Answerer>,
}

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " request={} protocol={}", self.id, self.protocol)?;
        if let Some(trace) = self.trace {
            write!(f, " trace={trace}")?;
        }
        if let Some(answerer) = self.answerer {
            write!(f, " project={} model={answerer:?}", answerer.project())?;
        }
        Ok(())
    }
}

/// Tells of the request that is being answered here, if one is: for whoever writes the log.
pub fn with_request<R>(tell: impl FnOnce(Option<&About<'_>>) -> R) -> R {
    let mut tell = Some(tell);
    let told = CURRENT.try_with(|current| {
        let about = About {
            id: current.id.to_str().unwrap_or_default(),
            protocol: current.dialect.name(),
            trace: current.trace.as_ref().map(TraceContext::trace_id),
            span: current.trace.as_ref().map(TraceContext::span_id),
            answerer: current.answerer.get(),
        };
        tell.take().map(|tell| tell(Some(&about)))
    });
    match (told, tell) {
        (Ok(Some(told)), _) => told,
        (_, Some(tell)) => tell(None),
        _ => unreachable!("it was told once or not at all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_request_is_known_where_it_is_answered() {
        let current = Current::new(HeaderValue::from_static("id-7"), Dialect::MlFlow, None);
        let said = || with_request(|about| about.map(ToString::to_string));
        assert_eq!(said(), None);
        current
            .within(async {
                assert_eq!(said().unwrap(), " request=id-7 protocol=mlflow");
                assert_eq!(dialect_or(Dialect::Vertex), Dialect::MlFlow);
                tokio::task::yield_now().await;
                assert!(said().is_some() && Current::here().is_some());
            })
            .await;
        assert_eq!((said(), dialect_or(Dialect::Vertex)), (None, Dialect::Vertex));
    }
}
