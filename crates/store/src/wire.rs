//! Requests over the network: one TLS provider, timeouts, and failures told apart so that `object_store` tries
//! again whatever may be tried again. It is the only thing that does: nothing above repeats a request.
//!
//! Every request a store makes may be repeated: reads, deletions and overwriting writes by their nature, a write
//! that must not overwrite because [`crate::Store`] compares what it finds there.

use std::error::Error as StdError;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};
use object_store::{BackoffConfig, ClientOptions, RetryConfig};

use crate::options::{Retry, Transfer};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(10);
/// A part or a small object takes no longer, however slowly it comes.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(300);
/// A reply that is no object (a page of a listing, the text of an error) is not read further: 64 MiB.
const REPLY_BYTES_MAX: usize = 64 << 20;
/// Pauses are drawn up to this many times the last one.
const PAUSE_GROWTH_MAX: f64 = 3.0;

/// What a query has in it that asks for a listing.
const LISTINGS: [&str; 2] = ["list-type=", "comp=list"];

pub(crate) fn client_options(transfer: &Transfer) -> ClientOptions {
    ClientOptions::new()
        .with_connect_timeout(CONNECT_TIME_MAX)
        .with_read_timeout(transfer.silence)
        .with_timeout(REQUEST_TIME_MAX)
}

pub(crate) fn retry_config(retry: &Retry) -> RetryConfig {
    RetryConfig {
        backoff: BackoffConfig {
            init_backoff: retry.first_pause,
            max_backoff: retry.longest_pause,
            base: PAUSE_GROWTH_MAX,
        },
        max_retries: retry.tries,
        retry_timeout: retry.limit,
    }
}

/// Connects by `reqwest` with rustls and ring.
#[derive(Debug)]
pub(crate) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        // An error says that a provider is in place already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Ok(HttpClient::new(Wire { client: ReqwestConnector::default().connect(options)? }))
    }
}

#[derive(Debug)]
struct Wire {
    client: HttpClient,
}

#[async_trait]
impl HttpService for Wire {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let query = request.uri().query().unwrap_or_default();
        let is_object = request.method() == "GET" && !LISTINGS.iter().any(|part| query.contains(part));
        let reply = self.client.execute(request).await.map_err(repeatable)?;
        if is_object && reply.status().is_success() {
            // Goes on at the byte where it broke.
            return Ok(reply);
        }
        let (head, body) = reply.into_parts();
        let mut whole = BytesMut::new();
        let mut pieces = body.bytes_stream();
        while let Some(piece) = pieces.next().await {
            whole.extend_from_slice(&piece.map_err(repeatable)?);
            if whole.len() > REPLY_BYTES_MAX {
                let text = format!("the reply is longer than {REPLY_BYTES_MAX} bytes");
                return Err(HttpError::new(HttpErrorKind::Decode, std::io::Error::other(text)));
            }
        }
        Ok(HttpResponse::from_parts(head, Bytes::from(whole).into()))
    }
}

/// `object_store` repeats any request that was not sent; one that was cut off only if it thinks that harmless.
fn repeatable(error: HttpError) -> HttpError {
    match error.kind() {
        _ if is_of_tls(&error) => HttpError::new(HttpErrorKind::Unknown, error),
        HttpErrorKind::Interrupted | HttpErrorKind::Timeout => HttpError::new(HttpErrorKind::Request, error),
        _ => error,
    }
}

/// Whether the other side could not show who it is, which time does not mend.
fn is_of_tls(error: &(dyn StdError + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return true;
    }
    // The source of an `io::Error` is the source of what is in it.
    let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    inner.is_some_and(|inner| is_of_tls(inner)) || error.source().is_some_and(is_of_tls)
}
