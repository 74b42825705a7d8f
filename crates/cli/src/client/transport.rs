//! One HTTP exchange with a server: limits, timeouts, and errors as the platform's own.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use platform::{Error, Kind};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use ureq::http::{HeaderMap, Response, Uri};
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body, RequestBuilder};

use crate::exit::kind_of;
use crate::output::printable;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// A deployment loads and proves its model before the server answers.
const EXCHANGE_TIMEOUT: Duration = Duration::from_secs(300);
const RESPONSE_BYTES_MAX: u64 = 64 << 20;

/// A connection pool to one server.
#[derive(Debug, Clone)]
pub(crate) struct Transport {
    agent: Agent,
    base: String,
    /// Sent with every request, and never shown.
    key: Option<String>,
}

/// How a server is reached that does not let everybody in.
#[derive(Clone, Default)]
pub(crate) struct Access {
    /// The API key.
    pub(crate) key: Option<String>,
    /// A certificate the server's must come from; absent: those this machine knows.
    pub(crate) certificate: Option<PathBuf>,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("certificate", &self.certificate).finish_non_exhaustive()
    }
}

fn tls(access: &Access) -> Result<TlsConfig, Error> {
    let roots = match &access.certificate {
        None => RootCerts::PlatformVerifier,
        Some(path) => {
            let unfit = |why: String| {
                let message = format!("cannot read the certificate {}: {why}", path.display());
                Error::invalid("--server-certificate", message)
            };
            let pem = std::fs::read(path).map_err(|error| unfit(error.to_string()))?;
            let certificate = Certificate::from_pem(&pem).map_err(|error| unfit(error.to_string()))?;
            RootCerts::new_with_certs(&[certificate])
        }
    };
    let tls = TlsConfig::builder().root_certs(roots);
    Ok(tls.unversioned_rustls_crypto_provider(gateway::crypto_provider()).build())
}

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Reply<T> {
    /// The parsed body.
    pub(crate) body: T,
    /// The headers.
    pub(crate) headers: HeaderMap,
}

/// What is asked of a path.
#[derive(Debug)]
enum Call {
    Get,
    Delete,
    /// With a JSON body.
    Post(Vec<u8>),
    /// With a JSON body.
    Patch(Vec<u8>),
}

impl Transport {
    /// Prepares connections to `http://HOST[:PORT]` or `https://HOST[:PORT]`.
    ///
    /// # Errors
    /// [`Kind::InvalidArgument`] for any other sort of URL, and for a certificate that cannot be read.
    pub(crate) fn new(url: &str, access: &Access) -> Result<Self, Error> {
        let refused = |why: &str| Error::invalid("--server", format!("server URL \"{url}\" {why}"));
        let uri: Uri = url.parse().map_err(|_| refused("is not a URL; give http://HOST:PORT"))?;
        let Some(scheme @ ("http" | "https")) = uri.scheme_str() else {
            return Err(refused("has neither http:// nor https:// in front; give http://HOST:PORT"));
        };
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return Err(refused("names no host; give http://HOST:PORT"));
        };
        if authority.as_str().contains('@') || uri.path() != "/" || uri.query().is_some() {
            return Err(refused("has more than a host and a port; give http://HOST:PORT"));
        }
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            // The server is the user's own, often on this machine: a proxy of the environment is not meant for it.
            .proxy(None)
            .timeout_connect(Some(CONNECT_TIMEOUT))
            .timeout_global(Some(EXCHANGE_TIMEOUT))
            .tls_config(tls(access)?)
            .user_agent(concat!("bellwether/", env!("CARGO_PKG_VERSION")))
            .build();
        let base = format!("{scheme}://{authority}");
        Ok(Self { agent: config.into(), base, key: access.key.clone() })
    }

    /// The server's URL, without a slash at its end.
    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    /// Reads a resource.
    pub(crate) async fn get<T: DeserializeOwned + Send + 'static>(
        &self,
        path: String,
    ) -> Result<Reply<T>, Error> {
        self.exchange(path, Call::Get).await
    }

    /// Removes a resource.
    pub(crate) async fn delete<T: DeserializeOwned + Send + 'static>(
        &self,
        path: String,
    ) -> Result<Reply<T>, Error> {
        self.exchange(path, Call::Delete).await
    }

    /// Sends a JSON body.
    pub(crate) async fn post<T: DeserializeOwned + Send + 'static>(
        &self,
        path: String,
        body: &impl serde::Serialize,
    ) -> Result<Reply<T>, Error> {
        let body =
            serde_json::to_vec(body).map_err(|error| Error::internal("cannot write the request", error))?;
        self.exchange(path, Call::Post(body)).await
    }

    /// Changes a resource.
    pub(crate) async fn patch<T: DeserializeOwned + Send + 'static>(
        &self,
        path: String,
        body: &impl serde::Serialize,
    ) -> Result<Reply<T>, Error> {
        let body =
            serde_json::to_vec(body).map_err(|error| Error::internal("cannot write the request", error))?;
        self.exchange(path, Call::Patch(body)).await
    }

    /// Sends a JSON body; blocks.
    pub(crate) fn post_blocking<T: DeserializeOwned>(
        &self,
        path: &str,
        body: &impl serde::Serialize,
    ) -> Result<Reply<T>, Error> {
        let body =
            serde_json::to_vec(body).map_err(|error| Error::internal("cannot write the request", error))?;
        self.exchange_blocking(path, &Call::Post(body))
    }

    /// Sends bytes with a header and takes bytes; blocks.
    pub(crate) fn post_bytes(
        &self,
        path: &str,
        (header, value): (&str, &str),
        body: &[u8],
    ) -> Result<Reply<Vec<u8>>, Error> {
        let request = self.keyed(self.agent.post(format!("{}{path}", self.base)));
        let request = request.content_type("application/octet-stream").header(header, value);
        self.read(request.send(body))
    }

    async fn exchange<T: DeserializeOwned + Send + 'static>(
        &self,
        path: String,
        call: Call,
    ) -> Result<Reply<T>, Error> {
        let transport = self.clone();
        let exchange = move || transport.exchange_blocking(&path, &call);
        let done = tokio::task::spawn_blocking(exchange).await;
        done.map_err(|error| Error::internal("the request stopped unexpectedly", error))?
    }

    fn exchange_blocking<T: DeserializeOwned>(&self, path: &str, call: &Call) -> Result<Reply<T>, Error> {
        let url = format!("{}{path}", self.base);
        let sent = match call {
            Call::Get => self.keyed(self.agent.get(&url)).call(),
            Call::Delete => self.keyed(self.agent.delete(&url)).call(),
            Call::Post(body) => {
                self.keyed(self.agent.post(&url)).content_type("application/json").send(body.as_slice())
            }
            Call::Patch(body) => {
                self.keyed(self.agent.patch(&url)).content_type("application/json").send(body.as_slice())
            }
        };
        let Reply { body, headers } = self.read(sent)?;
        let body = serde_json::from_slice(&body).map_err(|error| {
            let message = format!("{url} did not answer as a bellwether server does: {error}");
            Error::new(Kind::Internal, message)
        })?;
        Ok(Reply { body, headers })
    }

    /// The bytes of an answer that is no error.
    fn read(&self, sent: Result<Response<Body>, ureq::Error>) -> Result<Reply<Vec<u8>>, Error> {
        let mut response = sent.map_err(|error| self.failed(&error))?;
        let read = response.body_mut().with_config().limit(RESPONSE_BYTES_MAX).read_to_vec();
        let body = read.map_err(|error| self.failed(&error))?;
        let status = response.status().as_u16();
        if !(200..300).contains(&status) {
            return Err(refused(&self.base, status, &body));
        }
        Ok(Reply { body, headers: std::mem::take(response.headers_mut()) })
    }

    fn keyed<B>(&self, request: RequestBuilder<B>) -> RequestBuilder<B> {
        match &self.key {
            Some(key) => request.header("authorization", format!("Bearer {key}")),
            None => request,
        }
    }

    /// No answer came.
    fn failed(&self, error: &ureq::Error) -> Error {
        let base = &self.base;
        let (kind, message) = match error {
            ureq::Error::Io(io) if io.kind() == io::ErrorKind::ConnectionRefused => {
                (Kind::Unavailable, format!("no server at {base}; start one with `bellwether serve`"))
            }
            ureq::Error::HostNotFound => {
                (Kind::Unavailable, format!("no host of that name: {base}; check --server"))
            }
            ureq::Error::Timeout(what) => {
                (Kind::DeadlineExceeded, format!("{base} did not answer in time ({what}); is it overloaded?"))
            }
            ureq::Error::BodyExceedsLimit(limit) => (
                Kind::ResourceExhausted,
                format!("{base} answered with more than {limit} bytes; ask for less"),
            ),
            other => {
                (Kind::Unavailable, format!("cannot talk to {base}: {other}; is it a bellwether server?"))
            }
        };
        Error::new(kind, message)
    }
}

/// The error body of the network API.
#[derive(Debug, Deserialize)]
struct ErrorBody {
    error: ErrorDetail,
}

/// That of Open Inference.
#[derive(Debug, Deserialize)]
struct PlainErrorBody {
    error: String,
}

#[derive(Debug, Deserialize)]
struct ErrorDetail {
    message: String,
    #[serde(default)]
    status: String,
}

/// An answer that is an error: the server's own words, or what its status code means.
fn refused(base: &str, status: u16, body: &[u8]) -> Error {
    if let Ok(PlainErrorBody { error }) = serde_json::from_slice(body) {
        return Error::new(kind_of_status(status), error);
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) if error.status.is_empty() => {
            Error::new(kind_of_status(status), error.message)
        }
        Ok(ErrorBody { error }) => Error::new(kind_of(&error.status), error.message),
        Err(_) => {
            let text: String = String::from_utf8_lossy(body).chars().take(200).collect();
            let text = printable(&text.replace('\n', " "));
            let message =
                format!("{base} answered {status} where a bellwether server would say why: \"{text}\"");
            Error::new(kind_of_status(status), message)
        }
    }
}

fn kind_of_status(status: u16) -> Kind {
    match status {
        400 | 405 | 411 | 413 | 415 | 422 => Kind::InvalidArgument,
        401 => Kind::Unauthenticated,
        403 => Kind::PermissionDenied,
        404 => Kind::NotFound,
        409 => Kind::AlreadyExists,
        429 => Kind::ResourceExhausted,
        501 => Kind::Unimplemented,
        502 | 503 => Kind::Unavailable,
        408 | 504 => Kind::DeadlineExceeded,
        _ => Kind::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_plain_server_url_is_taken() {
        assert_eq!(
            Transport::new("http://127.0.0.1:8080/", &Access::default()).unwrap().url(),
            "http://127.0.0.1:8080"
        );
        let cases = [
            ("127.0.0.1:8080", "http://"),
            ("ftp://host", "neither http:// nor https://"),
            ("http://host/v1", "more than a host"),
            ("http://user@host", "more than a host"),
            ("http://host/?a=1", "more than a host"),
        ];
        for (url, part) in cases {
            let error = Transport::new(url, &Access::default()).unwrap_err();
            assert_eq!(error.kind(), Kind::InvalidArgument, "{url}");
            assert!(error.to_string().contains(part), "{url}: {error}");
        }
    }

    #[test]
    fn the_servers_words_are_kept() {
        let body = br#"{"error":{"code":404,"message":"no model \"x\"","status":"NOT_FOUND"}}"#;
        let error = refused("http://h", 404, body);
        assert_eq!((error.kind(), error.to_string()), (Kind::NotFound, "no model \"x\"".to_owned()));
        let error = refused("http://h", 502, b"<html>\x1b[2J</html>");
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(!error.to_string().contains('\u{1b}'));
    }

    #[tokio::test]
    async fn nobody_listening_says_how_to_start_a_server() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        drop(listener);
        let error = Transport::new(&url, &Access::default())
            .unwrap()
            .get::<serde_json::Value>("/v1/x".into())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), Kind::Unavailable);
        assert!(error.to_string().contains("bellwether serve"), "{error}");
    }
}
