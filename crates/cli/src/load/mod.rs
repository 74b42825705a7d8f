//! Load on an HTTP server: the same request again and again over kept connections, and how long the replies took.

mod histogram;

use std::collections::BTreeMap;
use std::time::Duration;

use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body as _, Bytes};
use hyper::client::conn::{http1, http2};
use hyper::header::{HOST, HeaderMap};
use hyper::{Method, Request, Response, Uri};
use hyper_util::rt::{TokioExecutor, TokioIo};
use platform::{Error, Kind};
use tokio::net::TcpStream;
use tokio::time::Instant;

pub(crate) use histogram::Histogram;

/// After a connection failed.
const PAUSE: Duration = Duration::from_millis(20);

/// What is asked, how often and how long.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) connections: u16,
    pub(crate) warm_up: Duration,
    pub(crate) measured: Duration,
    /// Requests a second; absent: as fast as the answers come.
    pub(crate) rate: Option<f64>,
    pub(crate) http2: bool,
}

/// What came back.
#[derive(Debug, Clone, Default)]
pub(crate) struct Answers {
    /// How long replies with a status below 400 took, from when they were due.
    pub(crate) good: Histogram,
    /// All other outcomes by status, or `connection`.
    pub(crate) failures: BTreeMap<String, u64>,
    /// Bytes of the bodies of good replies.
    pub(crate) bytes: u64,
}

impl Answers {
    fn merge(&mut self, other: Self) {
        self.good.merge(&other.good);
        for (outcome, count) in other.failures {
            *self.failures.entry(outcome).or_default() += count;
        }
        self.bytes += other.bytes;
    }
}

enum Sender {
    One(http1::SendRequest<Full<Bytes>>),
    Two(http2::SendRequest<Full<Bytes>>),
}

impl Load {
    /// Puts the load on the server.
    ///
    /// # Errors
    /// [`Kind::Unavailable`] if nothing answers at the address.
    pub(crate) async fn run(&self) -> Result<Answers, Error> {
        // A wrong address is told before a whole run is spent on it.
        self.connect().await?;
        let begin = Instant::now();
        let mut tasks = Vec::with_capacity(usize::from(self.connections));
        for index in 0..self.connections {
            let load = self.clone();
            tasks.push(tokio::spawn(async move { load.one_connection(begin, index).await }));
        }
        let mut answers = Answers::default();
        for task in tasks {
            let one =
                task.await.map_err(|error| Error::internal("a connection stopped unexpectedly", error))?;
            answers.merge(one);
        }
        Ok(answers)
    }

    async fn one_connection(&self, begin: Instant, index: u16) -> Answers {
        let (from, end) = (begin + self.warm_up, begin + self.warm_up + self.measured);
        let step = self.rate.map(|rate| Duration::from_secs_f64(f64::from(self.connections) / rate));
        let mut due =
            begin + step.unwrap_or_default().mul_f64(f64::from(index) / f64::from(self.connections));
        let mut answers = Answers::default();
        let mut sender = None;
        loop {
            match step {
                Some(step) => {
                    tokio::time::sleep_until(due).await;
                    due += step;
                }
                None => due = Instant::now(),
            }
            let asked = if let Some(step) = step { due - step } else { due };
            if asked >= end {
                return answers;
            }
            let outcome = self.ask(&mut sender).await;
            if asked < from {
                continue;
            }
            match outcome {
                Ok((code, bytes)) if code < 400 => {
                    answers.good.add(u64::try_from(asked.elapsed().as_nanos()).unwrap_or(u64::MAX));
                    answers.bytes += bytes;
                }
                Ok((code, _)) => *answers.failures.entry(code.to_string()).or_default() += 1,
                Err(_) => {
                    *answers.failures.entry("connection".to_owned()).or_default() += 1;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }

    /// Status and length of the reply.
    async fn ask(&self, kept: &mut Option<Sender>) -> Result<(u16, u64), Error> {
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => self.connect().await?,
        };
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.method.clone();
        *request.headers_mut() = self.headers.clone();
        let sent: hyper::Result<Response<_>> = match &mut sender {
            Sender::One(one) => {
                *request.uri_mut() = self.path();
                if let Some(host) = self.uri.authority().and_then(|host| host.as_str().parse().ok()) {
                    request.headers_mut().insert(HOST, host);
                }
                match one.ready().await {
                    Ok(()) => one.send_request(request).await,
                    Err(error) => Err(error),
                }
            }
            Sender::Two(two) => {
                *request.uri_mut() = self.uri.clone();
                two.send_request(request).await
            }
        };
        let broken = |error: hyper::Error| Error::new(Kind::Unavailable, format!("{}: {error}", self.uri));
        let (head, mut body) = sent.map_err(broken)?.into_parts();
        let mut bytes = 0;
        while !body.is_end_stream() {
            let Some(frame) = body.frame().await else { break };
            bytes += frame.map_err(broken)?.data_ref().map_or(0, |data| data.len() as u64);
        }
        *kept = Some(sender);
        Ok((head.status.as_u16(), bytes))
    }

    fn path(&self) -> Uri {
        let path = self.uri.path_and_query().map_or("/", |path| path.as_str());
        path.parse().unwrap_or_default()
    }

    async fn connect(&self) -> Result<Sender, Error> {
        let host = self.uri.host().unwrap_or_default();
        let port = self.uri.port_u16().unwrap_or(80);
        let failed = |error: String| {
            let message = format!("nothing answers at {host}:{port}: {error}; is the server running?");
            Error::new(Kind::Unavailable, message)
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((host, port)).await.map_err(|error| failed(error.to_string()))?;
        // Requests are written whole.
        stream.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
        let io = TokioIo::new(stream);
        if self.http2 {
            let (sender, connection) = http2::handshake(TokioExecutor::new(), io)
                .await
                .map_err(|error| failed(error.to_string()))?;
            tokio::spawn(connection);
            return Ok(Sender::Two(sender));
        }
        let (sender, connection) = http1::handshake(io).await.map_err(|error| failed(error.to_string()))?;
        tokio::spawn(connection);
        Ok(Sender::One(sender))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// A server that answers every fifth request of a connection with 503, and closes it after ten.
    async fn server() -> Uri {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri = format!("http://{}/x?y=z", listener.local_addr().unwrap()).parse().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                tokio::spawn(async move {
                    let mut buffer = [0; 1024];
                    for request in 1..=10 {
                        let count = stream.read(&mut buffer).await.unwrap_or_default();
                        if count == 0 {
                            return;
                        }
                        let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                        assert!(
                            text.starts_with("POST /x?y=z HTTP/1.1\r\n") && text.ends_with("body"),
                            "{text}"
                        );
                        let status = if request % 5 == 0 { "503 No" } else { "200 OK" };
                        let reply = format!("HTTP/1.1 {status}\r\ncontent-length: 2\r\n\r\nok");
                        if stream.write_all(reply.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                });
            }
        });
        uri
    }

    fn load(uri: Uri) -> Load {
        Load {
            method: Method::POST,
            uri,
            headers: HeaderMap::new(),
            body: Bytes::from_static(b"body"),
            connections: 3,
            warm_up: Duration::ZERO,
            measured: Duration::from_millis(300),
            rate: None,
            http2: false,
        }
    }

    #[tokio::test]
    async fn replies_are_counted_by_their_outcome() {
        let answers = load(server().await).run().await.unwrap();
        let refused = answers.failures["503"];
        assert!(answers.good.total() > 20 && answers.bytes == 2 * answers.good.total(), "{answers:?}");
        assert!(answers.good.total().abs_diff(4 * refused) <= 15, "{answers:?}");
        assert!(answers.failures["connection"] > 0, "{answers:?}");
    }

    #[tokio::test]
    async fn a_rate_is_kept() {
        let load = Load { rate: Some(200.0), measured: Duration::from_millis(500), ..load(server().await) };
        let answers = load.run().await.unwrap();
        let all = answers.good.total() + answers.failures.values().sum::<u64>();
        assert!((60..=101).contains(&all), "{answers:?}");
    }

    #[tokio::test]
    async fn where_nobody_listens_it_says_so() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let uri: Uri = format!("http://{}/", listener.local_addr().unwrap()).parse().unwrap();
        drop(listener);
        let error = load(uri).run().await.unwrap_err();
        assert!(error.to_string().contains("is the server running?"), "{error}");
    }
}
